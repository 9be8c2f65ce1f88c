/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page of a block says which cache it is of, as long as the slab is there. What an allocation says of
 * its size must fit that cache: the page may be another's by now. Pages' structs are read 64 at a time
 * and kept for the rest of a poll.
 */
#include "tracer/guest/linux_owner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/batch_build.h"
#include "tracer/u64map.h"

enum {
	PIECES = 1024,
	PIECE_BYTES = 4096,
	TAIL_FLAG = 1,
	OF_PAGES = 0,
	OF_LARGE = 1,
};

struct kms_lx_owners {
	struct kms_cache_entry cache[KMS_MAX_CACHES];
	uint32_t n, fed;
	struct kms_u64map index; /* address of a cache: its number */
	uint64_t tag[PIECES];    /* address of a piece of the table of pages + 1; 0 none */
	uint8_t piece[PIECES][PIECE_BYTES];
};

static void add(struct kms_lx_owners *owners, const char *name, uint32_t bytes, uint32_t size)
{
	struct kms_cache_entry *entry = &owners->cache[owners->n];

	*entry = (struct kms_cache_entry){.object_bytes = bytes,
					  .stride_bytes = size,
					  .kind = size ? KMS_CACHE_POOL : KMS_CACHE_LARGE,
					  .ready = 1};
	memcpy(entry->name, name, strnlen(name, sizeof(entry->name) - 1));
	owners->n++;
}

struct kms_lx_owners *kms_lx_owners_create(void)
{
	struct kms_lx_owners *owners = calloc(1, sizeof(*owners));

	if (!owners)
		return NULL;
	add(owners, "pages", 0, 0); /* OF_PAGES */
	add(owners, "kmalloc-large", 0, 0);
	return owners;
}

void kms_lx_owners_destroy(struct kms_lx_owners *owners)
{
	if (!owners)
		return;
	kms_u64map_deinit(&owners->index);
	free(owners);
}

static bool is_same(const struct kms_cache_entry *entry, const struct kms_linux_cache *cache)
{
	return entry->object_bytes == cache->object_bytes &&
	       entry->stride_bytes == cache->size_bytes &&
	       !strncmp(entry->name, cache->name, sizeof(entry->name) - 1);
}

void kms_lx_owners_renew(struct kms_lx_owners *owners, const struct kms_linux *lx)
{
	memset(owners->tag, 0, sizeof(owners->tag));
	for (size_t i = 0; i < lx->caches; i++) {
		const struct kms_linux_cache *cache = &lx->cache[i];
		const uint64_t *known = kms_u64map_find(&owners->index, cache->address);

		if ((known && is_same(&owners->cache[*known], cache)) ||
		    owners->n == KMS_MAX_CACHES ||
		    kms_u64map_set(&owners->index, cache->address, owners->n) < 0)
			continue;
		add(owners, cache->name, cache->object_bytes, cache->size_bytes);
	}
}

/* The struct of a page, from a copy; NULL: it cannot be read. */
static const uint8_t *page_struct(struct kms_lx_owners *owners, struct kms_linux *lx, uint64_t page)
{
	uint64_t base = page / PIECE_BYTES * PIECE_BYTES;
	size_t at = base / PIECE_BYTES % PIECES;

	if (page - base > PIECE_BYTES - kms_lx_slab_bytes(lx))
		return NULL; /* across two pages: structs of 64 bytes do not lie so */
	if (owners->tag[at] == base + 1)
		return owners->piece[at] + (page - base);
	owners->tag[at] = 0;
	if (kms_lx_read(lx, base, owners->piece[at], PIECE_BYTES, NULL))
		return NULL;
	owners->tag[at] = base + 1;
	return owners->piece[at] + (page - base);
}

static uint32_t owner_of_page(struct kms_lx_owners *owners, struct kms_linux *lx, uint64_t address)
{
	uint64_t offset = address - lx->linear_base, head;
	uint32_t bytes = kms_lx_slab_bytes(lx);
	const uint64_t *index;
	const uint8_t *copy;

	if (!bytes || bytes > PIECE_BYTES || offset >= lx->linear_bytes)
		return KMS_NO_INDEX;
	copy = page_struct(owners, lx, lx->vmemmap + offset / KMS_LX_PAGE * bytes);
	if (copy && kms_linux_has_member(&lx->layout, KMS_LX_PG_HEAD_AT)) {
		head = kms_lx_member(lx, KMS_LX_PG_HEAD_AT, copy);
		if (head & TAIL_FLAG)
			copy = page_struct(owners, lx, head - TAIL_FLAG);
	}
	index = copy ? kms_u64map_find(&owners->index,
				       kms_lx_member(lx, KMS_LX_SLAB_CACHE_AT, copy))
		     : NULL;
	return index ? (uint32_t)*index : KMS_NO_INDEX;
}

uint32_t kms_lx_owner_of(struct kms_lx_owners *owners, struct kms_linux *lx,
			 const struct kms_linux_event *event)
{
	const struct kms_cache_entry *entry;
	uint32_t index;

	if (event->of == KMS_LINUX_OF_PAGES)
		return OF_PAGES;
	index = owner_of_page(owners, lx, event->address);
	if (index == KMS_NO_INDEX)
		return event->of == KMS_LINUX_OF_KMALLOC && event->room &&
				       event->room % KMS_LX_PAGE == 0 &&
				       event->address % KMS_LX_PAGE == 0
			       ? OF_LARGE
			       : index;
	entry = &owners->cache[index];
	if (event->kind != KMS_LINUX_ALLOC)
		return index;
	if (event->of == KMS_LINUX_OF_KMALLOC && event->room)
		return event->room == entry->stride_bytes || event->room == entry->object_bytes
			       ? index
			       : KMS_NO_INDEX;
	return event->bytes <= entry->object_bytes ? index : KMS_NO_INDEX;
}

uint32_t kms_lx_owner_index(const struct kms_lx_owners *owners, const struct kms_linux *lx,
			    uint32_t cache)
{
	const uint64_t *index = cache < lx->caches
					? kms_u64map_find(&owners->index, lx->cache[cache].address)
					: NULL;

	return index ? (uint32_t)*index : KMS_NO_INDEX;
}

uint32_t kms_lx_owner_bytes(const struct kms_lx_owners *owners, uint32_t index)
{
	return index < owners->n ? owners->cache[index].object_bytes : 0;
}

int kms_lx_owners_feed(struct kms_lx_owners *owners, uint32_t image, struct kms_batch *batch)
{
	uint32_t count = owners->n - owners->fed;
	struct kms_batch_table *table;

	if (!count)
		return 0;
	table = kms_batch_add_table(batch, KMS_SEC_CACHE, owners->fed, count,
				    sizeof(struct kms_cache_entry));
	if (!table)
		return -ENOMEM;
	table->image = image;
	memcpy(table->data, &owners->cache[owners->fed], count * sizeof(struct kms_cache_entry));
	owners->fed = owners->n;
	return 0;
}
