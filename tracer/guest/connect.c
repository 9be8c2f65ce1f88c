/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets of an emulator: see connect.h. */
#include "tracer/guest/connect.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/guest/target.h"
#include "tracer/process.h"

enum {
	HOST_BYTES = 128,
};

/* Waits until a socket is ready; 0 or -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd ready = {.fd = fd, .events = events};
		uint64_t now = kms_mono_ns();
		uint64_t left_ms = now < deadline_ns ? (deadline_ns - now + 999999) / 1000000 : 0;
		int n = poll(&ready, 1, left_ms > 60000 ? 60000 : (int)left_ms);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (left_ms == 0)
			return -ETIMEDOUT;
	}
}

static int finish(int fd, const struct sockaddr *address, socklen_t bytes, uint64_t deadline_ns)
{
	int error = 0, result;
	socklen_t n = sizeof(error);

	if (connect(fd, address, bytes) == 0)
		return 0;
	/* a Unix socket whose queue is full says EAGAIN and will not say when it is not */
	if (errno != EINPROGRESS)
		return -errno;
	result = wait_for(fd, POLLOUT, deadline_ns);
	if (result == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		return -errno;
	return result ? result : -error;
}

static int connect_path(const char *path, uint64_t deadline_ns, struct kms_err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	KMS_AUTO_CLOSE int fd = -1;
	size_t length = strlen(path);
	int result;

	if (length >= sizeof(address.sun_path))
		return kms_err_set(err, -ENAMETOOLONG, "no socket has so long a path");
	memcpy(address.sun_path, path, length + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return kms_err_sys(err, -errno, "socket", NULL);
	result = finish(fd, (const struct sockaddr *)&address, sizeof(address), deadline_ns);
	if (result)
		return kms_err_sys(err, result, "connecting to the emulator", path);
	return kms_take_fd(&fd);
}

static int connect_host(const char *text, const char *host, unsigned port, uint64_t deadline_ns,
			struct kms_err *err)
{
	struct addrinfo want = {.ai_family = AF_UNSPEC,
				.ai_socktype = SOCK_STREAM,
				.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char service[16];
	int result = -ECONNREFUSED, one = 1;

	if (strcmp(host, "localhost") == 0) {
		want.ai_flags = AI_NUMERICSERV; /* the two loopbacks */
		host = NULL;
	}
	(void)snprintf(service, sizeof(service), "%u", port); /* fits */
	if (getaddrinfo(host, service, &want, &found) != 0)
		return kms_err_set(err, -EINVAL, "%.64s: a host is localhost or a number", text);
	for (const struct addrinfo *at = found; at; at = at->ai_next) {
		KMS_AUTO_CLOSE int fd =
			socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (fd < 0)
			continue;
		result = finish(fd, at->ai_addr, at->ai_addrlen, deadline_ns);
		if (result)
			continue;
		/* packets of some bytes, each waited for; without it it is only slower */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		freeaddrinfo(found);
		return kms_take_fd(&fd);
	}
	freeaddrinfo(found);
	return kms_err_sys(err, result, "connecting to the emulator", text);
}

int kms_guest_connect(const char *address, uint64_t deadline_ns, struct kms_err *err)
{
	char host[HOST_BYTES];
	unsigned port;

	if (kms_guest_address_split(address, host, sizeof(host), &port))
		return connect_host(address, host, port, deadline_ns, err);
	return connect_path(address, deadline_ns, err);
}

int kms_guest_send(int fd, const void *bytes, size_t n, uint64_t deadline_ns)
{
	const char *at = bytes;

	while (n) {
		ssize_t put = send(fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		int result = 0;

		if (put > 0) {
			at += put;
			n -= (size_t)put;
			continue;
		}
		if (errno == EAGAIN)
			result = wait_for(fd, POLLOUT, deadline_ns);
		else if (errno != EINTR)
			result = errno == EPIPE || errno == ECONNRESET ? -EPIPE : -EIO;
		if (result)
			return result;
	}
	return 0;
}

ssize_t kms_guest_receive(int fd, void *bytes, size_t n, uint64_t deadline_ns)
{
	for (;;) {
		ssize_t got = recv(fd, bytes, n, MSG_DONTWAIT);
		int result = 0;

		if (got > 0)
			return got;
		if (got == 0 || errno == ECONNRESET)
			return -EPIPE;
		if (errno == EAGAIN)
			result = wait_for(fd, POLLIN, deadline_ns);
		else if (errno != EINTR)
			result = -EIO;
		if (result)
			return result;
	}
}
