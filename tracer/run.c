/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front of `kmemscope run`. Order: the program's process first, held at a pipe, because folder
 * and file carry its pid; then the tracer; then the pipe lets the program go.
 */
#include "tracer/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "tracer/launch.h"
#include "tracer/run_wire.h"
#include "tracer/session.h"

enum {
	COMMAND_BYTES = 4096,
};

/* One run as the front sees it. */
struct front {
	const struct kms_run_config *config;
	struct kms_run_result *result;
	char program[PATH_MAX];
	char library[PATH_MAX];
	struct kms_options options;
	struct kms_session session;
	int go_fd;   /* to the program: path of the run's folder lets it begin */
	int exec_fd; /* from the program: errno if it could not be executed */
	int tracer_fd;
	bool done; /* the tracer said its last word */
};

static const int passed_on[] = {SIGTERM, SIGHUP};
static volatile sig_atomic_t program_pid;

static void pass_on(int signal)
{
	if (program_pid > 0)
		kill(program_pid, signal);
}

/* The terminal's signals reach the program by themselves; we outlive it to say how it ended. */
static void front_signals(struct sigaction old[4])
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	const struct sigaction pass = {.sa_handler = pass_on, .sa_flags = SA_RESTART};

	sigaction(SIGINT, &ignore, &old[0]);
	sigaction(SIGQUIT, &ignore, &old[1]);
	sigaction(passed_on[0], &pass, &old[2]);
	sigaction(passed_on[1], &pass, &old[3]);
}

static void restore_signals(const struct sigaction old[4])
{
	sigaction(SIGINT, &old[0], NULL);
	sigaction(SIGQUIT, &old[1], NULL);
	sigaction(passed_on[0], &old[2], NULL);
	sigaction(passed_on[1], &old[3], NULL);
}

/* The program's process: waits for the word, then becomes the program. */
static _Noreturn void program_main(const struct front *f, int go_fd, int exec_fd)
{
	char run_dir[PATH_MAX];
	char **environment;
	int code;

	if (kms_read_full(go_fd, run_dir, sizeof(run_dir)) != (ssize_t)sizeof(run_dir))
		_exit(KMS_RUN_FAILED);
	close(go_fd);
	environment = kms_launch_environment(f->library, run_dir, &f->options);
	if (environment)
		execvpe(f->program, f->config->argv, environment);
	code = environment ? errno : ENOMEM;
	(void)kms_write_full(exec_fd, &code, sizeof(code));
	_exit(KMS_RUN_NOT_EXEC);
}

static int start_program(struct front *f, struct kms_err *err)
{
	int go[2], result[2];
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
	close(go[0]);
	close(result[1]);
	f->go_fd = go[1];
	f->exec_fd = result[0];
	if (pid < 0)
		return kms_err_sys(err, -errno, "fork", NULL);
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

static int output_path(struct front *f, struct kms_err *err)
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

static _Noreturn void tracer_process(struct front *f, int fd)
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
	close(f->go_fd);
	close(f->exec_fd);
	command_line(f->config->argv, command);
	_exit(kms_run_tracer_main(&run));
}

static int start_tracer(struct front *f, struct kms_err *err)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return kms_err_sys(err, -errno, "socket pair", NULL);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		tracer_process(f, pair[1]);
	}
	close(pair[1]);
	f->tracer_fd = pair[0];
	/* The locks of the folders are the tracer's from here on. */
	close(f->session.dir_fd);
	close(f->session.run_fd);
	if (pid < 0)
		return kms_err_sys(err, -errno, "fork", NULL);
	f->result->tracer_pid = pid;
	return 0;
}

static void say(const struct front *f, const char *line)
{
	if (f->config->say)
		f->config->say(f->config->say_arg, line);
}

/* One message of the tracer; false when it is gone. */
static bool hear_tracer(struct front *f, struct kms_run_message *m)
{
	if (kms_run_receive(f->tracer_fd, m) <= 0) {
		close(f->tracer_fd);
		f->tracer_fd = -1;
		return false;
	}
	if (m->word == KMS_WORD_SAY)
		say(f, m->text);
	if (m->word == KMS_WORD_DONE) {
		f->result->store_failed = m->value != 0;
		f->done = true;
	}
	if (m->word == KMS_WORD_BACKGROUND) {
		f->result->background = true;
		f->result->n_others = (uint32_t)m->value;
		f->done = true;
	}
	return true;
}

static int wait_ready(struct front *f, struct kms_err *err)
{
	struct kms_run_message m;

	while (hear_tracer(f, &m)) {
		if (m.word == KMS_WORD_READY)
			return 0;
		if (m.word == KMS_WORD_FAILED)
			return kms_err_set(err, m.value < 0 ? m.value : -EIO, "%.*s",
					   KMS_ERR_TEXT_BYTES - 1, m.text);
	}
	return kms_err_set(err, -EIO, "the tracer ended before it was ready");
}

/* Lets the program begin; a positive result is the errno of a failed exec. */
static int release_program(struct front *f)
{
	char run_dir[PATH_MAX] = {0};
	int code = 0;

	memcpy(run_dir, f->session.run_dir, strlen(f->session.run_dir));
	if (kms_write_full(f->go_fd, run_dir, sizeof(run_dir)) < 0)
		return EPIPE;
	close(f->go_fd);
	f->go_fd = -1;
	if (kms_read_full(f->exec_fd, &code, sizeof(code)) != (ssize_t)sizeof(code))
		code = 0;
	return code;
}

