/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes that were started with KMEMSCOPE_SOCKET: each puts its region into the join folder, and we
 * move it to where it belongs. A region is mapped memory, so its process does not notice.
 *
 * It belongs to the run that has its process (which has executed another program), its parent, or one
 * of its other ancestors; else to a new run. A process whose parent is a child that was forked a moment
 * ago may be asked for before the parent was seen: so a stranger waits until all tracers have looked.
 * One whose ancestors that were traced have all ended has a run of its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/daemon_impl.h"
#include "tracer/images.h"
#include "tracer/process.h"
#include "tracer/region.h"
#include "tracer/tables.h"

enum {
	SOON_MS = 2,
	LATER_MS = 20,
	ANCESTORS_MAX = 64,
	JOINS_MAX = 4096,
};

static const uint64_t stranger_ns = 40000000; /* two polls of a tracer that has nothing to do */
static const uint64_t unfinished_ns = 2000000000;

static void note(struct kms_daemon *daemon, const char *name)
{
	struct daemon_join *join;
	size_t n = 0;

	if (strncmp(name, KMS_REGION_PREFIX, strlen(KMS_REGION_PREFIX)) != 0 ||
	    strlen(name) >= KMS_IMAGE_NAME_BYTES)
		return;
	for (struct kms_list *it = kms_list_first(&daemon->joins); it;
	     it = kms_list_next(&daemon->joins, it), n++) {
		if (strcmp(KMS_CONTAINER_OF(it, struct daemon_join, link)->name, name) == 0)
			return;
	}
	join = n < JOINS_MAX ? calloc(1, sizeof(*join)) : NULL;
	if (!join)
		return; /* it stays where it is: its program goes on untraced */
	kms_list_init(&join->link);
	snprintf(join->name, sizeof(join->name), "%s", name);
	join->since_ns = kms_mono_ns();
	kms_list_push_back(&daemon->joins, &join->link);
}

/* What is there already, or was missed. */
static void look(struct kms_daemon *daemon)
{
	KMS_AUTO_CLOSEDIR DIR *dir = opendir(daemon->session.run_dir);
	const struct dirent *entry;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (dir && (entry = readdir(dir)) != NULL)
		note(daemon, entry->d_name);
}

