/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How sites develop: epochs and samples for growth, medians of the ages of live blocks.
 *
 * All sites of a target are looked at together, so that the times are kept once. Both series cover
 * the whole life of the target, or the last half minute, at a fixed size: when one is full every
 * other point is dropped and the distance doubles.
 */
#include <string.h>

#include "tracer/model_internal.h"

enum {
	SAMPLE_FIRST_NS = 20 * 1000 * 1000,
	EPOCH_FIRST_ALLOCS = 256,
	/* What a walk over all sites costs must stay small next to what led to it. */
	EPOCH_SITE_ALLOCS = 16,
	SAMPLE_SITE_NS = 5000,
	PASS_SAMPLES = 1 << 18, /* of all sites */
	PASS_MIN = 15,
	PASS_MAX = 255,
};

/* From here on old samples are given up: 16 samples, half a minute. */
#define SAMPLE_LAST_NS UINT64_C(2000000000)

void kms_model_clock_init(struct kms_model_clock *clock)
{
	*clock = (struct kms_model_clock){.interval_ns = SAMPLE_FIRST_NS,
					  .epoch_allocs = EPOCH_FIRST_ALLOCS,
					  .next_epoch = EPOCH_FIRST_ALLOCS};
}

/* Pairs of bits become one: 32 epochs, 16 of twice the length. */
static uint32_t merge_epochs(uint32_t grown)
{
	uint32_t out = 0;

	for (unsigned i = 0; i < KMS_SITE_EPOCHS / 2; i++)
		out |= (uint32_t)((grown >> (2 * i) & 3) != 0) << i;
	return out;
}

void kms_model_epoch(struct kms_model *model, struct kms_model_target *target)
{
	struct kms_model_clock *clock = &target->clock;
	struct kms_sites *sites = &model->sites;
	bool full = clock->epoch + 1 == KMS_SITE_EPOCHS;
	uint64_t least;

	clock->sites = 0;
	for (uint32_t i = target->first_site; i != KMS_SITE_NONE; i = sites->past[i].next) {
		struct kms_site_past *past = &sites->past[i];
		uint32_t live_count;

		clock->sites++;
		if (sites->kin[i].lead != i)
			continue;
		live_count = (uint32_t)kms_site_kin_count(sites, i);
		/* most sites stand still: only what changed is written */
		if (live_count > past->epoch_count)
			past->grown |= UINT32_C(1) << clock->epoch;
		if (live_count != past->epoch_count)
			past->epoch_count = live_count;
		if (full && past->grown)
			past->grown = merge_epochs(past->grown);
	}
	clock->epoch++;
	if (full) {
		clock->epoch = KMS_SITE_EPOCHS / 2;
		clock->epoch_allocs *= 2;
	}
	least = target->events[KMS_EVENT_ALLOC] + (uint64_t)clock->sites * EPOCH_SITE_ALLOCS;
	while (clock->next_epoch <= least)
		clock->next_epoch += clock->epoch_allocs;
}

/* Makes room for one more sample: thins them out, or gives up the oldest. */
static void samples_shift(struct kms_sites *sites, struct kms_model_target *target)
{
	struct kms_model_clock *clock = &target->clock;
	bool thin = clock->interval_ns < SAMPLE_LAST_NS;
	unsigned kept = thin ? KMS_SITE_SAMPLES / 2 : KMS_SITE_SAMPLES - 1;
	unsigned step = thin ? 2 : 1;

	for (unsigned k = 0; k < kept; k++)
		clock->sample_ns[k] = clock->sample_ns[k * step + 1];
	for (uint32_t i = target->first_site; i != KMS_SITE_NONE; i = sites->past[i].next)
		for (unsigned k = 0; k < kept; k++)
			sites->past[i].sample[k] = sites->past[i].sample[k * step + 1];
	clock->n_samples = kept;
	if (thin)
		clock->interval_ns *= 2;
}

static void target_sample(struct kms_model *model, struct kms_model_target *target, uint64_t now_ns)
{
	struct kms_model_clock *clock = &target->clock;
	struct kms_sites *sites = &model->sites;

	if (clock->n_samples == KMS_SITE_SAMPLES)
		samples_shift(sites, target);
	for (uint32_t i = target->first_site; i != KMS_SITE_NONE; i = sites->past[i].next)
		sites->past[i].sample[clock->n_samples] = (float)sites->site[i].live_bytes;
	clock->sample_ns[clock->n_samples++] = now_ns;
}

void kms_model_sample(struct kms_model *model)
{
	for (uint32_t id = 1; id <= model->top_target; id++) {
		struct kms_model_target *target = kms_model_target_find(model, id);
		const struct kms_model_clock *clock;
		uint64_t now, interval;

		if (!target || target->clock_stopped)
			continue;
		clock = &target->clock;
		now = kms_model_target_now(model, target);
		interval = (uint64_t)clock->sites * SAMPLE_SITE_NS;
		if (interval < clock->interval_ns)
			interval = clock->interval_ns;
		if (!clock->n_samples || now - clock->sample_ns[clock->n_samples - 1] >= interval)
			target_sample(model, target, now);
	}
}

