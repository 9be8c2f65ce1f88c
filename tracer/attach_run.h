/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `kmemscope attach`: a tracer for a process that runs already, in the caller's process, until that
 * ends or the caller is asked to let it go.
 */
#ifndef KMS_TRACER_ATTACH_RUN_H
#define KMS_TRACER_ATTACH_RUN_H

#include "tracer/run.h"

/** Shape: strings are borrowed for the call; functions may be NULL. */
struct kms_attach_config {
	pid_t pid;
	const char
		*output; /* trace; NULL: kmemscope.PROG.PID.kms in the current folder, or the first
			     * of kmemscope.PROG.PID.2.kms, .3.kms, ... that is not there */
	const char *const *settings; /* n_settings times NAME=VALUE, as for --set */
	size_t n_settings;
	bool stopped; /* stop the process at once, through the view */
	/** As in struct kms_run_config. */
	void *(*serve_start)(void *arg, const struct kms_view *view, const char *socket_path,
			     struct kms_err *err);
	void (*serve_stop)(void *server);
	void *serve_arg;
	/** The process has been asked; file and socket are known. */
	void (*started)(void *arg, const struct kms_run_result *result);
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/**
 * Attaches and stays until the process ends, leaves by a request of a client, or SIGINT, SIGTERM or
 * SIGHUP comes, which lets it go on without us. The file is complete then.
 *
 * result: wait_status stays -1 (it is not our child); background: true if the process lives on.
 *
 * Errors: as kms_attach_process(), kms_session_create(), kms_tracer_start()
 * Locks:  the caller has one thread only; its signal mask is as before on return.
 */
int kms_attach_run(const struct kms_attach_config *config, struct kms_run_result *result,
		   struct kms_err *err);

#endif
