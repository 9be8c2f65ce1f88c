/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's main thread: see daemon.h. It waits for signals, fronts and regions, and does nothing
 * that may take long; each run has a thread for that.
 */
#include "tracer/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tracer/daemon_impl.h"
#include "tracer/process.h"
#include "tracer/run_stay.h"

enum {
	TIDY_MS = 1000,
	LINE_BYTES = 2 * PATH_MAX,
};

/* What ends us, and what must not. */
static const int ending_signals[] = {SIGTERM, SIGINT, SIGHUP};
static const int ignored_signals[] = {SIGPIPE, SIGXFSZ};

enum {
	N_ENDING = sizeof(ending_signals) / sizeof(ending_signals[0]),
	N_IGNORED = sizeof(ignored_signals) / sizeof(ignored_signals[0]),
};

/* What the caller had. */
struct signals {
	sigset_t mask;
	struct sigaction old[N_IGNORED];
};

void daemon_say(struct kms_daemon *daemon, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list args;

	va_start(args, fmt);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
	(void)vsnprintf(line, sizeof(line), fmt, args); /* cut if need be */
	va_end(args);
	if (daemon->config->say)
		daemon->config->say(daemon->config->say_arg, line);
}

/* Blocked before any thread begins, so that only signal_fd gets them. */
static int take_signals(struct kms_daemon *daemon, struct signals *signals, struct kms_err *err)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < N_ENDING; i++)
		sigaddset(&set, ending_signals[i]);
	for (int i = 0; i < N_IGNORED; i++)
		sigaction(ignored_signals[i], &ignore, &signals->old[i]);
	(void)pthread_sigmask(SIG_BLOCK, &set, &signals->mask); /* cannot fail for such a set */
	daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return daemon->signal_fd < 0 ? kms_err_sys(err, -errno, "signalfd", NULL) : 0;
}

static void give_signals_back(const struct signals *signals)
{
	for (int i = 0; i < N_IGNORED; i++)
		sigaction(ignored_signals[i], &signals->old[i], NULL);
	(void)pthread_sigmask(SIG_SETMASK, &signals->mask, NULL); /* was got from it */
}

/* Where traces go; said now rather than when the first run comes. */
static int find_folder(struct kms_daemon *daemon, struct kms_err *err)
{
	const char *folder = daemon->config->folder ? daemon->config->folder : ".";
	struct stat st;

	if (!realpath(folder, daemon->folder) || stat(daemon->folder, &st) < 0)
		return kms_err_sys(err, -errno, "folder for traces", folder);
	if (S_ISDIR(st.st_mode) && access(daemon->folder, W_OK | X_OK) == 0)
		return 0;
	return kms_err_sys(err, S_ISDIR(st.st_mode) ? -errno : -ENOTDIR, "folder for traces",
			   folder);
}

static int serve(struct kms_daemon *daemon, struct kms_err *err)
{
	const struct kms_daemon_config *config = daemon->config;

	kms_fleet_set_attach(daemon->fleet, daemon_attach, daemon);
	daemon->view = kms_fleet_view(daemon->fleet);
	if (config->serve_start) {
		daemon->server = config->serve_start(config->serve_arg, &daemon->view,
						     daemon->session.socket, err);
		if (!daemon->server)
			return err->code ? err->code : -EIO;
	}
	return 0;
}

static int publish(struct kms_daemon *daemon, struct kms_err *err)
{
	const struct kms_session_info info = {
		.pid = getpid(),
		.program = KMS_SESSION_DAEMON,
		.command = "kmemscope daemon",
		.started_wall_ns = kms_wall_ns(),
	};

	return kms_session_publish(&daemon->session, &info, err);
}

/* Everything that clients, fronts and processes find; last what says so. */
static int start(struct kms_daemon *daemon, struct kms_err *err)
{
	int result = find_folder(daemon, err);
	struct kms_list found;

	if (!result)
		result = kms_session_create_daemon(&daemon->session, err);
	if (result)
		return result;
	kms_list_init(&found);
	daemon_adopt_find(daemon, &found);
	daemon->fleet = kms_fleet_create(daemon_adopt_begin_ns(&found));
	if (!daemon->fleet)
		result = kms_err_set(err, -ENOMEM, "no memory for the daemon");
	else if (daemon->wake_fd < 0)
		result = kms_err_sys(err, -EMFILE, "eventfd", NULL);
	if (result) {
		daemon_adopt_forget(&found);
		return result;
	}
	daemon_adopt(daemon, &found);
	result = daemon_listen(daemon, err);
	if (!result)
		result = daemon_join_begin(daemon, err);
	if (!result)
		result = serve(daemon, err);
	return result ? result : publish(daemon, err);
}

