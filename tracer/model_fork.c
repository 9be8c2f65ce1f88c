/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a forked child gets its live set: its parent's, with all that the parent did after the fork
 * taken back.
 *
 * The child's slot says how far each of the parent's rings had come in the memory that the child
 * got (the cuts). The set is shared once the parent's rings have been applied up to there; events
 * beyond, which may have come before the news of the fork, are undone from the history. Rings that
 * have no cut were closed before the fork or claimed after it; there the time decides.
 */
#include "tracer/model_commit.h"

enum {
	DEPTH_MAX = 16, /* of ancestors formed together; the rest by the deadline */
	HORIZON_SLACK_NS = 50 * 1000 * 1000, /* times of events are that exact, by far */
};

#define NO_CUT UINT64_MAX

/* A fork that is looked at. */
struct fork {
	struct kms_model *model;
	struct kms_model_target *child;
	struct kms_model_target *parent;
	const struct kms_model_image *image;
	uint64_t cut[KMS_MAX_RINGS];
};

/* Reads the cuts; false while some are missing. */
static bool fork_read(struct fork *fork)
{
	const struct kms_model_slot *slot = &fork->child->slot_copy;

	for (unsigned i = 0; i < KMS_MAX_RINGS; i++)
		fork->cut[i] = NO_CUT;
	if (!slot->known || slot->fork_cut_count > KMS_MODEL_MAX_CUTS)
		return false;
	for (uint32_t i = 0; i < slot->fork_cut_count; i++) {
		const struct kms_fork_cut *cut =
			kms_model_cut(fork->image, slot->fork_cut_first + i);

		if (!cut)
			return false;
		/* Nothing was written there yet: like a ring that was claimed later. */
		if (cut->ring < KMS_MAX_RINGS && cut->seq)
			fork->cut[cut->ring] = cut->seq;
	}
	return true;
}

static const struct kms_model_claim *claim_ago(const struct kms_model_ring *ring, int ago)
{
	return &ring->claims[(unsigned)(ring->claim - ago) % KMS_MODEL_CLAIMS];
}

/* When the claim began, or a time before: what it lost has no time. */
static uint64_t claim_begun(const struct kms_model_ring *ring, int ago)
{
	const struct kms_model_claim *claim = claim_ago(ring, ago);

	if (!claim->begins_lost)
		return claim->begun_ns;
	return ago + 1 < KMS_MODEL_CLAIMS ? claim_ago(ring, ago + 1)->last_ns : 0;
}

/* How many claims of the ring ago the parent made the one that was cut; -1 unknown. */
static int cut_claim(const struct fork *fork, const struct kms_model_ring *ring)
{
	for (int ago = 0; ago < KMS_MODEL_CLAIMS; ago++)
		if (claim_ago(ring, ago)->target == fork->parent->id &&
		    claim_begun(ring, ago) <= fork->child->slot_copy.fork_ns)
			return ago;
	return -1;
}

/* Has the parent's claim of a ring that was cut come up to the cut? */
static bool ring_reached(const struct fork *fork, uint32_t index)
{
	const struct kms_model_ring *ring;
	int ago;

	if (fork->cut[index] == NO_CUT)
		return true;
	if (index >= fork->image->ring_room)
		return false;
	ring = &fork->image->ring[index];
	ago = cut_claim(fork, ring);
	if (ago < 0) /* what it held before the fork is gone, or was lost */
		return claim_begun(ring, 0) > fork->child->slot_copy.fork_ns;
	return ago > 0 || claim_ago(ring, ago)->next_seq >= fork->cut[index];
}

static bool is_ready(struct kms_model *model, struct kms_model_target *target, unsigned depth);

/* NOLINTNEXTLINE(misc-no-recursion): DEPTH_MAX generations */
static bool parent_reached(const struct fork *fork, unsigned depth)
{
	/* rings without a cut may still have something from before the fork; a parent that has not
	 * written anything is formed here */
	if (!is_ready(fork->model, fork->parent, depth + 1) ||
	    fork->model->horizon_ns < fork->child->slot_copy.fork_ns + HORIZON_SLACK_NS)
		return false;
	for (uint32_t i = 0; i < KMS_MAX_RINGS; i++)
		if (!ring_reached(fork, i))
			return false;
	return true;
}

