/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an alloc or free does once it is its turn: live set, site, cache, totals, history.
 */
#include "tracer/model_commit.h"

#include <assert.h>

/* The figures of the whole run: a forked child's inherited blocks are its parent's. */
static void add_live(const struct kms_model_source *source, uint64_t bytes)
{
	struct kms_model_target *target = source->target;
	struct kms_model *model = source->model;

	target->live_objects++;
	target->live_bytes += bytes;
	if (target->live_bytes > target->peak_bytes)
		target->peak_bytes = target->live_bytes;
	if (kms_model_is_inherited(source)) {
		target->inherited_objects++;
		target->inherited_bytes += bytes;
	}
	if (kms_model_is_inherited(source))
		return;
	model->live_bytes += bytes;
	if (model->live_bytes > model->peak_bytes)
		model->peak_bytes = model->live_bytes;
}

static void take_live(const struct kms_model_source *source, uint64_t bytes, bool own)
{
	struct kms_model_target *target = source->target;

	target->live_objects--;
	target->live_bytes -= bytes;
	if (!own) {
		target->inherited_objects--;
		target->inherited_bytes -= bytes;
	} else {
		source->model->live_bytes -= bytes;
	}
}

static void cache_add(struct kms_model_cache *cache, uint64_t bytes, uint32_t flags)
{
	cache->live++;
	cache->live_bytes += bytes;
	if (flags & KMS_ATTR_GUARDED) {
		cache->guarded++;
		cache->guarded_bytes += bytes;
	}
}

static void cache_take(struct kms_model_cache *cache, uint64_t bytes, uint32_t flags)
{
	cache->live--;
	cache->live_bytes -= bytes;
	if (flags & KMS_ATTR_GUARDED) {
		cache->guarded--;
		cache->guarded_bytes -= bytes;
	}
}

void kms_model_add_live(const struct kms_model_source *source, uint64_t bytes, uint16_t cache,
			uint32_t flags)
{
	cache_add(kms_model_target_cache(source->model, source->target, cache), bytes, flags);
	add_live(source, bytes);
}

/* Next place in the history: what the event says, and the address's entry before it. */
static inline struct kms_past *remember(const struct kms_model_source *source,
					const struct kms_event *event, uint8_t kind,
					const struct kms_live *live)
{
	struct kms_model_history *history = &source->model->history;
	struct kms_past *past = kms_model_history_at(history, history->next++);

	past->address = event->address;
	past->time_ns = event->time_ns;
	past->ring_seq = event->ring_seq;
	past->target = source->target->id;
	past->stack = event->stack;
	past->ring = (uint16_t)source->ring;
	past->claim = source->claim;
	past->kind = kind;
	past->generation = kms_live_generation(live);
	past->alloc_ns = kms_live_time(live);
	past->flags = live->low_bits & KMS_LIVE_OPEN ? KMS_LIVE_WAS_OPEN : 0;
	return past;
}

/* The block that an event ended. */
static inline void remember_block(struct kms_past *past, const struct kms_live *live,
				  const struct kms_site *site)
{
	past->site = live->site;
	past->alloc_stack = site->node;
	past->size_low = live->size_low;
	past->size_high = live->size_high;
	past->flags |= live->flags;
	past->thread = live->thread;
}

static bool is_own(const struct kms_model_source *source, const struct kms_site *site)
{
	return site->target == source->target->id || site->target == 0;
}

void kms_model_take_base(const struct kms_model_source *source, const struct kms_live *live)
{
	struct kms_model *model = source->model;
	const struct kms_site *site = &model->sites.site[live->site];
	uint64_t bytes = kms_live_size(live);

	cache_take(kms_model_target_cache(model, source->target, site->cache), bytes, live->flags);
	take_live(source, bytes, is_own(source, site));
	if (is_own(source, site))
		kms_site_take(&model->sites, live->site, bytes);
}

/* The block's free was lost: another block is at its address. */
static void close_lost(const struct kms_model_source *source, const struct kms_event *event,
		       struct kms_live *live)
{
	struct kms_model *model = source->model;
	const struct kms_site *site = &model->sites.site[live->site];
	uint64_t bytes = kms_live_size(live);

	remember_block(remember(source, event, KMS_EVENT_LOST, live), live, site);
	cache_take(kms_model_target_cache(model, source->target, site->cache), bytes, live->flags);
	take_live(source, bytes, is_own(source, site));
	if (is_own(source, site)) {
		kms_site_take(&model->sites, live->site, bytes);
		model->sites.site[live->site].frees++; /* it was, we do not know when */
	}
	live->low_bits &= (uint16_t)~KMS_LIVE_LIVE;
	model->counts.reopened++;
}

