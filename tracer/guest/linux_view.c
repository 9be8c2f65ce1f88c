/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a Linux guest again and again for clients: see linux_view.h.
 *
 * One lock: the thread holds it while it reads (a millisecond ten times a second, some 30 once), a
 * client while it takes the newest picture or asks for a stack.
 */
#include "tracer/guest/linux_view.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tracer/guest/linux_view_impl.h"

enum {
	EVENTS_MS = 25,   /* a ring of the usual size lasts for 100 ms of 250,000 events/s */
	CACHES_EVERY = 4, /* of those */
	SITES_EVERY = 10, /* of these */
	NS_PER_S = 1000000000,
	NS_PER_MS = 1000000,
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now); /* cannot fail for these */
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void say(const struct kms_linux_view *view, const char *line)
{
	if (view->config.say)
		view->config.say(view->config.say_arg, line);
}

static void shot_put(struct kms_linux_shot *shot)
{
	if (shot && !--shot->users)
		kms_linux_shot_free(shot);
}

static int count_event(void *arg, const struct kms_linux_event *event)
{
	struct kms_linux_history *history = arg;

	if (event->kind == KMS_LINUX_ALLOC)
		history->allocs++;
	else if (event->kind == KMS_LINUX_FREE)
		history->frees++;
	return 0;
}

/* A picture of what was just read. Locks: the view's */
int kms_linux_view_publish(struct kms_linux_view *view, struct kms_err *err)
{
	struct kms_linux_shot *shot;

	view->history.time_ns = now_ns(CLOCK_MONOTONIC) - view->history.begin_ns;
	view->history.seq++;
	if (view->kernel && !view->is_over)
		kms_linux_history_pause(&view->history, view->is_paused);
	shot = kms_linux_shot_make(view->kernel, &view->history);
	if (!shot)
		return kms_err_set(err, -ENOMEM, "no memory for a picture of the guest");
	shot_put(view->newest);
	view->newest = shot;
	return 0;
}

/* Locks: the view's */
int kms_linux_view_read_events(struct kms_linux_view *view, struct kms_err *err)
{
	int rc;

	if (view->history.tracer)
		rc = kms_linux_recorder_poll(view->history.recorder, view->kernel, err);
	else
		rc = kms_linux_events(view->kernel, count_event, &view->history, err);
	return rc == -ENOTSUP || rc == -ENOMEM ? 0 : rc; /* for want of memory some are lost */
}

/* A look at KFENCE's pool; before: what the one before it found. */
struct canary_look {
	struct kms_linux_view *view;
	const uint64_t *before;
	size_t n;
};

static int tell_canary(void *arg, const struct kms_linux_damage *damage,
		       const struct kms_linux_kfence_object *object)
{
	struct canary_look *look = arg;
	struct kms_linux_view *view = look->view;

	view->canary[look->n++] = damage->at;
	for (size_t i = 0; i < KMS_LINUX_VIEW_CANARIES; i++)
		if (look->before[i] == damage->at) {
			(void)kms_linux_recorder_fault(view->history.recorder, view->kernel, damage,
						       object->alloc_frame,
						       (int)object->alloc_frames);
			break;
		}
	return look->n == KMS_LINUX_VIEW_CANARIES;
}

/* Damage that was seen twice in a row is no change under way. Locks: the view's */
void kms_linux_view_tell_damage(struct kms_linux_view *view)
{
	uint64_t before[KMS_LINUX_VIEW_CANARIES];
	struct canary_look look = {.view = view, .before = before};
	const struct kms_linux_damage *damage;
	size_t n;

	if (!view->history.tracer)
		return;
	damage = kms_linux_damages(view->kernel, &n);
	for (size_t i = 0; i < n; i++)
		if (damage[i].times > 1)
			(void)kms_linux_recorder_fault(view->history.recorder, view->kernel,
						       &damage[i], NULL, 0);
	memcpy(before, view->canary, sizeof(before));
	memset(view->canary, 0, sizeof(view->canary));
	/* a kernel without KFENCE has no damage there */
	(void)kms_linux_kfence_damage(view->kernel, tell_canary, &look, NULL);
}

/* Locks: the view's */
static int read_all(struct kms_linux_view *view, bool with_sites, struct kms_err *err)
{
	int rc = kms_linux_refresh_caches(view->kernel, err);

	if (!rc && with_sites) {
		rc = kms_linux_refresh_sites(view->kernel, now_ns(CLOCK_MONOTONIC), err);
		rc = rc == -ENOTSUP ? 0 : rc;
		kms_linux_view_tell_damage(view);
	}
	if (!rc)
		rc = kms_linux_view_read_events(view, err);
	return rc ? rc : kms_linux_view_publish(view, err);
}