/* Did the parent do this after the fork? */
static bool is_after(const struct fork *fork, uint32_t index, uint16_t claim, uint64_t seq,
		     uint64_t time_ns)
{
	uint64_t fork_ns = fork->child->slot_copy.fork_ns;
	const struct kms_model_ring *ring;
	int ago;

	if (fork->cut[index] == NO_CUT || index >= fork->image->ring_room)
		return time_ns >= fork_ns;
	ring = &fork->image->ring[index];
	ago = cut_claim(fork, ring);
	if (ago < 0)
		return time_ns >= fork_ns;
	if (claim == (uint16_t)(ring->claim - ago))
		return seq >= fork->cut[index];
	return (uint16_t)(ring->claim - claim) < (unsigned)ago; /* a later claim, if any */
}

static void count_live(struct fork *fork, uint32_t site_index, uint64_t bytes, uint32_t flags,
		       int sign)
{
	struct kms_model_target *child = fork->child;
	struct kms_model_cache *figures = kms_model_target_cache(
		fork->model, child, fork->model->sites.site[site_index].cache);
	uint64_t one = (uint64_t)(int64_t)sign;
	uint64_t change = sign < 0 ? -bytes : bytes;

	child->live_objects += one;
	child->live_bytes += change;
	figures->live += one;
	figures->live_bytes += change;
	if (flags & KMS_ATTR_GUARDED) {
		figures->guarded += one;
		figures->guarded_bytes += change;
	}
}

static void close_block(struct fork *fork, struct kms_live *live)
{
	if (!live || !(live->low_bits & KMS_LIVE_LIVE))
		return;
	count_live(fork, live->site, kms_live_size(live), live->flags, -1);
	live->low_bits &= (uint16_t)~KMS_LIVE_LIVE;
}

/* The entry's generation and time are what they were before the event. */
static void undo_entry(struct kms_live *live, const struct kms_past *past)
{
	kms_live_set_time(live, past->alloc_ns, past->generation);
	live->low_bits &= (uint16_t)~KMS_LIVE_OPEN;
	if (past->flags & KMS_LIVE_WAS_OPEN)
		live->low_bits |= KMS_LIVE_OPEN;
}

static void undo_alloc(struct fork *fork, const struct kms_past *past)
{
	struct kms_live *live = kms_live_touch(&fork->child->set, past->address);

	if (!live || !(live->low_bits & KMS_LIVE_LIVE))
		return;
	close_block(fork, live);
	undo_entry(live, past);
	/* nothing is known of the address any more; a guarded one's slot had other addresses, too */
	if (past->flags & KMS_LIVE_WAS_OPEN && !(live->flags & KMS_ATTR_GUARDED))
		live->flags = KMS_LIVE_WAS_OPEN;
}

static void undo_free(struct fork *fork, const struct kms_past *past)
{
	struct kms_live *live = kms_live_touch(&fork->child->set, past->address);
	uint64_t bytes = (uint64_t)past->size_high << 32 | past->size_low;

	if (live && live->low_bits & KMS_LIVE_LIVE)
		return;
	if (!live)
		live = kms_live_add(&fork->child->set, past->address, bytes, false);
	if (!live)
		return;
	live->site = past->site;
	live->flags = past->flags & (uint16_t)~KMS_LIVE_WAS_OPEN;
	live->thread = past->thread;
	live->low_bits |= KMS_LIVE_LIVE;
	kms_live_set_size(live, bytes);
	undo_entry(live, past);
	count_live(fork, past->site, bytes, past->flags, 1);
}

static void undo_slab(struct fork *fork, const struct kms_past *past)
{
	const struct kms_live_slab slab = {
		.base = past->address, .pages = past->alloc_ns, .stride_bytes = KMS_PAGE_BYTES / 2};
	const struct kms_live_page page = {.stamp = past->site,
					   .cache = past->thread,
					   .info = past->flags,
					   .stride = (uint16_t)past->alloc_stack,
					   .phase = (uint16_t)(past->alloc_stack >> 16),
					   .index = (uint16_t)past->size_low,
					   .first = (uint16_t)(past->size_low >> 16),
					   .hint = past->generation};

	kms_live_slab_undo(&fork->child->set, &slab, &page);
}

