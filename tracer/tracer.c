/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracer's threads: see tracer.h and README.md.
 */
#include "tracer/tracer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tracer/process.h"
#include "tracer/session.h"
#include "tracer/tracer_impl.h"

static const uint64_t store_commit_ns = 250000000;
static const uint64_t store_tables_ns = 1000000000; /* between copies of the picture to the file */
static const uint64_t model_idle_ns = 50000000;
static const uint64_t rest_share = 19; /* a picture made for nobody costs one part in twenty */
static const uint64_t missing_ns = 1000000000; /* a program without a region is told after */

enum { MODEL_NICE = 10, NAMES_AT_ONCE = 2000 };

static const uint64_t quiet_ns = 25000000; /* nothing appears for so long: the run is over */

void tracer_say(struct kms_tracer *tracer, const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
	(void)vsnprintf(line, sizeof(line), fmt, args); /* cut if need be */
	va_end(args);
	if (tracer->config.say)
		tracer->config.say(tracer->config.say_arg, line);
}

static void say_line(void *arg, const char *line)
{
	tracer_say(arg, "%s", line);
}

/* Gives a batch to one consumer; asked again for the same batch it goes where it has not been. */
static int push(struct tracer_consumer *consumer, struct kms_batch *batch)
{
	int result = consumer->has_last ? 0 : kms_queue_push(&consumer->queue, batch);

	consumer->has_last = result == 0;
	return result;
}

static int emit(void *arg, struct kms_batch *batch)
{
	struct kms_tracer *tracer = arg;

	if (push(&tracer->to_model, batch) || push(&tracer->to_store, batch))
		return -ENOMEM;
	tracer->to_model.has_last = tracer->to_store.has_last = false;
	return 0;
}

/* The thread of base scans has no part in what the reader remembers of its batches. */
static int emit_base(void *arg, struct kms_batch *batch)
{
	struct kms_tracer *tracer = arg;

	if (tracer->base_half != batch && kms_queue_push(&tracer->to_model.queue, batch))
		return -ENOMEM;
	/* asked again, it goes to the other alone */
	tracer->base_half = batch;
	if (kms_queue_push(&tracer->to_store.queue, batch))
		return -ENOMEM;
	tracer->base_half = NULL;
	return 0;
}

static void want_base(void *arg, const struct kms_base_want *want)
{
	const struct kms_tracer *tracer = arg;

	kms_base_ask(tracer->base, want);
}

static void notify(void *arg)
{
	struct kms_tracer *tracer = arg;

	(void)pthread_mutex_lock(&tracer->lock); /* plain mutexes, never locked twice */
	(void)pthread_cond_broadcast(&tracer->changed);
	(void)pthread_mutex_unlock(&tracer->lock);
}

static void count_sync(struct tracer_consumer *consumer)
{
	struct kms_tracer *tracer = consumer->tracer;

	(void)pthread_mutex_lock(&tracer->lock);
	consumer->synced++;
	(void)pthread_cond_broadcast(&tracer->changed);
	(void)pthread_mutex_unlock(&tracer->lock);
}

/* The file is not complete any more: said once, the program is never held up for it. */
static void note_store(struct kms_tracer *tracer, int result, const struct kms_err *err)
{
	bool is_first;

	if (!result)
		return;
	(void)pthread_mutex_lock(&tracer->lock);
	is_first = !tracer->store_error;
	if (is_first)
		tracer->store_error = result;
	(void)pthread_mutex_unlock(&tracer->lock);
	if (is_first)
		tracer_say(tracer, "%s: %s; events go on being counted", tracer->output, err->text);
}

/* When to do again what was begun at a moment and has just ended, so that it takes a small share. */
static uint64_t next_time(uint64_t begun_ns, uint64_t at_least_ns)
{
	uint64_t now_ns = kms_mono_ns();
	uint64_t rest_ns = (now_ns - begun_ns) * rest_share;

	return now_ns + (rest_ns > at_least_ns ? rest_ns : at_least_ns);
}

/* Copies the newest picture to the file. Returns when to do it again. */
static uint64_t store_tables(struct kms_tracer *tracer)
{
	const struct kms_snapshot *snapshot = tracer_picture(tracer);
	uint64_t begun_ns = kms_mono_ns();
	struct kms_err err = KMS_ERR_INIT;

	note_store(tracer, kms_store_snapshot(tracer->store, snapshot, &err), &err);
	tracer_picture_release(tracer, snapshot);
	tracer_origin_names(tracer, NAMES_AT_ONCE);
	return next_time(begun_ns, store_tables_ns);
}

