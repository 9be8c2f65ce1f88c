/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's own symbols, which the second link put into the image: an ELF file with a symbol table. */
#ifndef KMS_ALLOCATOR_GUEST_SYMBOLS_H
#define KMS_ALLOCATOR_GUEST_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

/** Address and size of that file; size 0 if there is none. */
const void *kms_symbols_blob(size_t *bytes);

/** The function that holds an address, and where in it; NULL unknown. */
const char *kms_symbols_find(uint64_t pc, uint64_t *offset);

/** A line "    0xPC FUNCTION+0xN" on the console. */
void kms_symbols_print_frame(uint64_t pc);

#endif