static void undo_event(struct fork *fork, const struct kms_past *past)
{
	struct kms_live *live;

	switch (past->kind) {
	case KMS_EVENT_ALLOC:
		undo_alloc(fork, past);
		break;
	case KMS_PAST_FOREIGN_FREE:
		live = kms_live_touch(&fork->child->set, past->address);
		if (!live)
			break;
		undo_entry(live, past);
		live->flags = KMS_LIVE_WAS_OPEN; /* until the child's set is formed */
		break;
	case KMS_EVENT_SLAB_GROW:
	case KMS_EVENT_SLAB_RELEASE:
		undo_slab(fork, past);
		break;
	default:
		undo_free(fork, past);
		break;
	}
}

/* Large blocks are put in order by time, others by generation. What is known of those begins with the
 * free that was taken back, if anything is. */
static bool is_younger(const struct kms_live *live, const struct kms_past *past)
{
	if (past->flags & KMS_LIVE_LARGE)
		return live && kms_live_time(live) > past->time_ns;
	if (!live || live->low_bits & KMS_LIVE_OPEN)
		return !live || !(live->flags & KMS_LIVE_WAS_OPEN);
	return (uint8_t)(kms_live_generation(live) - past->generation) < 128;
}

/* An event that what was undone had overtaken: now it may be the last of its address. */
static void redo_event(struct fork *fork, const struct kms_past *past)
{
	uint64_t bytes = (uint64_t)past->size_high << 32 | past->size_low;
	struct kms_live *live = kms_live_touch(&fork->child->set, past->address);

	if (is_younger(live, past))
		return;
	close_block(fork, live);
	if (!live)
		live = kms_live_add(&fork->child->set, past->address, bytes, false);
	if (!live)
		return;
	kms_live_set_time(live, past->time_ns, past->generation);
	live->low_bits &= (uint16_t)~KMS_LIVE_OPEN;
	live->flags = past->flags;
	if (past->kind == KMS_PAST_LATE_FREE)
		return;
	live->site = past->site;
	live->thread = past->thread;
	live->low_bits |= KMS_LIVE_LIVE;
	kms_live_set_size(live, bytes);
	count_live(fork, past->site, bytes, past->flags, 1);
}

static bool is_late(const struct kms_past *past)
{
	return past->kind == KMS_PAST_LATE_ALLOC || past->kind == KMS_PAST_LATE_FREE;
}

/* Applies what came too late for the parent, from @number on. */
static void redo(struct fork *fork, uint64_t number)
{
	const struct kms_model_history *history = &fork->model->history;

	for (; number < history->next; number++) {
		const struct kms_past *past = kms_model_history_at(history, number);

		if (is_late(past) && past->target == fork->parent->id &&
		    !is_after(fork, past->ring, past->claim, past->ring_seq, past->time_ns))
			redo_event(fork, past);
	}
}

/* Takes back what the parent did after the fork, the last first. */
static void undo(struct fork *fork)
{
	const struct kms_model_history *history = &fork->model->history;
	uint64_t oldest = kms_model_history_oldest(history);
	uint64_t first_late = history->next;
	bool undone = false;
	bool reached_back = oldest <= fork->parent->restarted;

	if (oldest < fork->parent->restarted) /* nothing is left of what was before */
		oldest = fork->parent->restarted;
	for (uint64_t number = history->next; number > oldest;) {
		const struct kms_past *past = kms_model_history_at(history, --number);

		if (past->target != fork->parent->id)
			continue;
		if (is_late(past))
			first_late = number;
		if (!is_after(fork, past->ring, past->claim, past->ring_seq, past->time_ns)) {
			reached_back = true;
			continue;
		}
		if (is_late(past))
			continue;
		undone = true;
		undo_event(fork, past);
	}
	redo(fork, first_late);
	fork->model->counts.forks_inexact += undone && !reached_back;
}

/* An event that waits for its turn in the parent and happened before the fork waits here too. */
static void copy_parked_event(struct fork *fork, uint64_t address, uint32_t ring,
			      const struct kms_parked *parked)
{
	const struct kms_park_origin origin = {
		.target = fork->child->id,
		.ring = ring,
		.claim = parked->claim,
		.heir_of = parked->heir_of ? parked->heir_of : fork->parent->id,
	};
	struct kms_live *live;

	if (is_after(fork, ring, parked->claim, parked->event.ring_seq, parked->event.time_ns))
		return;
	live = kms_live_touch(&fork->child->set, address);
	if (!live)
		live = kms_live_add(&fork->child->set, address, parked->event.size, false);
	if (live &&
	    kms_park_add(&fork->model->park, &origin, &parked->event, fork->model->batch_ns) == 0)
		live->low_bits |= KMS_LIVE_PARKED;
}

