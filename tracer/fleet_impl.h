/* SPDX-License-Identifier: BSD-2-Clause */
/* The fleet's parts; private to fleet*.c. */
#ifndef KMS_TRACER_FLEET_IMPL_H
#define KMS_TRACER_FLEET_IMPL_H

#include <pthread.h>
#include <stddef.h>

#include "base/list.h"
#include "schema/variables.h"
#include "tracer/fleet.h"
#include "tracer/name_pool.h"

enum kms_fleet_bounds {
	FLEET_NODE_BITS = 22, /* KMS_MAX_NODES */
	FLEET_RUN_SHIFT = 44,
	FLEET_RUNS_MAX = 1 << 20,
	FLEET_LOCAL_MAX = 1 << 24, /* targets or faults of one run */
};

/** Numbers that the fleet gives to things of runs. */
enum fleet_id_kind {
	FLEET_TARGET = 0,
	FLEET_FAULT = 1,
	FLEET_MARK = 2,
	FLEET_AUDIT = 3,
	FLEET_ID_KINDS = 4,
};

/** What a number of the fleet stands for. */
struct fleet_id {
	uint32_t run;
	uint32_t local;
};

/** All numbers of a kind that were ever given; index = number - 1. */
struct fleet_ids {
	struct fleet_id *item;
	uint32_t n, room;
};

/** A run's numbers of a kind; index = local - 1, 0 not given yet. */
struct fleet_local_ids {
	uint32_t *global;
	uint32_t room;
};

/** A source in use. Freed by whoever took it out of its run, once uses is 0. */
struct fleet_part {
	struct kms_fleet_source source;
	uint32_t run;
	unsigned uses;    /* pictures and calls that hold it; under fleet->lock */
	bool is_replaced; /* under fleet->lock */
};

struct fleet_run {
	struct kms_list link; /* in order of number */
	uint32_t number;
	struct fleet_part *part;
	uint64_t wall_ns; /* time 0 of the run, as of its last picture; 0 unknown */
	struct fleet_local_ids ids[FLEET_ID_KINDS];
};

/** A part's share of a picture. */
struct fleet_share {
	struct fleet_part *part;
	struct fleet_run *run; /* valid as long as the build lasts */
	const struct kms_snapshot *s;
	int64_t offset_ns; /* to be added to the run's times */
};

/** A picture. The arrays of s are its own, the strings belong to the shares' pictures. */
struct fleet_picture {
	struct kms_snapshot s;
	unsigned refs; /* under fleet->lock */
	size_t n_shares;
	struct fleet_share *share;
	struct kms_view_owner *owner; /* of all faults */
};

/** A mark that was set in all live runs. */
struct fleet_mark {
	uint64_t time_ns; /* of the fleet */
	char name[128];
};

/** An attach that was refused: no run's file has it. */
struct fleet_refused {
	uint64_t wall_ns, pid;
	uint32_t number; /* from 1; 0 none */
	char who[64], result[128];
};

enum {
	FLEET_REFUSED = 256, /* kept; a further one takes the oldest's place */
};

/** A value that every process is to have, those that come later too. */
struct fleet_later {
	bool is_set;
	uint64_t value;
};

struct kms_fleet {
	struct kms_view_ops ops;
	pthread_mutex_t build_lock; /* one picture is made at a time; taken before lock */
	pthread_mutex_t lock;  /* guards what follows; no function of a part is called under it */
	pthread_cond_t unused; /* a part's uses fell to 0, or a part was replaced */
	struct kms_list runs;
	uint32_t n_runs;
	uint32_t last_run;
	struct fleet_ids ids[FLEET_ID_KINDS];
	struct fleet_picture *newest; /* one reference is ours; NULL none */
	uint64_t newest_ns;
	uint64_t zero_wall_ns;
	uint64_t last_seq, last_time_ns, peak_bytes; /* of pictures so far: they never go back */
	struct fleet_later later[KMS_VARIABLE_COUNT];
	struct kms_name_pool names; /* of caches, for rows that outlive their run */
	struct fleet_mark *mark;    /* set in all runs at once; a ring by number */
	uint32_t n_marks;           /* ever set */
	kms_fleet_attach_fn *attach;
	void *attach_arg;
	struct fleet_refused refused[FLEET_REFUSED]; /* a ring by number */
	uint32_t n_refused;                          /* ever */
	struct fleet_run own;      /* number 0, in no list: numbers of what is the fleet's own */
	struct fleet_picture none; /* where there is no memory for another one */
};

/* fleet_ids.c; all under fleet->lock */

/** The fleet's number of a run's thing, given now if it has none; 0 without memory. */
uint32_t fleet_id_of(struct kms_fleet *fleet, struct fleet_run *run, enum fleet_id_kind kind,
		     uint32_t local);
/** The number that it has; 0 none. */
uint32_t fleet_id_known(const struct fleet_run *run, enum fleet_id_kind kind, uint32_t local);
/** Gives a run's thing a number that others have, too. False without memory, or for no number. */
bool fleet_id_set(struct fleet_run *run, enum fleet_id_kind kind, uint32_t local, uint32_t id);
/** What in a run has this number; 0 nothing. */
uint32_t fleet_id_local(const struct fleet_run *run, enum fleet_id_kind kind, uint32_t id);
/** What a number stands for. False: nothing. */
bool fleet_id_find(const struct kms_fleet *fleet, enum fleet_id_kind kind, uint32_t id,
		   struct fleet_id *out);
