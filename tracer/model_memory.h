/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of the live model, counted: what targets write decides how much the model would keep, so
 * there is a limit that nothing passes. One thread.
 */
#ifndef KMS_TRACER_MODEL_MEMORY_H
#define KMS_TRACER_MODEL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/** An account; all zero but for the limit at the start. */
struct kms_memory {
	size_t used_bytes;
	size_t limit_bytes;
	uint64_t refused; /* requests that did not fit */
};

/** Zeroed memory; NULL if the limit or the machine says no. */
void *kms_memory_alloc(struct kms_memory *memory, size_t bytes);

/** Gives back what kms_memory_alloc() gave for the same @bytes. NULL is allowed. */
void kms_memory_free(struct kms_memory *memory, void *p, size_t bytes);

/**
 * Makes room for at least @want elements in a growing array, doubling; new elements are zero.
 *
 * Shape:  @array: address of the pointer; @room: elements it has room for now
 * Errors: -ENOMEM: nothing has changed
 */
int kms_memory_reserve(struct kms_memory *memory, void *array, size_t *room, size_t want,
		       size_t element_bytes);

#endif
