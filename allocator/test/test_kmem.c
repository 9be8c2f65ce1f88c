/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kmem(9) as its page promises: each rule of the reference's conformance list that concerns a
 * process, against the fault structures.
 */
#include <errno.h>
#include <string.h>

#include "allocator/alloc.h"
#include "allocator/kmem.h"
#include "allocator/port/process.h"
#include "allocator/test/fault_log.h"
#include "base/test/unit.h"

static void the_region_says_where_the_heap_is(void **state)
{
	void *p = kmem_alloc(100, KM_SLEEP), *large = kmem_alloc(100000, KM_SLEEP);
	const struct kms_region_header *r = kms_process_heap()->region;

	(void)state;
	assert_true(r->arena_bytes > 0);
	assert_true((uintptr_t)p - r->arena_base < r->arena_bytes);
	assert_true((uintptr_t)large - r->arena_base < r->arena_bytes);
	kmem_free(large, 100000);
	kmem_free(p, 100);
}

static void size_zero_is_a_fault_and_gives_null(void **state)
{
	(void)state;
	assert_null(kmem_alloc(0, KM_SLEEP));
	assert_non_null(strstr(fault_log_at(0)->text, "requested_size > 0"));
	fault_log_expect(KMS_FAULT_ZERO_SIZE, NULL);
	assert_null(kmem_alloc(0, KM_NOSLEEP));
	fault_log_expect(KMS_FAULT_ZERO_SIZE, NULL);
}

static void exactly_one_flag_must_be_given(void **state)
{
	static const km_flag_t bad[] = {0, KM_SLEEP | KM_NOSLEEP};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *p = kmem_alloc(16, bad[i]);

		assert_non_null(p);
		fault_log_expect(KMS_FAULT_BAD_FLAGS, NULL);
		kmem_free(p, 16);
	}
	fault_log_expect_none();
}

static void free_of_null_or_of_size_zero_is_a_fault(void **state)
{
	void *p = kmem_alloc(24, KM_SLEEP);

	(void)state;
	kmem_free(NULL, 8);
	fault_log_expect(KMS_FAULT_NULL_FREE, NULL);
	kmem_free(p, 0);
	assert_int_equal(fault_log_at(0)->kind, KMS_FAULT_ZERO_SIZE);
	fault_log_forget();
	kmem_free(p, 24);
	fault_log_expect_none();
}

static void zalloc_zeroes_a_block_that_was_dirty(void **state)
{
	unsigned char *p = kmem_alloc(61, KM_SLEEP);

	(void)state;
	memset(p, 0xa5, 61);
	kmem_free(p, 61);
	p = kmem_zalloc(61, KM_SLEEP);
	for (int i = 0; i < 61; i++)
		assert_int_equal(p[i], 0);
	kmem_free(p, 61);
	fault_log_expect_none();
}

static void interrupt_context_needs_the_intr_calls(void **state)
{
	static const int levels[] = {KMEM_CONTEXT_HARDINT, KMEM_CONTEXT_SOFTINT,
				     KMEM_CONTEXT_CALLOUT};

	(void)state;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		int before = kmem_context_enter(levels[i]);
		void *p = kmem_alloc(32, KM_NOSLEEP), *q;

		assert_non_null(strstr(fault_log_at(0)->text,
				       "should not be used from the interrupt context"));
		assert_int_equal(fault_log_at(0)->level, levels[i]);
		fault_log_expect(KMS_FAULT_WRONG_CONTEXT, NULL);
		q = kmem_intr_alloc(32, KM_NOSLEEP);
		kmem_intr_free(q, 32);
		fault_log_expect_none();
		kmem_free(p, 32);
		assert_int_equal(fault_log_at(0)->kind, KMS_FAULT_WRONG_CONTEXT);
		fault_log_forget();
		kmem_context_leave(before);
	}
}

static void sleeping_with_a_lock_held_is_a_fault(void **state)
{
	static const int lock;
	void *p;

	(void)state;
	kmem_lock_hold(&lock);
	p = kmem_alloc(32, KM_NOSLEEP);
	fault_log_expect_none();
	kmem_free(p, 32);
	p = kmem_alloc(32, KM_SLEEP);
	fault_log_expect(KMS_FAULT_SLEEP_WITH_LOCK, NULL);
	kmem_lock_drop(&lock);
	kmem_free(p, 32);
	fault_log_expect_none();
}

static void strings_have_the_size_of_what_was_copied(void **state)
{
	size_t size = 99;
	char *s = kmem_asprintf("%s", "");

	(void)state;
	kmem_free(s, 1);
	s = kmem_strdupsize("hello", &size, KM_SLEEP);
	assert_int_equal(size, 6);
	kmem_free(s, 6);
	s = kmem_strdup("hello", KM_SLEEP);
	kmem_strfree(s);
	s = kmem_strndup("abcdef", 3, KM_SLEEP);
	assert_string_equal(s, "abc");
	kmem_free(s, 4);
	s = kmem_strndup("hello", 50, KM_SLEEP);
	kmem_free(s, 6);
	kmem_strfree(NULL);
	fault_log_expect_none();
	s = kmem_strdup("hello", KM_SLEEP);
	s[2] = '\0';
	kmem_strfree(s);
	assert_int_equal(fault_log_at(0)->argument_bytes, 3);
	fault_log_expect(KMS_FAULT_SIZE_MISMATCH, s);
	assert_null(kmem_strndup("hello", 0, KM_SLEEP));
	fault_log_expect(KMS_FAULT_ZERO_SIZE, NULL);
}

