/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/magazine.h"

#include "allocator/arena.h"
#include "allocator/port.h"

/* Magazines are never unmapped: a lock-free list would have the ABA problem, so a lock. */
struct kms_magazine *kms_magazine_get(struct kms_heap *heap)
{
	struct kms_magazine *m;

	kms_port_lock(&heap->meta_lock);
	m = heap->magazine_free;
	if (m)
		heap->magazine_free = m->next;
	kms_port_unlock(&heap->meta_lock);
	if (!m)
		m = kms_meta_alloc(heap, sizeof(*m));
	if (m)
		m->rounds = 0;
	return m;
}

void kms_magazine_put(struct kms_heap *heap, struct kms_magazine *m)
{
	kms_port_lock(&heap->meta_lock);
	m->next = heap->magazine_free;
	heap->magazine_free = m;
	kms_port_unlock(&heap->meta_lock);
}
