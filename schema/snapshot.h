/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hand-over from the tracer to the server and the command line: one immutable picture of a run
 * at one moment, and the functions that answer what does not fit into a picture.
 *
 * A live tracer and a finished file produce the same structure, so every client shows the same
 * numbers. A snapshot carries its sequence and time; ages are relative to that time.
 */
#ifndef KMS_SCHEMA_SNAPSHOT_H
#define KMS_SCHEMA_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/record.h"
#include "schema/region.h"

struct kms_err;

enum kms_target_state {
	KMS_STATE_RUNNING = 1,
	KMS_STATE_STOPPED = 2,
	KMS_STATE_EXITED = 3,
	KMS_STATE_LOST = 4,     /* the tracer or the guest went away */
	KMS_STATE_CORRUPT = 5,  /* its region was damaged: ring_corrupt */
	KMS_STATE_DETACHED = 6, /* it goes on without us */
	KMS_STATES,
};

/** Names of enum kms_target_state. */
#define KMS_STATE_NAMES "none", "running", "stopped", "exited", "lost", "ring_corrupt", "detached"

/** A process (fork to exit) or a guest boot. Strings belong to the snapshot. */
struct kms_view_target {
	uint32_t id;     /* unique in the run, from 1 */
	uint32_t parent; /* target it was forked from or executed by, 0 none */
	uint32_t pid;
	uint32_t state;      /* enum kms_target_state */
	uint32_t kind;       /* enum kms_target_kind */
	int32_t exit_status; /* wait status if known, else -1 */
	const char *name;
	const char *command;
	const char *file; /* trace of its run; NULL: the snapshot's */
	uint64_t start_wall_ns;
	uint64_t end_wall_ns; /* 0 still running */
	uint32_t stop_reason; /* enum kms_stop_reason while KMS_STATE_STOPPED */
	uint32_t stop_fault;  /* id of the fault it stands at, 0 none */
	/* events were lost, and nothing has been read anew since: what is live is as of before. False
	 * where that is not known (a file). */
	bool stale;
};

/** Sums over the run, or one target. Rates are events in the last whole second of target time. */
struct kms_view_stats {
	uint64_t
		live_bytes; /* in the run's sum each block once, those that ended targets left too */
	uint64_t live_objects; /* likewise */
	uint64_t peak_bytes;   /* the highest that live_bytes ever was, so never below it */
	uint64_t allocs;
	uint64_t frees;
	uint64_t failed;
	uint64_t alloc_rate;
	uint64_t free_rate;
	uint64_t faults;
	uint64_t events[KMS_EVENT_KINDS]; /* stored events by kind */
	uint64_t produced;
	uint64_t stored;
	uint64_t lost;
	double ring_fill; /* 0 to 1, the fullest ring */
	uint64_t waits;
	uint64_t waited_ns;
	uint64_t lag_us;
	uint64_t db_bytes;
	double ns_per_event; /* own cost, measured by the target at start; 0 unknown */
};

/** The groups of objects that a pool's cache keeps: free, but out of the pool's own sight. */
struct kms_view_pool_cache {
	uint32_t group_size;           /* objects */
	uint32_t full, partial, empty; /* groups; those of CPUs not counted */
	uint64_t parked;               /* objects in all groups, those of CPUs too */
	uint64_t hits, misses;         /* exchanges of groups */
	uint64_t contended;
	uint64_t cpu_hits, cpu_misses; /* of each object, got or put */
};

/**
 * What NetBSD counts of a pool: vmstat -m, show pool. Members as its own: @maxpages and @hardlimit are
 * UINT32_MAX where there is no limit. @nout counts what a cache has parked, too.
 */
struct kms_view_pool {
	uint64_t address; /* of the pool, in the kernel */
	uint64_t allocator;
	uint32_t size, reqsize, align, itemoffset;
	uint32_t minitems, minpages, maxpages, npages, hiwat;
	uint32_t itemsperpage, nitems, nout, hardlimit;
	uint32_t flags, roflags;
	uint32_t page_bytes;
	uint64_t nget, nfail, nput, npagealloc, npagefree, nidle;
	bool has_cache;
	struct kms_view_pool_cache cache;
};

