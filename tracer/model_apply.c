/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When it is an event's turn.
 *
 * Events of one ring are in order. An event whose address was last touched by another ring carries
 * the address's generation, one more than before it; if ours is not that, the event is parked until
 * the missing ones came (park.h). An event without generation follows its ring's last one of the
 * address: if that is parked, so is this. And no event is applied to an address that is not in the
 * state the event ends: allocated for a free, not allocated for an allocation. Nor is an allocation
 * before the news of its slab.
 *
 * A slab that is given up and made again begins with new generations. Then events of the old slab
 * that come late are told by their time. Where one block fills the slab (large blocks) that happens
 * all the time; their events carry exact times, and these alone decide: what is older than the last
 * event applied does not matter any more and is only counted.
 *
 * An event whose predecessors were lost never gets its turn. After the deadline it is applied
 * without: in the order of generations, unless the address's entry is younger than the event. Then
 * others overtook it, and it is only counted.
 */
#include "tracer/model_commit.h"

enum {
	NS_PER_S = 1000000000,
};

struct kms_model_source kms_model_source_of(struct kms_model *model,
					    struct kms_model_target *target,
					    struct kms_model_image *image)
{
	return (struct kms_model_source){
		.model = model,
		.target = target,
		.image = image,
		.owner = {.target = target->id,
			  .first = &target->first_site,
			  .parent = kms_model_node_parent,
			  .tree = image},
	};
}

enum turn {
	TURN_NOW,
	TURN_LATER,
	TURN_PAST, /* others overtook it */
};

/* Is the slab of a new block still to come? */
static bool slab_is_missing(const struct kms_model_target *target, const struct kms_event *event)
{
	unsigned info;
	uint16_t cache = kms_live_cache(&target->set, event->address, &info);

	if (event->flags & KMS_ATTR_GUARDED || info & KMS_LIVE_PAGE_BARE)
		return false;
	if (cache == KMS_LIVE_NO_CACHE || !kms_live_fits(&target->set, event->address))
		return true;
	return info & KMS_LIVE_PAGE_RELEASED &&
	       !kms_live_is_before_slab(&target->set, event->address, event->time_ns);
}

/* May an event of the address have shown itself before older ones, when nothing was known yet? */
static bool may_be_overtaken(const struct kms_model_target *target, const struct kms_live *live,
			     uint64_t address)
{
	return live && !(live->low_bits & KMS_LIVE_OPEN) &&
	       kms_live_is_unheard(&target->set, address);
}

/* Did a younger event of the address show itself first, when nothing was known yet? */
static bool is_overtaken(const struct kms_model_target *target, const struct kms_live *live,
			 const struct kms_event *event)
{
	return event->has_generation && may_be_overtaken(target, live, event->address) &&
	       (uint8_t)(kms_live_generation(live) - event->generation) < 128;
}

/* Is it the free of a block that nothing was known of when the target's session began? */
static bool is_of_before(const struct kms_model_target *target, const struct kms_live *live,
			 const struct kms_event *event)
{
	/* an entry without news: what told of it was taken back for a child */
	bool known = live && (!(live->low_bits & KMS_LIVE_OPEN) ||
			      live->low_bits & (KMS_LIVE_LIVE | KMS_LIVE_PARKED));

	return event->kind == KMS_EVENT_FREE && !known &&
	       kms_live_is_unheard(&target->set, event->address);
}

/* Does the event follow what is known of its address? */
static enum turn turn_of(const struct kms_model_target *target, const struct kms_live *live,
			 const struct kms_event *event)
{
	bool is_alloc = event->kind == KMS_EVENT_ALLOC;

	if (live && live->flags & KMS_LIVE_LARGE && event->time_ns < kms_live_time(live))
		return TURN_PAST;
	/* the base was read after this allocation */
	if (is_alloc && live && live->low_bits & KMS_LIVE_LIVE && live->flags & KMS_LIVE_BASE)
		return TURN_NOW;
	if (is_alloc == (live && live->low_bits & KMS_LIVE_LIVE))
		return is_of_before(target, live, event) ? TURN_NOW : TURN_LATER;
	if (is_alloc && slab_is_missing(target, event))
		return TURN_LATER;
	if (!event->has_generation || (live && live->flags & KMS_LIVE_LARGE))
		return TURN_NOW;
	/* Guarded blocks lie at another offset in their page each time: nothing is known of it. */
	if (is_alloc && event->flags & KMS_ATTR_GUARDED)
		return is_overtaken(target, live, event) ? TURN_PAST : TURN_NOW;
	if (!live)
		return event->generation == 1 || kms_live_is_forgotten(&target->set, event->address)
			       ? TURN_NOW
			       : TURN_LATER;
	return live->low_bits & KMS_LIVE_OPEN ||
			       event->generation == (uint8_t)(kms_live_generation(live) + 1)
		       ? TURN_NOW
		       : TURN_LATER;
}

