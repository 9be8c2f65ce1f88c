/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What SLUB's red zones and poison say of an object (slub_debug=Z, P), by the rules of check_object() of
 * mm/slub.c: a live object's zones are filled with one byte, a free one's with another, and a free one
 * with poison. A zone that is whole with the other state's byte is being changed right now.
 */
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/linux_slabs.h"
#include "tracer/guest/linux_zones.h"

enum {
	KMALLOC_ZONE_MAJOR = 6, /* mm/slub.c of 6.2 */
	KMALLOC_ZONE_MINOR = 2,
	RED_ACTIVE =
		0xcc, /* SLUB_RED_ACTIVE, SLUB_RED_INACTIVE, POISON_FREE, POISON_END: poison.h */
	RED_INACTIVE = 0xbb,
	POISON_FREE = 0x6b,
	POISON_END = 0xa5,
};

/* Known from the sources: nothing in the kernel's tables says it. */
struct kms_lx_zones kms_lx_zones(const struct kms_linux *lx)
{
	char *end;
	unsigned long major = strtoul(lx->info.release, &end, 10);
	unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;

	return (struct kms_lx_zones){
		.has_kmalloc_zone = major > KMALLOC_ZONE_MAJOR ||
				    (major == KMALLOC_ZONE_MAJOR && minor >= KMALLOC_ZONE_MINOR)};
}

/* A part of an object's place that holds one byte over and over. */
struct zone {
	uint32_t from, bytes; /* from the begin of the place */
	uint8_t expected, other;
	uint8_t kind;
};

/* The first byte of a zone that differs; NULL: none, or it is about to change. */
static const uint8_t *zone_broken(const uint8_t *place, const struct zone *zone)
{
	const uint8_t *from = place + zone->from;
	uint32_t differ = 0, other = 0;
	const uint8_t *first = NULL;

	for (uint32_t i = 0; i < zone->bytes; i++) {
		if (from[i] == zone->expected)
			continue;
		first = first ? first : from + i;
		differ++;
		other += zone->other && from[i] == zone->other;
	}
	return other && other == zone->bytes ? NULL : first;
}

static unsigned zones_of(const struct kms_lx_zones *rules, const struct kms_lx_geometry *g,
			 const uint8_t *place, bool is_free, struct zone zone[KMS_LX_ZONES])
{
	const uint8_t active = is_free ? RED_INACTIVE : RED_ACTIVE;
	const uint8_t other = is_free ? RED_ACTIVE : RED_INACTIVE;
	uint32_t requested = 0;
	unsigned n = 0;

	if (g->has_red_zone) {
		zone[n++] = (struct zone){0, g->left_pad, active, other, KMS_LINUX_ZONE_LEFT};
		zone[n++] = (struct zone){g->left_pad + g->object, g->inuse - g->object, active,
					  other, KMS_LINUX_ZONE_RIGHT};
	}
	if (g->has_red_zone && g->has_bytes && rules->has_kmalloc_zone && !is_free)
		memcpy(&requested, place + g->left_pad + g->bytes_at, sizeof(requested));
	if (requested && requested < g->object)
		zone[n++] = (struct zone){g->left_pad + requested, g->object - requested, active, 0,
					  KMS_LINUX_ZONE_KMALLOC};
	if (g->has_poison && is_free && g->object) {
		zone[n++] = (struct zone){g->left_pad, g->object - 1, POISON_FREE, 0,
					  KMS_LINUX_ZONE_POISON};
		zone[n++] = (struct zone){g->left_pad + g->object - 1, 1, POISON_END, 0,
					  KMS_LINUX_ZONE_POISON};
	}
	return n;
}

static void fill_bytes(const struct kms_lx_geometry *g, const uint8_t *place, const uint8_t *at,
		       struct kms_linux_damage *out)
{
	uint32_t offset = (uint32_t)(at - place) & ~15U;
	uint32_t half = (uint32_t)sizeof(out->bytes) / 2;
	uint32_t begin = offset > half ? offset - half : 0;
	uint32_t bytes = g->size - begin;

	out->n_bytes = bytes < sizeof(out->bytes) ? bytes : (uint32_t)sizeof(out->bytes);
	out->bytes_at = begin;
	memcpy(out->bytes, place + begin, out->n_bytes);
}

bool kms_lx_damage_of(const struct kms_lx_zones *rules, const struct kms_lx_geometry *g,
		      const uint8_t *place, bool is_free, struct kms_linux_damage *out)
{
	struct zone zone[KMS_LX_ZONES];
	unsigned n = zones_of(rules, g, place, is_free, zone);

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *at = zone_broken(place, &zone[i]);
		uint32_t last;

		if (!at)
			continue;
		last = zone[i].from + zone[i].bytes - 1;
		while (place[last] == zone[i].expected)
			last--; /* at is one that differs */
		*out = (struct kms_linux_damage){
			.zone = zone[i].kind,
			.is_free = is_free,
			.found = *at,
			.expected = zone[i].expected,
			.length = last - (uint32_t)(at - place) + 1,
			.object_bytes = g->object,
		};
		out->at = (uint64_t)(at - place);
		fill_bytes(g, place, at, out);
		return true;
	}
	return false;
}
