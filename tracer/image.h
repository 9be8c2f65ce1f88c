/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One image: a region with its rings, tables and processes, and how far each was read.
 *
 * An image lives from the making of its region until no process has it mapped and everything in it
 * was read. If anything in it is impossible it is corrupt: nothing of it is read any more, but its
 * positions go on moving, so that the program never waits for us.
 */
#ifndef KMS_TRACER_IMAGE_H
#define KMS_TRACER_IMAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/list.h"
#include "schema/variables.h"
#include "tracer/base.h"
#include "tracer/batch.h"
#include "tracer/control.h"
#include "tracer/event.h"
#include "tracer/guest/link.h"
#include "tracer/hold.h"
#include "tracer/ring_reader.h"
#include "tracer/tables.h"
#include "tracer/targets.h"

enum kms_image_limits {
	KMS_IMAGE_NAME_BYTES = 128,
	KMS_IMAGE_LOOK_AHEAD = KMS_SLOTS_AHEAD, /* also of rings */
};

#define KMS_IMAGE_COUNTERS_NS      UINT64_C(100000000)  /* between copies of active counters */
#define KMS_IMAGE_COUNTERS_IDLE_NS UINT64_C(1000000000) /* ... of those without events */
#define KMS_IMAGE_SCAN_NS          UINT64_C(10000000)   /* between looks for new rings and slots */
#define KMS_IMAGE_HELD_NS          UINT64_C(10000000)   /* between questions who has it mapped */
#define KMS_IMAGE_BEAT_NS          UINT64_C(10000000)
/* A process that we do not find is dead after so long without events: where pids are ours, and where
 * they may be those of another namespace. */
#define KMS_IMAGE_GONE_NS          UINT64_C(100000000)
#define KMS_IMAGE_UNSEEN_NS        UINT64_C(2000000000)
/* A call that was under way when its process left us may still write its record. */
#define KMS_IMAGE_LEFT_NS          UINT64_C(20000000)

/** Values that were asked for of all processes: those to come get them too. */
struct kms_wanted {
	uint64_t value[KMS_VAR_COMMANDS];
	bool is_set[KMS_VAR_COMMANDS];
};

/** What all images of a run share; set by images.c. */
struct kms_image_env {
	struct kms_targets *targets;
	struct kms_event *event; /* KMS_SEQ_PER_BLOCK, to decode into */
	int epoll_fd;            /* descriptors of processes; see kms_image_process_ended() */
	struct kms_hold *hold;   /* NULL: nobody is held */
	struct kms_wanted wanted;
	bool refused_said; /* that threads cannot be held */
	uint64_t nonce;
	uint32_t only_pid;     /* follow this process alone; 0 all */
	uint64_t allocs_first; /* alloc events of first_pid so far */
	const char *dir;       /* the run's folder */
	bool no_room_said;     /* that it has none */
	uint32_t first_pid;
	bool first_seen; /* a region of first_pid was opened */
	bool first_left; /* and the process goes on without us */
	void (*say)(void *arg, const char *line);
	void *say_arg;
	/** Wants to know what was live when a session of recording began; may be NULL. */
	void (*base)(void *arg, const struct kms_base_want *want);
	void *base_arg;
	struct kms_guest_link *guest; /* whose boots are images, too; NULL none */
	/** Memory of that guest by its own addresses, for who holds no lock; bytes or a negative errno. */
	ssize_t (*guest_memory)(void *arg, uint64_t address, void *to, size_t n);
	void *guest_arg;
};

/** What a slot says of its process's standing still. */
struct kms_image_stop {
	uint32_t
		state; /* enum kms_stop_reason: FAULT or START, of a guest REQUEST; NONE: it says nothing */
	uint32_t fault;
	uint32_t tid;
	uint32_t nr;
};

/** Events that a process dropped, and what was done about it (image_loss.c). */
struct kms_image_loss {
	uint64_t seen_ns;     /* when it was last seen to drop some, 0 never */
	uint64_t since_ns;    /* when that began */
	uint64_t asked_ns;    /* when it was last asked to begin anew */
	uint64_t interval_ns; /* between two such */
	uint64_t unringed;    /* lost_unringed when last looked at */
};

/** A slot of the region: the process that has it. */
struct kms_image_slot {
	struct kms_image_stop stop;
	bool on_request;           /* it is to stand because somebody asked */
	bool is_held;              /* we asked for it to be held */
	uint32_t held_nr;          /* stop.nr for which it was told that all stand */
	uint32_t claims;           /* of the claim we know, 0 never seen */
	struct kms_target *target; /* NULL as long as claims is 0 */
	int pidfd;                 /* -1 none */
	bool is_dead;              /* the process ended; what its rings hold is all that comes */
	bool is_over;              /* and everything of it was read */
	bool is_executing;         /* lived when nobody had the region any more */
	uint32_t session;          /* of recording, for which a base was asked; 0 the first one,
				    * KMS_NO_INDEX none yet */
	bool has_left;             /* the process lives and goes on without us */
	uint64_t left_ns;          /* when that was seen */
	bool is_active;            /* had events since its counters were sent */
	bool was_active;      /* before that: what belongs to its last event may have come since */
	bool is_new;          /* what its parent wrote before the fork may still be unread */
	uint64_t unseen_ns;   /* since when there is no process of this pid for us; 0 */
	uint64_t counters_ns; /* when its counters were sent */
	uint64_t acked_seq;   /* of requests, as last seen */
	uint32_t exit_status; /* KMS_EXIT_STATUS as last seen, 0 unknown */
	uint64_t span_table;  /* address in the process, as last seen */
	uint64_t lost_unringed; /* likewise */
	struct kms_image_loss loss;
	uint64_t looked_at;         /* image->look_nr when its claim was last checked */
	struct kms_counter *total;  /* KMS_MAX_CACHES: over its rings */
	struct kms_counter *unrung; /* KMS_MAX_CACHES: as last read, events without a ring */
};

