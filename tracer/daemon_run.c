/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One run of the daemon, in a thread of its own from begin to end: see daemon.h. When it is over its
 * file takes the tracer's place in the fleet, without a moment in which neither is shown.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tracer/daemon_impl.h"
#include "tracer/process.h"
#include "tracer/run_stay.h"
#include "tracer/run_wire.h"

void daemon_run_say(void *arg, const char *line)
{
	struct daemon_run *run = arg;

	if (run->fd < 0 || kms_run_send(run->fd, KMS_WORD_SAY, 0, line) < 0)
		daemon_say(run->daemon, "%s (pid %ld): %s", run->name, (long)run->pid, line);
}

static void set_tracer(struct daemon_run *run, struct kms_tracer *tracer)
{
	(void)pthread_mutex_lock(&run->daemon->lock); /* plain mutexes, never locked twice */
	run->tracer = tracer;
	(void)pthread_mutex_unlock(&run->daemon->lock);
}

static uint64_t refresh_begin(void *arg)
{
	return kms_tracer_refresh_begin(arg);
}

static void refresh_end(void *arg, uint64_t number)
{
	kms_tracer_refresh_end(arg, number);
}

static void want(void *arg, unsigned variable, uint64_t value)
{
	kms_tracer_want(arg, variable, value);
}

static int show(struct daemon_run *run, struct kms_tracer *tracer, struct kms_err *err)
{
	const struct kms_fleet_source source = {
		.view = kms_tracer_view(tracer),
		.is_live = true,
		.refresh_begin = refresh_begin,
		.refresh_end = refresh_end,
		.want = want,
		.arg = tracer,
	};

	return kms_fleet_add(run->daemon->fleet, &source, &run->number, err);
}

/* Folder, trace, tracer, place in the fleet. */
static int start(struct daemon_run *run, struct kms_err *err)
{
	struct kms_daemon *daemon = run->daemon;
	struct kms_tracer_config config = {
		.run_dir = run->run_dir,
		.output = run->output,
		.command = run->command,
		.first_pid = run->guest ? 0 : run->pid,
		.guest = run->guest ? run->guest->entry.link : NULL,
		.first_only = run->first_only,
		.continues = run->continues[0] ? run->continues : NULL,
		.say = daemon_run_say,
		.say_arg = run,
	};
	struct kms_tracer *tracer;
	int result = 0;

	if (!run->is_adopted && !run->guest) {
		run->started_mono_ns = kms_mono_ns();
		run->started_wall_ns = kms_wall_ns();
	}
	if (!run->run_dir[0])
		result = kms_session_run_folder(&daemon->session, run->name, run->pid, run->run_dir,
						err);
	if (result)
		return result;
	if (run->dir_fd < 0)
		run->dir_fd = kms_session_run_folder_lock(run->run_dir);
	if (run->dir_fd < 0)
		return kms_err_sys(err, run->dir_fd, "lock a run's folder", run->run_dir);
	if (!run->output[0])
		daemon_name_trace(daemon, run);
	tracer = kms_tracer_start(&config, err);
	if (!tracer)
		return err->code ? err->code : -EIO;
	result = show(run, tracer, err);
	if (result) {
		(void)kms_tracer_stop(tracer, NULL);
		return result;
	}
	set_tracer(run, tracer);
	daemon_note_write(run);
	return 0;
}

static void tell_started(struct daemon_run *run)
{
	if (run->fd >= 0) {
		(void)kms_run_send(run->fd, KMS_WORD_FOLDER, 0, run->run_dir);
		(void)kms_run_send(run->fd, KMS_WORD_READY, 0, run->output);
	}
	if (run->continues[0])
		daemon_say(run->daemon, "%s (pid %ld) goes on in %s, which continues %s", run->name,
			   (long)run->pid, run->output, run->continues);
	else
		daemon_say(run->daemon, "%s (pid %ld) into %s", run->name, (long)run->pid,
			   run->output);
}

static void tell_failed(struct daemon_run *run, const struct kms_err *err)
{
	char text[KMS_ERR_TEXT_BYTES + KMS_ERR_SUBJECT_BYTES + 8];
	bool named = !err->subject[0] || strstr(err->text, err->subject);

	snprintf(text, sizeof(text), "%s%s%s", err->text, named ? "" : ": ",
		 named ? "" : err->subject);
	if (run->fd >= 0)
		(void)kms_run_send(run->fd, KMS_WORD_FAILED, err->code, text);
	else if (!daemon_attach_done(run, err))
		daemon_run_say(run, text);
}

