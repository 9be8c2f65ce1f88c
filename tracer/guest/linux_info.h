/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMCOREINFO: a page of text in which a Linux kernel says for crash dumps where its own things are.
 * It is the only thing that is looked for by its contents; all else follows from it.
 */
#ifndef KMS_TRACER_GUEST_LINUX_INFO_H
#define KMS_TRACER_GUEST_LINUX_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/memory.h"

enum kms_linux_info_bounds {
	KMS_LINUX_RELEASE_BYTES = 65, /* __NEW_UTS_LEN and a NUL */
	KMS_LINUX_BUILD_ID_BYTES = 41,
	KMS_LINUX_MAX_INFOS = 8,
};

/** What of it is used. */
struct kms_linux_info {
	uint64_t found_at; /* guest-physical */
	char release[KMS_LINUX_RELEASE_BYTES];
	char build_id[KMS_LINUX_BUILD_ID_BYTES]; /* hexadecimal; "" none */
	unsigned major, minor;
	uint64_t kaslr_offset;
	uint64_t phys_base; /* physical = virtual - 0xffffffff80000000 + phys_base, modulo 2^64 */
	bool is_5_level;
	uint64_t swapper_pg_dir, stext; /* virtual */
	uint64_t kallsyms_names, kallsyms_num_syms, kallsyms_token_table, kallsyms_token_index,
		kallsyms_offsets, kallsyms_relative_base;
};

/**
 * Reads one text.
 *
 * Shape:  text is NUL-terminated.
 * Errors: -EBADMSG: no such text, or what every kernel says is missing; -ENOTSUP: a kernel that is
 *         older or newer than those known, encrypted, or without relative kallsyms: err has the reason
 */
int kms_linux_info_parse(struct kms_linux_info *info, const char *text, struct kms_err *err);

/** Called with each text that was found; non-zero ends the search and is its result. */
typedef int kms_linux_info_fn(void *arg, const struct kms_linux_info *info);

/**
 * Looks at each page of RAM. After a reset the text of the kernel before may still lie there, so
 * there can be several, at most KMS_LINUX_MAX_INFOS are given to fn; it finds out which one is alive.
 *
 * Errors: what fn returned; 0: the search came to the end of RAM, fn was called; -EAGAIN: no kernel
 *         yet; -ENOTSUP: only kernels that are not supported; as kms_guest_read()
 */
int kms_linux_info_find(struct kms_guest_memory *memory, kms_linux_info_fn *fn, void *arg,
			struct kms_err *err);

#endif
