/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual addresses of a guest: its page tables, walked from outside.
 *
 * x86-64 with 4 and 5 levels, 32-bit with 4 KiB and 4 MiB pages, PAE (by its pointer table, or where a
 * kernel only says where its directories are); large pages of all of them.
 *
 * Tables are hostile: entries that point outside of RAM or have reserved bits set end a walk with
 * an error. One that points at a table of its own level or above does not: kernels map their tables
 * that way, and a walk takes as many steps as there are levels, whatever it meets.
 * (Intel SDM volume 3, chapter 4.)
 */
#ifndef KMS_TRACER_GUEST_SPACE_H
#define KMS_TRACER_GUEST_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/memory.h"

enum kms_guest_paging {
	KMS_GUEST_PAGING_32 = 1,  /* 2 levels */
	KMS_GUEST_PAGING_PAE = 2, /* 3 levels */
	KMS_GUEST_PAGING_4 = 3,   /* x86-64, 4 levels */
	KMS_GUEST_PAGING_5 = 4,
	KMS_GUEST_PAGING_PAE_ROW = 5, /* PAE by its four directories, which lie in a row: NetBSD */
};

enum kms_guest_space_bounds {
	KMS_GUEST_SPACE_CACHE = 256, /* translations remembered, a power of two */
	KMS_GUEST_SPACE_TABLES = 64, /* innermost tables remembered, a power of two */
};

/** A page that was found. */
struct kms_guest_space_page {
	uint64_t page;     /* virtual address >> shift, + 1; 0 empty */
	uint64_t physical; /* of the page */
	uint32_t shift;    /* 12, 21, 22 or 30 */
};

/** Where the entries of a stretch of virtual addresses are. */
struct kms_guest_space_table {
	uint64_t stretch;  /* virtual address >> bits that the table translates, + 1; 0 empty */
	uint64_t physical; /* of the table */
};

/** One address space. One thread at a time; the memory is borrowed. */
struct kms_guest_space {
	struct kms_guest_memory *memory;
	enum kms_guest_paging paging;
	uint64_t root; /* guest-physical address of the outermost table */

	struct kms_guest_space_page cache[KMS_GUEST_SPACE_CACHE];
	struct kms_guest_space_table table[KMS_GUEST_SPACE_TABLES];
};

/** Begins with nothing remembered. Shape: root as in CR3: bits that are no address are left out */
void kms_guest_space_init(struct kms_guest_space *space, struct kms_guest_memory *memory,
			  enum kms_guest_paging paging, uint64_t root);

/** Forgets what was remembered: the guest may have changed its tables. */
void kms_guest_space_forget(struct kms_guest_space *space);

/**
 * Guest-physical address behind a virtual one, and how many bytes from there on are contiguous.
 *
 * Shape:  *physical need not be RAM (devices are mapped, too); contiguous_bytes: to the end of the
 *         page, large or small; NULL: not asked for
 * Errors: -ENOENT: nothing mapped there; -EINVAL: not canonical; -EBADMSG: damaged tables; as
 *         kms_guest_read()
 */
int kms_guest_translate(struct kms_guest_space *space, uint64_t address, uint64_t *physical,
			uint64_t *contiguous_bytes, struct kms_err *err);

/**
 * Whether the kernel may write there by its own tables: each of them may forbid it.
 *
 * Errors: as kms_guest_translate()
 */
int kms_guest_is_writable(struct kms_guest_space *space, uint64_t address, bool *is_writable,
			  struct kms_err *err);

/** Reads across pages, where it can by one call of the back end. Errors: as kms_guest_translate() and kms_guest_read() */
int kms_guest_read_virtual(struct kms_guest_space *space, uint64_t address, void *to, size_t bytes,
			   struct kms_err *err);

/** Writes across pages; after an error the pages before it are written. Errors: as kms_guest_translate() and kms_guest_write() */
int kms_guest_write_virtual(struct kms_guest_space *space, uint64_t address, const void *from,
			    size_t bytes, struct kms_err *err);

/** A string of at most bytes - 1 characters, always terminated. Errors: as above */
int kms_guest_read_string(struct kms_guest_space *space, uint64_t address, char *to, size_t bytes,
			  struct kms_err *err);

#endif
