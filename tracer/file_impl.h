/* SPDX-License-Identifier: BSD-2-Clause */
/* A trace file as a view, from inside. Private to file*.c. */
#ifndef KMS_TRACER_FILE_IMPL_H
#define KMS_TRACER_FILE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tracer/file.h"
#include "tracer/model.h"
#include "tracer/name_pool.h"
#include "tracer/sqlite.h"
#include "tracer/stack_book.h"
#include "tracer/symbols.h"
#include "tracer/trace.h"

/** Memory that is freed all at once. All zero is empty. */
struct file_arena {
	struct file_arena_piece *first;
};

/** Zeroed memory that lives as long as the arena; NULL without memory. */
void *file_arena_alloc(struct file_arena *arena, size_t bytes);
/** Copies a string; NULL stays NULL. *failed is set if there was no memory. */
const char *file_arena_text(struct file_arena *arena, const char *text, bool *failed);
void file_arena_free(struct file_arena *arena);

/** A snapshot and what it stands on. */
struct file_snapshot {
	struct kms_snapshot s; /* first: what acquire hands out */
	atomic_uint refs;
	struct file_arena arena;
	struct kms_model *model; /* whose snapshot @s is a copy of; NULL none */
	const struct kms_snapshot *from;
};

/** A connection that one thread uses at a time. */
struct file_conn {
	struct file_conn *next;
	sqlite3 *db;
	struct kms_trace *trace;
};

/** What names stacks; made when a name is first missing. */
struct file_stack_names {
	bool wanted;
	pthread_mutex_t lock; /* guards what follows */
	bool failed;
	struct kms_symbols *symbols;
	struct kms_stack_book *book;
	int64_t version; /* of the trace, that the book is of */
};

struct kms_file {
	char *path;
	atomic_int state;     /* enum kms_file_state */
	pthread_mutex_t lock; /* guards what follows */
	struct file_conn *idle;
	unsigned n_idle;
	struct file_snapshot *current; /* one reference is ours */
	uint64_t loaded_ns;      /* CLOCK_MONOTONIC, when somebody last looked for a newer one */
	_Atomic int64_t version; /* meta.last_commit_wall_ns that @current shows */
	struct file_stack_names stack_names;
	struct kms_name_pool names; /* of caches, for who asks what an address is */
	pthread_mutex_t model_lock; /* guards what follows */
	struct kms_model *model;    /* of all events, made when it is first needed */
	int64_t model_version;
};

/** What meta says; 0 or "" where it says nothing. */
struct file_meta {
	char state[16];
	char command[4096];
	int64_t tracer_pid, run_start_wall_ns, last_commit_wall_ns;
	int64_t produced, stored, lost, dropped, removed;
	int64_t snapshot_seq, snapshot_time_ns, snapshot_wall_ns, snapshot_incomplete;
};

/* file.c */
/** A connection within a read transaction, refreshed. */
int file_conn_begin(struct kms_file *file, struct file_conn **out, struct kms_err *err);
/** Ends the transaction and keeps the connection for the next. */
void file_conn_end(struct kms_file *file, struct file_conn *conn);

/* file_snapshot.c */
int file_read_meta(sqlite3 *db, struct file_meta *out, struct kms_err *err);
/** The tables as they are. Owner: one reference is the caller's. */
int file_load_snapshot(struct kms_file *file, struct file_conn *conn, struct file_snapshot **out,
		       struct kms_err *err);
/** "at ..., process ...": when a tracer was lost. */
const char *file_lost_text(struct file_arena *arena, const struct file_meta *meta);
void file_snapshot_put(struct file_snapshot *snapshot);

/* file_rebuild.c */
/** The picture of a lost trace from its events. Owner: as above */
int file_rebuild(struct kms_file *file, const struct file_meta *meta, struct file_snapshot **out,
		 struct kms_err *err);

/** The model that a lost trace was rebuilt with; NULL for others. */
const struct kms_model *file_rebuilt_model(struct kms_file *file);

/* file_tables.c, file_model.c: as in struct kms_view_ops */
int file_samples(void *ctx, const struct kms_sample_query *query,
		 int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
		 struct kms_err *err);
int file_marks(void *ctx, int (*emit)(void *arg, const struct kms_view_mark *mark), void *arg,
	       struct kms_err *err);
int file_diff(void *ctx, uint64_t a, uint64_t b,
	      int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
	      struct kms_err *err);
int file_audit(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row), void *arg,
	       struct kms_err *err);
int file_whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
		struct kms_err *err);
int file_blocks(void *ctx, const struct kms_block_query *query,
		int (*emit)(void *arg, const struct kms_view_block *block), void *arg,
		struct kms_err *err);
int file_slabs(void *ctx, uint32_t target, const char *cache,
	       int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
	       struct kms_err *err);

/* file_names.c */
void file_stack_names_init(struct kms_file *file);
void file_stack_names_deinit(struct kms_file *file);
/** Frames with names, until file_named_stack_end(); others wait so long. Errors: -ENOENT: not wanted, or not known */
int file_named_stack(struct kms_file *file, uint64_t stack_id, struct kms_view_stack *out);
void file_named_stack_end(struct kms_file *file, struct kms_view_stack *stack);

/* file_stack.c */
int file_stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err);
void file_stack_free(void *ctx, struct kms_view_stack *stack);

#endif
