/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tracer/db.h"
#include "tracer/file_connect.h"
#include "tracer/file_impl.h"
#include "tracer/scan.h"
#include "tracer/trace_lock.h"

enum {
	IDLE_MAX = 4,
	RELOAD_NS = 100 * 1000 * 1000, /* a live trace's picture is at most so old */
};

/* Events beyond which a lost trace is shown by its tables: replaying takes a second each 10 M. */
#define REBUILD_EVENTS_MAX INT64_C(400000000)

struct file_arena_piece {
	struct file_arena_piece *next;
	uint64_t bytes[];
};

void *file_arena_alloc(struct file_arena *arena, size_t bytes)
{
	struct file_arena_piece *piece = calloc(1, sizeof(*piece) + bytes);

	if (!piece)
		return NULL;
	piece->next = arena->first;
	arena->first = piece;
	return piece->bytes;
}

const char *file_arena_text(struct file_arena *arena, const char *text, bool *failed)
{
	size_t bytes = text ? strlen(text) + 1 : 0;
	char *copy;

	if (!text)
		return NULL;
	copy = file_arena_alloc(arena, bytes);
	if (!copy) {
		*failed = true;
		return NULL;
	}
	return memcpy(copy, text, bytes);
}

void file_arena_free(struct file_arena *arena)
{
	while (arena->first) {
		struct file_arena_piece *next = arena->first->next;

		free(arena->first);
		arena->first = next;
	}
}

static void conn_close(struct file_conn *conn)
{
	if (!conn)
		return;
	kms_trace_destroy(conn->trace);
	(void)sqlite3_close(conn->db); /* no statement is left */
	free(conn);
}

static int conn_open(const char *path, struct file_conn **out, struct kms_err *err)
{
	struct file_conn *conn = calloc(1, sizeof(*conn));
	int result;

	if (!conn)
		return kms_err_set(err, -ENOMEM, "out of memory");
	result = kms_file_connect(path, &conn->db, err);
	if (!result)
		result = kms_trace_create(conn->db, &conn->trace, err);
	if (result < 0) {
		conn_close(conn);
		return result;
	}
	*out = conn;
	return 0;
}

int file_conn_begin(struct kms_file *file, struct file_conn **out, struct kms_err *err)
{
	struct file_conn *conn = NULL;
	int result = 0;

	(void)pthread_mutex_lock(&file->lock); /* cannot fail on a plain mutex */
	conn = file->idle;
	if (conn) {
		file->idle = conn->next;
		file->n_idle--;
	}
	(void)pthread_mutex_unlock(&file->lock);
	if (!conn)
		result = conn_open(file->path, &conn, err);
	if (!result) {
		assert(conn);
		result = kms_db_exec(conn->db, "BEGIN", err);
		if (!result)
			result = kms_trace_refresh(conn->trace, err);
		if (result < 0)
			conn_close(conn);
	}
	if (result < 0) {
		kms_err_subject(err, file->path);
		return result;
	}
	*out = conn;
	return 0;
}

void file_conn_end(struct kms_file *file, struct file_conn *conn)
{
	bool keep = kms_db_exec(conn->db, "COMMIT", NULL) == 0;

	(void)pthread_mutex_lock(&file->lock); /* cannot fail on a plain mutex */
	keep = keep && file->n_idle < IDLE_MAX;
	if (keep) {
		conn->next = file->idle;
		file->idle = conn;
		file->n_idle++;
	}
	(void)pthread_mutex_unlock(&file->lock);
	if (!keep)
		conn_close(conn);
}

/* @locked was asked before @meta was read: a tracer that ends in between leaves a finished trace,
 * never a lost one. */
static enum kms_file_state state_of(const struct file_meta *meta, bool locked)
{
	if (strcmp(meta->state, "finished") == 0)
		return KMS_FILE_FINISHED;
	return locked ? KMS_FILE_LIVE : KMS_FILE_LOST;
}

