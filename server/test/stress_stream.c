/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams over a real socket with everything at once: clients that read, that read slowly, that hang up,
 * requests between them, documents that change, and the end while all of it goes on.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/server.h"
#include "server/test/fixture_view.h"

enum {
	ROUNDS = 6,
	STREAMERS = 6,
	CHANGES = 300, /* of a round */
	PATIENCE_S = 60,
};

static struct fixture fixture;
static char path[64];
static atomic_bool over;
static atomic_uint events; /* that were seen in this round */

static int dial(void)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Reads up to @bytes, @piece at a time; counts events. False at the end. */
static bool take(int fd, size_t bytes, size_t piece)
{
	char text[4097];
	ssize_t n;

	while (bytes >= piece) {
		n = read(fd, text, piece);
		assert(n >= 0 || errno != EAGAIN); /* stuck */
		if (n <= 0)
			return false;
		text[n] = '\0';
		if (strstr(text, "event: "))
			atomic_fetch_add(&events, 1);
		bytes -= (size_t)n;
	}
	return true;
}

/* One stream after another: every third is hung up soon, every third is read in small pieces. */
static void *streamer(void *arg)
{
	static const char ask[] = "GET /api/v1/stream?hz=10 HTTP/1.1\r\nHost: x\r\n\r\n";
	unsigned int i = *(const unsigned int *)arg;
	int fd;

	for (; !atomic_load(&over); i++) {
		fd = dial();
		if (fd < 0)
			continue;
		if (write(fd, ask, strlen(ask)) == (ssize_t)strlen(ask))
			(void)take(fd, i % 3 == 0 ? 3000 : 100000, i % 3 == 1 ? 64 : 4096);
		close(fd);
	}
	return NULL;
}

static void *requester(void *arg)
{
	static const char ask[] =
		"GET /api/v1/faults HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	int fd;

	(void)arg;
	while (!atomic_load(&over)) {
		fd = dial();
		if (fd < 0)
			continue;
		if (write(fd, ask, strlen(ask)) == (ssize_t)strlen(ask))
			while (take(fd, 4096, 4096))
				;
		close(fd);
	}
	return NULL;
}

static void play(const struct kms_server *server)
{
	unsigned int number[STREAMERS];
	pthread_t thread[STREAMERS + 1];
	struct kms_http *http;

	atomic_store(&over, false);
	atomic_store(&events, 0);
	assert(kms_http_start(server, path, &http, NULL) == 0);
	for (unsigned int i = 0; i < STREAMERS; i++) {
		number[i] = i;
		assert(pthread_create(&thread[i], NULL, streamer, &number[i]) == 0);
	}
	assert(pthread_create(&thread[STREAMERS], NULL, requester, NULL) == 0);
	for (int i = 0; i < CHANGES || atomic_load(&events) < CHANGES; i++) {
		fixture_change(&fixture, (enum fixture_change)(i % 4));
		usleep(1000); /* paces the changes; nothing waits for it */
	}
	kms_http_stop(http); /* while everybody is connected */
	atomic_store(&over, true);
	for (unsigned int i = 0; i <= STREAMERS; i++)
		pthread_join(thread[i], NULL);
	assert(atomic_load(&fixture.borrowed) == 0 && atomic_load(&fixture.stacks) == 0);
	assert(access(path, F_OK) < 0);
}

int main(void)
{
	char folder[] = "/tmp/kms_stress_stream.XXXXXX";
	struct kms_server *server;

	signal(SIGPIPE, SIG_IGN);
	assert(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/api.sock", folder);
	fixture_init(&fixture, true);
	assert(kms_server_create(&fixture.view, "stress", &server, NULL) == 0);
	for (int i = 0; i < ROUNDS; i++)
		play(server);
	kms_server_destroy(server);
	assert(rmdir(folder) == 0);
	return 0;
}
