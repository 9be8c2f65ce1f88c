/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/io.h"
#include "tracer/images.h"
#include "tracer/process.h"
#include "tracer/region.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): called before any thread begins; streams of our own */

enum {
	PROGRAM_BYTES = 64,
	NAME_BYTES = PROGRAM_BYTES + 24,
	JSON_BYTES = 64 << 10,
	LOCK_TRIES = 200,
	PAUSE_NS = 1000000,
	DEPTH = 2, /* of folders below a session's: run, or one for each of the daemon's runs */
	SAME_NAME = 1000,
};

#define SOCKET_NAME       "api.sock"
#define RUN_NAME          "run"
#define GUEST_MARK_PREFIX "guest-" /* PID-NS of its emulator follow */

static int path_join(char out[PATH_MAX], const char *folder, const char *name, struct kms_err *err)
{
	if (snprintf(out, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
		return kms_err_set(err, -ENAMETOOLONG, "path too long: %s", folder);
	return 0;
}

/* A folder of this user, as the runtime folder has to be. */
static bool is_ours(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* Where this user's sessions would lie: the first of the three that this system has. */
static void root_path(char path[PATH_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char user[64];

	snprintf(user, sizeof(user), "/run/user/%u", (unsigned)getuid());
	if (runtime && runtime[0] == '/' && strlen(runtime) < PATH_MAX / 2 && is_ours(runtime))
		snprintf(path, PATH_MAX, "%s/kmemscope", runtime);
	else if (is_ours(user))
		snprintf(path, PATH_MAX, "%s/kmemscope", user);
	else
		snprintf(path, PATH_MAX, "/tmp/kmemscope-%u", (unsigned)getuid());
}

static int private_folder(const char *path, struct kms_err *err)
{
	int result = kms_mkdir_private(path, err);

	return result < 0
	       ? kms_err_context(err, "session folder %.128s (XDG_RUNTIME_DIR moves it)", path),
	       result : 0;
}

int kms_session_root(char path[PATH_MAX], int create, struct kms_err *err)
{
	struct stat st;

	root_path(path);
	if (!create && lstat(path, &st) < 0) {
		int code = -errno;

		kms_err_set(err, code, "session folder %.128s: %s", path, strerrordesc_np(-code));
		kms_err_subject(err, path);
		return code;
	}
	return private_folder(path, err);
}

/* PROG.PID as one folder name of at most @room bytes, harmless on a terminal and in a command line. */
static void make_name(const char *program, pid_t pid, size_t room, char out[NAME_BYTES])
{
	static const char kept[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+._-";
	const char *slash = strrchr(program, '/');
	const char *base = slash ? slash + 1 : program;
	char end[24];
	size_t n = 0, taken = (size_t)snprintf(end, sizeof(end), ".%ld", (long)pid);

	for (; n < PROGRAM_BYTES && n + taken < room && base[n]; n++)
		out[n] = base[n];
	for (size_t i = 0; i < n; i++) {
		if (!strchr(kept, out[i]))
			out[i] = '_';
	}
	if (n == 0)
		n = 1;
	if (!base[0] || base[0] == '.' || base[0] == '-')
		out[0] = '_';
	snprintf(out + n, NAME_BYTES - n, "%s", end);
}

/* The same, so short that the path of a socket below @root has room for it. */
static int safe_name(const char *root, const char *program, pid_t pid, char out[NAME_BYTES],
		     struct kms_err *err)
{
	size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	size_t taken = strlen(root) + strlen("/"
					     "/" SOCKET_NAME);

	if (taken + sizeof("x.4194304") > room)
		return kms_err_set(err, -ENAMETOOLONG,
				   "session folder %.128s: too long for a socket's path; set "
				   "XDG_RUNTIME_DIR to a shorter one",
				   root);
	make_name(program, pid, room - taken - 1, out);
	return 0;
}

static bool begins_with(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* What may keep a folder: see empty_folder(). */
static bool is_keeper_name(const char *name)
{
	return begins_with(name, KMS_REGION_PREFIX) || begins_with(name, GUEST_MARK_PREFIX);
}

/* A region that some process still has mapped, its maker or a child. */
static bool is_region_in_use(int folder_fd, const char *name)
{
	int fd;
	int held;

	if (!begins_with(name, KMS_REGION_PREFIX))
		return false;
	fd = openat(folder_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return false;
	held = kms_region_file_is_held(fd);
	close(fd);
	return held != 0; /* if the file system cannot tell, it stays */
}

/* The mark of an emulator that lives. */
static bool is_guest_there(const char *name)
{
	long pid;
	uint64_t lived_ns;
	int fd;

	/* NOLINTNEXTLINE(cert-err34-c): we made the name; another number is another process, or none */
	if (sscanf(name, GUEST_MARK_PREFIX "%ld-%" SCNu64, &pid, &lived_ns) != 2 || pid <= 0 ||
	    pid > INT32_MAX)
		return false;
	fd = kms_process_watch((pid_t)pid, lived_ns);
	if (fd < 0)
		return false;
	pid = !kms_process_has_ended(fd);
	close(fd);
	return pid;
}

static bool empty_folder(int fd, bool keep_living, int depth);

/* NOLINTBEGIN(misc-no-recursion): DEPTH folders deep */

/* Whether an entry of a folder has gone. */
static bool remove_entry(int dir_fd, const char *name, bool keep_living, int depth)
{
	KMS_AUTO_CLOSE int fd = -1;

	if (keep_living && (is_region_in_use(dir_fd, name) || is_guest_there(name)))
		return false;
	if (unlinkat(dir_fd, name, 0) == 0)
		return true;
	if (depth > 0)
		fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		(void)empty_folder(fd, keep_living, depth - 1); /* rmdir tells */
	return unlinkat(dir_fd, name, AT_REMOVEDIR) == 0;
}

/* One pass over a folder: what may keep it, or everything else. */
static bool remove_entries(int fd, bool keepers, bool keep_living, int depth)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	bool empty = true;
	struct dirent *entry;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return false;
	}
	rewinddir(dir);
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    is_keeper_name(entry->d_name) != keepers)
			continue;
		if (!remove_entry(fd, entry->d_name, keep_living, depth))
			empty = false;
	}
	closedir(dir);
	return empty;
}

/*
 * Removes the files of a folder and of those in it. @keep_living: a region of a process that lives
 * stays, and the mark of a guest that does, for a tracer to come, and with it what else lies there: the
 * link to the library that its children are to load, the note that says where the trace is.
 */
static bool empty_folder(int fd, bool keep_living, int depth)
{
	if (!remove_entries(fd, true, keep_living, depth))
		return false;
	return remove_entries(fd, false, keep_living, depth);
}

/* NOLINTEND(misc-no-recursion) */

/* A folder that stands under its name no longer has been cleaned away by another tracer. */
static bool still_there(int root_fd, const char *name, int fd)
{
	struct stat named, opened;

	return fstatat(root_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
	       named.st_ino == opened.st_ino;
}

static int open_locked(int root_fd, const char *name)
{
	int fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -errno;
	result = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	if (result == 0 && !still_there(root_fd, name, fd))
		result = -ENOENT;
	if (result < 0)
		close(fd);
	return result < 0 ? result : fd;
}

/* Folders without a lock belong to tracers that died. */
static void clean(const char *root)
{
	DIR *dir = opendir(root);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		fd = open_locked(dirfd(dir), entry->d_name);
		if (fd < 0)
			continue;
		if (empty_folder(fd, true, DEPTH))
			unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
		close(fd);
	}
	if (dir)
		closedir(dir);
}

/* Another tracer that cleans may hold our new folder's lock for a moment, or remove it before we
 * have the lock: then it is made once more. */
static int make_locked(const char *root, const char *name, char path[PATH_MAX], int *fd,
		       struct kms_err *err)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int result = path_join(path, root, name, err);

	for (int i = 0; result == 0 && *fd < 0 && i < LOCK_TRIES; i++) {
		if (i)
			nanosleep(&pause, NULL);
		result = private_folder(path, err);
		if (result == 0)
			*fd = open_locked(AT_FDCWD, path);
		if (result == -ENOENT || *fd == -ENOENT || *fd == -EWOULDBLOCK)
			result = 0;
		else if (result == 0 && *fd < 0)
			result = kms_err_sys(err, *fd, "lock of the session folder", path);
	}
	if (result < 0)
		return result;
	if (*fd < 0) {
		kms_err_set(err, -EBUSY, "session folder %.128s is in use by another tracer", path);
		kms_err_subject(err, path);
		return -EBUSY;
	}
	if (err)
		kms_err_clear(err); /* of a try before */
	(void)empty_folder(*fd, true, DEPTH);
	return 0;
}

uint64_t kms_session_room(const char *path)
{
	struct statvfs fs;

	if (statvfs(path, &fs) < 0 || !fs.f_blocks) /* a tmpfs without a limit says 0 */
		return UINT64_MAX;
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Regions want memory behind them, not a disk, unless there is none. */
static int make_run_folder(struct kms_session *session, const char *name, struct kms_err *err)
{
	char root[64];
	struct kms_err ignored = KMS_ERR_INIT;

	snprintf(root, sizeof(root), "/dev/shm/kmemscope-%u", (unsigned)getuid());
	if (kms_mkdir_private(root, &ignored) == 0 &&
	    (kms_session_room(root) >= KMS_SESSION_ROOM_BYTES ||
	     kms_session_room(session->dir) < KMS_SESSION_ROOM_BYTES)) {
		clean(root);
		return make_locked(root, name, session->run_dir, &session->run_fd, err);
	}
	return make_locked(session->dir, RUN_NAME, session->run_dir, &session->run_fd, err);
}

int kms_session_create(struct kms_session *session, const char *program, pid_t pid,
		       struct kms_err *err)
{
	char root[PATH_MAX], name[NAME_BYTES];
	int result;

	memset(session, 0, sizeof(*session));
	session->dir_fd = session->run_fd = -1;
	result = kms_session_root(root, 1, err);
	if (result < 0)
		return result;
	result = safe_name(root, program, pid, name, err);
	if (result < 0)
		return result;
	clean(root);
	result = make_locked(root, name, session->dir, &session->dir_fd, err);
	if (result == 0)
		result = path_join(session->socket, session->dir, SOCKET_NAME, err);
	if (result == 0)
		result = make_run_folder(session, name, err);
	if (result < 0)
		kms_session_destroy(session);
	return result;
}

/* The pid that a session says it has; 0 unknown. Its file may be anything. */
static long session_pid(const char *dir)
{
	KMS_AUTO_FREE char *text = NULL;
	char path[PATH_MAX];
	size_t n;

	if (path_join(path, dir, "session.json", NULL) < 0 ||
	    kms_read_file(path, JSON_BYTES, &text, &n, NULL) < 0 ||
	    strncmp(text, "{\"pid\":", strlen("{\"pid\":")) != 0)
		return 0;
	return strtol(text + strlen("{\"pid\":"), NULL, 10);
}

static int daemon_lives(const char *dir, struct kms_err *err)
{
	long pid = session_pid(dir);

	kms_err_clear(err);
	if (pid > 0)
		kms_err_set(err, -EBUSY,
			    "a daemon of this user is running already: pid %ld, session %s", pid,
			    dir);
	else
		kms_err_set(err, -EBUSY, "a daemon of this user is running already: session %s",
			    dir);
	kms_err_subject(err, dir);
	return -EBUSY;
}

static int link_join(const struct kms_session *session, struct kms_err *err)
{
	char path[PATH_MAX];
	int result = path_join(path, session->dir, KMS_SESSION_JOIN, err);

	if (result == 0 && symlink(session->run_dir, path) < 0)
		result = kms_err_sys(err, -errno, "cannot make a link to the run folder", path);
	return result;
}

int kms_session_create_daemon(struct kms_session *session, struct kms_err *err)
{
	char root[PATH_MAX], name[NAME_BYTES];
	int result;

	memset(session, 0, sizeof(*session));
	session->dir_fd = session->run_fd = -1;
	result = kms_session_root(root, 1, err);
	if (result == 0) /* its length is checked as for the longest of the names of sockets */
		result = safe_name(root, KMS_SESSION_DAEMON, 1, name, err);
	if (result < 0)
		return result;
	result = make_locked(root, KMS_SESSION_DAEMON, session->dir, &session->dir_fd, err);
	if (result == -EBUSY)
		return daemon_lives(session->dir, err);
	if (result == 0)
		result = path_join(session->socket, session->dir, SOCKET_NAME, err);
	snprintf(name, sizeof(name), "%s.%016" PRIx64, KMS_SESSION_DAEMON,
		 kms_hash_bytes(session->dir, strlen(session->dir), 0));
	if (result == 0)
		result = make_run_folder(session, name, err);
	if (result == 0)
		result = link_join(session, err);
	clean(root);
	if (result < 0)
		kms_session_destroy(session);
	return result;
}

int kms_session_daemon_path(const char *name, char path[PATH_MAX], struct kms_err *err)
{
	char root[PATH_MAX];
	int result = kms_session_root(root, 0, err);

	if (result == 0 &&
	    snprintf(path, PATH_MAX, "%s/%s/%s", root, KMS_SESSION_DAEMON, name) >= PATH_MAX)
		result = kms_err_set(err, -ENAMETOOLONG, "path too long: %s", root);
	return result;
}

int kms_session_run_folder(const struct kms_session *session, const char *program, pid_t pid,
			   char path[PATH_MAX], struct kms_err *err)
{
	char name[NAME_BYTES];
	size_t n;

	make_name(program, pid, NAME_BYTES - 8, name);
	n = strlen(name);
	for (int i = 2; i < SAME_NAME; i++) {
		int result = path_join(path, session->run_dir, name, err);

		if (result < 0)
			return result;
		if (mkdir(path, 0700) == 0)
			return 0;
		if (errno != EEXIST)
			return kms_err_sys(err, -errno, "cannot make a run's folder", path);
		snprintf(name + n, sizeof(name) - n, ".%d", i);
	}
	return kms_err_set(err, -EEXIST, "too many runs are called %s", name);
}

static int mark_path(char path[PATH_MAX], const char *folder, pid_t pid, uint64_t lived_mono_ns)
{
	int n = snprintf(path, PATH_MAX, "%s/" GUEST_MARK_PREFIX "%ld-%" PRIu64, folder, (long)pid,
			 lived_mono_ns);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

void kms_session_run_folder_mark(const char *folder, pid_t pid, uint64_t lived_mono_ns)
{
	char path[PATH_MAX];
	int fd = mark_path(path, folder, pid, lived_mono_ns);

	if (!fd) /* without it the next daemon does not know of the guest */
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		close(fd);
}

void kms_session_run_folder_unmark(const char *folder, pid_t pid, uint64_t lived_mono_ns)
{
	char path[PATH_MAX];

	if (mark_path(path, folder, pid, lived_mono_ns) == 0)
		(void)unlink(path); /* it is not there, then */
}

int kms_session_run_folder_lock(const char *path)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int fd = open_locked(AT_FDCWD, path);

	/* who only looks whether it is in use has it for a moment */
	for (int i = 1; fd == -EWOULDBLOCK && i < LOCK_TRIES; i++) {
		nanosleep(&pause, NULL);
		fd = open_locked(AT_FDCWD, path);
	}
	return fd;
}

void kms_session_run_folder_end(const char *path)
{
	KMS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && empty_folder(fd, true, 0))
		rmdir(path);
}

static void add_text(struct kms_buf *buf, const char *name, const char *value)
{
	kms_buf_addf(buf, ",\"%s\":", name);
	kms_buf_add_json(buf, value ? value : "", value ? strlen(value) : 0);
}

static void describe(const struct kms_session *session, const struct kms_session_info *info,
		     struct kms_buf *buf)
{
	kms_buf_addf(buf, "{\"pid\":%ld,\"program_pid\":%ld,\"started_ns\":\"%" PRIu64 "\"",
		     (long)info->pid, (long)info->program_pid, info->started_wall_ns);
	add_text(buf, "program", info->program);
	add_text(buf, "command", info->command);
	add_text(buf, "file", info->file);
	add_text(buf, "socket", session->socket);
	kms_buf_add_str(buf, "}\n");
}

/* Whole or not at all: written beside, then renamed. */
static int write_beside(int dir_fd, const struct kms_buf *buf)
{
	KMS_AUTO_CLOSE int fd = openat(dir_fd, "session.tmp",
				       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int result = fd < 0 ? -errno : kms_write_full(fd, buf->text, buf->used_bytes);

	if (result == 0 && renameat(dir_fd, "session.tmp", dir_fd, "session.json") < 0)
		result = -errno;
	return result;
}

int kms_session_publish(const struct kms_session *session, const struct kms_session_info *info,
			struct kms_err *err)
{
	struct kms_buf buf;
	int result;

	kms_buf_init(&buf, JSON_BYTES);
	describe(session, info, &buf);
	result = kms_buf_status(&buf);
	if (result == 0)
		result = write_beside(session->dir_fd, &buf);
	kms_buf_deinit(&buf);
	if (result == 0)
		return 0;
	kms_err_set(err, result, "cannot write %.128s/session.json: %s", session->dir,
		    strerrordesc_np(-result));
	kms_err_subject(err, session->dir);
	return result;
}

void kms_session_destroy(struct kms_session *session)
{
	if (session->run_fd >= 0) {
		(void)empty_folder(session->run_fd, true, DEPTH);
		rmdir(session->run_dir);
		close(session->run_fd);
	}
	if (session->dir_fd >= 0) {
		(void)empty_folder(session->dir_fd, true, DEPTH);
		rmdir(session->dir);
		close(session->dir_fd);
	}
	session->dir_fd = session->run_fd = -1;
}

/* NOLINTEND(concurrency-mt-unsafe) */