static void drain(int fd)
{
	uint64_t ignored[sizeof(struct signalfd_siginfo) / sizeof(uint64_t)];

	(void)!read(fd, ignored, sizeof(ignored)); /* only to empty it */
}

/* One round: waits for whatever comes first, and does it. False: we are to end. */
static bool turn(struct kms_daemon *daemon)
{
	struct pollfd p[] = {
		{.fd = daemon->signal_fd, .events = POLLIN},
		{.fd = daemon->listen_fd, .events = POLLIN},
		{.fd = daemon->notify_fd, .events = POLLIN},
		{.fd = daemon->wake_fd,   .events = POLLIN},
	};
	int wait_ms = daemon_join_route(daemon);

	if (wait_ms < 0 || wait_ms > TIDY_MS)
		wait_ms = TIDY_MS;
	if (poll(p, sizeof(p) / sizeof(p[0]), wait_ms) > 0) {
		if (p[0].revents) {
			drain(daemon->signal_fd);
			return false;
		}
		if (p[1].revents)
			daemon_accept(daemon);
		if (p[2].revents)
			daemon_join_read(daemon);
		if (p[3].revents)
			drain(daemon->wake_fd);
	}
	daemon_runs_tidy(daemon);
	return true;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd); /* nothing was written that matters */
}

/* In this order: nobody joins any more, clients are answered, traces are finished, the folders go. */
static int stop(struct kms_daemon *daemon, struct kms_err *err)
{
	int result;

	close_fd(daemon->listen_fd);
	if (daemon->server && daemon->config->serve_stop)
		daemon->config->serve_stop(daemon->server);
	result = daemon_runs_end(daemon, err);
	daemon_join_end(daemon);
	kms_fleet_destroy(daemon->fleet);
	kms_session_destroy(&daemon->session);
	close_fd(daemon->wake_fd);
	/* who was impatient meanwhile has what he wants */
	for (int i = 0; i < N_ENDING && daemon->signal_fd >= 0; i++)
		drain(daemon->signal_fd);
	close_fd(daemon->signal_fd);
	return result;
}

static int run(struct kms_daemon *daemon, struct kms_err *err)
{
	struct kms_err end = KMS_ERR_INIT;
	int result = start(daemon, err);

	if (!result) {
		if (daemon->config->started)
			daemon->config->started(daemon->config->say_arg, daemon->session.socket);
		while (turn(daemon))
			continue;
		daemon_say(daemon, "ending: traces are finished, the programs go on");
	}
	if (stop(daemon, &end) && !result) {
		result = end.code;
		*err = end;
	}
	return result;
}

int kms_daemon(const struct kms_daemon_config *config, struct kms_err *err)
{
	struct kms_daemon *daemon = calloc(1, sizeof(*daemon)); /* paths: too much for a stack */
	struct signals signals;
	pthread_condattr_t attr;
	int result;

	if (!daemon)
		return kms_err_set(err, -ENOMEM, "no memory for the daemon");
	daemon->config = config;
	daemon->listen_fd = daemon->notify_fd = -1;
	daemon->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	daemon->session.dir_fd = daemon->session.run_fd = -1;
	kms_list_init(&daemon->runs);
	kms_list_init(&daemon->joins);
	/* none of these can fail with these arguments on Linux */
	(void)pthread_mutex_init(&daemon->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&daemon->asked, &attr);
	(void)pthread_condattr_destroy(&attr);
	kms_run_raise_limits();
	result = take_signals(daemon, &signals, err);
	if (!result)
		result = run(daemon, err);
	give_signals_back(&signals);
	(void)pthread_cond_destroy(&daemon->asked); /* nobody waits or holds any more */
	(void)pthread_mutex_destroy(&daemon->lock);
	free(daemon);
	return result;
}
