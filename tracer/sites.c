/* SPDX-License-Identifier: BSD-2-Clause */
/* The site table: see sites.h. */
#include "tracer/sites.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/hash.h"

enum {
	FOLD_SHARE = 10, /* 1 in so many places is for folded stacks */
	FOLD_MIN = 64,
};

int kms_sites_init(struct kms_sites *sites, struct kms_memory *memory, uint32_t max)
{
	uint32_t slots = 64;

	*sites = (struct kms_sites){.memory = memory, .max = max, .free_first = KMS_SITE_NONE};
	sites->room = max + max / FOLD_SHARE + FOLD_MIN;
	while (slots < sites->room * 2)
		slots *= 2;
	sites->slot_mask = slots - 1;
	/* Large calloc()s are zero pages until they are used: an empty table costs little. */
	sites->site = kms_memory_alloc(memory, sites->room * sizeof(*sites->site));
	sites->past = kms_memory_alloc(memory, sites->room * sizeof(*sites->past));
	sites->kin = kms_memory_alloc(memory, sites->room * sizeof(*sites->kin));
	sites->slot = kms_memory_alloc(memory, slots * sizeof(*sites->slot));
	sites->stack = kms_memory_alloc(memory, slots * sizeof(*sites->stack));
	if (!sites->site || !sites->past || !sites->kin || !sites->slot || !sites->stack) {
		kms_sites_deinit(sites);
		return -ENOMEM;
	}
	sites->site[KMS_SITE_OVERFLOW] = (struct kms_site){
		.cache = KMS_SITE_NO_CACHE, .flags = KMS_SITE_USED | KMS_SITE_FOLDED};
	sites->past[KMS_SITE_OVERFLOW].next = KMS_SITE_NONE;
	kms_site_kin_join(sites, KMS_SITE_OVERFLOW);
	sites->top = sites->used = 1; /* not in the index: nothing finds it */
	return 0;
}

static size_t alias_bytes(const struct kms_sites *sites)
{
	return sites->alias ? ((size_t)sites->slot_mask + 1) * sizeof(*sites->alias) : 0;
}

void kms_sites_deinit(struct kms_sites *sites)
{
	if (!sites->memory)
		return;
	kms_memory_free(sites->memory, sites->site, sites->room * sizeof(*sites->site));
	kms_memory_free(sites->memory, sites->past, sites->room * sizeof(*sites->past));
	kms_memory_free(sites->memory, sites->kin, sites->room * sizeof(*sites->kin));
	kms_memory_free(sites->memory, sites->slot, (sites->slot_mask + 1) * sizeof(*sites->slot));
	kms_memory_free(sites->memory, sites->stack,
			(sites->slot_mask + 1) * sizeof(*sites->stack));
	kms_memory_free(sites->memory, sites->alias, alias_bytes(sites));
	*sites = (struct kms_sites){0};
}

/* Three odd factors and one fold: cheap, and good enough for keys that are indices. */
static struct kms_site_slot key_of(const struct kms_sites *sites, uint32_t target, uint32_t node,
				   uint16_t cache)
{
	uint64_t h = node * UINT64_C(0x9e3779b97f4a7c15) + cache * UINT64_C(0x6a09e667f3bcc909) +
		     target * UINT64_C(0xbb67ae8584caa73b);

	return (struct kms_site_slot){.index = (uint32_t)(h >> 32 ^ h) & sites->slot_mask,
				      .tag = (uint32_t)(h >> 32)};
}

static bool is_site(const struct kms_site *site, uint32_t target, uint32_t node, uint16_t cache)
{
	return site->node == node && site->target == target && site->cache == cache;
}

static bool is_alias(const struct kms_site_alias *alias, uint32_t target, uint32_t node,
		     uint16_t cache)
{
	return alias->index && alias->node == node && alias->target == target &&
	       alias->cache == cache;
}

struct kms_site_slot kms_sites_prefetch(const struct kms_sites *sites, uint32_t target,
					uint32_t node, uint16_t cache)
{
	const struct kms_site_slot key = key_of(sites, target, node, cache);

	__builtin_prefetch(&sites->slot[key.index]);
	return key;
}

void kms_sites_prefetch_site(const struct kms_sites *sites, struct kms_site_slot key)
{
	const struct kms_site_slot *slot = &sites->slot[key.index];

	if (slot->index && slot->tag == key.tag) {
		__builtin_prefetch(&sites->site[slot->index - 1], 1);
		__builtin_prefetch(&sites->past[slot->index - 1].lifetime[KMS_SITE_SHORT], 1);
	} else if (sites->alias) {
		__builtin_prefetch(&sites->alias[key.index]);
	}
}

uint32_t kms_sites_find(const struct kms_sites *sites, uint32_t target, uint32_t node,
			uint16_t cache)
{
	const struct kms_site_slot key = key_of(sites, target, node, cache);
	uint32_t at = key.index;

	for (; sites->slot[at].index; at = (at + 1) & sites->slot_mask) {
		uint32_t index = sites->slot[at].index - 1;

		if (sites->slot[at].tag == key.tag &&
		    is_site(&sites->site[index], target, node, cache))
			return index;
	}
	return KMS_SITE_NONE;
}

