/* SPDX-License-Identifier: BSD-2-Clause */
/* A module open in the helper: its file, its debug files, and what has been read from them. */
#ifndef KMS_TRACER_SYMBOLS_IMAGE_H
#define KMS_TRACER_SYMBOLS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/symbols_debugfile.h"
#include "tracer/symbols_dwarf.h"
#include "tracer/symbols_elf.h"
#include "tracer/symbols_lookup.h"
#include "tracer/symbols_table.h"

/** A module as the resolver has registered it. Borrowed. */
struct kms_symbols_image_desc {
	const char *path;
	const uint8_t *build_id;
	size_t n_build_id;
	uint64_t mapped_bytes;
};

/** The module. All zero is closed. */
struct kms_symbols_image {
	struct kms_symbols_elf file;      /* closed if only a debug file is left of it */
	struct kms_symbols_elf debug;     /* closed if there is none or the file has its own */
	struct kms_symbols_elf alternate; /* of dwz; closed if there is none */
	struct kms_symbols_dwarf dwarf;
	Dwarf *alternate_dwarf;
	struct kms_symbols_table table;
	bool has_table; /* read, on the first address that DWARF does not know */
};

/**
 * Opens a module. The build-id decides what it is: where another file is at the path by now, or none, its debug file may
 * still be there, and is enough.
 *
 * Returns KMS_SYMBOL_OK, else why not; it is closed then.
 */
enum kms_symbol_reason kms_symbols_image_open(struct kms_symbols_image *image,
					      const struct kms_symbols_image_desc *desc,
					      const struct kms_symbols_debug_search *search);

/** Closes a module; does nothing if it is closed. */
void kms_symbols_image_close(struct kms_symbols_image *image);

/** Answers a look-up that has begun, names readable. Borrowed until the image is closed or the look-up begins anew. */
void kms_symbols_image_find(struct kms_symbols_image *image, struct kms_symbols_lookup *lookup);

#endif
