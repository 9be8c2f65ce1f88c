/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/linux_slabs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	STRIDE_PAGES = 1024, /* of the table of pages, at a time */
	TAIL_FLAG = 1,       /* of compound_head: the rest is the head's address */
};

bool kms_lx_geometry(struct kms_linux *lx, const struct kms_linux_cache *cache,
		     struct kms_lx_geometry *g)
{
	uint8_t copy[KMS_LX_MAX_STRUCT_BYTES];
	uint32_t reach = kms_linux_reach(&lx->layout, KMS_LX_CACHE_NAME_AT, KMS_LX_CACHE_RANDOM_AT);
	uint32_t track = lx->layout.bytes[KMS_LX_TRACK];

	if (kms_lx_read(lx, cache->address, copy, reach, NULL))
		return false;
	*g = (struct kms_lx_geometry){
		.address = cache->address,
		.size = cache->size_bytes,
		.object = cache->object_bytes,
		.inuse = (uint32_t)kms_lx_member(lx, KMS_LX_CACHE_INUSE_AT, copy),
		.offset = (uint32_t)kms_lx_member(lx, KMS_LX_CACHE_OFFSET_AT, copy),
		.left_pad = (uint32_t)kms_lx_member(lx, KMS_LX_CACHE_RED_LEFT_PAD_AT, copy),
		.has_random = kms_linux_has_member(&lx->layout, KMS_LX_CACHE_RANDOM_AT),
		.random = kms_lx_member(lx, KMS_LX_CACHE_RANDOM_AT, copy),
		.has_owners = cache->has_owners,
		.has_red_zone = cache->flags & lx->layout.constant[KMS_LX_IS_RED_ZONE],
		.has_poison = cache->flags & lx->layout.constant[KMS_LX_IS_OBJECT_POISON],
		.has_bytes =
			cache->has_owners && cache->flags & lx->layout.constant[KMS_LX_IS_KMALLOC],
	};
	if (!g->size || g->inuse > g->size || g->offset > g->size || g->left_pad > g->size ||
	    g->object > g->inuse || g->left_pad + g->inuse > g->size ||
	    g->left_pad + g->offset + sizeof(uint64_t) > g->size)
		return false;
	/* get_info_end() of mm/slub.c: behind the free pointer where that lies behind the object */
	g->info = g->inuse + (g->offset >= g->inuse ? 8 : 0);
	g->bytes_at = g->info + 2 * track;
	if (g->has_bytes && g->left_pad + g->bytes_at + sizeof(uint32_t) > g->size)
		g->has_bytes = false;
	return !g->has_owners || g->left_pad + g->info + 2 * track <= g->size;
}

bool kms_lx_slab_memory(const struct kms_linux *lx, uint64_t slab, uint64_t *memory)
{
	uint64_t offset = slab - lx->vmemmap;
	uint32_t bytes = kms_lx_slab_bytes(lx);

	if (!bytes || offset % bytes || offset / bytes > UINT64_MAX / KMS_LX_PAGE / 2)
		return false;
	*memory = lx->linear_base + offset / bytes * KMS_LX_PAGE;
	return true;
}

bool kms_lx_slab_of_copy(const struct kms_linux *lx, uint64_t slab, const uint8_t *copy,
			 struct kms_lx_slab *out)
{
	*out = (struct kms_lx_slab){
		.address = slab,
		.cache = kms_lx_member(lx, KMS_LX_SLAB_CACHE_AT, copy),
		.first_free = kms_lx_member(lx, KMS_LX_SLAB_FREELIST_AT, copy),
		.objects = (uint32_t)kms_lx_member(lx, KMS_LX_SLAB_OBJECTS_AT, copy),
		.inuse = (uint32_t)kms_lx_member(lx, KMS_LX_SLAB_INUSE_AT, copy),
	};
	return out->objects <= KMS_LX_MAX_SLAB_OBJECTS && out->inuse <= out->objects &&
	       kms_lx_slab_memory(lx, slab, &out->memory);
}

bool kms_lx_slab_at(struct kms_linux *lx, uint64_t address, struct kms_lx_slab *out)
{
	uint64_t offset = address - lx->linear_base;
	uint32_t bytes = kms_lx_slab_bytes(lx);
	uint8_t copy[KMS_LX_MAX_SLAB_STRUCT_BYTES];
	uint64_t page, head;

	if (!bytes || bytes > sizeof(copy) || offset >= lx->linear_bytes)
		return false;
	page = lx->vmemmap + offset / KMS_LX_PAGE * bytes;
	if (kms_lx_read(lx, page, copy, bytes, NULL))
		return false;
	if (kms_linux_has_member(&lx->layout, KMS_LX_PG_HEAD_AT)) {
		head = kms_lx_member(lx, KMS_LX_PG_HEAD_AT, copy);
		if (head & TAIL_FLAG) {
			page = head - TAIL_FLAG;
			if (kms_lx_read(lx, page, copy, bytes, NULL))
				return false;
		}
	}
	return kms_lx_slab_of_copy(lx, page, copy, out);
}

