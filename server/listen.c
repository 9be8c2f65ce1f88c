/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening on a Unix socket: see listen.h. */
#include "server/listen.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
	BACKLOG = 64,
	SOCKET_MODE = 0600,
};

static int make_address(const char *path, struct sockaddr_un *address, struct kms_err *err)
{
	size_t n = strlen(path);

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (n == 0 || n >= sizeof(address->sun_path)) {
		kms_err_set(err, -ENAMETOOLONG,
			    "socket path %s has %zu bytes and the system allows %zu; "
			    "set XDG_RUNTIME_DIR to a shorter folder",
			    path, n, sizeof(address->sun_path) - 1);
		kms_err_subject(err, path);
		return -ENAMETOOLONG;
	}
	memcpy(address->sun_path, path, n);
	return 0;
}

/* Whether a process accepts connections at an address. */
static bool is_served(const struct sockaddr_un *address)
{
	KMS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* EAGAIN: its queue is full, so somebody is there */
	return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			   errno == EAGAIN);
}

/* Binds; where a dead socket is in the way, removes it and binds again. */
static int bind_path(int fd, const struct sockaddr_un *address)
{
	struct stat st;

	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return 0;
	if (errno != EADDRINUSE || lstat(address->sun_path, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode) || is_served(address))
		return -EADDRINUSE;
	if (unlink(address->sun_path) < 0)
		return -errno;
	return bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;
}

int kms_listen_unix(const char *path, struct kms_err *err)
{
	KMS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	int ret = make_address(path, &address, err);

	if (ret < 0)
		return ret;
	/* The mode of the descriptor becomes that of the name: there is no moment with a wider one. */
	if (fd < 0 || fchmod(fd, SOCKET_MODE) < 0)
		return kms_err_sys(err, -errno, "cannot make a socket", path);
	ret = bind_path(fd, &address);
	if (ret == -EADDRINUSE) {
		kms_err_set(err, ret, "%s is in use: another kmemscope serves there", path);
		kms_err_subject(err, path);
		return ret;
	}
	if (ret < 0)
		return kms_err_sys(err, ret, "cannot serve on the socket", path);
	if (listen(fd, BACKLOG) < 0) {
		ret = -errno;
		(void)unlink(path); /* nothing more can be done about it */
		return kms_err_sys(err, ret, "cannot listen on the socket", path);
	}
	return kms_take_fd(&fd);
}
