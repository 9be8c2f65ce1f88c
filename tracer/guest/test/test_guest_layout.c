/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the RAM of machines lies. The numbers are those of `info mtree -f` of QEMU 7.2. */
#include <errno.h>

#include "base/test/unit.h"
#include "tracer/guest/layout.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* What a machine has below 4 GiB; the rest is above. */
struct row {
	const char *machine;
	uint64_t ram;
	uint64_t max_below;
	uint64_t below;
};

static const struct row rows[] = {
	{"pc",		16 * MIB,   0,          16 * MIB  },
	{"pc-i440fx-7.2",     3583 * MIB, 0,          3583 * MIB},
	{"pc-i440fx-2.0",     3584 * MIB, 0,          3072 * MIB},
	{"pc",		4 * GIB,    0,          3072 * MIB},
	{"pc",		4 * GIB,    3584 * MIB, 3072 * MIB},
	{"pc",		3584 * MIB, 4 * GIB,    3584 * MIB},
	{"q35",               512 * MIB,  0,          512 * MIB },
	{"q35",               2815 * MIB, 0,          2815 * MIB},
	{"pc-q35-6.2",        2816 * MIB, 0,          2048 * MIB},
	{"q35",               64 * GIB,   0,          2048 * MIB},
	{"q35",               2 * GIB,    1 * GIB,    1 * GIB   },
	{"q35",               3 * GIB,    3 * GIB,    2048 * MIB},
	{"microvm",           3072 * MIB, 0,          3072 * MIB},
	{"microvm",           3583 * MIB, 0,          3072 * MIB},
	{"isapc",             3583 * MIB, 0,          3583 * MIB},
	{"isapc",             4 * GIB,    0,          3584 * MIB},
	{"x-of-another-kind", 1 * GIB,    0,          1 * GIB   },
};

static void machines_part_their_memory_where_qemu_does(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_guest_layout layout;
		const struct row *row = &rows[i];

		assert_int_equal(kms_guest_layout_make(&layout,
						       kms_guest_machine_find(row->machine),
						       row->ram, row->max_below, NULL),
				 0);
		assert_int_equal(kms_guest_layout_check(&layout, NULL), 0);
		assert_int_equal(layout.segments, row->below < row->ram ? 2 : 1);
		assert_int_equal(layout.segment[0].address, 0);
		assert_int_equal(layout.segment[0].bytes, row->below);
		if (layout.segments == 1)
			continue;
		assert_int_equal(layout.segment[1].address, 4 * GIB);
		assert_int_equal(layout.segment[1].bytes, row->ram - row->below);
		assert_int_equal(layout.segment[1].place, row->below);
	}
}

static void an_unknown_machine_with_much_memory_is_refused(void **state)
{
	struct kms_guest_layout layout;
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	assert_int_equal(
		kms_guest_layout_make(&layout, KMS_GUEST_MACHINE_UNKNOWN, 4 * GIB, 0, &err),
		-EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_int_equal(kms_guest_layout_make(&layout, KMS_GUEST_MACHINE_PC, 0, 0, NULL), -ERANGE);
	assert_int_equal(kms_guest_layout_make(&layout, KMS_GUEST_MACHINE_PC, 4097, 0, NULL),
			 -ERANGE);
	assert_int_equal(
		kms_guest_layout_make(&layout, KMS_GUEST_MACHINE_PC, UINT64_MAX - 4095, 0, NULL),
		-ERANGE);
}

static void impossible_layouts_are_refused(void **state)
{
	static const struct kms_guest_layout bad[] = {
		{.segments = 0},
		{             .segments = KMS_GUEST_RANGES + 1            },
		{ .segments = 1,             .segment = {{0, 0, 0}}},
		{             .segments = 1,             .segment = {{1, 4096, 0}}},
		{             .segments = 1,             .segment = {{0, 4095, 0}}},
		{             .segments = 1,             .segment = {{0, 4096, UINT64_MAX - 1}}},
		{             .segments = 1,             .segment = {{0, UINT64_C(1) << 60, 0}}},
		{             .segments = 2,             .segment = {{8192, 4096, 0}, {0, 4096, 4096}}},
		{             .segments = 2,             .segment = {{0, 8192, 0}, {4096, 4096, 8192}}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kms_guest_layout_check(&bad[i], NULL), -EINVAL);
}

static void places_are_behind_their_addresses(void **state)
{
	struct kms_guest_layout layout;
	uint64_t bytes;

	(void)state;
	assert_int_equal(kms_guest_layout_make(&layout, KMS_GUEST_MACHINE_Q35, 4 * GIB, 0, NULL),
			 0);
	assert_int_equal(kms_guest_layout_shift(&layout, 0x10000, NULL), 0);
	assert_int_equal(kms_guest_layout_place(&layout, 0x1000, &bytes), 0x11000);
	assert_int_equal(bytes, 2 * GIB - 0x1000);
	assert_int_equal(kms_guest_layout_place(&layout, 2 * GIB - 1, &bytes),
			 2 * GIB - 1 + 0x10000);
	assert_int_equal(bytes, 1);
	assert_int_equal(kms_guest_layout_place(&layout, 4 * GIB + 5, &bytes),
			 2 * GIB + 5 + 0x10000);
	assert_int_equal(kms_guest_layout_shift(&layout, UINT64_MAX - 4096, NULL), -ERANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machines_part_their_memory_where_qemu_does),
		cmocka_unit_test(an_unknown_machine_with_much_memory_is_refused),
		cmocka_unit_test(impossible_layouts_are_refused),
		cmocka_unit_test(places_are_behind_their_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
