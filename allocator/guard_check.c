/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pattern around a guarded block: behind it up to the end of its page, before it (and before
 * the header of kmem) as far as its page goes, but no more than 32 bytes.
 */
#include "allocator/guard_impl.h"
#include "allocator/port.h"

void kms_guard_fill_zones(const struct kms_guard_slot *slot, uintptr_t block, uint64_t size)
{
	uintptr_t tail = block + size;
	size_t front = kms_guard_front_bytes(slot, block);
	uint32_t header = slot->header_bytes;

	kms_pattern_fill((void *)tail, slot->data_end - tail);
	kms_pattern_fill((void *)(block - header - front), front);
	/* one store: the check of the free reads it as one word */
	if (header)
		__builtin_memcpy((void *)(block - KMS_HEADER_BYTES), &size, KMS_HEADER_BYTES);
}

/* What is broken behind the block: the first byte. */
static bool check_tail(struct kms_local *t, const struct kms_guard_slot *slot, uintptr_t block,
		       uint64_t size, struct kms_finding *finding)
{
	uintptr_t tail = block + size;
	size_t room = slot->data_end - tail;
	size_t good = kms_pattern_check((void *)tail, room);

	if (KMS_LIKELY(good == room))
		return false;
	finding->kind = KMS_FAULT_OVERFLOW;
	finding->expected = 0;
	finding->address = tail + good;
	kms_fault_zone(t, finding);
	kms_pattern_fill((void *)tail, room);
	return true;
}

/*
 * What is broken before the block: the byte nearest to it. A broken header is kmem's finding (its
 * caller's size stands against it); what lies before it was broken by the same write then.
 */
static bool check_front(struct kms_local *t, const struct kms_guard_slot *slot, uintptr_t block,
			uint64_t size, struct kms_finding *finding)
{
	uint32_t header = slot->header_bytes;
	uint8_t *end = (uint8_t *)(block - header);
	size_t front = kms_guard_front_bytes(slot, block);
	size_t near = 0;

	if (KMS_LIKELY(kms_pattern_check(end - front, front) == front))
		return false;
	if (!header || !__builtin_memcmp(end, &size, header)) {
		while (near < front &&
		       end[-1 - (ptrdiff_t)near] == kms_pattern_byte((uintptr_t)end - 1 - near))
			near++;
		finding->kind = KMS_FAULT_UNDERFLOW;
		finding->expected = 0;
		finding->address = (uintptr_t)end - 1 - near;
		kms_fault_zone(t, finding);
	}
	kms_pattern_fill(end - front, front);
	return true;
}

bool kms_guard_check_zones(struct kms_local *t, const struct kms_guard_slot *slot, uintptr_t block,
			   const struct kms_frame *frame, uint32_t access)
{
	uint64_t size = slot->side->size_bytes;
	struct kms_finding finding = {
		.access = access,
		.block = block,
		.frame = frame,
		.argument_cache = KMS_NO_INDEX,
	};
	bool tail = check_tail(t, slot, block, size, &finding);

	return check_front(t, slot, block, size, &finding) || tail;
}

/* Looks at a slot whose block cannot be closed meanwhile. */
static bool verify_pinned(struct kms_local *t, struct kms_guard_slot *slot,
			  const struct kms_frame *frame)
{
	const struct kms_side *side = slot->side;

	/* pairs with kms_guard_free: it changes the state, then looks at the pin */
	if (__atomic_load_n(&side->state, __ATOMIC_SEQ_CST) != KMS_BLOCK_LIVE)
		return false;
	return kms_guard_check_zones(t, slot, kms_guard_block(slot, side->size_bytes), frame,
				     KMS_ACCESS_CHECK);
}

size_t kms_guard_verify(struct kms_local *t, const struct kms_frame *frame)
{
	struct kms_guard *g = t->heap->guard;
	struct kms_guard_run *run = g ? __atomic_load_n(&g->runs, __ATOMIC_ACQUIRE) : NULL;
	size_t damaged = 0;

	for (; run; run = run->next) {
		uint32_t used = __atomic_load_n(&run->used, __ATOMIC_ACQUIRE);

		for (uint32_t i = 0; i < used; i++) {
			struct kms_guard_slot *slot = &run->slot[i];

			__atomic_add_fetch(&slot->pin, 1, __ATOMIC_SEQ_CST);
			damaged += verify_pinned(t, slot, frame);
			__atomic_sub_fetch(&slot->pin, 1, __ATOMIC_RELEASE);
		}
	}
	return damaged;
}