static void store_batch(struct kms_tracer *tracer, struct kms_batch *batch)
{
	struct kms_err err = KMS_ERR_INIT;

	switch (batch->what) {
	case KMS_BATCH_SYNC:
		tracer_store_audits(tracer);
		note_store(tracer, kms_store_commit(tracer->store, true, &err), &err);
		count_sync(&tracer->to_store);
		break;
	case KMS_BATCH_END:
		break;
	default:
		note_store(tracer, kms_store_add(tracer->store, batch, &err), &err);
		break;
	}
}

static void *run_store(void *arg)
{
	struct kms_tracer *tracer = arg;
	uint64_t tables_ns = kms_mono_ns() + store_tables_ns;
	enum kms_batch_what what = KMS_BATCH_DATA;

	while (what != KMS_BATCH_END) {
		uint64_t until = kms_mono_ns() + store_commit_ns / 2;
		struct kms_batch *batch = kms_queue_pop(&tracer->to_store.queue, until);
		struct kms_err err = KMS_ERR_INIT;

		if (batch) {
			what = batch->what;
			store_batch(tracer, batch);
			kms_batch_put(batch);
		}
		tracer_store_audits(tracer);
		while (kms_errands_work(&tracer->for_store, tracer->store, false))
			;
		note_store(tracer, kms_store_commit(tracer->store, false, &err), &err);
		if (kms_mono_ns() >= tables_ns)
			tables_ns = store_tables(tracer);
	}
	kms_errands_close(&tracer->for_store);
	tracer_store_audits(tracer);
	return NULL;
}

static void model_batch(struct kms_tracer *tracer, const struct kms_batch *batch)
{
	struct kms_model_figures figures = {0};
	struct kms_err err = KMS_ERR_INIT;
	uint64_t now_ns;

	if (kms_stack_book_feed(tracer->stacks, batch) && !tracer->stacks_full_said) {
		tracer->stacks_full_said = true;
		tracer_say(tracer, "too many stacks to keep in memory: some will have no frames");
	}
	(void)kms_model_feed(tracer->model, batch, &err); /* it counts what it could not keep */
	now_ns = kms_mono_ns();
	figures.lag_us = now_ns > batch->time_ns ? (now_ns - batch->time_ns) / 1000 : 0;
	kms_store_figures(tracer->store, &figures.db_bytes, &(uint64_t){0});
	kms_model_set_figures(tracer->model, &figures);
}

/* Who wants to see what is now asks for a sync; else the picture may wait. Returns when to make one. */
static uint64_t publish(struct kms_tracer *tracer, bool force)
{
	uint64_t begun_ns = kms_mono_ns();

	kms_model_publish(tracer->model, force);
	return next_time(begun_ns, 0);
}

/* The picture may lag behind while the program needs the processors; reader and store may not,
 * because the program would wait for them. */
static void yield_to_others(void)
{
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + MODEL_NICE);
}

static void *run_model(void *arg)
{
	struct kms_tracer *tracer = arg;
	enum kms_batch_what what = KMS_BATCH_DATA;
	uint64_t publish_ns = 0;
	bool asked = false;

	yield_to_others();
	while (what != KMS_BATCH_END) {
		struct kms_batch *batch = kms_queue_pop(&tracer->to_model.queue,
							asked ? 0 : kms_mono_ns() + model_idle_ns);

		if (batch) {
			what = batch->what;
			model_batch(tracer, batch);
			kms_batch_put(batch);
		}
		if (what == KMS_BATCH_SYNC || what == KMS_BATCH_END || kms_mono_ns() >= publish_ns)
			publish_ns =
				publish(tracer, what != KMS_BATCH_DATA && what != KMS_BATCH_TARGET);
		if (batch && what == KMS_BATCH_SYNC) {
			count_sync(&tracer->to_model);
			what = KMS_BATCH_DATA;
		}
		asked = kms_errands_work(&tracer->for_model, tracer->model, batch != NULL);
	}
	kms_errands_close(&tracer->for_model);
	return NULL;
}

/* The name is for top -H and bench/parts.py: who uses the tracer's time. */
static int start_thread(struct tracer_consumer *consumer, const char *name, void *(*run)(void *),
			struct kms_err *err)
{
	int result = pthread_create(&consumer->thread, NULL, run, consumer->tracer);

