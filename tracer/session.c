/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "tracer/images.h"

enum {
	PROGRAM_BYTES = 64,
	JSON_BYTES = 64 << 10,
};

static int path_join(char out[PATH_MAX], const char *folder, const char *name, struct kms_err *err)
{
	if (snprintf(out, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
		return kms_err_set(err, -ENAMETOOLONG, "path too long: %s", folder);
	return 0;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where this user's sessions would lie: the first of the three that this system has. */
static void root_path(char path[PATH_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char user[64];

	snprintf(user, sizeof(user), "/run/user/%u", (unsigned)getuid());
	if (runtime && runtime[0] == '/' && strlen(runtime) < PATH_MAX / 2)
		snprintf(path, PATH_MAX, "%s/kmemscope", runtime);
	else if (is_folder(user))
		snprintf(path, PATH_MAX, "%s/kmemscope", user);
	else
		snprintf(path, PATH_MAX, "/tmp/kmemscope-%u", (unsigned)getuid());
}

static int check_private(const char *path, struct kms_err *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return kms_err_sys(err, -errno, "session folder", path);
	return kms_mkdir_private(path, err);
}

int kms_session_root(char path[PATH_MAX], int create, struct kms_err *err)
{
	root_path(path);
	return create ? kms_mkdir_private(path, err) : check_private(path, err);
}

/* A name that is one folder name and harmless on a terminal. */
static void safe_name(const char *program, pid_t pid, char out[PROGRAM_BYTES + 24])
{
	const char *slash = strrchr(program, '/');
	const char *base = slash ? slash + 1 : program;
	size_t n = 0;

	for (; base[n] && n < PROGRAM_BYTES; n++) {
		unsigned char c = (unsigned char)base[n];

		out[n] = c > ' ' && c < 127 && c != '/' ? (char)c : '_';
	}
	if (n == 0 || out[0] == '.')
		out[n ? 0 : n++] = '_';
	snprintf(out + n, 24, ".%ld", (long)pid);
}

/* The pid in "img-PID-RANDOM.kmr", 0 if it is none. */
static pid_t region_pid(const char *name)
{
	size_t prefix = sizeof(KMS_REGION_PREFIX) - 1;

	return strncmp(name, KMS_REGION_PREFIX, prefix) == 0 ? (pid_t)atol(name + prefix) : 0;
}

static bool pid_lives(pid_t pid)
{
	return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

/* Removes the files of a folder that is not entered further. @keep_living: a region of a process
 * that lives stays, for a tracer to come. */
static bool empty_folder(int fd, bool keep_living)
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
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if ((keep_living && pid_lives(region_pid(entry->d_name))) ||
		    unlinkat(fd, entry->d_name, 0) < 0)
			empty = false;
	}
	closedir(dir);
	return empty;
}

static int open_locked(int root_fd, const char *name)
{
	int fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return -EBUSY;
	}
	return fd;
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
		if (empty_folder(fd, true))
			unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
		close(fd);
	}
	if (dir)
		closedir(dir);
}

static int make_locked(const char *root, const char *name, char path[PATH_MAX], int *fd,
		       struct kms_err *err)
{
	int result = path_join(path, root, name, err);

	if (result == 0)
		result = kms_mkdir_private(path, err);
	if (result < 0)
		return result;
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		return kms_err_sys(err, -errno, "session folder", path);
	if (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
		close(*fd);
		*fd = -1;
		return kms_err_set(err, -EBUSY, "session folder %s is in use", path);
	}
	(void)empty_folder(*fd, false);
	return 0;
}

/* Regions want memory behind them, not a disk. */
static int make_run_folder(struct kms_session *session, const char *name, struct kms_err *err)
{
	char root[64];
	struct kms_err ignored = KMS_ERR_INIT;

	snprintf(root, sizeof(root), "/dev/shm/kmemscope-%u", (unsigned)getuid());
	if (is_folder("/dev/shm") && kms_mkdir_private(root, &ignored) == 0) {
		clean(root);
		return make_locked(root, name, session->run_dir, &session->run_fd, err);
	}
	return make_locked(session->dir, "run", session->run_dir, &session->run_fd, err);
}

int kms_session_create(struct kms_session *session, const char *program, pid_t pid,
		       struct kms_err *err)
{
	char root[PATH_MAX], name[PROGRAM_BYTES + 24];
	int result;

	memset(session, 0, sizeof(*session));
	session->dir_fd = session->run_fd = -1;
	result = kms_session_root(root, 1, err);
	if (result < 0)
		return result;
	clean(root);
	safe_name(program, pid, name);
	result = make_locked(root, name, session->dir, &session->dir_fd, err);
	if (result == 0)
		result = path_join(session->socket, session->dir, "api.sock", err);
	if (result == 0)
		result = make_run_folder(session, name, err);
	if (result < 0)
		kms_session_destroy(session);
	return result;
}

static void add_text(struct kms_buf *buf, const char *name, const char *value)
{
	kms_buf_addf(buf, ",\"%s\":", name);
	kms_buf_add_json(buf, value ? value : "", value ? strlen(value) : 0);
}

int kms_session_publish(const struct kms_session *session, const struct kms_session_info *info,
			struct kms_err *err)
{
	struct kms_buf buf;
	int fd, result;

	kms_buf_init(&buf, JSON_BYTES);
	kms_buf_addf(&buf, "{\"pid\":%ld,\"program_pid\":%ld,\"started_ns\":\"%" PRIu64 "\"",
		     (long)info->pid, (long)info->program_pid, info->started_wall_ns);
	add_text(&buf, "program", info->program);
	add_text(&buf, "command", info->command);
	add_text(&buf, "file", info->file);
	add_text(&buf, "socket", session->socket);
	kms_buf_add_str(&buf, "}\n");
	result = kms_buf_status(&buf);
	fd = openat(session->dir_fd, "session.tmp",
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		result = -errno;
	if (result == 0)
		result = kms_write_full(fd, buf.text, buf.used_bytes);
	if (fd >= 0)
		close(fd);
	if (result == 0 &&
	    renameat(session->dir_fd, "session.tmp", session->dir_fd, "session.json") < 0)
		result = -errno;
	kms_buf_deinit(&buf);
	return result < 0 ? kms_err_sys(err, result, "session.json", session->dir) : 0;
}

void kms_session_destroy(struct kms_session *session)
{
	if (session->run_fd >= 0) {
		(void)empty_folder(session->run_fd, true);
		rmdir(session->run_dir);
		close(session->run_fd);
	}
	if (session->dir_fd >= 0) {
		(void)empty_folder(session->dir_fd, false);
		rmdir(session->dir);
		close(session->dir_fd);
	}
	session->dir_fd = session->run_fd = -1;
}
