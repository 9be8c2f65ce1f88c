/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pages of a pool, and which of their items are free: those in a list within the items, or, where
 * items must not be touched, in a bitmap behind the page's header. What a cache has parked is taken, as
 * the pool sees it. See netbsd.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tracer/guest/netbsd_impl.h"

enum {
	PAGE_BYTES = 4096,
	BITS = 8,
	USES_BITMAP = 0x10400, /* PR_USEBMAP, PR_NOTOUCH of sys/pool.h */
};

/* One walk. */
struct walk {
	struct kms_netbsd *nb;
	const struct kms_view_pool *pool;
	uint8_t *header; /* a copy */
	uint8_t *bitmap; /* of items that are taken */
	uint64_t left;   /* pages that may still come: no more than there is memory for */
};

static void set_free(const struct walk *w, uint64_t item)
{
	w->bitmap[item / BITS] &= (uint8_t) ~(1U << item % BITS);
}

/* The bits of free items lie behind the header, from the bitmap on. Errors: as kms_guest_read_virtual() */
static int take_bitmap(struct walk *w, uint64_t header)
{
	uint32_t count = w->pool->itemsperpage;
	size_t bytes = (count + 31) / 32 * sizeof(uint32_t);
	KMS_AUTO_FREE uint8_t *free_bits = malloc(bytes ? bytes : 1);
	uint64_t at = header + kms_nb_offset(w->nb, KMS_NB_PAGE_BITMAP_AT);
	int rc = free_bits ? kms_guest_read_virtual(&w->nb->space, at, free_bits, bytes, NULL)
			   : -ENOMEM;

	for (uint32_t i = 0; !rc && i < count; i++)
		if (free_bits[i / BITS] >> i % BITS & 1)
			set_free(w, i);
	return rc;
}

/* The list in the items. One that leaves the page, or is a loop, is followed as far as it makes sense. */
static void take_list(struct walk *w, uint64_t first)
{
	uint64_t item = kms_nb_value(w->nb, KMS_NB_PAGE_ITEMS_AT, w->header);

	for (uint32_t n = 0; item && n < w->pool->itemsperpage; n++) {
		uint64_t index = (item - first) / w->pool->size;

		if (index >= w->pool->itemsperpage || (item - first) % w->pool->size)
			return;
		set_free(w, index);
		if (kms_nb_read_word(w->nb, item + kms_nb_offset(w->nb, KMS_NB_ITEM_NEXT_AT), &item,
				     NULL))
			return;
	}
}

static int give_page(struct walk *w, uint64_t header, kms_netbsd_page_fn *emit, void *arg)
{
	const struct kms_view_pool *pool = w->pool;
	uint64_t page = kms_nb_value(w->nb, KMS_NB_PAGE_AT, w->header);
	uint64_t first = page + kms_nb_value(w->nb, KMS_NB_PAGE_OFFSET_AT, w->header);
	struct kms_view_slab slab = {
		.base = page,
		.pages = pool->page_bytes / PAGE_BYTES,
		.count = pool->itemsperpage,
		.live = kms_nb_value32(w->nb, KMS_NB_PAGE_MISSING_AT, w->header),
		.bitmap = w->bitmap,
	};

	if (slab.live > slab.count)
		slab.live = slab.count;
	memset(w->bitmap, 0xff, (slab.count + BITS - 1) / BITS);
	if (slab.count % BITS)
		w->bitmap[slab.count / BITS] &= (uint8_t)((1U << slab.count % BITS) - 1);
	if (!kms_netbsd_has(w->nb->image, KMS_NB_FOR_ITEMS))
		slab.bitmap = NULL;
	else if (!(pool->roflags & USES_BITMAP))
		take_list(w, first);
	else if (take_bitmap(w, header))
		slab.bitmap = NULL;
	return emit(arg, &slab);
}

/* Returns what emit did, or an error. */
static int walk_list(struct walk *w, uint64_t header, kms_netbsd_page_fn *emit, void *arg,
		     struct kms_err *err)
{
	uint64_t mark = 0;
	int rc = 0;

	for (size_t n = 1; !rc && header; n++) {
		if (header == mark || !w->left--)
			return kms_err_set(err, -EBADMSG, "a list of pages has no end");
		if (!(n & (n - 1)))
			mark = header;
		rc = kms_nb_read_struct(w->nb, KMS_NB_HEADER, header, w->header, err);
		if (rc && !kms_nb_is_lost(rc))
			return kms_err_set(err, -EBADMSG,
					   "a list of pages goes on at 0x%" PRIx64
					   ", where nothing is",
					   header);
		if (!rc)
			rc = give_page(w, header, emit, arg);
		header = kms_nb_value(w->nb, KMS_NB_PAGE_NEXT_AT, w->header);
	}
	return rc;
}

/* Where the three lists begin. The pool may be another one by now, or gone. */
static int read_heads(struct kms_netbsd *nb, const struct kms_view_pool *pool, uint64_t head[3],
		      struct kms_err *err)
{
	static const enum kms_nb_member lists[3] = {KMS_NB_EMPTY_PAGES_AT, KMS_NB_FULL_PAGES_AT,
						    KMS_NB_PART_PAGES_AT};

	int rc = kms_nb_read_struct(nb, KMS_NB_POOL, pool->address, nb->copy, err);

	for (int i = 0; !rc && i < 3; i++)
		head[i] = kms_nb_value(nb, lists[i], nb->copy);
	return rc;
}

int kms_netbsd_pages(struct kms_netbsd *nb, const struct kms_netbsd_pool *pool,
		     kms_netbsd_page_fn *emit, void *arg, struct kms_err *err)
{
	uint64_t head[3] = {0};
	KMS_AUTO_FREE uint8_t *header = malloc(KMS_TYPES_STRUCT_BYTES);
	KMS_AUTO_FREE uint8_t *bitmap = malloc(KMS_NETBSD_PAGE_ITEMS / BITS);
	struct walk w = {.nb = nb, .pool = &pool->figures, .header = header, .bitmap = bitmap};
	int rc;

	if (!header || !bitmap)
		return kms_err_set(err, -ENOMEM, "out of memory");
	if (!kms_netbsd_has(nb->image, KMS_NB_FOR_PAGES))
		return kms_err_set(err, -ENOTSUP, "this kernel's DWARF has no pages of pools");
	if (pool->figures.itemsperpage > KMS_NETBSD_PAGE_ITEMS || !pool->figures.size)
		return kms_err_set(err, -EBADMSG, "%s has too many items in a page", pool->name);
	kms_guest_space_forget(&nb->space);
	w.left = kms_guest_memory_bytes(nb->memory) / PAGE_BYTES;
	rc = kms_guest_memory_hold(nb->memory, err);
	if (rc)
		return rc;
	rc = read_heads(nb, &pool->figures, head, err);
	for (int i = 0; !rc && i < 3; i++)
		rc = walk_list(&w, head[i], emit, arg, err);
	(void)kms_guest_memory_let_go(nb->memory, NULL); /* reading has said it */
	return rc < 0 ? rc : 0;
}
