/* SPDX-License-Identifier: BSD-2-Clause */
/* The tracer's parts; private to tracer*.c. */
#ifndef KMS_TRACER_TRACER_IMPL_H
#define KMS_TRACER_TRACER_IMPL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tracer/base.h"
#include "tracer/errands.h"
#include "tracer/file.h"
#include "tracer/images.h"
#include "tracer/model.h"
#include "tracer/name_pool.h"
#include "tracer/queue.h"
#include "tracer/reader.h"
#include "tracer/stack_book.h"
#include "tracer/store.h"
#include "tracer/symbols.h"
#include "tracer/tracer.h"

/** One of the two threads that take batches from the reader. */
struct tracer_consumer {
	struct kms_tracer *tracer;
	struct kms_queue queue;
	pthread_t thread;
	bool is_running;
	bool has_last;   /* the batch being emitted is in the queue already */
	uint64_t synced; /* SYNC batches seen; under tracer->lock */
};

struct kms_tracer {
	struct kms_tracer_config config; /* strings are in the arrays below */
	char output[PATH_MAX];
	char run_dir[PATH_MAX];
	struct kms_images *images;
	struct kms_reader *reader;
	struct kms_model *model;       /* fed by the model thread */
	struct kms_store *store;       /* of the store thread until that has ended */
	struct kms_stack_book *stacks; /* fed by the model thread */
	struct tracer_consumer to_store, to_model;
	struct kms_base *base;            /* a third producer of batches, beside the reader */
	const struct kms_batch *fed_half; /* likewise of who feeds for an origin */
	uint64_t named; /* stack of the origin whose names went to the file last */
	const struct kms_batch *base_half; /* of its thread: the model has it, the store not yet */
	struct kms_view_ops ops;
	struct kms_view_ops plain; /* without the audit around it */
	int (*whatis)(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
		      struct kms_err *err); /* ours, where the origin has its own */
	uint64_t started_ns;

	pthread_mutex_t lock; /* guards what follows; taken last */
	pthread_cond_t changed;
	bool is_exited; /* kms_tracer_exited() was called for the first process */
	uint64_t exited_ns;
	bool missing_said;
	int store_error; /* first error of the store, 0 none */
	bool stacks_full_said;
	struct tracer_note *notes, **notes_end; /* for the audit, that wait for the store */
	unsigned n_notes;
	bool is_ended; /* nothing is read any more */

	pthread_mutex_t symbols_lock; /* guards symbols, while it is made */
	struct kms_symbols *symbols;
	bool symbols_failed;
	_Atomic uint64_t synced_ns; /* when a view last asked for all that was written */
	pthread_mutex_t file_lock;  /* guards file, while it is opened */
	struct kms_file *file;      /* our own trace, for queries of events */
	struct kms_errands for_model, for_store;
	struct kms_name_pool names;      /* of caches, for who asks what an address is */
	_Atomic uint64_t past_synced_ns; /* when the file was last brought up to date for that */
	pthread_mutex_t mark_lock;       /* guards marks, while one is set */
	uint64_t marks;                  /* set so far */
	pthread_rwlock_t file_use; /* held to read while file is asked, to write to close it */
	bool file_is_closed;       /* under file_use: it is not to be opened again */
};

/** One line for the user. */
void tracer_say(struct kms_tracer *tracer, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** The symbol resolver, started when it is first needed; NULL if it cannot be. Any thread. */
struct kms_symbols *tracer_symbols(struct kms_tracer *tracer);

/** tracer_origin.c: the picture that is shown and kept: the origin's, else the model's. Any thread. */
const struct kms_snapshot *tracer_picture(struct kms_tracer *tracer);
void tracer_picture_release(struct kms_tracer *tracer, const struct kms_snapshot *snapshot);

/** Asks the origin in place of what has been set so far; without one nothing changes. */
void tracer_origin_init(struct kms_tracer *tracer);

/** Keeps names of the origin's new stacks, the store's thread, @max at most. */
void tracer_origin_names(struct kms_tracer *tracer, unsigned max);

/** tracer_view.c: the functions of kms_tracer_view(). */
void tracer_view_init(struct kms_tracer *tracer);

/**
 * Our own trace as a view, opened when it is first needed: as of the last commit. Where this succeeds,
 * tracer_own_file_end() says that it is not asked any more.
 * Errors: -EAGAIN: it is being finished; what kms_file_open() says
 */
int tracer_own_file(struct kms_tracer *tracer, struct kms_view *view, struct kms_err *err);
void tracer_own_file_end(struct kms_tracer *tracer);

/** tracer_query.c: the functions beyond pictures, and what they need. */
void tracer_query_init(struct kms_tracer *tracer);
void tracer_query_deinit(struct kms_tracer *tracer);

/** tracer_audit.c: puts the audit around the view's functions, all of which are set. */
void tracer_audit_init(struct kms_tracer *tracer);
void tracer_audit_deinit(struct kms_tracer *tracer);

/**
 * Notes something else for the audit; any thread. The time is set here, strings are copied.
 * Shape:  variable: what was done, in a word; result "ok" or what went wrong
 */
void tracer_audit(struct kms_tracer *tracer, const struct kms_store_audit *entry);

/** Hands noted writes to the store; the store's thread. */
void tracer_store_audits(struct kms_tracer *tracer);

/** tracer_final.c: writes what the file keeps of the end: names of the stacks that matter, tables; closes
 * the store. */
int tracer_final(struct kms_tracer *tracer, struct kms_err *err);

#endif
