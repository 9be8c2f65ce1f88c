/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the model gives up when there is too much, in this order: live sets and tables of images
 * whose processes have all ended (their sites keep the figures), sites of those that hold nothing,
 * then all but the sums of those; entries of freed blocks of the others. What still does not fit is
 * counted and not kept, and the snapshot says so.
 */
#include "tracer/model_internal.h"

enum {
	TRIM_EVERY_BATCHES = 256,
};

static bool image_is_over(const struct kms_model *model, uint32_t id)
{
	const struct kms_model_image *image = kms_model_image_find(model, id);

	return image && image->n_ended == image->n_targets;
}

/* Is the target over, with all that could refer to its blocks? */
static bool is_over(const struct kms_model *model, const struct kms_model_target *target)
{
	return target->ended && image_is_over(model, target->image);
}

/* Ids of stacks, while there is a table to make them of. */
static void name_sites(struct kms_model *model, const struct kms_model_target *target)
{
	struct kms_model_image *image = kms_model_image_find(model, target->image);
	struct kms_sites *sites = &model->sites;
	bool whole;

	for (uint32_t i = target->first_site; i != KMS_SITE_NONE; i = sites->past[i].next)
		if (sites->kin[i].lead == i && !sites->past[i].leak_id &&
		    kms_site_kin_count(sites, i))
			sites->past[i].leak_id = kms_model_leak_id(
				model, image, sites->site[i].node, sites->site[i].cache, &whole);
}

static void target_shrink(struct kms_model *model, struct kms_model_target *target)
{
	struct kms_model_image *image = kms_model_image_find(model, target->image);

	if (!target->set_dropped) {
		/* the pass under way may be another target's: finish all that is open */
		while (target->changes != target->changes_passed &&
		       !kms_model_medians(model, SIZE_MAX))
			if (!model->pass.target)
				break;
		kms_live_deinit(&target->set);
		kms_live_deinit(&target->before);
		target->set_dropped = true;
	}
	if (!image->tables_dropped)
		name_sites(model, target);
}

/* Drops the live sets and tables of images that are over. */
static void drop_over(struct kms_model *model)
{
	for (uint32_t id = 1; id <= model->top_target; id++) {
		struct kms_model_target *target = kms_model_target_find(model, id);

		if (target && is_over(model, target))
			target_shrink(model, target);
	}
	for (uint32_t id = 1; id <= model->top_image; id++) {
		struct kms_model_image *image = kms_model_image_find(model, id);

		if (image && image->n_targets && image_is_over(model, id) && !image->tables_dropped)
			kms_model_image_drop_tables(model, image);
	}
}

/* Joins @index with the target's site of everything. */
static void join_site(struct kms_sites *sites, uint32_t all, uint32_t index)
{
	struct kms_site *to = &sites->site[all];
	const struct kms_site *from = &sites->site[index];

	to->live_count += from->live_count;
	to->live_bytes += from->live_bytes;
	to->allocs += from->allocs;
	to->frees += from->frees;
	to->flags |= KMS_SITE_FOLDED;
	if (!sites->past[all].median_ns ||
	    sites->past[index].median_ns < sites->past[all].median_ns)
		sites->past[all].median_ns = sites->past[index].median_ns;
}

/* Drops a target's empty sites, or @all of them into one. */
static void drop_sites(struct kms_model *model, struct kms_model_target *target, bool all)
{
	struct kms_sites *sites = &model->sites;
	uint32_t sum = kms_sites_find(sites, target->id, 0, KMS_SITE_NO_CACHE);
	uint32_t *link = &target->first_site;

	if (all && sum == KMS_SITE_NONE) {
		/* the first one gives its place */
		struct kms_model_source source = kms_model_source_of(
			model, target, kms_model_image_find(model, target->image));
		struct kms_site saved;
		struct kms_site_past past;

		if (target->first_site == KMS_SITE_NONE)
			return;
		saved = sites->site[target->first_site];
		past = sites->past[target->first_site];
		kms_sites_drop(sites, &target->first_site);
		sum = kms_sites_get(sites, &source.owner, 0, KMS_SITE_NO_CACHE);
		sites->site[sum].live_count = saved.live_count;
		sites->site[sum].live_bytes = saved.live_bytes;
		sites->site[sum].allocs = saved.allocs;
		sites->site[sum].frees = saved.frees;
		sites->past[sum].median_ns = past.median_ns;
	}
	while (*link != KMS_SITE_NONE) {
		uint32_t index = *link;

		if (index == sum || (!all && kms_site_kin_count(sites, sites->kin[index].lead))) {
			link = &sites->past[index].next;
			continue;
		}
		if (all)
			join_site(sites, sum, index);
		kms_sites_drop(sites, link);
	}
}

static bool sites_are_many(const struct kms_sites *sites)
{
	return sites->used > sites->max - sites->max / 8;
}

static void make_site_room(struct kms_model *model)
{
	drop_over(model);
	for (int all = 0; all <= 1; all++) {
		for (uint32_t id = 1; id <= model->top_target; id++) {
			struct kms_model_target *target = kms_model_target_find(model, id);

			if (!sites_are_many(&model->sites))
				return;
			if (target && is_over(model, target))
				drop_sites(model, target, all);
		}
	}
}

void kms_model_make_room(struct kms_model *model)
{
	size_t limit = model->memory.limit_bytes;

	if (sites_are_many(&model->sites) && model->room_sites != model->sites.used) {
		make_site_room(model);
		model->room_sites = model->sites.used; /* no use to try again before that changes */
	}
	if (model->memory.used_bytes > limit / 2)
		drop_over(model);
	if (model->memory.used_bytes > limit - limit / 8 &&
	    model->batches - model->trimmed_batch >= TRIM_EVERY_BATCHES) {
		model->trimmed_batch = model->batches;
		for (uint32_t id = 1; id <= model->top_target; id++) {
			struct kms_model_target *target = kms_model_target_find(model, id);

			if (target && !target->set_dropped)
				(void)kms_live_trim(&target->set);
		}
	}
}
