/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/verify.h"

#include "allocator/guard.h"
#include "allocator/large.h"

/*
 * Looked at twice: a block that is being freed or resized may look damaged for a moment. Its entry
 * tells, by its size where no generation is kept: one that comes back with the same size has the same
 * redzone.
 */
static bool damaged_for_certain(const struct kms_span *span, const struct kms_side *side,
				const uint8_t *p)
{
	for (int pass = 0; pass < 2; pass++) {
		uint32_t size = __atomic_load_n(&side->size_bytes, __ATOMIC_ACQUIRE);
		uint8_t generation = __atomic_load_n(&side->generation, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&side->state, __ATOMIC_ACQUIRE) != KMS_BLOCK_LIVE)
			return false;
		if (span->state == KMS_SPAN_SLAB ? kms_zones_whole(span, p, size)
						 : kms_redzone_whole(p + kms_side_size(span, side)))
			return false;
		if (__atomic_load_n(&side->generation, __ATOMIC_ACQUIRE) != generation ||
		    __atomic_load_n(&side->size_bytes, __ATOMIC_ACQUIRE) != size)
			return false;
	}
	return true;
}

static size_t verify_span(struct kms_local *t, struct kms_span *span, const struct kms_frame *frame)
{
	struct kms_side *side = (struct kms_side *)(uintptr_t)span->side_address;
	size_t damaged = 0;

	if (!(span->checks & KMS_CHECK_REDZONE))
		return 0;
	for (uint32_t i = 0; i < span->count; i++) {
		uint8_t *p = (uint8_t *)(uintptr_t)(span->base + span->first_bytes +
						    (uint64_t)i * span->stride_bytes);

		if (side[i].state == KMS_BLOCK_LIVE && damaged_for_certain(span, &side[i], p))
			damaged += kms_fault_check_zones(t, span, p, &side[i], frame,
							 KMS_ACCESS_CHECK) != 0;
	}
	return damaged;
}

size_t kms_verify(struct kms_local *t, const struct kms_frame *frame)
{
	struct kms_arena *arena = &t->heap->arena;
	size_t damaged = 0;

	for (uint32_t i = 1; i < arena->span_count; i++) {
		struct kms_span *span = &arena->span[i];
		uint8_t state = __atomic_load_n(&span->state, __ATOMIC_ACQUIRE);

		if (span->pages && span->side_address &&
		    (state == KMS_SPAN_SLAB || state == KMS_SPAN_LARGE))
			damaged += verify_span(t, span, frame);
	}
	return damaged + kms_guard_verify(t, frame);
}