static void commit(const struct kms_model_source *source, const struct kms_event *event,
		   struct kms_live *live)
{
	if (event->kind == KMS_EVENT_ALLOC)
		kms_model_commit_alloc(source, event, live);
	else
		kms_model_commit_free(source, event, live);
}

/* Of two lanes the one whose first event is older; of those that are not, the one that came first. */
static struct kms_park_lane *older(struct kms_park_lane *a, struct kms_park_lane *b)
{
	uint64_t a_ns = a->first->event.time_ns, b_ns = b->first->event.time_ns;

	if (a_ns != b_ns)
		return a_ns < b_ns ? a : b;
	return a->order < b->order ? a : b;
}

/* The oldest lane that is ready, of those with a key and of @oldest. */
static struct kms_park_lane *ready_of(const struct kms_model_target *target,
				      const struct kms_park_queue *queue,
				      const struct kms_live *live, unsigned key,
				      struct kms_park_lane *oldest)
{
	struct kms_park_lane *lane = kms_park_first(queue, key);

	for (; lane; lane = kms_park_next(queue, lane))
		if (turn_of(target, live, &lane->first->event) != TURN_LATER)
			oldest = oldest ? older(oldest, lane) : lane;
	return oldest;
}

/* Is the address's generation known, and does an event that has one need the next? See turn_of(). */
static bool is_settled(const struct kms_live *live)
{
	return live && !(live->low_bits & KMS_LIVE_OPEN) && !(live->flags & KMS_LIVE_LARGE) &&
	       !(live->low_bits & KMS_LIVE_LIVE && live->flags & KMS_LIVE_BASE);
}

/* The lane whose first event has its turn, or had it; of several the oldest. NULL: none. */
static struct kms_park_lane *lane_ready(const struct kms_model_target *target,
					const struct kms_park_queue *queue,
					const struct kms_live *live, enum turn *turn)
{
	struct kms_park_lane *oldest = NULL;

	if (is_settled(live)) {
		unsigned next = (uint8_t)(kms_live_generation(live) + 1);

		oldest = ready_of(target, queue, live, next, NULL);
		oldest = ready_of(target, queue, live, KMS_PARK_KEY_ODD, oldest);
	} else {
		for (struct kms_park_lane *lane = queue->lane; lane; lane = lane->next)
			if (turn_of(target, live, &lane->first->event) != TURN_LATER)
				oldest = oldest ? older(oldest, lane) : lane;
	}
	if (oldest)
		*turn = turn_of(target, live, &oldest->first->event);
	return oldest;
}

/*
 * A lane that begins with the life of a block in a slab that is gone, while the address has another
 * owner in the new one: both events came too late to matter.
 */
static struct kms_park_lane *lane_passed(const struct kms_model_target *target,
					 const struct kms_park_queue *queue,
					 const struct kms_live *live)
{
	struct kms_park_lane *lane = NULL;
	struct kms_park_lane *passed = NULL;

	if (live && live->low_bits & KMS_LIVE_LIVE)
		lane = kms_park_first(queue, KMS_PARK_KEY_ODD);
	for (; lane; lane = kms_park_next(queue, lane)) {
		const struct kms_event *first = &lane->first->event;
		const struct kms_parked *second = lane->first->next;

		if (first->kind == KMS_EVENT_ALLOC && !first->has_generation && second &&
		    second->event.kind == KMS_EVENT_FREE && !second->event.has_generation &&
		    kms_live_is_before_slab(&target->set, queue->address, second->event.time_ns) &&
		    (!passed || lane->order < passed->order))
			passed = lane;
	}
	return passed;
}

