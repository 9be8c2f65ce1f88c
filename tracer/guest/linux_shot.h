/* SPDX-License-Identifier: BSD-2-Clause */
/* A picture of a Linux guest in the words of schema/snapshot.h. Inside of linux_view.c. */
#ifndef KMS_TRACER_GUEST_LINUX_SHOT_H
#define KMS_TRACER_GUEST_LINUX_SHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/guest/linux.h"

enum kms_linux_shot_bounds {
	KMS_LINUX_MAX_BOOTS = 64, /* targets of one view: then the oldest are forgotten */
	KMS_LINUX_MAX_SUSPECTS = 512,
	KMS_LINUX_RATES = 16, /* pictures that rates are taken from */
};

/** A kernel that was, or is. */
struct kms_linux_boot {
	char name[96];
	uint32_t pid;
	uint32_t state;
	uint64_t start_wall_ns, end_wall_ns;
};

struct kms_linux_recorder;
struct kms_tracer;

/** What goes on from picture to picture. */
struct kms_linux_history {
	struct kms_tracer *tracer; /* of the events, once they are recorded; NULL not yet */
	struct kms_linux_recorder *recorder;
	const char *command;
	uint64_t begin_ns, wall_ns; /* of the view */
	uint64_t time_ns, seq;      /* of the next picture */
	uint64_t allocs, frees;     /* events so far */
	uint64_t peak_bytes;
	uint32_t n_targets; /* the newest has this id */
	struct kms_linux_boot boot[KMS_LINUX_MAX_BOOTS];

	struct {
		uint64_t time_ns, allocs, frees;
	} past[KMS_LINUX_RATES]; /* a ring, by seq */
};

/** A picture. All in one piece of memory but for what has its own pointer here. */
struct kms_linux_shot {
	struct kms_snapshot snapshot; /* must stay first */
	unsigned users;
	struct kms_view_target target[KMS_LINUX_MAX_BOOTS];
	struct kms_linux_boot boot[KMS_LINUX_MAX_BOOTS];
	char *command;
	struct kms_linux_cache *named; /* copies: the names of cache */
	struct kms_view_leak *leak;    /* ours; the snapshot's may be the events' */
	struct kms_view_stats *target_stats;
	struct kms_tracer *tracer;
	const struct kms_snapshot *events; /* of the tracer, which some of it is borrowed from */
};

/** A kernel begins: it is the newest target. Errors: none but that of room, which is made */
int kms_linux_history_begin(struct kms_linux_history *history, const struct kms_linux_about *about,
			    pid_t pid, uint64_t wall_ns);

/** The newest target has ended. Shape: state of enum kms_target_state */
void kms_linux_history_end(struct kms_linux_history *history, uint64_t wall_ns, uint32_t state);

/** The newest target stands still, or runs. */
void kms_linux_history_pause(struct kms_linux_history *history, bool paused);

/** The newest target. Shape: there is one */
const struct kms_linux_boot *kms_linux_history_newest(const struct kms_linux_history *history);

void kms_linux_history_deinit(struct kms_linux_history *history);

/** A picture of what was last read; kernel NULL: only of the targets. users is 1. NULL: no memory. */
struct kms_linux_shot *kms_linux_shot_make(struct kms_linux *kernel,
					   struct kms_linux_history *history);

void kms_linux_shot_free(struct kms_linux_shot *shot);

/**
 * Frames of a stack of a picture: its id is the depot's handle, or the call site where there is none.
 * Owner: the caller frees out->frame, names and all. Errors: as kms_linux_stack(); -ENOMEM
 */
int kms_linux_shot_stack(struct kms_linux *kernel, uint64_t stack_id, struct kms_view_stack *out,
			 struct kms_err *err);

#endif