static uint32_t site_make(struct kms_sites *sites, const struct kms_site_owner *owner,
			  uint32_t node, uint16_t cache)
{
	const struct kms_site_slot key = key_of(sites, owner->target, node, cache);
	uint32_t at = key.index;
	uint32_t index = sites->free_first;

	assert(sites->used < sites->room);
	if (index != KMS_SITE_NONE)
		sites->free_first = sites->past[index].next;
	else
		index = sites->top++;
	while (sites->slot[at].index)
		at = (at + 1) & sites->slot_mask;
	sites->slot[at] = (struct kms_site_slot){.index = index + 1, .tag = key.tag};
	sites->used++;
	sites->site[index] = (struct kms_site){
		.target = owner->target, .node = node, .cache = cache, .flags = KMS_SITE_USED};
	sites->past[index] = (struct kms_site_past){.next = *owner->first};
	*owner->first = index;
	kms_site_kin_join(sites, index);
	return index;
}

/*
 * The table is full of whole stacks: the nearest stack further out that is there as a folded one, or
 * can still become one. The empty stack takes what is left.
 */
static uint32_t site_fold(struct kms_sites *sites, const struct kms_site_owner *owner,
			  uint32_t node, uint16_t cache)
{
	uint32_t index;

	do {
		node = owner->parent(owner->tree, node);
		index = kms_sites_find(sites, owner->target, node, cache);
		/* Room for the empty stacks of other targets and caches is kept to the end. */
		if (index == KMS_SITE_NONE && sites->used < sites->room - FOLD_MIN / 2)
			index = site_make(sites, owner, node, cache);
	} while (index == KMS_SITE_NONE && node);
	if (index == KMS_SITE_NONE)
		index = kms_sites_find(sites, owner->target, 0, KMS_SITE_NO_CACHE);
	if (index == KMS_SITE_NONE && sites->used < sites->room)
		index = site_make(sites, owner, 0, KMS_SITE_NO_CACHE);
	if (index == KMS_SITE_NONE)
		index = KMS_SITE_OVERFLOW;
	sites->site[index].flags |= KMS_SITE_FOLDED;
	return index;
}

/*
 * The same, remembered: a program with more stacks than sites comes back to most of them. Without
 * memory for that each search is made anew.
 */
static uint32_t site_folded(struct kms_sites *sites, const struct kms_site_owner *owner,
			    uint32_t node, uint16_t cache)
{
	struct kms_site_alias *alias;
	uint32_t index;

	sites->folded++;
	if (!sites->alias)
		sites->alias = kms_memory_alloc(sites->memory, ((size_t)sites->slot_mask + 1) *
								       sizeof(*sites->alias));
	if (!sites->alias)
		return site_fold(sites, owner, node, cache);
	if (sites->alias_stale)
		memset(sites->alias, 0, alias_bytes(sites));
	sites->alias_stale = false;
	alias = &sites->alias[key_of(sites, owner->target, node, cache).index];
	if (is_alias(alias, owner->target, node, cache))
		return alias->index - 1;
	index = site_fold(sites, owner, node, cache);
	*alias = (struct kms_site_alias){
		.target = owner->target, .node = node, .index = index + 1, .cache = cache};
	return index;
}

uint32_t kms_sites_get(struct kms_sites *sites, const struct kms_site_owner *owner, uint32_t node,
		       uint16_t cache)
{
	uint32_t index = kms_sites_find(sites, owner->target, node, cache);

	if (__builtin_expect(index != KMS_SITE_NONE, 1))
		return index;
	if (kms_sites_is_full(sites))
		return site_folded(sites, owner, node, cache);
	return site_make(sites, owner, node, cache);
}

/* Closes the gap at @at, so that every probe still finds its site. */
static void slot_clear(struct kms_sites *sites, uint32_t at)
{
	uint32_t next = at;

	for (;;) {
		const struct kms_site *site;
		uint32_t home;

		next = (next + 1) & sites->slot_mask;
		if (!sites->slot[next].index)
			break;
		site = &sites->site[sites->slot[next].index - 1];
		home = key_of(sites, site->target, site->node, site->cache).index;
		/* may it move to the gap? only if its home is not behind the gap */
		if (((next - home) & sites->slot_mask) < ((next - at) & sites->slot_mask))
			continue;
		sites->slot[at] = sites->slot[next];
		at = next;
	}
	sites->slot[at].index = 0;
}

void kms_sites_drop(struct kms_sites *sites, uint32_t *link)
{
	uint32_t index = *link;
	const struct kms_site *site = &sites->site[index];
	uint32_t at = key_of(sites, site->target, site->node, site->cache).index;

	*link = sites->past[index].next;
	kms_site_kin_leave(sites, index);
	while (sites->slot[at].index != index + 1)
		at = (at + 1) & sites->slot_mask;
	slot_clear(sites, at);
	sites->site[index].flags = 0;
	sites->past[index].next = sites->free_first;
	sites->free_first = index;
	sites->used--;
	sites->dropped++;
	sites->alias_stale = true;
}
