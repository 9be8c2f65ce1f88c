/* SPDX-License-Identifier: BSD-2-Clause */
/* Which guests are traced by this user's sessions. A process says so itself, in its memory; a guest does not. */
#ifndef KMS_TUI_TRACED_GUESTS_H
#define KMS_TUI_TRACED_GUESTS_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "tui/hooks.h"

struct kms_traced_guest {
	pid_t pid; /* of its emulator */
	char session[NAME_MAX + 1];
};

struct kms_traced_guests {
	struct kms_traced_guest *item;
	size_t n;
};

/**
 * Asks each live session. One that does not answer soon is passed over: the list is for people.
 *
 * Owner: the caller frees with kms_traced_guests_deinit()
 */
void kms_traced_guests_ask(const struct kms_hooks *hooks, struct kms_traced_guests *guests);

void kms_traced_guests_deinit(struct kms_traced_guests *guests);

/** The session that traces a guest; "": none. Owner: the list */
const char *kms_traced_guests_session(const struct kms_traced_guests *guests, pid_t pid);

#endif
