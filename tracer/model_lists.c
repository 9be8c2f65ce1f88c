/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists of live blocks and of slabs, made in slices of time: see model_query.h.
 *
 * Between two slices the sets may change. A list goes on by address, so it has what lived the whole
 * time, and perhaps something of what came or went.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/model_internal.h"
#include "tracer/model_query.h"
#include "tracer/process.h"
#include "tracer/stack_id.h"

enum {
	LOOK_PLACES = 4096, /* looked at between two looks at the clock: some 10 us */
	LOOK_PAGES = 64,
	SLABS_MAX = 1 << 20, /* of one list */
	HEADER_BYTES = 8,    /* before each block of a kmem cache (DESIGN 4) */
};

struct kms_view_block kms_model_row_block(const struct kms_model_row *row)
{
	struct kms_view_block block = row->block;

	block.cache = block.cache ? row->cache : NULL;
	return block;
}

/* Doubles an array as needed; false: no memory. */
static bool reserve(void *array, size_t *room, size_t want, size_t element_bytes)
{
	size_t more = *room ? *room * 2 : 64;
	void *memory;

	if (want <= *room)
		return true;
	more = more < want ? want : more;
	memcpy(&memory, array, sizeof(memory));
	memory = reallocarray(memory, more, element_bytes);
	if (!memory)
		return false;
	memcpy(array, &memory, sizeof(memory));
	*room = more;
	return true;
}

static bool is_named(const struct kms_cache_entry *entry, const char *name)
{
	return entry && strnlen(entry->name, sizeof(entry->name)) == strlen(name) &&
	       memcmp(entry->name, name, strlen(name)) == 0;
}

/* The next target from list->target on whose set can be walked; NULL: no more. */
static const struct kms_model_target *target_from(const struct kms_model *model, uint32_t first,
						  uint32_t only)
{
	for (uint32_t id = first ? first : 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		if (target && (!only || id == only) && !target->set_dropped &&
		    kms_model_image_find(model, target->image))
			return target;
	}
	return NULL;
}

/* A walk over the blocks of one target. */
struct visit {
	const struct kms_model *model;
	const struct kms_model_target *target;
	const struct kms_model_image *image;
	struct kms_model_block_list *list;
	size_t *budget;
	bool fits[KMS_MAX_CACHES]; /* caches of the name that is asked for */
};

static bool is_asked(const struct visit *v, uint64_t address, const struct kms_live *live)
{
	const struct kms_block_query *q = v->list->query;
	const struct kms_site *site = &v->model->sites.site[live->site];

	if (site->target != v->target->id && site->target != 0)
		return false; /* inherited */
	if (v->target->id == q->after_target && address <= q->after_address)
		return false;
	if (q->cache && (site->cache >= KMS_MAX_CACHES || !v->fits[site->cache]))
		return false;
	return kms_live_size(live) >= q->min_bytes &&
	       (!q->site || kms_stack_id(v->image->id, site->node) == q->site);
}

static void visit_block(void *arg, uint64_t address, const struct kms_live *live)
{
	struct visit *v = arg;
	struct kms_model_block_list *list = v->list;

	if (list->n == list->query->limit || list->no_memory || !is_asked(v, address, live))
		return;
	if (!reserve(&list->row, &list->room, list->n + 1, sizeof(*list->row))) {
		list->no_memory = true;
		return;
	}
	kms_model_row_set(v->model, v->target, address, live, &list->row[list->n++]);
	if (list->n == list->query->limit)
		*v->budget = 0; /* the page's other blocks are passed over */
}

static void find_caches(struct visit *v, const char *name)
{
	for (uint32_t i = 0; i < KMS_MAX_CACHES; i++)
		v->fits[i] = is_named(kms_model_cache_entry(v->image, i), name);
}

/* Walks over a target for a while; true: it has no more. */
static bool walk_target(struct visit *v)
{
	size_t budget = LOOK_PLACES;

	v->budget = &budget;
	return kms_live_walk(&v->target->set, &v->list->from, &budget, visit_block, v);
}

static void begin_target(struct kms_model_block_list *list, uint32_t id)
{
	list->from = id == list->query->after_target ? list->query->after_address : 0;
	list->target = id;
}

bool kms_model_blocks(const struct kms_model *model, struct kms_model_block_list *list,
		      uint64_t until_ns)
{
	const struct kms_block_query *q = list->query;
	struct visit v = {.model = model, .list = list};

	if (!list->target)
		begin_target(list, q->after_target ? q->after_target : 1);
	while (list->n < q->limit && !list->no_memory) {
		const struct kms_model_target *target = target_from(model, list->target, q->target);

		if (!target)
			return true;
		if (target->id != list->target)
			begin_target(list, target->id);
		if (target != v.target) {
			v.target = target;
			v.image = kms_model_image_find(model, target->image);
			if (q->cache)
				find_caches(&v, q->cache);
		}
		if (walk_target(&v))
			begin_target(list, target->id + 1);
		if (kms_mono_ns() >= until_ns)
			return false;
	}
	return true;
}

int kms_model_block_list_emit(const struct kms_model_block_list *list,
			      int (*emit)(void *arg, const struct kms_view_block *block), void *arg,
			      struct kms_err *err)
{
	for (size_t i = 0; i < list->n; i++) {
		struct kms_view_block block = kms_model_row_block(&list->row[i]);

		if (emit(arg, &block))
			break;
	}
	return list->no_memory ? kms_err_set(err, -ENOMEM, "out of memory") : 0;
}

void kms_model_block_list_deinit(struct kms_model_block_list *list)
{
	free(list->row);
	list->row = NULL;
	list->n = list->room = 0;
}

