/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Live objects by call site, where the guest keeps who allocated them (slub_debug=U).
 *
 * Such caches keep all their slabs on a list, full or partial, and beside each object a struct track.
 * A slab is copied as a whole and taken apart here. The freelist is read from the copy as well: an
 * object on it is free.
 *
 *	base                     (one object of size_bytes)
 *	| red_left_pad | object ... | red zone | free pointer? | track alloc | track free | bytes? | ...
 *	               ^ what the owner has    ^ inuse          ^ info
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tracer/guest/linux_impl.h"

enum {
	BUCKETS = 2 * KMS_LINUX_MAX_SITES,
	MAX_SLAB_OBJECTS = 32767, /* 15 bits */
	MAX_SLAB_COPY_BYTES = 4 << 20,
	RED_ACTIVE = 0xcc, /* SLUB_RED_ACTIVE, poison.h of Linux */
	NS_PER_S = 1000000000,
	MAX_IDS = 512,
};

struct kms_linux_site_table {
	struct kms_linux_site *site; /* KMS_LINUX_MAX_SITES, found by bucket */
	uint32_t *bucket;            /* index + 1, 0 empty */
	uint64_t *before;            /* bytes at the refresh before, by index */
	uint64_t *key_cache;         /* address of the cache, by index */
	uint32_t sites;
	struct kms_linux_site *shown; /* those that live, in order */
	uint32_t n_shown;
	struct kms_linux_site_stats stats;
	struct kms_linux_damage damage[KMS_LX_MAX_DAMAGES];
	size_t damages;
};

/* A cache's geometry, and the slab that is looked at. */
struct look {
	struct kms_linux *lx;
	struct kms_linux_site_table *table;
	uint32_t cache; /* index */
	uint64_t address;
	uint32_t size, object, inuse, left_pad, offset, info, bytes_at;
	bool has_red_zone, has_random, has_bytes;
	uint64_t random;
	uint64_t now_ns;
	uint64_t slab; /* that is in copy: of a moment, and seen again only later */
	uint8_t *copy;
	uint8_t *is_free; /* by object */
};

void kms_lx_sites_destroy(struct kms_linux_site_table *table)
{
	if (!table)
		return;
	free(table->site);
	free(table->bucket);
	free(table->before);
	free(table->key_cache);
	free(table->shown);
	free(table);
}

static struct kms_linux_site_table *table_create(void)
{
	struct kms_linux_site_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->site = calloc(KMS_LINUX_MAX_SITES, sizeof(*table->site));
	table->bucket = calloc(BUCKETS, sizeof(*table->bucket));
	table->before = calloc(KMS_LINUX_MAX_SITES, sizeof(*table->before));
	table->key_cache = calloc(KMS_LINUX_MAX_SITES, sizeof(*table->key_cache));
	table->shown = calloc(KMS_LINUX_MAX_SITES, sizeof(*table->shown));
	if (table->site && table->bucket && table->before && table->key_cache && table->shown)
		return table;
	kms_lx_sites_destroy(table);
	return NULL;
}

/* The site of a cache, an address and a stack; NULL: there are too many. */
static struct kms_linux_site *site_find(struct look *look, uint64_t call_site, uint32_t handle)
{
	struct kms_linux_site_table *table = look->table;
	uint64_t hash = kms_hash_join(kms_hash_join(look->address, call_site), handle);

	for (uint32_t at = (uint32_t)hash;; at++) {
		uint32_t *bucket = &table->bucket[at & (BUCKETS - 1)];
		struct kms_linux_site *site;

		if (!*bucket) {
			if (table->sites == KMS_LINUX_MAX_SITES)
				return NULL;
			site = &table->site[table->sites];
			*site = (struct kms_linux_site){
				.call_site = call_site, .handle = handle, .slot = table->sites};
			table->key_cache[table->sites] = look->address;
			*bucket = ++table->sites;
			return site;
		}
		site = &table->site[*bucket - 1];
		if (site->call_site == call_site && site->handle == handle &&
		    table->key_cache[*bucket - 1] == look->address)
			return site;
	}
}

