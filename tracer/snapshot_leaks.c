/* SPDX-License-Identifier: BSD-2-Clause */
/* Leak suspects of a snapshot: a row for each stack with live blocks, the first suspect first. */
#include <stdlib.h>
#include <string.h>

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

/* All sites of one stack together. */
struct kin {
	uint32_t lead;
	struct kms_site sum; /* counts, the latest times, flags of any */
	size_t n_caches;     /* that hold something */
};

static void kin_sum(const struct kms_sites *sites, uint32_t lead, struct kin *kin)
{
	struct kms_site *sum = &kin->sum;

	*kin = (struct kin){.lead = lead, .sum = sites->site[lead], .n_caches = 0};
	kin->n_caches = sum->live_count != 0;
	for (uint32_t i = sites->kin[lead].next; i != KMS_SITE_NONE; i = sites->kin[i].next) {
		const struct kms_site *site = &sites->site[i];

		sum->live_count += site->live_count;
		sum->live_bytes += site->live_bytes;
		sum->allocs += site->allocs;
		sum->frees += site->frees;
		sum->flags |= site->flags;
		if (site->last_alloc_ns > sum->last_alloc_ns)
			sum->last_alloc_ns = site->last_alloc_ns;
		kin->n_caches += site->live_count != 0;
	}
}

static void kin_growth(const struct kms_sites *sites, const struct scene *scene,
		       const struct kin *kin, struct kms_leak_facts *facts)
{
	float bytes[KMS_SITE_SAMPLES + 1] = {0};
	size_t n = scene->n_times;

	for (uint32_t i = kin->lead; i != KMS_SITE_NONE; i = sites->kin[i].next)
		for (size_t k = 0; k < n && k < KMS_SITE_SAMPLES; k++)
			bytes[k] += sites->past[i].sample[k];
	bytes[n - 1] = (float)kin->sum.live_bytes;
	facts->growth_bytes_per_s = kms_leak_slope(scene->time_ns, bytes, n);
	facts->window_s = (double)(scene->time_ns[n - 1] - scene->time_ns[0]) / NS_PER_S;
}

static uint64_t kin_lifetime(const struct kms_sites *sites, const struct kin *kin)
{
	uint32_t bucket[KMS_SITE_LIFETIMES] = {0};

	for (uint32_t i = kin->lead; i != KMS_SITE_NONE; i = sites->kin[i].next)
		for (unsigned k = 0; k < KMS_SITE_LIFETIMES; k++) {
			uint32_t more = sites->past[i].lifetime[k];

			bucket[k] = more > UINT32_MAX - bucket[k] ? UINT32_MAX : bucket[k] + more;
		}
	return kms_leak_lifetime(bucket, KMS_SITE_LIFETIMES, KMS_SITE_LIFETIME_SHIFT,
				 LIFETIME_PERCENT);
}

static struct kms_leak_facts kin_facts(const struct kms_sites *sites, const struct scene *scene,
				       const struct kin *kin)
{
	const struct kms_model_clock *clock = &scene->target->clock;
	const struct kms_site_past *past = &sites->past[kin->lead];
	const struct kms_site *sum = &kin->sum;
	uint64_t since = past->median_ns ? past->median_ns : sum->last_alloc_ns;
	struct kms_leak_facts facts = {
		.count = sum->live_count,
		.bytes = sum->live_bytes,
		.allocs = sum->allocs,
		.frees = sum->frees,
		.median_age_ns = scene->now_ns > since ? scene->now_ns - since : 0,
		.total_bytes = scene->target->live_bytes - scene->target->inherited_bytes,
		.grown = past->grown | (uint32_t)(sum->live_count > past->epoch_count)
					       << clock->epoch,
		.epochs = clock->epoch + 1,
		.at_exit = scene->target->ended && scene->target->state != KMS_STATE_DETACHED,
	};

	if (sum->frees)
		facts.lifetime_p99_ns = kin_lifetime(sites, kin);
	kin_growth(sites, scene, kin, &facts);
	return facts;
}

static uint64_t kin_id(struct kms_model *model, const struct scene *scene, const struct kin *kin)
{
	struct kms_site_past *past = &model->sites.past[kin->lead];
	uint64_t id = past->leak_id;
	bool whole = false;

	if (!id) {
		id = kms_model_leak_id(model, scene->image, kin->sum.node, kin->sum.cache, &whole);
		if (whole)
			past->leak_id = id;
	}
	return id;
}

static int by_share(const void *a, const void *b)
{
	const struct kms_view_leak_cache *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->name ? x->name : "", y->name ? y->name : "");
}

/* What each cache holds of it, the largest part first. */
static struct kms_view_leak_cache *kin_caches(struct kms_snapshot_build *build,
					      const struct scene *scene, const struct kin *kin)
{
	const struct kms_sites *sites = &build->model->sites;
	struct kms_view_leak_cache *part = kms_build_take(build, kin->n_caches, sizeof(*part));
	size_t n = 0;

	for (uint32_t i = kin->lead; i != KMS_SITE_NONE; i = sites->kin[i].next) {
		const struct kms_site *site = &sites->site[i];
		struct kms_view_leak_cache view;

		if (!site->live_count)
			continue;
		view.name = kms_build_cache_name(build, scene->image->id, site->cache);
		view.bytes = site->live_bytes;
		view.count = site->live_count;
		if (part)
			part[n++] = view;
	}
	if (n > 1)
		qsort(part, n, sizeof(*part), by_share);
	return part;
}

static void kin_view(struct kms_snapshot_build *build, const struct scene *scene, uint32_t lead,
		     struct kms_view_leak *row)
{
	struct kms_model *model = build->model;
	struct kms_view_leak_cache *caches;
	struct kms_leak_facts facts;
	struct kin kin;

	kin_sum(&model->sites, lead, &kin);
	caches = kin_caches(build, scene, &kin);
	if (!row)
		return;
	facts = kin_facts(&model->sites, scene, &kin);
	*row = (struct kms_view_leak){
		.target = kin.sum.target,
		.stack_id = kms_stack_id(scene->image->id, kin.sum.node),
		.cache = caches ? caches[0].name : NULL,
		.n_caches = caches ? kin.n_caches : 0,
		.caches = caches,
		.bytes = kin.sum.live_bytes,
		.count = kin.sum.live_count,
		.age_p50_us = facts.median_age_ns / US,
		.allocs = kin.sum.allocs,
		.state = "open",
		.folded = kin.sum.flags & KMS_SITE_FOLDED,
	};
	row->score = kms_leak_score(&facts, &row->evidence);
	kms_leak_id_text(kin_id(model, scene, &kin), row->id);
}

/* Does the site stand for a stack that has live blocks? */
static bool leads(const struct kms_sites *sites, uint32_t index)
{
	return sites->kin[index].lead == index && kms_site_kin_count(sites, index);
}

static size_t count_rows(const struct kms_model *model)
{
	const struct kms_sites *sites = &model->sites;
	size_t n = 0;

	for (uint32_t i = 1; i < sites->top; i++)
		n += sites->site[i].flags && leads(sites, i);
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
			if (!leads(sites, i))
				continue;
			kin_view(build, &scene, i, row);
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
