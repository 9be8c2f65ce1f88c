/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of netbsd_*.c: what is known of an open kernel. */
#ifndef KMS_TRACER_GUEST_NETBSD_IMPL_H
#define KMS_TRACER_GUEST_NETBSD_IMPL_H

#include <errno.h>

#include "tracer/guest/netbsd.h"
#include "tracer/guest/space.h"

struct kms_netbsd {
	struct kms_guest_memory *memory;
	const struct kms_netbsd_image *image;
	struct kms_guest_space space;
	uint64_t ticks; /* of the kernel's clock when it was last looked at; 0 not known */
	struct kms_netbsd_pool *pool, *next_pool; /* KMS_NETBSD_MAX_POOLS each */
	size_t pools;
	uint8_t *copy; /* of a struct: KMS_TYPES_STRUCT_BYTES */
	char damage[KMS_ERR_TEXT_BYTES];
};

/** A pointer, or a long, at an address. Errors: as kms_guest_read_virtual() */
int kms_nb_read_word(struct kms_netbsd *nb, uint64_t address, uint64_t *word, struct kms_err *err);

/** A copy of a struct. Shape: to has as many bytes as the build's struct. Errors: likewise */
int kms_nb_read_struct(struct kms_netbsd *nb, enum kms_nb_struct type, uint64_t address, void *to,
		       struct kms_err *err);

/**
 * Reads the cache of a pool, too: figures->has_cache says whether there is one that makes sense.
 *
 * Errors: as kms_guest_read()
 */
int kms_nb_read_cache(struct kms_netbsd *nb, uint64_t cache, struct kms_view_pool *figures,
		      struct kms_err *err);

static inline uint64_t kms_nb_value(const struct kms_netbsd *nb, enum kms_nb_member member,
				    const void *copy)
{
	return kms_netbsd_member(nb->image, member, copy);
}

static inline uint32_t kms_nb_value32(const struct kms_netbsd *nb, enum kms_nb_member member,
				      const void *copy)
{
	return (uint32_t)kms_netbsd_member(nb->image, member, copy);
}

static inline uint32_t kms_nb_offset(const struct kms_netbsd *nb, enum kms_nb_member member)
{
	return nb->image->types.place[member].byte;
}

static inline uint32_t kms_nb_struct_bytes(const struct kms_netbsd *nb, enum kms_nb_struct type)
{
	return nb->image->types.struct_bytes[type];
}

/** Whether an error is that memory, or its transport, is gone: not that a pointer is wild. */
static inline bool kms_nb_is_lost(int rc)
{
	return rc == -EFAULT || rc == -EIO;
}

#endif
