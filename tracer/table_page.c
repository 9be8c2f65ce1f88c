/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/table_page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "schema/region.h"
#include "tracer/base_entry.h"
#include "tracer/varint.h"

enum {
	PAGE_VERSION = 1,
	ZSTD_LEVEL = 1,
	HEAD_ROOM = 1 + 2 * KMS_VARINT_BYTES,
};

/* Tables that a trace keeps, by enum kms_section_kind. */
static const struct {
	uint32_t entry_bytes;
	uint32_t entries_max;
} tables[] = {
	[KMS_SEC_NODE] = {sizeof(struct kms_node),        KMS_MAX_NODES           },
	[KMS_SEC_CACHE] = {sizeof(struct kms_cache_entry), KMS_MAX_CACHES          },
	[KMS_SEC_MODULE] = {sizeof(struct kms_module),      KMS_MAX_MODULES         },
	[KMS_SEC_THREAD] = {sizeof(struct kms_thread),      KMS_MAX_THREADS         },
 /* Entries of 8 bytes, the unit in which strings are counted. */
	[KMS_SEC_STRING] = {8,                              KMS_MAX_STRING_BYTES / 8},
	[KMS_SEC_FAULT] = {sizeof(struct kms_fault),       KMS_MAX_FAULTS          },
	[KMS_SEC_FORK_CUT] = {sizeof(struct kms_fork_cut),    KMS_MAX_FORK_CUTS       },
	[KMS_TABLE_BASE] = {sizeof(struct kms_base_entry),  KMS_MAX_NODES           },
};

uint32_t kms_table_entry_bytes(uint32_t section)
{
	return section < sizeof(tables) / sizeof(*tables) ? tables[section].entry_bytes : 0;
}

uint32_t kms_table_entries_max(uint32_t section)
{
	return section < sizeof(tables) / sizeof(*tables) ? tables[section].entries_max : 0;
}

size_t kms_table_page_room(const struct kms_table_page *page)
{
	size_t body = (size_t)page->entries * kms_table_entry_bytes(page->section);

	return HEAD_ROOM + ZSTD_compressBound(body);
}

/* Parent to distance and back: the same subtraction. */
static void turn_parents(uint8_t *data, uint32_t first, uint32_t entries)
{
	for (uint32_t i = 0; i < entries; i++) {
		uint8_t *parent =
			data + i * sizeof(struct kms_node) + offsetof(struct kms_node, parent);
		uint32_t value;

		memcpy(&value, parent, sizeof(value));
		value = first + i - value;
		memcpy(parent, &value, sizeof(value));
	}
}

static void to_planes(const uint8_t *rows, uint8_t *planes, size_t entries, size_t entry_bytes)
{
	for (size_t i = 0; i < entries; i++)
		for (size_t b = 0; b < entry_bytes; b++)
			planes[b * entries + i] = rows[i * entry_bytes + b];
}

static void from_planes(const uint8_t *planes, uint8_t *rows, size_t entries, size_t entry_bytes)
{
	for (size_t i = 0; i < entries; i++)
		for (size_t b = 0; b < entry_bytes; b++)
			rows[i * entry_bytes + b] = planes[b * entries + i];
}

/* Packs with two pieces of memory, each as long as the body. */
static size_t pack(const struct kms_table_page *page, uint8_t *rows, uint8_t *planes, uint8_t *out)
{
	size_t entry_bytes = kms_table_entry_bytes(page->section);
	size_t body = page->entries * entry_bytes;
	uint8_t *p = out;
	size_t packed;

	memcpy(rows, page->data, body);
	if (page->section == KMS_SEC_NODE)
		turn_parents(rows, page->page * KMS_TABLE_PAGE_ENTRIES, page->entries);
	to_planes(rows, planes, page->entries, entry_bytes);
	*p++ = PAGE_VERSION;
	p = kms_varint_put(p, entry_bytes);
	p = kms_varint_put(p, page->entries);
	packed = ZSTD_compress(p, ZSTD_compressBound(body), planes, body, ZSTD_LEVEL);
	if (ZSTD_isError(packed) || packed >= body) {
		memcpy(p, planes, body);
		packed = body;
	}
	return (size_t)(p - out) + packed;
}

size_t kms_table_page_pack(const struct kms_table_page *page, uint8_t *out)
{
	size_t body = page->entries * (size_t)kms_table_entry_bytes(page->section);
	uint8_t *memory = malloc(2 * body + 1);
	size_t bytes;

	if (!memory)
		return 0;
	bytes = pack(page, memory, memory + body, out);
	free(memory);
	return bytes;
}

static int unpack_body(struct kms_table_page *page, const uint8_t *p, size_t stored,
		       size_t entry_bytes)
{
	size_t body = page->entries * entry_bytes;
	uint8_t *planes = malloc(body + 1);
	uint8_t *rows = malloc(body + 1);
	int result = planes && rows ? 0 : -ENOMEM;

	if (!result && stored == body)
		memcpy(planes, p, body);
	else if (!result && (stored > body || ZSTD_decompress(planes, body, p, stored) != body))
		result = -EBADMSG;
	if (!result) {
		from_planes(planes, rows, page->entries, entry_bytes);
		if (page->section == KMS_SEC_NODE)
			turn_parents(rows, page->page * KMS_TABLE_PAGE_ENTRIES, page->entries);
		page->data = rows;
		rows = NULL;
	}
	free(planes);
	free(rows);
	return result;
}

int kms_table_page_unpack(struct kms_table_page *page, const void *packed, size_t bytes)
{
	const uint8_t *p = packed;
	const uint8_t *end = bytes ? p + bytes : p; /* an empty blob has no address */
	uint64_t entry_bytes, entries;

	if (!bytes || *p++ != PAGE_VERSION || !kms_varint_get(&p, end, &entry_bytes) ||
	    !kms_varint_get(&p, end, &entries))
		return -EBADMSG;
	if (!entry_bytes || entry_bytes != kms_table_entry_bytes(page->section) ||
	    entries > KMS_TABLE_PAGE_ENTRIES ||
	    page->page >= KMS_MAX_NODES / KMS_TABLE_PAGE_ENTRIES)
		return -EBADMSG;
	page->entries = (uint32_t)entries;
	return unpack_body(page, p, (size_t)(end - p), entry_bytes);
}
