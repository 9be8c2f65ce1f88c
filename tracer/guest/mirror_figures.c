/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots and counters of a guest, copied: see mirror.h. */
#include <string.h>

#include "tracer/guest/mirror_impl.h"

/* What a slot says of the rest counts as it was before the rest was read. */
static bool merge_slot(struct kms_slot *slot, const struct kms_slot *before)
{
	if (slot->claims != before->claims)
		return false; /* changed hands in between */
	slot->state = before->state;
	slot->acked_seq = before->acked_seq;
	slot->stop_state = before->stop_state;
	slot->session = before->session;
	for (unsigned i = 0; i < KMS_REQUEST_ITEMS; i++)
		slot->ack[i].seq = before->ack[i].seq;
	return true;
}

/* What somebody may wait for, or look at. */
static bool is_news(const struct kms_slot *old, const struct kms_slot *now)
{
	return old->acked_seq != now->acked_seq || old->stop_state != now->stop_state ||
	       old->stop_nr != now->stop_nr || old->state != now->state ||
	       old->claims != now->claims;
}

bool mirror_pull_slots(struct kms_guest_mirror *m, struct kms_guest_mirror_news *news)
{
	uint32_t n = m->n_slots + MIRROR_LOOK_AHEAD;
	struct kms_slot *before, *slot;

	n = n < m->guest.head.slots ? n : m->guest.head.slots;
	before = mirror_stage(m, mirror_there(m, KMS_SEC_SLOT, 0), n * sizeof(*before));
	slot = mirror_stage(m, mirror_there(m, KMS_SEC_SLOT, 0), n * sizeof(*slot));
	if (!before || !slot || !mirror_flush(m))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t here = mirror_here(m, KMS_SEC_SLOT, i);

		if (!merge_slot(&slot[i], &before[i]))
			continue;
		news->any |= is_news((const void *)(m->map + here), &slot[i]);
		mirror_put_later(m, here, &slot[i], sizeof(slot[i]));
		if (slot[i].state != KMS_SLOT_FREE && i >= m->n_slots)
			m->n_slots = i + 1;
	}
	return true;
}

/* A row of KMS_MAX_CACHES entries. */
static void want_row(struct kms_guest_mirror *m, unsigned kind, uint64_t row)
{
	size_t bytes = (size_t)KMS_MAX_CACHES * m->section[kind].entry_bytes;
	void *to = mirror_stage(m, mirror_there(m, kind, row * KMS_MAX_CACHES), bytes);

	if (to)
		mirror_put_later(m, mirror_here(m, kind, row * KMS_MAX_CACHES), to, bytes);
}

bool mirror_pull_counters(struct kms_guest_mirror *m)
{
	for (uint32_t i = 0; i < m->n_rings; i++)
		want_row(m, KMS_SEC_COUNTER, i);
	for (uint32_t i = 0; i < m->n_slots; i++) {
		want_row(m, KMS_SEC_COUNTER, (uint64_t)m->guest.head.rings + i);
		want_row(m, KMS_SEC_CACHE_STAT, i);
	}
	return mirror_flush(m);
}
