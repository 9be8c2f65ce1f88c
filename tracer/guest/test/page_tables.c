/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/page_tables.h"

#include <stdlib.h>
#include <string.h>

enum {
	TABLE_BYTES = 4096,
	PRESENT_WRITABLE = 3,
	PRESENT_ONLY = 1,
	LARGE = 0x80,
};

static const unsigned shifts_32[] = {22, 12, 0};
static const unsigned shifts_pae[] = {30, 21, 12, 0};
static const unsigned shifts_4[] = {39, 30, 21, 12, 0};
static const unsigned shifts_5[] = {48, 39, 30, 21, 12, 0};

static const unsigned *shifts_of(enum kms_guest_paging paging)
{
	switch (paging) {
	case KMS_GUEST_PAGING_32:
		return shifts_32;
	case KMS_GUEST_PAGING_PAE:
		return shifts_pae;
	case KMS_GUEST_PAGING_4:
		return shifts_4;
	case KMS_GUEST_PAGING_5:
		return shifts_5;
	case KMS_GUEST_PAGING_PAE_ROW: /* the tables of PAE, without the outermost */
		break;
	}
	abort();
}

static unsigned entry_bytes(const struct test_tables *tables)
{
	return tables->paging == KMS_GUEST_PAGING_32 ? 4 : 8;
}

uint64_t test_entry_get(const struct test_tables *tables, uint64_t at)
{
	uint64_t value = 0;

	memcpy(&value, tables->ram + at, entry_bytes(tables)); /* little-endian, as the guest */
	return value;
}

void test_entry_set(struct test_tables *tables, uint64_t at, uint64_t value)
{
	memcpy(tables->ram + at, &value, entry_bytes(tables));
}

static uint64_t new_table(struct test_tables *tables)
{
	uint64_t table = tables->next;

	memset(tables->ram + table, 0, TABLE_BYTES);
	tables->next += TABLE_BYTES;
	return table;
}

void test_tables_begin(struct test_tables *tables, uint8_t *ram, enum kms_guest_paging paging,
		       uint64_t root)
{
	tables->ram = ram;
	tables->paging = paging;
	tables->next = root;
	tables->root = new_table(tables);
}

uint64_t test_tables_entry(struct test_tables *tables, uint64_t address, unsigned shift)
{
	const unsigned *level = shifts_of(tables->paging);
	uint64_t table = tables->root;

	for (;; level++) {
		unsigned per_table = TABLE_BYTES / entry_bytes(tables);
		uint64_t at = table + (address >> *level) % per_table * entry_bytes(tables);
		uint64_t entry = test_entry_get(tables, at);

		if (*level == shift)
			return at;
		if (!(entry & 1)) {
			bool is_pae_top = tables->paging == KMS_GUEST_PAGING_PAE && *level == 30;

			entry = new_table(tables) | (is_pae_top ? PRESENT_ONLY : PRESENT_WRITABLE);
			test_entry_set(tables, at, entry);
		}
		table = entry & UINT64_C(0xffffffffff000);
	}
}

void test_tables_map(struct test_tables *tables, uint64_t address, uint64_t physical,
		     unsigned shift)
{
	uint64_t entry = physical | PRESENT_WRITABLE | (shift > 12 ? LARGE : 0);

	if (tables->paging == KMS_GUEST_PAGING_32 && shift == 22)
		entry = (physical & 0xffc00000) | (physical >> 32 & 0xff) << 13 | PRESENT_WRITABLE |
			LARGE;
	test_entry_set(tables, test_tables_entry(tables, address, shift), entry);
}
