/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fleet's past: figures over time, and who wrote what. Rows of all runs are collected, put in order,
 * and only then given on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/fleet_impl.h"
#include "tracer/process.h"

/* Samples: each run's last one holds until its next; at every moment all are added up. */
struct sample_row {
	struct kms_view_sample s; /* with the fleet's time */
	uint32_t run;
};

struct samples_job {
	struct fleet_every every;
	struct fleet_rows rows;
	size_t first; /* row of the run that is asked */
	uint64_t from_ns, to_ns;
};

static int take_sample(void *arg, const struct kms_view_sample *sample)
{
	struct samples_job *job = arg;
	uint64_t time_ns = fleet_time(job->every.offset_ns, sample->time_ns);
	struct sample_row *row = job->rows.item;

	/* of those before from_ns only the last one counts: it holds there */
	if (job->rows.n > job->first && time_ns < job->from_ns)
		row += job->rows.n - 1;
	else
		row = fleet_add_row(&job->rows);
	if (!row)
		return 1;
	*row = (struct sample_row){.s = *sample, .run = job->every.run};
	row->s.time_ns = time_ns;
	return 0;
}

/* A run that is over keeps what its last sample says, but nothing happens in it any more. */
static int end_samples(struct samples_job *job)
{
	struct sample_row *row;
	struct sample_row last;

	if (job->every.is_live || job->rows.n == job->first)
		return 0;
	last = ((struct sample_row *)job->rows.item)[job->rows.n - 1];
	last.s.time_ns++;
	last.s.alloc_rate = last.s.free_rate = 0;
	row = fleet_add_row(&job->rows);
	if (row)
		*row = last;
	return 0; /* rows.failed says what is to be said */
}

/* Until when, in the time of a run; false: that was before it began. */
static bool local_until(const struct samples_job *job, uint64_t *to_ns)
{
	*to_ns = job->to_ns;
	if (job->to_ns > INT64_MAX)
		return true;
	if ((int64_t)job->to_ns < job->every.offset_ns)
		return false;
	*to_ns = (uint64_t)((int64_t)job->to_ns - job->every.offset_ns);
	return true;
}

static int ask_samples(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct samples_job *job = arg;
	struct kms_sample_query query = {.target = target};
	int result;

	if (!view->ops->samples || !job->every.is_known || !local_until(job, &query.to_ns))
		return 0;
	job->first = job->rows.n;
	/* from the run's begin: what it had at from_ns may be older */
	result = view->ops->samples(view->ctx, &query, take_sample, job, err);
	return result ? result : end_samples(job);
}

static int by_time(const void *a, const void *b)
{
	const struct sample_row *x = a, *y = b;

	if (x->s.time_ns != y->s.time_ns)
		return x->s.time_ns < y->s.time_ns ? -1 : 1;
	return x->run < y->run ? -1 : x->run > y->run;
}

static void add_sample(struct kms_view_sample *sum, const struct kms_view_sample *s, int64_t sign)
{
	sum->live_bytes += (uint64_t)sign * s->live_bytes;
	sum->live_objects += (uint64_t)sign * s->live_objects;
	sum->allocs += (uint64_t)sign * s->allocs;
	sum->frees += (uint64_t)sign * s->frees;
	sum->alloc_rate += (uint64_t)sign * s->alloc_rate;
	sum->free_rate += (uint64_t)sign * s->free_rate;
	sum->faults += (uint64_t)sign * s->faults;
	sum->lost += (uint64_t)sign * s->lost;
	sum->guard_used += (uint64_t)sign * s->guard_used;
	sum->guard_depth += (uint64_t)sign * s->guard_depth;
}

/* The last sample of each run so far. */
static struct kms_view_sample *last_of(struct fleet_rows *lasts, uint32_t run)
{
	struct sample_row *row = lasts->item;

