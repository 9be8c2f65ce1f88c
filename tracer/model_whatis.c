/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an address is: see model_query.h.
 *
 * Live blocks do not overlap, so the one that could hold an address is the last that begins at or
 * before it. Where none does, the slab's grid says where a block would be, and what is remembered of
 * freed blocks which one was there last.
 */
#include <errno.h>
#include <string.h>

#include "schema/spans.h"
#include "tracer/model_internal.h"
#include "tracer/model_query.h"
#include "tracer/stack_id.h"

enum {
	LOOK_PLACES = 1 << 17, /* for the block before: a millisecond */
};

static void set_cache(const struct kms_model_image *image, uint16_t cache,
		      struct kms_model_row *row)
{
	const struct kms_cache_entry *entry = kms_model_cache_entry(image, cache);

	row->block.cache = NULL;
	if (!entry)
		return;
	memcpy(row->cache, entry->name, sizeof(entry->name));
	row->cache[sizeof(entry->name)] = '\0';
	row->block.cache = row->cache;
}

void kms_model_row_set(const struct kms_model *model, const struct kms_model_target *target,
		       uint64_t address, const struct kms_live *live, struct kms_model_row *row)
{
	const struct kms_model_image *image = kms_model_image_find(model, target->image);
	const struct kms_site *site = &model->sites.site[live->site];
	const struct kms_thread *thread = kms_model_thread(image, live->thread);
	bool is_live = live->low_bits & KMS_LIVE_LIVE;

	row->block = (struct kms_view_block){
		.target = target->id,
		.state = is_live ? KMS_BLOCK_LIVE : KMS_BLOCK_FREE,
		.address = address,
		.bytes = kms_live_size(live),
		.alloc_ns = is_live && !(live->flags & KMS_LIVE_BASE)
				    ? kms_model_run_time(model, image, kms_live_time(live))
				    : 0,
		.alloc_stack_id = kms_stack_id(image->id, site->node),
		.alloc_tid = thread ? thread->tid : 0,
	};
	set_cache(image, site->cache, row);
}

/* Does the block that an entry is of reach to an address? One of no bytes has its own address. */
static bool covers(const struct kms_live *live, uint64_t begin, uint64_t address)
{
	uint64_t bytes = kms_live_size(live);

	return address - begin < (bytes ? bytes : 1);
}

struct look {
	const struct kms_model *model;
	const struct kms_model_target *target;
	const struct kms_model_image *image;
	uint64_t address;
	struct kms_live_extent extent;
	bool in_slab, in_guard;
};

/* The block that an entry is of, if it is one in sight. */
static bool take(const struct look *look, bool only_live, struct kms_model_row *row)
{
	size_t budget = LOOK_PLACES;
	uint64_t begin = look->address;
	const struct kms_live *live =
		kms_live_before(&look->target->set, &begin, only_live, &budget);
	uint64_t slot;

	if (!live)
		return false;
	if (!covers(live, begin, look->address)) {
		/* behind the block, yet in its own guard slot: an overflow, or the page behind it */
		if (!look->in_guard)
			return false;
		slot = look->extent.stride_bytes ? look->extent.stride_bytes
						 : look->extent.pages << KMS_LIVE_PAGE_SHIFT;
		if (begin < look->extent.base || (begin - look->extent.base) / slot !=
							 (look->address - look->extent.base) / slot)
			return false;
	}
	kms_model_row_set(look->model, look->target, begin, live, row);
	return true;
}

/* The block at the address's place in the grid of its slab. */
static bool take_place(const struct look *look, struct kms_model_row *row)
{
	const struct kms_live_extent *e = &look->extent;
	uint64_t offset = look->address - e->base;
	const struct kms_live *live;
	uint64_t begin = e->base;

	if (!look->in_slab || look->in_guard || !e->stride_bytes || offset < e->first_bytes)
		return false;
	begin += e->first_bytes + (offset - e->first_bytes) / e->stride_bytes * e->stride_bytes;
	live = kms_live_find(&look->target->set, begin);
	if (live && kms_live_size(live)) {
		kms_model_row_set(look->model, look->target, begin, live, row);
		return true;
	}
	row->block = (struct kms_view_block){
		.target = look->target->id, .state = KMS_BLOCK_NEVER, .address = begin};
	set_cache(look->image, e->cache, row);
	return true;
}

int kms_model_whatis(const struct kms_model *model, uint32_t target_id, uint64_t address,
		     struct kms_model_row *out)
{
	struct look look = {.model = model, .address = address};
	struct kms_live_extent extent;

	memset(out, 0, sizeof(*out));
	look.target = kms_model_target_find(model, target_id);
	if (!look.target)
		return -ESRCH;
	look.image = kms_model_image_find(model, look.target->image);
	if (!look.image || !kms_live_is_canonical(address))
		return 0;
	look.in_slab = kms_live_extent_at(&look.target->set, address, &look.extent);
	look.in_guard = look.in_slab && kms_model_is_guard_run(look.image, &look.extent);
	if (!take(&look, true, out) && !take_place(&look, out) && !take(&look, false, out))
		return 0;
	/* a large block's slab is known by its first page */
	if (kms_live_extent_at(&look.target->set, look.in_slab ? address : out->block.address,
			       &extent)) {
		out->block.slab = extent.base;
		out->block.slab_pages = extent.pages;
	}
	return 0;
}
