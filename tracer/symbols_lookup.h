/* SPDX-License-Identifier: BSD-2-Clause */
/* One look-up in the helper: the answer while it is put together, and the names made for it. */
#ifndef KMS_TRACER_SYMBOLS_LOOKUP_H
#define KMS_TRACER_SYMBOLS_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/symbols_wire.h"

/** The C++ demangler, a library loaded at the first name that needs it. All zero is "not tried yet". */
struct kms_symbols_demangler {
	char *(*demangle)(const char *name, char *buffer, size_t *length, int *status);
	bool is_tried;
};

/** The answer. Texts are borrowed from the open file, or lie in `owned`. Large: one per helper. */
struct kms_symbols_lookup {
	uint64_t address;       /* what is looked up: for a return address the byte before */
	uint64_t asked_address; /* what was asked: function_offset counts to here */
	struct kms_symbols_wire_answer answer;
	char *owned
		[2 *
		 KMS_SYMBOLS_FRAMES]; /* texts that stand in no file: a function and a file per frame */
	size_t n_owned;
	struct kms_symbols_demangler demangler;
};

/** Begins a look-up: no frames, KMS_SYMBOL_NO_SYMBOL. Frees the names of the one before; all zero has none. */
void kms_symbols_lookup_begin(struct kms_symbols_lookup *lookup,
			      const struct kms_symbols_wire_entry *entry);

/** Frees the names of the last look-up. */
void kms_symbols_lookup_deinit(struct kms_symbols_lookup *lookup);

/** Replaces each mangled function name by a demangled one, as far as there is a demangler for it. */
void kms_symbols_lookup_demangle(struct kms_symbols_lookup *lookup);

/** Hands a text of malloc's to a look-up, which frees it in time. Returns the text; NULL stays NULL. */
char *kms_symbols_lookup_own(struct kms_symbols_lookup *lookup, char *text);

/**
 * The path of a source file: relative ones are joined to the folder of the compilation, "." parts are taken out.
 *
 * Shape:  both may be NULL. ".." stays: with symbolic links in the way it cannot be resolved by text alone.
 * Owner:  borrowed from the arguments or owned by the look-up. No text if file is NULL, or if no memory is left.
 */
struct kms_symbols_wire_text kms_symbols_source_path(struct kms_symbols_lookup *lookup,
						     const char *folder, const char *file);

/** A NUL-terminated text of a file, cut where the wire would cut it; no text if it is NULL or empty. */
struct kms_symbols_wire_text kms_symbols_text(const char *text);

#endif