	for (size_t i = lasts->n; i > 0; i--) {
		if (row[i - 1].run == run)
			return &row[i - 1].s;
	}
	row = fleet_add_row(lasts);
	if (!row)
		return NULL;
	*row = (struct sample_row){.run = run};
	return &row->s;
}

static int give_samples(const struct fleet_rows *rows, uint64_t from_ns,
			int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg)
{
	struct fleet_rows lasts = {.bytes = sizeof(struct sample_row)};
	const struct sample_row *row = rows->item;
	struct kms_view_sample sum = {0};
	int result = 0;

	for (size_t i = 0; !result && i < rows->n; i++) {
		struct kms_view_sample *last = last_of(&lasts, row[i].run);

		if (!last) {
			result = -ENOMEM;
			break;
		}
		add_sample(&sum, last, -1);
		add_sample(&sum, &row[i].s, 1);
		*last = row[i].s;
		sum.time_ns = row[i].s.time_ns;
		/* of one moment only the last, which has all of them */
		if (sum.time_ns < from_ns ||
		    (i + 1 < rows->n && row[i + 1].s.time_ns == sum.time_ns))
			continue;
		if (emit(arg, &sum))
			break;
	}
	free(lasts.item);
	return result;
}

/* Of one target: its run is asked, and nothing is added up. */
static int target_samples(struct samples_job *job, uint32_t target, struct kms_err *err)
{
	struct kms_fleet *fleet = job->every.fleet;
	uint32_t local;
	struct fleet_part *part = fleet_hold_target(fleet, target, &local, err);
	int result;

	if (!part)
		return -ESRCH;
	job->every.run = part->run;
	job->every.is_live = part->source.is_live;
	job->every.is_known = fleet_offset(fleet, part->run, &job->every.offset_ns);
	result = fleet_call_part(fleet, part, local, ask_samples, job, err);
	fleet_drop(fleet, part);
	return result;
}

static int op_samples(void *ctx, const struct kms_sample_query *query,
		      int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
		      struct kms_err *err)
{
	struct samples_job job = {.every = {.fleet = ctx},
				  .rows = {.bytes = sizeof(struct sample_row)},
				  .from_ns = query->from_ns,
				  .to_ns = query->to_ns};
	int result = query->target ? target_samples(&job, query->target, err)
				   : fleet_each_run(&job.every, ask_samples, &job, err);

	if (!result)
		result = fleet_rows_result(&job.rows, err);
	fleet_sort_rows(&job.rows, by_time);
	if (!result && give_samples(&job.rows, query->from_ns, emit, arg))
		result = kms_err_set(err, -ENOMEM, "no memory for samples");
	free(job.rows.item);
	return result;
}

/* Writes to targets. */
struct audit_row {
	struct kms_view_audit a;
	uint32_t run, local;
	char who[64], variable[48], result[128];
};

struct audit_job {
	struct fleet_every every;
	struct fleet_rows rows; /* struct audit_row */
};

static void copy_text(char *to, size_t room, const char *from)
{
	(void)snprintf(to, room, "%s", from ? from : ""); /* cut if need be */
}

static int take_audit(void *arg, const struct kms_view_audit *audit)
{
	struct audit_job *job = arg;
	struct kms_fleet *fleet = job->every.fleet;
	struct audit_row *row = fleet_add_row(&job->rows);
	const struct fleet_run *run;

	if (!row)
		return 1;
	row->a = *audit;
	row->run = job->every.run;
	row->local = audit->id <= FLEET_LOCAL_MAX ? (uint32_t)audit->id : 0;
	copy_text(row->who, sizeof(row->who), audit->who);
	copy_text(row->variable, sizeof(row->variable), audit->variable);
	copy_text(row->result, sizeof(row->result), audit->result);
	(void)pthread_mutex_lock(&fleet->lock);
	run = fleet_find_run(fleet, row->run);
	row->a.target = run ? fleet_id_known(run, FLEET_TARGET, audit->target) : 0;
	(void)pthread_mutex_unlock(&fleet->lock);
	return 0;
}