/* The generation after an event that found the address in the state it should be in, or not. */
static uint8_t generation_after(const struct kms_event *event, const struct kms_live *live,
				bool as_expected)
{
	if (event->has_generation)
		return event->generation;
	/* else an event was lost in between, which counted too */
	return (uint8_t)(kms_live_generation(live) + (as_expected ? 1 : 2));
}

static void set_generation(const struct kms_model_source *source, const struct kms_event *event,
			   struct kms_live *live, bool as_expected)
{
	kms_live_set_time(live, event->time_ns, generation_after(event, live, as_expected));
	/* What happened before the page's slab was made says nothing of the generation since. */
	if (event->has_generation && live->low_bits & KMS_LIVE_OPEN &&
	    !kms_live_is_before_slab(&source->target->set, event->address, event->time_ns))
		live->low_bits &= (uint16_t)~KMS_LIVE_OPEN;
}

/* Without room in the set the block is only counted. */
static void count_unkept(const struct kms_model_source *source, const struct kms_event *event,
			 uint32_t site)
{
	source->model->sites.site[site].allocs++;
	source->target->unkept_objects++;
	source->target->unkept_bytes += event->size;
	source->model->counts.unkept++;
}

/*
 * Is the generation after an allocation that does not tell it unknown? That of a guard slot goes on
 * while its block lies elsewhere each time; a block of a slab that is gone came late; and we may have
 * come in the middle of a session.
 */
static bool begins_open(const struct kms_model_source *source, const struct kms_event *event,
			uint32_t flags, bool made)
{
	return flags & KMS_ATTR_GUARDED ||
	       (made &&
		(kms_live_is_unheard(&source->target->set, event->address) ||
		 kms_live_is_before_slab(&source->target->set, event->address, event->time_ns)));
}

void kms_model_commit_alloc(const struct kms_model_source *source, const struct kms_event *event,
			    struct kms_live *live)
{
	struct kms_model *model = source->model;
	struct kms_model_target *target = source->target;
	unsigned info;
	uint16_t cache = kms_live_cache(&target->set, event->address, &info);
	uint32_t flags = event->flags & KMS_LIVE_EVENT_FLAGS;
	struct kms_model_cache *figures;
	bool was_live = live && live->low_bits & KMS_LIVE_LIVE;
	bool made;
	uint32_t site;

	if (was_live && live->flags & KMS_LIVE_BASE) {
		kms_model_base_drop(source, live);
		was_live = false;
	}
	if (was_live)
		close_lost(source, event, live);
	if (info & KMS_LIVE_PAGE_LARGE)
		flags |= KMS_LIVE_LARGE;
	if (event->cache < KMS_MAX_CACHES) {
		cache = (uint16_t)event->cache;
		flags |= KMS_LIVE_TOLD;
	} else if (cache == KMS_LIVE_NO_CACHE) {
		cache = kms_model_cache_guess(source->image, event->size, flags);
		flags |= KMS_LIVE_GUESSED;
	}
	site = kms_sites_get(&model->sites, &source->owner, event->stack, cache);
	figures = kms_model_target_cache(model, target, cache);
	figures->allocs += !kms_model_is_inherited(source);
	cache_add(figures, event->size, flags);
	add_live(source, event->size);
	made = !live;
	if (made)
		live = kms_live_add(&target->set, event->address, event->size, false);
	if (!live) {
		count_unkept(source, event, site);
		return;
	}
	(void)remember(source, event, KMS_EVENT_ALLOC, live);
	if (!kms_model_is_inherited(source))
		kms_site_add(&model->sites, site, event->size, event->time_ns);
	set_generation(source, event, live, !was_live);
	if (!event->has_generation && begins_open(source, event, flags, made))
		live->low_bits |= KMS_LIVE_OPEN;
	live->site = site;
	live->flags = (uint16_t)flags;
	live->thread = (uint16_t)event->thread;
	live->low_bits |= KMS_LIVE_LIVE;
	kms_live_set_size(live, event->size);
}

/* Could blocks be there that nothing is known of? An event of a session that is over tells none. */
static bool is_unheard(const struct kms_model_source *source, const struct kms_event *event)
{
	return event->session == source->target->session &&
	       kms_live_is_unheard(&source->target->set, event->address);
}

