/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front of `kmemscope run`. Order: the program's process first, held at a pipe, because folder
 * and file carry its pid; then the tracer; then the pipe lets the program go.
 */
#include "tracer/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "tracer/launch.h"
#include "tracer/run_front.h"
#include "tracer/run_wire.h"
#include "tracer/session.h"

/* Handled while the program runs. What a process sends to us is meant for the program; what the
 * terminal sends (si_code > 0) reaches the program by itself. */
static const int handled[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

enum {
	MIB = 1 << 20,
	FILE_MIB = 32,     /* the smallest region has 20 */
	ADDRESS_MIB = 512, /* the tracer takes 400, an eighth is for the region */
	DAEMON_S = 20,   /* a daemon that does not answer for so long: the program is not started */
	REJOIN_MS = 200, /* between looks for a daemon that goes on where ours died */
	FILES = 16,      /* what front and tracer have open at a time, measured: 15 */
	N_HANDLED = sizeof(handled) / sizeof(handled[0]),
};

/* What the caller had; the last one is SIGPIPE. */
struct signals {
	struct sigaction old[N_HANDLED + 1];
};

static volatile sig_atomic_t program_pid;

/* A program that signals its own group has done so already. */
static void pass_on(int signal, siginfo_t *info, void *context)
{
	int saved = errno;
	pid_t pid = program_pid;

	(void)context;
	if (pid > 0 && info->si_code <= 0 && info->si_pid != pid)
		kill(pid, signal);
	errno = saved;
}

/* We outlive the program to say how it ended. */
static void front_signals(struct signals *signals)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	const struct sigaction pass = {.sa_sigaction = pass_on,
				       .sa_flags = SA_SIGINFO | SA_RESTART};

	for (int i = 0; i < N_HANDLED; i++)
		sigaction(handled[i], &pass, &signals->old[i]);
	sigaction(SIGPIPE, &ignore, &signals->old[N_HANDLED]);
}

static void restore_signals(const struct signals *signals)
{
	for (int i = 0; i < N_HANDLED; i++)
		sigaction(handled[i], &signals->old[i], NULL);
	sigaction(SIGPIPE, &signals->old[N_HANDLED], NULL);
}

/* Our own descriptors must not take the numbers of standard streams that the caller closed. They are
 * close-on-exec: the program finds them closed, as it would without us. */
static void fill_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static void reap(pid_t pid, int *wait_status)
{
	while (waitpid(pid, wait_status, 0) < 0 && errno == EINTR)
		;
}

static void say(const struct kms_front *f, const char *line)
{
	if (f->config->say)
		f->config->say(f->config->say_arg, line);
}

/* The next daemon goes on with our run, into a file of its own. */
static void went_on(struct kms_front *f, const char *file)
{
	struct kms_run_result *result = f->result;
	char line[2 * PATH_MAX + 128];

	f->rejoining = false;
	result->tracer_lost = false;
	kms_front_set_patience(f, 0);
	if (result->n_earlier < KMS_RUN_EARLIER)
		memcpy(result->earlier[result->n_earlier], result->file, PATH_MAX);
	result->n_earlier++;
	snprintf(line, sizeof(line),
		 "the daemon is there again: what came since goes into %s, which "
		 "continues %s",
		 file, result->file);
	snprintf(result->file, PATH_MAX, "%s", file);
	say(f, line);
}