static int find_state(struct kms_file *file, struct file_meta *meta, struct kms_err *err)
{
	bool locked = kms_trace_is_locked(file->path, NULL);
	struct file_conn *conn;
	int result = file_conn_begin(file, &conn, err);

	if (result < 0)
		return result;
	result = file_read_meta(conn->db, meta, err);
	file_conn_end(file, conn);
	atomic_store(&file->state, state_of(meta, locked));
	return result;
}

static int load_tables(struct kms_file *file, struct file_snapshot **out, struct kms_err *err)
{
	struct file_conn *conn;
	int result = file_conn_begin(file, &conn, err);

	if (result < 0)
		return result;
	result = file_load_snapshot(file, conn, out, err);
	file_conn_end(file, conn);
	return result;
}

static int load_first(struct kms_file *file, struct kms_err *err)
{
	struct file_meta meta;
	int result = find_state(file, &meta, err);

	if (result < 0)
		return result;
	if (kms_file_state(file) == KMS_FILE_LOST && !meta.removed &&
	    meta.stored <= REBUILD_EVENTS_MAX)
		result = file_rebuild(file, &meta, &file->current, err);
	else
		result = load_tables(file, &file->current, err);
	file->version = meta.last_commit_wall_ns;
	file->loaded_ns = kms_clock_now(kms_clock_system());
	return result;
}

int kms_file_open(const char *path, struct kms_file **out, struct kms_err *err)
{
	struct kms_file *file = calloc(1, sizeof(*file));
	int result;

	if (file)
		file->path = strdup(path);
	if (!file || !file->path) {
		free(file);
		return kms_err_set(err, -ENOMEM, "out of memory");
	}
	(void)pthread_mutex_init(&file->lock, NULL); /* cannot fail without attributes */
	(void)pthread_mutex_init(&file->model_lock, NULL);
	kms_name_pool_init(&file->names);
	file_stack_names_init(file);
	result = load_first(file, err);
	if (result < 0) {
		kms_err_subject(err, path);
		kms_file_close(file);
		return result;
	}
	*out = file;
	return 0;
}

void kms_file_close(struct kms_file *file)
{
	if (!file)
		return;
	file_snapshot_put(file->current);
	while (file->idle) {
		struct file_conn *next = file->idle->next;

		conn_close(file->idle);
		file->idle = next;
	}
	(void)pthread_mutex_destroy(&file->lock); /* nobody holds it */
	(void)pthread_mutex_destroy(&file->model_lock);
	kms_model_destroy(file->model);
	kms_name_pool_deinit(&file->names);
	file_stack_names_deinit(file);
	free(file->path);
	free(file);
}

enum kms_file_state kms_file_state(const struct kms_file *file)
{
	return (enum kms_file_state)atomic_load(&file->state);
}

const struct kms_model *file_rebuilt_model(struct kms_file *file)
{
	const struct kms_model *model = NULL;

	(void)pthread_mutex_lock(&file->lock); /* cannot fail on a plain mutex */
	/* the picture of a lost trace is never read again, so that it stays what it is */
	if (kms_file_state(file) == KMS_FILE_LOST)
		model = file->current->model;
	(void)pthread_mutex_unlock(&file->lock);
	return model;
}

/* Reads the tables again if there was a commit since, or its tracer has ended. */
static int read_newer(struct kms_file *file, struct file_conn *conn, bool locked,
		      struct file_meta *meta, struct file_snapshot **newer)
{
	int result = file_read_meta(conn->db, meta, NULL);
	enum kms_file_state state;

	if (result < 0)
		return result;
	state = state_of(meta, locked);
	if (meta->last_commit_wall_ns == file->version && state == kms_file_state(file))
		return 0;
	atomic_store(&file->state, state);
	return file_load_snapshot(file, conn, newer, NULL);
}

/* A failure keeps the picture that there is. */
static void reload(struct kms_file *file)
{
	struct file_snapshot *newer = NULL, *older;
	bool locked = kms_trace_is_locked(file->path, NULL);
	struct file_conn *conn;
	struct file_meta meta;

	if (file_conn_begin(file, &conn, NULL) < 0)
		return;
	if (read_newer(file, conn, locked, &meta, &newer) < 0)
		newer = NULL;
	file_conn_end(file, conn);
	if (!newer)
		return;
	(void)pthread_mutex_lock(&file->lock); /* cannot fail on a plain mutex */
	older = file->current;
	file->current = newer;
	file->version = meta.last_commit_wall_ns;
	(void)pthread_mutex_unlock(&file->lock);
	file_snapshot_put(older);
}