/* The finished file is shown from now on; without it, nothing. */
static void show_file(struct daemon_run *run)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_fleet_source source = {.is_live = false};
	int result = kms_file_open(run->output, &run->file, &err);

	if (!result) {
		source.view = kms_file_view(run->file);
		result = kms_fleet_replace(run->daemon->fleet, run->number, &source, &err);
	}
	if (!result)
		return;
	daemon_say(run->daemon, "%s: %s", run->output, err.text);
	kms_fleet_remove(run->daemon->fleet, run->number);
	kms_file_close(run->file);
	run->file = NULL;
}

static void finish(struct daemon_run *run, bool cancelled)
{
	struct kms_tracer *tracer = run->tracer;
	struct kms_err err = KMS_ERR_INIT;

	run->result = kms_tracer_finish(tracer, &err);
	if (run->result)
		daemon_run_say(run, err.text);
	if (cancelled)
		kms_fleet_remove(run->daemon->fleet, run->number);
	else
		show_file(run);
	set_tracer(run, NULL);
	kms_tracer_destroy(tracer);
	if (cancelled)
		unlink(run->output); /* of a program that never began */
	if (run->fd >= 0 && atomic_load(&run->daemon->ending))
		daemon_run_say(run, "the daemon has ended: the program goes on untraced");
	if (run->fd >= 0)
		(void)kms_run_send(run->fd, KMS_WORD_DONE, run->result < 0, NULL);
}

/* From now on nobody joins. False: somebody has joined since. */
static bool close_run(struct daemon_run *run, uint32_t taken)
{
	(void)pthread_mutex_lock(&run->daemon->lock);
	run->is_closing = run->taken == taken || atomic_load(&run->daemon->ending);
	(void)pthread_mutex_unlock(&run->daemon->lock);
	return run->is_closing;
}

static bool has_front(struct daemon_run *run)
{
	int fd;

	(void)pthread_mutex_lock(&run->daemon->lock);
	fd = run->new_fd;
	run->new_fd = -1;
	(void)pthread_mutex_unlock(&run->daemon->lock);
	if (fd < 0)
		return false;
	run->fd = fd; /* it had none */
	return true;
}

/* A front has come back: it is this run's again. */
static void take_front(struct daemon_run *run)
{
	if (!has_front(run))
		return;
	run->stay.fd = run->fd;
	run->stay.front_gone = run->stay.in_background = false;
	(void)kms_run_send(run->fd, KMS_WORD_READY, 0, run->output);
}

static bool turn(void *arg)
{
	struct daemon_run *run = arg;

	take_front(run);
	if (run->guest)
		kms_guest_entry_turn(&run->guest->entry, run->tracer);
	return !run->ask || daemon_attach_turn(run);
}

/* The run has begun, and whoever asked for it was told. */
static void stay_to_end(struct daemon_run *run)
{
	struct kms_run_stay *stay = &run->stay;
	struct kms_err err = KMS_ERR_INIT;
	uint32_t taken;

	if (run->is_adopted && !run->guest && daemon_resync(run, &(struct kms_options){0}, &err))
		daemon_run_say(run, err.text);
	/* the first process of a run that was taken over may be gone, and its pid another's */
	if (stay->program_fd == -ESRCH && run->fd < 0) {
		stay->program_over = true;
		kms_tracer_exited(run->tracer, run->pid, -1);
	}
	do {
		taken = run->taken; /* what comes now may come too late for the tracer's last look */
		kms_run_stay(stay);
	} while (!stay->cancelled && !close_run(run, taken));
	take_front(run); /* that came meanwhile: it is told the end */
	daemon_attach_end(run);
	if (run->guest)
		daemon_guest_leave(run);
	finish(run, stay->cancelled);
}

/* The target's beginning. 0: nothing is to be asked of a program that came by itself. */
static int begin(struct daemon_run *run, struct kms_err *err)
{
	if (run->guest)
		return daemon_guest_begin(run, err);
	return run->ask ? daemon_attach_ask(run, err) : 0;
}

/* Errors: of the beginning; then nothing of the run is left, and nobody was told */
static int stay(struct daemon_run *run, struct kms_err *err)
{
	struct kms_run_stay *stay = &run->stay;
	int result;

	*stay = (struct kms_run_stay){
		.tracer = run->tracer,
		.program = run->pid,
		.fd = run->fd,
		.program_fd = run->pid ? kms_process_watch(run->pid, run->started_mono_ns) : -1,
		.stop = &run->daemon->ending,
		.turn = turn,
		.turn_arg = run,
		.say = daemon_run_say,
		.say_arg = run,
	};
	result = begin(run, err);
	if (result) {
		finish(run, true);
	} else {
		daemon_attach_done(run, NULL);
		tell_started(run);
		stay_to_end(run);
	}
	if (stay->program_fd >= 0)
		close(stay->program_fd);
	return result;
}