/*
 * A lane whose events were overtaken by the one that the address's generation is known from, which
 * was the first to show itself. The lane has all of them if a younger one or the last one is there.
 */
static struct kms_park_lane *lane_overtaken(const struct kms_model_target *target,
					    const struct kms_park_queue *queue,
					    const struct kms_live *live)
{
	if (!may_be_overtaken(target, live, queue->address))
		return NULL;
	for (struct kms_park_lane *lane = queue->lane; lane; lane = lane->next) {
		if (!is_overtaken(target, live, &lane->first->event))
			continue;
		for (const struct kms_parked *p = lane->first; p; p = p->next)
			if ((uint8_t)(p->event.generation + 1 - kms_live_generation(live)) < 128)
				return lane;
	}
	return NULL;
}

/* Takes the first event of a lane; when the last one is gone the address is not contested. */
static void take_parked(struct kms_model_source *source, struct kms_park_queue *queue,
			struct kms_park_lane *lane, struct kms_parked *parked)
{
	struct kms_model_target *heir;
	struct kms_live *live;
	uint64_t address = queue->address;

	source->ring = lane->ring;
	if (!kms_park_take(&source->model->park, queue, lane, parked)) {
		live = kms_live_touch(&source->target->set, address);
		if (live)
			live->low_bits &= (uint16_t)~KMS_LIVE_PARKED;
	}
	source->claim = parked->claim;
	source->owner.target = source->target->id;
	source->owner.first = &source->target->first_site;
	heir = kms_model_target_find(source->model, parked->heir_of);
	if (heir) {
		source->owner.target = heir->id;
		source->owner.first = &heir->first_site;
	}
}

static void settle(const struct kms_model_source *source, const struct kms_event *event,
		   enum turn turn)
{
	if (turn == TURN_PAST)
		kms_model_commit_outdated(source, event);
	else
		commit(source, event, kms_live_touch(&source->target->set, event->address));
}

/* Applies parked events of an address as far as it is their turn. */
static void drain(const struct kms_model_source *from, uint64_t address)
{
	struct kms_model_source source = *from;
	struct kms_park_queue *queue;
	struct kms_park_lane *lane;
	struct kms_live *live;
	struct kms_parked parked;
	enum turn turn;

	while ((queue = kms_park_find(&source.model->park, source.target->id, address))) {
		live = kms_live_touch(&source.target->set, address);
		lane = lane_ready(source.target, queue, live, &turn);
		if (lane) {
			take_parked(&source, queue, lane, &parked);
			settle(&source, &parked.event, turn);
			continue;
		}
		lane = lane_overtaken(source.target, queue, live);
		if (lane) {
			take_parked(&source, queue, lane, &parked);
			kms_model_commit_outdated(&source, &parked.event);
			continue;
		}
		lane = lane_passed(source.target, queue, live);
		if (!lane)
			return;
		take_parked(&source, queue, lane, &parked);
		kms_model_commit_outdated(&source, &parked.event);
		take_parked(&source, queue, lane, &parked);
		kms_model_commit_outdated(&source, &parked.event);
	}
}

/*
 * Is the address's entry younger than an event that has lost its turn? Times are not exact, but
 * generations begin anew with a slab.
 */
static bool is_outdated(const struct kms_model_target *target, const struct kms_live *live,
			const struct kms_event *event)
{
	bool behind;

	if (!live || live->low_bits & KMS_LIVE_OPEN)
		return false;
	behind = event->has_generation &&
		 (uint8_t)(event->generation - kms_live_generation(live) - 1) >= 128;
	if (event->has_generation && kms_live_is_unheard(&target->set, event->address))
		return behind;
	if (event->time_ns != kms_live_time(live))
		return event->time_ns < kms_live_time(live);
	return behind;
}

/* The lane whose first event has the least generation to go, outdated ones first. */
static struct kms_park_lane *lane_next(const struct kms_model_target *target,
				       const struct kms_park_queue *queue,
				       const struct kms_live *live)
{
	uint8_t generation = live ? kms_live_generation(live) : 0;
	struct kms_park_lane *best = NULL;
	int best_distance = 0;

	for (struct kms_park_lane *lane = queue->lane; lane; lane = lane->next) {
		const struct kms_event *event = &lane->first->event;
		int distance = (uint8_t)(event->generation - generation - 1);

		if (!event->has_generation)
			distance = 0; /* its predecessor was its ring's */
		if (is_outdated(target, live, event))
			distance = -1;
		if (!best || distance < best_distance) {
			best = lane;
			best_distance = distance;
		}
	}
	return best;
}

