/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single objects and slabs, read when somebody asks for them: see linux.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/linux_slabs.h"
#include "tracer/guest/linux_zones.h"

enum {
	BITMAP_BYTES = KMS_LX_MAX_SLAB_OBJECTS / 8 + 1,
};

/* Room for a slab. */
struct room {
	uint8_t *copy, *is_free;
};

/* Of so many bytes; what is larger than any slab is none. */
static int room_init(struct room *room, uint64_t bytes, struct kms_err *err)
{
	*room = (struct room){0};
	if (bytes > KMS_LX_MAX_SLAB_COPY_BYTES) {
		(void)kms_err_set(err, -EBADMSG, "no slab has %llu bytes",
				  (unsigned long long)bytes);
		return -EBADMSG;
	}
	room->copy = malloc(bytes ? (size_t)bytes : 1);
	room->is_free = malloc(KMS_LX_MAX_SLAB_OBJECTS);
	if (room->copy && room->is_free)
		return 0;
	free(room->copy);
	free(room->is_free);
	(void)kms_err_set(err, -ENOMEM, "no memory for a slab");
	return -ENOMEM;
}

static void room_deinit(struct room *room)
{
	free(room->copy);
	free(room->is_free);
}

static const struct kms_linux_cache *cache_of(const struct kms_linux *lx, uint64_t address)
{
	for (size_t i = 0; i < lx->caches; i++)
		if (lx->cache[i].address == address)
			return &lx->cache[i];
	return NULL;
}

static uint64_t pages_of(const struct kms_linux_cache *cache, const struct kms_lx_slab *slab)
{
	uint64_t pages = (uint64_t)slab->objects * cache->size_bytes + KMS_LX_PAGE - 1;

	pages /= KMS_LX_PAGE; /* it may be smaller than most: memory was short */
	return slab->objects == cache->objects_per_slab ? cache->pages_per_slab : pages;
}

/* What is kept behind an object, and damage. */
static void fill_tracks(struct kms_linux *lx, const struct kms_lx_geometry *g, const uint8_t *place,
			struct kms_linux_object *out)
{
	const struct kms_lx_zones zones = kms_lx_zones(lx);
	const uint8_t *track = place + g->left_pad + g->info;
	uint64_t begin = out->address - g->left_pad;
	uint32_t requested = 0;

	if (g->has_owners) {
		out->alloc = kms_lx_track(lx, track);
		out->free = kms_lx_track(lx, track + lx->layout.bytes[KMS_LX_TRACK]);
	}
	if (g->has_bytes && !out->is_free)
		memcpy(&requested, place + g->left_pad + g->bytes_at, sizeof(requested));
	if (requested && requested <= g->object)
		out->bytes = requested;
	out->is_damaged = kms_lx_damage_of(&zones, g, place, out->is_free, &out->damage);
	if (!out->is_damaged)
		return;
	out->damage.cache = out->cache;
	out->damage.object = out->address;
	out->damage.at += begin;
	out->damage.bytes_at += begin;
	out->damage.alloc = out->alloc;
	out->damage.free = out->free;
}

static int object_in(struct kms_linux *lx, const struct kms_linux_cache *cache,
		     struct kms_lx_slab *slab, uint64_t address, struct kms_linux_object *out)
{
	struct kms_lx_geometry g;
	struct room room;
	uint64_t offset = address - slab->memory;
	int rc;

	if (!kms_lx_geometry(lx, cache, &g))
		return -EAGAIN;
	rc = room_init(&room, (uint64_t)slab->objects * g.size, NULL);
	if (rc)
		return rc;
	rc = kms_lx_slab_read(lx, &g, slab, room.copy, room.is_free);
	if (!rc && offset / g.size >= slab->objects)
		rc = -ENOENT; /* behind the last one */
	if (!rc) {
		uint32_t index = (uint32_t)(offset / g.size);

		*out = (struct kms_linux_object){
			.cache = (uint32_t)(cache - lx->cache),
			.slab = slab->memory,
			.slab_pages = pages_of(cache, slab),
			.index = index,
			.objects = slab->objects,
			.address = slab->memory + (uint64_t)index * g.size + g.left_pad,
			.bytes = g.object,
			.is_free = room.is_free[index],
			.is_beside = offset % g.size < g.left_pad ||
				     offset % g.size >= g.left_pad + g.object,
		};
		fill_tracks(lx, &g, room.copy + (size_t)index * g.size, out);
	}
	room_deinit(&room);
	return rc;
}

