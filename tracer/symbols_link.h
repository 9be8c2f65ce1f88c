/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The resolver's end of the helper: its process and its socket.
 *
 * Starting one is safe in a program with threads: nothing of ours runs between fork and exec. Ending one never blocks
 * for long, even if the kernel cannot end it (a file on a dead network mount). No locks; one thread at a time.
 */
#ifndef KMS_TRACER_SYMBOLS_LINK_H
#define KMS_TRACER_SYMBOLS_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tracer/symbols_wire.h"

enum {
	KMS_SYMBOLS_LINK_UNDEAD =
		4, /* killed helpers that have not ended yet: no further one is started above this */
};

/** One helper process, or none (pid 0). */
struct kms_symbols_link {
	pid_t pid;
	int pidfd;      /* -1 if the kernel has none; a pid alone may be another process by now */
	int fd;         /* stream socket */
	bool is_ending; /* by itself: it has closed its end, or sees that ours is closed */
	struct kms_symbols_wire_in in;
	pid_t undead[KMS_SYMBOLS_LINK_UNDEAD];
};

/** Makes a link without a process. */
void kms_symbols_link_init(struct kms_symbols_link *link);

/** Ends the process, if there is one, by closing the socket or else by force, and frees the buffers. */
void kms_symbols_link_deinit(struct kms_symbols_link *link);

/** What a helper is started with. Borrowed during the call. */
struct kms_symbols_link_config {
	const char *helper_exec;
	const struct kms_symbols_wire_config *wire;
};

/**
 * Starts a helper and waits until it is ready.
 *
 * Shape:  there must be none yet. deadline_ns is on CLOCK_MONOTONIC.
 * Errors: as kms_symbols_create; there is no process then.
 */
int kms_symbols_link_open(struct kms_symbols_link *link, const struct kms_symbols_link_config *cfg,
			  uint64_t deadline_ns, struct kms_err *err);

/**
 * Kills the helper, if there is one, and waits a moment for its end.
 *
 * Returns whether it had been killed from outside: by SIGKILL, and not by this function.
 */
bool kms_symbols_link_close(struct kms_symbols_link *link);

/** Whether a helper is there and has not closed its end. Only between requests, when nothing is to be received. */
bool kms_symbols_link_is_alive(const struct kms_symbols_link *link);

/** Sends all bytes. 0, -EPIPE (it died), -ETIMEDOUT, -ENOMEM (out->failed). */
int kms_symbols_link_send(struct kms_symbols_link *link, const struct kms_symbols_wire_out *out,
			  uint64_t deadline_ns);

/**
 * Waits for the next message.
 *
 * Owner:  the payload is valid until the next call.
 * Errors: -EPIPE (it died), -ETIMEDOUT, -EPROTO (no message of ours), -ENOMEM. The link is of no use afterwards.
 */
int kms_symbols_link_receive(struct kms_symbols_link *link, struct kms_symbols_wire_message *msg,
			     uint64_t deadline_ns);

/**
 * Copies the environment without what would change the helper: preloads, our own and the C library's variables,
 * DEBUGINFOD_* unless they are allowed. Last comes a mark by which a program that was started as a helper and is none
 * is kept from starting another. For kms_symbols_link_open and its test.
 *
 * Owner:  one allocation, freed by the caller; the strings are borrowed from environ. NULL: no memory.
 */
char **kms_symbols_link_environment(char *const *environment, bool allow_debuginfod);

#endif
