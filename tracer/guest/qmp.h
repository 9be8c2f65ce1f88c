/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QMP, the control channel of a QEMU: JSON commands, answers and events over a socket.
 *
 * A socket serves one client at a time: a second one is accepted by the kernel and gets no greeting.
 * The other side may be anything that listens there, so lines and waiting times are bounded.
 * (qemu.org: QMP specification.)
 */
#ifndef KMS_TRACER_GUEST_QMP_H
#define KMS_TRACER_GUEST_QMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tracer/guest/layout.h"

enum kms_qmp_bounds {
	KMS_QMP_WORD_BYTES = 64,
	KMS_QMP_MESSAGE_BYTES = 4 << 20, /* `info mtree -f` has some 100 KiB */
	KMS_QMP_EVENTS = 64,             /* kept until they are asked for */
	KMS_QMP_TIMEOUT_MS = 3000,       /* of a command: a busy machine answers late */
};

/** An event; names that are no words are left out. */
struct kms_qmp_event {
	char name[KMS_QMP_WORD_BYTES];   /* "STOP", "RESET", ... */
	char reason[KMS_QMP_WORD_BYTES]; /* its data's reason, status or action; or "" */
};

struct kms_qmp;

/**
 * Connects, greets, and takes up the capabilities.
 *
 * Shape:  address: path of a Unix socket, or HOST:PORT
 * Errors: -EBUSY: no greeting in time, another client has it; -EPROTO: something else answers;
 *         -ENAMETOOLONG; what connect(2) says
 */
int kms_qmp_open(const char *address, unsigned timeout_ms, struct kms_qmp **qmp,
		 struct kms_err *err);

/** Closes. NULL is nothing. */
void kms_qmp_close(struct kms_qmp *qmp);

/** Its socket, to poll for reading; then kms_qmp_next_event(). */
int kms_qmp_fd(const struct kms_qmp *qmp);

/** Process that listens on it, by the kernel's word; 0: not on this machine, or not by a Unix socket. */
pid_t kms_qmp_peer(const struct kms_qmp *qmp);

/**
 * A command without arguments and without an answer of interest: "stop", "cont", ...
 *
 * Errors: -EIO: refused, with QEMU's words; -ETIMEDOUT; -EPIPE: closed; -EPROTO: no answer that is
 *         one; -EMSGSIZE: longer than the bound; -ENOMEM. After all but the first the channel is of no
 *         more use.
 */
int kms_qmp_command(struct kms_qmp *qmp, const char *command, struct kms_err *err);

/** Words of `query-status`: "running", "paused", "postmigrate", ... Errors: as kms_qmp_command() */
int kms_qmp_status(struct kms_qmp *qmp, char status[KMS_QMP_WORD_BYTES], bool *is_running,
		   struct kms_err *err);

/**
 * A command of the human monitor, and what it prints.
 *
 * Owner:  the caller frees *text
 * Errors: as kms_qmp_command()
 */
int kms_qmp_monitor(struct kms_qmp *qmp, const char *command, char **text, struct kms_err *err);

/**
 * Where the guest has its RAM; places are addresses in the process of QEMU.
 *
 * Errors: as kms_qmp_command(); -EPROTO: what it says makes no sense; -ENOTSUP: in too many pieces
 */
int kms_qmp_layout(struct kms_qmp *qmp, struct kms_guest_layout *layout, struct kms_err *err);

/**
 * The next event, waiting for it.
 *
 * Returns 1: *event is filled; 0: none within that time
 * Errors: as kms_qmp_command()
 */
int kms_qmp_next_event(struct kms_qmp *qmp, int timeout_ms, struct kms_qmp_event *event,
		       struct kms_err *err);

#endif
