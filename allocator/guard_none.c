/* SPDX-License-Identifier: BSD-2-Clause */
/* KMEM_GUARD compiled out (option KMS_GUARD=OFF): a depth other than 0 is refused. */
#include "allocator/guard.h"
#include "allocator/port.h"

uint64_t kms_guard_round_depth(uint64_t depth)
{
	(void)depth;
	return 0;
}

uint32_t kms_guard_configure(struct kms_heap *heap)
{
	return heap->variable[KMS_VAR_GUARD_DEPTH] ? KMS_ACK_UNSUPPORTED : KMS_ACK_OK;
}

void *kms_guard_alloc(struct kms_local *t, size_t size, size_t align, unsigned cache_index,
		      struct kms_request_info *info)
{
	(void)t, (void)size, (void)align, (void)cache_index, (void)info;
	return NULL;
}

bool kms_guard_owns(const struct kms_heap *heap, uintptr_t p)
{
	(void)heap, (void)p;
	return false;
}

void kms_guard_free(struct kms_local *t, uintptr_t p, struct kms_request_info *info)
{
	(void)t, (void)p, (void)info;
}

bool kms_guard_wanted(const struct kms_heap *heap)
{
	(void)heap;
	return false;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): guard.c writes there */
bool kms_guard_readable(const struct kms_heap *heap, uintptr_t p, uintptr_t *start, uintptr_t *end)
{
	(void)heap, (void)p, (void)start, (void)end;
	return false;
}

size_t kms_guard_verify(struct kms_local *t, const struct kms_frame *frame)
{
	(void)t, (void)frame;
	return 0;
}

bool kms_guard_place(const struct kms_heap *heap, uintptr_t p, struct kms_place *place)
{
	(void)heap, (void)p, (void)place;
	return false;
}

bool kms_guard_trap(struct kms_local *t, uintptr_t address, bool write, uint32_t stack)
{
	(void)t, (void)address, (void)write, (void)stack;
	return false;
}

void kms_guard_after_fork(struct kms_heap *heap)
{
	(void)heap;
}

uint32_t *kms_guard_lock_word(struct kms_heap *heap)
{
	(void)heap;
	return NULL;
}

/* There is no handler for it. */
int kms_port_catch_traps(void)
{
	return -1;
}

void kms_guard_drain(struct kms_local *t)
{
	(void)t;
}