int daemon_join_begin(struct kms_daemon *daemon, struct kms_err *err)
{
	daemon->notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (daemon->notify_fd < 0 || inotify_add_watch(daemon->notify_fd, daemon->session.run_dir,
						       IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0)
		return kms_err_sys(err, -errno, "watch", daemon->session.run_dir);
	look(daemon);
	return 0;
}

static void forget(struct daemon_join *join)
{
	kms_list_remove(&join->link);
	free(join);
}

void daemon_join_end(struct kms_daemon *daemon)
{
	struct kms_list *next;

	for (struct kms_list *it = kms_list_first(&daemon->joins); it; it = next) {
		next = kms_list_next(&daemon->joins, it);
		forget(KMS_CONTAINER_OF(it, struct daemon_join, link));
	}
	if (daemon->notify_fd >= 0)
		close(daemon->notify_fd);
}

/* A process that was moved to its run's folder still tells the tracer by a file in this one. */
void daemon_join_read(struct kms_daemon *daemon)
{
	char buffer[4096] __attribute__((aligned(8)));
	ssize_t n;

	while ((n = read(daemon->notify_fd, buffer, sizeof(buffer))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *event = (const void *)(buffer + at);

			if (event->mask & IN_Q_OVERFLOW)
				look(daemon);
			else if (event->len && !(event->mask & IN_ISDIR))
				note(daemon, event->name);
			at += (ssize_t)(sizeof(*event) + event->len);
		}
	}
	daemon_runs_wake(daemon);
}

/* Who made a region. */
struct maker {
	pid_t pid, parent;
	char program[PATH_MAX];
	char command[DAEMON_COMMAND_BYTES];
};

/* Errors: -EAGAIN: not finished; what kms_region_open() says */
static int read_maker(struct kms_daemon *daemon, const char *name, struct maker *maker,
		      struct kms_err *err)
{
	struct kms_region region;
	int result = kms_region_open(daemon->session.run_fd, name, &region, err);

	if (result)
		return result;
	maker->pid = (pid_t)region.head.pid;
	maker->parent = (pid_t)region.head.parent_image_pid;
	/* without them it has no name */
	(void)kms_tables_text(&region, region.head.program_string, maker->program,
			      sizeof(maker->program));
	(void)kms_tables_text(&region, region.head.command_string, maker->command,
			      sizeof(maker->command));
	kms_region_close(&region);
	if (!maker->program[0])
		snprintf(maker->program, sizeof(maker->program), "process");
	return 0;
}

/* Gives a region to the run of its process, or of the nearest ancestor that has one: as daemon_run_take(). */
static int give_to_run(struct kms_daemon *daemon, const char *name, const struct maker *maker)
{
	pid_t pid = maker->pid;
	int result = daemon_run_take(daemon, pid, name);

	if (result == -ESRCH && maker->parent > 1)
		result = daemon_run_take(daemon, maker->parent, name);
	for (int i = 0; result == -ESRCH && i < ANCESTORS_MAX && pid > 1; i++) {
		pid = kms_process_parent(pid);
		if (pid > 1)
			result = daemon_run_take(daemon, pid, name);
	}
	return result;
}

int daemon_join_move(struct kms_daemon *daemon, const char *name, const char *run_dir)
{
	char path[PATH_MAX + KMS_IMAGE_NAME_BYTES + 2];

	snprintf(path, sizeof(path), "%s/%s", run_dir, name);
	return renameat(daemon->session.run_fd, name, AT_FDCWD, path) < 0 ? -errno : 0;
}

static void move_back(const struct kms_daemon *daemon, const char *name, const char *run_dir)
{
	char path[PATH_MAX + KMS_IMAGE_NAME_BYTES + 2];

	snprintf(path, sizeof(path), "%s/%s", run_dir, name);
	/* if this fails the next daemon finds it in the run's folder */
	(void)renameat(AT_FDCWD, path, daemon->session.run_fd, name);
}

/* Begins a run for a region of nobody's. On failure the region lies where it was. */
static int found_run(struct kms_daemon *daemon, const char *name, const struct maker *maker,
		     struct kms_err *err)
{
	struct daemon_run *run = daemon_run_new();
	const char *slash = strrchr(maker->program, '/');
	char run_dir[PATH_MAX];
	int result;

	if (!run)
		return kms_err_set(err, -ENOMEM, "no memory for a run");
	run->pid = maker->pid;
	snprintf(run->name, sizeof(run->name), "%.255s", slash ? slash + 1 : maker->program);
	snprintf(run->command, sizeof(run->command), "%s", maker->command);
	result = kms_session_run_folder(&daemon->session, run->name, run->pid, run_dir, err);
	if (result) {
		free(run);
		return result;
	}
	memcpy(run->run_dir, run_dir, sizeof(run->run_dir));
	result = daemon_join_move(daemon, name, run_dir);
	if (result) {
		(void)kms_err_sys(err, result, "move a region", name);
		free(run);
	} else {
		result = daemon_run_begin(daemon, run, err); /* which frees it if it fails */
		if (result)
			move_back(daemon, name, run_dir);
	}
	if (result)
		kms_session_run_folder_end(run_dir);
	return result;
}

/* Whether somebody may yet make a region of it. */
static bool has_maker(struct kms_daemon *daemon, const struct daemon_join *join)
{
	KMS_AUTO_CLOSE int fd = -1;

	if (kms_mono_ns() - join->since_ns < unfinished_ns)
		return true;
	fd = openat(daemon->session.run_fd, join->name,
		    O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd >= 0 && kms_region_file_is_held(fd) != 0;
}

/* What is no region, or never becomes one. */
static void refuse(struct kms_daemon *daemon, const struct daemon_join *join,
		   const struct kms_err *err)
{
	if (err->code != -ENOENT)
		daemon_say(daemon, "region %s is not read: %s", join->name, err->text);
	(void)unlinkat(daemon->session.run_fd, join->name, 0); /* else it stays, unread */
}

/* Whether a tracer may yet find that it knows the process of this region. */
static bool is_to_wait(struct kms_daemon *daemon, struct daemon_join *join)
{
	uint64_t now_ns = kms_mono_ns();
	size_t live, starting;

	daemon_runs_count(daemon, &live, &starting);
	if (!live)
		return false;
	/* one that is starting has not looked at all */
	if (!join->unknown_ns || (starting && now_ns - join->since_ns < unfinished_ns))
		join->unknown_ns = now_ns;
	daemon_runs_wake(daemon);
	return now_ns - join->unknown_ns < stranger_ns;
}

/* Gives a region to the run whose it is, or begins one. True: it needs no further look. */
static bool settle(struct kms_daemon *daemon, struct daemon_join *join, const struct maker *maker)
{
	struct kms_err err = KMS_ERR_INIT;
	int result = give_to_run(daemon, join->name, maker);

	if (result == -ESRCH) {
		if (is_to_wait(daemon, join))
			return false;
		result = found_run(daemon, join->name, maker, &err);
	} else if (result) {
		(void)kms_err_sys(&err, result, "move a region", join->name);
	}
	if (!result || result == -ENOENT)
		return true; /* or it is gone, with its process */
	if (!join->is_told)
		daemon_say(daemon, "pid %ld is not traced yet: %s", (long)maker->pid, err.text);
	join->is_told = true;
	return false;
}

/* Decides about one region. True: it needs no further look. */
static bool route(struct kms_daemon *daemon, struct daemon_join *join)
{
	struct kms_err err = KMS_ERR_INIT;
	struct maker maker = {0};
	int result = read_maker(daemon, join->name, &maker, &err);

	if (result == -EAGAIN && has_maker(daemon, join))
		return false;
	if (!result && maker.pid == getpid())
		result = kms_err_set(&err, -EPERM, "it is the daemon's own");
	if (!result)
		return settle(daemon, join, &maker);
	refuse(daemon, join, &err);
	return true;
}

int daemon_join_route(struct kms_daemon *daemon)
{
	struct kms_list *next;
	int wait_ms = -1;

	for (struct kms_list *it = kms_list_first(&daemon->joins); it; it = next) {
		struct daemon_join *join = KMS_CONTAINER_OF(it, struct daemon_join, link);

		next = kms_list_next(&daemon->joins, it);
		if (route(daemon, join))
			forget(join);
		else if (join->unknown_ns || wait_ms != SOON_MS)
			wait_ms = kms_mono_ns() - join->since_ns < unfinished_ns / 2 ? SOON_MS
										     : LATER_MS;
	}
	return wait_ms;
}
