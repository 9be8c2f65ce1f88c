/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions by the symbol table of an ELF file: all there is in a stripped one. Helper process only. */
#ifndef KMS_TRACER_SYMBOLS_TABLE_H
#define KMS_TRACER_SYMBOLS_TABLE_H

#include <libelf.h>
#include <stdbool.h>
#include <stdint.h>

#include "tracer/symbols_ranges.h"

/** The table. All zero is empty. The Elf must outlive it. */
struct kms_symbols_table {
	Elf *elf;
	size_t names_idx; /* section of the names */
	struct kms_symbols_ranges
		sized; /* symbols that say how long they are; ref as in symbols_table.c */
	struct kms_symbols_ranges
		labels; /* symbols that do not: each reaches to the end of its section */
};

/** A name as found, borrowed from the file. */
struct kms_symbols_table_hit {
	const char *name;
	size_t n_name; /* without the version that some linkers append: memcpy@@GLIBC_2.14 */
	uint64_t start;
};

/** Reads the functions of the first section of a type: SHT_SYMTAB or SHT_DYNSYM. False if there are none; empty then. */
bool kms_symbols_table_init(struct kms_symbols_table *table, Elf *elf, uint32_t section_type);

/** Frees the table and makes it empty. */
void kms_symbols_table_deinit(struct kms_symbols_table *table);

/** Finds the function that covers an address. False if there is none. */
bool kms_symbols_table_find(const struct kms_symbols_table *table, uint64_t address,
			    struct kms_symbols_table_hit *hit);

#endif
