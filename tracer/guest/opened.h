/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest that `attach` names, as the tracer's link to it needs it. */
#ifndef KMS_TRACER_GUEST_OPENED_H
#define KMS_TRACER_GUEST_OPENED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tracer/guest/guest.h"
#include "tracer/guest/link.h"
#include "tracer/guest/linux_view.h"

/** What opens a guest fills it; all of it is one user's: the link, under the lock of the images. */
struct kms_guest_opened {
	struct kms_guest *guest;
	char name
		[64]; /* of the machine or its emulator, or the RAM file: names trace and session */
	int pidfd;    /* of the emulator, -1 none; ours */
	bool is_saved;    /* nothing runs there */
	bool allow_write; /* the user wants to write its memory; set by whoever asks for it */
	uint64_t looked_ns;
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/**
 * Opens it. Shape: opened->say and its argument are the caller's to set before.
 * Errors: as kms_guest_target_parse(), kms_guest_open()
 */
int kms_guest_opened_open(const char *text, struct kms_guest_opened *opened, struct kms_err *err);

/** NULL of what is not open is nothing. */
void kms_guest_opened_close(struct kms_guest_opened *opened);

/** Fills the members of a link's configuration that it knows. */
void kms_guest_opened_describe(struct kms_guest_opened *opened,
			       struct kms_guest_link_config *config);

/** The same for the view of a Linux that is in it: whoever has the view has the guest alone. */
void kms_guest_opened_describe_linux(struct kms_guest_opened *opened,
				     struct kms_linux_view_config *config);

#endif
