/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The writer of a trace file (DESIGN section 7). One thread calls these; it owns the only
 * read-write connection. File format: schema/sql/, schema/README.md.
 */
#ifndef KMS_TRACER_STORE_H
#define KMS_TRACER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/batch.h"
#include "tracer/held.h"

struct kms_store;

struct kms_store_config {
	const char *path;         /* final path; -o semantics of DESIGN 7 */
	const char *command;      /* of the run, for meta */
	const char *continues;    /* for meta: path of the trace that this one goes on from; NULL */
	uint64_t commit_ns;       /* longest time between commits (default 250 ms) */
	uint64_t retention_bytes; /* 0: default */
	int zstd_level;           /* default 1; negative is faster */
};

/**
 * Creates the file, or replaces a finished trace.
 * Errors: -EEXIST not a kmemscope trace; -EBUSY a trace still being written; -EACCES, -ENOENT, ...
 */
int kms_store_create(const struct kms_store_config *config, struct kms_store **out,
		     struct kms_err *err);

/**
 * Takes over a batch's content; the batch is not needed afterwards.
 *
 * Errors: of a commit that was due, as kms_store_commit(); -ENOMEM, -EINVAL: part of the batch could
 *         not be kept and is counted in meta.dropped
 */
int kms_store_add(struct kms_store *store, struct kms_batch *batch, struct kms_err *err);

/**
 * Commits what is due; @force: now.
 *
 * Errors: -ENOSPC, -EIO, ...: nothing is lost yet: it goes with the next commit that succeeds. Above
 *         64 MiB the oldest events are dropped, and counted in meta.dropped.
 */
int kms_store_commit(struct kms_store *store, bool force, struct kms_err *err);

/** Commits what is staged together with the relational tables of the snapshot. Errors as above. */
int kms_store_snapshot(struct kms_store *store, const struct kms_snapshot *snapshot,
		       struct kms_err *err);

/** Symbols to keep with the trace: frames of one stack (written once each). */
int kms_store_stack_symbols(struct kms_store *store, uint64_t stack_id,
			    const struct kms_view_stack *stack, struct kms_err *err);

/** A write to a variable of a target, for the table audit. Shape: strings are borrowed. */
struct kms_store_audit {
	uint64_t wall_ns;
	const char *who; /* user and client */
	uint32_t target;
	const char *variable;
	uint64_t value;
	const char *result; /* in words: ok, adjusted, out of range, ... */
};

/** Keeps one entry. Errors: -ENOMEM, -ENOSPC (too many wait for a disk that fails) */
int kms_store_audit(struct kms_store *store, const struct kms_store_audit *audit,
		    struct kms_err *err);

/** A moment that somebody marked. Shape: strings and sites are borrowed; sites as kms_held_order() */
struct kms_store_mark {
	uint64_t id; /* from 1, each once */
	uint64_t time_ns;
	uint64_t wall_ns;
	const char *name;
	const struct kms_held *held;
	size_t n_held;
};

/** Writes a mark at once, with all that is staged. Errors: as kms_store_commit(); it is not kept then */
int kms_store_mark(struct kms_store *store, const struct kms_store_mark *mark, struct kms_err *err);

/** Bytes of the file and events stored so far; safe from other threads. */
void kms_store_figures(struct kms_store *store, uint64_t *db_bytes, uint64_t *events);

/**
 * Marks the run finished, commits, checkpoints, closes. NULL is allowed.
 *
 * Shape:  @last: the picture that the file shows; NULL: the one written before
 * Errors: as kms_store_commit(). Where only room was missing the file says that it is finished all the
 *         same, and what was dropped, else that its tracer was lost. Freed in any case.
 */
int kms_store_finish(struct kms_store *store, const struct kms_snapshot *last, struct kms_err *err);

/** The same without a picture. */
int kms_store_close(struct kms_store *store, struct kms_err *err);

#endif
