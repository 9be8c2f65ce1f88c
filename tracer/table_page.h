/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The append-only tables of a region in the trace file: 1024 entries a row of region_pages, holes
 * included. An entry that becomes ready later replaces its row.
 *
 * Packed: version byte; bytes of an entry and entries, both LEB128; then the body: as it is if the rest
 * of the row is as long as that, else a zstd frame. The body is the entries byte plane by byte plane: first byte of each, second byte of each, ... In a stack node the parent
 * is replaced by its distance, own index - parent.
 */
#ifndef KMS_TRACER_TABLE_PAGE_H
#define KMS_TRACER_TABLE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	KMS_TABLE_PAGE_ENTRIES = 1024,
	KMS_TABLE_ENTRY_BYTES_MAX = 1024,
};

/** Bytes of an entry and how many there can be, by enum kms_section_kind; 0 if it is no such table. */
uint32_t kms_table_entry_bytes(uint32_t section);
uint32_t kms_table_entries_max(uint32_t section);

/** Number of a page in its trace: region_pages.id. */
static inline uint64_t kms_table_page_id(uint32_t image, uint32_t section, uint32_t page)
{
	return (uint64_t)image << 32 | section << 16 | page;
}

/** Part of one table. */
struct kms_table_page {
	uint32_t section; /* enum kms_section_kind */
	uint32_t page;    /* its first entry has index page * KMS_TABLE_PAGE_ENTRIES */
	uint32_t entries;
	uint8_t *data; /* entries * kms_table_entry_bytes(section) */
};

/** Room that packing needs. */
size_t kms_table_page_room(const struct kms_table_page *page);

/**
 * Packs a page; returns its bytes.
 *
 * Shape:  @out has kms_table_page_room() bytes
 * Errors: 0: no memory
 */
size_t kms_table_page_pack(const struct kms_table_page *page, uint8_t *out);

/**
 * Unpacks a page; section and page are set by the caller.
 *
 * Owner:  the caller frees page->data, on success only
 * Errors: -EBADMSG: damaged, or not of this section; -ENOMEM
 */
int kms_table_page_unpack(struct kms_table_page *page, const void *packed, size_t bytes);

#endif
