/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/trace_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

enum {
	TRIES = 16, /* each fails only if another writer ended in between */
};

static int lock_path(const char *path, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s.lock", path);

	return n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static struct flock whole_file(void)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* Is the file behind fd still the one with this name? Its last holder may have removed it. */
static bool is_current(int fd, const char *name)
{
	struct stat mine, named;

	return fstat(fd, &mine) == 0 && stat(name, &named) == 0 && mine.st_dev == named.st_dev &&
	       mine.st_ino == named.st_ino;
}

static pid_t read_pid(int fd)
{
	char text[24] = "";
	ssize_t n = kms_pread_full(fd, text, sizeof(text) - 1, 0);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;

	return pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}

static void write_pid(int fd)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	/* only for the message of others; without it they say less */
	if (ftruncate(fd, 0) == 0 && n > 0)
		(void)kms_write_full(fd, text, (size_t)n);
}

int kms_trace_lock(const char *path, int *fd, struct kms_err *err)
{
	char name[PATH_MAX];
	struct flock lock = whole_file();

	if (lock_path(path, name) < 0)
		return kms_err_sys(err, -ENAMETOOLONG, "cannot lock trace", path);
	for (int i = 0; i < TRIES; i++) {
		KMS_AUTO_CLOSE int file =
			open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (file < 0)
			return kms_err_sys(err, -errno, "cannot make trace (its .lock)", path);
		if (fcntl(file, F_OFD_SETLK, &lock) < 0) {
			int code = -errno;

			if (code != -EAGAIN && code != -EACCES)
				return kms_err_sys(err, code, "cannot lock trace", path);
			(void)kms_err_set(err, -EBUSY,
					  "trace is still being written by process %ld",
					  (long)read_pid(file));
			kms_err_subject(err, path);
			return -EBUSY;
		}
		if (is_current(file, name)) {
			write_pid(file);
			*fd = kms_take_fd(&file);
			return 0;
		}
	}
	return kms_err_sys(err, -EBUSY, "cannot lock trace", path);
}

void kms_trace_unlock(const char *path, int fd)
{
	char name[PATH_MAX];

	if (fd < 0)
		return;
	/* while still locked: whoever waits finds that its file has gone, and makes a new one */
	if (lock_path(path, name) == 0)
		(void)unlink(name);
	(void)close(fd);
}

bool kms_trace_is_locked(const char *path, pid_t *pid)
{
	char name[PATH_MAX], real[PATH_MAX];
	struct flock lock = whole_file();
	KMS_AUTO_CLOSE int file = -1;
	bool locked;

	/* the lock lies beside the file, not beside a link to it */
	if (lock_path(realpath(path, real) ? real : path, name) < 0)
		return false;
	file = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0)
		return errno == EACCES; /* another user's: take it for living */
	locked = fcntl(file, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
	if (pid)
		*pid = locked ? read_pid(file) : 0;
	return locked;
}