void fleet_note_refused(struct kms_fleet *fleet, const char *who, const char *what,
			const char *reason)
{
	struct fleet_refused *note;

	(void)pthread_mutex_lock(&fleet->lock);
	note = &fleet->refused[fleet->n_refused % FLEET_REFUSED];
	note->number = ++fleet->n_refused;
	note->wall_ns = kms_wall_ns();
	note->pid = strtoul(what + strcspn(what, "0123456789"), NULL, 10);
	copy_text(note->who, sizeof(note->who), who);
	copy_text(note->result, sizeof(note->result), reason);
	(void)pthread_mutex_unlock(&fleet->lock);
}

/* What no run has: attaches that made none. */
static void take_refused(struct audit_job *job)
{
	struct kms_fleet *fleet = job->every.fleet;

	(void)pthread_mutex_lock(&fleet->lock);
	for (unsigned i = 0; i < FLEET_REFUSED && fleet->refused[i].number; i++) {
		const struct fleet_refused *note = &fleet->refused[i];
		struct audit_row *row = fleet_add_row(&job->rows);

		if (!row)
			break; /* job->rows.failed says it */
		*row = (struct audit_row){
			.local = note->number, .a = {.wall_ns = note->wall_ns, .value = note->pid}
                };
		copy_text(row->who, sizeof(row->who), note->who);
		copy_text(row->variable, sizeof(row->variable), "attach");
		copy_text(row->result, sizeof(row->result), note->result);
	}
	(void)pthread_mutex_unlock(&fleet->lock);
}

static int ask_audit(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct audit_job *job = arg;

	(void)target;
	return view->ops->audit ? view->ops->audit(view->ctx, take_audit, job, err) : 0;
}

static int by_wall(const void *a, const void *b)
{
	const struct audit_row *x = a, *y = b;

	if (x->a.wall_ns != y->a.wall_ns)
		return x->a.wall_ns < y->a.wall_ns ? -1 : 1;
	if (x->run != y->run)
		return x->run < y->run ? -1 : 1;
	return x->local < y->local ? -1 : x->local > y->local;
}

static int by_number(const void *a, const void *b)
{
	const struct audit_row *x = a, *y = b;

	return x->a.id < y->a.id ? 1 : x->a.id > y->a.id ? -1 : 0;
}

/* Numbers for rows that have none yet, in order of time. */
static void number_audits(struct kms_fleet *fleet, const struct fleet_rows *rows)
{
	struct audit_row *row = rows->item;

	(void)pthread_mutex_lock(&fleet->lock);
	for (size_t i = 0; i < rows->n; i++) {
		struct fleet_run *run =
			row[i].run ? fleet_find_run(fleet, row[i].run) : &fleet->own;

		row[i].a.id = run ? fleet_id_of(fleet, run, FLEET_AUDIT, row[i].local) : 0;
	}
	(void)pthread_mutex_unlock(&fleet->lock);
}

static int op_audit(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row), void *arg,
		    struct kms_err *err)
{
	struct audit_job job = {.every = {.fleet = ctx},
				.rows = {.bytes = sizeof(struct audit_row)}};
	int result = fleet_each_run(&job.every, ask_audit, &job, err);
	struct audit_row *row;

	take_refused(&job);
	if (!result)
		result = fleet_rows_result(&job.rows, err);
	fleet_sort_rows(&job.rows, by_wall);
	number_audits(ctx, &job.rows);
	fleet_sort_rows(&job.rows, by_number);
	row = job.rows.item;
	for (size_t i = 0; !result && i < job.rows.n; i++) {
		row[i].a.who = row[i].who;
		row[i].a.variable = row[i].variable;
		row[i].a.result = row[i].result;
		if (emit(arg, &row[i].a))
			break;
	}
	free(job.rows.item);
	return result;
}

void fleet_history_init(struct kms_fleet *fleet)
{
	fleet->ops.samples = op_samples;
	fleet->ops.audit = op_audit;
}