/* One message of the tracer; false when it is gone. */
static bool hear_tracer(struct kms_front *f, struct kms_run_message *m)
{
	if (kms_run_receive(f->tracer_fd, m) <= 0) {
		close(f->tracer_fd);
		f->tracer_fd = -1;
		f->rejoining = false;
		return false;
	}
	if (f->rejoining && m->word == KMS_WORD_READY)
		went_on(f, m->text);
	if (f->rejoining && m->word == KMS_WORD_FAILED)
		f->refused = true;
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

static int wait_ready(struct kms_front *f, struct kms_err *err)
{
	struct kms_run_message m;

	while (hear_tracer(f, &m)) {
		if (m.word == KMS_WORD_READY) {
			snprintf(f->result->file, PATH_MAX, "%s", m.text);
			return 0;
		}
		if (m.word == KMS_WORD_FOLDER)
			snprintf(f->session.run_dir, PATH_MAX, "%s", m.text);
		if (m.word == KMS_WORD_FAILED)
			return kms_err_set(err, m.value < 0 ? m.value : -EIO, "%.*s",
					   KMS_ERR_TEXT_BYTES - 1, m.text);
	}
	return kms_err_set(err, -EIO, "the %s",
			   f->config->by_daemon ? "daemon does not answer"
						: "tracer ended before it was ready");
}

/* Lets the program begin; a positive result is the errno of a failed exec. */
static int release_program(struct kms_front *f)
{
	char run_dir[PATH_MAX] = {0};
	int code = 0;

	memcpy(run_dir, f->session.run_dir, strlen(f->session.run_dir));
	/* if this fails a signal has ended it already: its wait status will say so */
	(void)kms_write_full(f->go_fd, run_dir, sizeof(run_dir));
	close(f->go_fd);
	f->go_fd = -1;
	if (kms_read_full(f->exec_fd, &code, sizeof(code)) != (ssize_t)sizeof(code))
		code = 0;
	return code;
}

static void tracer_gone(struct kms_front *f)
{
	if (f->done || f->result->tracer_lost)
		return;
	f->result->tracer_lost = true;
	say(f, f->config->by_daemon
		       ? "daemon lost: the program goes on, untraced until another one "
			 "is started; what was stored until then is in the file"
		       : "tracer lost: the program goes on untraced; what was stored "
			 "until then is in the file");
}

/* Whether a daemon may come that goes on with our run. */
static bool may_rejoin(const struct kms_front *f)
{
	return f->config->by_daemon && f->tracer_fd < 0 && f->result->tracer_lost && !f->refused;
}

static void rejoin(struct kms_front *f)
{
	if (may_rejoin(f) && kms_front_rejoin_daemon(f) == 0)
		kms_front_set_patience(f, DAEMON_S);
}

/* Waits for the program while the tracer's lines are passed on. */
static void wait_program(struct kms_front *f)
{
	int pidfd = (int)syscall(SYS_pidfd_open, f->result->pid, 0);
	struct pollfd p[2] = {
		{.fd = pidfd,        .events = POLLIN},
                {.fd = f->tracer_fd, .events = POLLIN}
        };
	struct kms_run_message m;

	while (pidfd >= 0) {
		p[1].fd = f->tracer_fd;
		if (poll(p, 2, may_rejoin(f) ? REJOIN_MS : -1) < 0 && errno != EINTR)
			break;
		if (p[1].fd >= 0 && p[1].revents && !hear_tracer(f, &m))
			tracer_gone(f);
		if (p[0].revents)
			break;
		rejoin(f);
		p[0].revents = p[1].revents = 0;
	}
	if (pidfd >= 0) {
		close(pidfd);
		program_pid = 0; /* its number may soon be another's */
	}
	reap(f->result->pid, &f->result->wait_status);
	program_pid = 0;
}

static void finish_tracer(struct kms_front *f)
{
	struct kms_run_message m;

	rejoin(f); /* the last moment: it may be there since our last look */
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
	if (f->done && !f->result->background && f->result->tracer_pid > 0)
		reap(f->result->tracer_pid, NULL);
}

static int program_status(int wait_status)
{
	if (WIFSIGNALED(wait_status))
		return KMS_RUN_SIGNAL_BASE + WTERMSIG(wait_status);
	return WEXITSTATUS(wait_status);
}

/* The program never began: nobody else is to be left. */
static void cancel(struct kms_front *f)
{
	if (f->tracer_fd >= 0) {
		(void)kms_run_send(f->tracer_fd, KMS_WORD_CANCEL, 0, NULL);
		close(f->tracer_fd);
		f->tracer_fd = -1;
	}
	if (f->go_fd >= 0) {
		close(f->go_fd);
		f->go_fd = -1;
	}
	if (f->result->pid > 0)
		reap(f->result->pid, NULL);
	if (f->result->tracer_pid > 0)
		reap(f->result->tracer_pid, NULL);
}

/* A limit that program and tracer inherit, and under which neither the shared memory of a program
 * nor the tracer has room. */
static int check_limit(int resource, uint64_t least_mib, const char *what, struct kms_err *err)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit) < 0 ||
	    limit.rlim_cur / MIB >= least_mib)
		return 0;
	return kms_err_set(err, -ENOTSUP,
			   "cannot trace with a limit of %" PRIu64 " KiB %s; raise it to %" PRIu64
			   " KiB at least",
			   (uint64_t)limit.rlim_cur / 1024, what, least_mib * 1024);
}

/* So many descriptors that we could not even say what is missing. */
static int check_files(struct kms_err *err)
{
	struct rlimit limit;
	unsigned taken = 0;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > 1024)
		return 0;
	for (int fd = 0; fd < (int)limit.rlim_cur; fd++)
		taken += fcntl(fd, F_GETFD) >= 0;
	if (limit.rlim_cur >= taken + FILES)
		return 0;
	return kms_err_set(
		err, -ENOTSUP,
		"cannot trace with a limit of %u open files (ulimit -n), %u of them taken; "
		"raise it to %u at least",
		(unsigned)limit.rlim_cur, taken, taken + FILES);
}