/* One thread at a time looks; the others take what is there. */
static bool reload_is_due(struct kms_file *file)
{
	uint64_t now = kms_clock_now(kms_clock_system());
	bool due;

	if (kms_file_state(file) != KMS_FILE_LIVE)
		return false;
	(void)pthread_mutex_lock(&file->lock); /* cannot fail on a plain mutex */
	due = now - file->loaded_ns >= RELOAD_NS;
	if (due)
		file->loaded_ns = now;
	(void)pthread_mutex_unlock(&file->lock);
	return due;
}

static const struct kms_snapshot *file_acquire(void *ctx)
{
	struct kms_file *file = ctx;
	struct file_snapshot *snapshot;

	if (reload_is_due(file))
		reload(file);
	(void)pthread_mutex_lock(&file->lock); /* cannot fail on a plain mutex */
	snapshot = file->current;
	atomic_fetch_add(&snapshot->refs, 1);
	(void)pthread_mutex_unlock(&file->lock);
	return &snapshot->s;
}

static void file_release(void *ctx, const struct kms_snapshot *snapshot)
{
	struct file_snapshot *ours;

	(void)ctx;
	/* the snapshot is the first member, and was ours to begin with */
	memcpy(&ours, &snapshot,
	       sizeof(ours)); /* NOLINT(bugprone-sizeof-expression): the pointer */
	file_snapshot_put(ours);
}

static struct kms_scan_query scan_query(const struct kms_event_query *query)
{
	struct kms_scan_query q = KMS_SCAN_ALL;

	q.seq_min = query->from_seq;
	q.seq_max = query->before_seq - (query->before_seq != 0);
	if (query->before_seq == UINT64_MAX)
		q.seq_max = UINT64_MAX;
	q.time_min = query->from_ns;
	if (query->to_ns)
		q.time_max = query->to_ns;
	q.address = query->address;
	q.has_address = query->address != 0;
	q.site = query->site;
	q.has_site = query->site != 0;
	if (query->kinds)
		q.kinds = query->kinds;
	q.target = query->target;
	if (query->newest_first) {
		q.by_time = true;
		q.seq_max = UINT64_MAX;
		q.before_ns = query->before_ns;
		q.before_seq = query->before_seq;
		q.max = query->limit;
	}
	return q;
}

static int scan_events(struct kms_scan *scan, size_t limit,
		       int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
		       struct kms_err *err)
{
	for (size_t n = 0; n < limit; n++) {
		const struct kms_scan_event *found;
		struct kms_view_event event;
		int result = kms_scan_next(scan, &found, err);

		if (result < 0 || !found)
			return result;
		event = found->event;
		event.cache = kms_scan_cache(scan);
		if (emit(arg, &event))
			return 0;
	}
	return 0;
}

static int file_events(void *ctx, const struct kms_event_query *query,
		       int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
		       struct kms_err *err)
{
	struct kms_file *file = ctx;
	struct kms_scan_query q = scan_query(query);
	struct kms_scan *scan;
	struct file_conn *conn;
	int result = file_conn_begin(file, &conn, err);

	if (result < 0)
		return result;
	result = kms_scan_open(conn->trace, &q, &scan, err);
	if (!result) {
		result = scan_events(scan, query->limit, emit, arg, err);
		kms_scan_close(scan);
	}
	file_conn_end(file, conn);
	return result;
}

static const struct kms_view_ops file_ops = {
	.acquire = file_acquire,
	.release = file_release,
	.stack = file_stack,
	.stack_free = file_stack_free,
	.events = file_events,
	.whatis = file_whatis,
	.blocks = file_blocks,
	.slabs = file_slabs,
	.samples = file_samples,
	.marks = file_marks,
	.diff = file_diff,
	.audit = file_audit,
};

struct kms_view kms_file_view(struct kms_file *file)
{
	return (struct kms_view){.ops = &file_ops, .ctx = file};
}