/* A free of what was not known to be allocated: from before the trace, or its alloc was lost. */
static void free_foreign(const struct kms_model_source *source, const struct kms_event *event,
			 struct kms_live *live)
{
	struct kms_model_target *target = source->target;
	unsigned info;
	uint16_t cache = kms_live_cache(&target->set, event->address, &info);
	struct kms_model_cache *figures;
	uint64_t bytes;
	bool made;

	if (event->cache < KMS_MAX_CACHES)
		cache = (uint16_t)event->cache;
	else if (cache == KMS_LIVE_NO_CACHE)
		cache = kms_model_cache_guess(source->image, event->size, event->flags);
	figures = kms_model_target_cache(source->model, target, cache);
	figures->frees += !kms_model_is_inherited(source);
	if (target->unkept_objects && figures->live) {
		bytes = event->size < target->unkept_bytes ? event->size : target->unkept_bytes;
		bytes = bytes < figures->live_bytes ? bytes : figures->live_bytes;
		target->unkept_objects--;
		target->unkept_bytes -= bytes;
		cache_take(figures, bytes, 0);
		take_live(source, bytes, true);
	} else {
		source->model->counts.foreign++;
	}
	made = !live;
	if (made)
		live = kms_live_add(&target->set, event->address, event->size, false);
	if (!live)
		return;
	if (made)
		live->low_bits |= KMS_LIVE_OPEN;
	if (live->low_bits & KMS_LIVE_OPEN && is_unheard(source, event))
		(void)remember(source, event, KMS_PAST_FOREIGN_FREE, live);
	set_generation(source, event, live, made);
}

void kms_model_commit_free(const struct kms_model_source *source, const struct kms_event *event,
			   struct kms_live *live)
{
	struct kms_model *model = source->model;
	struct kms_model_target *target = source->target;
	struct kms_model_cache *figures;
	const struct kms_site *site;
	uint64_t bytes;

	if (!live || !(live->low_bits & KMS_LIVE_LIVE)) {
		free_foreign(source, event, live);
		return;
	}
	site = &model->sites.site[live->site];
	bytes = kms_live_size(live);
	remember_block(remember(source, event, KMS_EVENT_FREE, live), live, site);
	figures = kms_model_target_cache(model, target, site->cache);
	figures->frees += !kms_model_is_inherited(source);
	cache_take(figures, bytes, live->flags);
	take_live(source, bytes, is_own(source, site));
	if (is_own(source, site) && live->flags & KMS_LIVE_BASE)
		kms_site_free_base(&model->sites, live->site, bytes, event->time_ns);
	else if (is_own(source, site))
		kms_site_free(&model->sites, live->site, bytes, kms_live_time(live),
			      event->time_ns);
	set_generation(source, event, live, true);
	live->low_bits &= (uint16_t)~KMS_LIVE_LIVE;
}

/* An event that came too late for its target may be in time for a child forked before the event that
 * overtook it. */
static void remember_outdated(const struct kms_model_source *source, const struct kms_event *event,
			      uint32_t site, bool large)
{
	const struct kms_live nothing = {0};
	bool is_alloc = event->kind == KMS_EVENT_ALLOC;
	struct kms_past *past = remember(
		source, event, is_alloc ? KMS_PAST_LATE_ALLOC : KMS_PAST_LATE_FREE, &nothing);

	past->site = site;
	past->size_low = (uint32_t)event->size;
	past->size_high = (uint16_t)(event->size >> 32);
	past->flags = (uint16_t)((event->flags & KMS_LIVE_EVENT_FLAGS) |
				 (large ? KMS_LIVE_LARGE : KMS_LIVE_GUESSED));
	past->thread = (uint16_t)event->thread;
	past->generation = event->has_generation ? event->generation : 0;
}

void kms_model_commit_outdated(const struct kms_model_source *source, const struct kms_event *event)
{
	struct kms_model *model = source->model;
	unsigned info;
	uint16_t cache = kms_live_cache(&source->target->set, event->address, &info);
	bool is_alloc = event->kind == KMS_EVENT_ALLOC;
	bool is_own = !kms_model_is_inherited(source);
	struct kms_model_cache *figures;
	uint32_t site = KMS_SITE_NONE;

	model->counts.outdated++;
	if (event->cache < KMS_MAX_CACHES)
		cache = (uint16_t)event->cache;
	else if (cache == KMS_LIVE_NO_CACHE)
		cache = kms_model_cache_guess(source->image, event->size, event->flags);
	figures = kms_model_target_cache(model, source->target, cache);
	figures->frees += is_own && !is_alloc;
	figures->allocs += is_own && is_alloc;
	if (is_alloc)
		site = kms_sites_get(&model->sites, &source->owner, event->stack, cache);
	if (is_alloc && is_own) {
		model->sites.site[site].allocs++;
		model->sites.site[site]
			.frees++; /* it must have been: the address had another owner */
	}
	if (info & KMS_LIVE_PAGE_LARGE || (event->has_generation && is_unheard(source, event)))
		remember_outdated(source, event, site, info & KMS_LIVE_PAGE_LARGE);
}

