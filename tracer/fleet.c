/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The runs of a fleet, who uses them, and pictures of all of them: see fleet.h.
 *
 * A source must outlive every call and every picture that uses it. So each is counted, and taking one
 * out waits for its last user. Pictures are cached: of many clients that ask at once one waits for the
 * tracers, the others get the same picture.
 */
#include "tracer/fleet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tracer/fleet_impl.h"
#include "tracer/process.h"

static const uint64_t fresh_ns = 20000000; /* a picture so old is given again without a look */
static const uint64_t replace_ns = 5000000000;

struct fleet_run *fleet_find_run(struct kms_fleet *fleet, uint32_t number)
{
	for (struct kms_list *it = kms_list_first(&fleet->runs); it;
	     it = kms_list_next(&fleet->runs, it)) {
		struct fleet_run *run = KMS_CONTAINER_OF(it, struct fleet_run, link);

		if (run->number == number)
			return run;
	}
	return NULL;
}

static struct fleet_part *hold(struct fleet_run *run)
{
	if (!run)
		return NULL;
	run->part->uses++;
	return run->part;
}

struct fleet_part *fleet_hold_run(struct kms_fleet *fleet, uint32_t number, struct kms_err *err)
{
	struct fleet_part *part;

	(void)pthread_mutex_lock(&fleet->lock); /* plain mutexes, never locked twice */
	part = hold(fleet_find_run(fleet, number));
	(void)pthread_mutex_unlock(&fleet->lock);
	if (!part)
		(void)kms_err_set(err, -ESRCH, "its run is not shown any more; its file has it");
	return part;
}

struct fleet_part *fleet_hold_target(struct kms_fleet *fleet, uint32_t target, uint32_t *local,
				     struct kms_err *err)
{
	struct fleet_part *part = NULL;
	struct fleet_id id;

	(void)pthread_mutex_lock(&fleet->lock);
	if (fleet_id_find(fleet, FLEET_TARGET, target, &id)) {
		part = hold(fleet_find_run(fleet, id.run));
		*local = id.local;
	}
	(void)pthread_mutex_unlock(&fleet->lock);
	if (!part)
		(void)kms_err_set(err, -ESRCH, "there is no target %u", target);
	return part;
}

struct fleet_part *fleet_hold_next(struct kms_fleet *fleet, uint32_t after)
{
	struct fleet_part *part = NULL;

	(void)pthread_mutex_lock(&fleet->lock);
	for (struct kms_list *it = kms_list_first(&fleet->runs); it && !part;
	     it = kms_list_next(&fleet->runs, it)) {
		struct fleet_run *run = KMS_CONTAINER_OF(it, struct fleet_run, link);

		if (run->number > after)
			part = hold(run);
	}
	(void)pthread_mutex_unlock(&fleet->lock);
	return part;
}

/* Under the lock. */
static void drop(struct kms_fleet *fleet, struct fleet_part *part)
{
	if (--part->uses == 0)
		(void)pthread_cond_broadcast(&fleet->unused);
}

void fleet_drop(struct kms_fleet *fleet, struct fleet_part *part)
{
	(void)pthread_mutex_lock(&fleet->lock);
	drop(fleet, part);
	(void)pthread_mutex_unlock(&fleet->lock);
}

bool fleet_wait_replaced(struct kms_fleet *fleet, const struct fleet_part *part)
{
	uint64_t end_ns = kms_mono_ns() + replace_ns;
	const struct timespec end = {.tv_sec = (time_t)(end_ns / 1000000000u),
				     .tv_nsec = (long)(end_ns % 1000000000u)};
	bool is_replaced;

	(void)pthread_mutex_lock(&fleet->lock);
	while (!part->is_replaced &&
	       pthread_cond_timedwait(&fleet->unused, &fleet->lock, &end) == 0)
		continue;
	is_replaced = part->is_replaced;
	(void)pthread_mutex_unlock(&fleet->lock);
	return is_replaced;
}