struct kms_image_ring {
	struct kms_ring_reader reader;
	struct kms_counter *last; /* KMS_MAX_CACHES: counters as last read */
	uint64_t position;        /* as last written, 0 never */
	uint64_t sent_produced;   /* figures as last sent */
	uint64_t sent_lost, sent_untold;
	uint32_t sent_claim;
	uint32_t told_claim; /* whose loss is told_lost */
	uint64_t told_lost;  /* as its owner said when last looked at */
};

enum kms_image_state {
	KMS_IMAGE_WAITING = 0, /* another tracer owns it */
	KMS_IMAGE_OPEN = 1,
	KMS_IMAGE_CORRUPT = 2,
	KMS_IMAGE_ENDED = 3,
};

struct kms_image {
	struct kms_list link;
	struct kms_image_env *env;
	char name[KMS_IMAGE_NAME_BYTES]; /* of its file */
	char program[64];
	char command[256];
	uint32_t ordinal; /* in the run, from 1 */
	enum kms_image_state state;
	bool sees_pids; /* its pids are of our namespace */
	bool lost_children_said;
	bool leave_asked; /* whoever has it is to go on without us */
	struct kms_region region;
	struct kms_control control;
	struct kms_guest_mirror
		*mirror;  /* the region is a copy of a guest's; NULL: it is a process's */
	bool mirror_more; /* blocks are left there */
	struct kms_tables tables;
	struct kms_image_ring *ring; /* n_rings of head.rings */
	uint32_t n_rings;
	uint32_t first_ring;         /* where the next poll begins: a full batch starves nobody */
	struct kms_image_slot *slot; /* n_slots of head.slots */
	uint32_t n_slots;
	uint64_t look_nr; /* counts rounds of looking at slots */
	bool is_joined;   /* another tracer had read of it before us */
	uint64_t scan_ns, held_ns, beat_ns;
	uint64_t renewed_ns; /* when all positions were last written again */
	bool is_held;
	bool look_closer; /* a process ended: scan everything now */
	bool has_new;     /* some slot is_new: read every open block */
	double fill;      /* of its fullest ring, before the last poll */
};

/** What a poll found. */
struct kms_image_news {
	bool any;  /* something went into the batch */
	bool more; /* the batch is full */
};

/**
 * Opens a region as an image, which needs its ordinal before it is polled.
 *
 * Errors: as kms_region_open(); -ENOMEM. Then *out is not set.
 */
int kms_image_open(struct kms_image_env *env, int dir_fd, const char *name, struct kms_image **out,
		   struct kms_err *err);

/**
 * Opens the copy of a guest's region as an image. Owner: the image has the mirror from then on.
 * Errors: as above; then the mirror is the caller's
 */
int kms_image_open_guest(struct kms_image_env *env, struct kms_guest_mirror *mirror,
			 struct kms_image **out, struct kms_err *err);

/** A guest's image goes on without us, or its guest is gone: nothing more is read after the next poll. */
void kms_image_leave_guest(struct kms_image *image);

/** Its number in the run, from 1. Once, before the first poll. */
void kms_image_set_ordinal(struct kms_image *image, uint32_t ordinal);

/** Unmaps and frees; NULL is allowed. The file stays. */
void kms_image_close(struct kms_image *image);

/** Says, once a run, that a program (@who) got no memory for its region, or not all of it. */
void kms_image_say_no_room(struct kms_image_env *env, const char *who);

/**
 * Reads what is new into the batch and moves the positions. The region's errors end the image as
 * corrupt, which is said; they are not errors of the call.
 *
 * Errors: -ENOMEM: nothing is lost, poll again
 */
int kms_image_poll(struct kms_image *image, const struct kms_ring_ask *ask, struct kms_batch *batch,
		   struct kms_image_news *news);

/** Moves heartbeat, and tick if @busy, when it is time to. */
void kms_image_beat(struct kms_image *image, uint64_t now_ns, bool busy);

/** Has a guest see what was written into the copy of its region; nothing for a process. */
void kms_image_push(struct kms_image *image);

/** The epoll descriptor reported the end of a process: @key as registered. */
void kms_image_process_ended(struct kms_image *image, uint32_t slot);

/** Key of a slot's process in env->epoll_fd: ordinal << 32 | slot. */
static inline uint64_t kms_image_key(const struct kms_image *image, uint32_t slot)
{
	return (uint64_t)image->ordinal << 32 | slot;
}

/**
 * The descriptor of a slot's process if it lives on after the image has ended: it executes another
 * program. Owner: the caller closes it. -1: it does not.
 */
int kms_image_take_executing(struct kms_image *image, uint32_t slot);

/** Whether a slot's process stands still, or is about to. */
bool kms_image_slot_stands(const struct kms_image_slot *slot);

/**
 * Has a process stand because somebody asks, or lets it go again (image_stop.c).
 * Errors: -EALREADY: it stands; -ENOTSUP: it cannot be held from here; what kms_hold_take() says
 */
int kms_image_slot_hold(struct kms_image *image, uint32_t index);
void kms_image_slot_let_go(struct kms_image *image, uint32_t index);

/** Looks how a slot's process stands now. Errors: -EFAULT */
int kms_image_slot_look_stop(struct kms_image *image, uint32_t index);

/** Processes of the image that live. */
uint32_t kms_image_live(const struct kms_image *image);

#endif
