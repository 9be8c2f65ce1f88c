/* SPDX-License-Identifier: BSD-2-Clause */
/* Saved memory of a real guest, and how it is read whole: one of these for each kind of kernel. */
#ifndef KMS_TRACER_GUEST_TEST_IMAGES_H
#define KMS_TRACER_GUEST_TEST_IMAGES_H

#include <stdbool.h>

#include "tracer/guest/test/damage.h"

/** How much of a guest was read. Shape: events as many as the reader gave */
struct images_seen {
	bool opened; /* a kernel was found */
	uint64_t events;
	uint64_t objects; /* live, or ever allocated: what is the same at each reading */
};

/** A kind of kernel. */
struct images_kernel {
	const char *name;
	size_t word; /* that its lists are made of, bytes */
	/** Reads all that there is, by all ways that clients have; scratch is a folder. */
	void (*read)(struct watched *watched, const char *scratch, uint64_t number,
		     struct images_seen *seen);
	/** Where each kind of damage is to be done; the undamaged memory was just read and recorded. */
	void (*find_places)(struct watched *watched, struct damage_places places[DAMAGE_KINDS]);
};

extern const struct images_kernel images_linux, images_ours;

#endif
