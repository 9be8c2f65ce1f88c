/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking for damage around and in one object of a slab. Inside of linux_*.c. */
#ifndef KMS_TRACER_GUEST_LINUX_ZONES_H
#define KMS_TRACER_GUEST_LINUX_ZONES_H

#include <stdbool.h>
#include <stdint.h>

#include "tracer/guest/linux.h"

struct kms_linux;
struct kms_lx_geometry;

enum {
	KMS_LX_ZONES = 5,
};

/** What differs between kernels. */
struct kms_lx_zones {
	bool has_kmalloc_zone; /* since 6.2 what a kmalloc got and did not ask for is one, too */
};

struct kms_lx_zones kms_lx_zones(const struct kms_linux *lx);

/**
 * The first damage of an object, in the kernel's own order.
 *
 * Shape:  place: geometry->size bytes, the pad on the left first; out->at and out->bytes_at count from
 *         there. Cache, object and tracks are for the caller to fill in.
 */
bool kms_lx_damage_of(const struct kms_lx_zones *rules, const struct kms_lx_geometry *geometry,
		      const uint8_t *place, bool is_free, struct kms_linux_damage *out);

#endif
