/* SPDX-License-Identifier: BSD-2-Clause */
/* Address translation in every mode, on tables that the test makes, sound and damaged. */
#include <errno.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/guest/poke.h"
#include "tracer/guest/test/page_tables.h"
#include "tracer/guest/test/ram.h"

enum {
	RAM_BYTES = 8 << 20,
	ROOT = 0x10000,
};

/* A page that is mapped and an address in it. */
struct row {
	enum kms_guest_paging paging;
	uint64_t page;
	uint64_t physical;
	unsigned shift;
};

static const struct row rows[] = {
	{KMS_GUEST_PAGING_32,  0xc0123000,                   0x234000,               12},
	{KMS_GUEST_PAGING_32,  0xfffff000,                   0x7ff000,               12},
	{KMS_GUEST_PAGING_32,  0xc0400000,                   0x400000,               22},
	{KMS_GUEST_PAGING_32,  0x00400000,                   UINT64_C(0xab00400000), 22},
	{KMS_GUEST_PAGING_PAE, 0xc0123000,                   0x234000,               12},
	{KMS_GUEST_PAGING_PAE, 0xc0200000,                   0x600000,               21},
	{KMS_GUEST_PAGING_PAE, 0x00000000,                   UINT64_C(0xf123400000), 21},
	{KMS_GUEST_PAGING_4,   0x0000000000401000,           0x234000,               12},
	{KMS_GUEST_PAGING_4,   UINT64_C(0xffffffff81234000), 0x234000,               12},
	{KMS_GUEST_PAGING_4,   UINT64_C(0xffffffff81200000), 0x200000,               21},
	{KMS_GUEST_PAGING_4,   UINT64_C(0xffff888040000000), UINT64_C(0x140000000),  30},
	{KMS_GUEST_PAGING_4,   UINT64_C(0x00007ffffffff000), 0x1000,                 12},
	{KMS_GUEST_PAGING_4,   UINT64_C(0xffff800000000000), 0x2000,                 12},
	{KMS_GUEST_PAGING_4,   UINT64_C(0xfffffffffffff000), 0x3000,                 12},
	{KMS_GUEST_PAGING_5,   UINT64_C(0xff11000000200000), 0x400000,               21},
	{KMS_GUEST_PAGING_5,   UINT64_C(0xff11000040000000), UINT64_C(0x80000000),   30},
	{KMS_GUEST_PAGING_5,   UINT64_C(0x00ffffffffffe000), 0x5000,                 12},
};

/* Tables in fresh RAM, with the space that reads them. */
struct world {
	struct test_ram ram;
	struct test_tables tables;
	struct kms_guest_space space;
};

static void world_make(struct world *world, enum kms_guest_paging paging)
{
	test_ram_make(&world->ram, RAM_BYTES);
	test_tables_begin(&world->tables, world->ram.bytes, paging, ROOT);
	/* bits of CR3 that are none of the address: PCD and, with 8-byte entries, a PCID */
	kms_guest_space_init(&world->space, world->ram.memory, paging, ROOT | 0x18);
}

static int translate(struct world *world, uint64_t address, uint64_t *physical)
{
	return kms_guest_translate(&world->space, address, physical, NULL, NULL);
}

static void pages_of_all_sizes_are_found_in_all_modes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		uint64_t bytes = UINT64_C(1) << row->shift, physical, contiguous;
		struct world world;

		world_make(&world, row->paging);
		test_tables_map(&world.tables, row->page, row->physical, row->shift);
		/* the second time it is remembered */
		for (unsigned turn = 0; turn < 2; turn++) {
			assert_int_equal(kms_guest_translate(&world.space, row->page, &physical,
							     &contiguous, NULL),
					 0);
			assert_int_equal(physical, row->physical);
			assert_int_equal(contiguous, bytes);
			assert_int_equal(kms_guest_translate(&world.space, row->page + bytes - 3,
							     &physical, &contiguous, NULL),
					 0);
			assert_int_equal(physical, row->physical + bytes - 3);
			assert_int_equal(contiguous, 3);
		}
		test_ram_drop(&world.ram);
	}
}

