/* SPDX-License-Identifier: BSD-2-Clause */
/* A fleet's marks, and what came between two of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/fleet_impl.h"
#include "tracer/held.h"
#include "tracer/process.h"

enum {
	MARKS_MAX = 1000, /* a further one takes the oldest's place */
};

/* Marks: set in every live run at once, and known by one number of the fleet. */
struct mark_job {
	struct fleet_every every;
	const char *who, *name;
	uint32_t number;
	bool is_set; /* in some run */
};

static int set_mark(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct mark_job *job = arg;
	struct kms_fleet *fleet = job->every.fleet;
	struct fleet_run *run;
	uint64_t local = 0;
	int result;

	(void)target;
	if (!job->every.is_live || !view->ops->mark)
		return 0;
	result = view->ops->mark(view->ctx, job->who, job->name, &local, err);
	if (result)
		return result;
	(void)pthread_mutex_lock(&fleet->lock);
	run = fleet_find_run(fleet, job->every.run);
	if (run)
		(void)fleet_id_set(run, FLEET_MARK, (uint32_t)local, job->number);
	job->is_set = true;
	(void)pthread_mutex_unlock(&fleet->lock);
	return 0;
}

/* The oldest mark that is kept. Under fleet->lock, as the next one. */
static uint32_t first_mark(const struct kms_fleet *fleet)
{
	return fleet->n_marks > MARKS_MAX ? fleet->n_marks - MARKS_MAX + 1 : 1;
}

/* Where a mark is, or will be. */
static struct fleet_mark *mark_at(const struct kms_fleet *fleet, uint32_t number)
{
	return &fleet->mark[(number - 1) % MARKS_MAX];
}

/* A number for a mark; 0: no memory. */
static uint32_t new_mark(struct kms_fleet *fleet, const char *name)
{
	uint64_t now_ns = kms_wall_ns();
	struct fleet_mark *mark;
	uint32_t number = 0;

	(void)pthread_mutex_lock(&fleet->lock);
	if (!fleet->mark)
		fleet->mark = calloc(MARKS_MAX, sizeof(*fleet->mark));
	if (fleet->mark) {
		number = ++fleet->n_marks;
		mark = mark_at(fleet, number);
		mark->time_ns = now_ns > fleet->zero_wall_ns ? now_ns - fleet->zero_wall_ns : 1;
		(void)snprintf(mark->name, sizeof(mark->name), "%s", name); /* cut if need be */
	}
	(void)pthread_mutex_unlock(&fleet->lock);
	return number;
}

static int op_mark(void *ctx, const char *who, const char *name, uint64_t *id, struct kms_err *err)
{
	struct mark_job job = {
		.every = {.fleet = ctx, .goes_on = true},
                  .who = who, .name = name
        };
	int result;

	job.number = new_mark(ctx, name);
	if (!job.number)
		return kms_err_set(err, -ENOMEM, "no memory for marks");
	result = fleet_each_run(&job.every, set_mark, &job, err);
	*id = job.number;
	/* there it is a mark; a run that is not asked for it later has none, as one that is over */
	if (result && job.is_set) {
		result = 0;
		if (err)
			kms_err_clear(err);
	}
	return result;
}

static int op_marks(void *ctx, int (*emit)(void *arg, const struct kms_view_mark *mark), void *arg,
		    struct kms_err *err)
{
	struct kms_fleet *fleet = ctx;
	bool is_over = false;

	(void)err; /* nothing can fail */
	for (uint32_t number = 1; !is_over; number++) {
		struct fleet_mark mark = {0};
		struct kms_view_mark out = {.name = mark.name};

		(void)pthread_mutex_lock(&fleet->lock);
		if (number < first_mark(fleet))
			number = first_mark(fleet); /* also one that was given up since the last */
		is_over = number > fleet->n_marks;
		if (!is_over)
			mark = *mark_at(fleet, number);
		(void)pthread_mutex_unlock(&fleet->lock);
		out.id = number;
		out.time_ns = mark.time_ns;
		is_over = is_over || emit(arg, &out) != 0;
	}
	return 0;
}

/* A gain whose caches stand elsewhere as long as rows are collected. */
struct diff_row {
	struct kms_view_diff d;
	size_t first_cache;
};

/* What stacks gained between two marks. */
struct diff_job {
	struct fleet_every every;
	struct fleet_rows rows;   /* struct diff_row */
	struct fleet_rows caches; /* struct kms_view_diff_cache, of all rows */
	uint32_t a, b;            /* marks of the fleet, b 0: now */
	uint64_t a_ns;            /* when the first was set */
};

