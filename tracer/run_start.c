/* SPDX-License-Identifier: BSD-2-Clause */
/* The two processes of a run: the program's and the tracer's, from fork to their own work. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "tracer/launch.h"
#include "tracer/run_front.h"
#include "tracer/run_wire.h"

enum {
	COMMAND_BYTES = 4096,
	REJOIN_S = 1, /* the program's end is not to be missed for a daemon that hangs */
};

/* The program's process: waits for the word, then becomes the program. */
static _Noreturn void program_main(const struct kms_front *f, int go_fd, int exec_fd)
{
	char run_dir[PATH_MAX], preload[PATH_MAX];
	char **environment = NULL;
	int code;

	if (kms_read_full(go_fd, run_dir, sizeof(run_dir)) != (ssize_t)sizeof(run_dir))
		_exit(KMS_RUN_FAILED);
	close(go_fd);
	if (kms_launch_preload(f->library, run_dir, preload) == 0)
		environment =
			kms_launch_environment(preload, run_dir, &f->options, f->config->stopped);
	sigaction(SIGCHLD, &f->sigchld, NULL);
	if (environment)
		execvpe(f->program, f->config->argv, environment);
	code = environment ? errno : ENOMEM;
	(void)kms_write_full(exec_fd, &code, sizeof(code));
	_exit(KMS_RUN_NOT_EXEC);
}

int kms_front_start_program(struct kms_front *f, struct kms_err *err)
{
	int go[2], result[2], code;
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) < 0)
		return kms_err_sys(err, -errno, "pipe", NULL);
	if (pipe2(result, O_CLOEXEC) < 0) {
		close(go[0]);
		close(go[1]);
		return kms_err_sys(err, -errno, "pipe", NULL);
	}
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		close(result[0]);
		program_main(f, go[0], result[1]);
	}
	code = -errno;
	close(go[0]);
	close(result[1]);
	f->go_fd = go[1];
	f->exec_fd = result[0];
	if (pid < 0)
		return kms_err_sys(err, code, "cannot start the program: fork", NULL);
	f->result->pid = pid;
	return 0;
}

/* "PROG ARGS" for people; blanks between, what is too long is cut. */
static void command_line(char *const *argv, char out[COMMAND_BYTES])
{
	struct kms_buf buf;

	kms_buf_init(&buf, COMMAND_BYTES - 1);
	for (size_t i = 0; argv[i]; i++)
		kms_buf_addf(&buf, "%s%s", i ? " " : "", argv[i]);
	snprintf(out, COMMAND_BYTES, "%s", kms_buf_text(&buf));
	kms_buf_deinit(&buf);
}

int kms_front_output_path(struct kms_front *f, struct kms_err *err)
{
	const char *output = f->config->output;
	const char *slash = strrchr(f->config->argv[0], '/');
	char folder[PATH_MAX], name[NAME_MAX + 1];
	int n;

	if (!output) {
		snprintf(name, sizeof(name), "kmemscope.%.128s.%ld.kms",
			 slash ? slash + 1 : f->config->argv[0], (long)f->result->pid);
		output = name;
	}
	if (output[0] == '/')
		n = snprintf(f->result->file, PATH_MAX, "%s", output);
	else if (getcwd(folder, sizeof(folder)))
		n = snprintf(f->result->file, PATH_MAX, "%s/%s", folder, output);
	else
		return kms_err_sys(err, -errno, "current folder", NULL);
	return n < PATH_MAX ? 0 : kms_err_set(err, -ENAMETOOLONG, "-o: path too long");
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The tracer may outlive the program: what it inherited (pipes of a shell, of make, of us) must not
 * stay open through it. Only standard error does, until it is ready. */
static void close_others(const struct kms_front *f, int fd)
{
	/* 0 and 1 are silenced below: a number of theirs is as good as none */
	int kept[] = {STDERR_FILENO, fd, f->session.dir_fd, f->session.run_fd,
		      f->config->serve_fd > 0 ? f->config->serve_fd : STDERR_FILENO};
	size_t n = sizeof(kept) / sizeof(kept[0]);
	unsigned next = STDERR_FILENO;

	kms_run_silence(STDIN_FILENO);
	kms_run_silence(STDOUT_FILENO);
	qsort(kept, n, sizeof(kept[0]), by_number);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned)kept[i] > next)
			(void)close_range(next, (unsigned)kept[i] - 1, 0);
		if ((unsigned)kept[i] >= next)
			next = (unsigned)kept[i] + 1;
	}
	(void)close_range(next, ~0u, 0);
}

