/* SPDX-License-Identifier: BSD-2-Clause */
/* An ELF file, opened with distrust. Helper process only, like all of libelf and libdw. */
#ifndef KMS_TRACER_SYMBOLS_ELF_H
#define KMS_TRACER_SYMBOLS_ELF_H

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/symbols.h"

/** The file; elf is NULL if it is closed. All zero is closed. */
struct kms_symbols_elf {
	Elf *elf;
	int fd;
	uint64_t file_bytes;
	const uint8_t *build_id; /* in the file; NULL if it has none */
	size_t n_build_id;
	bool is_relocatable; /* no program: its addresses mean nothing. What dwz makes is such a file */
};

/**
 * Opens an executable, a shared object, a separate debug file or a relocatable one.
 *
 * Never waits on a FIFO and never touches a device: anything but a regular file is KMS_SYMBOL_NO_FILE.
 * Returns KMS_SYMBOL_OK, KMS_SYMBOL_NO_FILE or KMS_SYMBOL_BAD_ELF; the file is closed on failure.
 */
enum kms_symbol_reason kms_symbols_elf_open(struct kms_symbols_elf *file, const char *path);

/** Closes the file; does nothing if it is closed. */
void kms_symbols_elf_close(struct kms_symbols_elf *file);

/** Whether the file has exactly this build-id. */
bool kms_symbols_elf_has_build_id(const struct kms_symbols_elf *file, const uint8_t *build_id,
				  size_t n);

/** Whether the file has a section of this name with contents, compressed or not. */
bool kms_symbols_elf_has_section(const struct kms_symbols_elf *file, const char *name);

#endif
