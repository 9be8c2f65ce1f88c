/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BTF: the types of a Linux kernel as it carries them in its own memory.
 *
 * A parser of our own and not libbpf's: the text is hostile, libbpf's is made for files of the own
 * machine, and of its thousand functions three would be used. The whole text is walked once, when it
 * is opened; after that no index leads out of it. Names are not unique, so who wants a type says
 * which member it must have. (Format: Documentation/bpf/btf.rst of Linux.)
 */
#ifndef KMS_TRACER_GUEST_BTF_H
#define KMS_TRACER_GUEST_BTF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum kms_btf_bounds {
	KMS_BTF_MAX_BYTES = 64 << 20, /* the largest of Debian's has 5 MiB */
	KMS_BTF_MAX_TYPES = 1 << 20,
	KMS_BTF_MAX_DEPTH = 16, /* nesting of anonymous members, chains of typedefs */
};

/** Where a member lies, from the begin of the struct that was asked. */
struct kms_btf_member {
	uint32_t bit;  /* offset */
	uint32_t bits; /* width; 0: a type without a size */
	uint32_t type; /* id */
};

struct kms_btf;

/**
 * Checks a text and indexes it.
 *
 * Shape:  bytes are borrowed until kms_btf_close().
 * Errors: -EBADMSG: no BTF, or damaged; -EFBIG: more than the bounds; -ENOMEM
 */
int kms_btf_open(const void *bytes, size_t n, struct kms_btf **out, struct kms_err *err);

/** Closes; NULL is nothing. */
void kms_btf_close(struct kms_btf *btf);

/** Types in it, without "void". */
uint32_t kms_btf_types(const struct kms_btf *btf);

/**
 * The struct or union of a name that has a member; 0: there is none.
 *
 * Shape:  member is a path ("oo.x"), NULL: any struct of that name will do.
 */
uint32_t kms_btf_find_struct(const struct kms_btf *btf, const char *name, const char *member);

/**
 * Looks a member up, through anonymous structs and unions and along dots.
 *
 * Errors: -ENOENT: no such member; -EBADMSG: the nesting is deeper than the bounds
 */
int kms_btf_find_member(const struct kms_btf *btf, uint32_t type, const char *path,
			struct kms_btf_member *out);

/** Bytes of a type, through typedefs and arrays; 0: unknown, or it has none. */
uint64_t kms_btf_size(const struct kms_btf *btf, uint32_t type);

/** Value of an enum's constant in any enum. Errors: -ENOENT */
int kms_btf_find_constant(const struct kms_btf *btf, const char *name, uint64_t *value);

#endif
