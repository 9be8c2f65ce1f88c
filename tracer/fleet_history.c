/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fleet's past: figures over time, marks and what came between two of them, who wrote what. Rows of
 * all runs are collected, put in order, and only then given on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/fleet_impl.h"
#include "tracer/process.h"

enum {
	MARKS_MAX = 1000,   /* a further one takes the oldest's place */
	ROWS_MAX = 1 << 20, /* collected at most */
};

/* Rows of one kind, of all runs. */
struct rows {
	void *item;
	size_t n, room, bytes;
	bool failed; /* no memory, or too many */
};

/* Room for one more; NULL: there is none. */
static void *add_row(struct rows *rows)
{
	size_t room = rows->room ? rows->room * 2 : 64;
	void *grown;

	if (rows->n == rows->room) {
		grown = rows->n < ROWS_MAX ? reallocarray(rows->item, room, rows->bytes) : NULL;
		rows->failed |= !grown;
		if (!grown)
			return NULL;
		rows->item = grown;
		rows->room = room;
	}
	return (char *)rows->item + rows->n++ * rows->bytes;
}

static int rows_result(const struct rows *rows, struct kms_err *err)
{
	return rows->failed ? kms_err_set(err, -ENOMEM, "too many rows to put them in order") : 0;
}

static void sort_rows(const struct rows *rows, int (*order)(const void *a, const void *b))
{
	if (rows->n)
		qsort(rows->item, rows->n, rows->bytes, order);
}

/* One call in every run, live or not; job.run is set before each. */
struct every {
	struct kms_fleet *fleet;
	uint32_t run;
	int64_t offset_ns;
	bool is_live;
	bool is_known; /* something of it was seen, so that offset_ns is right */
	bool goes_on;  /* where it fails, the others are asked nevertheless */
};

/* Errors: the first */
static int each_run(struct every *every, fleet_call_fn *call, void *job, struct kms_err *err)
{
	struct kms_err of_one = KMS_ERR_INIT;
	struct fleet_part *part;
	int result = 0, one;

	for (uint32_t after = 0;
	     (!result || every->goes_on) && (part = fleet_hold_next(every->fleet, after)) != NULL;
	     fleet_drop(every->fleet, part)) {
		after = every->run = part->run;
		every->is_live = part->source.is_live;
		every->is_known = fleet_offset(every->fleet, part->run, &every->offset_ns);
		one = fleet_call_part(every->fleet, part, 0, call, job, &of_one);
		if (!one || result)
			continue;
		result = one;
		if (err)
			*err = of_one;
	}
	return result;
}

/* Samples: each run's last one holds until its next; at every moment all are added up. */
struct sample_row {
	struct kms_view_sample s; /* with the fleet's time */
	uint32_t run;
};

struct samples_job {
	struct every every;
	struct rows rows;
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
		row = add_row(&job->rows);
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
	row = add_row(&job->rows);
	if (row)
		*row = last;
	return 0; /* rows.failed says what is to be said */
}

