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

#include "tracer/guest/kernel_names.h"
#include "tracer/guest/linux_shot.h"
#include "tracer/guest/write_audit.h"

enum {
	CACHES_MS = 100,
	SITES_EVERY = 10, /* of those */
	NS_PER_S = 1000000000,
	NS_PER_MS = 1000000,
};

struct kms_linux_view {
	struct kms_linux_view_config config;
	char *command;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, is_over, is_paused;
	struct kms_linux *kernel; /* NULL: the guest boots another one */
	struct kms_linux_history history;
	struct kms_linux_shot *newest;
	struct kms_write_audit audit;
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
	else
		history->frees++;
	return 0;
}

/* A picture of what was just read. Locks: the view's */
static int publish(struct kms_linux_view *view, struct kms_err *err)
{
	struct kms_linux_shot *shot;

	view->history.time_ns = now_ns(CLOCK_MONOTONIC) - view->history.begin_ns;
	view->history.seq++;
	if (view->kernel)
		kms_linux_history_pause(&view->history, view->is_paused);
	shot = kms_linux_shot_make(view->kernel, &view->history);
	if (!shot)
		return kms_err_set(err, -ENOMEM, "no memory for a picture of the guest");
	shot_put(view->newest);
	view->newest = shot;
	return 0;
}

/* Locks: the view's */
static int read_all(struct kms_linux_view *view, bool with_sites, struct kms_err *err)
{
	int rc = kms_linux_refresh_caches(view->kernel, err);

	if (!rc && with_sites) {
		rc = kms_linux_refresh_sites(view->kernel, now_ns(CLOCK_MONOTONIC), err);
		rc = rc == -ENOTSUP ? 0 : rc;
	}
	if (!rc) {
		rc = kms_linux_events(view->kernel, count_event, &view->history, err);
		rc = rc == -ENOTSUP ? 0 : rc;
	}
	return rc ? rc : publish(view, err);
}

/* The newest target is over; nobody has it any more. Locks: the view's */
static void end_kernel(struct kms_linux_view *view, uint32_t state)
{
	if (!view->kernel)
		return;
	kms_linux_history_end(&view->history, now_ns(CLOCK_REALTIME), state);
	kms_linux_close(view->kernel);
	view->kernel = NULL;
	(void)publish(view, NULL); /* without memory the picture of before stays */
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
	bool is_long = number % SITES_EVERY == 0;
	int rc = 0;

	hear_emulator(view);
	if (!view->kernel) {
		if (is_long && !view->is_over)
			find_kernel(view);
		return;
	}
	if (is_long)
		rc = kms_linux_check(view->kernel, &err);
	if (!rc) {
		rc = read_all(view, is_long, &err);
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
		until.tv_nsec += (long)CACHES_MS * NS_PER_MS;
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
	int rc;

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

/* NOLINTNEXTLINE(readability-function-size): kms_view_ops */
static int view_memory(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
		       size_t *n_read, struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc;

	(void)pthread_mutex_lock(&view->lock);
	if (!view->kernel || target != view->history.n_targets)
		rc = kms_err_set(err, -ESRCH, "target %u is not running", target);
	else
		rc = kms_linux_memory(view->kernel, address, to, n, n_read, err);
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
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
		(void)publish(view, NULL); /* as above */
	}
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

static int view_stop(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	(void)who; /* there is no trace, and so no audit */
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

/* The kernel, if a target is the one that runs; the lock is the caller's. NULL: an error is set. */
static struct kms_linux *kernel_of(const struct kms_linux_view *view, uint32_t target,
				   struct kms_err *err)
{
	if (view->kernel && target == view->history.n_targets)
		return view->kernel;
	(void)kms_err_set(err, -ESRCH, "target %u is not running", target);
	return NULL;
}

static int view_memory_write(void *ctx, const char *who, const struct kms_memory_write *write,
			     struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	struct kms_err why = KMS_ERR_INIT;
	struct kms_linux *kernel;

	(void)pthread_mutex_lock(&view->lock);
	kernel = kernel_of(view, write->target, &why);
	if (kernel && !view->config.allow_write)
		(void)kms_err_set(&why, -EPERM,
				  "memory of the guest is written only after `attach "
				  "--allow-write`");
	else if (kernel)
		(void)kms_linux_memory_write(kernel, write, &why);
	kms_write_audit_add(&view->audit, who, write, why.code ? why.text : "ok");
	(void)pthread_mutex_unlock(&view->lock);
	if (why.code && err)
		*err = why;
	return why.code;
}

static int view_symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
		       struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	struct kms_linux *kernel;
	int rc = -ESRCH;

	*out = (struct kms_view_symbol){.address = 0};
	(void)pthread_mutex_lock(&view->lock);
	kernel = kernel_of(view, target, err);
	if (kernel)
		rc = kms_kernel_names_find(kms_linux_symbols(kernel), name, out, err);
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

static int view_symbol_at(void *ctx, uint32_t target, uint64_t address, struct kms_view_symbol *out,
			  struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	struct kms_linux *kernel;
	int rc = -ESRCH;

	*out = (struct kms_view_symbol){.address = 0};
	(void)pthread_mutex_lock(&view->lock);
	kernel = kernel_of(view, target, err);
	if (kernel)
		rc = kms_kernel_names_at(kms_linux_symbols(kernel), address, out, err);
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

static int view_audit(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row),
		      void *arg, struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc;

	(void)err;
	(void)pthread_mutex_lock(&view->lock);
	rc = kms_write_audit_each(&view->audit, emit, arg);
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

static const struct kms_view_ops ops = {
	.stop = view_stop,
	.resume = view_resume,
	.detach = view_detach,
	.acquire = view_acquire,
	.release = view_release,
	.stack = view_stack,
	.stack_free = view_stack_free,
	.memory = view_memory,
	.memory_write = view_memory_write,
	.symbol = view_symbol,
	.symbol_at = view_symbol_at,
	.audit = view_audit,
};

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

static void view_free(struct kms_linux_view *view)
{
	shot_put(view->newest);
	kms_write_audit_deinit(&view->audit);
	kms_linux_history_deinit(&view->history);
	kms_linux_close(view->kernel);
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
	view->is_paused = config->is_paused;
	view->command = strdup(config->command ? config->command : "");
	view->history.command = view->command;
	view->history.begin_ns = now_ns(CLOCK_MONOTONIC);
	view->history.wall_ns = now_ns(CLOCK_REALTIME);
	(void)pthread_mutex_init(&view->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&view->wake, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (view->command)
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
