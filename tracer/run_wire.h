/* SPDX-License-Identifier: BSD-2-Clause */
/* What the front and the tracer of a run say to each other over a socket pair; one build, one
 * machine, so plain structures. */
#ifndef KMS_TRACER_RUN_WIRE_H
#define KMS_TRACER_RUN_WIRE_H

#include <stdint.h>
#include <sys/types.h>

#include "tracer/run.h"

enum kms_run_word {
	KMS_WORD_READY = 1,      /* tracer: the program may start; text = path of the trace */
	KMS_WORD_FAILED = 2,     /* tracer: cannot start; value = errno, text says why */
	KMS_WORD_SAY = 3,        /* tracer: a line for the user */
	KMS_WORD_EXITED = 4,     /* front: value = wait status of the program */
	KMS_WORD_DONE = 5,       /* tracer: the file is closed; value = 1 if it is not complete */
	KMS_WORD_BACKGROUND = 6, /* tracer: value processes live on, it stays with them */
	KMS_WORD_CANCEL = 7,     /* front: the program never started */
	/* `run --daemon`: what the front says first, in this order, and the first answer */
	KMS_WORD_JOIN = 8,    /* front: value = pid of the program, text = its name */
	KMS_WORD_COMMAND = 9, /* front: text = its command line */
	KMS_WORD_OUTPUT =
		10, /* front: value = 1 for the first process alone; text = trace, "" any */
	KMS_WORD_FOLDER = 11, /* daemon: text = folder of the run, for KMEMSCOPE_RUN */
	/* instead of JOIN, to a daemon that took over from one that died; the answer is READY */
	KMS_WORD_REJOIN = 12, /* front: value = pid of the program, text = folder of its run */
};

enum {
	KMS_RUN_TEXT_BYTES = 4096,
};

struct kms_run_message {
	uint32_t word; /* enum kms_run_word */
	int32_t value;
	char text[KMS_RUN_TEXT_BYTES];
};

/** Sends one message; false if the other side is gone. */
int kms_run_send(int fd, uint32_t word, int32_t value, const char *text);

/** Receives one whole message. 1 got it, 0 the other side is gone, negative errno. */
int kms_run_receive(int fd, struct kms_run_message *message);

/** Makes a standard stream of this process go nowhere. */
void kms_run_silence(int fd);

/** What the tracer's process needs to know. */
struct kms_run_tracer {
	const struct kms_run_config *config;
	struct kms_session *session;
	const char *output;
	const char *command;
	pid_t program;
	int fd; /* to the front */
};

/** The tracer's process from fork to exit; returns its exit status. */
int kms_run_tracer_main(const struct kms_run_tracer *run);

#endif
