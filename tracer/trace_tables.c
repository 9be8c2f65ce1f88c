/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of the regions in a trace, page by page as they are asked for: see trace.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/db.h"
#include "tracer/trace_impl.h"

static void free_page(struct kms_table_page *page)
{
	free(page->data);
	free(page);
}

void trace_forget_tables(struct kms_trace *trace)
{
	for (size_t i = 0; i < trace->pages.slots; i++)
		if (trace->pages.slot[i].value != UINT64_MAX)
			free_page(kms_u64map_pointer(trace->pages.slot[i].value));
	kms_u64map_deinit(&trace->pages);
	trace->pages_bytes = 0;
	for (size_t i = 0; i < trace->names.slots; i++)
		if (trace->names.slot[i].value != UINT64_MAX)
			free(kms_u64map_pointer(trace->names.slot[i].value));
	kms_u64map_deinit(&trace->names);
}

/* Unpacks what the file has; an empty page where there is none, or a damaged one. */
static void read_page(struct kms_trace *trace, uint32_t image, struct kms_table_page *page)
{
	sqlite3_stmt *stmt = trace->stmt[TRACE_PAGE];
	const struct kms_value id = KMS_INT(kms_table_page_id(image, page->section, page->page));
	int result = -ENOENT;

	if (kms_db_bind(stmt, &id, 1) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
		result = kms_table_page_unpack(page, sqlite3_column_blob(stmt, 0),
					       (size_t)sqlite3_column_bytes(stmt, 0));
	(void)sqlite3_reset(stmt); /* says again what step said */
	if (result < 0) {
		page->entries = 0;
		page->data = NULL;
	}
}

static struct kms_table_page *get_page(struct kms_trace *trace, uint32_t image, uint32_t section,
				       uint32_t number)
{
	uint64_t key = kms_table_page_id(image, section, number);
	const uint64_t *found = kms_u64map_find(&trace->pages, key);
	struct kms_table_page *page;

	if (found)
		return kms_u64map_pointer(*found);
	page = calloc(1, sizeof(*page));
	if (!page)
		return NULL;
	page->section = section;
	page->page = number;
	read_page(trace, image, page);
	if (kms_u64map_set(&trace->pages, key, kms_u64map_value(page)) < 0) {
		free_page(page);
		return NULL;
	}
	trace->pages_bytes +=
		sizeof(*page) + (size_t)page->entries * kms_table_entry_bytes(page->section);
	return page;
}

const void *kms_trace_entry(struct kms_trace *trace, uint32_t image, uint32_t section,
			    uint32_t index)
{
	uint32_t at = index % KMS_TABLE_PAGE_ENTRIES;
	const struct kms_table_page *page;

	if (index >= kms_table_entries_max(section) || image > KMS_RUN_IMAGES_MAX)
		return NULL;
	page = get_page(trace, image, section, index / KMS_TABLE_PAGE_ENTRIES);
	if (!page || at >= page->entries)
		return NULL;
	return page->data + (size_t)at * kms_table_entry_bytes(section);
}

int kms_trace_string(struct kms_trace *trace, uint32_t image, uint32_t index, char *out,
		     size_t room)
{
	const void *unit = kms_trace_entry(trace, image, KMS_SEC_STRING, index);
	struct kms_string_head head = {0};
	size_t length;

	out[0] = '\0';
	if (unit)
		memcpy(&head, unit, sizeof(head));
	if (!head.ready)
		return -ENOENT;
	length = head.ready - 1 < room - 1 ? head.ready - 1 : room - 1;
	for (size_t at = 0; at < length; at += sizeof(uint64_t)) {
		size_t n = length - at < sizeof(uint64_t) ? length - at : sizeof(uint64_t);

		unit = kms_trace_entry(trace, image, KMS_SEC_STRING, ++index);
		if (!unit) {
			out[0] = '\0';
			return -ENOENT;
		}
		memcpy(out + at, unit, n);
	}
	out[length] = '\0';
	return 0;
}

uint32_t kms_trace_tid(struct kms_trace *trace, uint32_t image, uint32_t thread)
{
	const void *entry = kms_trace_entry(trace, image, KMS_SEC_THREAD, thread);
	struct kms_thread t = {0};

	if (entry)
		memcpy(&t, entry, sizeof(t));
	return t.ready ? t.tid : 0;
}

/* Copies the name of an entry; NULL if it has none, or there is no memory. */
static char *copy_name(const void *entry)
{
	struct kms_cache_entry cache;

	if (!entry)
		return NULL;
	memcpy(&cache, entry, sizeof(cache));
	return cache.ready ? strndup(cache.name, sizeof(cache.name)) : NULL;
}

const char *kms_trace_cache_name(struct kms_trace *trace, uint32_t image, uint32_t cache)
{
	uint64_t key = (uint64_t)image << 32 | cache;
	const uint64_t *found = kms_u64map_find(&trace->names, key);
	char *name;

	if (found)
		return kms_u64map_pointer(*found);
	name = copy_name(kms_trace_entry(trace, image, KMS_SEC_CACHE, cache));
	if (kms_u64map_set(&trace->names, key, kms_u64map_value(name)) < 0) {
		free(name);
		return NULL;
	}
	return name;
}
