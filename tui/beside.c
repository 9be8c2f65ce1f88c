/* SPDX-License-Identifier: BSD-2-Clause */
/* A program and the screen beside it: see beside.h. */
#include "tui/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tui/top_run.h"

/* What a handler of signals passes on to; there is one program at a time. */
static volatile sig_atomic_t work_pid;

static void pass_on(int signal)
{
	pid_t pid = work_pid;

	if (pid > 0)
		(void)kill(pid, signal);
}

int kms_beside_check(const struct kms_cli *cli)
{
	struct kms_err err = KMS_ERR_INIT;

	if (kms_term_check(&err) < 0)
		return kms_cli_fail(cli, &err, KMS_EXIT_USAGE);
	return 0;
}

void kms_beside_started(const struct kms_beside *beside, const struct kms_run_info *info)
{
	/* if the screen is gone, nobody needs it */
	(void)kms_write_full(beside->info_fd, info, sizeof(*info));
}

/* One standard stream: what is the terminal becomes @fd. */
static void exchange(int stream, int fd)
{
	if (fd >= 0 && isatty(stream))
		(void)dup2(fd, stream);
}

static void child_streams(struct kms_beside *beside)
{
	KMS_AUTO_CLOSE int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	KMS_AUTO_CLOSE int output = -1;

	if (!beside->output[0])
		snprintf(beside->output, sizeof(beside->output), "kmemscope.%d.out", (int)getpid());
	if (isatty(STDOUT_FILENO) || isatty(STDERR_FILENO))
		output = open(beside->output, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
			      0666);
	exchange(STDIN_FILENO, nothing);
	exchange(STDOUT_FILENO, output >= 0 ? output : nothing);
	exchange(STDERR_FILENO, output >= 0 ? output : nothing);
}

/* The child: everything that the command would have done without a screen. */
static int child_main(struct kms_beside *beside, int said_fd)
{
	FILE *said = fdopen(said_fd, "w");
	int status;

	(void)setpgid(0, 0);
	child_streams(beside);
	if (said) {
		(void)setvbuf(said, NULL, _IOLBF, 0); /* it may be read before we end */
		beside->cli->err = said;
	}
	beside->cli->color = false;
	status = beside->work(beside->arg);
	(void)fflush(beside->cli->out); /* a file; its owner sees how long it is */
	if (said)
		(void)fflush(said);
	return status;
}

/* Prints what the work said behind @at, once the terminal is the shell's again. */
static void replay(const struct kms_cli *cli, int said_fd, uint64_t *at)
{
	char bytes[4096];
	ssize_t n;

	while ((n = kms_pread_full(said_fd, bytes, sizeof(bytes), *at)) > 0) {
		kms_cli_write(cli->err, bytes, (size_t)n);
		*at += (uint64_t)n;
	}
	(void)fflush(cli->err); /* what cannot be said is lost */
}

/* The end of the work; *signal: what killed it, 0 nothing. */
static int wait_for(pid_t pid, int *signal)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	work_pid = 0;
	*signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return *signal ? 128 + *signal : WEXITSTATUS(status);
}

static bool is_over(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == pid;
}

/* Whether a process runs; one that ended and was not waited for yet does not. */
static bool runs(pid_t pid)
{
	char path[64];
	char bytes[512];
	const char *state;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	KMS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? kms_read_full(fd, bytes, sizeof(bytes) - 1) : -1;
	if (n <= 0)
		return false;
	bytes[n] = '\0';
	state = strrchr(bytes, ')'); /* behind the name, which may have brackets */
	return state && strncmp(state, ") Z", 3) != 0 && strncmp(state, ") X", 3) != 0;
}

/* The screen is left and the program runs on: as under `run` from here on. */
static void hand_over(const struct kms_beside *beside, pid_t pid, const struct kms_run_info *info)
{
	static const int passed[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
	const struct sigaction pass = {.sa_handler = pass_on};

	work_pid = pid;
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		sigaction(passed[i], &pass, NULL);
	if (beside->ends_with_screen)
		(void)kill(pid, SIGTERM);
	else if (!is_over(pid) && runs(info->pid))
		fprintf(beside->cli->err,
			"kmemscope %s: pid %d goes on, traced into %s; ^C goes to it, "
			"`kmemscope top` shows it again\n",
			beside->cli->command->name, (int)info->pid, info->file);
}

static void show(const struct kms_beside *beside, const struct kms_run_info *info)
{
	const struct kms_top_config config = kms_top_defaults();
	struct kms_source source = {.kind = KMS_SOURCE_SESSION};

	snprintf(source.name, sizeof(source.name), "of pid %d", (int)info->pid);
	memcpy(source.path, info->socket, sizeof(source.path));
	/* a program may be over before it was asked once */
	memcpy(source.file, info->file, sizeof(source.file));
	(void)kms_top_run(beside->cli, &source, &config);
}

/* The file of the program's output: named if there is something in it, else taken away. */
static void name_output(const struct kms_beside *beside, pid_t pid)
{
	char path[PATH_MAX];
	struct stat st;

	if (beside->output[0])
		memcpy(path, beside->output, sizeof(path));
	else
		snprintf(path, sizeof(path), "kmemscope.%d.out", (int)pid);
	if (!(isatty(STDOUT_FILENO) || isatty(STDERR_FILENO)) || stat(path, &st) < 0)
		return;
	if (st.st_size == 0)
		(void)unlink(path);
	else
		fprintf(beside->cli->err, "kmemscope %s: what the program printed is in %s\n",
			beside->cli->command->name, path);
}

static int parent_main(const struct kms_beside *beside, pid_t pid, int info_fd, int said_fd)
{
	struct kms_run_info info = {0};
	uint64_t said = 0;
	int signal;
	int status;

	if (kms_read_full(info_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		show(beside, &info);
		replay(beside->cli, said_fd, &said);
		hand_over(beside, pid, &info);
	}
	status = wait_for(pid, &signal);
	replay(beside->cli, said_fd, &said);
	if (signal) /* its own end it tells by its status */
		kms_cli_error(beside->cli, "killed by signal %d%s", signal,
			      info.pid && runs(info.pid) ? "; the program goes on" : "");
	name_output(beside, pid);
	return status;
}

int kms_beside_run(struct kms_beside *beside)
{
	KMS_AUTO_CLOSE int said_fd = memfd_create("kmemscope-said", MFD_CLOEXEC);
	int fds[2];
	pid_t pid;
	int status;

	if (said_fd < 0 || pipe2(fds, O_CLOEXEC) < 0) {
		kms_cli_error(beside->cli, "cannot start beside the screen: %m");
		return KMS_EXIT_FAILED;
	}
	(void)fflush(NULL); /* or the child would print it once more */
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		beside->info_fd = fds[1];
		_exit(child_main(beside, fcntl(said_fd, F_DUPFD_CLOEXEC, 3)));
	}
	close(fds[1]);
	if (pid > 0) {
		status = parent_main(beside, pid, fds[0], said_fd);
	} else {
		kms_cli_error(beside->cli, "cannot start beside the screen: %m");
		status = KMS_EXIT_FAILED;
	}
	close(fds[0]);
	return status;
}
