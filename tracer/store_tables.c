/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables of the regions. Only pages that are changing are in memory; one that changes again later
 * (a hole was filled) is read back from the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tracer/store_impl.h"

static size_t entry_bytes(const struct store_page *page)
{
	return kms_table_entry_bytes(page->page.section);
}

/* What the file has of this page, if anything. */
static int read_back(struct kms_store *store, struct store_page *page)
{
	sqlite3_stmt *stmt = store->stmt[STORE_PAGE_READ];
	const struct kms_value id =
		KMS_INT(kms_table_page_id(page->image, page->page.section, page->page.page));
	int result = 0;
	int rc = kms_db_bind(stmt, &id, 1);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		result = kms_table_page_unpack(&page->page, sqlite3_column_blob(stmt, 0),
					       (size_t)sqlite3_column_bytes(stmt, 0));
	else if (rc != SQLITE_DONE)
		result = kms_db_errno(rc);
	(void)sqlite3_reset(stmt); /* says again what step said */
	page->room = page->page.entries;
	return result;
}

static struct store_page *find_page(const struct kms_store *store, uint64_t key)
{
	const uint64_t *found = kms_u64map_find(&store->pages, key);

	return found ? kms_u64map_pointer(*found) : NULL;
}

static int get_page(struct kms_store *store, uint32_t image, uint32_t section, uint32_t number,
		    struct store_page **out)
{
	uint64_t key = kms_table_page_id(image, section, number);
	struct store_page *page = find_page(store, key);
	int result;

	if (!page) {
		page = calloc(1, sizeof(*page));
		if (!page)
			return -ENOMEM;
		page->image = image;
		page->page.section = section;
		page->page.page = number;
		page->dirty_lo = KMS_TABLE_PAGE_ENTRIES;
		result = read_back(store, page);
		if (!result)
			result = kms_u64map_set(&store->pages, key, kms_u64map_value(page));
		if (result < 0) {
			free(page->page.data);
			free(page);
			return result;
		}
	}
	page->used = true;
	*out = page;
	return 0;
}

/* Makes room for entries [0, want); new ones are zero, which is not ready. */
static int page_extend(struct store_page *page, uint32_t want)
{
	size_t bytes = entry_bytes(page);
	uint32_t room = page->room ? page->room : 16;
	uint8_t *data;

	if (want <= page->page.entries)
		return 0;
	while (room < want)
		room *= 2;
	if (room > KMS_TABLE_PAGE_ENTRIES)
		room = KMS_TABLE_PAGE_ENTRIES;
	if (room > page->room) {
		data = realloc(page->page.data, room * bytes);
		if (!data)
			return -ENOMEM;
		page->page.data = data;
		page->room = room;
	}
	memset(page->page.data + page->page.entries * bytes, 0,
	       (want - page->page.entries) * bytes);
	page->page.entries = want;
	return 0;
}

static int put_entries(struct store_page *page, uint32_t at, uint32_t n, const uint8_t *data)
{
	size_t bytes = entry_bytes(page);
	int result = page_extend(page, at + n);

	if (result < 0)
		return result;
	memcpy(page->page.data + at * bytes, data, n * bytes);
	page->dirty_lo = at < page->dirty_lo ? at : page->dirty_lo;
	page->dirty_hi = at + n > page->dirty_hi ? at + n : page->dirty_hi;
	return 0;
}

int store_add_table(struct kms_store *store, const struct kms_batch_table *from,
		    struct kms_err *err)
{
	uint32_t bytes = kms_table_entry_bytes(from->section);
	uint32_t max = kms_table_entries_max(from->section);
	uint32_t at = from->first, end = from->first + from->count;

	if (!bytes || bytes != from->entry_bytes || end < at || end > max ||
	    from->image > KMS_RUN_IMAGES_MAX)
		return kms_err_set(err, -EINVAL, "no such table: section %u, entries %u to %u",
				   from->section, at, end);
	while (at < end) {
		uint32_t in_page = at % KMS_TABLE_PAGE_ENTRIES;
		uint32_t n = KMS_TABLE_PAGE_ENTRIES - in_page;
		struct store_page *page;
		int result = get_page(store, from->image, from->section,
				      at / KMS_TABLE_PAGE_ENTRIES, &page);

		n = n < end - at ? n : end - at;
		if (!result)
			result = put_entries(page, in_page, n,
					     from->data + (size_t)(at - from->first) * bytes);
		if (result < 0)
			return kms_err_set(err, result, "cannot keep table entries");
		at += n;
	}
	return 0;
}

/* One 8-byte unit of an image's strings. */
static int string_unit(struct kms_store *store, uint32_t image, uint32_t index, uint8_t out[8])
{
	struct store_page *page;
	uint32_t at = index % KMS_TABLE_PAGE_ENTRIES;
	int result;

	if (index >= kms_table_entries_max(KMS_SEC_STRING))
		return -ENOENT;
	result = get_page(store, image, KMS_SEC_STRING, index / KMS_TABLE_PAGE_ENTRIES, &page);
	if (result < 0)
		return result;
	if (at >= page->page.entries)
		return -ENOENT;
	memcpy(out, page->page.data + at * sizeof(uint64_t), sizeof(uint64_t));
	return 0;
}

int store_string(struct kms_store *store, uint32_t image, uint32_t index, char *out, size_t room)
{
	struct kms_string_head head;
	uint8_t unit[8];
	size_t length, at = 0;
	int result = string_unit(store, image, index, unit);

	out[0] = '\0';
	if (result < 0)
		return result;
	memcpy(&head, unit, sizeof(head));
	if (!head.ready)
		return -ENOENT;
	length = head.ready - 1 < room - 1 ? head.ready - 1 : room - 1;
	while (at < length) {
		size_t n = length - at < sizeof(unit) ? length - at : sizeof(unit);

		result = string_unit(store, image, ++index, unit);
		if (result < 0) {
			out[0] = '\0';
			return result;
		}
		memcpy(out + at, unit, n);
		at += n;
	}
	out[length] = '\0';
	return 0;
}

