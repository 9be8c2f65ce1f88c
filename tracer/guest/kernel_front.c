/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/kernel_front.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/guest/linux_saved.h"
#include "tracer/process.h"

enum {
	STEP_MS = 50,
};

const char *kms_kernel_front_folder(char *room)
{
	char parent[PATH_MAX];

	if (kms_linux_saved_folder(room, PATH_MAX))
		return NULL;
	/* the folder of all programs' caches may be missing for a new user */
	(void)snprintf(parent, sizeof(parent), "%s", room);
	*strrchr(parent, '/') = '\0';
	(void)mkdir(parent, S_IRWXU); /* it is there, or nothing is kept */
	return room;
}

static int serve(struct kms_attach_front *front, struct kms_err *err)
{
	const struct kms_attach_config *config = front->config;
	const struct kms_session_info info = {.pid = getpid(),
					      .program_pid = front->pid,
					      .program = front->program,
					      .command = front->command,
					      .file = "",
					      .started_wall_ns = kms_wall_ns()};

	if (config->serve_start) {
		front->server = config->serve_start(config->serve_arg, &front->view,
						    front->session.socket, err);
		if (!front->server)
			return err->code;
	}
	return kms_session_publish(&front->session, &info, err);
}

void kms_kernel_front_stay(struct kms_attach_front *front, const struct kms_guest_opened *opened,
			   bool (*is_over)(void *arg), void *arg)
{
	struct pollfd p[2] = {
		{.fd = front->signal_fd, .events = POLLIN},
		{.fd = opened->pidfd,    .events = POLLIN},
	};

	for (;;) {
		bool has_ended;

		(void)poll(p, 2, STEP_MS); /* what came is asked for */
		has_ended = opened->pidfd >= 0 && kms_process_has_ended(opened->pidfd);
		if (kms_attach_front_is_enough(front) || has_ended || is_over(arg)) {
			front->result->background = !has_ended && !opened->is_saved;
			return;
		}
	}
}

int kms_kernel_front_run(struct kms_attach_front *front, struct kms_guest_opened *opened,
			 bool (*is_lost)(void *arg), void *arg, struct kms_err *err)
{
	int result;

	front->result->file[0] = '\0';
	result = kms_attach_front_session(front, err);
	if (result)
		return result;
	result = serve(front, err);
	if (!result && front->config->started)
		front->config->started(front->config->say_arg, front->result);
	if (!result)
		kms_kernel_front_stay(front, opened, is_lost, arg);
	if (front->server && front->config->serve_stop)
		front->config->serve_stop(front->server);
	front->server = NULL;
	kms_session_destroy(&front->session);
	return result;
}