static void what_is_not_mapped_is_not_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		uint64_t bytes = UINT64_C(1) << row->shift, physical, at;
		struct world world;

		world_make(&world, row->paging);
		assert_int_equal(translate(&world, row->page, &physical), -ENOENT);
		test_tables_map(&world.tables, row->page, row->physical, row->shift);
		assert_int_equal(translate(&world, row->page, &physical), 0);
		assert_int_equal(translate(&world, row->page ^ bytes, &physical), -ENOENT);
		at = test_tables_entry(&world.tables, row->page, row->shift);
		test_entry_set(&world.tables, at, test_entry_get(&world.tables, at) & ~UINT64_C(1));
		kms_guest_space_forget(&world.space);
		assert_int_equal(translate(&world, row->page, &physical), -ENOENT);
		test_ram_drop(&world.ram);
	}
}

static void addresses_that_cannot_be_are_refused(void **state)
{
	static const struct {
		enum kms_guest_paging paging;
		uint64_t address;
	} bad[] = {
		{KMS_GUEST_PAGING_32,  UINT64_C(0x100000000)       },
		{KMS_GUEST_PAGING_PAE, UINT64_C(0xffffffffc0000000)},
		{KMS_GUEST_PAGING_4,   UINT64_C(0x0000800000000000)},
		{KMS_GUEST_PAGING_4,   UINT64_C(0xffff7fffffffffff)},
		{KMS_GUEST_PAGING_4,   UINT64_C(0xff11000000000000)},
		{KMS_GUEST_PAGING_5,   UINT64_C(0x0100000000000000)},
		{KMS_GUEST_PAGING_5,   UINT64_C(0xfeffffffffffffff)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct world world;
		uint64_t physical;

		world_make(&world, bad[i].paging);
		assert_int_equal(translate(&world, bad[i].address, &physical), -EINVAL);
		test_ram_drop(&world.ram);
	}
}

/* Sets bits in the entry of a level above a page, or of the page. */
struct damage {
	struct row row;
	unsigned level; /* shift of the entry */
	uint64_t bits;
};

static void reserved_bits_are_damage(void **state)
{
	static const struct damage damages[] = {
		{{KMS_GUEST_PAGING_32, 0xc0400000, 0x400000, 22},  22, 1 << 21          },
		{{KMS_GUEST_PAGING_PAE, 0xc0123000, 0x234000, 12}, 30, 0x2              },
		{{KMS_GUEST_PAGING_PAE, 0xc0123000, 0x234000, 12}, 30, 0x80             },
		{{KMS_GUEST_PAGING_PAE, 0xc0123000, 0x234000, 12}, 21, UINT64_C(1) << 52},
		{{KMS_GUEST_PAGING_PAE, 0xc0200000, 0x600000, 21}, 21, 1 << 13          },
		{{KMS_GUEST_PAGING_4, 0x401000, 0x234000, 12},     39, 0x80             },
		{{KMS_GUEST_PAGING_4, 0x200000, 0x200000, 21},     21, 1 << 20          },
		{{KMS_GUEST_PAGING_4, 0x40000000, 0, 30},          30, 1 << 29          },
		{{KMS_GUEST_PAGING_5, 0x401000, 0x234000, 12},     48, 0x80             },
		{{KMS_GUEST_PAGING_5, 0x401000, 0x234000, 12},     39, 0x80             },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		const struct row *row = &damages[i].row;
		struct world world;
		uint64_t physical, at;

		world_make(&world, row->paging);
		test_tables_map(&world.tables, row->page, row->physical, row->shift);
		at = test_tables_entry(&world.tables, row->page, damages[i].level);
		test_entry_set(&world.tables, at,
			       test_entry_get(&world.tables, at) | damages[i].bits);
		assert_int_equal(translate(&world, row->page, &physical), -EBADMSG);
		test_ram_drop(&world.ram);
	}
}

static void bits_that_software_may_use_are_none(void **state)
{
	static const struct damage damages[] = {
		{{KMS_GUEST_PAGING_4, 0x401000, 0x234000, 12},     12, UINT64_C(0xfff0000000000e80)},
		{{KMS_GUEST_PAGING_4, 0x200000, 0x200000, 21},     21, UINT64_C(0xfff0000000001e60)},
		{{KMS_GUEST_PAGING_PAE, 0xc0123000, 0x234000, 12}, 12, UINT64_C(1) << 63 | 0xee0   },
		{{KMS_GUEST_PAGING_32, 0xc0400000, 0x400000, 22},  22, 0x1e60                      },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		const struct row *row = &damages[i].row;
		struct world world;
		uint64_t physical, at;

		world_make(&world, row->paging);
		test_tables_map(&world.tables, row->page, row->physical, row->shift);
		at = test_tables_entry(&world.tables, row->page, damages[i].level);
		test_entry_set(&world.tables, at,
			       test_entry_get(&world.tables, at) | damages[i].bits);
		assert_int_equal(translate(&world, row->page, &physical), 0);
		assert_int_equal(physical, row->physical);
		test_ram_drop(&world.ram);
	}
}

static void tables_outside_of_memory_are_damage(void **state)
{
	(void)state;
	for (int paging = KMS_GUEST_PAGING_32; paging <= KMS_GUEST_PAGING_5; paging++) {
		struct world world;
		uint64_t physical, at;

		world_make(&world, (enum kms_guest_paging)paging);
		test_tables_map(&world.tables, 0x401000, 0x234000, 12);
		at = test_tables_entry(&world.tables, 0x401000,
				       paging == KMS_GUEST_PAGING_32 ? 22 : 21);
		test_entry_set(&world.tables, at, RAM_BYTES | 3);
		assert_int_equal(translate(&world, 0x401000, &physical), -EBADMSG);
		kms_guest_space_init(&world.space, world.ram.memory, (enum kms_guest_paging)paging,
				     RAM_BYTES);
		assert_int_equal(translate(&world, 0x401000, &physical), -EBADMSG);
		test_ram_drop(&world.ram);
	}
}

static void tables_that_hold_themselves_end(void **state)
{
	struct world world;
	uint64_t physical;

	(void)state;
	world_make(&world, KMS_GUEST_PAGING_4);
	/* the last entry of the root is the root, as kernels do: its page is the last one of all */
	test_entry_set(&world.tables, ROOT + 511 * 8, ROOT | 3);
	assert_int_equal(translate(&world, UINT64_C(0xfffffffffffff008), &physical), 0);
	assert_int_equal(physical, ROOT + 8);
	/* two tables that hold each other */
	test_entry_set(&world.tables, ROOT, 0x20000 | 3);
	test_entry_set(&world.tables, 0x20000, ROOT | 3);
	assert_int_equal(translate(&world, 0x123, &physical), 0);
	assert_int_equal(physical, ROOT | 0x123);
	test_ram_drop(&world.ram);
}

static void what_is_remembered_can_be_forgotten(void **state)
{
	struct world world;
	uint64_t physical;

	(void)state;
	world_make(&world, KMS_GUEST_PAGING_4);
	test_tables_map(&world.tables, 0x401000, 0x234000, 12);
	assert_int_equal(translate(&world, 0x401000, &physical), 0);
	test_tables_map(&world.tables, 0x401000, 0x235000, 12);
	kms_guest_space_forget(&world.space);
	assert_int_equal(translate(&world, 0x401000, &physical), 0);
	assert_int_equal(physical, 0x235000);
	test_ram_drop(&world.ram);
}

/* More pages than the cache has, of three sizes, each asked twice: no page is taken for another. */
static void a_full_cache_confuses_nothing(void **state)
{
	enum {
		COUNT = 1500,
	};
	struct world world;
	uint64_t physical;

	(void)state;
	world_make(&world, KMS_GUEST_PAGING_4);
	for (uint64_t i = 0; i < COUNT; i++) {
		test_tables_map(&world.tables, i << 12, (i * 37 % 2048) << 12, 12);
		test_tables_map(&world.tables, UINT64_C(0x4000000000) + (i << 21), i << 21, 21);
	}
	for (uint64_t turn = 0; turn < 2; turn++) {
		for (uint64_t i = 0; i < COUNT; i++) {
			assert_int_equal(translate(&world, i << 12 | i, &physical), 0);
			assert_int_equal(physical, (i * 37 % 2048) << 12 | i);
			assert_int_equal(translate(&world, UINT64_C(0x4000000000) + (i << 21 | i),
						   &physical),
					 0);
			assert_int_equal(physical, i << 21 | i);
		}
	}
	test_ram_drop(&world.ram);
}

static void reads_and_writes_cross_pages(void **state)
{
	static uint8_t want[300000], got[300000];
	struct world world;

	(void)state;
	world_make(&world, KMS_GUEST_PAGING_4);
	/* 100 pages in another order than in RAM */
	for (uint64_t i = 0; i < 100; i++)
		test_tables_map(&world.tables, 0x400000 + (i << 12), 0x200000 + (99 - i) * 4096,
				12);
	for (size_t i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 13 + i / 4096);
	assert_int_equal(kms_guest_write_virtual(&world.space, 0x400ffd, want, sizeof(want), NULL),
			 0);
	assert_memory_equal(world.ram.bytes + 0x200000 + 99 * 4096 + 0xffd, want, 3);
	assert_memory_equal(world.ram.bytes + 0x200000 + 98 * 4096, want + 3, 4096);
	assert_int_equal(kms_guest_read_virtual(&world.space, 0x400ffd, got, sizeof(got), NULL), 0);
	assert_memory_equal(got, want, sizeof(want));
	/* the last mapped byte and the first that is not */
	assert_int_equal(kms_guest_read_virtual(&world.space, 0x463fff, got, 2, NULL), -ENOENT);
	assert_int_equal(kms_guest_write_virtual(&world.space, 0x463fff, got, 2, NULL), -ENOENT);
	test_ram_drop(&world.ram);
}

static void reads_end_at_the_last_address(void **state)
{
	struct world world;
	uint8_t got[16];

	(void)state;
	world_make(&world, KMS_GUEST_PAGING_4);
	test_tables_map(&world.tables, UINT64_C(0xfffffffffffff000), 0x3000, 12);
	test_tables_map(&world.tables, 0, 0x4000, 12);
	assert_int_equal(kms_guest_read_virtual(&world.space, UINT64_MAX - 15, got, 16, NULL), 0);
	assert_int_equal(kms_guest_read_virtual(&world.space, UINT64_MAX - 14, got, 16, NULL),
			 -EINVAL);
	assert_int_equal(kms_guest_write_virtual(&world.space, UINT64_MAX - 14, got, 16, NULL),
			 -EINVAL);
	test_ram_drop(&world.ram);
}

static void what_is_mapped_outside_of_memory_is_found_but_not_read(void **state)
{
	struct world world;
	uint64_t physical, value;

	(void)state;
	world_make(&world, KMS_GUEST_PAGING_4);
	test_tables_map(&world.tables, 0x401000, UINT64_C(0xfee00000), 12);
	assert_int_equal(translate(&world, 0x401000, &physical), 0);
	assert_int_equal(physical, UINT64_C(0xfee00000));
	assert_int_equal(kms_guest_read_virtual(&world.space, 0x401000, &value, 8, NULL), -ERANGE);
	test_ram_drop(&world.ram);
}

static void strings_end_before_what_is_not_mapped(void **state)
{
	struct world world;
	char text[64];

	(void)state;
	world_make(&world, KMS_GUEST_PAGING_4);
	test_tables_map(&world.tables, 0x401000, 0x234000, 12);
	memcpy(world.ram.bytes + 0x234ffa, "slab1", 6);
	assert_int_equal(kms_guest_read_string(&world.space, 0x401ffa, text, sizeof(text), NULL),
			 0);
	assert_string_equal(text, "slab1");
	/* cut to what there is room for */
	assert_int_equal(kms_guest_read_string(&world.space, 0x401ffa, text, 4, NULL), 0);
	assert_string_equal(text, "sla");
	/* no end before the page's */
	world.ram.bytes[0x234fff] = 'x';
	assert_int_equal(kms_guest_read_string(&world.space, 0x401ffa, text, sizeof(text), NULL),
			 -ENOENT);
	assert_string_equal(text, "slab1x");
	test_ram_drop(&world.ram);
}

static void set_writable(struct world *world, uint64_t at, bool is_writable)
{
	uint64_t entry = test_entry_get(&world->tables, at) & ~UINT64_C(2);

	test_entry_set(&world->tables, at, entry | (is_writable ? 2 : 0));
}

static void each_level_may_forbid_writing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static const unsigned above[] = {
			[KMS_GUEST_PAGING_32] = 22,
			[KMS_GUEST_PAGING_PAE] = 21,
			[KMS_GUEST_PAGING_4] = 39,
			[KMS_GUEST_PAGING_5] = 48,
		};
		const struct row *row = &rows[i];
		unsigned shifts[] = {row->shift, above[row->paging]};
		bool is_writable = false;
		struct world world;

		world_make(&world, row->paging);
		assert_int_equal(kms_guest_is_writable(&world.space, row->page, &is_writable, NULL),
				 -ENOENT);
		test_tables_map(&world.tables, row->page, row->physical, row->shift);
		for (unsigned k = 0; k < 2; k++) {
			uint64_t at = test_tables_entry(&world.tables, row->page, shifts[k]);

			for (int on = 0; on < 2; on++) {
				set_writable(&world, at, on);
				assert_int_equal(kms_guest_is_writable(&world.space, row->page,
								       &is_writable, NULL),
						 0);
				assert_int_equal(is_writable, on);
			}
		}
		test_ram_drop(&world.ram);
	}
}

