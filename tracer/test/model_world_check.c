/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_world.h: comparing the model with the truth. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/test/model_world.h"

/* What the walk over a target's set finds. */
struct found {
	uint64_t blocks, bytes;
};

static void count_block(void *arg, uint64_t address, const struct kms_live *live)
{
	struct found *found = arg;

	(void)address;
	found->blocks++;
	found->bytes += kms_live_size(live);
}

static bool check_block(const struct world *w, const struct kms_model *model,
			const struct world_process *p, const struct world_block *b)
{
	const struct kms_model_target *target = kms_model_target_find(model, p->target);
	const struct kms_live *live = kms_live_find(&target->set, b->address);
	bool is_live = live && live->low_bits & KMS_LIVE_LIVE;
	const struct kms_site *site;

	if (b->tainted)
		return true;
	if (is_live != (b->live && b->known)) {
		printf("target %u address %" PRIx64
		       ": %s, should be %s (generation %u, known %d)\n",
		       p->target, b->address, is_live ? "live" : "free",
		       b->live ? b->known ? "live" : "unknown" : "free", b->generation,
		       live ? kms_live_generation(live) : -1);
		return false;
	}
	if (!is_live)
		return true;
	site = &model->sites.site[live->site];
	if (kms_live_size(live) == b->size && site->node == b->node && site->target == b->owner &&
	    (site->cache == b->cache || w->config.regrow || w->config.trace))
		return true;
	printf("target %u address %" PRIx64 ": size %" PRIu64 " node %u cache %u of %u, should be "
	       "%" PRIu64 " %u %u of %u\n",
	       p->target, b->address, kms_live_size(live), site->node, site->cache, site->target,
	       b->size, b->node, b->cache, b->owner);
	return false;
}

static bool check_process(const struct world *w, const struct kms_model *model,
			  const struct world_process *p, bool lossless)
{
	const struct kms_model_target *target = kms_model_target_find(model, p->target);
	struct found truth = {0};
	struct found found = {0};
	uint64_t from = 0;
	size_t budget = SIZE_MAX;

	if (!target)
		return !p->claimed;
	if (!p->traced)
		return true; /* it ended unseen */
	if (p->told != p->session)
		return true; /* it began to record anew and ended before it wrote anything */
	for (unsigned i = 0; i < WORLD_PLACES; i++) {
		const struct world_place *place = &p->place[i];

		for (uint32_t k = 0; k < place->count; k++) {
			if (!place->made || place->tainted)
				continue;
			if (!check_block(w, model, p, &place->block[k]))
				return false;
			truth.blocks += place->block[k].known;
			truth.bytes += place->block[k].known ? place->block[k].size : 0;
		}
	}
	(void)kms_live_walk(&target->set, &from, &budget, count_block, &found);
	if (found.blocks != target->live_objects || found.bytes != target->live_bytes) {
		printf("target %u: %" PRIu64 " blocks in the set, %" PRIu64 " counted\n", p->target,
		       found.blocks, target->live_objects);
		return false;
	}
	if (lossless && (found.blocks != truth.blocks || found.bytes != truth.bytes)) {
		printf("target %u: %" PRIu64 " live blocks of %" PRIu64 " bytes, should be %" PRIu64
		       " of %" PRIu64 "\n",
		       p->target, found.blocks, found.bytes, truth.blocks, truth.bytes);
		return false;
	}
	return true;
}

/* What the model and the truth say of a site, or of all sites of a stack. */
struct pair {
	struct world_site truth, model;
};

static void add_site(const struct world *w, const struct kms_model *model, uint32_t target,
		     uint32_t node, uint16_t cache, struct pair *pair)
{
	const struct world_site *truth = &w->site[target - w->config.first_target][node][cache];
	uint32_t index = kms_sites_find(&model->sites, target, node, cache);

	pair->truth.allocs += truth->allocs;
	pair->truth.frees += truth->frees;
	pair->truth.live += truth->live;
	pair->truth.live_bytes += truth->live_bytes;
	if (index == KMS_SITE_NONE)
		return;
	pair->model.allocs += model->sites.site[index].allocs;
	pair->model.frees += model->sites.site[index].frees;
	pair->model.live += model->sites.site[index].live_count;
	pair->model.live_bytes += model->sites.site[index].live_bytes;
}

static bool check_pair(const struct pair *pair, uint32_t target, uint32_t node, uint16_t cache)
{
	if (memcmp(&pair->truth, &pair->model, sizeof(pair->truth)) == 0)
		return true;
	printf("site %u/%u/%u: allocs %" PRIu64 " frees %" PRIu64 " live %" PRIu64
	       ", should be %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
	       target, node, cache, pair->model.allocs, pair->model.frees, pair->model.live,
	       pair->truth.allocs, pair->truth.frees, pair->truth.live);
	return false;
}

/* Sites of one stack. Where slabs change their cache, late events do not know which it was. */
static bool check_sites(const struct world *w, const struct kms_model *model, uint32_t target,
			uint32_t node)
{
	struct pair all = {0};

	for (uint16_t cache = 0; cache < (uint16_t)WORLD_CACHES; cache++) {
		struct pair one = {0};

		add_site(w, model, target, node, cache, &one);
		add_site(w, model, target, node, cache, &all);
		if (!w->config.regrow && !check_pair(&one, target, node, cache))
			return false;
	}
	return check_pair(&all, target, node, WORLD_CACHES);
}

bool world_check(const struct world *w, const struct kms_model *model)
{
	bool lossless = w->dropped == 0;
	bool complete = lossless && !w->config.trace;

	for (size_t i = 0; i < w->n_processes; i++) {
		const struct world_process *p = w->process[i];

		if (p->claimed && !check_process(w, model, p, lossless))
			return false;
		for (uint32_t node = 1; p->claimed && complete && node <= WORLD_NODES; node++)
			if (!check_sites(w, model, p->target, node))
				return false;
	}
	return true;
}

static bool check_peak(uint32_t target, uint64_t live, uint64_t peak)
{
	if (peak >= live)
		return true;
	printf("target %" PRIu32 " (0: the run): %" PRIu64 " bytes live, peak %" PRIu64 "\n",
	       target, live, peak);
	return false;
}

bool world_check_figures(const struct kms_model *model)
{
	uint64_t bytes = 0;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		if (!target)
			continue;
		bytes += target->live_bytes - target->inherited_bytes;
		if (!check_peak(id, target->live_bytes, target->peak_bytes))
			return false;
	}
	if (bytes != model->live_bytes)
		printf("%" PRIu64 " bytes live in the run, its targets have %" PRIu64 "\n",
		       model->live_bytes, bytes);
	return bytes == model->live_bytes && check_peak(0, bytes, model->peak_bytes);
}
