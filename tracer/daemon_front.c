/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fronts: `kmemscope run --daemon` connects to run.sock, says what it is about to start, and gets a run.
 * From then on both say what a front and its own tracer say to each other (run_wire.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/daemon_impl.h"
#include "tracer/process.h"
#include "tracer/run_wire.h"

enum {
	BACKLOG = 64,
	PATIENCE_S = 5, /* a front says all it has to say at once */
};

int daemon_listen(struct kms_daemon *daemon, struct kms_err *err)
{
	KMS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", daemon->session.dir, KMS_SESSION_RUNS);
	if (strlen(path) >= sizeof(address.sun_path))
		return kms_err_set(err, -ENAMETOOLONG, "%s: too long for a socket's path", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* The folder is ours alone; what is there of that name is of a daemon that died. */
	(void)unlink(path);
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return kms_err_sys(err, -errno, "cannot listen", path);
	daemon->listen_fd = kms_take_fd(&fd);
	return 0;
}

/* Whether the other side is this user, or root. *pid: who it is. */
static bool is_friend(int fd, pid_t *pid)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return false;
	*pid = peer.pid;
	return peer.uid == geteuid() || peer.uid == 0;
}

void daemon_accept(struct kms_daemon *daemon)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = accept4(daemon->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct kms_err err = KMS_ERR_INIT;
	struct daemon_run *run;
	pid_t peer;

	if (fd < 0)
		return; /* it is gone again */
	run = is_friend(fd, &peer) ? daemon_run_new() : NULL;
	if (!run) {
		close(fd);
		return;
	}
	/* in both directions: a front that does not listen holds up its own run for a while, no more */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	run->fd = fd;
	if (daemon_run_begin(daemon, run, &err) < 0)
		daemon_say(daemon, "a run was refused: %s", err.text);
}

/* A front whose daemon died. Whatever comes of it, this run is over. */
static void rejoin(struct daemon_run *run, const struct kms_run_message *m, pid_t peer)
{
	pid_t parent = m->value > 0 ? kms_process_parent(m->value) : peer + 1;
	int result = -EPERM;

	/* none: it has ended, and its front comes to say how */
	if (parent == peer || parent <= 0)
		result = daemon_run_rejoin(run->daemon, m->text, m->value, run->fd);
	if (result)
		(void)kms_run_send(run->fd, KMS_WORD_FAILED, result,
				   "the daemon does not have this run");
	else
		run->fd = -1;
}

static bool hear(int fd, uint32_t word, struct kms_run_message *m)
{
	return kms_run_receive(fd, m) > 0 && m->word == word;
}

bool daemon_front_hear(struct daemon_run *run)
{
	struct kms_run_message m;
	pid_t peer;

	if (!is_friend(run->fd, &peer) || kms_run_receive(run->fd, &m) <= 0)
		return false;
	if (m.word == KMS_WORD_REJOIN)
		rejoin(run, &m, peer);
	if (m.word != KMS_WORD_JOIN)
		return false;
	run->pid = m.value;
	snprintf(run->name, sizeof(run->name), "%.*s", DAEMON_NAME_BYTES - 1, m.text);
	if (run->pid <= 0 || kms_process_parent(run->pid) != peer) {
		(void)kms_run_send(run->fd, KMS_WORD_FAILED, -EINVAL,
				   "only the parent of a program can ask for its run");
		return false;
	}
	if (!hear(run->fd, KMS_WORD_COMMAND, &m))
		return false;
	snprintf(run->command, sizeof(run->command), "%.*s", DAEMON_COMMAND_BYTES - 1, m.text);
	if (!hear(run->fd, KMS_WORD_OUTPUT, &m))
		return false;
	run->first_only = m.value != 0;
	if (m.text[0] && m.text[0] != '/') {
		(void)kms_run_send(run->fd, KMS_WORD_FAILED, -EINVAL,
				   "the path of the trace is not absolute");
		return false;
	}
	snprintf(run->output, sizeof(run->output), "%s", m.text);
	return true;
}