/* Applies all parked events of an address, whosever turn it is. */
static void force_queue(struct kms_model *model, struct kms_park_queue *queue)
{
	struct kms_model_target *target = kms_model_target_find(model, queue->target);
	struct kms_model_source source =
		kms_model_source_of(model, target, kms_model_image_find(model, target->image));
	uint64_t address = queue->address;
	struct kms_park_lane *lane;
	struct kms_live *live;
	struct kms_parked parked;
	enum turn turn;

	while ((queue = kms_park_find(&model->park, target->id, address))) {
		live = kms_live_touch(&target->set, address);
		lane = lane_ready(target, queue, live, &turn);
		if (!lane || is_outdated(target, live, &lane->first->event)) {
			lane = lane ? lane : lane_next(target, queue, live);
			turn = is_outdated(target, live, &lane->first->event) ? TURN_PAST
									      : TURN_NOW;
			model->counts.forced++;
			if (slab_is_missing(target, &lane->first->event))
				kms_live_set_bare(&target->set, address);
		}
		take_parked(&source, queue, lane, &parked);
		settle(&source, &parked.event, turn);
	}
}

void kms_model_unpark(struct kms_model *model, uint64_t now_ns, uint32_t all_of_target)
{
	struct kms_park_queue *queue = kms_park_oldest(&model->park);
	struct kms_park_queue *next;

	for (; queue; queue = next) {
		bool due = now_ns - queue->since_ns >= model->config.park_ns;

		if (!due && !all_of_target)
			return; /* the others are younger */
		next = kms_park_younger(&model->park, queue);
		if (due || queue->target == all_of_target)
			force_queue(model, queue);
	}
}

static void park(const struct kms_model_source *source, const struct kms_event *event,
		 struct kms_live *live)
{
	struct kms_model *model = source->model;
	struct kms_model_target *target = source->target;
	const struct kms_park_origin origin = {
		.target = target->id, .ring = source->ring, .claim = source->claim};

	if (model->park.count >= model->park.max)
		force_queue(model, kms_park_oldest(&model->park));
	live = kms_live_touch(&target->set, event->address);
	if (!live)
		live = kms_live_add(&target->set, event->address, event->size, true);
	if (live && kms_park_add(&model->park, &origin, event, model->batch_ns) == 0) {
		live->low_bits |= KMS_LIVE_PARKED;
		return;
	}
	model->counts.forced++;
	kms_live_set_bare(&target->set, event->address);
	commit(source, event, live);
}

/* An event that is not plainly next. */
static void apply_careful(const struct kms_model_source *source, const struct kms_event *event,
			  struct kms_live *live)
{
	struct kms_park_queue *queue = NULL;
	enum turn turn = turn_of(source->target, live, event);

	if (live && live->low_bits & KMS_LIVE_PARKED) {
		queue = kms_park_find(&source->model->park, source->target->id, event->address);
		if (!queue) /* a forked child: they wait for it in the parent */
			live->low_bits &= (uint16_t)~KMS_LIVE_PARKED;
	}
	if (turn == TURN_LATER || kms_park_has_ring(queue, source->ring)) {
		park(source, event, live);
		queue = kms_park_find(&source->model->park, source->target->id, event->address);
	} else {
		settle(source, event, turn);
	}
	if (queue)
		drain(source, event->address);
}

static inline void apply_block(const struct kms_model_source *source, const struct kms_event *event)
{
	struct kms_live *live = kms_live_touch(&source->target->set, event->address);
	unsigned expected = event->kind == KMS_EVENT_FREE ? KMS_LIVE_LIVE : 0;
	unsigned odd = event->has_generation;

	if (live)
		odd |= ((live->low_bits & (KMS_LIVE_LIVE | KMS_LIVE_PARKED)) ^ expected) |
		       (live->flags & KMS_LIVE_LARGE);
	else
		odd |= expected | slab_is_missing(source->target, event);
	/* nearly always: the state is as it should be, nobody waits, the last event was this ring's */
	if (__builtin_expect(odd == 0, 1))
		commit(source, event, live);
	else
		apply_careful(source, event, live);
}