static void roundup_size_rounds_to_the_quantum(void **state)
{
	(void)state;
	assert_int_equal(kmem_roundup_size(0), 0);
	assert_int_equal(kmem_roundup_size(1), 8);
	assert_int_equal(kmem_roundup_size(8), 8);
	assert_int_equal(kmem_roundup_size(9), 16);
}

static const char *cache_of(const void *p)
{
	struct kms_place place;

	kms_place_find(kms_process_heap(), (uintptr_t)p, &place);
	assert_non_null(place.span);
	return kms_process_heap()->cache[place.span->cache]->name;
}

static void classes_follow_the_table_of_the_page(void **state)
{
	static const struct {
		size_t size;
		const char *cache;
	} rows[] = {
  /* SIZE and REDZONE: the third column of the reference's table */
		{1,    "kmem-16"   },
                {6,    "kmem-16"   },
                {7,    "kmem-24"   },
		{8,    "kmem-24"   },
                {14,   "kmem-24"   },
                {15,   "kmem-32"   },
		{16,   "kmem-32"   },
                {56,   "kmem-80"   },
                {64,   "kmem-80"   },
		{120,  "kmem-160"  },
                {128,  "kmem-160"  },
                {1014, "kmem-1024" },
		{1015, "kmem-2048" },
                {1024, "kmem-2048" },
                {2040, "kmem-4096" },
		{2048, "kmem-4096" },
                {4086, "kmem-4096" },
                {4087, "kmem-large"},
		{4096, "kmem-large"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *p = kmem_alloc(rows[i].size, KM_SLEEP);

		assert_string_equal(cache_of(p), rows[i].cache);
		assert_int_equal((uintptr_t)p % 8, 0);
		kmem_free(p, rows[i].size);
	}
	fault_log_expect_none();
}

static void a_wrong_size_at_free_is_named_with_both_sizes(void **state)
{
	static const size_t sizes[] = {1, 8, 40, 1000, 5000, 70000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *p = kmem_alloc(sizes[i], KM_SLEEP);

		kmem_free(p, sizes[i] + 1);
		assert_int_equal(fault_log_at(0)->argument_bytes, sizes[i] + 1);
		assert_int_equal(fault_log_at(0)->block_bytes, sizes[i]);
		assert_non_null(strstr(fault_log_at(0)->text, "!= allocated size"));
		fault_log_expect(KMS_FAULT_SIZE_MISMATCH, p);
	}
}

static void a_second_free_is_a_double_free(void **state)
{
	static const size_t sizes[] = {8, 40, 1000, 5000, 70000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *p = kmem_alloc(sizes[i], KM_SLEEP);

		kmem_free(p, sizes[i]);
		kmem_free(p, sizes[i]);
		assert_non_null(strstr(fault_log_at(0)->text, "18446744073709551615"));
		fault_log_expect(KMS_FAULT_DOUBLE_FREE, p);
	}
}

static void pointers_that_are_no_block_are_invalid(void **state)
{
	char on_stack[64];
	char *p = kmem_alloc(100, KM_SLEEP);

	(void)state;
	kmem_free(on_stack, sizeof(on_stack));
	fault_log_expect(KMS_FAULT_INVALID_FREE, NULL);
	kmem_free(p + 8, 92);
	fault_log_expect(KMS_FAULT_INVALID_FREE, p);
	kmem_free(p, 100);
	fault_log_expect_none();
}

static void every_byte_written_behind_a_block_is_seen(void **state)
{
	(void)state;
	for (size_t size = 1; size <= 64; size++) {
		for (size_t at = 0; at < 2; at++) {
			volatile unsigned char *p = kmem_alloc(size, KM_SLEEP);

			p[size + at] = 0;
			kmem_free((void *)p, size);
			assert_int_equal(fault_log_at(0)->address, (uintptr_t)p + size + at);
			fault_log_expect(KMS_FAULT_OVERFLOW, (const void *)p);
		}
	}
}

static void writes_behind_large_blocks_are_seen(void **state)
{
	static const size_t sizes[] = {100, 1000, 4086, 4087, 4088, 5000, 70000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		volatile unsigned char *p = kmem_alloc(sizes[i], KM_SLEEP);

		p[sizes[i]] ^= 0xff;
		kmem_free((void *)p, sizes[i]);
		fault_log_expect(KMS_FAULT_OVERFLOW, (const void *)p);
	}
}

static void a_byte_written_before_a_block_is_an_underflow(void **state)
{
	static const size_t sizes[] = {1, 8, 40, 1000, 4086, 5000, 70000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		volatile unsigned char *p = kmem_alloc(sizes[i], KM_SLEEP);

		p[-1] ^= 0x41;
		kmem_free((void *)p, sizes[i]);
		assert_int_equal(fault_log_at(0)->address, (uintptr_t)p - 1);
		fault_log_expect(KMS_FAULT_UNDERFLOW, (const void *)p);
	}
}

static void verify_finds_damage_before_the_free(void **state)
{
	volatile unsigned char *p = kmem_alloc(40, KM_SLEEP);

	(void)state;
	assert_int_equal(kmem_verify(), 0);
	p[40] ^= 0xff;
	assert_int_equal(kmem_verify(), 1);
	assert_int_equal(fault_log_at(0)->access, KMS_ACCESS_CHECK);
	fault_log_expect(KMS_FAULT_OVERFLOW, (const void *)p);
	/* It was mended: one finding for one write. */
	kmem_free((void *)p, 40);
	fault_log_expect_none();
}

static void nosleep_fails_and_counts_when_told_to(void **state)
{
	void *p;

	(void)state;
	assert_int_equal(kmem_variable_set("fail_nth", 1), 0);
	kms_process_heap()->nosleep_count = 0;
	p = kmem_alloc(40, KM_SLEEP);
	assert_non_null(p);
	kmem_free(p, 40);
	assert_null(kmem_alloc(40, KM_NOSLEEP));
	p = kmem_alloc(40, KM_NOSLEEP);
	assert_non_null(p);
	kmem_free(p, 40);
	assert_int_equal(kmem_variable_set("fail_nth", 0), 0);
	fault_log_expect_none();
}

static void variables_are_checked(void **state)
{
	uint64_t value;

	(void)state;
	assert_int_equal(kmem_variable_get("no_such", &value), -ENOENT);
	assert_int_equal(kmem_variable_set("kmem_trace", 9), -ERANGE);
	assert_int_equal(kmem_variable_set("ring_bytes", 1 << 20), -ENOTSUP);
	assert_int_equal(kmem_variable_get("trace", &value), 0);
	assert_int_equal(value, 2);
}

static void a_switch_of_checks_opens_new_slabs(void **state)
{
	unsigned char *old = kmem_alloc(40, KM_SLEEP), *fresh;

	(void)state;
	assert_int_equal(kmem_variable_set("redzone", 0), 0);
	fresh = kmem_alloc(40, KM_SLEEP);
	assert_string_equal(cache_of(old), "kmem-56");
	assert_string_equal(cache_of(fresh), "kmem-48");
	/* The old block keeps its checks to its end. */
	old[40] ^= 0xff;
	kmem_free(old, 40);
	fault_log_expect(KMS_FAULT_OVERFLOW, old);
	assert_int_equal(kmem_variable_set("redzone", 1), 0);
	kmem_free(fresh, 40);
	fault_log_expect_none();
}

static void poison_finds_a_write_after_free(void **state)
{
	unsigned char *p;
	void *again[200];
	int i;

	(void)state;
	assert_int_equal(kmem_variable_set("poison", 1), 0);
	p = kmem_alloc(40, KM_SLEEP);
	kmem_free(p, 40);
	p[5] ^= 0xff;
	for (i = 0; i < 200 && !fault_log_count(); i++)
		again[i] = kmem_alloc(40, KM_SLEEP);
	assert_int_equal(fault_log_at(0)->address, (uintptr_t)p + 5);
	fault_log_expect(KMS_FAULT_MODIFIED_AFTER_FREE, p);
	while (i-- > 0)
		kmem_free(again[i], 40);
	assert_int_equal(kmem_variable_set("poison", 0), 0);
	fault_log_expect_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_region_says_where_the_heap_is),
		cmocka_unit_test(size_zero_is_a_fault_and_gives_null),
		cmocka_unit_test(exactly_one_flag_must_be_given),
		cmocka_unit_test(free_of_null_or_of_size_zero_is_a_fault),
		cmocka_unit_test(zalloc_zeroes_a_block_that_was_dirty),
		cmocka_unit_test(interrupt_context_needs_the_intr_calls),
		cmocka_unit_test(sleeping_with_a_lock_held_is_a_fault),
		cmocka_unit_test(strings_have_the_size_of_what_was_copied),
		cmocka_unit_test(roundup_size_rounds_to_the_quantum),
		cmocka_unit_test(classes_follow_the_table_of_the_page),
		cmocka_unit_test(a_wrong_size_at_free_is_named_with_both_sizes),
		cmocka_unit_test(a_second_free_is_a_double_free),
		cmocka_unit_test(pointers_that_are_no_block_are_invalid),
		cmocka_unit_test(every_byte_written_behind_a_block_is_seen),
		cmocka_unit_test(writes_behind_large_blocks_are_seen),
		cmocka_unit_test(a_byte_written_before_a_block_is_an_underflow),
		cmocka_unit_test(verify_finds_damage_before_the_free),
		cmocka_unit_test(nosleep_fails_and_counts_when_told_to),
		cmocka_unit_test(variables_are_checked),
		cmocka_unit_test(a_switch_of_checks_opens_new_slabs),
		cmocka_unit_test(poison_finds_a_write_after_free),
	};

	return cmocka_run_group_tests(tests, fault_log_setup, NULL);
}
