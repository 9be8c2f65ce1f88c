/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks of a guest's rings, copied: see mirror.h. Whether they make sense is for the ring reader to
 * say, as with a process; here they are only counted, so that no number of the guest's makes us read
 * more than a ring holds.
 */
#include <errno.h>
#include <string.h>

#include "tracer/block_parse.h"
#include "tracer/guest/mirror_impl.h"

enum {
	HEAD_BYTES = offsetof(struct kms_block, record),
};

/* A ring in a pull. */
struct look {
	struct kms_ring_desc desc; /* as it goes into the copy */
	struct kms_block *first;   /* heads of the open block, read one after the other */
	struct kms_block *second;
	bool is_open; /* its open block is looked at */
};

/* Descriptions, twice: what says that the rest is good counts as first read, the rest as read after it. */
static bool read_descriptions(struct kms_guest_mirror *m, struct look *look, uint32_t n)
{
	size_t bytes = n * sizeof(struct kms_ring_desc);
	uint64_t at = mirror_there(m, KMS_SEC_RING_DESC, 0);
	const struct kms_ring_desc *first = mirror_stage(m, at, bytes);
	const struct kms_ring_desc *second = mirror_stage(m, at, bytes);

	if (!first || !second || !mirror_flush(m))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		look[i].desc = second[i];
		look[i].desc.state = first[i].state;
		look[i].desc.head_block = first[i].head_block;
		/* changed hands in between: the next pull sees it whole */
		if (first[i].claims != second[i].claims)
			look[i].desc.claims = 0;
	}
	return true;
}

/* Where reading of a ring begins: where a former tracer stopped, or its claim began. */
static uint64_t first_block(const struct kms_guest_mirror *m, uint32_t ring,
			    const struct kms_ring_desc *desc)
{
	const struct kms_pair *position =
		(const void *)(m->map + m->section[KMS_SEC_TRACER].offset +
			       sizeof(struct kms_tracer_page));
	uint64_t at = position[ring].v == ~position[ring].not_v ? position[ring].v : 0;

	return at > desc->first_block ? at : desc->first_block;
}

/* Whether a ring has not gone back. */
static bool goes_on(struct kms_guest_mirror *m, uint32_t i, const struct kms_ring_desc *desc)
{
	struct mirror_ring *ring = &m->next_ring[i];

	if (!ring->block)
		ring->block = first_block(m, i, desc);
	if (desc->claims >= m->ring[i].claims && desc->head_block + 1 >= ring->block)
		return true;
	m->over = KMS_MIRROR_REWOUND;
	return false;
}

/* Has the blocks read that are complete. Returns whether all are. */
static bool want_complete(struct kms_guest_mirror *m, uint32_t i, struct look *look,
			  uint32_t *budget)
{
	uint32_t blocks = m->guest.head.blocks_per_ring;
	struct mirror_ring *ring = &m->next_ring[i];
	uint64_t head = look->desc.head_block;

	/* more than a ring holds: nonsense, and the reader says so; nothing is copied for it */
	if (head > ring->block && head - ring->block > blocks)
		return true;
	for (; ring->block < head; ring->block++, ring->fill = 0) {
		uint64_t index = (uint64_t)i * blocks + (ring->block & (blocks - 1));
		struct kms_block *block;

		if (!*budget)
			return false;
		(*budget)--;
		block = mirror_stage(m, mirror_there(m, KMS_SEC_RING, index), sizeof(*block));
		if (!block)
			return false;
		mirror_put_later(m, mirror_here(m, KMS_SEC_RING, index), block, sizeof(*block));
	}
	return true;
}

static uint64_t open_index(const struct kms_guest_mirror *m, uint32_t i)
{
	uint32_t blocks = m->guest.head.blocks_per_ring;

	return (uint64_t)i * blocks + (m->next_ring[i].block & (blocks - 1));
}

static void want_open_head(struct kms_guest_mirror *m, uint32_t i, struct look *look)
{
	uint64_t at = mirror_there(m, KMS_SEC_RING, open_index(m, i));

	look->first = mirror_stage(m, at, HEAD_BYTES);
	look->second = mirror_stage(m, at, HEAD_BYTES);
	look->is_open = look->first && look->second;
}

/* What the open block gained. Returns whether it is anything. */
static bool want_open_rest(struct kms_guest_mirror *m, uint32_t i, struct look *look)
{
	struct mirror_ring *ring = &m->next_ring[i];
	uint64_t index = open_index(m, i);
	uint32_t fill;
	uint8_t *rest;

	if (!look->is_open || look->first->number != ring->block)
		return false; /* not opened yet */
	fill = look->first->fill;
	fill = fill < KMS_RECORD_AREA_BYTES ? fill : KMS_RECORD_AREA_BYTES;
	if (fill <= ring->fill && m->ring[i].block == ring->block)
		return false;
	if (m->ring[i].block != ring->block)
		ring->fill = 0;
	look->second->number = ring->block;
	look->second->fill = look->first->fill; /* the reader refuses a wrong one */
	rest = mirror_stage(m, mirror_there(m, KMS_SEC_RING, index) + HEAD_BYTES + ring->fill,
			    fill - ring->fill);
	if (!rest)
		return false;
	mirror_put_later(m, mirror_here(m, KMS_SEC_RING, index), look->second, HEAD_BYTES);
	mirror_put_later(m, mirror_here(m, KMS_SEC_RING, index) + HEAD_BYTES + ring->fill, rest,
			 fill - ring->fill);
	ring->fill = fill;
	return true;
}

/* A description whose blocks did not all come says no more than did. */
static void cut_description(const struct kms_guest_mirror *m, uint32_t i, struct look *look)
{
	look->desc.head_block = m->next_ring[i].block;
	look->desc.state = KMS_RING_OWNED;
}

static bool look_at_ring(struct kms_guest_mirror *m, uint32_t i, struct look *look,
			 uint32_t *budget, struct kms_guest_mirror_news *news)
{
	uint64_t before = m->ring[i].block;

	if (!look->desc.claims)
		return true;
	if (!goes_on(m, i, &look->desc))
		return false;
	m->next_ring[i].claims = look->desc.claims;
	if (i >= m->n_rings)
		m->n_rings = i + 1;
	if (want_complete(m, i, look, budget)) {
		want_open_head(m, i, look);
	} else {
		news->more = true;
		cut_description(m, i, look);
	}
	news->any |= m->next_ring[i].block != before;
	return !m->failed;
}

bool mirror_pull_rings(struct kms_guest_mirror *m, struct kms_guest_mirror_news *news)
{
	uint32_t n = m->n_rings + MIRROR_LOOK_AHEAD;
	uint32_t budget = MIRROR_BLOCKS_AT_ONCE;
	struct look *look;

	n = n < m->guest.head.rings ? n : m->guest.head.rings;
	look = mirror_room(m, n * sizeof(*look));
	if (!look)
		return false;
	memset(look, 0, n * sizeof(*look));
	if (!read_descriptions(m, look, n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!look_at_ring(m, i, &look[i], &budget, news))
			return false;
	}
	if (!mirror_flush(m))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		news->any |= want_open_rest(m, i, &look[i]);
		if (look[i].desc.claims)
			mirror_put_later(m, mirror_here(m, KMS_SEC_RING_DESC, i), &look[i].desc,
					 sizeof(look[i].desc));
	}
	return mirror_flush(m);
}