/* Marks the live blocks of a slab. */
struct marking {
	const struct kms_live_extent *extent;
	uint8_t *bits;
	uint32_t count, live;
	bool is_guard;
};

static void mark_block(void *arg, uint64_t address, const struct kms_live *live)
{
	struct marking *m = arg;
	uint64_t offset = address - m->extent->base;
	uint64_t index = 0;

	if (offset >= m->extent->pages << KMS_LIVE_PAGE_SHIFT)
		return; /* the walk goes by pages that have blocks: this one is behind the slab */
	m->is_guard |= (live->flags & KMS_ATTR_GUARDED) != 0;
	if (m->extent->stride_bytes) {
		if (offset < m->extent->first_bytes)
			return;
		index = (offset - m->extent->first_bytes) / m->extent->stride_bytes;
	}
	if (index >= m->count || m->bits[index / 8] >> index % 8 & 1)
		return;
	m->bits[index / 8] |= (uint8_t)(1u << index % 8);
	m->live++;
}

static uint32_t count_blocks(const struct kms_cache_entry *entry,
			     const struct kms_live_extent *extent)
{
	uint64_t bytes = extent->pages << KMS_LIVE_PAGE_SHIFT;
	uint64_t header = entry && entry->kind == KMS_CACHE_KMEM ? HEADER_BYTES : 0;

	if (!extent->stride_bytes)
		return 1;
	if (extent->first_bytes >= bytes)
		return 0;
	return (uint32_t)((bytes - extent->first_bytes + header) / extent->stride_bytes);
}

bool kms_model_is_guard_run(const struct kms_model_image *image,
			    const struct kms_live_extent *extent)
{
	const struct kms_cache_entry *entry = kms_model_cache_entry(image, extent->cache);

	if (!entry)
		return false;
	if (!extent->stride_bytes)
		return entry->kind != KMS_CACHE_LARGE;
	return entry->stride_bytes && extent->stride_bytes != entry->stride_bytes;
}

/* Adds a slab, unless it turns out to be a run of guard slots. */
static void add_slab(struct kms_model_slab_list *list, const struct kms_model_target *target,
		     const struct kms_model_image *image, const struct kms_live_extent *extent)
{
	struct marking m = {
		.extent = extent,
		.count = count_blocks(kms_model_cache_entry(image, extent->cache), extent)};
	size_t bytes = ((size_t)m.count + 7) / 8;
	uint64_t end = extent->base + (extent->pages << KMS_LIVE_PAGE_SHIFT);
	uint64_t from = extent->base;
	size_t budget = 0; /* a page with each call */

	if (kms_model_is_guard_run(image, extent) || list->n == SLABS_MAX)
		return;
	if (!reserve(&list->slab, &list->room, list->n + 1, sizeof(*list->slab)) ||
	    /* one more: a slab that says that its blocks begin behind its end has none */
	    !reserve(&list->bytes, &list->bytes_room, list->n_bytes + bytes + 1, 1)) {
		list->no_memory = true;
		return;
	}
	m.bits = list->bytes + list->n_bytes;
	memset(m.bits, 0, bytes);
	/* the block of a slab of one begins in its first page */
	if (!extent->stride_bytes)
		end = extent->base + KMS_PAGE_BYTES;
	while (from - extent->base < end - extent->base &&
	       !kms_live_walk(&target->set, &from, &budget, mark_block, &m))
		budget = 0;
	if (m.is_guard)
		return;
	list->slab[list->n++] = (struct kms_model_slab){
		.slab = {.target = target->id,
			 .base = extent->base,
			 .pages = extent->pages,
			 .count = m.count,
			 .live = m.live},
		.bits = list->n_bytes,
	};
	list->n_bytes += bytes;
}

/* Looks at some pages of a target; true: it has no more. */
static bool slabs_of(struct kms_model_slab_list *list, const struct kms_model_target *target,
		     const struct kms_model_image *image)
{
	size_t budget = LOOK_PAGES;
	struct kms_live_extent extent;
	enum kms_live_next next;

	while ((next = kms_live_extent_next(&target->set, &list->from, &budget, &extent)) ==
	       KMS_LIVE_FOUND)
		if (is_named(kms_model_cache_entry(image, extent.cache), list->cache))
			add_slab(list, target, image, &extent);
	return next == KMS_LIVE_END;
}

bool kms_model_slabs(const struct kms_model *model, struct kms_model_slab_list *list,
		     uint64_t until_ns)
{
	while (!list->no_memory) {
		const struct kms_model_target *target =
			target_from(model, list->target, list->only);

		if (!target)
			return true;
		if (target->id != list->target) {
			list->target = target->id;
			list->from = 0;
		}
		if (slabs_of(list, target, kms_model_image_find(model, target->image))) {
			list->target = target->id + 1;
			list->from = 0;
		}
		if (kms_mono_ns() >= until_ns)
			return false;
	}
	return true;
}

int kms_model_slab_list_emit(const struct kms_model_slab_list *list,
			     int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
			     struct kms_err *err)
{
	for (size_t i = 0; i < list->n; i++) {
		struct kms_view_slab slab = list->slab[i].slab;

		slab.bitmap = list->bytes + list->slab[i].bits;
		if (emit(arg, &slab))
			break;
	}
	return list->no_memory ? kms_err_set(err, -ENOMEM, "out of memory") : 0;
}

void kms_model_slab_list_deinit(struct kms_model_slab_list *list)
{
	free(list->slab);
	free(list->bytes);
	list->slab = NULL;
	list->bytes = NULL;
	list->n = list->room = list->n_bytes = list->bytes_room = 0;
}