/* Connected to run.sock of this user's daemon; negative errno. @patience_s: 0 for ever. */
static int connect_daemon(int patience_s, struct kms_err *err)
{
	const struct timeval patience = {.tv_sec = patience_s};
	KMS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[PATH_MAX];
	int result = kms_session_daemon_path(KMS_SESSION_RUNS, path, err);

	if (result < 0 && result != -ENOENT)
		return result;
	if (result == 0 && strlen(path) >= sizeof(address.sun_path))
		return kms_err_set(err, -ENAMETOOLONG, "%s: too long for a socket's path", path);
	kms_err_clear(err);
	if (result == 0)
		memcpy(address.sun_path, path, strlen(path) + 1);
	if (result == 0 && fd < 0)
		return kms_err_sys(err, -errno, "socket", NULL);
	if (result == 0 && patience_s)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (result == 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return kms_take_fd(&fd);
	result = result ? result : -errno;
	if (result == -ENOENT || result == -ECONNREFUSED)
		return kms_err_set(err, result,
				   "no daemon is running; `kmemscope daemon` starts one, or leave "
				   "--daemon out");
	return kms_err_sys(err, result, "cannot reach the daemon", path);
}

void kms_front_set_patience(struct kms_front *f, int seconds)
{
	const struct timeval patience = {.tv_sec = seconds};

	(void)setsockopt(f->tracer_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

int kms_front_join_daemon(struct kms_front *f, struct kms_err *err)
{
	char command[COMMAND_BYTES];
	int fd = connect_daemon(0, err);

	if (fd < 0)
		return fd;
	f->tracer_fd = fd;
	(void)kms_session_daemon_path("api.sock", f->result->socket, NULL); /* was found above */
	command_line(f->config->argv, command);
	if (kms_run_send(fd, KMS_WORD_JOIN, f->result->pid, f->config->argv[0]) < 0 ||
	    kms_run_send(fd, KMS_WORD_COMMAND, 0, command) < 0 ||
	    kms_run_send(fd, KMS_WORD_OUTPUT, f->config->first_only, f->result->file) < 0)
		return kms_err_set(err, -EPIPE, "the daemon went away");
	return 0;
}

int kms_front_rejoin_daemon(struct kms_front *f)
{
	struct kms_err ignored = KMS_ERR_INIT;
	int fd = connect_daemon(REJOIN_S, &ignored);

	if (fd < 0)
		return fd;
	if (kms_run_send(fd, KMS_WORD_REJOIN, f->result->pid, f->session.run_dir) < 0) {
		close(fd);
		return -EPIPE;
	}
	f->tracer_fd = fd;
	f->rejoining = true;
	return 0;
}

static _Noreturn void tracer_process(struct kms_front *f, int fd)
{
	char command[COMMAND_BYTES];
	struct kms_run_tracer run = {
		.config = f->config,
		.session = &f->session,
		.output = f->result->file,
		.command = command,
		.program = f->result->pid,
		.fd = fd,
	};

	(void)setsid();
	close_others(f, fd);
	command_line(f->config->argv, command);
	_exit(kms_run_tracer_main(&run));
}

int kms_front_start_tracer(struct kms_front *f, struct kms_err *err)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		int code = -errno;

		kms_session_destroy(&f->session);
		return kms_err_sys(err, code, "socket pair", NULL);
	}
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		tracer_process(f, pair[1]);
	}
	if (pid < 0)
		kms_err_sys(err, -errno, "cannot start the tracer: fork", NULL);
	close(pair[1]);
	f->tracer_fd = pair[0];
	if (pid < 0) {
		kms_session_destroy(&f->session);
		return -EAGAIN;
	}
	/* The locks of the folders are the tracer's from here on. */
	close(f->session.dir_fd);
	close(f->session.run_fd);
	f->result->tracer_pid = pid;
	return 0;
}
