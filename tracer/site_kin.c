/* SPDX-License-Identifier: BSD-2-Clause */
/* Sites of one stack, over its caches: see sites.h. */
#include <string.h>

#include "tracer/sites.h"

/* A stack that is not known says nothing about where blocks come from: only the cache does. */
static bool stands_alone(const struct kms_site *site)
{
	return site->node == 0;
}

static uint32_t home_of(const struct kms_sites *sites, uint32_t target, uint32_t node)
{
	uint64_t h = node * UINT64_C(0x9e3779b97f4a7c15) + target * UINT64_C(0xbb67ae8584caa73b);

	return (uint32_t)(h >> 32 ^ h) & sites->slot_mask;
}

/* Place of the stack of a site: that of its lead, or the free one where it would stand. */
static uint32_t place_of(const struct kms_sites *sites, const struct kms_site *site)
{
	uint32_t at = home_of(sites, site->target, site->node);

	for (; sites->stack[at]; at = (at + 1) & sites->slot_mask) {
		const struct kms_site *lead = &sites->site[sites->stack[at] - 1];

		if (lead->node == site->node && lead->target == site->target)
			break;
	}
	return at;
}

void kms_site_kin_join(struct kms_sites *sites, uint32_t index)
{
	struct kms_site_kin *kin = &sites->kin[index];
	uint32_t at;

	*kin = (struct kms_site_kin){.lead = index, .next = KMS_SITE_NONE};
	if (stands_alone(&sites->site[index]))
		return;
	at = place_of(sites, &sites->site[index]);
	if (!sites->stack[at]) {
		sites->stack[at] = index + 1;
		return;
	}
	kin->lead = sites->stack[at] - 1;
	kin->next = sites->kin[kin->lead].next;
	sites->kin[kin->lead].next = index;
}

/* Closes the gap at @at, so that every probe still finds its stack. */
static void place_clear(struct kms_sites *sites, uint32_t at)
{
	uint32_t next = at;

	for (;;) {
		const struct kms_site *lead;
		uint32_t home;

		next = (next + 1) & sites->slot_mask;
		if (!sites->stack[next])
			break;
		lead = &sites->site[sites->stack[next] - 1];
		home = home_of(sites, lead->target, lead->node);
		if (((next - home) & sites->slot_mask) < ((next - at) & sites->slot_mask))
			continue; /* its home is behind the gap */
		sites->stack[at] = sites->stack[next];
		at = next;
	}
	sites->stack[at] = 0;
}

/* The next site in line leads: what is known of the whole stack goes over to it. */
static void hand_over(struct kms_sites *sites, uint32_t lead)
{
	uint32_t heir = sites->kin[lead].next;
	const struct kms_site_past *from = &sites->past[lead];
	struct kms_site_past *to = &sites->past[heir];

	to->grown = from->grown;
	to->epoch_count = from->epoch_count;
	to->median_ns = from->median_ns;
	to->leak_id = from->leak_id;
	for (uint32_t i = heir; i != KMS_SITE_NONE; i = sites->kin[i].next)
		sites->kin[i].lead = heir;
}

void kms_site_kin_leave(struct kms_sites *sites, uint32_t index)
{
	uint32_t lead = sites->kin[index].lead;
	uint32_t before = lead;
	uint32_t at;

	if (lead != index) {
		while (sites->kin[before].next != index)
			before = sites->kin[before].next;
		sites->kin[before].next = sites->kin[index].next;
		return;
	}
	if (stands_alone(&sites->site[index]))
		return;
	at = place_of(sites, &sites->site[index]);
	if (sites->kin[index].next == KMS_SITE_NONE) {
		place_clear(sites, at);
		return;
	}
	hand_over(sites, index);
	sites->stack[at] = sites->kin[index].next + 1;
}

uint64_t kms_site_kin_count(const struct kms_sites *sites, uint32_t lead)
{
	uint64_t count = 0;

	for (uint32_t i = lead; i != KMS_SITE_NONE; i = sites->kin[i].next)
		count += sites->site[i].live_count;
	return count;
}