bool fleet_offset(struct kms_fleet *fleet, uint32_t run, int64_t *offset_ns)
{
	const struct fleet_run *found;
	uint64_t wall_ns;

	(void)pthread_mutex_lock(&fleet->lock);
	found = fleet_find_run(fleet, run);
	wall_ns = found ? found->wall_ns : 0;
	(void)pthread_mutex_unlock(&fleet->lock);
	*offset_ns = (int64_t)(wall_ns - fleet->zero_wall_ns);
	return wall_ns != 0;
}

/* Gives back what a picture holds. Not under the lock. */
static void end_picture(struct kms_fleet *fleet, struct fleet_picture *picture)
{
	for (size_t i = 0; i < picture->n_shares; i++) {
		const struct fleet_share *share = &picture->share[i];
		const struct kms_view *view = &share->part->source.view;

		if (share->s)
			view->ops->release(view->ctx, share->s);
		fleet_drop(fleet, share->part);
	}
	fleet_picture_free(picture);
	free(picture->share);
	free(picture);
}

static void release_picture(struct kms_fleet *fleet, struct fleet_picture *picture)
{
	bool is_last;

	if (!picture || picture == &fleet->none)
		return;
	(void)pthread_mutex_lock(&fleet->lock);
	is_last = --picture->refs == 0;
	(void)pthread_mutex_unlock(&fleet->lock);
	if (is_last)
		end_picture(fleet, picture);
}

/* All runs as they are now, held. NULL without memory. */
static struct fleet_picture *new_picture(struct kms_fleet *fleet)
{
	struct fleet_picture *picture = calloc(1, sizeof(*picture));

	if (!picture)
		return NULL;
	(void)pthread_mutex_lock(&fleet->lock);
	picture->refs = 1;
	picture->share = calloc((size_t)fleet->n_runs + 1, sizeof(*picture->share));
	for (struct kms_list *it = kms_list_first(&fleet->runs); it && picture->share;
	     it = kms_list_next(&fleet->runs, it)) {
		struct fleet_run *run = KMS_CONTAINER_OF(it, struct fleet_run, link);

		picture->share[picture->n_shares++].part = hold(run);
	}
	(void)pthread_mutex_unlock(&fleet->lock);
	if (picture->share)
		return picture;
	free(picture);
	return NULL;
}

/* The pictures of all runs. They are waited for together, so that none is much older than another. */
static void take_shares(struct fleet_picture *picture, uint64_t *number)
{
	for (size_t i = 0; i < picture->n_shares; i++) {
		const struct kms_fleet_source *source = &picture->share[i].part->source;

		number[i] = source->refresh_begin ? source->refresh_begin(source->arg) : 0;
	}
	for (size_t i = 0; i < picture->n_shares; i++) {
		const struct kms_fleet_source *source = &picture->share[i].part->source;

		if (source->refresh_end)
			source->refresh_end(source->arg, number[i]);
	}
	for (size_t i = 0; i < picture->n_shares; i++) {
		const struct kms_view *view = &picture->share[i].part->source.view;

		picture->share[i].s = view->ops->acquire(view->ctx);
	}
}

/* The run may have been taken out since the picture was begun: then its numbers are gone. */
static void find_runs(struct kms_fleet *fleet, struct fleet_picture *picture)
{
	for (size_t i = 0; i < picture->n_shares; i++) {
		struct fleet_share *share = &picture->share[i];

		share->run = fleet_find_run(fleet, share->part->run);
		if (!share->run)
			continue;
		if (share->s->wall_ns)
			share->run->wall_ns = share->s->wall_ns;
		share->offset_ns = (int64_t)(share->run->wall_ns - fleet->zero_wall_ns);
	}
}

static bool is_same(const struct fleet_picture *a, const struct fleet_picture *b)
{
	if (!a || a->n_shares != b->n_shares)
		return false;
	for (size_t i = 0; i < a->n_shares; i++) {
		if (a->share[i].part != b->share[i].part || a->share[i].s != b->share[i].s)
			return false;
	}
	return true;
}

/* Makes a picture the newest one, if it is another than the last. Gives back what is not needed. */
static void publish(struct kms_fleet *fleet, struct fleet_picture *picture)
{
	struct fleet_picture *unused = picture;
	int result = 0;

	(void)pthread_mutex_lock(&fleet->lock);
	if (!is_same(fleet->newest, picture)) {
		find_runs(fleet, picture);
		result = fleet_build(fleet, picture);
		if (!result) {
			unused = fleet->newest;
			fleet->newest = picture;
		}
	}
	fleet->newest_ns = kms_mono_ns();
	(void)pthread_mutex_unlock(&fleet->lock);
	release_picture(fleet, unused);
}

