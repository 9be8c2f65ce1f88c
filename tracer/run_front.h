/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front of a run and the two processes that it starts. Inside of run.c and run_start.c.
 */
#ifndef KMS_TRACER_RUN_FRONT_H
#define KMS_TRACER_RUN_FRONT_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>

#include "tracer/options.h"
#include "tracer/run.h"
#include "tracer/session.h"

/* One run as the front sees it. */
struct kms_front {
	const struct kms_run_config *config;
	struct kms_run_result *result;
	char program[PATH_MAX];
	char library[PATH_MAX];
	struct kms_options options;
	struct kms_session session;
	int go_fd;                /* to the program: path of the run's folder lets it begin */
	int exec_fd;              /* from the program: errno if it could not be executed */
	int tracer_fd;            /* to the tracer's process, or the daemon */
	bool done;                /* the tracer said its last word */
	bool rejoining;           /* another daemon was asked to go on, and has not answered */
	bool refused;             /* and there is none to be asked: it does not have the run */
	struct sigaction sigchld; /* as the caller had it, and the program is to have it */
};

/**
 * Forks the program's process, held at a pipe; sets result->pid, go_fd and exec_fd.
 * Errors: -EAGAIN, -ENOMEM, -EMFILE, ...
 */
int kms_front_start_program(struct kms_front *f, struct kms_err *err);

/** Sets result->file, which carries the program's pid unless -o named one. Errors: -ENAMETOOLONG */
int kms_front_output_path(struct kms_front *f, struct kms_err *err);

/**
 * Asks the daemon for a run; sets tracer_fd, the run's folder and result->socket.
 * Errors: -ECONNREFUSED, -ENOENT: there is no daemon; what the daemon says; -ETIMEDOUT
 */
int kms_front_join_daemon(struct kms_front *f, struct kms_err *err);

/**
 * Asks a daemon that took over from one that died for our run; sets tracer_fd. Its answer is heard
 * later. Errors: -ECONNREFUSED, -ENOENT: there is none yet; -EPIPE, -EAGAIN: it does not listen
 */
int kms_front_rejoin_daemon(struct kms_front *f);

/** How long the tracer's next words are waited for; 0: for ever. */
void kms_front_set_patience(struct kms_front *f, int seconds);

/**
 * Forks the tracer's process; sets result->tracer_pid and tracer_fd.
 *
 * Owner:  the session is the tracer's from then on; on failure it is gone.
 */
int kms_front_start_tracer(struct kms_front *f, struct kms_err *err);

#endif
