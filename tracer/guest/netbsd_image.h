/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file of a NetBSD kernel: its symbols, the places of its members, and what of its contents a guest
 * that runs it has in memory. What was found is kept by build id.
 */
#ifndef KMS_TRACER_GUEST_NETBSD_IMAGE_H
#define KMS_TRACER_GUEST_NETBSD_IMAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/memory.h"
#include "tracer/guest/netbsd_layout.h"

enum kms_netbsd_image_bounds {
	KMS_NETBSD_VERSION_BYTES = 80, /* the first line of it */
};

/** A kernel's file. Owner: kms_netbsd_image_close(). */
struct kms_netbsd_image {
	char path[PATH_MAX];
	int fd; /* of it, for its contents */
	struct kms_types_answer types;
	uint32_t features;                      /* bits of enum kms_nb_feature */
	char version[KMS_NETBSD_VERSION_BYTES]; /* "NetBSD 9.3 (GENERIC) #0: ..."; "" unknown */
	bool was_cached;
};

struct kms_netbsd_image_options {
	const char *path;
	const char *debug_root;   /* NULL: /usr/lib/debug */
	const char *cache_folder; /* made if it is missing, not its parent; NULL: nothing is kept */
};

/**
 * Reads a kernel's file. Locks: forks, and blocks while the child reads.
 *
 * Errors: -ENODATA: an ELF file of x86, but no NetBSD kernel; -ENOTSUP: without symbols, DWARF or a
 *         member that is needed, or nothing in it can be compared with a guest; as kms_types_ask()
 */
int kms_netbsd_image_open(const struct kms_netbsd_image_options *options,
			  struct kms_netbsd_image *image, struct kms_err *err);

/** Closes what is open; all zero with fd -1 is nothing. */
void kms_netbsd_image_close(struct kms_netbsd_image *image);

/** Where an address of the image is loaded to. Errors: -ENOENT: not in the image, or not all of it */
int kms_netbsd_image_physical(const struct kms_netbsd_image *image, uint64_t address,
			      uint64_t bytes, uint64_t *physical);

/**
 * Compares the image with what is in memory: the build id, else the constants.
 *
 * Errors: -EAGAIN: nothing is there yet; -EBADMSG: another kernel: err says what differs; as
 *         kms_guest_read()
 */
int kms_netbsd_image_compare(const struct kms_netbsd_image *image, struct kms_guest_memory *memory,
			     struct kms_err *err);

static inline uint64_t kms_netbsd_symbol(const struct kms_netbsd_image *image,
					 enum kms_nb_symbol symbol)
{
	return image->types.symbol[symbol].address;
}

static inline bool kms_netbsd_has(const struct kms_netbsd_image *image, enum kms_nb_feature feature)
{
	return image->features >> feature & 1;
}

/** Value of a number in a copy of its struct; 0 where the build has none. */
static inline uint64_t kms_netbsd_member(const struct kms_netbsd_image *image,
					 enum kms_nb_member member, const void *copy)
{
	return kms_netbsd_value(&image->types, member, copy);
}

/** A build's question and answer, from the folder. Errors: -ENOENT, -EBADMSG, as kms_read_file() */
int kms_netbsd_saved_load(const char *folder, const struct kms_types_question *question,
			  const struct kms_types_answer *about, struct kms_types_answer *answer,
			  struct kms_err *err);

/** Keeps it. Errors: as open(2), write(2), rename(2) */
int kms_netbsd_saved_store(const char *folder, const struct kms_types_answer *answer,
			   struct kms_err *err);

#endif