/**
 * A cache. A guarded block counts in the cache of its size, where it is live and part of the total, but
 * lies in no slab: without it, slabs have @objects_total - @objects_guarded places, of which
 * @objects_live - @objects_guarded are taken. Pages, waste and utilization are of the slabs.
 */
struct kms_view_cache {
	uint32_t target;
	const char *name;
	uint64_t object_bytes;
	uint64_t objects_live;
	uint64_t objects_cached;  /* free, in a magazine or the depot */
	uint64_t objects_guarded; /* live and guarded */
	uint64_t objects_total;   /* not less than live */
	uint64_t slabs;
	uint64_t pages;
	uint64_t waste_bytes;
	uint64_t live_bytes; /* requested */
	uint64_t allocs;
	uint64_t frees;
	uint64_t failed;
	uint64_t alloc_rate;
	uint64_t free_rate;
	double utilization;               /* live requested bytes in slabs / bytes of pages */
	const struct kms_view_pool *pool; /* of a NetBSD guest; NULL: it is no pool */
};

struct kms_view_guard {
	uint32_t target;
	struct kms_guard_stat s;
	bool pending; /* a request is not yet acknowledged */
	uint64_t oldest_age_us;
	uint64_t
		window_frees; /* frees between the oldest entry's and now: the use-after-free window */
};

/** One frame, innermost first. function and file may be NULL; line 0 unknown. */
struct kms_view_frame {
	uint64_t address;
	const char *module;
	uint64_t offset; /* in the module */
	const char *function;
	const char *file;
	uint32_t line;
	bool inlined;
};

struct kms_view_stack {
	size_t n_frames;
	bool cut;
	struct kms_view_frame *frame;
};

/** Why a site is suspected; each member is shown. */
struct kms_view_evidence {
	double growth_bytes_per_s;
	double age_over_lifetime; /* median age / 99th percentile of past lifetimes; 0 no past */
	uint64_t freed;           /* blocks of this site freed so far */
	bool never_freed;
	bool at_exit; /* still live when the program ended */
};

/** The part of a leak that lies in one cache. */
struct kms_view_leak_cache {
	const char *name; /* NULL unknown */
	uint64_t bytes, count;
};

/** Live blocks with one allocation stack, of whatever size; without a known stack those of one cache. */
struct kms_view_leak {
	uint32_t target;
	/* hash of normalised frames, hex: the same across runs; without a stack of the cache */
	char id[17];
	uint64_t stack_id;
	const char *cache; /* the one with most bytes, which is caches[0] */
	size_t n_caches;
	struct kms_view_leak_cache *caches; /* most bytes first; they add up to the row */
	uint64_t bytes;
	uint64_t count;
	uint64_t age_p50_us;
	uint64_t allocs;
	double score; /* 0 to 100 */
	struct kms_view_evidence evidence;
	const char *state; /* open, suppressed, expected, fixed */
	bool folded; /* more sites than the tracer keeps: stack_id is the frames they have in common */
};

struct kms_view_owner {
	uint64_t alloc_ns;
	uint64_t free_ns; /* 0 still live */
	uint64_t bytes;
	uint64_t alloc_stack_id;
	uint64_t free_stack_id;
	uint32_t thread;
};

struct kms_view_fault {
	uint32_t target;
	uint32_t id;          /* unique in the run, from 1 */
	struct kms_fault raw; /* bounded and checked by the tracer */
	uint64_t stack_id;
	uint64_t alloc_stack_id;
	uint64_t free_stack_id;
	const char *cache;
	const char *thread_name;
	uint32_t tid;
	size_t n_owners;
	struct kms_view_owner *owner; /* every owner of the address, newest first */
};

/* A ring's number in the row of what threads lost that found no ring free. */
#define KMS_VIEW_NO_RING UINT32_MAX

/** What a target's rings brought; together with what had no ring, that is all it did. */
struct kms_view_ring {
	uint32_t target;
	uint32_t ring; /* or KMS_VIEW_NO_RING */
	uint64_t produced;
	uint64_t stored;
	uint64_t lost;
};

