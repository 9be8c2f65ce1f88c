/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live model's state, shared by its files:
 *
 *   model.c            create, feed, publish: the order of things
 *   model_image.c      tables of a region: stacks, modules, strings, caches, threads, cuts
 *   model_modules.c    which module an address was in; ids of leaks
 *   model_target.c     a process: state, time, figures by cache, rates
 *   model_stream.c     the blocks of a batch, merged by time into runs of events
 *   model_apply.c      when it is an event's turn
 *   model_commit.c     what it does then
 *   model_fork.c       a child's beginning from its parent's past
 *   model_base.c       what was live when recording began
 *   model_session.c    a new beginning when recording was switched off and on again
 *   model_history.c    the last events, for that and for owners of faults
 *   model_sample.c     growth and age of sites
 *   model_room.c       what is given up when there is too much
 *   model_faults.c     findings
 *   model_owners.c     the owners that their addresses had
 *   model_lists.c      live blocks and slabs, in slices of time
 *   model_whatis.c     what an address is
 *   snapshot_build.c   the picture that others see
 *
 * One thread owns all of it; only snapshots leave it (snapshot.h).
 */
#ifndef KMS_TRACER_MODEL_INTERNAL_H
#define KMS_TRACER_MODEL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "tracer/base_entry.h"
#include "tracer/event.h"
#include "tracer/live_set.h"
#include "tracer/model.h"
#include "tracer/model_memory.h"
#include "tracer/park.h"
#include "tracer/sites.h"
#include "tracer/snapshot.h"

enum kms_model_limits {
	KMS_MODEL_MAX_TARGETS = 1 << 20,
	KMS_MODEL_MAX_IMAGES = 1 << 20,
	KMS_MODEL_SECTIONS = KMS_SEC_FORK_CUT + 1,
	KMS_MODEL_MAX_CUTS = KMS_MAX_RINGS,
	KMS_MODEL_CLAIMS = 4,
	KMS_MODEL_RUN = 64,           /* events applied in a row from one ring */
	KMS_MODEL_HELD_BLOCKS = 8192, /* of children that wait for their parent */
};

/** An append-only table of a region; zero entries are holes. */
struct kms_model_table {
	unsigned char *data;
	size_t room; /* entries */
	size_t used; /* highest index seen + 1 */
};

/** What is known of a ring; claims are counted as their blocks come, applied or not. */
struct kms_model_ring {
	uint64_t last_number; /* of a block; 0 none seen */
	uint16_t claim;       /* grows with each claim; our own count, not the region's */

	struct kms_model_claim {
		uint64_t begun_ns; /* base time of its first block */
		uint64_t next_seq; /* after the last event applied */
		uint64_t last_ns;  /* time of that event */
		uint32_t target;   /* that made it; 0 none */
		bool begins_lost;  /* its first events were lost: it began before its first block */
	} claims[KMS_MODEL_CLAIMS]; /* the last ones, by claim % KMS_MODEL_CLAIMS */
};

/** A module, for looking up addresses. @name: not terminated; the string table's. */
struct kms_model_module {
	uint64_t start, end, load_bias;
	const char *name;
	size_t name_bytes;
	uint32_t epoch;
};

/** A region: the tables of an image. */
struct kms_model_image {
	uint32_t id;
	uint32_t n_targets;
	uint32_t n_ended;
	struct kms_model_table table[KMS_MODEL_SECTIONS]; /* by enum kms_section_kind */
	struct kms_model_module *module; /* sorted by start; names are borrowed from the table */
	size_t n_modules;
	bool modules_stale;
	struct kms_model_ring *ring;
	size_t ring_room;
	uint64_t start_wall_ns;  /* of region time 0; 0 unknown */
	uint64_t last_event_ns;  /* region time */
	uint64_t clock_event_ns; /* last_event_ns when the offset was last looked at */
	int64_t clock_offset;    /* batch time - region time, the smallest seen */
	bool has_clock;
	bool tables_dropped; /* all targets ended; ids of stacks are in the sites */
};

/** Figures of one cache in one target. */
struct kms_model_cache {
	uint64_t live, live_bytes;       /* with those inherited */
	uint64_t guarded, guarded_bytes; /* part of live */
	uint64_t allocs, frees, failed;
	uint64_t allocs_at, frees_at; /* when the present second began */
	uint64_t alloc_rate, free_rate;
};

/** In session_ns: the session begins with the event to come. */
#define KMS_MODEL_SESSION_OPEN UINT64_MAX

