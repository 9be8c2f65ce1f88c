/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the debug information of a stripped file is: the places that gdb and elfutils agree on.
 *
 *   1. <root>/.build-id/xx/yyyy.debug                                     by build-id
 *   2. <folder>/<link>, <folder>/.debug/<link>, <root><folder>/<link>     by .gnu_debuglink
 *   3. what debuginfod finds, if it is allowed
 *
 * A file counts only if it is the right one: same build-id, or, where there is none, the checksum of the link.
 * What several files share has been moved out of them by dwz: .gnu_debugaltlink names that file and its build-id.
 */
#ifndef KMS_TRACER_SYMBOLS_DEBUGFILE_H
#define KMS_TRACER_SYMBOLS_DEBUGFILE_H

#include <elfutils/libdw.h>
#include <stdbool.h>

#include "tracer/symbols_elf.h"

/** Where to look. Borrowed. */
struct kms_symbols_debug_search {
	const char *root; /* normally /usr/lib/debug */
	bool allow_debuginfod;
};

/** Opens the debug file of a build-id. False if there is none; file is closed then. */
bool kms_symbols_debugfile_by_build_id(const struct kms_symbols_debug_search *search,
				       const uint8_t *build_id, size_t n,
				       struct kms_symbols_elf *file);

/** Opens the debug file of a file at a path. False if there is none; debug is closed then. */
bool kms_symbols_debugfile_find(const struct kms_symbols_debug_search *search, const char *path,
				const struct kms_symbols_elf *file, struct kms_symbols_elf *debug);

/** Opens the file that dwz has moved shared parts to. file is what dwarf was read from. False if none is named or it is not there. */
bool kms_symbols_debugfile_alternate(const struct kms_symbols_debug_search *search, Dwarf *dwarf,
				     const struct kms_symbols_elf *file,
				     struct kms_symbols_elf *alternate);

/**
 * Fetches a debug file with libdebuginfod, which is loaded at run time only.
 *
 * Owner:  the caller frees the path. NULL: not found, or libdebuginfod is not installed.
 */
char *kms_symbols_debuginfod_fetch(const uint8_t *build_id, size_t n);

#endif