/* From begin to end. */
static int live(struct daemon_run *run, struct kms_err *err)
{
	int result = run->guest ? daemon_guest_find(run, err) : 0;

	if (!result && run->guest && run->guest->entry.linux_view) {
		daemon_guest_show_linux(run);
		return 0;
	}
	if (!result)
		result = start(run, err);
	return result ? result : stay(run, err);
}

static void live_and_tell(struct daemon_run *run)
{
	struct kms_err err = KMS_ERR_INIT;
	int result = live(run, &err);

	while (result && run->guest && kms_guest_entry_is_again(&run->guest->entry, result) &&
	       !atomic_load(&run->daemon->ending)) {
		kms_err_clear(&err);
		result = live(run, &err);
	}
	if (result && result != -ECANCELED)
		tell_failed(run, &err);
}

static void *run_thread(void *arg)
{
	struct daemon_run *run = arg;
	struct kms_daemon *daemon = run->daemon;
	const uint64_t one = 1;

	if (run->fd < 0 || daemon_front_hear(run))
		live_and_tell(run);
	daemon_attach_drop(run);
	if (run->guest)
		daemon_guest_close(run);
	(void)close_run(run, run->taken); /* also where it never began */
	if (has_front(run))
		(void)kms_run_send(run->fd, KMS_WORD_FAILED, -ESRCH, "the run is over");
	if (run->run_dir[0])
		kms_session_run_folder_end(run->run_dir);
	if (run->dir_fd >= 0)
		close(run->dir_fd);
	if (run->fd >= 0)
		close(run->fd);
	run->ended_ns = kms_mono_ns();
	atomic_store(&run->is_over, true);
	(void)!write(daemon->wake_fd, &one, sizeof(one)); /* full means it is awake anyway */
	return NULL;
}

struct daemon_run *daemon_run_new(void)
{
	struct daemon_run *run = calloc(1, sizeof(*run));

	if (run) {
		kms_list_init(&run->link);
		run->fd = run->dir_fd = run->new_fd = -1;
	}
	return run;
}

/* Of a run that is over: its file, or the last picture of a Linux. */
static bool is_shown(const struct daemon_run *run)
{
	return run->file || (run->guest && run->guest->entry.linux_view);
}

static void free_run(struct daemon_run *run)
{
	if (is_shown(run))
		kms_fleet_remove(run->daemon->fleet, run->number);
	if (run->file)
		kms_file_close(run->file);
	daemon_guest_free(run->guest);
	free(run);
}

/*
 * Under the lock: one run at a time asks a process, or the later request takes the earlier's place. A
 * guest's run says so itself as long as it lives.
 */
static bool is_same(const struct daemon_run *run, const struct daemon_run *other)
{
	if (run->guest && other->guest)
		return run->pid ? run->pid == other->pid
				: !strcmp(run->guest->target, other->guest->target);
	return !run->guest && !other->guest && run->ask && other->ask &&
	       other->ask->pid == run->ask->pid &&
	       (!other->ask->is_done || atomic_load(&other->is_waiting));
}

static int check_same(struct kms_daemon *daemon, const struct daemon_run *run, struct kms_err *err)
{
	for (struct kms_list *it = kms_list_first(&daemon->runs); it;
	     it = kms_list_next(&daemon->runs, it)) {
		const struct daemon_run *other = KMS_CONTAINER_OF(it, struct daemon_run, link);

		if (other->is_closing || !is_same(run, other))
			continue;
		if (run->guest)
			return kms_err_set(err, -EBUSY,
					   "%s is traced already, or waited for: session %s",
					   run->guest->target, KMS_SESSION_DAEMON);
		return kms_err_set(err, -EBUSY,
				   "process %ld (%s) has been asked already: it answers at its "
				   "next allocator call",
				   (long)run->pid, run->name);
	}
	return 0;
}

int daemon_run_begin(struct kms_daemon *daemon, struct daemon_run *run, struct kms_err *err)
{
	int result = 0;

	run->daemon = daemon;
	(void)pthread_mutex_lock(&daemon->lock);
	if (daemon->n_runs >= DAEMON_RUNS_MAX) {
		result = kms_err_set(err, -ENOSPC, "the daemon has %d runs already",
				     DAEMON_RUNS_MAX);
	} else {
		result = check_same(daemon, run, err);
	}
	if (!result) {
		result = -pthread_create(&run->thread, NULL, run_thread, run);
		if (result)
			(void)kms_err_sys(err, result, "start a thread", NULL);
	}
	if (!result) {
		kms_list_push_back(&daemon->runs, &run->link);
		daemon->n_runs++;
	}
	(void)pthread_mutex_unlock(&daemon->lock);
	if (!result)
		return 0;
	if (run->fd >= 0) {
		tell_failed(run, err);
		close(run->fd);
	}
	daemon_attach_drop(run);
	daemon_guest_free(run->guest);
	free(run);
	return result;
}

