/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/attach_front.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/process.h"

enum {
	MAX_FILES = 1000,
};

void kms_attach_front_init(struct kms_attach_front *front, const struct kms_attach_config *config,
			   struct kms_run_result *result)
{
	memset(front, 0, sizeof(*front));
	front->config = config;
	front->result = result;
	front->signal_fd = -1;
	front->session.dir_fd = front->session.run_fd = -1;
}

void kms_attach_front_say(void *arg, const char *line)
{
	const struct kms_attach_config *config = arg;

	if (config->say)
		config->say(config->say_arg, line);
}

int kms_attach_front_signals(struct kms_attach_front *front, struct kms_err *err)
{
	sigset_t mask;

	(void)sigemptyset(&mask); /* these cannot fail */
	(void)sigaddset(&mask, SIGINT);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &mask, &front->old_mask);
	front->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return front->signal_fd < 0 ? kms_err_sys(err, -errno, "signalfd", NULL) : 0;
}

void kms_attach_front_deinit(struct kms_attach_front *front)
{
	if (front->signal_fd >= 0)
		(void)close(front->signal_fd); /* nothing was written */
	(void)pthread_sigmask(SIG_SETMASK, &front->old_mask, NULL);
}

bool kms_attach_front_is_enough(const struct kms_attach_front *front)
{
	struct signalfd_siginfo signal;

	return read(front->signal_fd, &signal, sizeof(signal)) > 0;
}

void kms_attach_front_read_command(struct kms_attach_front *front)
{
	char path[64];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)front->pid); /* fits */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, front->command, sizeof(front->command) - 1);
	if (fd >= 0)
		(void)close(fd); /* only read from */
	for (ssize_t i = 0; i + 1 < n; i++)
		if (!front->command[i])
			front->command[i] = ' ';
}

/* A name that is not there yet: an earlier trace of the same is not to be lost by coming again. */
static void default_name(const struct kms_attach_front *front, char *name, size_t bytes)
{
	struct stat st;

	(void)snprintf(name, bytes, "kmemscope.%s.%d.kms", front->program, (int)front->pid);
	for (int i = 2; i < MAX_FILES && lstat(name, &st) == 0; i++)
		(void)snprintf(name, bytes, "kmemscope.%s.%d.%d.kms", front->program,
			       (int)front->pid, i);
}

int kms_attach_front_output(struct kms_attach_front *front, struct kms_err *err)
{
	char folder[PATH_MAX], name[NAME_MAX + 1];
	const char *output = front->config->output;
	int n;

	if (!output) {
		default_name(front, name, sizeof(name));
		output = name;
	}
	if (output[0] == '/')
		n = snprintf(front->result->file, PATH_MAX, "%s", output);
	else if (getcwd(folder, sizeof(folder)))
		n = snprintf(front->result->file, PATH_MAX, "%s/%s", folder, output);
	else
		return kms_err_sys(err, -errno, "current folder", NULL);
	return n < PATH_MAX ? 0 : kms_err_set(err, -ENAMETOOLONG, "-o: path too long");
}

int kms_attach_front_session(struct kms_attach_front *front, struct kms_err *err)
{
	int result = kms_session_create(&front->session, front->program, front->pid, err);

	if (!result)
		(void)snprintf(front->result->socket, PATH_MAX, "%s", front->session.socket);
	else if (result == -EBUSY)
		(void)kms_err_context(err, "%s of process %d is traced already", front->program,
				      (int)front->pid); /* its code is returned */
	return result;
}

int kms_attach_front_start(struct kms_attach_front *front, struct kms_err *err)
{
	const struct kms_attach_config *config = front->config;
	const struct kms_tracer_config tracer = {.run_dir = front->session.run_dir,
						 .output = front->result->file,
						 .command = front->command,
						 .first_pid = front->guest ? 0 : front->pid,
						 .guest = front->origin ? NULL : front->guest,
						 .origin = front->origin,
						 .say = kms_attach_front_say,
						 .say_arg = (void *)config}; /* only read */
	const struct kms_session_info info = {.pid = getpid(),
					      .program_pid = front->pid,
					      .program = front->program,
					      .command = front->command,
					      .file = front->result->file,
					      .started_wall_ns = kms_wall_ns()};

	front->tracer = kms_tracer_start(&tracer, err);
	if (!front->tracer)
		return err->code;
	front->view = kms_tracer_view(front->tracer);
	if (config->serve_start) {
		front->server = config->serve_start(config->serve_arg, &front->view,
						    front->session.socket, err);
		if (!front->server)
			return err->code;
	}
	return kms_session_publish(&front->session, &info, err);
}

int kms_attach_front_stop(struct kms_attach_front *front, struct kms_err *err)
{
	int result = 0;

	if (front->server && front->config->serve_stop)
		front->config->serve_stop(front->server);
	if (front->tracer)
		result = kms_tracer_stop(front->tracer, err);
	front->server = front->tracer = NULL;
	kms_session_destroy(&front->session);
	return result;
}

void kms_attach_front_abandon(struct kms_attach_front *front)
{
	struct kms_err ignored = KMS_ERR_INIT;

	if (!front->tracer) {
		kms_session_destroy(&front->session);
		return;
	}
	(void)kms_tracer_leave(front->tracer, 0, NULL);
	(void)kms_attach_front_stop(front, &ignored);
	(void)unlink(front->result->file); /* we made it, and nothing is in it */
}
