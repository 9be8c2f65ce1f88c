/* SPDX-License-Identifier: BSD-2-Clause */
/* Asking in a child: see symbols_types.h. */
#include "tracer/symbols_types.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "tracer/symbols_sandbox.h"

enum {
	DEADLINE_MS = 30000,
	GRACE_MS = 1000,
	EXIT_NO_SANDBOX = 2,
};

/* of a kernel with 100 MB of DWARF, mapped, and what libdw makes of it */
static const uint64_t memory_bytes = UINT64_C(2) << 30;
static const uint64_t ns_per_ms = 1000000;

/* What goes over the socket. */
struct reply {
	int32_t result;
	struct kms_types_answer answer;
};

static void *child_memory(void)
{
	return calloc(1, sizeof(struct reply));
}

/* In the child. Only what stands on its own may be used: other threads are not there any more. */
static void answer_and_end(const struct kms_types_question *question, int socket, uint32_t ms)
{
	struct reply *reply;

	if (dup2(socket, 0) != 0)
		_exit(EXIT_NO_SANDBOX);
	(void)close_range(1, ~0U, 0);
	if (kms_symbols_sandbox_limits(kms_symbols_sandbox_used_bytes() + memory_bytes) != 0 ||
	    kms_symbols_sandbox_filter() != 0)
		_exit(EXIT_NO_SANDBOX);
	(void)signal(SIGALRM, SIG_DFL);
	kms_symbols_sandbox_watchdog(ms);
	reply = child_memory();
	if (!reply)
		_exit(EXIT_NO_SANDBOX);
	reply->result = kms_types_answer_here(question, &reply->answer);
	_exit(kms_write_full(0, reply, sizeof(*reply)) ? EXIT_NO_SANDBOX : 0);
}

static int receive(int fd, struct reply *reply, uint64_t end_ns)
{
	char *to = (char *)reply;
	size_t got = 0;

	while (got < sizeof(*reply)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = kms_clock_now(kms_clock_system());
		ssize_t n;

		if (now >= end_ns)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)((end_ns - now) / ns_per_ms + 1)) <= 0)
			continue;
		n = read(fd, to + got, sizeof(*reply) - got);
		if (n == 0 || (n < 0 && errno != EINTR))
			return -EBADMSG;
		got += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int run_child(const struct kms_types_question *question, struct reply *reply,
		     struct kms_err *err)
{
	uint32_t ms = question->deadline_ms ? question->deadline_ms : DEADLINE_MS;
	uint64_t end_ns = kms_clock_now(kms_clock_system()) + (ms + GRACE_MS) * ns_per_ms;
	int sockets[2], rc;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return kms_err_sys(err, -errno, "socket", NULL);
	pid = fork();
	if (pid == 0)
		answer_and_end(question, sockets[1], ms);
	rc = pid < 0 ? -errno : 0;
	(void)close(sockets[1]);
	if (pid < 0) {
		(void)close(sockets[0]);
		return kms_err_sys(err, rc, "fork", NULL);
	}
	rc = receive(sockets[0], reply, end_ns);
	(void)close(sockets[0]);
	(void)kill(pid, SIGKILL); /* it has answered, or is not to */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
	}
	if (rc == -ETIMEDOUT)
		kms_err_set(err, rc, "%.150s: not read within %u s", question->path, ms / 1000);
	else if (rc)
		kms_err_set(err, rc, "%.150s is damaged: its reader ended", question->path);
	return rc;
}

static bool place_fits(const struct kms_types_place *place, uint32_t bytes)
{
	return !place->bytes ||
	       (place->elements && place->byte <= bytes && place->bytes <= bytes - place->byte);
}

int kms_types_check(const struct kms_types_question *question,
		    const struct kms_types_answer *answer, struct kms_err *err)
{
	bool fits = (answer->word_bytes == 4 || answer->word_bytes == 8) &&
		    answer->build_id_bytes <= sizeof(answer->build_id) &&
		    answer->n_segments <= KMS_TYPES_SEGMENTS &&
		    memchr(answer->debug_path, '\0', sizeof(answer->debug_path));

	for (size_t i = 0; fits && i < question->n_structures; i++)
		fits = answer->struct_bytes[i] <= KMS_TYPES_STRUCT_BYTES;
	for (size_t i = 0; fits && i < question->n_members; i++)
		fits = place_fits(&answer->place[i],
				  answer->struct_bytes[question->member[i].structure]);
	return fits ? 0
		    : kms_err_set(err, -EBADMSG, "%.150s: its reader answers nonsense",
				  question->path);
}

/* What can be told without a parser is told here, with the system's own words. */
static int look(const char *path, struct kms_err *err)
{
	struct stat st;

	if (stat(path, &st) || access(path, R_OK))
		return kms_err_sys(err, -errno, "open", path);
	if (!S_ISREG(st.st_mode))
		return kms_err_set(err, -ENOEXEC, "%.200s is no regular file", path);
	return 0;
}

int kms_types_ask(const struct kms_types_question *question, struct kms_types_answer *answer,
		  struct kms_err *err)
{
	KMS_AUTO_FREE struct reply *reply = calloc(1, sizeof(*reply));
	int rc = reply ? look(question->path, err) : kms_err_set(err, -ENOMEM, "out of memory");

	if (!rc)
		rc = run_child(question, reply, err);
	if (!rc && reply->result)
		rc = kms_err_set(err, reply->result == -ENOENT ? -ENOENT : -ENOEXEC,
				 "%.200s is no ELF file of x86", question->path);
	if (!rc)
		rc = kms_types_check(question, &reply->answer, err);
	if (!rc)
		*answer = reply->answer;
	return rc;
}