void fleet_ids_deinit(struct kms_fleet *fleet);
void fleet_local_ids_deinit(struct fleet_run *run);

/** A stack's number in the fleet, and back. 0 is no stack. */
uint64_t fleet_stack(uint32_t run, uint64_t local);
uint64_t fleet_stack_local(uint64_t id);

static inline uint32_t fleet_run_of(uint64_t id)
{
	return (uint32_t)(id >> FLEET_RUN_SHIFT);
}

/** A run's time as one of the fleet; 0 stays "unknown". */
uint64_t fleet_time(int64_t offset_ns, uint64_t run_ns);

/* fleet.c */

/** Under fleet->lock. NULL: there is none. */
struct fleet_run *fleet_find_run(struct kms_fleet *fleet, uint32_t number);

/** Holds the source of a run, or of a target's run (*local: its number there). NULL with -ESRCH. */
struct fleet_part *fleet_hold_run(struct kms_fleet *fleet, uint32_t number, struct kms_err *err);
struct fleet_part *fleet_hold_target(struct kms_fleet *fleet, uint32_t target, uint32_t *local,
				     struct kms_err *err);

/** Holds the first run with a number above @after; NULL: there is none. */
struct fleet_part *fleet_hold_next(struct kms_fleet *fleet, uint32_t after);
void fleet_drop(struct kms_fleet *fleet, struct fleet_part *part);

/** Waits until a part that is held was replaced, a few seconds; false: it was not. */
bool fleet_wait_replaced(struct kms_fleet *fleet, const struct fleet_part *part);

/** Offset of a run's times; false: nothing is known of it yet. */
bool fleet_offset(struct kms_fleet *fleet, uint32_t run, int64_t *offset_ns);

/* fleet_build.c */

/**
 * Fills the arrays and sums of a picture from its shares. Under fleet->lock.
 * Errors: -ENOMEM; what is there is freed by fleet_picture_free()
 */
int fleet_build(struct kms_fleet *fleet, struct fleet_picture *picture);
/** Frees the picture's own memory. */
void fleet_picture_free(struct fleet_picture *picture);

/* fleet_ops.c */

/** A query of events on its way through the runs. */
struct fleet_events {
	struct kms_fleet *fleet;
	const struct kms_event_query *query; /* in the fleet's numbers */
	uint32_t run;
	int64_t offset_ns;
	size_t left;
	bool is_over; /* the receiver has enough */
	int (*emit)(void *arg, const struct kms_view_event *event);
	void *arg;
};

/** An event of e->run in the fleet's numbers. */
struct kms_view_event fleet_event(const struct fleet_events *e, const struct kms_view_event *event);

/** The part of a query that is about e->run; false: there is none. */
bool fleet_events_localise(const struct fleet_events *e, uint32_t local_target,
			   struct kms_event_query *out);

/* fleet_newest.c: a query that is newest_first. Errors: -ESRCH; -ENOMEM; what a run says */
int fleet_newest_events(struct fleet_events *e, struct kms_err *err);

/** Sets the functions of the view but acquire and release. */
void fleet_ops_init(struct kms_fleet *fleet);

/** One call of a view's function for one run: with what is in job, about one of its targets, 0 all. */
typedef int fleet_call_fn(const struct kms_view *view, uint32_t target, void *job,
			  struct kms_err *err);

/** Calls for a part that is held; once more for the file that follows if that is just being made. */
int fleet_call_part(struct kms_fleet *fleet, struct fleet_part *part, uint32_t target,
		    fleet_call_fn *call, void *job, struct kms_err *err);

/** Calls for one target of the fleet. Errors: -ESRCH; what the call says */
int fleet_call_target(struct kms_fleet *fleet, uint32_t target, fleet_call_fn *call, void *job,
		      struct kms_err *err);

/** -ENOTSUP, said. */
int fleet_not_offered(struct kms_err *err);

/* fleet_rows.c */

/** Rows of one kind, of all runs. At the start all zero but for @bytes; item is the owner's to free. */
struct fleet_rows {
	void *item;
	size_t n, room, bytes;
	bool failed; /* no memory, or too many */
};

/** Room for one more; NULL: there is none. */
void *fleet_add_row(struct fleet_rows *rows);
/** Errors: -ENOMEM: some row found no room */
int fleet_rows_result(const struct fleet_rows *rows, struct kms_err *err);
void fleet_sort_rows(const struct fleet_rows *rows, int (*order)(const void *a, const void *b));

/** One call in every run, live or not; what follows the fleet is set before each. */
struct fleet_every {
	struct kms_fleet *fleet;
	uint32_t run;
	int64_t offset_ns;
	bool is_live;
	bool is_known; /* something of it was seen, so that offset_ns is right */
	bool goes_on;  /* in: where it fails, the others are asked nevertheless */
};

/** Calls in each. Errors: the first */
int fleet_each_run(struct fleet_every *every, fleet_call_fn *call, void *job, struct kms_err *err);

/* fleet_history.c */

/** Notes in the audit that @who was refused to attach @what. */
void fleet_note_refused(struct kms_fleet *fleet, const char *who, const char *what,
			const char *reason);

/* fleet_query.c, fleet_history.c, fleet_marks.c: add their functions to the view. */

void fleet_query_init(struct kms_fleet *fleet);
void fleet_history_init(struct kms_fleet *fleet);
void fleet_marks_init(struct kms_fleet *fleet);
void fleet_marks_deinit(struct kms_fleet *fleet);

#endif
