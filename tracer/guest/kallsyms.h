/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The symbols of a Linux kernel: decoded from the tables that it carries in its memory, by name and
 * by address.
 *
 * The tables are those of CONFIG_KALLSYMS_BASE_RELATIVE: names as indices into 256 tokens, 32-bit
 * offsets from a base. Of an offset there are two readings (with and without absolute per-CPU
 * symbols); which one a kernel means is found by a symbol whose address is known.
 */
#ifndef KMS_TRACER_GUEST_KALLSYMS_H
#define KMS_TRACER_GUEST_KALLSYMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum kms_symbols_bounds {
	KMS_SYMBOLS_MAX = 1 << 20,             /* Debian's 6.12 has 155,000 */
	KMS_SYMBOLS_MAX_NAME_BYTES = 64 << 20, /* all of them, decoded */
	KMS_SYMBOL_NAME_BYTES = 512, /* of one, with its end: the kernel's KSYM_NAME_LEN */
};

/** The tables, copied. names is what follows kallsyms_names, as much as could be read. */
struct kms_kallsyms_tables {
	uint32_t count;
	uint64_t relative_base;
	const uint8_t *names;
	size_t names_bytes;
	const char *tokens;
	size_t tokens_bytes;
	const uint16_t *token_index; /* 256 */
	const int32_t *offsets;      /* count */
};

/** A symbol that must decode to this address: it decides the reading of offsets. */
struct kms_kallsyms_known {
	const char *name;
	uint64_t address;
};

/** Symbols in order of address. All owned; kms_symbols_deinit() frees them. */
struct kms_symbols {
	uint32_t count;
	uint32_t names_bytes;
	uint64_t *address;
	uint32_t *name;   /* offsets in names */
	char *names;      /* ends with a NUL */
	uint64_t *bucket; /* by hash of the name: its upper half, and index + 1; 0 empty */
	uint32_t buckets; /* a power of two */
};

/**
 * Decodes the tables.
 *
 * Errors: -EBADMSG: damaged, or neither reading gives the known symbol; -EFBIG; -ENOMEM
 */
int kms_symbols_decode(struct kms_symbols *symbols, const struct kms_kallsyms_tables *tables,
		       const struct kms_kallsyms_known *known, struct kms_err *err);

/** Makes names findable where the rest was filled in otherwise. Errors: -ENOMEM */
int kms_symbols_index(struct kms_symbols *symbols, struct kms_err *err);

void kms_symbols_deinit(struct kms_symbols *symbols);

/** Address of a name, the lowest if there are several; 0: none. */
uint64_t kms_symbols_find(const struct kms_symbols *symbols, const char *name);

/** Address of the first symbol above that of a name; 0: none. What lies between bounds its size. */
uint64_t kms_symbols_end(const struct kms_symbols *symbols, uint64_t address);

/** Name of the symbol at or below an address, and how far above it; NULL: none. Borrowed. */
const char *kms_symbols_name(const struct kms_symbols *symbols, uint64_t address, uint64_t *offset);

#endif