/** How a target came to its set. */
enum kms_model_birth {
	KMS_BIRTH_UNKNOWN = 0, /* nothing said of it yet */
	KMS_BIRTH_WAITING = 1, /* forked; its parent has not come to the cut */
	KMS_BIRTH_READY = 2,
};

/** What is kept of a slot. */
struct kms_model_slot {
	bool known;
	uint32_t fork_cut_first, fork_cut_count;
	uint64_t fork_ns;
	uint64_t lost_unringed, lost_faults, lost_children, waits, waited_ns;
	struct kms_guard_stat guard;
	bool guard_pending;
	uint64_t acked_depth; /* effective kmem_guard_depth as acknowledged */
};

/** Growth of a target's sites: one clock for all of them. */
struct kms_model_clock {
	uint64_t sample_ns[KMS_SITE_SAMPLES]; /* target times of the sites' samples */
	uint32_t n_samples;
	uint64_t interval_ns;  /* between samples; doubles when they are full, up to a limit */
	uint32_t epoch;        /* present one */
	uint64_t epoch_allocs; /* length of an epoch; doubles likewise, without limit */
	uint32_t sites;        /* of the target, when last counted */
	uint64_t next_epoch;   /* allocs at which the next begins */
};

struct kms_model_target {
	uint32_t id; /* 0: this element is not in use */
	uint32_t image, slot, parent, pid, state, kind;
	int32_t exit_status;
	uint32_t stop_reason, stop_fault; /* as of struct kms_batch_target */
	uint64_t start_wall_ns, end_wall_ns;
	char name[64];
	char command[256];
	enum kms_model_birth birth;
	bool announced; /* a struct kms_batch_target came */
	bool clock_stopped;
	bool ended;
	uint8_t session;     /* of recording */
	bool session_known;  /* an event told; else it is the parent's, or the first */
	uint64_t session_ns; /* time of its first event; 0 in the first one; or SESSION_OPEN */
	uint64_t restarted;  /* history number at which the session began */
	bool set_dropped;    /* to save memory; sites keep the figures */
	uint64_t stopped_ns; /* target time while clock_stopped */
	uint64_t last_event_ns;
	uint64_t waiting_since_ns; /* batch time, 0 not waiting */
	struct kms_model_slot slot_copy;
	struct kms_live_set set;
	struct kms_live_set before; /* when the session began, until its base is there */
	/* figures */
	uint64_t events[KMS_EVENT_KINDS];
	uint64_t lost_in_rings; /* as records told */
	uint64_t lost_before;   /* of kms_model_target_lost(): when the session began */
	uint64_t live_objects, live_bytes, peak_bytes; /* with those inherited */
	uint64_t inherited_objects, inherited_bytes;   /* not yet freed */
	uint64_t unkept_objects, unkept_bytes;         /* live, but not in the set */
	uint64_t second; /* index of the present second of region time */
	uint64_t allocs_at, frees_at;
	uint64_t alloc_rate, free_rate;
	struct kms_model_cache *cache; /* [0] of unknown cache, [i + 1] of cache i */
	size_t cache_room;
	struct kms_cache_stat *cache_stat; /* as last copied */
	struct kms_counter *counter;
	uint32_t n_cache_stats;
	/* sites */
	uint32_t first_site;
	struct kms_model_clock clock;
	/* base of a session: received so far, or waiting for it */
	struct kms_base_entry *base;
	size_t n_base, base_room;
	bool base_whole;
	uint8_t base_known;      /* session whose base is in the set, 0 none */
	uint64_t changes;        /* of the live set */
	uint64_t changes_passed; /* when the last pass for medians was begun */
};

/** One ring's figures, summed over its claims by a target. */
struct kms_model_ring_row {
	uint32_t image, target, ring, claim;
	uint64_t produced, lost; /* of claims before the present one */
	uint64_t claim_produced, claim_lost;
	uint64_t untold; /* as of struct kms_batch_ring: not among those lost */
	uint64_t stored;
	double fill;
};

/**
 * A remembered event. Of a slab event: @alloc_ns its pages; @site, @thread, @flags, @generation and
 * @alloc_stack, @size_low the stamp, cache, info, hint, grid and slab that its first page had before.
 */
struct kms_past {
	uint64_t address;
	uint64_t time_ns;
	uint64_t alloc_ns; /* of the block that it ended; the entry's time before an alloc */
	uint64_t ring_seq;
	uint32_t target;
	uint32_t stack;
	uint32_t site;
	uint32_t alloc_stack;
	uint32_t size_low;
	uint16_t size_high;
	uint16_t ring;
	uint16_t flags;
	uint16_t thread;
	uint16_t claim;
	uint8_t kind;       /* ALLOC, FREE, SLAB_GROW, SLAB_RELEASE; LOST: a block's free was lost;
		       * enum kms_past_kind */
	uint8_t generation; /* before the event */
};