static void a_poke_is_compared_and_keeps_off_what_is_protected(void **state)
{
	const uint64_t page = UINT64_C(0xffffffff81234000);
	uint32_t old = 0, new = 0x51515151, other = 7;
	struct world world;
	uint32_t *word;

	(void)state;
	world_make(&world, KMS_GUEST_PAGING_4);
	test_tables_map(&world.tables, page, 0x234000, 12);
	word = (void *)(world.ram.bytes + 0x234010);
	assert_int_equal(kms_guest_poke(&world.space, page + 0x10, &other, &new, 4, NULL), -EAGAIN);
	assert_int_equal(*word, 0);
	assert_int_equal(kms_guest_poke(&world.space, page + 0x10, &old, &new, 4, NULL), 0);
	assert_int_equal(*word, new);
	assert_int_equal(kms_guest_poke(&world.space, page + 0x11, &new, &old, 4, NULL), -EINVAL);
	assert_int_equal(kms_guest_poke(&world.space, page + 0x10, &new, &old, 3, NULL), -EINVAL);
	assert_int_equal(kms_guest_poke(&world.space, page + 0x10, &new, &old, 16, NULL), -EINVAL);
	assert_int_equal(kms_guest_poke(&world.space, page - 8, &old, &new, 4, NULL), -ENOENT);
	set_writable(&world, test_tables_entry(&world.tables, page, 12), false);
	assert_int_equal(kms_guest_poke(&world.space, page + 0x10, &new, &old, 4, NULL), -EACCES);
	assert_int_equal(*word, new);
	test_ram_drop(&world.ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_of_all_sizes_are_found_in_all_modes),
		cmocka_unit_test(what_is_not_mapped_is_not_found),
		cmocka_unit_test(addresses_that_cannot_be_are_refused),
		cmocka_unit_test(reserved_bits_are_damage),
		cmocka_unit_test(bits_that_software_may_use_are_none),
		cmocka_unit_test(tables_outside_of_memory_are_damage),
		cmocka_unit_test(tables_that_hold_themselves_end),
		cmocka_unit_test(what_is_remembered_can_be_forgotten),
		cmocka_unit_test(a_full_cache_confuses_nothing),
		cmocka_unit_test(reads_and_writes_cross_pages),
		cmocka_unit_test(reads_end_at_the_last_address),
		cmocka_unit_test(what_is_mapped_outside_of_memory_is_found_but_not_read),
		cmocka_unit_test(strings_end_before_what_is_not_mapped),
		cmocka_unit_test(each_level_may_forbid_writing),
		cmocka_unit_test(a_poke_is_compared_and_keeps_off_what_is_protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
