/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is the same for everything that `kmemscope attach` takes, process or guest: the trace's name,
 * the session, tracer and API, and the signals that end it. Private to attach_run.c and guest/run.c.
 */
#ifndef KMS_TRACER_ATTACH_FRONT_H
#define KMS_TRACER_ATTACH_FRONT_H

#include <signal.h>

#include "tracer/attach_run.h"
#include "tracer/tracer.h"

/** Who does it, in the audit. */
#define KMS_ATTACH_WHO "kmemscope attach"

/** All zero but for descriptors, which are -1: kms_attach_front_init(). */
struct kms_attach_front {
	const struct kms_attach_config *config;
	struct kms_run_result *result;
	char program[KMS_ATTACH_NAME_BYTES]; /* names trace and session */
	char command[4096];
	pid_t pid; /* likewise; of the process, or of a guest's emulator */
	struct kms_guest_link *guest;
	const struct kms_tracer_origin *origin; /* of events that come from elsewhere; NULL none */
	struct kms_session session;
	struct kms_tracer *tracer;
	struct kms_view view;
	void *server;
	int signal_fd; /* readable: enough */
	sigset_t old_mask;
};

void kms_attach_front_init(struct kms_attach_front *front, const struct kms_attach_config *config,
			   struct kms_run_result *result);

/** Says a line to the user. */
void kms_attach_front_say(void *config, const char *line);

/** Blocks the signals that end it. Errors: -EMFILE */
int kms_attach_front_signals(struct kms_attach_front *front, struct kms_err *err);
/** Unblocks them. */
void kms_attach_front_deinit(struct kms_attach_front *front);

/** Whether one of them came. */
bool kms_attach_front_is_enough(const struct kms_attach_front *front);

/** "PROG ARGS" of the process, with blanks. */
void kms_attach_front_read_command(struct kms_attach_front *front);

/** Sets result->file. Errors: -ENAMETOOLONG */
int kms_attach_front_output(struct kms_attach_front *front, struct kms_err *err);

/** Makes the session; sets result->socket. Errors: as kms_session_create() */
int kms_attach_front_session(struct kms_attach_front *front, struct kms_err *err);

/** Starts tracer and API and publishes the session. Errors: as kms_tracer_start() and serve_start() */
int kms_attach_front_start(struct kms_attach_front *front, struct kms_err *err);

/** Ends them all; the file is complete. Errors: as kms_tracer_stop() */
int kms_attach_front_stop(struct kms_attach_front *front, struct kms_err *err);

/** Likewise, and removes the file, because nothing is in it. */
void kms_attach_front_abandon(struct kms_attach_front *front);

#endif