/* The newest target begins to be recorded. Locks: the view's */
static int record_begin(struct kms_linux_view *view, struct kms_err *err)
{
	const struct kms_linux_boot *boot = kms_linux_history_newest(&view->history);
	struct kms_batch_target target = {
		.id = view->history.n_targets,
		.pid = boot->pid,
		.start_wall_ns = boot->start_wall_ns,
	};

	(void)snprintf(target.name, sizeof(target.name), "%.63s", boot->name);
	(void)snprintf(target.command, sizeof(target.command), "%s", view->command); /* cut */
	return kms_linux_recorder_begin(view->history.recorder, view->kernel, &target, err);
}

/* The newest target is over; nobody has it any more. Locks: the view's */
static void end_kernel(struct kms_linux_view *view, uint32_t state)
{
	if (!view->kernel)
		return;
	kms_linux_history_end(&view->history, now_ns(CLOCK_REALTIME), state);
	if (view->history.tracer)
		kms_linux_recorder_end(view->history.recorder, view->kernel, state,
				       now_ns(CLOCK_REALTIME));
	kms_linux_close(view->kernel);
	view->kernel = NULL;
	(void)kms_linux_view_publish(view, NULL); /* without memory the picture of before stays */
}

/* The kernel was replaced, or its memory is gone. Locks: the view's */
static void kernel_ended(struct kms_linux_view *view, const struct kms_err *err)
{
	bool is_lost = err->code != -ESTALE;

	view->is_over = is_lost;
	if (is_lost && view->config.is_ending && view->config.is_ending(view->config.arg)) {
		end_kernel(view, KMS_STATE_EXITED);
		return;
	}
	end_kernel(view, is_lost ? KMS_STATE_LOST : KMS_STATE_EXITED);
	say(view, err->text);
}

/* What the emulator says of the machine. Locks: the view's */
static void hear_emulator(struct kms_linux_view *view)
{
	bool goes_on = !view->config.turn || view->config.turn(view->config.arg, &view->is_paused);

	if (goes_on)
		return;
	view->is_over = true;
	end_kernel(view, KMS_STATE_DETACHED);
}

/* Looks whether a kernel is there (again). Locks: the view's */
static void find_kernel(struct kms_linux_view *view)
{
	struct kms_err err = KMS_ERR_INIT;
	int rc = kms_linux_open(view->config.memory, &view->config.linux_options, &view->kernel,
				&err);

	if (!rc) {
		struct kms_linux_about about;
		char line[128];

		kms_linux_about(view->kernel, &about);
		(void)kms_linux_history_begin(&view->history, &about, view->config.pid,
					      now_ns(CLOCK_REALTIME)); /* it makes its room */
		if (view->history.tracer && record_begin(view, &err))
			say(view, err.text);
		(void)snprintf(line, sizeof(line), "the guest has booted Linux %s", about.release);
		say(view, line);
	} else if (rc == -EFAULT || rc == -EIO) {
		view->is_over = true;
	}
}

/* One turn of the thread. Locks: the view's */
static void turn(struct kms_linux_view *view, unsigned number)
{
	struct kms_err err = KMS_ERR_INIT;
	bool is_long = number % (CACHES_EVERY * SITES_EVERY) == 0;
	int rc = 0;

	if (number % CACHES_EVERY == 0)
		hear_emulator(view);
	if (!view->kernel) {
		if (is_long && !view->is_over)
			find_kernel(view);
		return;
	}
	if (is_long)
		rc = kms_linux_check(view->kernel, &err);
	if (!rc) {
		rc = number % CACHES_EVERY ? kms_linux_view_read_events(view, &err)
					   : read_all(view, is_long, &err);
		/* what made no sense may be a kernel that is going: the next check says so */
		rc = rc == -EFAULT || rc == -EIO ? rc : 0;
	}
	if (rc)
		kernel_ended(view, &err);
}

static void *run(void *arg)
{
	struct kms_linux_view *view = arg;
	struct timespec until;

	(void)pthread_mutex_lock(&view->lock);
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	for (unsigned number = 1; !view->stopping && !view->is_over; number++) {
		until.tv_nsec += (long)EVENTS_MS * NS_PER_MS;
		until.tv_sec += until.tv_nsec / NS_PER_S;
		until.tv_nsec %= NS_PER_S;
		while (!view->stopping &&
		       pthread_cond_timedwait(&view->wake, &view->lock, &until) != ETIMEDOUT) {
		}
		if (!view->stopping && !view->is_over)
			turn(view, number);
		/* a reader that is late does not hurry after what it missed */
		if (now_ns(CLOCK_MONOTONIC) >
		    (uint64_t)until.tv_sec * NS_PER_S + (uint64_t)until.tv_nsec + NS_PER_S)
			(void)clock_gettime(CLOCK_MONOTONIC, &until);
	}
	(void)pthread_mutex_unlock(&view->lock);
	return NULL;
}

