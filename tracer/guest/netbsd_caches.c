/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool's cache: groups of objects that were put back and stay constructed. See netbsd.h.
 *
 * NetBSD up to 9 counts groups and their exchanges in the cache; from 10 on each CPU counts its own, also
 * what it takes off a list that another has put on, so that only the sums mean something.
 */
#include <errno.h>
#include <string.h>

#include "tracer/guest/netbsd_impl.h"

/* Objects in a group. A group of size 0 is the one that stands for none. */
static uint32_t objects_in(const struct kms_netbsd *nb, const uint8_t *copy)
{
	uint64_t avail = kms_nb_value(nb, KMS_NB_GROUP_AVAIL_AT, copy);
	uint64_t size = kms_nb_value(nb, KMS_NB_GROUP_SIZE_AT, copy);

	if (size > KMS_NETBSD_GROUP_OBJECTS)
		return 0;
	return (uint32_t)(avail < size ? avail : size);
}

/* Errors: as kms_guest_read(); a group that cannot be read has nothing in it */
static int add_group(struct kms_netbsd *nb, uint64_t address, struct kms_view_pool_cache *cache,
		     uint64_t *next, struct kms_err *err)
{
	uint8_t copy[KMS_NETBSD_MAX_GROUP_HEAD];
	int rc;

	if (next)
		*next = 0;
	if (!address || kms_nb_struct_bytes(nb, KMS_NB_GROUP) > sizeof(copy))
		return 0;
	rc = kms_nb_read_struct(nb, KMS_NB_GROUP, address, copy, err);
	if (rc)
		return kms_nb_is_lost(rc) ? rc : 0;
	cache->parked += objects_in(nb, copy);
	if (next)
		*next = kms_nb_value(nb, KMS_NB_GROUP_NEXT_AT, copy);
	return 0;
}

/* Partly filled groups: of each, what is in it. */
static int add_partial(struct kms_netbsd *nb, uint64_t address, struct kms_view_pool_cache *cache,
		       struct kms_err *err)
{
	uint64_t mark = 0;
	int rc = 0;

	for (size_t n = 1; !rc && address && n <= KMS_NETBSD_MAX_GROUPS && address != mark; n++) {
		if (!(n & (n - 1)))
			mark = address;
		rc = add_group(nb, address, cache, &address, err);
	}
	return rc;
}

static int add_cpu(struct kms_netbsd *nb, uint64_t address, struct kms_view_pool_cache *cache,
		   struct kms_err *err)
{
	uint8_t copy[KMS_NETBSD_MAX_CPU_BYTES];
	int rc;

	if (kms_nb_struct_bytes(nb, KMS_NB_CPU) > sizeof(copy))
		return 0;
	rc = kms_nb_read_struct(nb, KMS_NB_CPU, address, copy, err);
	if (rc)
		return kms_nb_is_lost(rc) ? rc : 0;
	cache->cpu_hits += kms_nb_value(nb, KMS_NB_CPU_HITS_AT, copy);
	cache->cpu_misses += kms_nb_value(nb, KMS_NB_CPU_MISSES_AT, copy);
	cache->misses += kms_nb_value(nb, KMS_NB_CPU_PCMISSES_AT, copy);
	cache->contended += kms_nb_value(nb, KMS_NB_CPU_CONTENDED_AT, copy);
	cache->full += kms_nb_value32(nb, KMS_NB_CPU_NFULL_AT, copy);
	cache->partial += kms_nb_value32(nb, KMS_NB_CPU_NPART_AT, copy);
	rc = add_group(nb, kms_nb_value(nb, KMS_NB_CPU_CURRENT_AT, copy), cache, NULL, err);
	return rc ? rc
		  : add_group(nb, kms_nb_value(nb, KMS_NB_CPU_PREVIOUS_AT, copy), cache, NULL, err);
}

static int add_cpus(struct kms_netbsd *nb, uint64_t cpus, uint32_t n,
		    struct kms_view_pool_cache *cache, struct kms_err *err)
{
	uint32_t word = nb->image->types.word_bytes;
	uint8_t pointer[KMS_NETBSD_MAX_CPUS * sizeof(uint64_t)];
	int rc = kms_guest_read_virtual(&nb->space, cpus, pointer, (size_t)n * word, err);

	for (uint32_t i = 0; !rc && i < n; i++) {
		uint64_t address = 0;

		memcpy(&address, pointer + (size_t)i * word, word);
		if (address)
			rc = add_cpu(nb, address, cache, err);
	}
	return rc && kms_nb_is_lost(rc) ? rc : 0;
}

/* Full groups have as many objects as fit into one. Absurd counts are held down to what the pool has out. */
static void add_full(struct kms_view_pool *figures)
{
	struct kms_view_pool_cache *cache = &figures->cache;
	uint64_t size = cache->group_size <= KMS_NETBSD_GROUP_OBJECTS ? cache->group_size : 0;

	cache->parked += size * cache->full;
	if (cache->parked > figures->nout)
		cache->parked = figures->nout;
}

int kms_nb_read_cache(struct kms_netbsd *nb, uint64_t address, struct kms_view_pool *figures,
		      struct kms_err *err)
{
	struct kms_view_pool_cache *cache = &figures->cache;
	const struct kms_types_place *cpus = &nb->image->types.place[KMS_NB_CACHE_CPUS_AT];
	uint32_t n = cpus->elements < KMS_NETBSD_MAX_CPUS ? cpus->elements : KMS_NETBSD_MAX_CPUS;
	const uint8_t *copy = nb->copy;
	bool is_new = kms_netbsd_has_member(&nb->image->types, KMS_NB_CPU_PCMISSES_AT);
	int rc;

	if (!address || address + kms_nb_offset(nb, KMS_NB_CACHE_POOL_AT) != figures->address)
		return 0; /* none, or not this pool's */
	rc = kms_nb_read_struct(nb, KMS_NB_CACHE, address, nb->copy, err);
	if (rc)
		return kms_nb_is_lost(rc) ? rc : 0;
	figures->has_cache = true;
	*cache = (struct kms_view_pool_cache){
		.group_size = kms_nb_value32(nb, KMS_NB_CACHE_GROUP_SIZE_AT, copy),
		.full = kms_nb_value32(nb, KMS_NB_CACHE_NFULL_AT, copy),
		.partial = kms_nb_value32(nb, KMS_NB_CACHE_NPART_AT, copy),
		.empty = kms_nb_value32(nb, KMS_NB_CACHE_NEMPTY_AT, copy),
		.hits = kms_nb_value(nb, KMS_NB_CACHE_HITS_AT, copy),
		.misses = kms_nb_value(nb, KMS_NB_CACHE_MISSES_AT, copy),
		.contended = kms_nb_value(nb, KMS_NB_CACHE_CONTENDED_AT, copy),
	};
	rc = add_partial(nb, kms_nb_value(nb, KMS_NB_CACHE_PARTIAL_AT, copy), cache, err);
	if (!rc)
		rc = add_cpus(nb, address + cpus->byte, n, cache, err);
	if (is_new) /* a CPU that missed has asked the lists: they had a group, or they missed, too */
		cache->hits =
			cache->cpu_misses > cache->misses ? cache->cpu_misses - cache->misses : 0;
	add_full(figures);
	return rc;
}
