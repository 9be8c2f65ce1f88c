/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A trace file as a view (schema/snapshot.h): finished, still being written by another process, or
 * left behind by a tracer that was killed.
 *
 *	finished  the picture is the one that the tracer wrote last; opened in milliseconds
 *	live      the same as of the last commit, read again when there is a newer one
 *	lost      snapshot.tracer_lost says when; the events are all replayed into a model, so that
 *	          leaks and figures include everything that reached the file. Where old chunks were
 *	          given up (retention) the tables are shown as they were written last, as incomplete
 */
#ifndef KMS_TRACER_FILE_H
#define KMS_TRACER_FILE_H

#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/batch.h"

struct kms_file;

/**
 * Opens a trace for reading.
 *
 * Locks:  the view's functions may be called from any thread until kms_file_close()
 * Errors: -ENOENT, -EACCES, ...; -EINVAL: not a trace; -EPROTO: made by a newer version;
 *         -EBADMSG: damaged, err names the thing; -ENOMEM
 */
int kms_file_open(const char *path, struct kms_file **out, struct kms_err *err);

/**
 * Names functions of stacks that the trace has no names for, from the modules' files on this machine.
 *
 * For programs whose main calls kms_symbols_helper_main(). A file with another build-id gives no
 * names; where the trace knows no build-id the file's path and size must do.
 */
void kms_file_name_stacks(struct kms_file *file);

/** Every snapshot was given back. NULL is allowed. */
void kms_file_close(struct kms_file *file);

/** The view; valid until kms_file_close(). variable_get and variable_set are NULL. */
struct kms_view kms_file_view(struct kms_file *file);

/** Two moments: marks by number. @a 0: the begin of the run; @b 0: what @now shows. */
struct kms_file_ends {
	uint64_t a, b;
	const struct kms_snapshot *now;
};

/**
 * What sites gained between two moments, as struct kms_view_ops says.
 * Errors: -ENOENT: no such mark; as kms_file_open()
 */
int kms_file_diff(struct kms_file *file, const struct kms_file_ends *ends,
		  int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
		  struct kms_err *err);

/** What became of a trace. */
enum kms_file_state {
	KMS_FILE_FINISHED = 1,
	KMS_FILE_LIVE = 2,
	KMS_FILE_LOST = 3,
};

enum kms_file_state kms_file_state(const struct kms_file *file);

/** Takes a batch; non-zero ends the replay and is its result. */
typedef int kms_batch_fn(void *arg, const struct kms_batch *batch);

/**
 * Streams a trace as the batches that its tracer may have sent: tables and targets first, then the
 * blocks of all rings in steps of time, at last the copies of slots and rings, and the end.
 *
 * A block reaches over several steps where its ring was slow: its later pieces have from_bytes.
 * Errors: as kms_file_open(); what @feed returns
 */
int kms_file_replay(struct kms_file *file, kms_batch_fn *feed, void *arg, struct kms_err *err);

#endif
