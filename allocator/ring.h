/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The producer half of the ring: schema/record.h written as fast as it can be.
 *
 * One writer owns a ring; a record becomes visible by the release store of the block's fill. The
 * hot path below has no call, no loop and no branch that depends on the data but three: block full,
 * time due, unaligned address.
 */
#ifndef KMS_ALLOCATOR_RING_H
#define KMS_ALLOCATOR_RING_H

#include "allocator/impl.h"

/** Room that the hot path needs without asking: prefixes, time and one record, with slack for its
 * whole-word stores. */
#define KMS_RING_ROOM_BYTES 96

/** Forgets everything: no ring. For new locals, and in a forked child. */
void kms_ring_reset(struct kms_ring_writer *w);

/**
 * Claims a ring for this local and opens its first block. Without a free ring the writer counts
 * (no_ring). Locks: none; not within an allocator lock.
 */
void kms_ring_claim(struct kms_local *local);

/** Publishes what is pending and gives the ring back once the tracer has drained it. */
void kms_ring_close(struct kms_local *local);

/** Recording may have been switched on again: goes on in the new session. */
void kms_ring_resume(struct kms_local *local);

/** Has the tracer's position passed everything that ring @index holds? */
bool kms_ring_drained(const struct kms_heap *heap, uint32_t index);

/**
 * Makes room: closes the block, waits or drops as kmem_on_full says, opens the next.
 * False: the event is to be counted as lost (already done).
 */
bool kms_ring_make_room(struct kms_local *local);

/** Writes a time record and sets when the next is due. */
void kms_ring_stamp(struct kms_local *local);

/** The hot records the slow way: unaligned address, flags, generation, changed checks. */
void kms_ring_emit_slow(struct kms_local *local, unsigned form, uintptr_t address, uint64_t size,
			uint32_t node, uint32_t flags, int generation);

/** A record of form 0 with up to five numbers (schema/record.h says which). */
void kms_ring_emit_code(struct kms_local *local, unsigned code, unsigned n,
			const uint64_t numbers[5]);

/** Has the tracer's clock moved since the last stamp, or is a stamp due by count? */
static inline bool kms_ring_time_due(struct kms_ring_writer *w)
{
	uint32_t tick = __atomic_load_n(w->tick, __ATOMIC_RELAXED);

	return (tick ^ w->tick_seen) | !--w->time_countdown;
}

/** What a record just written, or lost, leaves in its block's last_ring. */
static inline uint16_t kms_recorded_in(const struct kms_ring_writer *w)
{
	return w->lost_pending ? KMS_SIDE_UNRECORDED : w->mark;
}

static inline uint32_t kms_site_slot(uint32_t node)
{
	return (node * UINT32_C(0x9e3779b1)) >> 24;
}

static inline void kms_store64(uint8_t *p, uint64_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline void kms_store32(uint8_t *p, uint32_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

/** log2 of the bytes that hold v as a two's complement number: 0, 1, 2, or 3 for more than 4. */
static inline unsigned kms_signed_code(int64_t v)
{
	uint64_t folded = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
	unsigned bits = 64u - (unsigned)__builtin_clzll(folded | 1);

	/* 1..8 -> 0, 9..16 -> 1, 17..32 -> 2, more -> 3 */
	return (unsigned)(bits > 8) + (unsigned)(bits > 16) + (unsigned)(bits > 32);
}

static inline unsigned kms_unsigned_code(uint64_t v)
{
	return (unsigned)(v > 0xff) + (unsigned)(v > 0xffff) + (unsigned)(v > 0xffffffff);
}

/**
 * An alloc or free with nothing special about it.
 *
 * Needs: a claimed ring; @checks equal to w->checks; @address a multiple of 8.
 */
static inline void kms_ring_emit(struct kms_local *local, unsigned form, uintptr_t address,
				 uint64_t size, uint32_t node)
{
	struct kms_ring_writer *w = local->ring;
	uint8_t *out;
	int64_t delta;
	unsigned address_code, size_code, slot, hit, same;
	uint64_t address_field;

	if (KMS_UNLIKELY(w->cursor > w->limit) && !kms_ring_make_room(local))
		return;
	if (KMS_UNLIKELY(kms_ring_time_due(w)))
		kms_ring_stamp(local);
	out = w->cursor;
	delta = (int64_t)(address - w->last_address) >> 3;
	w->last_address = address;
	address_code = kms_signed_code(delta);
	address_field = address_code == 3 ? address : (uint64_t)delta;
	slot = kms_site_slot(node);
	hit = w->site[slot].node == node;
	same = hit & (w->site[slot].size == size);
	w->site[slot].node = node;
	w->site[slot].size = (uint32_t)size;
	size_code = kms_unsigned_code(size);
	kms_store32(out, (form | hit << 2 | same << 3 | address_code << KMS_REC_ADDR_SHIFT |
			  (same ? 0 : size_code << KMS_REC_SIZE_SHIFT)) |
				 slot << 8 | node << 16);
	out[4] = (uint8_t)(node >> 16);
	out += hit ? 2 : 5;
	kms_store64(out, address_field);
	out += 1u << address_code;
	kms_store64(out, size);
	out += same ? 0 : 1u << size_code;
	w->cursor = out;
	w->seq++;
	/* pairs with the reader's acquire load of fill: the record's bytes are there */
	__atomic_store_n(&w->block->fill, (uint32_t)(out - w->block->record), __ATOMIC_RELEASE);
}

#endif
