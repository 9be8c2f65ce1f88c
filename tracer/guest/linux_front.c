/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/linux_front.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/process.h"

enum {
	STEP_MS = 50,
};

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

/* Signals and the emulator's end. A RAM file stays until a signal comes. */
static void stay(struct kms_attach_front *front, const struct kms_guest_entry *entry)
{
	const struct kms_guest_opened *opened = &entry->opened;
	struct pollfd p[2] = {
		{.fd = front->signal_fd, .events = POLLIN},
		{.fd = opened->pidfd,    .events = POLLIN},
	};

	for (;;) {
		bool is_over;

		(void)poll(p, 2, STEP_MS); /* what came is asked for */
		is_over = opened->pidfd >= 0 && kms_process_has_ended(opened->pidfd);
		if (kms_attach_front_is_enough(front) || is_over ||
		    kms_linux_view_is_over(entry->linux_view)) {
			front->result->background = !is_over && !opened->is_saved;
			return;
		}
	}
}

int kms_linux_front_run(struct kms_attach_front *front, const struct kms_guest_entry *entry,
			struct kms_err *err)
{
	int result;

	front->view = kms_linux_view_ops(entry->linux_view);
	front->result->file[0] = '\0';
	result = kms_attach_front_session(front, err);
	if (!result) {
		result = serve(front, err);
		if (!result && front->config->started)
			front->config->started(front->config->say_arg, front->result);
		if (!result)
			stay(front, entry);
		if (front->server && front->config->serve_stop)
			front->config->serve_stop(front->server);
		front->server = NULL;
		kms_session_destroy(&front->session);
	}
	return result;
}