static int prepare(struct kms_front *f, struct kms_err *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the caller has one thread */
	const char *given = getenv("KMEM_OPTIONS");
	int result = given ? kms_options_parse(&f->options, given, err) : 0;

	if (result < 0) {
		(void)kms_err_context(err, "KMEM_OPTIONS");
		return result;
	}
	for (size_t i = 0; i < f->config->n_settings; i++) {
		result = kms_options_set(&f->options, f->config->settings[i], err);
		if (result < 0)
			return result;
	}
	result = check_limit(RLIMIT_FSIZE, FILE_MIB, "for a file (ulimit -f)", err);
	if (result == 0)
		result = check_limit(RLIMIT_AS, ADDRESS_MIB, "of address space (ulimit -v)", err);
	if (result == 0)
		result = check_files(err);
	return result < 0 ? result : kms_launch_library(f->library, err);
}

/* The daemon says where the run's folder is, and where the trace. */
static int start_by_daemon(struct kms_front *f, struct kms_err *err)
{
	int result = kms_front_start_program(f, err);

	if (result == 0 && f->config->output)
		result = kms_front_output_path(f, err);
	if (result == 0)
		result = kms_front_join_daemon(f, err);
	if (result < 0)
		return result;
	kms_front_set_patience(f, DAEMON_S);
	result = wait_ready(f, err);
	if (result == 0)
		kms_front_set_patience(f, 0);
	return result == 0 ? kms_launch_link(f->library, f->session.run_dir, err) : result;
}

static int start_both(struct kms_front *f, struct kms_err *err)
{
	int result = kms_front_start_program(f, err);

	if (result == 0)
		result = kms_front_output_path(f, err);
	if (result == 0)
		result = kms_session_create(&f->session, f->config->argv[0], f->result->pid, err);
	if (result == 0) {
		snprintf(f->result->socket, PATH_MAX, "%s", f->session.socket);
		result = kms_launch_link(f->library, f->session.run_dir, err);
		if (result < 0)
			kms_session_destroy(&f->session);
	}
	if (result == 0) {
		result = kms_front_start_tracer(f, err);
	}
	return result == 0 ? wait_ready(f, err) : result;
}

/* The program runs all the same; its allocator does not touch what has no memory. */
static void say_room(struct kms_front *f)
{
	char line[PATH_MAX + 128];

	if (kms_session_room(f->session.run_dir) >= KMS_SESSION_ROOM_BYTES)
		return;
	snprintf(line, sizeof(line),
		 "no room is left in %s for the program's shared memory: it runs, and little or "
		 "nothing of it is traced",
		 f->session.run_dir);
	say(f, line);
}

static int run_to_end(struct kms_front *f, struct kms_err *err)
{
	struct signals old;
	int code;

	if (f->config->started)
		f->config->started(f->config->say_arg, f->result);
	say_room(f);
	program_pid = f->result->pid;
	front_signals(&old);
	code = release_program(f);
	if (code) {
		restore_signals(&old);
		kms_err_set(err, -code, "cannot execute %s: %s", f->program, strerrordesc_np(code));
		cancel(f);
		return code == ENOENT ? KMS_RUN_NOT_FOUND : KMS_RUN_NOT_EXEC;
	}
	wait_program(f);
	/* from here on an impatient user may end us; the tracer finishes the file all the same */
	restore_signals(&old);
	finish_tracer(f);
	return program_status(f->result->wait_status);
}

static int run(struct kms_front *f, struct kms_err *err)
{
	int status = kms_launch_check(f->config->argv[0], f->program, err);

	if (status == 0 && (prepare(f, err) < 0 ||
			    (f->config->by_daemon ? start_by_daemon : start_both)(f, err) < 0)) {
		cancel(f);
		status = KMS_RUN_FAILED;
	} else if (status == 0) {
		status = run_to_end(f, err);
	}
	if (f->exec_fd >= 0)
		close(f->exec_fd);
	if (f->tracer_fd >= 0)
		close(f->tracer_fd);
	return status;
}

int kms_run(const struct kms_run_config *config, struct kms_run_result *result, struct kms_err *err)
{
	const struct sigaction normal = {.sa_handler = SIG_DFL};
	struct kms_front *f = calloc(1, sizeof(*f));
	int status;

	if (!f) {
		kms_err_set(err, -ENOMEM, "out of memory");
		return KMS_RUN_FAILED;
	}
	*result = (struct kms_run_result){.wait_status = -1};
	f->config = config;
	f->result = result;
	f->go_fd = f->exec_fd = f->tracer_fd = -1;
	fill_standard_streams();
	/* a caller that ignores it would leave us without the program's exit status */
	sigaction(SIGCHLD, &normal, &f->sigchld);
	status = run(f, err);
	sigaction(SIGCHLD, &f->sigchld, NULL);
	free(f);
	return status;
}
