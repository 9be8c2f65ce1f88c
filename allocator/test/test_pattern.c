/* SPDX-License-Identifier: BSD-2-Clause */
/* The redzone pattern against the vectors of the original, and the size classes' arithmetic. */
#include "allocator/pattern.h"
#include "allocator/sizeclass.h"
#include "base/test/unit.h"

static void pattern_bytes_are_those_of_the_original(void **state)
{
	static const struct {
		uint64_t address;
		uint8_t byte;
	} rows[] = {
		{0x1,                0x9e},
		{0x2,                0x3c},
		{0x7,                0x53},
		{0x8,                0xf1},
		{0x10,               0xe3},
		{0x1000,             0x7f},
		{0x1008,             0x71},
		{0x7f0000001000,     0x83},
		{0x7f0000001008,     0x75},
		{0x7fffdeadbee8,     0xf2},
		{0xffff80003c424ee0, 0x80},
 /* 0 in the original, where only the first byte of a redzone is replaced */
		{0x0,                0xfe},
		{0x7f0000001026,     0xfe},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(kms_pattern_byte(rows[i].address), rows[i].byte);
}

static void a_redzone_is_two_bytes_of_the_pattern(void **state)
{
	unsigned char memory[64];

	(void)state;
	for (size_t i = 0; i + 2 < sizeof(memory); i++) {
		kms_redzone_fill(memory + i);
		assert_true(kms_redzone_whole(memory + i));
		assert_int_equal(memory[i], kms_pattern_byte((uintptr_t)memory + i));
		assert_int_equal(memory[i + 1], kms_pattern_byte((uintptr_t)memory + i + 1));
		memory[i + 1] ^= 1;
		assert_false(kms_redzone_whole(memory + i));
	}
}

static void every_need_finds_the_smallest_class_that_holds_it(void **state)
{
	(void)state;
	for (size_t need = 1; need <= KMS_MALLOC_MAX_BYTES; need++) {
		unsigned cls = kms_malloc_class(need);

		assert_true(cls < KMS_MALLOC_CLASSES);
		assert_true(kms_malloc_class_bytes(cls) >= need);
		assert_int_equal(kms_malloc_class_bytes(cls) % KMS_MALLOC_ALIGN, 0);
		if (cls)
			assert_true(kms_malloc_class_bytes(cls - 1) < need);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pattern_bytes_are_those_of_the_original),
		cmocka_unit_test(a_redzone_is_two_bytes_of_the_pattern),
		cmocka_unit_test(every_need_finds_the_smallest_class_that_holds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
