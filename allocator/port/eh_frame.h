/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * .eh_frame as it lies in memory: finding the entry of a pc.
 *
 * The bytes are hostile (a broken linker, a program that scribbles): every read is bounded by the
 * view, every loop by the bytes it eats. No state, no allocation, no libc.
 */
#ifndef KMS_ALLOCATOR_PORT_EH_FRAME_H
#define KMS_ALLOCATOR_PORT_EH_FRAME_H

#include <stdbool.h>
#include <stdint.h>

/** The readable bytes around the tables: the segment that holds them. */
struct kms_eh_view {
	const uint8_t *start;
	const uint8_t *end;
};

/** Reads bytes up to @end; after the first read past it everything reads as 0 and @bad is set. */
struct kms_eh_cursor {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

/** A frame description entry with what its CIE says. Pointers lie in the view. */
struct kms_fde {
	uint64_t start, end; /* code, [start, end) */
	uint64_t code_align;
	int64_t data_align;
	uint64_t return_register;
	bool signal_frame;
	bool augmented;               /* has augmentation data, whose length is written */
	uint8_t encoding;             /* of code addresses */
	struct kms_eh_cursor common;  /* instructions of the CIE */
	struct kms_eh_cursor program; /* instructions of the FDE */
};

/**
 * Finds the entry whose code holds @address.
 *
 * Shape:  @header is the .eh_frame_hdr inside of @view
 * Errors: false if there is none or the tables make no sense
 * Source: LSB 5.0 core, chapter 10.6 and 10.7
 */
bool kms_eh_find(const struct kms_eh_view *view, const uint8_t *header, uint64_t address,
		 struct kms_fde *fde);

uint64_t kms_eh_unsigned(struct kms_eh_cursor *cursor, unsigned bytes);
int64_t kms_eh_signed(struct kms_eh_cursor *cursor, unsigned bytes);
uint64_t kms_eh_uleb(struct kms_eh_cursor *cursor);
int64_t kms_eh_sleb(struct kms_eh_cursor *cursor);

/** A pointer in one of the DW_EH_PE encodings; @data_base for those relative to the header. */
uint64_t kms_eh_pointer(struct kms_eh_cursor *cursor, uint8_t encoding, uint64_t data_base);

#endif
