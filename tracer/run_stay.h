/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Staying with a run until nothing of it is left, whether or not its front still is: what the tracer's
 * process of `kmemscope run` does, and each thread of the daemon that has a run.
 */
#ifndef KMS_TRACER_RUN_STAY_H
#define KMS_TRACER_RUN_STAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "tracer/tracer.h"

/** Shape: the first block is the caller's to fill, the rest begins as 0. */
struct kms_run_stay {
	struct kms_tracer *tracer;
	pid_t program;
	int fd;                  /* to the front; -1: there is none */
	int program_fd;          /* says when the program is over if the front cannot; -1 none */
	const atomic_bool *stop; /* set by somebody else: enough; may be NULL */
	bool (*turn)(void *arg); /* called now and then; false: enough; may be NULL */
	void *turn_arg;
	void (*say)(void *arg, const char *line);
	void *say_arg;

	bool front_gone;
	bool program_over;
	bool cancelled; /* the program never began */
	bool in_background;
};

/** Returns when the run is over, cancelled, or the caller is to stop. */
void kms_run_stay(struct kms_run_stay *stay);

/** Raises the limits that were meant for programs and not for a tracer, as far as they may be. */
void kms_run_raise_limits(void);

#endif
