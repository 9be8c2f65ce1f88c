/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port/maps.h"

#include "allocator/heap.h"
#include "allocator/port/unwind_posix.h"
#include "allocator/ring.h"

enum {
	WORD_BITS = 64,
	WORDS = (KMS_MAX_MODULES + WORD_BITS - 1) / WORD_BITS,
};

/* A process has one heap that stacks are captured for. */
static uint64_t noted[WORDS]; /* a bit for each index of the module table; atomic */
static uint32_t any_noted;

/* From within a capture: atomics only. */
static void note(void *arg, uint32_t index)
{
	struct kms_heap *heap = arg;

	if (index >= KMS_MAX_MODULES)
		return;
	__atomic_fetch_or(&noted[index / WORD_BITS], UINT64_C(1) << index % WORD_BITS,
			  __ATOMIC_RELAXED);
	/* pairs with the exchange in kms_maps_tell: the bit is set */
	__atomic_store_n(&any_noted, 1, __ATOMIC_RELEASE);
	kms_heap_attention(heap);
}

void kms_maps_start(struct kms_heap *heap)
{
	heap->stacks->unwind->modules.arg = heap;
	heap->stacks->unwind->modules.registered = note;
}

static void tell_word(struct kms_local *t, uint32_t word)
{
	uint64_t bits = __atomic_exchange_n(&noted[word], 0, __ATOMIC_RELAXED);

	for (; bits; bits &= bits - 1) {
		const uint64_t numbers[5] = {word * WORD_BITS + (unsigned)__builtin_ctzll(bits)};

		kms_ring_emit_code(t, KMS_REC_MAP, 1, numbers);
	}
}

void kms_maps_tell(struct kms_local *t)
{
	if (!t->trace || !__atomic_load_n(&any_noted, __ATOMIC_RELAXED) ||
	    !__atomic_exchange_n(&any_noted, 0, __ATOMIC_ACQUIRE))
		return;
	kms_enter(t);
	for (uint32_t word = 0; word < WORDS; word++)
		if (__atomic_load_n(&noted[word], __ATOMIC_RELAXED))
			tell_word(t, word);
	kms_leave(t);
}

void kms_maps_forget(void)
{
	for (uint32_t word = 0; word < WORDS; word++)
		__atomic_store_n(&noted[word], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&any_noted, 0, __ATOMIC_RELAXED);
}