static void site_add(struct look *look, const uint8_t *track, uint64_t bytes)
{
	const struct kms_linux *lx = look->lx;
	uint64_t address = kms_lx_member(lx, KMS_LX_TRACK_ADDRESS_AT, track);
	uint32_t handle = (uint32_t)kms_lx_member(lx, KMS_LX_TRACK_HANDLE_AT, track);
	uint64_t when = kms_lx_member(lx, KMS_LX_TRACK_WHEN_AT, track);
	struct kms_linux_site *site;

	if (!address) /* allocated before the kernel kept owners */
		handle = 0;
	site = site_find(look, address, handle);
	if (!site) {
		look->table->stats.dropped++;
		return;
	}
	site->cache = look->cache;
	site->cache_address = look->address;
	site->objects++;
	site->bytes += bytes;
	if (site->objects == 1 || when < site->oldest_jiffies)
		site->oldest_jiffies = when;
	if (site->objects == 1 || when >= site->newest_jiffies) {
		site->newest_jiffies = when;
		site->pid = (int32_t)kms_lx_member(lx, KMS_LX_TRACK_PID_AT, track);
	}
}

static void damage_add(struct look *look, const uint8_t *object, const uint8_t *at,
		       const uint8_t *track)
{
	struct kms_linux_site_table *table = look->table;

	table->stats.red_zones++;
	if (table->damages == KMS_LX_MAX_DAMAGES)
		return;
	table->damage[table->damages++] = (struct kms_linux_damage){
		.object = look->slab + (uint64_t)(object - look->copy),
		.at = look->slab + (uint64_t)(at - look->copy),
		.cache = look->cache,
		.call_site = kms_lx_member(look->lx, KMS_LX_TRACK_ADDRESS_AT, track),
		.handle = (uint32_t)kms_lx_member(look->lx, KMS_LX_TRACK_HANDLE_AT, track),
		.found = *at,
		.expected = RED_ACTIVE,
	};
}

/* The first byte of a zone that differs; NULL: none. */
static const uint8_t *zone_broken(const uint8_t *zone, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (zone[i] != RED_ACTIVE)
			return zone + i;
	return NULL;
}

/* slot is the object's place in the copy, with the pad on its left. */
static void object_add(struct look *look, const uint8_t *slot)
{
	const uint8_t *object = slot + look->left_pad;
	const uint8_t *track = object + look->info;
	uint64_t bytes = look->object;
	uint32_t requested;

	if (look->has_bytes) {
		memcpy(&requested, object + look->bytes_at, sizeof(requested));
		if (requested && requested <= look->object)
			bytes = requested;
	}
	look->table->stats.live++;
	site_add(look, track, bytes);
	if (look->has_red_zone) {
		const uint8_t *at = zone_broken(slot, look->left_pad);

		if (!at)
			at = zone_broken(object + look->object, look->inuse - look->object);
		if (at)
			damage_add(look, object, at, track);
	}
}

/*
 * Marks the free objects of the slab in copy.
 *
 * A pointer is stored XORed with a number of the cache and its own address with its bytes swapped
 * (CONFIG_SLAB_FREELIST_HARDENED), plain where the cache has no such number.
 */
static bool freelist_mark(struct look *look, uint64_t first, uint32_t count)
{
	uint64_t at = first;

	memset(look->is_free, 0, count);
	for (uint32_t n = 0; at; n++) {
		uint64_t index = (at - look->slab - look->left_pad) / look->size;
		uint64_t place = at + look->offset, next;

		if (at < look->slab + look->left_pad || index >= count || n >= count ||
		    (at - look->slab - look->left_pad) % look->size || look->is_free[index])
			return false;
		look->is_free[index] = 1;
		memcpy(&next, look->copy + (place - look->slab), sizeof(next));
		if (look->has_random)
			next ^= look->random ^ __builtin_bswap64(place);
		at = next;
	}
	return true;
}

/* Address of a slab's memory by that of its struct. false: no such page. */
static bool slab_memory(const struct kms_linux *lx, uint64_t slab, uint64_t *memory)
{
	uint64_t offset = slab - lx->vmemmap;
	uint32_t bytes = kms_lx_slab_bytes(lx);

	if (!bytes || offset % bytes || offset / bytes > UINT64_MAX / KMS_LX_PAGE / 2)
		return false;
	*memory = lx->linear_base + offset / bytes * KMS_LX_PAGE;
	return true;
}