static void apply_slab(const struct kms_model_source *source, const struct kms_event *event)
{
	struct kms_model_contested contested;

	kms_model_commit_slab(source, event, &contested);
	for (size_t i = 0; i < contested.n; i++)
		drain(source, contested.address[i]);
}

/* Brings near what a free will touch: its block's site. */
static void prefetch_free(const struct kms_sites *sites, const struct kms_event *event,
			  const struct kms_live *live)
{
	uint64_t age;

	/* a block of this very run is not there yet: see below */
	if (!live || !(live->low_bits & KMS_LIVE_LIVE))
		return;
	age = event->time_ns - kms_live_time(live);
	__builtin_prefetch(&sites->site[live->site], 1);
	__builtin_prefetch(&sites->past[live->site].lifetime[kms_site_bucket(age)], 1);
}

/*
 * Brings near what the next events will touch, a step at a time for all of them: entries, places of
 * the index, sites. Each would be waited for else.
 */
static void prefetch(const struct kms_model_source *source, const struct kms_event *event, size_t n)
{
	const struct kms_live_set *set = &source->target->set;
	const struct kms_sites *sites = &source->model->sites;
	struct kms_site_slot key[KMS_MODEL_RUN];
	const struct kms_live *place[KMS_MODEL_RUN];

	for (size_t i = 0; i < n; i++)
		place[i] = event[i].kind <= KMS_EVENT_FREE
				   ? kms_live_prefetch(set, event[i].address)
				   : NULL;
	for (size_t i = 0; i < n; i++) {
		unsigned info;

		if (event[i].kind == KMS_EVENT_ALLOC)
			key[i] = kms_sites_prefetch(sites, source->target->id, event[i].stack,
						    kms_live_cache(set, event[i].address, &info));
		else
			prefetch_free(sites, &event[i], place[i]);
	}
	for (size_t i = 0; i < n; i++) {
		if (event[i].kind == KMS_EVENT_ALLOC)
			kms_sites_prefetch_site(sites, key[i]);
	}
}

/* Events of one second of target time, no more than KMS_MODEL_RUN. */
static void apply_run(const struct kms_model_source *source, const struct kms_event *event,
		      size_t n)
{
	struct kms_model_target *target = source->target;

	kms_model_target_roll(target, event->time_ns);
	prefetch(source, event, n);
	for (size_t i = 0; i < n; i++) {
		target->events[event[i].kind]++;
		if (__builtin_expect(event[i].kind <= KMS_EVENT_FREE, 1))
			apply_block(source, &event[i]);
		else if (event[i].kind == KMS_EVENT_SLAB_GROW ||
			 event[i].kind == KMS_EVENT_SLAB_RELEASE)
			apply_slab(source, &event[i]);
		else if (event[i].kind == KMS_EVENT_LOST)
			target->lost_in_rings += event[i].value;
	}
	if (event[n - 1].time_ns > target->last_event_ns)
		target->last_event_ns = event[n - 1].time_ns;
	if (target->events[KMS_EVENT_ALLOC] >= target->clock.next_epoch)
		kms_model_epoch(source->model, target);
}

/* Events of one session; one that is over can do nothing any more. */
static void apply_session(const struct kms_model_source *source, const struct kms_event *event,
			  size_t n)
{
	struct kms_model_target *target = source->target;
	int8_t ahead = (int8_t)(event->session - target->session);

	if (ahead > 0 || (ahead && !target->session_known))
		kms_model_session_begin(source, event);
	target->session_known = true;
	if (target->session_ns == KMS_MODEL_SESSION_OPEN)
		target->session_ns = event->time_ns;
	if (event->session == target->session) {
		apply_run(source, event, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		kms_model_session_late(source, &event[i]);
}

void kms_model_apply(const struct kms_model_source *source, const struct kms_event *event, size_t n)
{
	while (n) {
		uint64_t second = event->time_ns / NS_PER_S;
		size_t run = n < KMS_MODEL_RUN ? n : KMS_MODEL_RUN;

		while (run > 1 && (event[run - 1].time_ns / NS_PER_S != second ||
				   event[run - 1].session != event->session))
			run--;
		apply_session(source, event, run);
		event += run;
		n -= run;
	}
	source->target->changes++;
	source->model->changes++;
}