/** Events that changed nothing, but may for a child. */
enum kms_past_kind {
	KMS_PAST_LATE_ALLOC = KMS_EVENT_KINDS, /* overtaken by younger ones */
	KMS_PAST_LATE_FREE,
	KMS_PAST_FOREIGN_FREE, /* the first that was heard of its address */
};

struct kms_model_history {
	struct kms_past *past; /* ring of @room, a power of two */
	uint64_t room;
	uint64_t next; /* events ever remembered */
};

/** A finding, as it is shown. */
struct kms_model_fault {
	uint32_t image, index, target, id;
	struct kms_fault raw;
	uint64_t seen_batch, seen_ns; /* number and time of the batch that brought it */
	uint64_t looked_at;           /* history number up to which its owners were looked for */
	uint64_t until_ns;   /* its address was given out again after it; UINT64_MAX: not yet */
	bool settled;        /* all events before it have been applied */
	bool owners_missing; /* some may have been forgotten before it came */
	bool has_live;       /* @live is an owner too, the newest */
	struct kms_view_owner live;
	struct kms_view_owner *owner; /* those that are over, oldest first */
	size_t n_owners, owner_room;
};

/** A block kept for a child whose set is not there yet. */
struct kms_model_held {
	struct kms_list link;
	uint16_t claim;
	struct kms_batch_block block;
};

/** State of the pass over live blocks that finds median ages. */
struct kms_model_pass {
	uint32_t target; /* 0 none under way */
	uint32_t last;   /* target of the last one */
	uint64_t from;
	uint64_t *time_ns; /* samples of all sites, one after the other */
	size_t room;

	struct kms_pass_site {
		uint32_t site, first, count, quota, seen, stride;
	} * site;

	size_t n_sites, site_room;
};

struct kms_model {
	struct kms_model_config config;
	char *file; /* path of the trace, or NULL */
	struct kms_memory memory;
	struct kms_live_pool pool;
	struct kms_sites sites;
	struct kms_park park;
	struct kms_model_history history;
	struct kms_model_pass pass;
	struct kms_model_image **image;   /* by ordinal */
	struct kms_model_target **target; /* by id */
	size_t image_room, target_room;
	uint32_t top_image, top_target; /* highest in use */
	struct kms_model_ring_row *ring_row;
	size_t n_ring_rows, ring_row_room;
	uint32_t *ring_row_index; /* hash of (target, ring), index + 1 */
	size_t ring_row_slots;
	struct kms_model_fault *fault;
	size_t n_faults, fault_room;
	uint64_t sessions;         /* begun after the first ones of their targets */
	uint64_t unknown_sessions; /* of which not all is known that was there at their begin */
	size_t faults_settled;     /* the first of those whose owners may not all be known */
	struct kms_list held;
	size_t n_held;
	struct kms_stream_buffers *buffers;
	/* time */
	uint64_t horizon_ns;  /* region time up to which all rings of the image are applied */
	uint64_t batch_ns;    /* of the last batch */
	uint64_t run_wall_ns; /* smallest region start; 0 unknown */
	bool finished;
	/* the run's figures */
	uint64_t live_bytes; /* of all targets, each block once; what ended ones left is in it */
	uint64_t peak_bytes;
	uint64_t stored;                /* events taken over */
	struct kms_model_counts counts; /* those that nothing else counts */
	struct kms_model_figures figures;
	/* snapshots */
	struct kms_snapshot_box box;
	bool has_box;
	bool settled; /* the last one's medians were up to date */
	uint64_t batches;
	uint64_t trimmed_batch; /* when freed entries were last dropped */
	uint32_t room_sites;    /* sites when room was last made for more */
	uint64_t changes;
	uint64_t published_changes, published_ns, published_run_ns;
};

/* model_image.c */

/** The image; made if it is new. NULL: out of range, or no memory. */
struct kms_model_image *kms_model_image_get(struct kms_model *model, uint32_t id);
struct kms_model_image *kms_model_image_find(const struct kms_model *model, uint32_t id);
void kms_model_image_destroy(struct kms_model *model, struct kms_model_image *image);

/** Takes over entries of a table. Errors: -EINVAL not such a table, -ENOMEM */
int kms_model_image_add(struct kms_model *model, const struct kms_batch_table *news);

/** Frees what no live target needs any more: stacks, modules, strings. */
void kms_model_image_drop_tables(struct kms_model *model, struct kms_model_image *image);