/* What slab news found in its pages. */
struct slab_visit {
	const struct kms_model_source *source;
	struct kms_live_slab slab;
	bool large; /* its events are put in order by time */
	struct kms_model_contested *contested;
};

/* A block whose cache was a guess is counted where it belongs. */
static void move_block(const struct slab_visit *visit, struct kms_live *live)
{
	const struct kms_model_source *source = visit->source;
	struct kms_sites *sites = &source->model->sites;
	struct kms_site *from = &sites->site[live->site];
	uint64_t bytes = kms_live_size(live);
	struct kms_model_cache *figures;
	uint32_t to;

	live->flags &= (uint16_t)~KMS_LIVE_GUESSED;
	if (live->flags & KMS_LIVE_TOLD || from->cache == visit->slab.cache ||
	    !is_own(source, from))
		return;
	figures = kms_model_target_cache(source->model, source->target, from->cache);
	figures->allocs--;
	cache_take(figures, bytes, live->flags);
	figures = kms_model_target_cache(source->model, source->target, visit->slab.cache);
	figures->allocs++;
	cache_add(figures, bytes, live->flags);
	to = kms_sites_get(sites, &source->owner, from->node, visit->slab.cache);
	kms_site_take(sites, live->site, bytes);
	from->allocs--;
	kms_site_add(sites, to, bytes, kms_live_time(live));
	live->site = to;
}

static void slab_visit_block(void *arg, uint64_t address, struct kms_live *live)
{
	struct slab_visit *visit = arg;
	struct kms_model_contested *contested = visit->contested;

	if (visit->large) {
		/* nothing begins anew: time decides */
	} else if (live->low_bits & KMS_LIVE_LIVE) {
		/* Of the old slab: its free is on its way, after which the address begins anew.
		 * Of the new one: another ring's news of it came first. */
		live->low_bits |= KMS_LIVE_OPEN;
		if (live->flags & KMS_LIVE_GUESSED || kms_live_time(live) >= visit->slab.time_ns)
			move_block(visit, live);
	} else {
		kms_live_set_time(live, kms_live_time(live), 0);
		live->low_bits &= (uint16_t)~KMS_LIVE_OPEN;
	}
	if (live->low_bits & KMS_LIVE_PARKED && contested->n < KMS_MODEL_CONTESTED)
		contested->address[contested->n++] = address;
}

static struct kms_live_slab slab_of(const struct kms_event *event)
{
	return (struct kms_live_slab){
		.base = event->address,
		.pages = event->value,
		.stride_bytes =
			event->kind == KMS_EVENT_SLAB_GROW ? event->value2 : KMS_PAGE_BYTES / 2,
		.first_bytes = event->first_bytes,
		.time_ns = event->time_ns,
		.cache = event->cache < KMS_MAX_CACHES ? (uint16_t)event->cache : KMS_LIVE_NO_CACHE,
	};
}

/* What the first page of a slab was before the event; the others were the same, or nothing. */
static void remember_slab(const struct kms_model_source *source, const struct kms_event *event)
{
	const struct kms_live nothing = {0};
	struct kms_past *past = remember(source, event, (uint8_t)event->kind, &nothing);
	struct kms_live_page page = kms_live_page_get(&source->target->set, event->address);

	past->site = page.stamp;
	past->flags = page.info;
	past->thread = page.cache;
	past->generation = page.hint;
	past->alloc_ns = event->value;
	past->alloc_stack = (uint32_t)page.phase << 16 | page.stride;
	past->size_low = (uint32_t)page.first << 16 | page.index;
}

void kms_model_commit_slab(const struct kms_model_source *source, const struct kms_event *event,
			   struct kms_model_contested *contested)
{
	struct kms_live_slab slab = slab_of(event);
	struct slab_visit visit = {source, slab, kms_live_slab_is_large(&slab), contested};

	contested->n = 0;
	remember_slab(source, event);
	if (event->kind == KMS_EVENT_SLAB_GROW)
		kms_live_slab_grow(&source->target->set, &slab, slab_visit_block, &visit);
	else
		kms_live_slab_release(&source->target->set, &slab);
}
