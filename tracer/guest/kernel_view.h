/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel that is not ours behind the same kms_view as a traced process: read again and again by a
 * thread, a picture of what was read handed to clients. Nothing is stored: what clients see is now.
 *
 * What kind of kernel it is, a source knows: how to find it, to read it, and to put it into a picture.
 * When the guest boots another kernel, that is another target; the old one has ended.
 */
#ifndef KMS_TRACER_GUEST_KERNEL_VIEW_H
#define KMS_TRACER_GUEST_KERNEL_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "schema/snapshot.h"

enum kms_kernel_view_bounds {
	KMS_KERNEL_BOOTS = 64, /* targets of one view: then the oldest are forgotten */
	KMS_KERNEL_NAME_BYTES = 96,
};

/** A kernel that was, or is. */
struct kms_kernel_boot {
	char name[KMS_KERNEL_NAME_BYTES];
	uint32_t pid;
	uint32_t state; /* enum kms_target_state */
	uint64_t start_wall_ns, end_wall_ns;
};

/** What goes on from picture to picture. */
struct kms_kernel_history {
	const char *command;
	uint64_t begin_ns, wall_ns; /* of the view */
	uint64_t time_ns, seq;      /* of the next picture */
	uint64_t peak_bytes;
	uint32_t n_targets; /* the newest has this id */
	struct kms_kernel_boot boot[KMS_KERNEL_BOOTS];
};

/** A picture. What a source needs for one stands in more, which is freed with it. */
struct kms_kernel_shot {
	struct kms_snapshot snapshot; /* must stay first */
	unsigned users;
	struct kms_view_target target[KMS_KERNEL_BOOTS];
	struct kms_kernel_boot boot[KMS_KERNEL_BOOTS];
	char *command;
	void *more;
};

/** Functions of a source. One at a time is called, by the view's thread or a client's. */
struct kms_kernel_source_ops {
	/** Looks for a kernel; its name goes to name. -EAGAIN, -EBADMSG: not now; -EFAULT, -EIO: no memory. */
	int (*find)(void *source, char name[KMS_KERNEL_NAME_BYTES], struct kms_err *err);
	/** It is not looked at any more. */
	void (*lose)(void *source);
	/** -ESTALE: another kernel by now. */
	int (*check)(void *source, struct kms_err *err);
	/** Reads it anew. @is_long: once a second. */
	int (*read)(void *source, bool is_long, struct kms_err *err);
	/** Adds what was read to a picture that has its targets. False: no memory. */
	bool (*show)(void *source, struct kms_kernel_shot *shot,
		     struct kms_kernel_history *history);
	/* As of kms_view_ops; the view has checked the target. */
	int (*memory)(void *source, uint64_t address, void *to, size_t n, size_t *n_read,
		      struct kms_err *err);
	int (*slabs)(void *source, const char *cache,
		     int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
		     struct kms_err *err);
	int (*variable_get)(void *source, unsigned variable, uint64_t *value, struct kms_err *err);
	int (*variable_set)(void *source, unsigned variable, uint64_t value, struct kms_err *err);
	int (*memory_write)(void *source, const struct kms_memory_write *write,
			    struct kms_err *err);
	int (*symbol)(void *source, const char *name, struct kms_view_symbol *out,
		      struct kms_err *err);
	int (*symbol_at)(void *source, uint64_t address, struct kms_view_symbol *out,
			 struct kms_err *err);
};

struct kms_kernel_view;

/** Shape: strings are copied. */
struct kms_kernel_view_config {
	const struct kms_kernel_source_ops *ops;
	void *source;        /* the view's alone until it is stopped */
	const char *command; /* of the emulator, or the RAM file */
	pid_t pid;           /* of the emulator, 0 unknown */
	unsigned pace_ms;    /* between two looks; 0: 100 */
	bool allow_write;    /* clients may write the guest's memory */
	/** Something for the user, one line; from the view's thread. */
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/**
 * Finds the kernel, reads it once, starts the thread.
 *
 * Owner:  kms_kernel_view_stop() ends and frees it; the source stays.
 * Errors: as the source's find and read; -ENOMEM; -EAGAIN of pthread_create(3)
 */
int kms_kernel_view_start(const struct kms_kernel_view_config *config, struct kms_kernel_view **out,
			  struct kms_err *err);

/** The view; valid until kms_kernel_view_stop(). */
struct kms_view kms_kernel_view_ops(struct kms_kernel_view *view);

/** Whether the guest's memory can no longer be read. Any thread. */
bool kms_kernel_view_is_lost(struct kms_kernel_view *view);

/** Ends it; all snapshots were given back. NULL is nothing. */
void kms_kernel_view_stop(struct kms_kernel_view *view);

#endif
