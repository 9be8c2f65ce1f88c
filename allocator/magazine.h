/* SPDX-License-Identifier: BSD-2-Clause */
/* Magazines: their memory, and how one is loaded into a bin. */
#ifndef KMS_ALLOCATOR_MAGAZINE_H
#define KMS_ALLOCATOR_MAGAZINE_H

#include "allocator/impl.h"

/** An empty magazine, NULL without memory. Takes meta_lock. */
struct kms_magazine *kms_magazine_get(struct kms_heap *heap);

/** Gives a magazine back; what is in it is forgotten. Takes meta_lock. */
void kms_magazine_put(struct kms_heap *heap, struct kms_magazine *m);

/** Makes @m the loaded magazine of a bin that has none. */
static inline void kms_bin_load(struct kms_bin *bin, const struct kms_cache *cache,
				struct kms_magazine *m)
{
	bin->bottom = m->round;
	bin->top = m->round + m->rounds;
	bin->limit = m->round + cache->magazine_rounds;
}

/** Takes the loaded magazine out of a bin; NULL if it has none. */
static inline struct kms_magazine *kms_bin_unload(struct kms_bin *bin)
{
	struct kms_magazine *m;

	if (!bin->bottom)
		return NULL;
	m = (struct kms_magazine *)(void *)((uint8_t *)bin->bottom -
					    offsetof(struct kms_magazine, round));
	m->rounds = (uint32_t)(bin->top - bin->bottom);
	bin->bottom = bin->top = bin->limit = NULL;
	return m;
}

#endif