int kms_linux_object_at(struct kms_linux *lx, uint64_t address, struct kms_linux_object *out,
			struct kms_err *err)
{
	const struct kms_linux_cache *cache;
	struct kms_lx_slab slab;
	int rc;

	if (!kms_linux_layout_has(&lx->layout, KMS_LX_FOR_SITES))
		return kms_err_set(err, -ENOTSUP, "this kernel's slabs cannot be read");
	if (!kms_lx_slab_at(lx, address, &slab))
		return kms_err_set(err, -ENOENT, "no slab is there");
	cache = cache_of(lx, slab.cache);
	if (!cache || address < slab.memory ||
	    address - slab.memory >= pages_of(cache, &slab) * KMS_LX_PAGE)
		return kms_err_set(err, -ENOENT, "no slab is there");
	rc = object_in(lx, cache, &slab, address, out);
	if (rc == -EAGAIN)
		return kms_err_set(err, rc, "the slab of %s there changes while it is read",
				   cache->name);
	return rc ? kms_err_set(err, rc, "the slab there cannot be read") : 0;
}

/* A walk over all pages. */
struct walk {
	struct kms_linux *lx;
	const struct kms_linux_cache *cache;
	struct kms_lx_geometry geometry;
	struct room room;
	int (*emit)(void *arg, const struct kms_linux_slab *slab);
	void *arg;
	uint8_t bitmap[BITMAP_BYTES];
};

/* Returns whether that is enough. */
static bool emit_slab(struct walk *walk, struct kms_lx_slab *slab)
{
	struct kms_linux_slab out = {.memory = slab->memory, .bitmap = walk->bitmap};

	if (kms_lx_slab_read(walk->lx, &walk->geometry, slab, walk->room.copy, walk->room.is_free))
		return false; /* it is not one any more, or moves too fast */
	out.pages = pages_of(walk->cache, slab);
	out.objects = slab->objects;
	memset(walk->bitmap, 0, sizeof(walk->bitmap));
	for (uint32_t i = 0; i < slab->objects; i++) {
		if (walk->room.is_free[i])
			continue;
		walk->bitmap[i / 8] |= (uint8_t)(1U << (i & 7));
		out.live++;
	}
	return walk->emit(walk->arg, &out) != 0;
}

static bool look_at_page(void *arg, uint64_t address, const uint8_t *copy)
{
	struct walk *walk = arg;
	struct kms_lx_slab slab;

	if (kms_lx_member(walk->lx, KMS_LX_SLAB_CACHE_AT, copy) != walk->cache->address ||
	    !kms_lx_slab_of_copy(walk->lx, address, copy, &slab) || !slab.objects)
		return false;
	return emit_slab(walk, &slab);
}

int kms_linux_each_slab(struct kms_linux *lx, uint32_t cache,
			int (*emit)(void *arg, const struct kms_linux_slab *slab), void *arg,
			struct kms_err *err)
{
	struct walk *walk;
	int rc;

	if (!kms_linux_layout_has(&lx->layout, KMS_LX_FOR_SITES))
		return kms_err_set(err, -ENOTSUP, "this kernel's slabs cannot be read");
	if (cache >= lx->caches)
		return kms_err_set(err, -EINVAL, "no cache %u", cache);
	walk = calloc(1, sizeof(*walk));
	if (!walk)
		return kms_err_set(err, -ENOMEM, "no memory for a slab");
	walk->lx = lx;
	walk->cache = &lx->cache[cache];
	walk->emit = emit;
	walk->arg = arg;
	rc = kms_lx_geometry(lx, walk->cache, &walk->geometry)
		     ? room_init(&walk->room, KMS_LX_MAX_SLAB_COPY_BYTES, err)
		     : kms_err_set(err, -EBADMSG, "cache %s makes no sense", walk->cache->name);
	if (!rc) {
		rc = kms_lx_each_page(lx, look_at_page, walk, err);
		room_deinit(&walk->room);
	}
	free(walk);
	return rc;
}