/** State of a ring; NULL: out of range, or no memory. */
struct kms_model_ring *kms_model_image_ring(struct kms_model *model, struct kms_model_image *image,
					    uint32_t ring);

/** A claim of the ring that is still remembered, else NULL. */
static inline struct kms_model_claim *kms_model_claim(struct kms_model_ring *ring, uint16_t claim)
{
	return (uint16_t)(ring->claim - claim) < KMS_MODEL_CLAIMS
		       ? &ring->claims[claim % KMS_MODEL_CLAIMS]
		       : NULL;
}

/** Entry of a table, ready or not; NULL beyond its end. */
const void *kms_model_entry(const struct kms_model_image *image, uint32_t section, uint32_t index);

/** Entry of a table if it is there and ready, else NULL. */
const struct kms_node *kms_model_node(const struct kms_model_image *image, uint32_t index);
const struct kms_cache_entry *kms_model_cache_entry(const struct kms_model_image *image,
						    uint32_t index);
const struct kms_thread *kms_model_thread(const struct kms_model_image *image, uint32_t index);
const struct kms_fork_cut *kms_model_cut(const struct kms_model_image *image, uint32_t index);

/** For struct kms_site_owner: @tree is the image. */
uint32_t kms_model_node_parent(const void *tree, uint32_t node);

/** The cache a block without a slab is counted in: the smallest that it fits. */
uint16_t kms_model_cache_guess(const struct kms_model_image *image, uint64_t bytes, uint32_t flags);

/* model_modules.c */

/** Id of a leak by its stack, or by cache where node is 0 (leaks.h). *whole: nothing was missing. */
uint64_t kms_model_leak_id(struct kms_model *model, struct kms_model_image *image, uint32_t node,
			   uint16_t cache, bool *whole);
void kms_model_modules_drop(struct kms_model *model, struct kms_model_image *image);

/* model_target.c */

/** The target; made if it is new. NULL: out of range, or no memory. */
struct kms_model_target *kms_model_target_get(struct kms_model *model, uint32_t id);
struct kms_model_target *kms_model_target_find(const struct kms_model *model, uint32_t id);
void kms_model_target_destroy(struct kms_model *model, struct kms_model_target *target);

/** Takes over what a batch says of a target, of its slot, of a ring. Errors: -ENOMEM */
int kms_model_target_announce(struct kms_model *model, const struct kms_batch_target *news);
int kms_model_target_slot(struct kms_model *model, const struct kms_batch_slot *news);
int kms_model_target_ring(struct kms_model *model, const struct kms_batch_ring *news);

/** Figures of a cache, by what sites call it; never NULL. */
struct kms_model_cache *kms_model_target_cache(struct kms_model *model,
					       struct kms_model_target *target, uint16_t cache);

/** Events that a target lost: @in_rings as its rings' counters say; its records may know of more. */
static inline uint64_t kms_model_lost_of(const struct kms_model_target *target, uint64_t in_rings)
{
	/* the counters were copied before or after the blocks: the larger figure is the newer */
	return (target->lost_in_rings > in_rings ? target->lost_in_rings : in_rings) +
	       target->slot_copy.lost_unringed;
}

/** All that a target has lost so far, by its rows of rings. */
uint64_t kms_model_target_lost(const struct kms_model *model,
			       const struct kms_model_target *target);

/** Region time of a target now. Stands still while it is stopped and after its end. */
uint64_t kms_model_target_now(const struct kms_model *model, const struct kms_model_target *target);

/** Time moved on to @now_ns: rates of whole seconds. */
void kms_model_target_roll(struct kms_model_target *target, uint64_t now_ns);

/** Run time of a region time. */
uint64_t kms_model_run_time(const struct kms_model *model, const struct kms_model_image *image,
			    uint64_t region_ns);

/** Run time now: that of the target furthest on. */
uint64_t kms_model_run_now(const struct kms_model *model);

/** Row of a target's ring; NULL: no memory. */
struct kms_model_ring_row *kms_model_ring_row(struct kms_model *model, uint32_t target,
					      uint32_t image, uint32_t ring);

/* model_stream.c */

/** Applies the blocks of a batch, and those held that can now be applied. */
int kms_model_streams(struct kms_model *model, const struct kms_batch *batch);

/** Applies what is held, ready or not. */
int kms_model_streams_finish(struct kms_model *model);
void kms_model_streams_deinit(struct kms_model *model);

/* model_apply.c */