/* The k-th smallest of n. */
static uint64_t select_kth(uint64_t *v, size_t n, size_t k)
{
	size_t low = 0;
	size_t high = n - 1;

	while (low < high) {
		uint64_t pivot = v[low + (high - low) / 2];
		size_t i = low;
		size_t j = high;

		for (;;) {
			uint64_t t;

			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i >= j)
				break;
			t = v[i];
			v[i++] = v[j];
			v[j--] = t;
		}
		if (k <= j)
			high = j;
		else
			low = j + 1;
	}
	return v[k];
}

/* Which sites the pass is about, and how many of their blocks it takes. */
static bool pass_begin(struct kms_model *model, struct kms_model_target *target)
{
	struct kms_model_pass *pass = &model->pass;
	struct kms_sites *sites = &model->sites;
	size_t n = 0;
	uint32_t most, first = 0;

	for (uint32_t i = target->first_site; i != KMS_SITE_NONE; i = sites->past[i].next)
		n += sites->kin[i].lead == i && kms_site_kin_count(sites, i);
	pass->n_sites = 0;
	most = n && PASS_SAMPLES / n < PASS_MAX ? (uint32_t)(PASS_SAMPLES / n) | 1 : PASS_MAX;
	most = most < PASS_MIN ? PASS_MIN : most;
	if (kms_memory_reserve(&model->memory, &pass->site, &pass->site_room, n,
			       sizeof(*pass->site)))
		return false;
	for (uint32_t i = target->first_site; i != KMS_SITE_NONE; i = sites->past[i].next) {
		uint32_t count;

		if (sites->kin[i].lead != i)
			continue;
		count = (uint32_t)kms_site_kin_count(sites, i);
		if (!count)
			continue;
		sites->past[i].scratch = (uint32_t)pass->n_sites;
		pass->site[pass->n_sites++] = (struct kms_pass_site){
			.site = i,
			.first = first,
			.quota = count < most ? count : most,
			.stride = (count + most - 1) / most,
		};
		first += count < most ? count : most;
	}
	if (kms_memory_reserve(&model->memory, &pass->time_ns, &pass->room, first,
			       sizeof(*pass->time_ns)))
		return false;
	pass->target = target->id;
	pass->from = 0;
	target->changes_passed = target->changes;
	return true;
}

static void pass_visit(void *arg, uint64_t address, const struct kms_live *live)
{
	struct kms_model *model = arg;
	struct kms_model_pass *pass = &model->pass;
	uint32_t lead = model->sites.kin[live->site].lead;
	uint32_t index = model->sites.past[lead].scratch;
	struct kms_pass_site *site = &pass->site[index];

	(void)address;
	/* a site that is not the target's, or was made since, has no place in the pass */
	if (index >= pass->n_sites || site->site != lead ||
	    model->sites.site[lead].target != pass->target)
		return;
	if (site->seen++ % site->stride == 0 && site->count < site->quota)
		pass->time_ns[site->first + site->count++] = kms_live_time(live);
}

static void pass_end(struct kms_model *model)
{
	struct kms_model_pass *pass = &model->pass;

	for (size_t i = 0; i < pass->n_sites; i++) {
		const struct kms_pass_site *site = &pass->site[i];

		/* of two in the middle the younger: a suspect is not made to look older */
		if (site->count)
			model->sites.past[site->site].median_ns = select_kth(
				&pass->time_ns[site->first], site->count, site->count / 2);
	}
	pass->target = 0;
}

/* The next target with changes since its last pass, in turn; NULL if there is none. */
static struct kms_model_target *pass_next(struct kms_model *model)
{
	for (uint32_t i = 1; i <= model->top_target; i++) {
		uint32_t id = (model->pass.last + i - 1) % model->top_target + 1;
		struct kms_model_target *target = kms_model_target_find(model, id);

		if (target && target->changes != target->changes_passed && !target->set_dropped)
			return target;
	}
	return NULL;
}

bool kms_model_medians(struct kms_model *model, size_t budget)
{
	struct kms_model_pass *pass = &model->pass;
	struct kms_model_target *target;

	while (budget) {
		if (!pass->target) {
			target = pass_next(model);
			if (!target)
				return true;
			if (!pass_begin(model, target))
				return false;
		}
		target = kms_model_target_find(model, pass->target);
		if (!kms_live_walk(&target->set, &pass->from, &budget, pass_visit, model))
			return false;
		pass->last = pass->target;
		pass_end(model);
	}
	return !pass_next(model);
}

void kms_model_pass_deinit(struct kms_model *model)
{
	kms_memory_free(&model->memory, model->pass.time_ns,
			model->pass.room * sizeof(*model->pass.time_ns));
	kms_memory_free(&model->memory, model->pass.site,
			model->pass.site_room * sizeof(*model->pass.site));
	model->pass = (struct kms_model_pass){0};
}