	consumer->is_running = result == 0;
	if (consumer->is_running)
		(void)pthread_setname_np(consumer->thread, name); /* cosmetic */
	return result ? kms_err_sys(err, -result, "start a thread", NULL) : 0;
}

static void consumer_init(struct kms_tracer *tracer, struct tracer_consumer *consumer)
{
	consumer->tracer = tracer;
	kms_queue_init(&consumer->queue);
}

static int copy_path(char to[PATH_MAX], const char *from, struct kms_err *err)
{
	if (strlen(from) >= PATH_MAX)
		return kms_err_set(err, -ENAMETOOLONG, "path too long: %.64s...", from);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static struct kms_tracer *new_tracer(const struct kms_tracer_config *config)
{
	struct kms_tracer *tracer = calloc(1, sizeof(*tracer));
	pthread_condattr_t attr;

	if (!tracer)
		return NULL;
	tracer->config = *config;
	tracer->missing_said = config->continues != NULL; /* it may be idle for long */
	tracer->started_ns = kms_mono_ns();
	consumer_init(tracer, &tracer->to_store);
	consumer_init(tracer, &tracer->to_model);
	/* none of these can fail with these arguments on Linux */
	(void)pthread_mutex_init(&tracer->lock, NULL);
	(void)pthread_mutex_init(&tracer->symbols_lock, NULL);
	(void)pthread_mutex_init(&tracer->file_lock, NULL);
	(void)pthread_rwlock_init(&tracer->file_use, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&tracer->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	tracer_view_init(tracer);
	tracer_origin_init(tracer);
	tracer_audit_init(tracer);
	return tracer;
}

/* Frees what was made; threads have ended. */
static void free_tracer(struct kms_tracer *tracer)
{
	kms_reader_free(tracer->reader);
	kms_base_destroy(tracer->base);
	kms_queue_deinit(&tracer->to_store.queue);
	kms_queue_deinit(&tracer->to_model.queue);
	tracer_query_deinit(tracer);
	tracer_audit_deinit(tracer);
	kms_file_close(tracer->file);
	kms_symbols_destroy(tracer->symbols);
	kms_model_destroy(tracer->model);
	kms_stack_book_destroy(tracer->stacks);
	kms_images_destroy(tracer->images);
	(void)pthread_cond_destroy(&tracer->changed); /* nobody waits or holds any more */
	(void)pthread_mutex_destroy(&tracer->lock);
	(void)pthread_mutex_destroy(&tracer->symbols_lock);
	(void)pthread_mutex_destroy(&tracer->file_lock);
	(void)pthread_rwlock_destroy(&tracer->file_use);
	free(tracer);
}

static int make_parts(struct kms_tracer *tracer, struct kms_err *err)
{
	const struct kms_tracer_config *config = &tracer->config;
	struct kms_store_config store = {.path = tracer->output,
					 .command = config->command,
					 .continues = config->continues,
					 .commit_ns = store_commit_ns};
	struct kms_model_config model = {.file = tracer->output};
	struct kms_images_config images = {.dir = tracer->run_dir,
					   .first_pid = config->first_pid,
					   .first_only = config->first_only,
					   .say = say_line,
					   .say_arg = tracer,
					   .guest = config->guest,
					   .base = want_base,
					   .base_arg = tracer};
	int result = kms_store_create(&store, &tracer->store, err);

	if (result)
		return result;
	tracer->images = kms_images_create(&images, err);
	if (!tracer->images)
		return -EIO;
	tracer->base = kms_base_create(emit_base, say_line, tracer);
	tracer->model = kms_model_create(&model);
	tracer->stacks = kms_stack_book_create(0);
	if (!tracer->base || !tracer->model || !tracer->stacks)
		return kms_err_set(err, -ENOMEM, "no memory for the live picture");
	return 0;
}

static int start_threads(struct kms_tracer *tracer, struct kms_err *err)
{
	struct kms_reader_config reader = {.images = tracer->images,
					   .emit = emit,
					   .emit_arg = tracer,
					   .changed = notify,
					   .held_bytes = tracer->config.queue_bytes};
	int result = start_thread(&tracer->to_store, "kms-store", run_store, err);

	if (!result)
		result = start_thread(&tracer->to_model, "kms-model", run_model, err);
	if (result)
		return result;
	tracer->reader = kms_reader_start(&reader, err);
	return tracer->reader ? 0 : -EAGAIN;
}

/* Ends the consumers: by the reader's last batch, or by one of our own if there is no reader. */
static void stop_threads(struct kms_tracer *tracer)
{
	/* nothing comes after the reader's last batch */
	kms_base_end(tracer->base);
	if (tracer->reader) {
		kms_reader_end(tracer->reader);
	} else {
		struct kms_batch *end = kms_batch_create();

		/* at start-up only; without memory for it the threads are left to the exit */
		if (!end)
			return;
		end->what = KMS_BATCH_END;
		(void)emit(tracer, end);
		kms_batch_put(end);
	}
	if (tracer->to_store.is_running)
		(void)pthread_join(tracer->to_store.thread, NULL); /* joined once */
	if (tracer->to_model.is_running)
		(void)pthread_join(tracer->to_model.thread, NULL);
}

struct kms_tracer *kms_tracer_start(const struct kms_tracer_config *config, struct kms_err *err)
{
	struct kms_tracer *tracer = new_tracer(config);
	int result;

	if (!tracer) {
		(void)kms_err_set(err, -ENOMEM, "no memory for the tracer"); /* caller sees NULL */
		return NULL;
	}
	result = copy_path(tracer->output, config->output, err);
	if (!result)
		result = copy_path(tracer->run_dir, config->run_dir, err);
	if (!result)
		result = make_parts(tracer, err);
	if (!result)
		result = start_threads(tracer, err);
	if (!result)
		return tracer;
	stop_threads(tracer);
	(void)kms_store_close(tracer->store, NULL); /* nothing is in it */
	free_tracer(tracer);
	return NULL;
}

/* Nothing new will come: who waits for it gets what there is. */
static void note_end(struct kms_tracer *tracer)
{
	(void)pthread_mutex_lock(&tracer->lock);
	tracer->is_ended = true;
	(void)pthread_cond_broadcast(&tracer->changed);
	(void)pthread_mutex_unlock(&tracer->lock);
}

int kms_tracer_finish(struct kms_tracer *tracer, struct kms_err *err)
{
	struct kms_err first = KMS_ERR_INIT;
	int result;

	stop_threads(tracer);
	note_end(tracer);
	/* the last connection to the file is the store's, so that no log stays beside it */
	(void)pthread_rwlock_wrlock(&tracer->file_use);
	kms_file_close(tracer->file);
	tracer->file = NULL;
	tracer->file_is_closed = true;
	(void)pthread_rwlock_unlock(&tracer->file_use);
	result = tracer_final(tracer, &first);
	if (result && err)
		*err = first;
	return result;
}

void kms_tracer_destroy(struct kms_tracer *tracer)
{
	if (tracer)
		free_tracer(tracer);
}

int kms_tracer_stop(struct kms_tracer *tracer, struct kms_err *err)
{
	int result = kms_tracer_finish(tracer, err);

	kms_tracer_destroy(tracer);
	return result;
}

void kms_tracer_want(struct kms_tracer *tracer, unsigned variable, uint64_t value)
{
	kms_images_want(tracer->images, variable, value);
}

void kms_tracer_wake(struct kms_tracer *tracer)
{
	kms_images_wake(tracer->images);
}

bool kms_tracer_has(struct kms_tracer *tracer, pid_t pid)
{
	return kms_images_has(tracer->images, pid);
}

void kms_tracer_exited(struct kms_tracer *tracer, pid_t pid, int wait_status)
{
	if (wait_status >= 0)
		kms_images_exited(tracer->images, pid, wait_status);
	if (pid != tracer->config.first_pid)
		return;
	(void)pthread_mutex_lock(&tracer->lock);
	tracer->is_exited = true;
	tracer->exited_ns = kms_mono_ns();
	(void)pthread_cond_broadcast(&tracer->changed);
	(void)pthread_mutex_unlock(&tracer->lock);
}

uint32_t kms_tracer_live(struct kms_tracer *tracer)
{
	struct kms_images_state now;

	kms_images_state(tracer->images, &now);
	return now.live + now.in_flight;
}

/*
 * What there is to tell, under tracer->lock. *next_ns: when to look again although nothing happens.
 */
static enum kms_tracer_wait look(struct kms_tracer *tracer, uint64_t now_ns, uint64_t *next_ns)
{
	struct kms_images_state s;
	uint64_t since_ns;

	kms_images_state(tracer->images, &s);
	since_ns = s.changed_ns > tracer->exited_ns ? s.changed_ns : tracer->exited_ns;
	if ((tracer->is_exited || s.first_left || s.guest_over) && !s.open && !s.unfinished &&
	    !s.in_flight) {
		bool is_quiet = now_ns >= since_ns + quiet_ns;

		if (is_quiet && !kms_images_find_tree(tracer->images))
			return KMS_TRACER_OVER;
		*next_ns = (is_quiet ? now_ns : since_ns) + quiet_ns;
	}
	if (s.stand)
		tracer->started_ns = now_ns; /* it could not allocate so far */
	if (tracer->missing_said || !tracer->config.first_pid || tracer->is_exited ||
	    s.first_left || (s.first_seen && s.first_allocates))
		return KMS_TRACER_TIMEOUT;
	if (now_ns >= tracer->started_ns + missing_ns) {
		tracer->missing_said = true;
		if (s.first_seen)
			return KMS_TRACER_SILENT;
		return kms_session_room(tracer->run_dir) < KMS_SESSION_ROOM_BYTES
			       ? KMS_TRACER_NO_ROOM
			       : KMS_TRACER_MISSING;
	}
	if (tracer->started_ns + missing_ns < *next_ns)
		*next_ns = tracer->started_ns + missing_ns;
	return KMS_TRACER_TIMEOUT;
}

static void wait_until(struct kms_tracer *tracer, uint64_t until_ns)
{
	struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
				 .tv_nsec = (long)(until_ns % 1000000000u)};

	/* a wake-up without a reason is as good as one with it: callers look again */
	(void)pthread_cond_timedwait(&tracer->changed, &tracer->lock, &until);
}

enum kms_tracer_wait kms_tracer_wait(struct kms_tracer *tracer, int timeout_ms)
{
	uint64_t end_ns = kms_mono_ns() + (uint64_t)timeout_ms * 1000000u;
	enum kms_tracer_wait what;
	uint64_t now_ns;

	(void)pthread_mutex_lock(&tracer->lock);
	for (;;) {
		uint64_t next_ns = end_ns;

		now_ns = kms_mono_ns();
		what = look(tracer, now_ns, &next_ns);
		if (what != KMS_TRACER_TIMEOUT || now_ns >= end_ns)
			break;
		wait_until(tracer, next_ns < end_ns ? next_ns : end_ns);
	}
	(void)pthread_mutex_unlock(&tracer->lock);
	return what;
}

int kms_tracer_leave(struct kms_tracer *tracer, uint32_t target, struct kms_err *err)
{
	return kms_images_leave(tracer->images, target, err);
}

int kms_tracer_resync(struct kms_tracer *tracer, const struct kms_options *options,
		      struct kms_err *err)
{
	int result = 0;

	for (unsigned i = 0; !result && i < KMS_VARIABLE_COUNT; i++) {
		if (options->is_set[i])
			result = kms_images_request(tracer->images, 0, i, options->value[i], err);
	}
	return result ? result : kms_images_request(tracer->images, 0, KMS_VAR_RESYNC, 1, err);
}

uint64_t kms_tracer_sync_begin(struct kms_tracer *tracer)
{
	return kms_reader_sync(tracer->reader);
}

int kms_tracer_sync_end(struct kms_tracer *tracer, uint64_t number, int timeout_ms)
{
	uint64_t end_ns = kms_mono_ns() + (uint64_t)timeout_ms * 1000000u;
	bool is_done;

	(void)pthread_mutex_lock(&tracer->lock);
	for (;;) {
		is_done = tracer->is_ended ||
			  (tracer->to_store.synced >= number && tracer->to_model.synced >= number);
		if (is_done || kms_mono_ns() >= end_ns)
			break;
		wait_until(tracer, end_ns);
	}
	(void)pthread_mutex_unlock(&tracer->lock);
	return is_done ? 0 : -ETIMEDOUT;
}

int kms_tracer_sync(struct kms_tracer *tracer, int timeout_ms)
{
	return kms_tracer_sync_end(tracer, kms_tracer_sync_begin(tracer), timeout_ms);
}

bool kms_tracer_store_failed(struct kms_tracer *tracer)
{
	bool failed;

	(void)pthread_mutex_lock(&tracer->lock);
	failed = tracer->store_error != 0;
	(void)pthread_mutex_unlock(&tracer->lock);
	return failed;
}
