/* SPDX-License-Identifier: BSD-2-Clause */
/* The threads of one process: see hold_impl.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tracer/hold_impl.h"
#include "tracer/process.h"

enum {
	STATUS_BYTES = 4096,
	EVENT_SHIFT = 16, /* of a wait status: which PTRACE_EVENT */
	FIELDS_BEFORE_DEVICE = 3,
};

/* A thread that sleeps where nothing interrupts it (a vfork, a dead disk) is not waited for. */
static const uint64_t patience_ns = 100000000;

void kms_held_free(struct kms_held *held)
{
	kms_list_remove(&held->link);
	if (held->pidfd >= 0)
		(void)close(held->pidfd); /* was only asked */
	free(held->thread);
	free(held);
}

static struct kms_held_thread *find(struct kms_held *held, pid_t tid)
{
	for (size_t i = 0; i < held->n; i++) {
		if (held->thread[i].tid == tid)
			return &held->thread[i];
	}
	return NULL;
}

static void drop(struct kms_held *held, struct kms_held_thread *thread)
{
	*thread = held->thread[--held->n];
}

static int make_room(struct kms_held *held)
{
	struct kms_held_thread *thread;

	if (held->n < held->room)
		return 0;
	thread = reallocarray(held->thread, held->room * 2 + 8, sizeof(*thread));
	if (!thread)
		return -ENOMEM;
	held->thread = thread;
	held->room = held->room * 2 + 8;
	return 0;
}

/* The begin of a small file; how many bytes, or negative. */
static ssize_t read_start(const char *path, char *text, size_t n)
{
	KMS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : kms_read_full(fd, text, n);
}

/* A line of /proc/PID/status; false if there is none. */
static bool status_line(pid_t pid, const char *key, char *value, size_t value_bytes)
{
	char path[64], text[STATUS_BYTES];
	const char *at;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid); /* fits */
	n = read_start(path, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	at = strstr(text, key);
	if (!at)
		return false;
	at += strlen(key);
	(void)snprintf(value, value_bytes, "%.*s", (int)strcspn(at, "\n"), at); /* cut */
	return true;
}

/* A thread that has ended, and that nobody has waited for. */
static bool is_zombie(pid_t tid)
{
	char state[32];

	return !status_line(tid, "State:\t", state, sizeof(state)) || state[0] == 'Z' ||
	       state[0] == 'X';
}

static void refuse(struct kms_held *held, int error)
{
	const char *yama = error == EPERM ? kms_process_yama() : NULL;

	char tracer[32] = "0";

	held->state = KMS_HOLD_REFUSED;
	(void)status_line(held->ask.pid, "TracerPid:\t", tracer, sizeof(tracer));
	/* both are cut if need be */
	if (strcmp(tracer, "0") != 0)
		(void)snprintf(held->reason, sizeof(held->reason),
			       "process %s traces it already (a debugger, strace)", tracer);
	else
		(void)snprintf(held->reason, sizeof(held->reason), "%s%s",
			       error == EPERM ? "ptrace is not permitted: " : "",
			       yama             ? yama
			       : error == EPERM ? "it takes CAP_SYS_PTRACE, or in a container "
						  "--cap-add=SYS_PTRACE"
						: strerrordesc_np(error));
}

/* Errors: what ptrace(2) says; -ESRCH: it is gone, which is none */
static int seize(struct kms_held *held, pid_t tid)
{
	int result = make_room(held);

	if (result)
		return result;
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		result = -errno;
		return result == -EPERM && is_zombie(tid) ? -ESRCH : result;
	}
	held->thread[held->n++] = (struct kms_held_thread){.tid = tid};
	/* fails only if it is gone; then the wait says so */
	(void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return 0;
}

/* Seizes what is not yet. Returns how many there were, or a negative error. */
static int seize_new(struct kms_held *held)
{
	KMS_AUTO_CLOSEDIR DIR *dir = NULL;
	const struct dirent *item;
	char path[64];
	int n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)held->ask.pid); /* fits */
	dir = opendir(path);
	/* it ended after the folder was opened, or the folder is its: never of who has the pid next */
	if (held->pidfd >= 0 && kms_process_has_ended(held->pidfd))
		return 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (dir && (item = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(item->d_name, NULL, 10);
		int result;

		if (tid <= 0 || tid == held->ask.spared || find(held, tid))
			continue;
		result = seize(held, tid);
		if (result && result != -ESRCH)
			return result;
		n += result == 0;
	}
	return n;
}

/* "START-END PERM OFFSET MAJOR:MINOR INODE PATH" */
static bool is_mapping_of(const char *line, const struct kms_hold_ask *ask)
{
	unsigned long major_nr, minor_nr;
	char *end;

	for (int field = 0; field < FIELDS_BEFORE_DEVICE; field++) {
		line = strchr(line, ' ');
		if (!line)
			return false;
		line++;
	}
	major_nr = strtoul(line, &end, 16);
	if (*end != ':')
		return false;
	minor_nr = strtoul(end + 1, &end, 16);
	return strtoull(end, NULL, 10) == ask->inode &&
	       makedev((unsigned)major_nr, (unsigned)minor_nr) == ask->device;
}

static bool has_mapped(const struct kms_hold_ask *ask)
{
	KMS_AUTO_FREE char *line = NULL;
	KMS_AUTO_FCLOSE FILE *file = NULL;
	size_t room = 0;
	char path[64];
	bool found = false;

	if (!ask->inode)
		return true;
	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)ask->pid); /* fits */
	file = fopen(path, "re");
	while (file && !found && getline(&line, &room, file) > 0)
		found = is_mapping_of(line, ask);
	return found;
}

static bool all_stand(const struct kms_held *held)
{
	for (size_t i = 0; i < held->n; i++) {
		if (!held->thread[i].stands)
			return false;
	}
	return true;
}

void kms_held_take(struct kms_held *held, uint64_t now_ns)
{
	int n;

	if (held->pidfd < 0) {
		/* before it is checked: what is checked is then what the descriptor stands for */
		held->pidfd = kms_process_watch(held->ask.pid, 0);
		held->is_checked = false;
	}
	if (!held->is_checked && !has_mapped(&held->ask)) {
		held->state = KMS_HOLD_REFUSED;
		(void)snprintf(held->reason, sizeof(held->reason),
			       "process %d does not have its memory", (int)held->ask.pid);
		return;
	}
	held->is_checked = true;
	/* who stands makes no new threads: a pass without one, while all stand, is the last */
	n = seize_new(held);
	if (n < 0)
		refuse(held, -n);
	else if (n == 0 && all_stand(held))
		held->state = KMS_HOLD_HELD;
	else if (now_ns - held->asked_ns > patience_ns)
		held->state = KMS_HOLD_PARTLY;
}

bool kms_held_let_go(struct kms_held *held)
{
	for (size_t i = 0; i < held->n;) {
		struct kms_held_thread *thread = &held->thread[i];

		/* one that has ended is waited for whether it is known or not */
		if ((thread->stands &&
		     ptrace(PTRACE_DETACH, thread->tid, NULL, (long)thread->signal) == 0) ||
		    is_zombie(thread->tid))
			drop(held, thread);
		else
			i++;
	}
	return held->n > 0;
}

bool kms_held_note(struct kms_held *held, pid_t tid, int status)
{
	struct kms_held_thread *thread = find(held, tid);

	if (!thread)
		return false;
	if (!WIFSTOPPED(status)) {
		drop(held, thread);
		return true;
	}
	thread->stands = true;
	if (status >> EVENT_SHIFT == 0)
		thread->signal = WSTOPSIG(status);
	return true;
}
