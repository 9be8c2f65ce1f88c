/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a foreign kernel again and again for clients: see kernel_view.h.
 *
 * One lock: the thread holds it while it reads, a client while it takes the newest picture or asks for
 * what is in none.
 */
#include "tracer/guest/kernel_view.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tracer/guest/write_audit.h"

enum {
	PACE_MS = 100,
	LONG_NS = 1000000000,
	NS_PER_S = 1000000000,
	NS_PER_MS = 1000000,
};

struct kms_kernel_view {
	struct kms_kernel_view_config config;
	char *command;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, is_lost;
	bool is_found;    /* else the guest boots another kernel */
	uint64_t long_ns; /* when all was last looked at */
	struct kms_kernel_history history;
	struct kms_kernel_shot *newest;
	struct kms_write_audit audit;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now); /* cannot fail for these */
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void say(const struct kms_kernel_view *view, const char *line)
{
	if (view->config.say)
		view->config.say(view->config.say_arg, line);
}

/* Pictures ------------------------------------------------------------------------------------- */

static struct kms_kernel_boot *boot_of(struct kms_kernel_boot *boot, uint32_t id)
{
	return &boot[(id - 1) % KMS_KERNEL_BOOTS];
}

static void shot_free(struct kms_kernel_shot *shot)
{
	free(shot->command);
	free(shot->snapshot.cache);
	free(shot->more);
	free(shot);
}

static void shot_put(struct kms_kernel_shot *shot)
{
	if (shot && !--shot->users)
		shot_free(shot);
}

static void fill_targets(struct kms_kernel_shot *shot, const struct kms_kernel_history *history)
{
	uint32_t n = history->n_targets < KMS_KERNEL_BOOTS ? history->n_targets : KMS_KERNEL_BOOTS;

	memcpy(shot->boot, history->boot, sizeof(shot->boot));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = history->n_targets - n + 1 + i;
		const struct kms_kernel_boot *boot = boot_of(shot->boot, id);

		shot->target[i] = (struct kms_view_target){
			.id = id,
			.pid = boot->pid,
			.state = boot->state,
			.kind = KMS_TARGET_GUEST,
			.exit_status = -1,
			.name = boot->name,
			.command = shot->command,
			.start_wall_ns = boot->start_wall_ns,
			.end_wall_ns = boot->end_wall_ns,
		};
	}
	shot->snapshot.target = shot->target;
	shot->snapshot.n_targets = n;
}

/* A picture of what was just read. Locks: the view's */
static int publish(struct kms_kernel_view *view, struct kms_err *err)
{
	struct kms_kernel_history *history = &view->history;
	struct kms_kernel_shot *shot = calloc(1, sizeof(*shot));

	history->time_ns = now_ns(CLOCK_MONOTONIC) - history->begin_ns;
	history->seq++;
	if (shot) {
		shot->users = 1;
		shot->command = strdup(view->command);
		shot->snapshot.seq = history->seq;
		shot->snapshot.time_ns = history->time_ns;
		shot->snapshot.wall_ns = history->wall_ns;
		fill_targets(shot, history);
	}
	if (!shot || !shot->command ||
	    (view->is_found && !view->config.ops->show(view->config.source, shot, history))) {
		shot_put(shot);
		return kms_err_set(err, -ENOMEM, "no memory for a picture of the guest");
	}
	shot_put(view->newest);
	view->newest = shot;
	return 0;
}

/* Boots ---------------------------------------------------------------------------------------- */

static void begin_boot(struct kms_kernel_view *view, const char *name)
{
	struct kms_kernel_boot *boot = boot_of(view->history.boot, ++view->history.n_targets);

	*boot = (struct kms_kernel_boot){
		.pid = (uint32_t)view->config.pid,
		.state = KMS_STATE_RUNNING,
		.start_wall_ns = now_ns(CLOCK_REALTIME),
	};
	(void)snprintf(boot->name, sizeof(boot->name), "%s", name); /* fits */
	view->is_found = true;
}

/* The kernel was replaced, or its memory is gone. Locks: the view's */
static void end_boot(struct kms_kernel_view *view, const struct kms_err *err)
{
	struct kms_kernel_boot *boot = boot_of(view->history.boot, view->history.n_targets);

	view->is_lost = err->code != -ESTALE;
	boot->state = view->is_lost ? KMS_STATE_LOST : KMS_STATE_EXITED;
	boot->end_wall_ns = now_ns(CLOCK_REALTIME);
	view->config.ops->lose(view->config.source);
	view->is_found = false;
	(void)publish(view, NULL); /* without memory the picture of before stays */
	say(view, err->text);
}