struct kms_snapshot {
	uint64_t seq;
	uint64_t time_ns;        /* since the run began */
	uint64_t wall_ns;        /* at the run's begin */
	bool finished;           /* the run is over and the file complete */
	const char *tracer_lost; /* NULL, or when and how the tracer went away */
	const char *file;        /* path of the trace */
	bool incomplete; /* events were lost, blocks not kept for want of memory, or recording
				  * was switched off for a while */
	struct kms_view_stats stats;
	size_t n_targets, n_caches, n_guards, n_leaks, n_faults, n_rings;
	struct kms_view_target *target;
	struct kms_view_stats *target_stats; /* by index of target; NULL unknown */
	struct kms_view_cache *cache;
	struct kms_view_guard *guard;
	struct kms_view_leak *leak; /* highest score first */
	struct kms_view_fault *fault;
	struct kms_view_ring *ring;
};

/** One event as clients see it. */
struct kms_view_event {
	uint64_t seq;
	uint64_t time_ns;
	uint64_t address;
	uint64_t size;
	uint64_t stack_id;
	uint32_t kind; /* enum kms_event_kind */
	uint32_t flags;
	uint32_t target;
	uint32_t tid;
	uint32_t ring; /* that it was written to: of a Linux guest the number of the CPU */
	const char *cache;
};

/**
 * Which events: in the order of seq, or newest_first, by time and seq downwards. The latter goes on behind
 * (before_ns, before_seq), in that order.
 */
struct kms_event_query {
	uint64_t from_seq;   /* the lowest seq to return */
	uint64_t before_seq; /* only below it; UINT64_MAX none */
	uint64_t before_ns;  /* newest_first only; UINT64_MAX: from the newest on */
	uint64_t address;    /* 0 any */
	uint64_t from_ns, to_ns;
	uint64_t site;   /* stack id, 0 any */
	uint32_t kinds;  /* bit mask of enum kms_event_kind, 0 any */
	uint32_t target; /* 0 any */
	size_t limit;
	bool newest_first;
};

/** A block, live or not, as the model knows it; for `whatis` and lists of live blocks. */
struct kms_view_block {
	uint32_t target;
	uint32_t state;    /* enum kms_block_state (schema/spans.h) */
	uint64_t address;  /* its start; 0: the address asked for lies in no block ever seen */
	uint64_t bytes;    /* requested */
	const char *cache; /* NULL unknown; of whatis: lives as long as the view */
	uint64_t slab;     /* base of its slab or large span, 0 unknown: so in lists */
	uint64_t slab_pages;
	uint64_t alloc_ns; /* run time; 0 unknown: it is older than the trace */
	uint64_t free_ns;  /* 0 live */
	uint64_t alloc_stack_id;
	uint64_t free_stack_id;
	uint32_t alloc_tid; /* 0 unknown */
};

/** Which live blocks: in order of target and address. A member that is 0 means any. Blocks that a
 * forked child inherited are its parent's, as in leaks. */
struct kms_block_query {
	uint32_t target;
	uint64_t site; /* stack id */
	const char *cache;
	uint64_t min_bytes;
	uint32_t after_target; /* go on behind this block: the cursor */
	uint64_t after_address;
	size_t limit;
};

/** A slab of a cache, live blocks as set bits. Borrowed for the call that gives it. */
struct kms_view_slab {
	uint32_t target;
	uint64_t base;
	uint64_t pages;
	uint32_t count; /* blocks */
	uint32_t live;
	/* (count + 7) / 8 bytes, block i is bit i & 7 of byte i / 8; NULL: not known which ones live */
	const uint8_t *bitmap;
};

/** Figures of one moment of the past, for timelines. */
struct kms_view_sample {
	uint64_t time_ns;
	uint64_t live_bytes, live_objects;
	uint64_t allocs, frees;
	uint64_t alloc_rate, free_rate;
	uint64_t faults, lost;
	uint64_t guard_used, guard_depth;
};

/**
 * Which figures over time: of @target, 0 the whole run. Of one target there is a moment a second, of the
 * last minutes that it lived: nothing for one that is not known.
 */
struct kms_sample_query {
	uint32_t target;
	uint64_t from_ns, to_ns;
};

