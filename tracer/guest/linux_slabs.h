/* SPDX-License-Identifier: BSD-2-Clause */
/* How objects lie in a slab of a cache, and which slab an address belongs to. Inside of linux_*.c. */
#ifndef KMS_TRACER_GUEST_LINUX_SLABS_H
#define KMS_TRACER_GUEST_LINUX_SLABS_H

#include <stdbool.h>
#include <stdint.h>

#include "tracer/guest/linux_impl.h"

enum kms_lx_slab_bounds {
	KMS_LX_MAX_SLAB_OBJECTS = 32767, /* 15 bits */
	KMS_LX_MAX_SLAB_COPY_BYTES = 4 << 20,
	KMS_LX_MAX_SLAB_STRUCT_BYTES = 256,
};

/**
 * A cache's geometry.
 *
 *	base                     (one object of size bytes)
 *	| left_pad | object ... | red zone | free pointer? | track alloc | track free | bytes? | ...
 *	           ^ what the owner has    ^ inuse          ^ info
 */
struct kms_lx_geometry {
	uint64_t address; /* of the cache */
	uint32_t size, object, inuse, left_pad, offset, info, bytes_at;
	bool has_red_zone, has_poison, has_owners, has_bytes, has_random;
	uint64_t random;
};

/** False: it makes no sense, or cannot be read. */
bool kms_lx_geometry(struct kms_linux *lx, const struct kms_linux_cache *cache,
		     struct kms_lx_geometry *geometry);

/** A slab. */
struct kms_lx_slab {
	uint64_t address; /* of its struct */
	uint64_t memory;
	uint64_t cache; /* address of its struct */
	uint64_t first_free;
	uint32_t objects, inuse;
};

/** Address of a slab's memory by that of its struct. false: no such page. */
bool kms_lx_slab_memory(const struct kms_linux *lx, uint64_t slab, uint64_t *memory);

/** What a copy of a struct slab says. False: it is none. */
bool kms_lx_slab_of_copy(const struct kms_linux *lx, uint64_t slab, const uint8_t *copy,
			 struct kms_lx_slab *out);

/**
 * The slab that an address of the linear map may lie in. That it is one is for the caller to see, by its
 * cache: nothing in a page says so in all kernels. False: no page.
 */
bool kms_lx_slab_at(struct kms_linux *lx, uint64_t address, struct kms_lx_slab *out);

/**
 * Marks the objects of a list of free ones, whose pointers lie in copy, memory as of slab->memory on.
 * A pointer is stored XORed with a number of the cache and its own address with its bytes swapped
 * (CONFIG_SLAB_FREELIST_HARDENED), plain where the cache has no such number. False: it makes no sense.
 */
bool kms_lx_freelist_mark(const struct kms_lx_geometry *geometry, const struct kms_lx_slab *slab,
			  const uint8_t *copy, uint64_t first, uint8_t *is_free);

/**
 * Copies a slab's objects and marks those that are free, on its own list or on that of a CPU.
 *
 * Shape:  copy has room for slab->objects of geometry->size, is_free KMS_LX_MAX_SLAB_OBJECTS
 * Errors: -EAGAIN: it changes while it is read, or it is damaged; as kms_lx_read()
 */
int kms_lx_slab_read(struct kms_linux *lx, const struct kms_lx_geometry *geometry,
		     struct kms_lx_slab *slab, uint8_t *copy, uint8_t *is_free);

/** Gives the struct of every page of RAM to fn, until it returns true. Errors: -ENOMEM */
int kms_lx_each_page(struct kms_linux *lx,
		     bool (*fn)(void *arg, uint64_t address, const uint8_t *copy), void *arg,
		     struct kms_err *err);

/** What a struct track says. */
struct kms_linux_track kms_lx_track(const struct kms_linux *lx, const uint8_t *track);

#endif