/* Under the lock: the oldest that nobody needs any more. */
static struct daemon_run *find_unneeded(struct kms_daemon *daemon, uint64_t now_ns)
{
	struct daemon_run *oldest = NULL;
	size_t shown = 0;

	for (struct kms_list *it = kms_list_first(&daemon->runs); it;
	     it = kms_list_next(&daemon->runs, it)) {
		struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		if (!run->is_joined)
			continue;
		if (!is_shown(run))
			return run;
		shown++;
		if (!oldest || run->ended_ns < oldest->ended_ns)
			oldest = run;
	}
	if (oldest &&
	    (shown > KMS_DAEMON_ENDED_RUNS || now_ns - oldest->ended_ns > KMS_DAEMON_ENDED_NS))
		return oldest;
	return NULL;
}

static void join_ended(struct kms_daemon *daemon)
{
	for (struct kms_list *it = kms_list_first(&daemon->runs); it;
	     it = kms_list_next(&daemon->runs, it)) {
		struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		if (run->is_joined || !atomic_load(&run->is_over))
			continue;
		(void)pthread_join(run->thread, NULL); /* it has nothing left to do */
		run->is_joined = true;
	}
}

void daemon_runs_tidy(struct kms_daemon *daemon)
{
	struct daemon_run *run;

	do {
		(void)pthread_mutex_lock(&daemon->lock);
		join_ended(daemon);
		run = find_unneeded(daemon, kms_mono_ns());
		if (run) {
			kms_list_remove(&run->link);
			daemon->n_runs--;
		}
		(void)pthread_mutex_unlock(&daemon->lock);
		if (run)
			free_run(run);
	} while (run);
}

int daemon_runs_end(struct kms_daemon *daemon, struct kms_err *err)
{
	struct kms_list *next;
	int result = 0;

	atomic_store(&daemon->ending, true);
	/* nobody adds any more, and their threads take the lock: so without it */
	for (struct kms_list *it = kms_list_first(&daemon->runs); it; it = next) {
		struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		next = kms_list_next(&daemon->runs, it);
		if (!run->is_joined)
			(void)pthread_join(run->thread, NULL); /* joined once */
		if (run->result && !result)
			result = kms_err_set(err, run->result, "%s is not complete", run->output);
		kms_list_remove(&run->link);
		free_run(run);
	}
	return result;
}

int daemon_run_take(struct kms_daemon *daemon, pid_t pid, const char *name)
{
	bool found = false;
	int result = -ESRCH;

	(void)pthread_mutex_lock(&daemon->lock);
	for (struct kms_list *it = kms_list_first(&daemon->runs); it && !found;
	     it = kms_list_next(&daemon->runs, it)) {
		struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		if (run->is_closing || !run->run_dir[0] || run->guest)
			continue;
		found = run->tracer ? kms_tracer_has(run->tracer, pid) : run->pid == pid;
		if (!found)
			continue;
		result = daemon_join_move(daemon, name, run->run_dir);
		run->taken += result == 0;
		if (result == -ENOENT)
			result = 0; /* gone with its process: nothing is left to be read */
	}
	(void)pthread_mutex_unlock(&daemon->lock);
	return result;
}

int daemon_run_rejoin(struct kms_daemon *daemon, const char *run_dir, pid_t pid, int fd)
{
	int result = -ESRCH;

	(void)pthread_mutex_lock(&daemon->lock);
	for (struct kms_list *it = kms_list_first(&daemon->runs); it && result;
	     it = kms_list_next(&daemon->runs, it)) {
		struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		if (!run->is_adopted || run->is_closing || run->pid != pid || run->fd >= 0 ||
		    run->new_fd >= 0 || strcmp(run->run_dir, run_dir) != 0)
			continue;
		run->new_fd = fd;
		result = 0;
	}
	(void)pthread_mutex_unlock(&daemon->lock);
	return result;
}

void daemon_runs_wake(struct kms_daemon *daemon)
{
	(void)pthread_mutex_lock(&daemon->lock);
	for (struct kms_list *it = kms_list_first(&daemon->runs); it;
	     it = kms_list_next(&daemon->runs, it)) {
		const struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		if (run->tracer)
			kms_tracer_wake(run->tracer);
	}
	(void)pthread_mutex_unlock(&daemon->lock);
}

void daemon_runs_count(struct kms_daemon *daemon, size_t *live, size_t *starting)
{
	*live = *starting = 0;
	(void)pthread_mutex_lock(&daemon->lock);
	for (struct kms_list *it = kms_list_first(&daemon->runs); it;
	     it = kms_list_next(&daemon->runs, it)) {
		const struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		*live += !run->is_closing;
		*starting += !run->is_closing && !run->tracer;
	}
	(void)pthread_mutex_unlock(&daemon->lock);
}
