/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel's ELF file, 32 or 64 bits, of x86: its symbols, and what it puts into memory where. Nothing
 * in the file is believed, and it is read by pread only: it may be cut short, or another one, any time.
 */
#ifndef KMS_TRACER_GUEST_KERNEL_ELF_H
#define KMS_TRACER_GUEST_KERNEL_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct kms_symbols; /* kallsyms.h */

enum kms_kernel_elf_bounds {
	KMS_KERNEL_ELF_SEGMENTS = 64,
	KMS_KERNEL_ELF_SYMBOLS = 1 << 20,
	KMS_KERNEL_ELF_NAMES_BYTES = 64 << 20,
};

/** A table of symbols and their names in a file; 0 bytes: it has none. */
struct kms_kernel_elf_table {
	uint64_t at, bytes;
	uint64_t names_at, names_bytes;
};

/** An open file. All of it is filled by kms_kernel_elf_open(). */
struct kms_kernel_elf {
	int fd;
	bool is_wide; /* 64 bits */
	unsigned segments;
	Elf64_Phdr segment[KMS_KERNEL_ELF_SEGMENTS]; /* those that are loaded, as if of 64 bits */
	struct kms_kernel_elf_table table;
};

/** A symbol. Shape: name is borrowed for the call that gives it; bytes is 0 where the file does not say. */
struct kms_kernel_symbol {
	const char *name;
	uint64_t address;
	uint64_t bytes;
};

/** Errors: -ENOEXEC: no ELF file for x86; what open(2) says */
int kms_kernel_elf_open(const char *path, struct kms_kernel_elf *elf, struct kms_err *err);

void kms_kernel_elf_close(struct kms_kernel_elf *elf);

/** Bytes that the file puts at a virtual address; zeros behind a segment's file part. Errors: -EFAULT: not all in one segment; -EIO */
int kms_kernel_elf_content(const struct kms_kernel_elf *elf, uint64_t address, void *to, size_t n,
			   struct kms_err *err);

/** Whether an address is in a segment that the file does not make writable: text, constants. */
bool kms_kernel_elf_is_constant(const struct kms_kernel_elf *elf, uint64_t address);

/**
 * The first symbol with a name, a function or variable or whatever has an address.
 *
 * Shape:  out->name is @name
 * Errors: -ENOENT: none, or a file without symbols; -EFBIG; -EIO; -ENOMEM
 */
int kms_kernel_elf_find(const struct kms_kernel_elf *elf, const char *name,
			struct kms_kernel_symbol *out, struct kms_err *err);

/**
 * All of them, by name and by address.
 *
 * Owner:  kms_symbols_deinit() frees them
 * Errors: as kms_kernel_elf_find()
 */
int kms_kernel_elf_symbols(const struct kms_kernel_elf *elf, struct kms_symbols *out,
			   struct kms_err *err);

#endif
