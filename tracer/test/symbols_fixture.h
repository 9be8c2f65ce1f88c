/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of the symbol resolver know of their fixtures without the code under test: addresses of marks, lines of
 * marks, build-ids. Anything that is missing ends the test program with a message.
 */
#ifndef KMS_TRACER_TEST_SYMBOLS_FIXTURE_H
#define KMS_TRACER_TEST_SYMBOLS_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/symbols.h"

enum {
	FIXTURE_PATH_BYTES = 1024,
};

/** Path of a built fixture; name may have folders. Shape: path has FIXTURE_PATH_BYTES bytes. */
const char *fixture_path(char *path, const char *name);

/** Folder of the fixtures' sources. */
const char *fixture_source_folder(void);

/** Whether a fixture was built: some need a tool that may be missing. */
bool fixture_exists(const char *name);

/** Address of a global symbol in the symbol table of a fixture. */
uint64_t fixture_address(const char *name, const char *symbol);

/** Line of a source that ends in a comment with this text. */
uint32_t fixture_line(const char *source, const char *text);

/** Build-id of a fixture; returns its length. Shape: build_id has KMS_SYMBOLS_BUILD_ID_BYTES bytes. */
size_t fixture_build_id(const char *name, uint8_t *build_id);

/** Whole content of a fixture. Owner: the caller frees it. */
uint8_t *fixture_read(const char *name, size_t *n_bytes);

/** Makes a private folder that fixture_scratch_remove takes away with all that is in it. */
void fixture_scratch_create(char *path);

/** The undo of fixture_scratch_create. */
void fixture_scratch_remove(const char *path);

/** Writes a file; path is any path. */
void fixture_write(const char *path, const void *bytes, size_t n);

/** Registers a module by path alone. */
uint32_t fixture_module(struct kms_symbols *sym, const char *path);

/** Resolves one address that is no return address. */
struct kms_symbol_answer fixture_resolve(struct kms_symbols *sym, uint32_t module, uint64_t offset);

/** Waits until a process has ended (or is a zombie of somebody else); false after 10 s. */
bool fixture_wait_ended(pid_t pid);

#endif
