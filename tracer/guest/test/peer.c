/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/test/unit.h"

static bool say(int fd, const char *text)
{
	size_t n = strlen(text);

	while (n) {
		ssize_t put = send(fd, text, n, MSG_NOSIGNAL);

		if (put <= 0)
			return false;
		text += put;
		n -= (size_t)put;
	}
	return true;
}

static void *serve(void *arg)
{
	struct peer *peer = arg;
	int fd = accept(peer->listener, NULL, NULL);
	char line[1024];
	bool is_open = say(fd, peer->greeting);

	for (unsigned i = 0; is_open && peer->answer[i]; i++) {
		if (recv(fd, line, sizeof(line), 0) <= 0)
			break;
		for (unsigned turn = 0; is_open && turn <= (peer->answer[i + 1] ? 0 : peer->repeat);
		     turn++)
			is_open = say(fd, peer->answer[i]);
	}
	while (!peer->closes && recv(fd, line, sizeof(line), 0) > 0)
		;
	(void)close(fd);
	return NULL;
}

void peer_start(struct peer *peer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(peer->folder, "/tmp/kms-qmp-XXXXXX");
	assert_non_null(mkdtemp(peer->folder));
	(void)snprintf(peer->path, sizeof(peer->path), "%s/s", peer->folder);
	strcpy(address.sun_path, peer->path);
	peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(peer->listener, (const struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(peer->listener, 4), 0);
	assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
}

void peer_end(struct peer *peer)
{
	assert_int_equal(pthread_join(peer->thread, NULL), 0);
	assert_int_equal(close(peer->listener), 0);
	assert_int_equal(unlink(peer->path), 0);
	assert_int_equal(rmdir(peer->folder), 0);
}