static int ask_samples(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct samples_job *job = arg;
	uint64_t to_ns = job->to_ns;
	int result;

	(void)target;
	if (!view->ops->samples || !job->every.is_known ||
	    (to_ns <= INT64_MAX && (int64_t)to_ns < job->every.offset_ns))
		return 0;
	if (to_ns <= INT64_MAX)
		to_ns = (uint64_t)((int64_t)to_ns - job->every.offset_ns);
	job->first = job->rows.n;
	/* from the run's begin: what it had at from_ns may be older */
	result = view->ops->samples(view->ctx, 0, to_ns, take_sample, job, err);
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
static struct kms_view_sample *last_of(struct rows *lasts, uint32_t run)
{
	struct sample_row *row = lasts->item;

	for (size_t i = lasts->n; i > 0; i--) {
		if (row[i - 1].run == run)
			return &row[i - 1].s;
	}
	row = add_row(lasts);
	if (!row)
		return NULL;
	*row = (struct sample_row){.run = run};
	return &row->s;
}

static int give_samples(const struct rows *rows, uint64_t from_ns,
			int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg)
{
	struct rows lasts = {.bytes = sizeof(struct sample_row)};
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

static int op_samples(void *ctx, uint64_t from_ns, uint64_t to_ns,
		      int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
		      struct kms_err *err)
{
	struct samples_job job = {.every = {.fleet = ctx},
				  .rows = {.bytes = sizeof(struct sample_row)},
				  .from_ns = from_ns,
				  .to_ns = to_ns};
	int result = each_run(&job.every, ask_samples, &job, err);

	if (!result)
		result = rows_result(&job.rows, err);
	sort_rows(&job.rows, by_time);
	if (!result && give_samples(&job.rows, from_ns, emit, arg))
		result = kms_err_set(err, -ENOMEM, "no memory for samples");
	free(job.rows.item);
	return result;
}

/* Marks: set in every live run at once, and known by one number of the fleet. */
struct mark_job {
	struct every every;
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
	result = each_run(&job.every, set_mark, &job, err);
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

/* What sites gained between two marks. */
struct diff_job {
	struct every every;
	struct rows rows; /* struct kms_view_diff */
	uint32_t a, b;    /* marks of the fleet, b 0: now */
	uint64_t a_ns;    /* when the first was set */
};

static int take_diff(void *arg, const struct kms_view_diff *row)
{
	struct diff_job *job = arg;
	struct kms_fleet *fleet = job->every.fleet;
	struct kms_view_diff *out = add_row(&job->rows);
	const struct fleet_run *run;

	if (!out)
		return 1;
	*out = *row;
	out->stack_id = fleet_stack(job->every.run, row->stack_id);
	out->cache = kms_name_pool_keep(&fleet->names, row->cache);
	(void)pthread_mutex_lock(&fleet->lock);
	run = fleet_find_run(fleet, job->every.run);
	out->target = run ? fleet_id_known(run, FLEET_TARGET, row->target) : 0;
	(void)pthread_mutex_unlock(&fleet->lock);
	return 0;
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

/* As the rows of one run come: largest gain first, then by stack and target. */
static int by_gain(const void *a, const void *b)
{
	const struct kms_view_diff *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	if (x->stack_id != y->stack_id)
		return x->stack_id < y->stack_id ? -1 : 1;
	return x->target < y->target ? -1 : x->target > y->target;
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
			       .rows = {.bytes = sizeof(struct kms_view_diff)}};
	const struct kms_view_diff *row;
	uint64_t ignored;
	int result = find_mark(ctx, a, &job.a_ns, err);

	if (!result)
		result = find_mark(ctx, b, &ignored, err);
	job.a = (uint32_t)a;
	job.b = (uint32_t)b;
	if (!result)
		result = each_run(&job.every, ask_diff, &job, err);
	if (!result)
		result = rows_result(&job.rows, err);
	sort_rows(&job.rows, by_gain);
	row = job.rows.item;
	for (size_t i = 0; !result && i < job.rows.n; i++) {
		if (emit(arg, &row[i]))
			break;
	}
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
	struct every every;
	struct rows rows; /* struct audit_row */
};

static void copy_text(char *to, size_t room, const char *from)
{
	(void)snprintf(to, room, "%s", from ? from : ""); /* cut if need be */
}

static int take_audit(void *arg, const struct kms_view_audit *audit)
{
	struct audit_job *job = arg;
	struct kms_fleet *fleet = job->every.fleet;
	struct audit_row *row = add_row(&job->rows);
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
static void number_audits(struct kms_fleet *fleet, const struct rows *rows)
{
	struct audit_row *row = rows->item;

	(void)pthread_mutex_lock(&fleet->lock);
	for (size_t i = 0; i < rows->n; i++) {
		struct fleet_run *run = fleet_find_run(fleet, row[i].run);

		row[i].a.id = run ? fleet_id_of(fleet, run, FLEET_AUDIT, row[i].local) : 0;
	}
	(void)pthread_mutex_unlock(&fleet->lock);
}

static int op_audit(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row), void *arg,
		    struct kms_err *err)
{
	struct audit_job job = {.every = {.fleet = ctx},
				.rows = {.bytes = sizeof(struct audit_row)}};
	int result = each_run(&job.every, ask_audit, &job, err);
	struct audit_row *row;

	if (!result)
		result = rows_result(&job.rows, err);
	sort_rows(&job.rows, by_wall);
	number_audits(ctx, &job.rows);
	sort_rows(&job.rows, by_number);
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
	fleet->ops.mark = op_mark;
	fleet->ops.marks = op_marks;
	fleet->ops.diff = op_diff;
	fleet->ops.audit = op_audit;
}

void fleet_history_deinit(struct kms_fleet *fleet)
{
	free(fleet->mark);
}