/** Where events come from. */
struct kms_model_source {
	struct kms_model *model;
	struct kms_model_target *target;
	struct kms_model_image *image;
	struct kms_site_owner
		owner; /* of the sites: the target, or the ancestor it inherits from */
	uint32_t ring;
	uint16_t claim;
};

/** Ring and claim are left 0. */
struct kms_model_source kms_model_source_of(struct kms_model *model,
					    struct kms_model_target *target,
					    struct kms_model_image *image);

/** Applies events of one ring in their order; parks those whose turn has not come. */
void kms_model_apply(const struct kms_model_source *source, const struct kms_event *event,
		     size_t n);

/** Applies parked events that wait for longer than allowed, or all of one target (0: none). */
void kms_model_unpark(struct kms_model *model, uint64_t now_ns, uint32_t all_of_target);

/* model_fork.c */

/** Can the target's blocks be applied? Forms the set of a forked child if its parent is there. */
bool kms_model_is_ready(struct kms_model *model, struct kms_model_target *target);

/** Forms a child's set with what there is. */
void kms_model_fork_force(struct kms_model *model, struct kms_model_target *target);

/* model_session.c */

/**
 * The target's events to come are of another session, of which this is one. Nothing is known of what was not recorded: the
 * live set and all that waits is given up, and whatever is there has to show itself.
 */
void kms_model_session_begin(const struct kms_model_source *source, const struct kms_event *first);

/** Counts an event of a session that is over. */
void kms_model_session_late(const struct kms_model_source *source, const struct kms_event *event);

/* model_base.c */

/** Takes over entries of a base; when they are complete, and their session has begun, they come into the picture. Errors: -ENOMEM, -EINVAL */
int kms_model_base_add(struct kms_model *model, const struct kms_batch_table *table);

/** All of a base, or of what is said of its target, is there. Shape: target->base_whole */
void kms_model_base_complete(struct kms_model *model, struct kms_model_target *target);

/** A session of the target has begun: its base may be there. */
void kms_model_base_begun(const struct kms_model_source *source);

/** The first event of a block that stands for the base is its allocation: it was none of the base. */
void kms_model_base_drop(const struct kms_model_source *source, struct kms_live *live);

void kms_model_base_free(struct kms_model *model, struct kms_model_target *target);

/* model_history.c */

/** Errors: -ENOMEM */
int kms_model_history_init(struct kms_model *model, uint64_t events);
void kms_model_history_deinit(struct kms_model *model);

/** The oldest number that is still there; numbers below history.next. */
uint64_t kms_model_history_oldest(const struct kms_model_history *history);

static inline struct kms_past *kms_model_history_at(const struct kms_model_history *history,
						    uint64_t number)
{
	return &history->past[number & (history->room - 1)];
}

/* model_sample.c */

/** Begins a target's clock. */
void kms_model_clock_init(struct kms_model_clock *clock);

/** The target's next epoch has begun. */
void kms_model_epoch(struct kms_model *model, struct kms_model_target *target);

/** Samples the sites of targets whose time has come. */
void kms_model_sample(struct kms_model *model);

/** Finds median ages, looking at no more than @budget places; true if all are up to date. */
bool kms_model_medians(struct kms_model *model, size_t budget);
void kms_model_pass_deinit(struct kms_model *model);

/* model_room.c */

/** Makes room before a limit is reached, at the cost of what matters least: ended targets. */
void kms_model_make_room(struct kms_model *model);

/* model_faults.c */

/** Takes over entries of a fault table. Errors: -ENOMEM */
int kms_model_faults_add(struct kms_model *model, const struct kms_batch_table *table);

void kms_model_faults_deinit(struct kms_model *model);

/* model_owners.c */

/** Finds owners of findings' addresses among what a batch has brought, once it is applied. */
void kms_model_faults_owners(struct kms_model *model, enum kms_batch_what what);

/** How many owners there are; @out, if not NULL, gets them, newest first. */
size_t kms_model_fault_owners(const struct kms_model_fault *fault, struct kms_view_owner *out);

/* model_lists.c, model_whatis.c: see model_query.h */

struct kms_model_row;

/** Sets a row from an entry that is, or was, a block. */
void kms_model_row_set(const struct kms_model *model, const struct kms_model_target *target,
		       uint64_t address, const struct kms_live *live, struct kms_model_row *row);

/** Is it a run of guard slots, whose blocks lie anywhere in them? */
bool kms_model_is_guard_run(const struct kms_model_image *image,
			    const struct kms_live_extent *extent);

/* snapshot_build.c */

/** A picture of the model as it is; NULL without memory. */
struct kms_snapshot_arena *kms_model_snapshot(struct kms_model *model);

#endif
