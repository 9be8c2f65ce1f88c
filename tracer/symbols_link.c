/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages to and from the helper, with deadlines, and its end. How it is started: symbols_spawn.c. */
#include "tracer/symbols_link.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	OWN_END_WAIT_MS = 50, /* for one that ends by itself, or pretends to */
	DEATH_WAIT_MS =
		200, /* a killed process that has not ended by then is in an uninterruptible system call */
};

void kms_symbols_link_init(struct kms_symbols_link *link)
{
	*link = (struct kms_symbols_link){.pidfd = -1, .fd = -1};
}

void kms_symbols_link_deinit(struct kms_symbols_link *link)
{
	link->is_ending = true; /* it does so when the socket is closed; there is no hurry */
	(void)kms_symbols_link_close(link);
	kms_symbols_wire_in_deinit(&link->in);
}

/* Waits for the end of the helper. True and its wait status, 0 if other code has waited for it before. */
static bool wait_end(const struct kms_symbols_link *link, int wait_ms, int *status)
{
	for (int ms = 0;; ms++) {
		*status = 0;
		if (waitpid(link->pid, status, WNOHANG) != 0)
			return true;
		if (ms == wait_ms)
			return false;
		/* poll ignores a negative descriptor: then it is a pause. */
		struct pollfd waited = {.fd = link->pidfd, .events = POLLIN};
		(void)poll(&waited, 1, 1);
	}
}

/* Not by its pid where that can be avoided: if other code has waited for it, that may be another process by now. */
static void kill_helper(const struct kms_symbols_link *link)
{
	if (link->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, link->pidfd, SIGKILL, NULL, 0);
	else
		(void)kill(link->pid, SIGKILL);
}

static void remember_undead(struct kms_symbols_link *link)
{
	for (size_t i = 0; i < KMS_SYMBOLS_LINK_UNDEAD; i++) {
		if (link->undead[i] == 0) {
			link->undead[i] = link->pid;
			return;
		}
	}
}

bool kms_symbols_link_close(struct kms_symbols_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
	link->in.start = link->in.used = 0;
	if (link->pid == 0)
		return false;
	int status;
	bool ended = link->is_ending && wait_end(link, OWN_END_WAIT_MS, &status);
	bool killed_from_outside = ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (!ended) {
		kill_helper(link);
		ended = wait_end(link, DEATH_WAIT_MS, &status);
	}
	if (!ended)
		remember_undead(link);
	if (link->pidfd >= 0)
		close(link->pidfd);
	link->pidfd = -1;
	link->pid = 0;
	link->is_ending = false;
	return killed_from_outside;
}

bool kms_symbols_link_is_alive(const struct kms_symbols_link *link)
{
	char byte;
	if (link->fd < 0)
		return false;
	return recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EINTR);
}

/* Waits until the socket can be read or written. 0 or -ETIMEDOUT. */
static int wait_for(const struct kms_symbols_link *link, short events, uint64_t deadline_ns)
{
	for (;;) {
		uint64_t now_ns = kms_clock_now(kms_clock_system());
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		uint64_t left_ms = (deadline_ns - now_ns) / 1000000 + 1;
		struct pollfd waited = {.fd = link->fd, .events = events};
		if (poll(&waited, 1, left_ms > 60000 ? 60000 : (int)left_ms) > 0)
			return 0;
	}
}

int kms_symbols_link_send(struct kms_symbols_link *link, const struct kms_symbols_wire_out *out,
			  uint64_t deadline_ns)
{
	if (out->failed)
		return -ENOMEM;
	for (size_t sent = 0; sent < out->used;) {
		ssize_t n = send(link->fd, out->data + sent, out->used - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR) {
			link->is_ending = true;
			return -EPIPE;
		}
		int rc = wait_for(link, POLLOUT, deadline_ns);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int receive_some(struct kms_symbols_link *link, uint64_t deadline_ns)
{
	uint8_t *room;
	size_t n_room;
	int rc = kms_symbols_wire_in_room(&link->in, &room, &n_room);
	if (rc != 0)
		return rc;
	for (;;) {
		ssize_t n = recv(link->fd, room, n_room, MSG_DONTWAIT);
		if (n > 0) {
			link->in.used += (size_t)n;
			return 0;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			link->is_ending = true;
			return -EPIPE;
		}
		rc = wait_for(link, POLLIN, deadline_ns);
		if (rc != 0)
			return rc;
	}
}

int kms_symbols_link_receive(struct kms_symbols_link *link, struct kms_symbols_wire_message *msg,
			     uint64_t deadline_ns)
{
	for (;;) {
		int rc = kms_symbols_wire_in_next(&link->in, msg);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		rc = receive_some(link, deadline_ns);
		if (rc != 0)
			return rc;
	}
}