bool kms_lx_freelist_mark(const struct kms_lx_geometry *g, const struct kms_lx_slab *slab,
			  const uint8_t *copy, uint64_t first, uint8_t *is_free)
{
	uint64_t begin = slab->memory + g->left_pad, at = first;

	for (uint32_t n = 0; at; n++) {
		uint64_t index = (at - begin) / g->size;
		uint64_t place = at + g->offset, next;

		if (at < begin || index >= slab->objects || n >= slab->objects ||
		    (at - begin) % g->size || is_free[index])
			return false;
		is_free[index] = 1;
		memcpy(&next, copy + (place - slab->memory), sizeof(next));
		if (g->has_random)
			next ^= g->random ^ __builtin_bswap64(place);
		at = next;
	}
	return true;
}

/* Objects that a CPU has taken over, and not yet given away. */
static bool mark_of_cpus(struct kms_linux *lx, const struct kms_lx_geometry *g,
			 const struct kms_lx_slab *slab, const uint8_t *copy, uint8_t *is_free)
{
	uint64_t offsets = kms_symbols_find(&lx->symbols, "__per_cpu_offset"), cpus = 0, base;

	if (!offsets || !kms_linux_has_member(&lx->layout, KMS_LX_CACHE_CPU_SLAB_AT) ||
	    !kms_linux_has_member(&lx->layout, KMS_LX_CACHE_CPU_FREELIST_AT) ||
	    !kms_linux_has_member(&lx->layout, KMS_LX_CACHE_CPU_OF_AT) ||
	    kms_lx_read_variable(lx, "nr_cpu_ids", sizeof(uint32_t), &cpus, NULL) ||
	    kms_lx_read_member(lx, g->address, KMS_LX_CACHE_CPU_SLAB_AT, &base, NULL))
		return true; /* it is not known: they count as taken, as in /proc/slabinfo */
	for (uint64_t i = 0; base && i < cpus && i < KMS_LINUX_MAX_CPUS; i++) {
		uint64_t offset, of = 0, first = 0;

		if (kms_lx_read_word(lx, offsets + i * sizeof(offset), &offset, NULL) ||
		    kms_lx_read_member(lx, base + offset, KMS_LX_CACHE_CPU_OF_AT, &of, NULL) ||
		    of != slab->address ||
		    kms_lx_read_member(lx, base + offset, KMS_LX_CACHE_CPU_FREELIST_AT, &first,
				       NULL))
			continue;
		if (!kms_lx_freelist_mark(g, slab, copy, first, is_free))
			return false;
	}
	return true;
}

static bool is_same(const struct kms_lx_slab *a, const struct kms_lx_slab *b)
{
	return a->cache == b->cache && a->first_free == b->first_free && a->inuse == b->inuse &&
	       a->objects == b->objects;
}

static int read_once(struct kms_linux *lx, const struct kms_lx_geometry *g,
		     struct kms_lx_slab *slab, uint8_t *copy, uint8_t *is_free)
{
	uint8_t again[KMS_LX_MAX_SLAB_STRUCT_BYTES];
	uint64_t bytes = (uint64_t)slab->objects * g->size;
	struct kms_lx_slab now;
	int rc;

	if (slab->cache != g->address || bytes > KMS_LX_MAX_SLAB_COPY_BYTES ||
	    kms_lx_slab_bytes(lx) > sizeof(again))
		return -EAGAIN;
	rc = kms_lx_read(lx, slab->memory, copy, bytes, NULL);
	memset(is_free, 0, slab->objects);
	if (rc)
		return rc;
	if (!kms_lx_freelist_mark(g, slab, copy, slab->first_free, is_free) ||
	    !mark_of_cpus(lx, g, slab, copy, is_free))
		rc = -EAGAIN;
	if (kms_lx_read(lx, slab->address, again, kms_lx_slab_bytes(lx), NULL) ||
	    !kms_lx_slab_of_copy(lx, slab->address, again, &now))
		return -EAGAIN;
	if (!is_same(slab, &now))
		rc = -EAGAIN;
	*slab = now;
	return rc;
}

int kms_lx_slab_read(struct kms_linux *lx, const struct kms_lx_geometry *g,
		     struct kms_lx_slab *slab, uint8_t *copy, uint8_t *is_free)
{
	uint32_t objects = slab->objects; /* that there is room for: it may become another slab */
	int rc = -EAGAIN;

	for (int try = 0; rc == -EAGAIN && slab->objects <= objects && try < KMS_LX_TRIES; try++)
		rc = read_once(lx, g, slab, copy, is_free);
	return rc;
}

int kms_lx_each_page(struct kms_linux *lx,
		     bool (*fn)(void *arg, uint64_t address, const uint8_t *copy), void *arg,
		     struct kms_err *err)
{
	uint32_t bytes = kms_lx_slab_bytes(lx);
	uint64_t pages = lx->linear_bytes / KMS_LX_PAGE;
	uint8_t *copy = malloc((size_t)bytes * STRIDE_PAGES + 1);
	bool ended = false;

	if (!copy)
		return kms_err_set(err, -ENOMEM, "no memory for a table of pages");
	for (uint64_t page = 0; !ended && page < pages; page += STRIDE_PAGES) {
		uint64_t at = lx->vmemmap + page * bytes;
		uint32_t n = (uint32_t)(pages - page < STRIDE_PAGES ? pages - page : STRIDE_PAGES);

		if (kms_lx_read(lx, at, copy, (size_t)n * bytes, NULL))
			continue; /* holes of RAM have no table */
		for (uint32_t i = 0; !ended && i < n; i++)
			ended = fn(arg, at + (uint64_t)i * bytes, copy + (size_t)i * bytes);
	}
	free(copy);
	return 0;
}
