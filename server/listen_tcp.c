/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening on a TCP port: see listen.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fmt.h"
#include "server/listen.h"

enum {
	BACKLOG = 64,
	HOST_BYTES = 64,
};

/* Where to listen, as bind(2) wants it. */
struct place {
	struct sockaddr_storage address;
	socklen_t length;
	bool loopback;
};

static int bad_place(const char *where, struct kms_err *err)
{
	return kms_err_set(err, -EINVAL,
			   "\"%.80s\" is no place to listen; give a port (8080, or 0 for any that "
			   "is free), or an address too: 127.0.0.1:8080, [::1]:8080",
			   where);
}

/* Splits [ADDR:]PORT; an address in brackets is IPv6, and loses them. */
static int split(const char *where, char host[HOST_BYTES], uint16_t *port)
{
	const char *colon = strrchr(where, ':');
	const char *digits = colon ? colon + 1 : where;
	size_t n = colon ? (size_t)(colon - where) : 0;
	uint64_t number;

	if (!*digits || digits[strspn(digits, "0123456789")] || strlen(digits) > 5 ||
	    kms_parse_u64(digits, &number) < 0 || number > UINT16_MAX || n >= HOST_BYTES)
		return -EINVAL;
	*port = (uint16_t)number;
	snprintf(host, HOST_BYTES, "%.*s", (int)n, where);
	if (!colon || strcmp(host, "localhost") == 0)
		snprintf(host, HOST_BYTES, "127.0.0.1");
	return 0;
}

static int parse_ip6(const char *host, uint16_t port, struct place *place)
{
	struct sockaddr_in6 *in = (struct sockaddr_in6 *)&place->address;
	char bare[HOST_BYTES];
	size_t n = strlen(host);

	if (n < 3 || host[n - 1] != ']')
		return -EINVAL;
	snprintf(bare, sizeof(bare), "%.*s", (int)n - 2, host + 1);
	if (inet_pton(AF_INET6, bare, &in->sin6_addr) != 1)
		return -EINVAL;
	in->sin6_family = AF_INET6;
	in->sin6_port = htons(port);
	place->length = sizeof(*in);
	place->loopback = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
	return 0;
}

static int parse_ip4(const char *host, uint16_t port, struct place *place)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&place->address;

	if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
		return -EINVAL;
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	place->length = sizeof(*in);
	place->loopback = ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return 0;
}

/* Addresses are numeric: what a name stands for is not ours to decide. */
static int parse_place(const char *where, struct place *place, struct kms_err *err)
{
	char host[HOST_BYTES];
	uint16_t port;
	int ret;

	memset(place, 0, sizeof(*place));
	if (split(where, host, &port) < 0)
		return bad_place(where, err);
	ret = host[0] == '[' ? parse_ip6(host, port, place) : parse_ip4(host, port, place);
	return ret < 0 ? bad_place(where, err) : 0;
}

static int refuse_exposure(const char *where, struct kms_err *err)
{
	return kms_err_set(err, -EPERM,
			   "%s can be reached from other machines, and who gets in can read and "
			   "change the program, unencrypted; listen on 127.0.0.1 and come by "
			   "ssh -L, or add --http-expose-unencrypted",
			   where);
}

static int bind_failed(const char *where, int code, struct kms_err *err)
{
	switch (-code) {
	case EADDRINUSE:
		return kms_err_set(
			err, code,
			"port %s is in use; choose another one, or 0 for any that is free", where);
	case EACCES:
		return kms_err_set(err, code, "port %s is root's; choose one from 1024 on, or 0",
				   where);
	case EADDRNOTAVAIL:
		return kms_err_set(err, code, "%s is no address of this machine", where);
	default:
		return kms_err_sys(err, code, "cannot listen on", where);
	}
}

void kms_socket_name(const struct sockaddr_storage *address, char name[KMS_ENDPOINT_BYTES])
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	char host[INET6_ADDRSTRLEN] = "?";

	if (address->ss_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(name, KMS_ENDPOINT_BYTES, "[%s]:%u", host,
			 (unsigned int)ntohs(in6->sin6_port));
	} else {
		(void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(name, KMS_ENDPOINT_BYTES, "%s:%u", host,
			 (unsigned int)ntohs(in->sin_port));
	}
}

/* What the kernel made of it: the port, where any would do. */
static int describe(int fd, const struct place *place, struct kms_endpoint *end)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	memset(&address, 0, sizeof(address));
	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	end->loopback = place->loopback;
	end->port =
		ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
						    : ((struct sockaddr_in *)&address)->sin_port);
	kms_socket_name(&address, end->name);
	return 0;
}

int kms_listen_tcp(const char *where, bool expose, struct kms_endpoint *end, struct kms_err *err)
{
	KMS_AUTO_CLOSE int fd = -1;
	const int on = 1;
	struct place place;
	int ret = parse_place(where, &place, err);

	if (ret < 0)
		return ret;
	if (!place.loopback && !expose)
		return refuse_exposure(where, err);
	fd = socket(place.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return kms_err_sys(err, -errno, "cannot make a socket for", where);
	/* a port that was ours a moment ago can be had again; one that somebody listens on cannot */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (place.address.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&place.address, place.length) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return bind_failed(where, -errno, err);
	ret = describe(fd, &place, end);
	return ret < 0 ? kms_err_sys(err, ret, "cannot listen on", where) : kms_take_fd(&fd);
}
