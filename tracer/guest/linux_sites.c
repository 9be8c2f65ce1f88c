/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Live objects by call site, where the guest keeps who allocated them (slub_debug=U).
 *
 * Such caches keep all their slabs on a list, full or partial, and beside each object a struct track.
 * A slab is copied as a whole and taken apart here. The freelist is read from the copy as well: an
 * object on it is free.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tracer/guest/linux_slabs.h"
#include "tracer/guest/linux_zones.h"

enum {
	BUCKETS = 2 * KMS_LINUX_MAX_SITES,
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
	struct kms_linux_damage damage[KMS_LX_MAX_DAMAGES], damage_before[KMS_LX_MAX_DAMAGES];
	size_t damages, damages_before;
};

/* A cache's geometry, and the slab that is looked at. */
struct look {
	struct kms_linux *lx;
	struct kms_linux_site_table *table;
	uint32_t cache; /* index */
	struct kms_lx_geometry geometry;
	struct kms_lx_zones zones;
	uint64_t now_ns;
	struct kms_lx_slab slab; /* that is in copy: of a moment, and seen again only later */
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
	uint64_t hash = kms_hash_join(kms_hash_join(look->geometry.address, call_site), handle);

	for (uint32_t at = (uint32_t)hash;; at++) {
		uint32_t *bucket = &table->bucket[at & (BUCKETS - 1)];
		struct kms_linux_site *site;

		if (!*bucket) {
			if (table->sites == KMS_LINUX_MAX_SITES)
				return NULL;
			site = &table->site[table->sites];
			*site = (struct kms_linux_site){
				.call_site = call_site, .handle = handle, .slot = table->sites};
			table->key_cache[table->sites] = look->geometry.address;
			*bucket = ++table->sites;
			return site;
		}
		site = &table->site[*bucket - 1];
		if (site->call_site == call_site && site->handle == handle &&
		    table->key_cache[*bucket - 1] == look->geometry.address)
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
	site->cache_address = look->geometry.address;
	site->objects++;
	site->bytes += bytes;
	if (site->objects == 1 || when < site->oldest_jiffies)
		site->oldest_jiffies = when;
	if (site->objects == 1 || when >= site->newest_jiffies) {
		site->newest_jiffies = when;
		site->pid = (int32_t)kms_lx_member(lx, KMS_LX_TRACK_PID_AT, track);
	}
}

struct kms_linux_track kms_lx_track(const struct kms_linux *lx, const uint8_t *track)
{
	return (struct kms_linux_track){
		.call_site = kms_lx_member(lx, KMS_LX_TRACK_ADDRESS_AT, track),
		.handle = (uint32_t)kms_lx_member(lx, KMS_LX_TRACK_HANDLE_AT, track),
		.pid = (int32_t)kms_lx_member(lx, KMS_LX_TRACK_PID_AT, track),
		.jiffies = kms_lx_member(lx, KMS_LX_TRACK_WHEN_AT, track),
	};
}

/* How often it was seen in a row until the refresh before. */
static uint32_t times_before(const struct kms_linux_site_table *table,
			     const struct kms_linux_damage *damage)
{
	for (size_t i = 0; i < table->damages_before; i++) {
		const struct kms_linux_damage *old = &table->damage_before[i];

		if (old->object == damage->object && old->at == damage->at &&
		    old->found == damage->found && old->is_free == damage->is_free)
			return old->times;
	}
	return 0;
}

/* place is the object's place in the copy, with the pad on its left. */
static void damage_look(struct look *look, const uint8_t *place, bool is_free)
{
	struct kms_linux_site_table *table = look->table;
	const struct kms_lx_geometry *g = &look->geometry;
	const uint8_t *track = place + g->left_pad + g->info;
	uint64_t address = look->slab.memory + (uint64_t)(place - look->copy);
	struct kms_linux_damage damage;

	if (!kms_lx_damage_of(&look->zones, g, place, is_free, &damage))
		return;
	table->stats.red_zones++;
	if (table->damages == KMS_LX_MAX_DAMAGES)
		return;
	damage.cache = look->cache;
	damage.object = address + g->left_pad;
	damage.at += address;
	damage.bytes_at += address;
	damage.times = times_before(table, &damage) + 1;
	if (g->has_owners) {
		damage.alloc = kms_lx_track(look->lx, track);
		damage.free = kms_lx_track(look->lx, track + look->lx->layout.bytes[KMS_LX_TRACK]);
	}
	table->damage[table->damages++] = damage;
}

static void object_add(struct look *look, const uint8_t *place)
{
	const struct kms_lx_geometry *g = &look->geometry;
	const uint8_t *object = place + g->left_pad;
	uint64_t bytes = g->object;
	uint32_t requested;

	if (!g->has_owners)
		return;
	if (g->has_bytes) {
		memcpy(&requested, object + g->bytes_at, sizeof(requested));
		if (requested && requested <= g->object)
			bytes = requested;
	}
	look->table->stats.live++;
	site_add(look, object + g->info, bytes);
}

static int slab_add(void *arg, uint64_t address, const uint8_t *struct_copy, struct kms_err *err)
{
	struct look *look = arg;
	const struct kms_lx_geometry *g = &look->geometry;
	struct kms_linux_site_stats *stats = &look->table->stats;
	struct kms_lx_slab *slab = &look->slab;
	uint64_t n_free = 0;

	(void)err; /* a slab that cannot be read is counted */
	if (!kms_lx_slab_of_copy(look->lx, address, struct_copy, slab) ||
	    (uint64_t)slab->objects * g->size > KMS_LX_MAX_SLAB_COPY_BYTES ||
	    kms_lx_read(look->lx, slab->memory, look->copy, (size_t)slab->objects * g->size,
			NULL)) {
		stats->unread++;
		return 0;
	}
	memset(look->is_free, 0, slab->objects);
	if (!kms_lx_freelist_mark(g, slab, look->copy, slab->first_free, look->is_free)) {
		stats->unread++;
		return 0;
	}
	for (uint32_t i = 0; i < slab->objects; i++)
		n_free += look->is_free[i];
	if (n_free != slab->objects - slab->inuse) { /* it moved between the two copies */
		stats->unread++;
		return 0;
	}
	stats->slabs++;
	stats->free += n_free;
	for (uint32_t i = 0; i < slab->objects; i++) {
		const uint8_t *place = look->copy + (size_t)i * g->size;

		if (!look->is_free[i])
			object_add(look, place);
		damage_look(look, place, look->is_free[i]);
	}
	return 0;
}

static void add_lists(struct look *look)
{
	struct kms_linux *lx = look->lx;
	uint64_t node[KMS_LX_MAX_NODES];

	const enum kms_lx_member lists[] = {KMS_LX_NODE_FULL_AT, KMS_LX_NODE_PARTIAL_AT};

	if (kms_lx_read(lx, look->geometry.address + kms_lx_offset(lx, KMS_LX_CACHE_NODES_AT), node,
			lx->nodes * sizeof(node[0]), NULL))
		return;
	for (uint32_t i = 0; i < lx->nodes; i++)
		for (int list = 0; node[i] && list < 2; list++)
			if (kms_lx_each_slab(lx, look->geometry.address,
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
	memcpy(table->damage_before, table->damage, table->damages * sizeof(*table->damage));
	table->damages_before = table->damages;
	table->damages = 0;
}

static uint64_t checked_flags(const struct kms_linux *lx)
{
	return lx->layout.constant[KMS_LX_IS_RED_ZONE] |
	       lx->layout.constant[KMS_LX_IS_OBJECT_POISON];
}

/* A page: maybe a full slab of a cache that has no list of those. */
static bool page_add(void *arg, uint64_t address, const uint8_t *copy)
{
	struct look *look = arg;
	struct kms_linux *lx = look->lx;
	uint64_t cache = kms_lx_member(lx, KMS_LX_SLAB_CACHE_AT, copy);
	struct kms_lx_slab slab;
	size_t i = 0;

	if (!cache)
		return false;
	while (i < lx->caches && lx->cache[i].address != cache)
		i++;
	if (i == lx->caches || lx->cache[i].has_owners ||
	    !(lx->cache[i].flags & checked_flags(lx)) ||
	    !kms_lx_slab_of_copy(lx, address, copy, &slab) || !slab.objects ||
	    slab.inuse != slab.objects || slab.first_free)
		return false;
	if (look->geometry.address != cache &&
	    !kms_lx_geometry(lx, &lx->cache[i], &look->geometry)) {
		look->geometry.address = 0;
		return false;
	}
	look->cache = (uint32_t)i;
	(void)slab_add(look, address, copy, NULL); /* it always says 0 */
	return false;
}

void kms_linux_set_thorough(struct kms_linux *lx, bool is_thorough)
{
	lx->is_thorough = is_thorough;
}

int kms_linux_refresh_sites(struct kms_linux *lx, uint64_t now_ns, struct kms_err *err)
{
	struct look look = {.lx = lx, .now_ns = now_ns, .zones = kms_lx_zones(lx)};
	uint64_t checked = checked_flags(lx);

	if (!kms_linux_layout_has(&lx->layout, KMS_LX_FOR_SITES))
		return kms_err_set(err, -ENOTSUP, "this kernel cannot keep owners of objects");
	if (!lx->sites)
		lx->sites = table_create();
	look.table = lx->sites;
	look.copy = malloc(KMS_LX_MAX_SLAB_COPY_BYTES);
	look.is_free = malloc(KMS_LX_MAX_SLAB_OBJECTS);
	if (!lx->sites || !look.copy || !look.is_free) {
		free(look.copy);
		free(look.is_free);
		return kms_err_set(err, -ENOMEM, "no memory for live objects");
	}
	table_begin(lx->sites);
	for (size_t i = 0; i < lx->caches; i++) {
		if (!(lx->cache[i].flags & checked) && !lx->cache[i].has_owners)
			continue;
		lx->sites->stats.is_off &= !lx->cache[i].has_owners;
		look.cache = (uint32_t)i;
		if (kms_lx_geometry(lx, &lx->cache[i], &look.geometry))
			add_lists(&look);
		else
			lx->sites->stats.unread++;
	}
	look.geometry.address = 0;
	if (lx->is_thorough)
		(void)kms_lx_each_page(lx, page_add, &look,
				       NULL); /* without memory it is less thorough */
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