static void copy_parked(struct fork *fork)
{
	struct kms_park *park = &fork->model->park;
	struct kms_park_queue *last =
		KMS_CONTAINER_OF(park->by_age.prev, struct kms_park_queue, age);
	struct kms_park_queue *queue = kms_park_oldest(park);

	/* those added here come behind the last */
	for (bool more = queue != NULL; more; queue = kms_park_younger(park, queue)) {
		more = queue != last;
		if (queue->target != fork->parent->id)
			continue;
		for (const struct kms_park_lane *lane = queue->lane; lane; lane = lane->next)
			for (const struct kms_parked *p = lane->first; p; p = p->next)
				copy_parked_event(fork, queue->address, lane->ring, p);
	}
}

/* The child's figures begin as its parent's are now; undoing corrects both. */
static void copy_figures(struct fork *fork)
{
	struct kms_model_target *child = fork->child;
	const struct kms_model_target *parent = fork->parent;

	child->live_objects = parent->live_objects - parent->unkept_objects;
	child->live_bytes = parent->live_bytes - parent->unkept_bytes;
	for (size_t i = 0; i < parent->cache_room; i++) {
		const struct kms_model_cache *from = &parent->cache[i];
		struct kms_model_cache *to;

		if (!from->live)
			continue;
		to = kms_model_target_cache(fork->model, child, (uint16_t)(i - 1));
		to->live = from->live;
		to->live_bytes = from->live_bytes;
		to->guarded = from->guarded;
		to->guarded_bytes = from->guarded_bytes;
	}
}

static void fork_form(struct fork *fork)
{
	struct kms_model_target *child = fork->child;

	child->session = fork->parent->session;
	if (child->slot_copy.fork_ns < fork->parent->session_ns) {
		/* its parent's blocks of then are forgotten */
		kms_live_restart(&child->set);
		child->session_ns = KMS_MODEL_SESSION_OPEN;
		child->birth = KMS_BIRTH_READY;
		return;
	}
	child->session_ns = fork->parent->session_ns;
	kms_live_fork(&child->set, &fork->parent->set);
	copy_figures(fork);
	undo(fork);
	child->inherited_objects = child->live_objects;
	child->inherited_bytes = child->live_bytes;
	child->peak_bytes = child->live_bytes;
	copy_parked(fork);
	child->birth = KMS_BIRTH_READY;
	child->changes++;
	fork->model->counts.forks++;
}

static bool fork_begin(struct fork *fork, struct kms_model *model, struct kms_model_target *child)
{
	fork->model = model;
	fork->child = child;
	fork->parent = kms_model_target_find(model, child->parent);
	fork->image = kms_model_image_find(model, child->image);
	return fork->parent && fork->image;
}

/* NOLINTNEXTLINE(misc-no-recursion): DEPTH_MAX generations */
static bool is_ready(struct kms_model *model, struct kms_model_target *target, unsigned depth)
{
	struct fork fork;

	if (target->birth == KMS_BIRTH_READY)
		return true;
	if (depth == DEPTH_MAX || target->birth == KMS_BIRTH_UNKNOWN || !target->slot_copy.known ||
	    !fork_begin(&fork, model, target))
		return false;
	if (!fork_read(&fork) || !parent_reached(&fork, depth))
		return false;
	fork_form(&fork);
	return true;
}

bool kms_model_is_ready(struct kms_model *model, struct kms_model_target *target)
{
	return is_ready(model, target, 0);
}

void kms_model_fork_force(struct kms_model *model, struct kms_model_target *target)
{
	struct fork fork;

	if (kms_model_is_ready(model, target))
		return;
	if (target->birth == KMS_BIRTH_WAITING && fork_begin(&fork, model, target)) {
		model->counts.forks_forced++;
		if (fork_read(&fork)) {
			fork_form(&fork);
			return;
		}
		/* nothing says where the fork was: the parent as it is now */
		target->slot_copy.fork_ns = UINT64_MAX;
		fork_form(&fork);
		target->slot_copy.fork_ns = 0;
	}
	target->birth = KMS_BIRTH_READY;
}