static bool take_caches(struct diff_job *job, const struct kms_view_diff *row)
{
	for (size_t i = 0; i < row->n_caches; i++) {
		struct kms_view_diff_cache *cache = fleet_add_row(&job->caches);

		if (!cache)
			return false;
		*cache = row->caches[i];
		cache->name = kms_name_pool_keep(&job->every.fleet->names, cache->name);
	}
	return true;
}

static int take_diff(void *arg, const struct kms_view_diff *row)
{
	struct diff_job *job = arg;
	struct kms_fleet *fleet = job->every.fleet;
	struct diff_row *out = fleet_add_row(&job->rows);
	const struct fleet_run *run;

	if (!out)
		return 1;
	*out = (struct diff_row){.d = *row, .first_cache = job->caches.n};
	out->d.stack_id = fleet_stack(job->every.run, row->stack_id);
	out->d.cache = kms_name_pool_keep(&fleet->names, row->cache);
	(void)pthread_mutex_lock(&fleet->lock);
	run = fleet_find_run(fleet, job->every.run);
	out->d.target = run ? fleet_id_known(run, FLEET_TARGET, row->target) : 0;
	(void)pthread_mutex_unlock(&fleet->lock);
	return take_caches(job, row) ? 0 : 1;
}

/* A run's own numbers of two marks; false: it was over before the first, or came after the second. */
static bool local_marks(struct diff_job *job, uint64_t *a, uint64_t *b)
{
	struct kms_fleet *fleet = job->every.fleet;
	const struct fleet_run *run;
	bool is_new;

	(void)pthread_mutex_lock(&fleet->lock);
	run = fleet_find_run(fleet, job->every.run);
	*a = run ? fleet_id_local(run, FLEET_MARK, job->a) : 0;
	*b = run ? fleet_id_local(run, FLEET_MARK, job->b) : 0;
	/* one that began behind the first mark gained all that it has */
	is_new = run && run->wall_ns && run->wall_ns > fleet->zero_wall_ns + job->a_ns;
	(void)pthread_mutex_unlock(&fleet->lock);
	return (*a || !job->a || is_new) && (*b || !job->b);
}

static int ask_diff(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct diff_job *job = arg;
	uint64_t a, b;

	(void)target;
	if (!view->ops->diff || !local_marks(job, &a, &b))
		return 0;
	return view->ops->diff(view->ctx, a, b, take_diff, job, err);
}

static int by_gain(const void *a, const void *b)
{
	const struct diff_row *x = a, *y = b;

	return kms_held_by_gain(&x->d, &y->d);
}

static int find_mark(struct kms_fleet *fleet, uint64_t id, uint64_t *time_ns, struct kms_err *err)
{
	bool found;

	(void)pthread_mutex_lock(&fleet->lock);
	found = id == 0 || (id >= first_mark(fleet) && id <= fleet->n_marks);
	*time_ns = found && id ? mark_at(fleet, (uint32_t)id)->time_ns : 0;
	(void)pthread_mutex_unlock(&fleet->lock);
	return found ? 0
		     : kms_err_set(err, -ENOENT, "there is no mark %llu", (unsigned long long)id);
}

static int op_diff(void *ctx, uint64_t a, uint64_t b,
		   int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
		   struct kms_err *err)
{
	struct diff_job job = {.every = {.fleet = ctx},
			       .rows = {.bytes = sizeof(struct diff_row)},
			       .caches = {.bytes = sizeof(struct kms_view_diff_cache)}};
	const struct kms_view_diff_cache *caches;
	struct diff_row *row;
	uint64_t ignored;
	int result = find_mark(ctx, a, &job.a_ns, err);

	if (!result)
		result = find_mark(ctx, b, &ignored, err);
	job.a = (uint32_t)a;
	job.b = (uint32_t)b;
	if (!result)
		result = fleet_each_run(&job.every, ask_diff, &job, err);
	if (!result)
		result = fleet_rows_result(&job.rows, err);
	if (!result)
		result = fleet_rows_result(&job.caches, err);
	fleet_sort_rows(&job.rows, by_gain);
	row = job.rows.item;
	caches = job.caches.item;
	for (size_t i = 0; !result && i < job.rows.n; i++) {
		row[i].d.caches = caches + row[i].first_cache;
		if (emit(arg, &row[i].d))
			break;
	}
	free(job.rows.item);
	free(job.caches.item);
	return result;
}

void fleet_marks_init(struct kms_fleet *fleet)
{
	fleet->ops.mark = op_mark;
	fleet->ops.marks = op_marks;
	fleet->ops.diff = op_diff;
}

void fleet_marks_deinit(struct kms_fleet *fleet)
{
	free(fleet->mark);
}
