/*
 * Files and descriptors: see io.h.
 */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"

/* One read with what both kinds of it share: where, and whether the position is given. */
static ssize_t read_once(int fd, char *bytes, size_t n, const uint64_t *offset)
{
	ssize_t got;

	do {
		got = offset ? pread(fd, bytes, n, (off_t)*offset) : read(fd, bytes, n);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t kms_read_full(int fd, void *bytes, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = read_once(fd, (char *)bytes + done, n - done, NULL);

		if (got < 0)
			return got;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

ssize_t kms_pread_full(int fd, void *bytes, size_t n, uint64_t offset)
{
	size_t done = 0;

	/* off_t is signed; an offset beyond it is not a place in any file */
	if (offset > INT64_MAX || n > INT64_MAX - offset)
		return -EINVAL;
	while (done < n) {
		uint64_t at = offset + done;
		ssize_t got = read_once(fd, (char *)bytes + done, n - done, &at);

		if (got < 0)
			return got;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

int kms_write_full(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t put = write(fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

int kms_replace_file(const char *path, const void *bytes, size_t n, struct kms_err *err)
{
	char other[PATH_MAX];
	KMS_AUTO_CLOSE int fd = -1;
	int rc, length = snprintf(other, sizeof(other), "%s.XXXXXX", path);

	if (length < 0 || (size_t)length >= sizeof(other))
		return kms_err_sys(err, -ENAMETOOLONG, "cannot write", path);
	fd = mkostemp(other, O_CLOEXEC);
	if (fd < 0)
		return kms_err_sys(err, -errno, "cannot write", other);
	rc = kms_write_full(fd, bytes, n);
	if (!rc && rename(other, path))
		rc = -errno;
	if (rc)
		(void)unlink(other); /* it is of no use */
	return rc ? kms_err_sys(err, rc, "cannot write", path) : 0;
}

/* Opens what can be read to its end: a file or a /proc file; no folder, FIFO, socket, device. */
static int open_regular(const char *path, struct kms_err *err)
{
	/* O_NONBLOCK: or a FIFO would hold us up before fstat can tell what it is */
	KMS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return kms_err_sys(err, -errno, "cannot open", path);
	if (fstat(fd, &st) < 0)
		return kms_err_sys(err, -errno, "cannot stat", path);
	if (S_ISDIR(st.st_mode))
		return kms_err_sys(err, -EISDIR, "cannot read", path);
	if (!S_ISREG(st.st_mode)) {
		(void)kms_err_set(err, -EINVAL, "not a regular file"); /* subject follows */
		kms_err_subject(err, path);
		return -EINVAL;
	}
	return kms_take_fd(&fd);
}

/* Doubles a text's room, up to the limit and one byte to notice more; that and a NUL. */
static int grow(char **text, size_t *room, size_t limit)
{
	size_t more = *room ? *room * 2 : 4096;
	char *larger;

	if (more > limit + 1)
		more = limit + 1;
	larger = realloc(*text, more + 1);
	if (!larger)
		return -ENOMEM;
	*text = larger;
	*room = more;
	return 0;
}

/* Reads until the end or one byte more than the limit. */
static ssize_t read_up_to(int fd, size_t limit, char **text)
{
	size_t room = 0;
	size_t used = 0;

	while (used == room && used <= limit) {
		int ret = grow(text, &room, limit);
		ssize_t got;

		if (ret)
			return ret;
		got = kms_read_full(fd, *text + used, room - used);
		if (got < 0)
			return got;
		used += (size_t)got;
	}
	return used > limit ? -EFBIG : (ssize_t)used;
}

int kms_read_file(const char *path, size_t limit_bytes, char **text, size_t *n_bytes,
		  struct kms_err *err)
{
	KMS_AUTO_CLOSE int fd = open_regular(path, err);
	KMS_AUTO_FREE char *read = NULL;
	ssize_t used;

	if (fd < 0)
		return fd;
	/* two bytes are added to the limit; no file is longer than SSIZE_MAX */
	if (limit_bytes > SSIZE_MAX - 2)
		limit_bytes = SSIZE_MAX - 2;
	used = read_up_to(fd, limit_bytes, &read);
	if (used == -EFBIG) {
		(void)kms_err_set(err, -EFBIG, "longer than %zu bytes", limit_bytes);
		kms_err_subject(err, path);
		return -EFBIG;
	}
	if (used < 0)
		return kms_err_sys(err, (int)used, "cannot read", path);
	read[used] = '\0';
	if (n_bytes)
		*n_bytes = (size_t)used;
	*text = kms_take_ptr(&read);
	return 0;
}

/* Checks an open folder: ours, and closed to others. */
static int check_private(int fd, const char *path, struct kms_err *err)
{
	struct stat st;
	int ret = 0;

	if (fstat(fd, &st) < 0)
		return kms_err_sys(err, -errno, "cannot stat", path);
	if (st.st_uid != geteuid())
		ret = kms_err_set(err, -EPERM, "belongs to user %u, not to user %u",
				  (unsigned int)st.st_uid, (unsigned int)geteuid());
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		ret = kms_err_set(err, -EACCES, "open to other users (mode %03o); chmod 700 it",
				  (unsigned int)st.st_mode & 0777);
	if (ret)
		kms_err_subject(err, path);
	return ret;
}

int kms_mkdir_private(const char *path, struct kms_err *err)
{
	KMS_AUTO_CLOSE int fd = -1;
	bool made = mkdir(path, 0700) == 0;

	if (!made && errno != EEXIST)
		return kms_err_sys(err, -errno, "cannot create folder", path);
	/* what is checked is what was opened: a name can change hands in between, a descriptor not */
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return kms_err_sys(err, errno == ELOOP ? -ENOTDIR : -errno, "cannot open folder",
				   path);
	/* a strict umask may have taken our own bits away */
	if (made && fchmod(fd, 0700) < 0)
		return kms_err_sys(err, -errno, "cannot set mode of folder", path);
	return check_private(fd, path, err);
}