static int name_module(struct kms_store *store, const struct store_page *page, uint32_t index,
		       const uint8_t *entry)
{
	struct kms_module m;
	char path[PATH_MAX];
	char build_id[2 * sizeof(m.build_id) + 1] = "";
	bool has_path;

	memcpy(&m, entry, sizeof(m));
	if (!m.ready)
		return 0;
	has_path = store_string(store, page->image, m.path_string, path, sizeof(path)) == 0;
	for (uint32_t i = 0; i < m.build_id_bytes && i < sizeof(m.build_id); i++)
		(void)snprintf(build_id + 2 * (size_t)i, 3, "%02x", m.build_id[i]); /* fits */
	return STORE_ROW(&store->rows, STORE_MODULE, KMS_INT(page->image), KMS_INT(index),
			 KMS_INT(m.start), KMS_INT(m.end), KMS_INT(m.load_bias), KMS_INT(m.slot),
			 KMS_INT(m.epoch), KMS_TEXT(has_path ? path : NULL), KMS_TEXT(build_id));
}

static int name_thread(struct kms_store *store, const struct store_page *page, uint32_t index,
		       const uint8_t *entry)
{
	struct kms_thread t;
	char name[sizeof(t.name) + 1];

	memcpy(&t, entry, sizeof(t));
	if (!t.ready)
		return 0;
	memcpy(name, t.name, sizeof(t.name));
	name[sizeof(t.name)] = '\0';
	return STORE_ROW(&store->rows, STORE_THREAD, KMS_INT(page->image), KMS_INT(index),
			 KMS_INT(t.slot), KMS_INT(t.tid), KMS_TEXT(name));
}

static int name_cache(struct kms_store *store, const struct store_page *page, uint32_t index,
		      const uint8_t *entry)
{
	struct kms_cache_entry c;
	char name[sizeof(c.name) + 1];

	memcpy(&c, entry, sizeof(c));
	if (!c.ready)
		return 0;
	memcpy(name, c.name, sizeof(c.name));
	name[sizeof(c.name)] = '\0';
	return STORE_ROW(&store->rows, STORE_CACHE_NAME, KMS_INT(page->image), KMS_INT(index),
			 KMS_TEXT(name), KMS_INT(c.object_bytes), KMS_INT(c.stride_bytes),
			 KMS_INT(c.kind));
}

/* Tables that have readable copies. */
static int name_entry(struct kms_store *store, const struct store_page *page, uint32_t index,
		      const uint8_t *entry)
{
	switch (page->page.section) {
	case KMS_SEC_MODULE:
		return name_module(store, page, index, entry);
	case KMS_SEC_THREAD:
		return name_thread(store, page, index, entry);
	case KMS_SEC_CACHE:
		return name_cache(store, page, index, entry);
	default:
		return 0;
	}
}

int store_name_table(struct kms_store *store, const struct kms_batch_table *from)
{
	struct store_page page = {.image = from->image, .page = {.section = from->section}};
	int result = 0;

	for (uint32_t i = 0; !result && i < from->count; i++)
		result = name_entry(store, &page, from->first + i,
				    from->data + (size_t)i * from->entry_bytes);
	return result == -ENOSPC ? 0 : result; /* dropped and counted */
}

static int write_page(struct kms_store *store, const struct store_page *page)
{
	KMS_AUTO_FREE uint8_t *packed = malloc(kms_table_page_room(&page->page));
	size_t bytes = packed ? kms_table_page_pack(&page->page, packed) : 0;

	if (!bytes)
		return SQLITE_NOMEM;
	return KMS_RUN(store->stmt[STORE_PAGE],
		       KMS_INT(kms_table_page_id(page->image, page->page.section, page->page.page)),
		       KMS_INT(page->image), KMS_INT(page->page.section), KMS_INT(page->page.page),
		       KMS_INT(page->page.entries), KMS_BLOB(packed, bytes));
}

int store_write_pages(struct kms_store *store)
{
	int rc = SQLITE_DONE;

	for (size_t i = 0; rc == SQLITE_DONE && i < store->pages.slots; i++) {
		const struct store_page *page;

		if (store->pages.slot[i].value == UINT64_MAX)
			continue;
		page = kms_u64map_pointer(store->pages.slot[i].value);
		if (page->dirty_lo < page->dirty_hi)
			rc = write_page(store, page);
	}
	return rc;
}

static void free_page(struct store_page *page)
{
	free(page->page.data);
	free(page);
}

/* Keeps what was used since the last commit, for it will likely be again. */
void store_pages_written(struct kms_store *store)
{
	struct kms_u64map kept = {0};

	for (size_t i = 0; i < store->pages.slots; i++) {
		const struct kms_u64map_slot *slot = &store->pages.slot[i];
		struct store_page *page;

		if (slot->value == UINT64_MAX)
			continue;
		page = kms_u64map_pointer(slot->value);
		page->dirty_lo = KMS_TABLE_PAGE_ENTRIES;
		page->dirty_hi = 0;
		if (!page->used || kms_u64map_set(&kept, slot->key, slot->value) < 0)
			free_page(page);
		else
			page->used = false;
	}
	kms_u64map_deinit(&store->pages);
	store->pages = kept;
}

void store_pages_free(struct kms_store *store)
{
	for (size_t i = 0; i < store->pages.slots; i++)
		if (store->pages.slot[i].value != UINT64_MAX)
			free_page(kms_u64map_pointer(store->pages.slot[i].value));
	kms_u64map_deinit(&store->pages);
}
