/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The attach page: how a tracer that comes late asks a process to join its run.
 *
 * A process that was started without a tracer has no region that anybody could find. Each copy of
 * the allocator in it has one such page among its initialised data, page-aligned, so it lies in a
 * writable private mapping of the library's, or the executable's, file and is found there by magic
 * and own address, without symbols: a stripped executable has none, and the file may be deleted.
 *
 * The tracer writes run_dir, options and path_check, then the pair @request, then @attention
 * (process_vm_writev, so that only who may trace the process can do it). The process sees
 * @attention at its next allocator call, checks everything, makes its region in run_dir, and says so
 * in @answer. A forked child has a copy of the page, and @pid says that it is the child's.
 *
 * Freestanding: needs <stdint.h> only.
 */
#ifndef KMS_SCHEMA_ATTACH_H
#define KMS_SCHEMA_ATTACH_H

#include "schema/region.h"

/** "KMSATTCH" read as a little-endian word. */
#define KMS_ATTACH_MAGIC   UINT64_C(0x4843545441534d4b)
#define KMS_ATTACH_VERSION 1u

enum kms_attach_limits {
	KMS_ATTACH_DIR_BYTES = 1024, /* of run_dir with its NUL */
	KMS_ATTACH_OPTIONS_BYTES = 1024,
};

enum kms_attach_state {
	KMS_ATTACH_NOT_STARTED = 0, /* no call of the allocator yet: the first one answers */
	KMS_ATTACH_ALONE = 1,       /* nobody can read what it does */
	KMS_ATTACH_JOINED = 2,      /* its region is a file: @region_address */
};

struct kms_attach_page {
	kms_u64 magic;
	uint32_t version;
	uint32_t bytes;
	kms_u64 self; /* address of this page */
	/* written by the process */
	uint32_t state;         /* enum kms_attach_state */
	uint32_t pid;           /* who wrote it */
	kms_u64 region_address; /* of its struct kms_region_header, 0 none */
	kms_u64 answer;         /* the last request taken up */
	int32_t result;         /* what became of it: 0, or a negative errno */
	uint32_t reserved;
	/* written by the tracer */
	struct kms_pair request;                /* random, never 0 */
	uint32_t attention;                     /* any change makes the process look */
	uint32_t request_pid;                   /* whom it is meant for */
	kms_u64 path_check;                     /* kms_attach_check() of run_dir and options */
	char run_dir[KMS_ATTACH_DIR_BYTES];     /* absolute, ends with a NUL */
	char options[KMS_ATTACH_OPTIONS_BYTES]; /* start values, as KMEM_OPTIONS has them */
	uint8_t pad[KMS_PAGE_BYTES - 88 - KMS_ATTACH_DIR_BYTES - KMS_ATTACH_OPTIONS_BYTES];
};

/** FNV-1a over both texts, all of their bytes: a half written request is none. */
static inline uint64_t kms_attach_check(const struct kms_attach_page *page)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (unsigned i = 0; i < KMS_ATTACH_DIR_BYTES; i++)
		hash = (hash ^ (uint8_t)page->run_dir[i]) * UINT64_C(0x100000001b3);
	for (unsigned i = 0; i < KMS_ATTACH_OPTIONS_BYTES; i++)
		hash = (hash ^ (uint8_t)page->options[i]) * UINT64_C(0x100000001b3);
	return hash;
}

#endif
