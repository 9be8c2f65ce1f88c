/* SPDX-License-Identifier: BSD-2-Clause */
/* How a symbol helper is started: environment, descriptors, first exchange. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracer/symbols_link.h"

/* What a helper must not inherit: code put in front of it, and settings of our own allocator or of the C library's. */
static const char *const hidden_variables[] = {
	"LD_PRELOAD=", "LD_AUDIT=", "LD_DEBUG", "LD_PROFILE", "LD_BIND_", "KMEM",
	"KMS_",        "MALLOC_",   "GLIBC_",   "ELFUTILS_",  NULL,
};

/* In the environment of a helper. A program that is none would start one of its own, and that the next. */
#define HELPER_MARK "KMEMSCOPE_SYMBOL_HELPER"

static char helper_mark[] = HELPER_MARK "=1";

static bool is_hidden(const char *variable, bool allow_debuginfod)
{
	for (size_t i = 0; hidden_variables[i]; i++) {
		if (strncmp(variable, hidden_variables[i], strlen(hidden_variables[i])) == 0)
			return true;
	}
	return !allow_debuginfod && strncmp(variable, "DEBUGINFOD_", 11) == 0;
}

char **kms_symbols_link_environment(char *const *environment, bool allow_debuginfod)
{
	size_t n = 0;
	while (environment && environment[n])
		n++;
	char **kept = calloc(n + 2, sizeof(*kept));
	if (!kept)
		return NULL;
	size_t n_kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (!is_hidden(environment[i], allow_debuginfod))
			kept[n_kept++] = environment[i];
	}
	kept[n_kept] = helper_mark;
	return kept;
}

/* Descriptors of the helper: nothing on 0 to 2, its socket on 3, no other. */
static int set_descriptors(posix_spawn_file_actions_t *actions, int socket)
{
	int rc = posix_spawn_file_actions_adddup2(actions, socket, KMS_SYMBOLS_WIRE_FD);
	for (int fd = 0; rc == 0 && fd < KMS_SYMBOLS_WIRE_FD; fd++)
		rc = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(actions, KMS_SYMBOLS_WIRE_FD + 1);
	return rc;
}

static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	int rc = posix_spawnattr_setsigmask(attributes, &none);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(attributes, &all);
	if (rc == 0)
		rc = posix_spawnattr_setpgroup(attributes, 0);
	if (rc == 0)
		rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK |
								  POSIX_SPAWN_SETSIGDEF |
								  POSIX_SPAWN_SETPGROUP);
	return rc;
}

/* posix_spawn and its two objects. Positive errno, as these functions return it. */
static int spawn(const char *exec, char *const *environment, int socket, pid_t *pid)
{
	char name[] = "kmemscope", arg[] = KMS_SYMBOLS_HELPER_ARG;
	char *const argv[] = {name, arg, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int rc = posix_spawn_file_actions_init(&actions);
	if (rc != 0)
		return rc;
	rc = posix_spawnattr_init(&attributes);
	if (rc == 0) {
		rc = set_descriptors(&actions, socket);
		if (rc == 0)
			rc = set_attributes(&attributes);
		if (rc == 0)
			rc = posix_spawn(pid, exec, &actions, &attributes, argv, environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static int start_process(struct kms_symbols_link *link, const struct kms_symbols_link_config *cfg,
			 struct kms_err *err)
{
	int sockets[2];
	if (getenv(HELPER_MARK))
		return kms_err_set(err, -ELOOP,
				   "%s was started as a symbol helper, which starts none",
				   cfg->helper_exec);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
		return kms_err_sys(err, -errno, "socket of the symbol helper", NULL);
	char **environment = kms_symbols_link_environment(environ, cfg->wire->allow_debuginfod);
	int rc =
		environment ? spawn(cfg->helper_exec, environment, sockets[1], &link->pid) : ENOMEM;
	free(environment);
	close(sockets[1]);
	if (rc != 0) {
		close(sockets[0]);
		link->pid = 0;
		return kms_err_sys(err, -rc, "cannot start the symbol helper", cfg->helper_exec);
	}
	link->fd = sockets[0];
	link->pidfd = (int)syscall(SYS_pidfd_open, link->pid, 0);
	return 0;
}

/* Sends CONFIG and waits for READY: a program that is no helper is found out here, not at the first request. */
static int greet(struct kms_symbols_link *link, const struct kms_symbols_link_config *cfg,
		 uint64_t deadline_ns)
{
	struct kms_symbols_wire_out out = {0};
	kms_symbols_wire_put_config(&out, cfg->wire);
	int rc = kms_symbols_link_send(link, &out, deadline_ns);
	kms_symbols_wire_out_deinit(&out);
	if (rc != 0)
		return rc;
	struct kms_symbols_wire_message msg;
	rc = kms_symbols_link_receive(link, &msg, deadline_ns);
	if (rc == 0 && (msg.type != KMS_SYMBOLS_WIRE_READY || msg.length != 0))
		rc = -EPROTO;
	return rc;
}

/* Forgets killed helpers that have ended by now. False if too many have not. */
static bool bury_undead(struct kms_symbols_link *link)
{
	size_t n = 0;
	for (size_t i = 0; i < KMS_SYMBOLS_LINK_UNDEAD; i++) {
		if (link->undead[i] != 0 && waitpid(link->undead[i], NULL, WNOHANG) != 0)
			link->undead[i] = 0;
		n += link->undead[i] != 0;
	}
	return n < KMS_SYMBOLS_LINK_UNDEAD;
}

int kms_symbols_link_open(struct kms_symbols_link *link, const struct kms_symbols_link_config *cfg,
			  uint64_t deadline_ns, struct kms_err *err)
{
	if (!bury_undead(link))
		return kms_err_set(err, -EAGAIN, "%d killed symbol helpers have not ended yet",
				   KMS_SYMBOLS_LINK_UNDEAD);
	int rc = start_process(link, cfg, err);
	if (rc != 0)
		return rc;
	rc = greet(link, cfg, deadline_ns);
	if (rc == 0)
		return 0;
	(void)kms_symbols_link_close(link); /* it was of no use, whoever ended it */
	if (rc == -EPIPE || rc == -EPROTO)
		rc = -ECHILD;
	kms_err_sys(err, rc, "the symbol helper does not answer", cfg->helper_exec);
	return rc;
}