static const struct kms_snapshot *view_acquire(void *ctx)
{
	struct kms_linux_view *view = ctx;
	struct kms_linux_shot *shot;

	(void)pthread_mutex_lock(&view->lock);
	shot = view->newest;
	shot->users++;
	(void)pthread_mutex_unlock(&view->lock);
	return &shot->snapshot;
}

static void view_release(void *ctx, const struct kms_snapshot *snapshot)
{
	struct kms_linux_view *view = ctx;

	(void)pthread_mutex_lock(&view->lock);
	shot_put((struct kms_linux_shot *)(void *)snapshot); /* its first member */
	(void)pthread_mutex_unlock(&view->lock);
}

static int view_stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc = kms_linux_recorder_stack(view->history.recorder, stack_id, out, err);

	if (rc != -ENOENT)
		return rc;
	if (err)
		kms_err_clear(err);
	(void)pthread_mutex_lock(&view->lock);
	rc = view->kernel ? kms_linux_shot_stack(view->kernel, stack_id, out, err)
			  : kms_err_set(err, -ENOENT, "the kernel with this stack is gone");
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

static void view_stack_free(void *ctx, struct kms_view_stack *stack)
{
	(void)ctx;
	free(stack->frame); /* its names stand behind the frames */
	*stack = (struct kms_view_stack){0};
}

static int check_target(const struct kms_linux_view *view, uint32_t target, struct kms_err *err)
{
	if (view->kernel && (!target || target == view->history.n_targets))
		return 0;
	return kms_err_set(err, -ESRCH, "target %u is not running", target);
}

/* Stops the machine, or lets it go on, and shows that. */
static int set_paused(struct kms_linux_view *view, uint32_t target, bool paused,
		      struct kms_err *err)
{
	int (*call)(void *arg, struct kms_err *err) =
		paused ? view->config.stop : view->config.resume;
	int rc;

	(void)pthread_mutex_lock(&view->lock);
	rc = check_target(view, target, err);
	if (!rc && view->is_paused == paused)
		rc = kms_err_set(err, -EALREADY, paused ? "it stands already" : "it runs already");
	if (!rc)
		rc = call ? call(view->config.arg, err)
			  : kms_err_set(err, -ENOTSUP, "the emulator has no QMP socket");
	if (!rc) {
		view->is_paused = paused;
		(void)kms_linux_view_publish(view, NULL); /* as above */
	}
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

static int view_stop(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	(void)who; /* is for the audit, if there is one */
	return set_paused(ctx, target, true, err);
}

static int view_resume(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	(void)who;
	return set_paused(ctx, target, false, err);
}

/* It goes on without us: nothing was ever asked of it. */
static int view_detach(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc;

	(void)who;
	(void)pthread_mutex_lock(&view->lock);
	rc = check_target(view, target, err);
	if (!rc) {
		view->is_over = true; /* the thread ends at its next turn */
		end_kernel(view, KMS_STATE_DETACHED);
	}
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

/* Without a tracer nothing is known of an address beforehand. */
static int view_whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
		       struct kms_err *err)
{
	*out = (struct kms_view_block){0};
	return kms_linux_ask_whatis(ctx, target, address, out, err);
}

#define SHARED_OPS                                                                                 \
	.stop = view_stop, .resume = view_resume, .detach = view_detach, .acquire = view_acquire,  \
	.release = view_release, .stack = view_stack, .stack_free = view_stack_free,               \
	.memory = kms_linux_ask_memory, .memory_write = kms_linux_ask_write,                       \
	.slabs = kms_linux_ask_slabs, .explain = kms_linux_ask_explain,                            \
	.verify = kms_linux_ask_verify, .kfence = kms_linux_ask_kfence,                            \
	.symbol = kms_linux_ask_symbol, .symbol_at = kms_linux_ask_symbol_at

static const struct kms_view_ops ops = {SHARED_OPS, .whatis = view_whatis};
static const struct kms_view_ops origin_ops = {SHARED_OPS, .whatis = kms_linux_ask_whatis};
#undef SHARED_OPS

struct kms_view kms_linux_view_ops(struct kms_linux_view *view)
{
	return (struct kms_view){.ops = &ops, .ctx = view};
}

bool kms_linux_view_is_over(struct kms_linux_view *view)
{
	bool is_over;

	(void)pthread_mutex_lock(&view->lock);
	is_over = view->is_over;
	(void)pthread_mutex_unlock(&view->lock);
	return is_over;
}

void kms_linux_view_end(struct kms_linux_view *view)
{
	(void)pthread_mutex_lock(&view->lock);
	view->is_over = true;
	end_kernel(view, KMS_STATE_EXITED);
	(void)pthread_mutex_unlock(&view->lock);
}

static int feed(void *arg, struct kms_batch *batch)
{
	const struct kms_linux_view *view = arg;

	return kms_tracer_feed(view->history.tracer, batch);
}

static bool view_stack_next(void *ctx, uint64_t *stack_id)
{
	struct kms_linux_view *view = ctx;

	return kms_linux_recorder_next(view->history.recorder, stack_id);
}

const struct kms_tracer_origin *kms_linux_view_origin(const struct kms_linux_view *view)
{
	return &view->origin;
}

int kms_linux_view_record(struct kms_linux_view *view, struct kms_tracer *tracer,
			  struct kms_err *err)
{
	int rc = 0;