static void make_picture(struct kms_fleet *fleet)
{
	struct fleet_picture *picture = new_picture(fleet);
	uint64_t *number = picture ? calloc(picture->n_shares + 1, sizeof(*number)) : NULL;

	if (number) {
		take_shares(picture, number);
		publish(fleet, picture);
	} else {
		release_picture(fleet, picture); /* without memory: the one before */
	}
	free(number);
}

static const struct kms_snapshot *view_acquire(void *ctx)
{
	struct kms_fleet *fleet = ctx;
	struct fleet_picture *picture;

	(void)pthread_mutex_lock(&fleet->build_lock);
	if (!fleet->newest || kms_mono_ns() - fleet->newest_ns > fresh_ns)
		make_picture(fleet);
	(void)pthread_mutex_lock(&fleet->lock);
	picture = fleet->newest;
	if (picture)
		picture->refs++;
	(void)pthread_mutex_unlock(&fleet->lock);
	(void)pthread_mutex_unlock(&fleet->build_lock);
	return picture ? &picture->s : &fleet->none.s;
}

static void view_release(void *ctx, const struct kms_snapshot *snapshot)
{
	release_picture(ctx, KMS_CONTAINER_OF(snapshot, struct fleet_picture, s));
}

/* A picture that shows what is being taken out must not be given again. Takes build_lock. */
static void forget_newest(struct kms_fleet *fleet)
{
	struct fleet_picture *newest;

	(void)pthread_mutex_lock(&fleet->build_lock);
	(void)pthread_mutex_lock(&fleet->lock);
	newest = fleet->newest;
	fleet->newest = NULL;
	(void)pthread_mutex_unlock(&fleet->lock);
	(void)pthread_mutex_unlock(&fleet->build_lock);
	release_picture(fleet, newest);
}

/* Nobody finds the part any more: waits for its last user. */
static void end_part(struct kms_fleet *fleet, struct fleet_part *part)
{
	forget_newest(fleet);
	(void)pthread_mutex_lock(&fleet->lock);
	part->is_replaced = true;
	(void)pthread_cond_broadcast(&fleet->unused);
	while (part->uses)
		(void)pthread_cond_wait(&fleet->unused, &fleet->lock);
	(void)pthread_mutex_unlock(&fleet->lock);
	free(part);
}

struct kms_fleet *kms_fleet_create(uint64_t zero_wall_ns)
{
	struct kms_fleet *fleet = calloc(1, sizeof(*fleet));
	pthread_condattr_t attr;

	if (!fleet)
		return NULL;
	/* none of these can fail with these arguments on Linux */
	(void)pthread_mutex_init(&fleet->build_lock, NULL);
	(void)pthread_mutex_init(&fleet->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&fleet->unused, &attr);
	(void)pthread_condattr_destroy(&attr);
	kms_list_init(&fleet->runs);
	fleet->zero_wall_ns = zero_wall_ns ? zero_wall_ns : kms_wall_ns();
	fleet->none.s.wall_ns = fleet->zero_wall_ns;
	fleet->none.s.incomplete = true;
	kms_name_pool_init(&fleet->names);
	fleet_ops_init(fleet);
	fleet->ops.acquire = view_acquire;
	fleet->ops.release = view_release;
	return fleet;
}

void kms_fleet_destroy(struct kms_fleet *fleet)
{
	if (!fleet)
		return;
	forget_newest(fleet);
	fleet_ids_deinit(fleet);
	fleet_local_ids_deinit(&fleet->own);
	fleet_marks_deinit(fleet);
	kms_name_pool_deinit(&fleet->names);
	(void)pthread_cond_destroy(&fleet->unused); /* nobody waits or holds any more */
	(void)pthread_mutex_destroy(&fleet->lock);
	(void)pthread_mutex_destroy(&fleet->build_lock);
	free(fleet);
}

