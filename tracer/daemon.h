/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `kmemscope daemon`: one process with many runs, one API over them, one file for each.
 *
 * A run comes by `run --daemon` (a front asks on run.sock), by a process that was started with
 * KMEMSCOPE_SOCKET (its region appears in the join folder), by attach, or from a daemon that died (its
 * run folders are still there). Each is a kms_tracer with a thread that stays with it.
 */
#ifndef KMS_TRACER_DAEMON_H
#define KMS_TRACER_DAEMON_H

#include <limits.h>
#include <stddef.h>

#include "base/err.h"
#include "schema/snapshot.h"

/** Runs that have ended stay visible: so many, and so long. Then only their files are left. */
#define KMS_DAEMON_ENDED_RUNS 16
#define KMS_DAEMON_ENDED_NS   UINT64_C(600000000000)

/** Shape: strings are borrowed for the call; functions may be NULL. */
struct kms_daemon_config {
	const char *folder; /* for traces; NULL: the current one */
	/** As in struct kms_run_config. */
	void *(*serve_start)(void *arg, const struct kms_view *view, const char *socket_path,
			     struct kms_err *err);
	void (*serve_stop)(void *server);
	void *serve_arg;
	/** Once, when clients can find it. */
	void (*started)(void *arg, const char *socket_path);
	/** One line for the user, without its end; any thread. */
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/**
 * Runs until SIGTERM, SIGINT or SIGHUP: then traces are finished, and the targets go on.
 *
 * Errors: -EBUSY: this user has one, err names it; what kms_session_create() says; -ENOTDIR, ...: the
 *         folder for traces; a trace that could not be finished
 * Locks:  the caller has one thread only. Signal mask and dispositions are as before on return.
 */
int kms_daemon(const struct kms_daemon_config *config, struct kms_err *err);

#endif