static int slab_add(void *arg, uint64_t slab, const uint8_t *struct_copy, struct kms_err *err)
{
	struct look *look = arg;
	struct kms_linux_site_stats *stats = &look->table->stats;
	uint64_t count = kms_lx_member(look->lx, KMS_LX_SLAB_OBJECTS_AT, struct_copy);
	uint64_t inuse = kms_lx_member(look->lx, KMS_LX_SLAB_INUSE_AT, struct_copy);
	uint64_t first = kms_lx_member(look->lx, KMS_LX_SLAB_FREELIST_AT, struct_copy);
	uint64_t bytes = count * look->size, n_free = 0;

	(void)err; /* a slab that cannot be read is counted */
	if (count > MAX_SLAB_OBJECTS || bytes > MAX_SLAB_COPY_BYTES || inuse > count ||
	    !slab_memory(look->lx, slab, &look->slab) ||
	    kms_lx_read(look->lx, look->slab, look->copy, (size_t)bytes, NULL) ||
	    !freelist_mark(look, first, (uint32_t)count)) {
		stats->unread++;
		return 0;
	}
	for (uint64_t i = 0; i < count; i++)
		n_free += look->is_free[i];
	if (n_free != count - inuse) { /* it moved between the two copies */
		stats->unread++;
		return 0;
	}
	stats->slabs++;
	stats->free += n_free;
	for (uint64_t i = 0; i < count; i++)
		if (!look->is_free[i])
			object_add(look, look->copy + i * look->size);
	return 0;
}

/* The cache's geometry; false: it makes no sense, or there is no room for a track. */
static bool look_at_cache(struct look *look, const struct kms_linux_cache *cache)
{
	struct kms_linux *lx = look->lx;
	uint8_t copy[KMS_LX_MAX_STRUCT_BYTES];
	uint32_t reach = kms_linux_reach(&lx->layout, KMS_LX_CACHE_NAME_AT, KMS_LX_CACHE_RANDOM_AT);
	uint32_t track = lx->layout.bytes[KMS_LX_TRACK];

	if (kms_lx_read(lx, cache->address, copy, reach, NULL))
		return false;
	look->address = cache->address;
	look->size = cache->size_bytes;
	look->object = cache->object_bytes;
	look->inuse = (uint32_t)kms_lx_member(lx, KMS_LX_CACHE_INUSE_AT, copy);
	look->offset = (uint32_t)kms_lx_member(lx, KMS_LX_CACHE_OFFSET_AT, copy);
	look->left_pad = (uint32_t)kms_lx_member(lx, KMS_LX_CACHE_RED_LEFT_PAD_AT, copy);
	look->has_random = kms_linux_has_member(&lx->layout, KMS_LX_CACHE_RANDOM_AT);
	look->random = kms_lx_member(lx, KMS_LX_CACHE_RANDOM_AT, copy);
	look->has_red_zone = cache->flags & lx->layout.constant[KMS_LX_IS_RED_ZONE];
	look->has_bytes = cache->flags & lx->layout.constant[KMS_LX_IS_KMALLOC];
	if (look->inuse > look->size || look->offset > look->size || look->left_pad > look->size ||
	    look->object > look->inuse)
		return false;
	/* get_info_end() of mm/slub.c: behind the free pointer where that lies behind the object */
	look->info = look->inuse + (look->offset >= look->inuse ? 8 : 0);
	look->bytes_at = look->info + 2 * track;
	if (look->has_bytes && look->left_pad + look->bytes_at + sizeof(uint32_t) > look->size)
		look->has_bytes = false;
	return look->left_pad + look->info + 2 * track <= look->size &&
	       look->left_pad + look->offset + 8 <= look->size;
}

static void add_lists(struct look *look)
{
	struct kms_linux *lx = look->lx;
	uint64_t node[KMS_LX_MAX_NODES];

	const enum kms_lx_member lists[] = {KMS_LX_NODE_FULL_AT, KMS_LX_NODE_PARTIAL_AT};

	if (kms_lx_read(lx, look->address + kms_lx_offset(lx, KMS_LX_CACHE_NODES_AT), node,
			lx->nodes * sizeof(node[0]), NULL))
		return;
	for (uint32_t i = 0; i < lx->nodes; i++)
		for (int list = 0; node[i] && list < 2; list++)
			if (kms_lx_each_slab(lx, look->address,
					     node[i] + kms_lx_offset(lx, lists[list]), slab_add,
					     look, NULL))
				look->table->stats.unread++; /* the rest of the list */
}

static int by_growth(const void *a, const void *b)
{
	const struct kms_linux_site *x = a, *y = b;

	if (x->growth_bytes_per_s != y->growth_bytes_per_s)
		return x->growth_bytes_per_s > y->growth_bytes_per_s ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return (x->call_site > y->call_site) - (x->call_site < y->call_site);
}

