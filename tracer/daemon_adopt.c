/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs that a dead daemon left behind. Its folders are still there, and with them every region that a
 * process has in use: each such run goes on here, where its positions stand, into a new file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/daemon_impl.h"
#include "tracer/images.h"
#include "tracer/process.h"
#include "tracer/region.h"

enum {
	RUNS_MAX = DAEMON_RUNS_MAX / 2,
};

/* The pid in "img-PID-RANDOM.kmr"; 0: it is no such name. */
static pid_t pid_of(const char *name)
{
	size_t n = strlen(KMS_REGION_PREFIX);
	long pid = strncmp(name, KMS_REGION_PREFIX, n) == 0 ? strtol(name + n, NULL, 10) : 0;

	return pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* The maker of a region in a folder that some process has in use; 0: there is none. */
static pid_t find_user(const char *path)
{
	KMS_AUTO_CLOSEDIR DIR *dir = opendir(path);
	const struct dirent *entry;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (dir && (entry = readdir(dir)) != NULL) {
		KMS_AUTO_CLOSE int fd = -1;

		if (!pid_of(entry->d_name))
			continue;
		fd = openat(dirfd(dir), entry->d_name,
			    O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd >= 0 && kms_region_file_is_held(fd) > 0)
			return pid_of(entry->d_name);
	}
	return 0;
}

/* The emulator of the guest that a run's note names, if it still lives; else 0. */
static pid_t find_emulator(const struct daemon_run *run)
{
	KMS_AUTO_CLOSE int fd = kms_process_watch(run->pid, run->started_mono_ns);

	return fd >= 0 && !kms_process_has_ended(fd) ? run->pid : 0;
}

/* A run out of a folder; NULL: nobody needs it, or there is no memory. */
static struct daemon_run *read_run(const struct kms_daemon *daemon, const char *name)
{
	struct daemon_run *run = daemon_run_new();
	bool has_note;
	pid_t user;

	if (!run)
		return NULL;
	if (snprintf(run->run_dir, PATH_MAX, "%s/%s", daemon->session.run_dir, name) >= PATH_MAX) {
		free(run);
		return NULL;
	}
	has_note = daemon_note_read(run);
	user = run->guest ? find_emulator(run) : find_user(run->run_dir);
	if (!user) {
		kms_session_run_folder_end(run->run_dir);
		daemon_guest_free(run->guest);
		free(run);
		return NULL;
	}
	if (!has_note) {
		run->pid = user;
		run->first[0] = run->continues[0] = '\0';
		run->started_mono_ns = run->started_wall_ns = 0;
		snprintf(run->name, sizeof(run->name), "%.*s", (int)strcspn(name, "."), name);
	}
	run->is_adopted = true;
	return run;
}

void daemon_adopt_find(struct kms_daemon *daemon, struct kms_list *found)
{
	KMS_AUTO_CLOSEDIR DIR *dir = opendir(daemon->session.run_dir);
	const struct dirent *entry;
	size_t n = 0;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (dir && n < RUNS_MAX && (entry = readdir(dir)) != NULL) {
		struct daemon_run *run;

		if (entry->d_name[0] == '.' || pid_of(entry->d_name))
			continue;
		run = read_run(daemon, entry->d_name);
		if (!run)
			continue;
		kms_list_push_back(found, &run->link);
		n++;
	}
}

uint64_t daemon_adopt_begin_ns(const struct kms_list *found)
{
	const uint64_t slack_ns = 10000000000; /* a region may be older than the note of its run */
	uint64_t begin_ns = kms_wall_ns();

	for (struct kms_list *it = kms_list_first(found); it; it = kms_list_next(found, it)) {
		const struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		if (run->started_wall_ns > slack_ns && run->started_wall_ns - slack_ns < begin_ns)
			begin_ns = run->started_wall_ns - slack_ns;
	}
	return begin_ns;
}

void daemon_adopt_forget(struct kms_list *found)
{
	struct kms_list *next;

	for (struct kms_list *it = kms_list_first(found); it; it = next) {
		struct daemon_run *run = KMS_CONTAINER_OF(it, struct daemon_run, link);

		next = kms_list_next(found, it);
		daemon_guest_free(run->guest);
		free(run);
	}
	kms_list_init(found);
}

void daemon_adopt(struct kms_daemon *daemon, struct kms_list *found)
{
	struct kms_list *link;

	while ((link = kms_list_pop_front(found)) != NULL) {
		struct daemon_run *run = KMS_CONTAINER_OF(link, struct daemon_run, link);
		struct kms_err err = KMS_ERR_INIT;

		if (daemon_run_begin(daemon, run, &err) < 0)
			daemon_say(daemon, "a run of the daemon before is not taken over: %s",
				   err.text);
	}
}