/* Looks whether a kernel is there (again). Locks: the view's */
static void find_kernel(struct kms_kernel_view *view)
{
	char name[KMS_KERNEL_NAME_BYTES], line[KMS_KERNEL_NAME_BYTES + 32];
	struct kms_err err = KMS_ERR_INIT;
	int rc = view->config.ops->find(view->config.source, name, &err);

	view->is_lost = rc == -EFAULT || rc == -EIO;
	if (rc)
		return;
	begin_boot(view, name);
	(void)snprintf(line, sizeof(line), "the guest has booted %s", name);
	say(view, line);
}

/* The thread ----------------------------------------------------------------------------------- */

/* Locks: the view's */
static void turn(struct kms_kernel_view *view)
{
	const struct kms_kernel_source_ops *ops = view->config.ops;
	struct kms_err err = KMS_ERR_INIT;
	uint64_t now = now_ns(CLOCK_MONOTONIC);
	bool is_long = now - view->long_ns >= LONG_NS;
	int rc = 0;

	if (view->is_lost)
		return;
	if (is_long)
		view->long_ns = now;
	if (!view->is_found)
		find_kernel(view);
	if (!view->is_found)
		return;
	if (is_long)
		rc = ops->check(view->config.source, &err);
	if (!rc)
		rc = ops->read(view->config.source, is_long, &err);
	if (!rc)
		rc = publish(view, &err);
	/* what made no sense may be a kernel that is going: the next check says so */
	if (rc == -EFAULT || rc == -EIO || rc == -ESTALE)
		end_boot(view, &err);
}

static void *run(void *arg)
{
	struct kms_kernel_view *view = arg;
	unsigned pace_ms = view->config.pace_ms ? view->config.pace_ms : PACE_MS;
	struct timespec until;

	(void)pthread_mutex_lock(&view->lock);
	while (!view->stopping) {
		/* from the end of a turn: a reader that is late does not hurry after what it missed */
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (long)(pace_ms % 1000) * NS_PER_MS;
		until.tv_sec += pace_ms / 1000 + until.tv_nsec / NS_PER_S;
		until.tv_nsec %= NS_PER_S;
		while (!view->stopping &&
		       pthread_cond_timedwait(&view->wake, &view->lock, &until) != ETIMEDOUT) {
		}
		if (!view->stopping)
			turn(view);
	}
	(void)pthread_mutex_unlock(&view->lock);
	return NULL;
}

/* The view ------------------------------------------------------------------------------------- */

static const struct kms_snapshot *view_acquire(void *ctx)
{
	struct kms_kernel_view *view = ctx;
	struct kms_kernel_shot *shot;

	(void)pthread_mutex_lock(&view->lock);
	shot = view->newest;
	shot->users++;
	(void)pthread_mutex_unlock(&view->lock);
	return &shot->snapshot;
}

static void view_release(void *ctx, const struct kms_snapshot *snapshot)
{
	struct kms_kernel_view *view = ctx;

	(void)pthread_mutex_lock(&view->lock);
	shot_put((struct kms_kernel_shot *)(void *)snapshot); /* its first member */
	(void)pthread_mutex_unlock(&view->lock);
}

/* Begins a question to the source: 0 with the lock held, or an error without. */
static int begin_question(struct kms_kernel_view *view, uint32_t target, struct kms_err *err)
{
	(void)pthread_mutex_lock(&view->lock);
	if (view->is_found && (!target || target == view->history.n_targets))
		return 0;
	(void)pthread_mutex_unlock(&view->lock);
	return kms_err_set(err, -ESRCH, "target %u is not running", target);
}