/* Waits for the program while the tracer's lines are passed on. */
static void wait_program(struct front *f)
{
	int pidfd = (int)syscall(SYS_pidfd_open, f->result->pid, 0);
	struct pollfd p[2] = {
		{.fd = pidfd,        .events = POLLIN},
                {.fd = f->tracer_fd, .events = POLLIN}
        };
	struct kms_run_message m;

	while (pidfd >= 0) {
		p[1].fd = f->tracer_fd;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].fd >= 0 && p[1].revents && !hear_tracer(f, &m)) {
			f->result->tracer_lost = true;
			say(f, "tracer lost: the program goes on untraced; what was stored until "
			       "then is in the file");
		}
		if (p[0].revents)
			break;
		p[0].revents = p[1].revents = 0;
	}
	if (pidfd >= 0)
		close(pidfd);
	while (waitpid(f->result->pid, &f->result->wait_status, 0) < 0 && errno == EINTR)
		;
}

static void finish_tracer(struct front *f)
{
	struct kms_run_message m;

	if (f->tracer_fd < 0)
		return;
	(void)kms_run_send(f->tracer_fd, KMS_WORD_EXITED, f->result->wait_status, NULL);
	while (!f->done && hear_tracer(f, &m))
		;
	if (!f->done && !f->result->tracer_lost) {
		f->result->tracer_lost = true;
		say(f, "tracer lost: the file misses at most the last second");
	}
	/* In the background it goes on as a child of init. */
	if (f->done && !f->result->background)
		while (waitpid(f->result->tracer_pid, NULL, 0) < 0 && errno == EINTR)
			;
}

static int program_status(int wait_status)
{
	if (WIFSIGNALED(wait_status))
		return KMS_RUN_SIGNAL_BASE + WTERMSIG(wait_status);
	return WEXITSTATUS(wait_status);
}

/* The program never began: nobody else is to be left. */
static void cancel(struct front *f)
{
	if (f->tracer_fd >= 0) {
		(void)kms_run_send(f->tracer_fd, KMS_WORD_CANCEL, 0, NULL);
		close(f->tracer_fd);
	}
	if (f->go_fd >= 0)
		close(f->go_fd);
	if (f->result->pid > 0)
		waitpid(f->result->pid, NULL, 0);
	if (f->result->tracer_pid > 0)
		waitpid(f->result->tracer_pid, NULL, 0);
}

static int prepare(struct front *f, struct kms_err *err)
{
	const char *given = getenv("KMEM_OPTIONS");
	int result = given ? kms_options_parse(&f->options, given, err) : 0;

	if (result < 0)
		return kms_err_context(err, "KMEM_OPTIONS");
	for (size_t i = 0; i < f->config->n_settings; i++) {
		result = kms_options_set(&f->options, f->config->settings[i], err);
		if (result < 0)
			return result;
	}
	return kms_launch_library(f->library, err);
}

static int start_both(struct front *f, struct kms_err *err)
{
	int result = start_program(f, err);

	if (result == 0)
		result = output_path(f, err);
	if (result == 0)
		result = kms_session_create(&f->session, f->config->argv[0], f->result->pid, err);
	if (result == 0) {
		snprintf(f->result->socket, PATH_MAX, "%s", f->session.socket);
		result = start_tracer(f, err);
	}
	return result == 0 ? wait_ready(f, err) : result;
}

static int run_to_end(struct front *f, struct kms_err *err)
{
	struct sigaction old[4];
	int code;

	if (f->config->started)
		f->config->started(f->config->say_arg, f->result);
	program_pid = f->result->pid;
	front_signals(old);
	code = release_program(f);
	if (code) {
		restore_signals(old);
		kms_err_set(err, -code, "%s: %s", f->config->argv[0], strerror(code));
		cancel(f);
		return code == ENOENT ? KMS_RUN_NOT_FOUND : KMS_RUN_NOT_EXEC;
	}
	wait_program(f);
	program_pid = 0;
	finish_tracer(f);
	restore_signals(old);
	return program_status(f->result->wait_status);
}

int kms_run(const struct kms_run_config *config, struct kms_run_result *result, struct kms_err *err)
{
	struct front *f = calloc(1, sizeof(*f));
	int status;

	if (!f) {
		kms_err_set(err, -ENOMEM, "out of memory");
		return KMS_RUN_FAILED;
	}
	*result = (struct kms_run_result){.wait_status = -1};
	f->config = config;
	f->result = result;
	f->go_fd = f->exec_fd = f->tracer_fd = -1;
	status = kms_launch_check(config->argv[0], f->program, err);
	if (status == 0 && (prepare(f, err) < 0 || start_both(f, err) < 0)) {
		cancel(f);
		status = KMS_RUN_FAILED;
	} else if (status == 0) {
		status = run_to_end(f, err);
	}
	if (f->exec_fd >= 0)
		close(f->exec_fd);
	free(f);
	return status;
}