struct kms_view_mark {
	uint64_t id; /* from 1, in order of time */
	uint64_t time_ns;
	const char *name;
};

/** The part of a gain that lies in one cache. */
struct kms_view_diff_cache {
	const char *name; /* NULL unknown */
	int64_t bytes, count;
};

/**
 * What one allocation stack gained between two marks, in blocks of whatever size; without a known
 * stack what one cache gained.
 */
struct kms_view_diff {
	uint32_t target;
	uint64_t stack_id;
	const char *cache; /* the one that changed most, which is caches[0] */
	size_t n_caches;
	/* those that changed, most bytes first, gained or lost; they add up to the row */
	const struct kms_view_diff_cache *caches;
	int64_t bytes;
	int64_t count;
};

/** A write to a target, as it was asked for. */
struct kms_view_audit {
	uint64_t id;
	uint64_t wall_ns;
	const char *who;
	uint32_t target;
	const char *variable;
	uint64_t value;
	const char *result;
};

/** A write into a guest's memory. */
struct kms_memory_write {
	uint32_t target;
	uint32_t bytes; /* 1, 2, 4 or 8 */
	uint64_t address;
	uint64_t expected; /* what it holds as far as the writer knows */
	uint64_t value;
};

enum {
	KMS_VIEW_SYMBOL_BYTES = 128, /* longer names are cut */
};

/** A name in the kernel of a guest. */
struct kms_view_symbol {
	char name[KMS_VIEW_SYMBOL_BYTES];
	uint64_t address;
	uint64_t offset; /* from there to the address that was asked for */
};

enum kms_kfence_state {
	KMS_KFENCE_UNUSED = 0,
	KMS_KFENCE_LIVE = 1,
	KMS_KFENCE_FREED = 2,
};

/** Names of enum kms_kfence_state. */
#define KMS_KFENCE_STATE_NAMES "unused", "allocated", "freed"

/** KFENCE of a Linux kernel: a pool of pages in which it guards some of its objects, by sampling. */
struct kms_view_kfence {
	uint32_t target;
	bool enabled;
	uint64_t pool; /* its address, 0 none */
	uint64_t sample_interval_ms;
	uint32_t objects; /* the pool has room for */
	uint32_t live, freed;
	bool has_counters; /* the kernel's own: what follows is known */
	uint64_t allocs, frees, bugs;
	uint64_t skipped; /* allocations that were due and not guarded */
	uint32_t reports; /* lines of the kernel's log that begin with "BUG: KFENCE:" */
	char report[8][160];
};

/** An object in the pool that is or was in use. Borrowed for the call that gives it. */
struct kms_view_kfence_object {
	uint32_t index;
	uint32_t state; /* enum kms_kfence_state */
	uint64_t address, bytes;
	const char *cache; /* NULL unknown */
	uint32_t alloc_pid, free_pid;
	uint64_t alloc_stack_id, free_stack_id; /* 0 unknown */
};

/**
 * What a source of data (live tracer or file) offers to server and command line. All functions
 * may be called from any thread. 0 or negative errno. A function that is NULL is not offered.
 *
 * @who: for the audit, "uid 1000 pid 4711" or "token"; never NULL.
 */
