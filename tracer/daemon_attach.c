/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes and guests that run already, taken into the daemon by a client's request: see attach.h and
 * daemon_guest.c. Each is a run of its own. The client waits until the process was asked; its answer,
 * at its next allocator call, is looked for by the run's thread. Of a guest it waits until it is traced,
 * or until there is no kernel in it yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fmt.h"
#include "base/io.h"
#include "schema/attach.h"
#include "tracer/attach.h"
#include "tracer/daemon_impl.h"
#include "tracer/process.h"

enum {
	ANSWER_MS = 500, /* of the process, before the client is told that it will come */
	CLIENT_S = 10,
	RESYNC_MS = 3000, /* a former owner of its memory counts as dead after a second */
	STEP_NS = 50000000,
};

/* Suits a process that was not started by us: it is not to wait for us, and not to stop at damage. */
static const char start_values[] = "on_full=0,panic=0";

void daemon_attach_read_command(struct daemon_run *run)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/cmdline", (long)run->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : kms_read_full(fd, run->command, sizeof(run->command) - 1);
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i + 1 < n; i++) {
		if (!run->command[i])
			run->command[i] = ' ';
	}
}

/* "pid:4711", or the number alone. */
static int parse(const char *what, pid_t *pid, struct kms_err *err)
{
	const char *digits = strncmp(what, "pid:", 4) == 0 ? what + 4 : what;
	uint64_t number;

	if (digits[0] < '0' || digits[0] > '9' || kms_parse_u64(digits, &number) < 0 ||
	    number < 1 || number > INT32_MAX)
		return kms_err_set(err, -EINVAL,
				   "'%.64s' is no target; name one as pid:4711 or qemu:pid:4711",
				   what);
	*pid = (pid_t)number;
	return 0;
}

static void drop(struct daemon_ask *ask)
{
	if (--ask->refs == 0)
		free(ask);
}

/* Waits until the run's thread has asked the process; under daemon->lock. */
static int wait_asked(struct kms_daemon *daemon, struct daemon_ask *ask, struct kms_err *err)
{
	uint64_t end_ns = kms_mono_ns() + CLIENT_S * UINT64_C(1000000000);
	const struct timespec end = {.tv_sec = (time_t)(end_ns / 1000000000u),
				     .tv_nsec = (long)(end_ns % 1000000000u)};

	while (!ask->is_done) {
		if (pthread_cond_timedwait(&daemon->asked, &daemon->lock, &end) == ETIMEDOUT)
			return kms_err_set(err, -ETIMEDOUT, "the daemon is busy; ask again");
	}
	if (ask->err.code && err)
		*err = ask->err;
	return ask->err.code;
}

/* A run for a process that can be attached to. */
static int new_process(const char *what, struct daemon_run **out, struct kms_err *err)
{
	struct kms_attach_info info;
	struct daemon_run *run;
	pid_t pid = 0;
	int result = parse(what, &pid, err);

	if (!result)
		result = kms_attach_look(pid, &info, err);
	if (!result && info.session[0])
		result = kms_err_set(err, -EBUSY, "process %ld (%s) is traced already: session %s",
				     (long)pid, info.program, info.session);
	if (result)
		return result;
	run = daemon_run_new();
	if (!run)
		return kms_err_set(err, -ENOMEM, "no memory for a run");
	run->pid = pid;
	snprintf(run->name, sizeof(run->name), "%s", info.program);
	*out = run;
	return 0;
}

static struct daemon_ask *new_ask(const char *who, const struct daemon_run *run, bool stopped)
{
	struct daemon_ask *ask = calloc(1, sizeof(*ask));

	if (!ask)
		return NULL;
	ask->refs = 2; /* the client's and the run's */
	ask->pid = run->pid;
	ask->stop = stopped;
	snprintf(ask->who, sizeof(ask->who), "%s", who);
	return ask;
}

int daemon_attach(void *arg, const char *who, const char *what, bool stopped, uint32_t *number,
		  struct kms_err *err)
{
	struct kms_daemon *daemon = arg;
	struct daemon_run *run = NULL;
	struct daemon_ask *ask;
	int result = kms_guest_target_is(what) ? daemon_guest_new(what, &run, err)
					       : new_process(what, &run, err);

