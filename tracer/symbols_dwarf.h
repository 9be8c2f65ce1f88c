/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions, inlined ones too, and lines by DWARF. Helper process only. */
#ifndef KMS_TRACER_SYMBOLS_DWARF_H
#define KMS_TRACER_SYMBOLS_DWARF_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stddef.h>

#include "tracer/symbols_lookup.h"
#include "tracer/symbols_ranges.h"

/** One compilation unit; what it holds is read when an address in it is first asked for. */
struct kms_symbols_unit {
	Dwarf_CU *cu;
	Dwarf_Die die;  /* has ranges and lines */
	Dwarf_Die tree; /* has the functions: the same, or its half in a .dwo file */
	struct kms_symbols_ranges functions; /* ref: offset of the DIE */
	const char *folder; /* where it was compiled; relative file names belong there */
	Dwarf_Lines *lines;
	size_t n_lines;
	bool has_functions; /* read: those at the top and in name spaces */
	bool has_nested;    /* read: those within functions, too */
	bool has_lines;     /* read */
};

/** The DWARF of one file. All zero is none. */
struct kms_symbols_dwarf {
	Dwarf *dwarf;
	struct kms_symbols_unit *units;
	size_t n_units, units_size;
	struct kms_symbols_ranges ranges; /* ref: index of the unit */
};

/** Takes over a Dwarf and finds its units. The Elf that it reads, and an alternate file, must outlive it. */
void kms_symbols_dwarf_init(struct kms_symbols_dwarf *dwarf, Dwarf *handle);

/** Frees all of it, the Dwarf too. */
void kms_symbols_dwarf_deinit(struct kms_symbols_dwarf *dwarf);

/**
 * Puts the frames of lookup->address into its answer, names still mangled.
 *
 * The reason becomes KMS_SYMBOL_OK if there is at least a line; without a function it is one frame without a name.
 */
void kms_symbols_dwarf_find(struct kms_symbols_dwarf *dwarf, struct kms_symbols_lookup *lookup);

#endif