/* The same in every boot: names of functions and offsets in them, not addresses. */
static uint64_t site_id(struct kms_linux *lx, const struct kms_linux_site *site)
{
	const char *cache = lx->cache[site->cache].name;
	uint64_t frame[KMS_LINUX_MAX_FRAMES], id = kms_hash_bytes(cache, strlen(cache), 0);
	int n = site->handle ? kms_linux_stack(lx, site->handle, frame, NULL) : 0;

	if (n <= 0) {
		frame[0] = site->call_site;
		n = 1;
	}
	for (int i = 0; i < n; i++) {
		const char *name, *module;
		uint64_t offset;

		if (!kms_linux_name(lx, frame[i], &name, &offset, &module))
			id = kms_hash_bytes(name, strlen(name), id);
		id = kms_hash_join(id, offset);
	}
	return id ? id : 1;
}

/* Of those that clients see first; once for each, as it takes some reads of the guest. */
static void table_name(struct kms_linux *lx, struct kms_linux_site_table *table)
{
	for (uint32_t i = 0; i < table->n_shown && i < MAX_IDS; i++) {
		struct kms_linux_site *shown = &table->shown[i];

		if (!shown->id)
			shown->id = table->site[shown->slot].id = site_id(lx, shown);
	}
}

/* Growth since first seen. A site's history is lost when it has no object for a moment. */
static void table_show(struct kms_linux_site_table *table, uint64_t now_ns)
{
	table->n_shown = 0;
	for (uint32_t i = 0; i < table->sites; i++) {
		struct kms_linux_site *site = &table->site[i];

		if (!site->objects) {
			site->first_ns = 0;
			site->shrunk = 0;
			site->growth_bytes_per_s = 0;
			table->before[i] = 0;
			continue;
		}
		if (!site->first_ns) {
			site->first_ns = now_ns ? now_ns : 1;
			site->first_bytes = site->bytes;
		}
		site->shrunk += site->bytes < table->before[i];
		table->before[i] = site->bytes;
		if (now_ns > site->first_ns)
			site->growth_bytes_per_s =
				((double)site->bytes - (double)site->first_bytes) * NS_PER_S /
				(double)(now_ns - site->first_ns);
		table->shown[table->n_shown++] = *site;
	}
	qsort(table->shown, table->n_shown, sizeof(*table->shown), by_growth);
}

static void table_begin(struct kms_linux_site_table *table)
{
	for (uint32_t i = 0; i < table->sites; i++) {
		table->site[i].objects = 0;
		table->site[i].bytes = 0;
	}
	table->stats = (struct kms_linux_site_stats){.is_off = true};
	table->damages = 0;
}

int kms_linux_refresh_sites(struct kms_linux *lx, uint64_t now_ns, struct kms_err *err)
{
	struct look look = {.lx = lx, .now_ns = now_ns};

	if (!kms_linux_layout_has(&lx->layout, KMS_LX_FOR_SITES))
		return kms_err_set(err, -ENOTSUP, "this kernel cannot keep owners of objects");
	if (!lx->sites)
		lx->sites = table_create();
	look.table = lx->sites;
	look.copy = malloc(MAX_SLAB_COPY_BYTES);
	look.is_free = malloc(MAX_SLAB_OBJECTS);
	if (!lx->sites || !look.copy || !look.is_free) {
		free(look.copy);
		free(look.is_free);
		return kms_err_set(err, -ENOMEM, "no memory for live objects");
	}
	table_begin(lx->sites);
	for (size_t i = 0; i < lx->caches; i++) {
		if (!lx->cache[i].has_owners)
			continue;
		lx->sites->stats.is_off = false;
		look.cache = (uint32_t)i;
		if (look_at_cache(&look, &lx->cache[i]))
			add_lists(&look);
		else
			lx->sites->stats.unread++;
	}
	table_show(lx->sites, now_ns);
	table_name(lx, lx->sites);
	free(look.copy);
	free(look.is_free);
	return 0;
}

const struct kms_linux_site *kms_linux_sites(const struct kms_linux *lx, size_t *n)
{
	*n = lx->sites ? lx->sites->n_shown : 0;
	return lx->sites ? lx->sites->shown : NULL;
}

void kms_linux_site_stats(const struct kms_linux *lx, struct kms_linux_site_stats *stats)
{
	*stats = lx->sites ? lx->sites->stats : (struct kms_linux_site_stats){.is_off = true};
}

const struct kms_linux_damage *kms_linux_damages(const struct kms_linux *lx, size_t *n)
{
	*n = lx->sites ? lx->sites->damages : 0;
	return lx->sites ? lx->sites->damage : NULL;
}