struct kms_view kms_fleet_view(struct kms_fleet *fleet)
{
	return (struct kms_view){.ops = &fleet->ops, .ctx = fleet};
}

void kms_fleet_set_attach(struct kms_fleet *fleet, kms_fleet_attach_fn *attach, void *arg)
{
	fleet->attach = attach;
	fleet->attach_arg = arg;
}

static struct fleet_part *new_part(uint32_t run, const struct kms_fleet_source *source,
				   struct kms_err *err)
{
	struct fleet_part *part = calloc(1, sizeof(*part));

	if (!part) {
		(void)kms_err_set(err, -ENOMEM, "no memory for a run"); /* the caller sees NULL */
		return NULL;
	}
	part->source = *source;
	part->run = run;
	return part;
}

/* What all processes were asked for, a new run's are asked, too. */
static void ask_later(struct kms_fleet *fleet, const struct kms_fleet_source *source)
{
	struct fleet_later later[KMS_VARIABLE_COUNT];
	const struct kms_view *view = &source->view;

	(void)pthread_mutex_lock(&fleet->lock);
	memcpy(later, fleet->later, sizeof(later));
	(void)pthread_mutex_unlock(&fleet->lock);
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		if (later[i].is_set && source->want)
			source->want(source->arg, i, later[i].value);
		else if (later[i].is_set && view->ops->variable_set)
			(void)view->ops->variable_set(view->ctx, "daemon", 0, i, later[i].value,
						      NULL); /* nobody may be there yet */
	}
}

int kms_fleet_add(struct kms_fleet *fleet, const struct kms_fleet_source *source, uint32_t *number,
		  struct kms_err *err)
{
	struct fleet_run *run = calloc(1, sizeof(*run));
	int result = 0;

	if (!run)
		return kms_err_set(err, -ENOMEM, "no memory for a run");
	(void)pthread_mutex_lock(&fleet->lock);
	if (fleet->last_run + 1 >= FLEET_RUNS_MAX)
		result = kms_err_set(err, -ENOSPC, "too many runs; start the daemon again");
	if (!result) {
		run->part = new_part(fleet->last_run + 1, source, err);
		result = run->part ? 0 : -ENOMEM;
	}
	if (!result) {
		run->number = *number = ++fleet->last_run;
		fleet->n_runs++;
		kms_list_push_back(&fleet->runs, &run->link);
	}
	(void)pthread_mutex_unlock(&fleet->lock);
	if (result)
		free(run);
	else
		ask_later(fleet, source);
	return result;
}

int kms_fleet_replace(struct kms_fleet *fleet, uint32_t number,
		      const struct kms_fleet_source *source, struct kms_err *err)
{
	struct fleet_part *part = new_part(number, source, err);
	struct fleet_part *old = NULL;
	struct fleet_run *run;

	if (!part)
		return -ENOMEM;
	(void)pthread_mutex_lock(&fleet->lock);
	run = fleet_find_run(fleet, number);
	if (run) {
		old = run->part;
		run->part = part;
	}
	(void)pthread_mutex_unlock(&fleet->lock);
	if (old)
		end_part(fleet, old);
	else
		free(part);
	return old ? 0 : kms_err_set(err, -ESRCH, "there is no run %u", number);
}

void kms_fleet_remove(struct kms_fleet *fleet, uint32_t number)
{
	struct fleet_run *run;

	(void)pthread_mutex_lock(&fleet->lock);
	run = fleet_find_run(fleet, number);
	if (run) {
		kms_list_remove(&run->link);
		fleet->n_runs--;
	}
	(void)pthread_mutex_unlock(&fleet->lock);
	if (!run)
		return;
	end_part(fleet, run->part);
	fleet_local_ids_deinit(run);
	free(run);
}

uint32_t kms_fleet_target(struct kms_fleet *fleet, uint32_t number, uint32_t target)
{
	const struct fleet_run *run;
	uint32_t id;

	(void)pthread_mutex_lock(&fleet->lock);
	run = fleet_find_run(fleet, number);
	id = run ? fleet_id_known(run, FLEET_TARGET, target) : 0;
	(void)pthread_mutex_unlock(&fleet->lock);
	return id;
}