	(void)pthread_mutex_lock(&view->lock);
	view->history.tracer = tracer;
	if (view->kernel)
		rc = record_begin(view, err);
	if (!rc)
		rc = kms_linux_view_publish(view,
					    err); /* what was counted before is not in the trace */
	if (rc)
		view->history.tracer = NULL;
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

void kms_linux_view_record_end(struct kms_linux_view *view)
{
	(void)pthread_mutex_lock(&view->lock);
	if (view->history.tracer && view->kernel) {
		view->is_over = true;
		(void)kms_linux_view_read_events(view,
						 NULL); /* what cannot be read is lost either way */
		kms_linux_history_end(&view->history, now_ns(CLOCK_REALTIME), KMS_STATE_DETACHED);
		kms_linux_recorder_end(view->history.recorder, view->kernel, KMS_STATE_DETACHED,
				       now_ns(CLOCK_REALTIME));
		/* without memory the picture of before stays */
		(void)kms_linux_view_publish(view, NULL);
	}
	view->is_over = true;
	view->history.tracer = NULL;
	(void)pthread_mutex_unlock(&view->lock);
}

static void view_free(struct kms_linux_view *view)
{
	shot_put(view->newest);
	kms_linux_recorder_destroy(view->history.recorder);
	kms_linux_history_deinit(&view->history);
	kms_linux_close(view->kernel);
	kms_name_pool_deinit(&view->names);
	(void)pthread_cond_destroy(&view->wake);
	(void)pthread_mutex_destroy(&view->lock);
	free(view->command);
	free(view);
}

static struct kms_linux_view *view_create(const struct kms_linux_view_config *config)
{
	struct kms_linux_view *view = calloc(1, sizeof(*view));
	pthread_condattr_t monotonic;

	if (!view)
		return NULL;
	view->config = *config;
	/* a kernel that boots later is opened with it, too */
	if (config->linux_options.cache_folder) {
		(void)snprintf(view->cache_folder, sizeof(view->cache_folder), "%s",
			       config->linux_options.cache_folder);
		view->config.linux_options.cache_folder = view->cache_folder;
	}
	view->is_paused = config->is_paused;
	view->command = strdup(config->command ? config->command : "");
	view->history.command = view->command;
	view->history.recorder = kms_linux_recorder_create(feed, view);
	view->history.begin_ns = now_ns(CLOCK_MONOTONIC);
	view->history.wall_ns = now_ns(CLOCK_REALTIME);
	kms_name_pool_init(&view->names);
	(void)pthread_mutex_init(&view->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&view->wake, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (view->command && view->history.recorder)
		return view;
	view_free(view);
	return NULL;
}

static int first_look(struct kms_linux_view *view, struct kms_err *err)
{
	struct kms_linux_about about;
	int rc = kms_linux_open(view->config.memory, &view->config.linux_options, &view->kernel,
				err);

	if (rc)
		return rc;
	kms_linux_about(view->kernel, &about);
	rc = kms_linux_history_begin(&view->history, &about, view->config.pid,
				     view->history.wall_ns);
	return rc ? kms_err_set(err, rc, "no memory for a guest") : read_all(view, true, err);
}

int kms_linux_view_start(const struct kms_linux_view_config *config, struct kms_linux_view **out,
			 struct kms_err *err)
{
	struct kms_linux_view *view = view_create(config);
	int rc = view ? first_look(view, err) : kms_err_set(err, -ENOMEM, "no memory for a guest");

	if (!rc) {
		rc = -pthread_create(&view->thread, NULL, run, view);
		if (rc)
			kms_err_sys(err, rc, "thread", NULL);
	}
	if (rc) {
		if (view)
			view_free(view);
		return rc;
	}
	view->origin = (struct kms_tracer_origin){
		.ops = &origin_ops, .ctx = view, .stack_next = view_stack_next};
	*out = view;
	return 0;
}

void kms_linux_view_stop(struct kms_linux_view *view)
{
	if (!view)
		return;
	(void)pthread_mutex_lock(&view->lock);
	view->stopping = true;
	(void)pthread_cond_signal(&view->wake);
	(void)pthread_mutex_unlock(&view->lock);
	(void)pthread_join(view->thread, NULL);
	view_free(view);
}