struct kms_view_ops {
	/** Borrow the newest snapshot; give it back by release. Never NULL. */
	const struct kms_snapshot *(*acquire)(void *ctx);
	void (*release)(void *ctx, const struct kms_snapshot *snapshot);
	/** Frames of a stack, symbols resolved; the caller frees by stack_free. */
	int (*stack)(void *ctx, uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err);
	void (*stack_free)(void *ctx, struct kms_view_stack *stack);
	/**
	 * Calls emit for each event in the order asked for until it returns non-zero or limit is reached.
	 * May be NULL (a guest that is only looked at).
	 */
	int (*events)(void *ctx, const struct kms_event_query *query,
		      int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
		      struct kms_err *err);
	/** Variables: value in effect and requested. May be NULL (a file). */
	int (*variable_get)(void *ctx, uint32_t target, unsigned variable, uint64_t *requested,
			    uint64_t *effective, bool *pending, struct kms_err *err);
	/** Target 0: all that live, and those that come later. */
	int (*variable_set)(void *ctx, const char *who, uint32_t target, unsigned variable,
			    uint64_t value, struct kms_err *err);
	/** Stops a target (all of its threads), lets it go on. Target 0: all. -EALREADY: it is so. */
	int (*stop)(void *ctx, const char *who, uint32_t target, struct kms_err *err);
	int (*resume)(void *ctx, const char *who, uint32_t target, struct kms_err *err);
	/** Lets a target run without us from now on; its trace is finished. */
	int (*detach)(void *ctx, const char *who, uint32_t target, struct kms_err *err);
	/** Takes a process: "pid:N". *target: 0 if it is not known yet. */
	int (*attach)(void *ctx, const char *who, const char *what, bool stopped, uint32_t *target,
		      struct kms_err *err);
	/** The target's memory as it is; *n_read may be short. -EFAULT: nothing is there. */
	int (*memory)(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
		      size_t *n_read, struct kms_err *err);
	/**
	 * Writes memory of a guest where it still holds @expected, and reads it back; 1, 2, 4 or 8
	 * bytes, aligned. -EPERM: not allowed when it was attached to, or a process; -EAGAIN: it holds
	 * another value by now.
	 */
	int (*memory_write)(void *ctx, const char *who, const struct kms_memory_write *write,
			    struct kms_err *err);
	/**
	 * Where a name of a guest's kernel lies. -ENOENT: nowhere, out->name is the name that is nearest
	 * to it, or ""; -ENOTSUP: a process, or a kernel whose symbols are not known.
	 */
	int (*symbol)(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
		      struct kms_err *err);
	/** The name at an address, or near below it. -ENOENT: none; as symbol */
	int (*symbol_at)(void *ctx, uint32_t target, uint64_t address, struct kms_view_symbol *out,
			 struct kms_err *err);
	/** The block that holds an address, or held it last. -ESRCH: no target. */
	int (*whatis)(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
		      struct kms_err *err);
	int (*blocks)(void *ctx, const struct kms_block_query *query,
		      int (*emit)(void *arg, const struct kms_view_block *block), void *arg,
		      struct kms_err *err);
	int (*slabs)(void *ctx, uint32_t target, const char *cache,
		     int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
		     struct kms_err *err);
	/** Figures over time, oldest first. */
	int (*samples)(void *ctx, const struct kms_sample_query *query,
		       int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
		       struct kms_err *err);
	/** Puts a mark into every live target's rings and remembers all sites as they are. */
	int (*mark)(void *ctx, const char *who, const char *name, uint64_t *id,
		    struct kms_err *err);
	int (*marks)(void *ctx, int (*emit)(void *arg, const struct kms_view_mark *mark), void *arg,
		     struct kms_err *err);
	/** Between marks @a and @b; a = 0: the begin of the run, b = 0: now. Largest gain in bytes first,
	 * ties by stack, target and the low half of kms_hash_bytes() of the cache's name. */
	int (*diff)(void *ctx, uint64_t a, uint64_t b,
		    int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
		    struct kms_err *err);
	/**
	 * What else is known of an address, as lines of text, cut to @bytes with their NUL: of a Linux
	 * guest the symbol there, or the object's place in its slab, its tracks and damage. -ENOENT: nothing.
	 */
	int (*explain)(void *ctx, uint32_t target, uint64_t address, char *text, size_t bytes,
		       struct kms_err *err);
	/**
	 * Checks what the target's memory tells of damage, from outside and before it returns; findings are
	 * faults then. NULL: the target is asked, by KMS_VAR_VERIFY.
	 */
	int (*verify)(void *ctx, const char *who, uint32_t target, struct kms_err *err);
	/** State of KFENCE, and each object. emit may be NULL. -ENOTSUP: that kernel has none; -ESRCH */
	int (*kfence)(void *ctx, uint32_t target, struct kms_view_kfence *state,
		      int (*emit)(void *arg, const struct kms_view_kfence_object *object),
		      void *arg, struct kms_err *err);
	/** Newest first. */
	int (*audit)(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row), void *arg,
		     struct kms_err *err);
};

/** A source: the functions and their state. */
struct kms_view {
	const struct kms_view_ops *ops;
	void *ctx;
};

#endif
