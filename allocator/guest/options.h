/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line: words apart by blanks, "NAME" or "NAME=VALUE". */
#ifndef KMS_ALLOCATOR_GUEST_OPTIONS_H
#define KMS_ALLOCATOR_GUEST_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kms_heap;

/** Is this word there, by itself? */
bool kms_options_has(const char *options, const char *word);

/** The value of NAME=, up to the next blank; false: not there, or longer than @bytes - 1. */
bool kms_options_text(const char *options, const char *name, char *value, size_t bytes);

/** Its number, decimal or 0x; @otherwise where there is none. */
uint64_t kms_options_number(const char *options, const char *name, uint64_t otherwise);

/** Sets every variable that a word names (kmem_guard_depth=512); says which it cannot. */
void kms_options_set_variables(struct kms_heap *heap, const char *options);

#endif
