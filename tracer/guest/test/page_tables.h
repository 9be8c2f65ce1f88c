/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables as a kernel would make them, in RAM of a test. Written from the manual and apart from
 * space.c, so that a mistake there is not repeated here.
 */
#ifndef KMS_TRACER_GUEST_TEST_PAGE_TABLES_H
#define KMS_TRACER_GUEST_TEST_PAGE_TABLES_H

#include <stdint.h>

#include "tracer/guest/space.h"

/** Tables under construction: pages are taken from @next on. */
struct test_tables {
	uint8_t *ram;
	enum kms_guest_paging paging;
	uint64_t root;
	uint64_t next; /* next free page for a table */
};

/** An empty root at a page of RAM; further tables come from the pages behind it. */
void test_tables_begin(struct test_tables *tables, uint8_t *ram, enum kms_guest_paging paging,
		       uint64_t root);

/** Maps a page of 1 << shift bytes. Shape: shift one that the mode has; both aligned to it */
void test_tables_map(struct test_tables *tables, uint64_t address, uint64_t physical,
		     unsigned shift);

/** Guest-physical address of the entry that maps address, or would, at the level of that shift. */
uint64_t test_tables_entry(struct test_tables *tables, uint64_t address, unsigned shift);

/** An entry, 4 or 8 bytes by the mode. */
uint64_t test_entry_get(const struct test_tables *tables, uint64_t at);
void test_entry_set(struct test_tables *tables, uint64_t at, uint64_t value);

#endif
