/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracer: from the regions of a run's folder to a trace file and a live view. Public header of
 * the component.
 *
 * Threads: the reader copies out of shared memory; the store thread writes the file; the model
 * thread keeps the live picture. README.md says what each may wait for.
 */
#ifndef KMS_TRACER_TRACER_H
#define KMS_TRACER_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/attach.h"
#include "tracer/attach_run.h"
#include "tracer/daemon.h"
#include "tracer/file.h"
#include "tracer/guest/qemu.h"
#include "tracer/guest/run.h"
#include "tracer/launch.h"
#include "tracer/options.h"
#include "tracer/run.h"
#include "tracer/session.h"
#include "tracer/sql.h"
#include "tracer/symbols.h"

struct kms_tracer;
struct kms_guest_link;
struct kms_batch;

/**
 * A run without regions, whose events come by kms_tracer_feed(): an unmodified kernel. What it offers is
 * asked in place of the tracer's own. Any thread; all but acquire and release may be NULL.
 */
struct kms_tracer_origin {
	/** Picture, stack, memory, memory_write, whatis and slabs. Of whatis *out has what the tracer knows. */
	const struct kms_view_ops *ops;
	void *ctx;
	/** The stack that became known after *stack_id (0: the first), for the file. False: none yet. */
	bool (*stack_next)(void *ctx, uint64_t *stack_id);
};

/** Shape: strings are copied; say may be NULL and is called from any thread of the tracer. */
struct kms_tracer_config {
	const char *run_dir; /* folder in which targets make their regions */
	const char *output;  /* path of the trace */
	const char *command; /* of the run, for the file */
	const char
		*continues; /* trace of a tracer before us that this one goes on from; NULL none */
	pid_t first_pid;    /* the program's process; 0 unknown */
	bool first_only;    /* leave every other process out */
	size_t queue_bytes; /* copies held at most; 0: 64 MiB */
	struct kms_guest_link *guest;           /* a guest that is traced; borrowed; NULL none */
	const struct kms_tracer_origin *origin; /* borrowed until kms_tracer_finish(); NULL none */
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/**
 * Creates the trace file and starts the threads.
 *
 * Owner:  kms_tracer_stop() ends and frees it.
 * Errors: NULL with what kms_store_create() says, or -ENOENT (run_dir), -ENOMEM, -EMFILE, ...
 */
struct kms_tracer *kms_tracer_start(const struct kms_tracer_config *config, struct kms_err *err);

/** The live view; valid until kms_tracer_stop(). */
struct kms_view kms_tracer_view(struct kms_tracer *tracer);

/**
 * Takes a batch from an origin, for store and model; the caller's reference stays his. One thread.
 * Errors: -ENOMEM: asked again with the same batch it goes on where it failed
 */
int kms_tracer_feed(struct kms_tracer *tracer, struct kms_batch *batch);

/** The picture made of the events alone, newest; given back by release before kms_tracer_destroy(). */
const struct kms_snapshot *kms_tracer_events_acquire(struct kms_tracer *tracer);
void kms_tracer_events_release(struct kms_tracer *tracer, const struct kms_snapshot *snapshot);

/**
 * Tells how a process ended; its target carries it from then on. The run can be over only when the
 * first process has ended.
 * Shape:  wait_status as from waitpid(); -1 not known
 */
void kms_tracer_exited(struct kms_tracer *tracer, pid_t pid, int wait_status);

/**
 * Asks a target, or all (0), to go on without us, each at its next allocator call: see
 * kms_images_leave(). When all have, kms_tracer_wait() says that the run is over.
 * Errors: -ESRCH
 */
int kms_tracer_leave(struct kms_tracer *tracer, uint32_t target, struct kms_err *err);

/**
 * Asks all targets to begin recording anew, with these values of variables: after a former tracer of
 * the same memory. Errors: -ESRCH: none is there yet
 */
int kms_tracer_resync(struct kms_tracer *tracer, const struct kms_options *options,
		      struct kms_err *err);

/**
 * Puts into the audit that a process was attached, with which values of variables, and who did it.
 * Shape: strings are borrowed; options may be NULL
 */
void kms_tracer_attached(struct kms_tracer *tracer, const char *who, pid_t pid,
			 const struct kms_options *options);

/** What kms_tracer_wait() waited for. */
enum kms_tracer_wait {
	KMS_TRACER_TIMEOUT = 0,
	KMS_TRACER_OVER = 1,    /* no process of the run is left and nothing is unread */
	KMS_TRACER_MISSING = 2, /* the first process lives for a second and has no region; once */
	KMS_TRACER_SILENT = 3,  /* it has one and has not allocated anything; once */
	KMS_TRACER_NO_ROOM = 4, /* as MISSING: there was no room for one in the run's folder */
};

/** Waits until the run is over, or something is to be said; any one thread. */
enum kms_tracer_wait kms_tracer_wait(struct kms_tracer *tracer, int timeout_ms);

/** Whether something could not be written to the file. */
bool kms_tracer_store_failed(struct kms_tracer *tracer);

/**
 * Processes that are traced and live, or are about to execute a program that may be: as of some 10 ms
 * ago. At least 1 as long as anybody has memory that we read.
 */
uint32_t kms_tracer_live(struct kms_tracer *tracer);

/**
 * Waits until everything that targets had written before the call is stored and in the view.
 * Errors: -ETIMEDOUT.
 */
int kms_tracer_sync(struct kms_tracer *tracer, int timeout_ms);

/** The two halves of kms_tracer_sync(), so that several tracers can be waited for at once. */
uint64_t kms_tracer_sync_begin(struct kms_tracer *tracer);
int kms_tracer_sync_end(struct kms_tracer *tracer, uint64_t number, int timeout_ms);

/**
 * What the view's acquire() waits for before it takes a picture, in two halves, for the same reason.
 * Shape: begin returns what end is to be given; 0: the picture is new enough
 */
uint64_t kms_tracer_refresh_begin(struct kms_tracer *tracer);
void kms_tracer_refresh_end(struct kms_tracer *tracer, uint64_t number);

/** Sets a variable in every process that lives and every one to come, if any. Any thread. */
void kms_tracer_want(struct kms_tracer *tracer, unsigned variable, uint64_t value);

/** Makes the reader look at once. Any thread. */
void kms_tracer_wake(struct kms_tracer *tracer);

/** Whether a process belongs to the run: it is traced, or about to execute a program that may be. */
bool kms_tracer_has(struct kms_tracer *tracer, pid_t pid);

/**
 * The first half of kms_tracer_stop(): the file is complete, while the view still shows the last
 * picture. Events are not to be had from it any more (-EAGAIN); the file has them.
 * Errors: as kms_tracer_stop()
 */
int kms_tracer_finish(struct kms_tracer *tracer, struct kms_err *err);

/** The second half: frees everything. The view must not be in use any more. NULL is allowed. */
void kms_tracer_destroy(struct kms_tracer *tracer);

/**
 * Reads what is left, writes the final tables and symbols, closes the file, frees everything. The
 * view must not be in use any more.
 * Errors: what the store said first; the file then is not complete.
 */
int kms_tracer_stop(struct kms_tracer *tracer, struct kms_err *err);

#endif
