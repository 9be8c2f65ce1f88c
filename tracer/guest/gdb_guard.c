/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guard of a connection to a gdb stub: see gdb_guard.h.
 *
 * A fork that shares the socket and sleeps on a pidfd of its parent: unlike a pipe that becomes
 * readable whatever other processes have inherited. The parent may have threads, so what is called
 * here is on the list of signal-safety(7).
 */
#include "tracer/guest/gdb_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/process.h"

enum {
	SOCKET = 3, /* descriptors of the guard */
	PARENT = 4,
	OTHERS = 5,
	PATIENCE_MS = 60000, /* with an emulator that has been told all, and does not close */
};

/*
 * An end for a packet that the dead one may have left half-sent; to a guest that goes on any byte is
 * a stop. Attached: QEMU (7.2) dies of a second D without. Then back from physical addresses, then
 * away. The plus signs acknowledge what may have come meanwhile.
 */
static const char farewell[] = "+#00+$vAttach;1#37+$Qqemu.PhyMemMode:0#76+$D;1#b0";

/* Whether the socket is ready for what is asked, in time; -1: however long that takes. */
static bool wait_ready(short events, int wait_ms)
{
	struct pollfd ready = {.fd = SOCKET, .events = events};
	int n;

	do
		n = poll(&ready, 1, wait_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Whether a call is to be made again: the socket is not to block, and is waited for. */
static bool is_not_yet(ssize_t result)
{
	return result < 0 && (errno == EAGAIN || errno == EINTR);
}

/*
 * Says it, once: whatever is on its way to the dead one may be long, so no answer is looked for. That the
 * emulator closes, too, is the sign that it has read all. One that stands (SIGSTOP) is waited for.
 */
static void part(void)
{
	char unread[4096];
	size_t sent = 0;
	uint64_t end_ns;
	ssize_t n;

	while (sent < sizeof(farewell) - 1 && wait_ready(POLLOUT, -1)) {
		n = send(SOCKET, farewell + sent, sizeof(farewell) - 1 - sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && !is_not_yet(n))
			return; /* the emulator has gone */
		sent += n > 0 ? (size_t)n : 0;
	}
	(void)shutdown(SOCKET, SHUT_WR);
	end_ns = kms_mono_ns() + PATIENCE_MS * UINT64_C(1000000);
	do
		n = kms_mono_ns() < end_ns && wait_ready(POLLIN, PATIENCE_MS)
			    ? recv(SOCKET, unread, sizeof(unread), MSG_DONTWAIT)
			    : 0;
	while (n > 0 || is_not_yet(n));
}

/* Nothing of the parent's stays open, least of all what others wait for the end of. */
static void isolate(int socket_fd, int parent_fd)
{
	int null_fd = open("/dev/null", O_RDWR);
	int socket_high = fcntl(socket_fd, F_DUPFD, OTHERS + 1);
	int parent_high = fcntl(parent_fd, F_DUPFD, OTHERS + 1);

	for (int fd = 0; fd < SOCKET; fd++)
		(void)dup2(null_fd, fd);
	if (dup2(socket_high, SOCKET) < 0 || dup2(parent_high, PARENT) < 0)
		_exit(1);
	(void)syscall(SYS_close_range, OTHERS, ~0U, 0); /* of Linux 5.9; else they stay */
	(void)setsid(); /* a signal to the parent's group is none to us */
	(void)prctl(PR_SET_NAME, "kms-gdb-guard");
}

static void guard(int socket_fd, int parent_fd)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	struct pollfd ended = {.fd = PARENT, .events = POLLIN};

	isolate(socket_fd, parent_fd);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	while (poll(&ended, 1, -1) <= 0)
		; /* a signal that somebody sent */
	part();
	_exit(0);
}

pid_t kms_gdb_guard_start(int socket_fd, struct kms_err *err)
{
	KMS_AUTO_CLOSE int parent_fd = kms_process_watch(getpid(), 0);
	pid_t pid;

	if (parent_fd < 0)
		return kms_err_sys(err, parent_fd, "watching ourselves", NULL);
	pid = fork();
	if (pid < 0)
		return kms_err_sys(err, -errno, "a guard for the guest", NULL);
	if (pid == 0)
		guard(socket_fd, parent_fd);
	return pid;
}

void kms_gdb_guard_end(pid_t pid)
{
	if (pid <= 0)
		return;
	(void)kill(pid, SIGKILL); /* our child: the pid is its own until it is waited for */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