static int end_question(struct kms_kernel_view *view, int rc)
{
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

/* NOLINTNEXTLINE(readability-function-size): kms_view_ops */
static int view_memory(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
		       size_t *n_read, struct kms_err *err)
{
	struct kms_kernel_view *view = ctx;
	int rc = begin_question(view, target, err);

	return rc ? rc
		  : end_question(view, view->config.ops->memory(view->config.source, address, to, n,
								n_read, err));
}

static int view_slabs(void *ctx, uint32_t target, const char *cache,
		      int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
		      struct kms_err *err)
{
	struct kms_kernel_view *view = ctx;
	int rc = begin_question(view, target, err);

	return rc ? rc
		  : end_question(view, view->config.ops->slabs(view->config.source, cache, emit,
							       arg, err));
}

/* NOLINTNEXTLINE(readability-function-size): kms_view_ops */
static int view_variable_get(void *ctx, uint32_t target, unsigned variable, uint64_t *requested,
			     uint64_t *effective, bool *pending, struct kms_err *err)
{
	struct kms_kernel_view *view = ctx;
	int rc = begin_question(view, target, err);

	*pending = false;
	if (!rc)
		rc = end_question(view, view->config.ops->variable_get(view->config.source,
								       variable, effective, err));
	*requested = rc ? 0 : *effective;
	return rc;
}

static int view_variable_set(void *ctx, const char *who, uint32_t target, unsigned variable,
			     uint64_t value, struct kms_err *err)
{
	struct kms_kernel_view *view = ctx;
	int rc = begin_question(view, target, err);

	(void)who;
	return rc ? rc
		  : end_question(view, view->config.ops->variable_set(view->config.source, variable,
								      value, err));
}

static int view_memory_write(void *ctx, const char *who, const struct kms_memory_write *write,
			     struct kms_err *err)
{
	struct kms_kernel_view *view = ctx;
	struct kms_err why = KMS_ERR_INIT;

	if (begin_question(view, write->target, err))
		return -ESRCH;
	if (view->config.allow_write)
		(void)view->config.ops->memory_write(view->config.source, write, &why);
	else
		(void)kms_err_set(&why, -EPERM,
				  "memory of the guest is written only after `attach "
				  "--allow-write`");
	kms_write_audit_add(&view->audit, who, write, why.code ? why.text : "ok");
	if (why.code && err)
		*err = why;
	return end_question(view, why.code);
}

static int view_symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
		       struct kms_err *err)
{
	struct kms_kernel_view *view = ctx;
	int rc = begin_question(view, target, err);

	*out = (struct kms_view_symbol){.address = 0};
	return rc ? rc
		  : end_question(view,
				 view->config.ops->symbol(view->config.source, name, out, err));
}

static int view_symbol_at(void *ctx, uint32_t target, uint64_t address, struct kms_view_symbol *out,
			  struct kms_err *err)
{
	struct kms_kernel_view *view = ctx;
	int rc = begin_question(view, target, err);

	*out = (struct kms_view_symbol){.address = 0};
	return rc ? rc
		  : end_question(view, view->config.ops->symbol_at(view->config.source, address,
								   out, err));
}

static int view_audit(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row),
		      void *arg, struct kms_err *err)
{
	struct kms_kernel_view *view = ctx;

	(void)err;
	(void)pthread_mutex_lock(&view->lock);
	return end_question(view, kms_write_audit_each(&view->audit, emit, arg));
}

static const struct kms_view_ops ops = {
	.acquire = view_acquire,
	.release = view_release,
	.memory = view_memory,
	.slabs = view_slabs,
	.variable_get = view_variable_get,
	.variable_set = view_variable_set,
	.memory_write = view_memory_write,
	.symbol = view_symbol,
	.symbol_at = view_symbol_at,
	.audit = view_audit,
};

struct kms_view kms_kernel_view_ops(struct kms_kernel_view *view)
{
	return (struct kms_view){.ops = &ops, .ctx = view};
}

bool kms_kernel_view_is_lost(struct kms_kernel_view *view)
{
	bool is_lost;

	(void)pthread_mutex_lock(&view->lock);
	is_lost = view->is_lost;
	(void)pthread_mutex_unlock(&view->lock);
	return is_lost;
}

static void view_free(struct kms_kernel_view *view)
{
	shot_put(view->newest);
	if (view->is_found)
		view->config.ops->lose(view->config.source);
	kms_write_audit_deinit(&view->audit);
	(void)pthread_cond_destroy(&view->wake);
	(void)pthread_mutex_destroy(&view->lock);
	free(view->command);
	free(view);
}

static struct kms_kernel_view *view_create(const struct kms_kernel_view_config *config)
{
	struct kms_kernel_view *view = calloc(1, sizeof(*view));
	pthread_condattr_t monotonic;

	if (!view)
		return NULL;
	view->config = *config;
	view->command = strdup(config->command ? config->command : "");
	view->history.command = view->command;
	view->history.begin_ns = view->long_ns = now_ns(CLOCK_MONOTONIC);
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

static int first_look(struct kms_kernel_view *view, struct kms_err *err)
{
	char name[KMS_KERNEL_NAME_BYTES];
	int rc = view->config.ops->find(view->config.source, name, err);

	if (rc)
		return rc;
	begin_boot(view, name);
	rc = view->config.ops->read(view->config.source, true, err);
	return rc ? rc : publish(view, err);
}

int kms_kernel_view_start(const struct kms_kernel_view_config *config, struct kms_kernel_view **out,
			  struct kms_err *err)
{
	struct kms_kernel_view *view = view_create(config);
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

void kms_kernel_view_stop(struct kms_kernel_view *view)
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
