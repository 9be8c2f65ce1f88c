/* SPDX-License-Identifier: BSD-2-Clause */
/* Leak suspects of a snapshot: a row for each site with live blocks, the first suspect first. */
#include <stdlib.h>

#include "tracer/leaks.h"
#include "tracer/snapshot_build.h"
#include "tracer/stack_id.h"

enum {
	US = 1000,
	LIFETIME_PERCENT = 99,
};

#define NS_PER_S 1e9

/* What all sites of a target are measured against. */
struct scene {
	const struct kms_model_target *target;
	struct kms_model_image *image;
	uint64_t now_ns;
	size_t n_times;
	uint64_t time_ns[KMS_SITE_SAMPLES + 1];
};

static void scene_set(struct scene *scene, const struct kms_model *model,
		      const struct kms_model_target *target)
{
	const struct kms_model_clock *clock = &target->clock;

	scene->target = target;
	scene->image = kms_model_image_find(model, target->image);
	scene->now_ns = kms_model_target_now(model, target);
	scene->n_times = clock->n_samples;
	for (uint32_t i = 0; i < clock->n_samples; i++)
		scene->time_ns[i] = clock->sample_ns[i];
	if (!scene->n_times || scene->now_ns > scene->time_ns[scene->n_times - 1])
		scene->time_ns[scene->n_times++] = scene->now_ns;
}

static void site_growth(const struct scene *scene, const struct kms_site *site,
			const struct kms_site_past *past, struct kms_leak_facts *facts)
{
	float bytes[KMS_SITE_SAMPLES + 1];
	size_t n = scene->n_times;

	for (size_t i = 0; i < n && i < KMS_SITE_SAMPLES; i++)
		bytes[i] = past->sample[i];
	bytes[n - 1] = (float)site->live_bytes;
	facts->growth_bytes_per_s = kms_leak_slope(scene->time_ns, bytes, n);
	facts->window_s = (double)(scene->time_ns[n - 1] - scene->time_ns[0]) / NS_PER_S;
}

static struct kms_leak_facts site_facts(const struct scene *scene, const struct kms_site *site,
					const struct kms_site_past *past)
{
	const struct kms_model_clock *clock = &scene->target->clock;
	uint64_t since = past->median_ns ? past->median_ns : site->last_alloc_ns;
	struct kms_leak_facts facts = {
		.count = site->live_count,
		.bytes = site->live_bytes,
		.allocs = site->allocs,
		.frees = site->frees,
		.median_age_ns = scene->now_ns > since ? scene->now_ns - since : 0,
		.total_bytes = scene->target->live_bytes - scene->target->inherited_bytes,
		.grown = past->grown | (uint32_t)(site->live_count > past->epoch_count)
					       << clock->epoch,
		.epochs = clock->epoch + 1,
		.at_exit = scene->target->ended && scene->target->state != KMS_STATE_DETACHED,
	};

	if (site->frees)
		facts.lifetime_p99_ns =
			kms_leak_lifetime(past->lifetime, KMS_SITE_LIFETIMES,
					  KMS_SITE_LIFETIME_SHIFT, LIFETIME_PERCENT);
	site_growth(scene, site, past, &facts);
	return facts;
}

static uint64_t site_id(struct kms_model *model, const struct scene *scene,
			const struct kms_site *site, struct kms_site_past *past)
{
	uint64_t id = past->leak_id;
	bool whole = false;

	if (!id) {
		id = kms_model_leak_id(model, scene->image, site->node, site->cache, &whole);
		if (whole)
			past->leak_id = id;
	}
	return id;
}

static void site_view(struct kms_snapshot_build *build, const struct scene *scene, uint32_t index,
		      struct kms_view_leak *row)
{
	struct kms_model *model = build->model;
	const struct kms_site *site = &model->sites.site[index];
	struct kms_site_past *past = &model->sites.past[index];
	const char *cache = kms_build_cache_name(build, scene->image->id, site->cache);
	struct kms_leak_facts facts;

	if (!row)
		return;
	facts = site_facts(scene, site, past);
	*row = (struct kms_view_leak){
		.target = site->target,
		.stack_id = kms_stack_id(scene->image->id, site->node),
		.cache = cache,
		.bytes = site->live_bytes,
		.count = site->live_count,
		.age_p50_us = facts.median_age_ns / US,
		.allocs = site->allocs,
		.state = "open",
		.folded = site->flags & KMS_SITE_FOLDED,
	};
	row->score = kms_leak_score(&facts, &row->evidence);
	kms_leak_id_text(site_id(model, scene, site, past), row->id);
}

static size_t count_rows(const struct kms_model *model)
{
	const struct kms_sites *sites = &model->sites;
	size_t n = 0;

	for (uint32_t i = 1; i < sites->top; i++)
		n += sites->site[i].flags && sites->site[i].live_count;
	return n;
}

void kms_build_leaks(struct kms_snapshot_build *build)
{
	const struct kms_model *model = build->model;
	const struct kms_sites *sites = &model->sites;
	size_t n = count_rows(model);
	struct kms_view_leak *row = kms_build_take(build, n, sizeof(*row));
	struct kms_view_leak *first = row;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);
		struct scene scene;

		if (!target || target->first_site == KMS_SITE_NONE)
			continue;
		scene_set(&scene, model, target);
		for (uint32_t i = target->first_site; i != KMS_SITE_NONE; i = sites->past[i].next) {
			if (!sites->site[i].live_count)
				continue;
			site_view(build, &scene, i, row);
			row += row != NULL;
		}
	}
	if (!build->out)
		return;
	build->out->n_leaks = n;
	build->out->leak = first;
	if (n > 1)
		qsort(first, n, sizeof(*first), kms_leak_compare);
}