	if (!run)
		return result;
	ask = new_ask(who, run, stopped);
	if (!ask) {
		daemon_guest_free(run->guest);
		free(run);
		return kms_err_set(err, -ENOMEM, "no memory for a run");
	}
	run->ask = ask;
	daemon_attach_read_command(run);
	result = daemon_run_begin(daemon, run, err); /* which drops the ask if it fails */
	(void)pthread_mutex_lock(&daemon->lock);
	if (!result)
		result = wait_asked(daemon, ask, err);
	*number = ask->number;
	drop(ask);
	(void)pthread_mutex_unlock(&daemon->lock);
	return result;
}

bool daemon_attach_done(struct daemon_run *run, const struct kms_err *err)
{
	struct daemon_ask *ask = run->ask;
	bool is_first;

	if (!ask)
		return false;
	(void)pthread_mutex_lock(&run->daemon->lock);
	is_first = !ask->is_done;
	if (is_first) {
		ask->is_done = true;
		ask->number = run->number;
		if (err)
			ask->err = *err;
		(void)pthread_cond_broadcast(&run->daemon->asked);
	}
	(void)pthread_mutex_unlock(&run->daemon->lock);
	return is_first;
}

void daemon_attach_drop(struct daemon_run *run)
{
	if (!run->ask)
		return;
	(void)pthread_mutex_lock(&run->daemon->lock);
	drop(run->ask);
	run->ask = NULL;
	(void)pthread_mutex_unlock(&run->daemon->lock);
}

static void pause_step(void)
{
	const struct timespec step = {.tv_nsec = STEP_NS};

	nanosleep(&step, NULL);
}

int daemon_resync(struct daemon_run *run, const struct kms_options *options, struct kms_err *err)
{
	uint64_t end_ns = kms_mono_ns() + RESYNC_MS * UINT64_C(1000000);
	int result;

	/* nobody is there until the former owner counts as dead */
	do {
		kms_err_clear(err);
		result = kms_tracer_resync(run->tracer, options, err);
		if (result == -ESRCH)
			pause_step();
	} while (result == -ESRCH && kms_mono_ns() < end_ns && !atomic_load(&run->daemon->ending));
	return result;
}

int daemon_attach_stop(struct daemon_run *run, struct kms_err *err)
{
	const struct kms_view view = kms_tracer_view(run->tracer);
	uint64_t end_ns = kms_mono_ns() + RESYNC_MS * UINT64_C(1000000);
	int result;

	if (!view.ops->stop)
		return kms_err_set(err, -ENOTSUP, "programs cannot be stopped here");
	do {
		kms_err_clear(err);
		result = view.ops->stop(view.ctx, run->ask->who, 0, err);
		if (result == -ESRCH)
			pause_step();
	} while (result == -ESRCH && kms_mono_ns() < end_ns && !atomic_load(&run->daemon->ending));
	return result == -EALREADY ? 0 : result;
}

int daemon_attach_ask(struct daemon_run *run, struct kms_err *err)
{
	struct kms_options options = {0};
	enum kms_attach_how how;
	int result = kms_options_parse(&options, start_values, err);

	run->request = (struct kms_attach_request){.pid = run->pid,
						   .run_dir = run->run_dir,
						   .options = start_values,
						   .timeout_ms = ANSWER_MS};
	if (!result)
		result = kms_attach_process(&run->request, &how, err);
	if (result)
		return result;
	run->is_waiting = how == KMS_ATTACH_HOW_ASKED;
	if (how == KMS_ATTACH_HOW_TAKEN)
		result = daemon_resync(run, &options, err);
	if (!result)
		kms_tracer_attached(run->tracer, run->ask->who, run->pid, &options);
	if (!result && run->ask->stop && !run->is_waiting)
		result = daemon_attach_stop(run, err);
	return result;
}

bool daemon_attach_turn(void *arg)
{
	struct daemon_run *run = arg;
	struct kms_err err = KMS_ERR_INIT;
	int result;

	if (!run->is_waiting)
		return true;
	result = kms_attach_wait(&run->request, 0, &err);
	if (result == -EAGAIN || result == -ESRCH)
		return true; /* not yet; or its end is noticed by others */
	run->is_waiting = false;
	if (!result && run->ask->stop)
		result = daemon_attach_stop(run, &err);
	if (result)
		daemon_say(run->daemon, "%s (pid %ld): %s", run->name, (long)run->pid, err.text);
	return result == 0;
}

void daemon_attach_end(struct daemon_run *run)
{
	if (run->is_waiting)
		kms_attach_withdraw(&run->request);
	run->is_waiting = false;
}
