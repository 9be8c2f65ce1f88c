/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the RAM of an emulated machine lies: which guest-physical addresses are behind which offset
 * of its one block of memory. PCs have a hole below 4 GiB for devices; what does not fit below the
 * hole lies from 4 GiB on.
 */
#ifndef KMS_TRACER_GUEST_LAYOUT_H
#define KMS_TRACER_GUEST_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/memory.h"

/** Kinds of machines by where they split their RAM. */
enum kms_guest_machine {
	KMS_GUEST_MACHINE_UNKNOWN = 0, /* one stretch, not above what a pc has below its hole */
	KMS_GUEST_MACHINE_PC = 1,
	KMS_GUEST_MACHINE_Q35 = 2,
	KMS_GUEST_MACHINE_MICROVM = 3,
	KMS_GUEST_MACHINE_ISAPC = 4, /* a pc without PCI */
	KMS_GUEST_MACHINES,
};

/** A stretch of RAM. */
struct kms_guest_segment {
	uint64_t address; /* guest-physical, page-aligned */
	uint64_t bytes;
	uint64_t place; /* of its first byte: offset in a file, or address in the emulator */
};

/** All RAM of a machine. */
struct kms_guest_layout {
	/* ascending; neighbours may touch each other, if their places do not */
	struct kms_guest_segment segment[KMS_GUEST_RANGES];
	size_t segments;
};

/**
 * Layout of a machine with so much RAM; places are offsets in its block of memory.
 *
 * Shape:  max_below: what max-ram-below-4g= says, 0 nothing
 * Errors: -ERANGE: no such machine has that much, or none at all; -EINVAL: not known where it lies
 */
int kms_guest_layout_make(struct kms_guest_layout *layout, enum kms_guest_machine machine,
			  uint64_t ram_bytes, uint64_t max_below, struct kms_err *err);

/** Kind of machine by its name as in -machine: "q35", "pc-q35-7.2", "pc", "pc-i440fx-6.1", ... */
enum kms_guest_machine kms_guest_machine_find(const char *name);

/**
 * Whether a layout can be one: aligned, ascending, without overlap, no end above UINT64_MAX.
 *
 * Errors: -EINVAL
 */
int kms_guest_layout_check(const struct kms_guest_layout *layout, struct kms_err *err);

/** Adds to every place: where the block begins. Errors: -ERANGE: above UINT64_MAX */
int kms_guest_layout_shift(struct kms_guest_layout *layout, uint64_t by, struct kms_err *err);

/** Place behind a guest-physical address that is RAM; *bytes: from there to the end of its stretch. */
uint64_t kms_guest_layout_place(const struct kms_guest_layout *layout, uint64_t address,
				uint64_t *bytes);

#endif
