/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port/join.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allocator/port.h"
#include "allocator/port/process.h"
#include "allocator/text.h"

enum {
	PATH_BYTES = 1024,
	SHOWN_BYTES = 64, /* of a path in a message, its end */
};

static void complain(const char *socket, const char *what)
{
	struct kms_text text = {0};
	size_t length = strlen(socket);

	kms_text_add(&text, KMS_LIBRARY_NAME ": KMEMSCOPE_SOCKET ");
	if (length > SHOWN_BYTES)
		kms_text_add(&text, "...");
	socket += length > SHOWN_BYTES ? length - SHOWN_BYTES : 0;
	for (; *socket; socket++) {
		const char c[2] = {(char)(*socket >= ' ' && *socket < 127 ? *socket : '?'), '\0'};

		kms_text_add(&text, c);
	}
	kms_text_add(&text, ": ");
	kms_text_add(&text, what);
	kms_text_add(&text, "\n");
	kms_port_print(text.buffer);
}

/* "FOLDER/join" of "FOLDER/api.sock"; false if it is no such path. */
static bool join_path(const char *socket, char path[PATH_BYTES])
{
	static const char name[] = "join";
	const char *slash = strrchr(socket, '/');
	size_t length = slash ? (size_t)(slash + 1 - socket) : 0;

	if (!slash || length + sizeof(name) > PATH_BYTES)
		return false;
	memcpy(path, socket, length);
	memcpy(path + length, name, sizeof(name));
	return true;
}

/* A file in it is readable for its owner: only our own folder will do. */
static bool is_ours(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

/* Where the folder really lies, so that nobody can put another in its place later. */
static void resolve(int fd, struct kms_join *join)
{
	struct kms_text link = {0};
	ssize_t n;

	kms_text_add(&link, "/proc/self/fd/");
	kms_text_number(&link, (uint64_t)fd, 10, 1);
	n = readlink(link.buffer, join->folder, sizeof(join->folder) - 1);
	join->folder[n > 0 ? n : 0] = '\0';
}

static void join_daemon(struct kms_join *join, const char *socket)
{
	char path[PATH_BYTES];
	struct stat st;
	int fd = -1;

	if (join_path(socket, path) && stat(socket, &st) == 0 && S_ISSOCK(st.st_mode))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		complain(socket, "no daemon is there; this program is not traced");
		return;
	}
	if (is_ours(fd)) {
		resolve(fd, join);
		/* a daemon that lives holds the lock; without one we get it, until the descriptor is closed */
		join->is_unread = flock(fd, LOCK_SH | LOCK_NB) == 0;
	}
	close(fd);
	if (!join->folder[0])
		complain(socket, "it is not this user's; this program is not traced");
	else if (join->is_unread)
		complain(socket, "its daemon has died; not traced until another one runs");
}

void kms_join_find(struct kms_join *join)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): in the first call, as a rule before any thread */
	const char *run = getenv("KMEMSCOPE_RUN");
	const char *socket = getenv("KMEMSCOPE_SOCKET");
	/* NOLINTEND(concurrency-mt-unsafe) */
	int saved_errno = errno;

	*join = (struct kms_join){0};
	if (run && strlen(run) < sizeof(join->folder))
		memcpy(join->folder, run, strlen(run) + 1);
	else if (!run && socket && *socket)
		join_daemon(join, socket);
	errno = saved_errno;
}
