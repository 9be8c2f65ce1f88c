/* SPDX-License-Identifier: BSD-2-Clause */
/* Variables: start values, requests of the tracer, acknowledgements. */
#ifndef KMS_ALLOCATOR_CONTROL_H
#define KMS_ALLOCATOR_CONTROL_H

#include "allocator/impl.h"

/** Fills in the defaults of schema/variables.h. */
void kms_control_defaults(struct kms_heap *heap);

/** KMS_CHECK_* that the variables ask for. */
uint32_t kms_control_checks(const struct kms_heap *heap);

/** Writes every variable's value into the acknowledgements of the slot. */
void kms_control_publish(struct kms_heap *heap);

/** Index of a variable by name, with or without "kmem_"; KMS_VARIABLE_COUNT if unknown. */
unsigned kms_control_find(const char *name, size_t length);

/**
 * Sets a variable and makes it effective for every thread's next call.
 * Returns an enum kms_ack_status; KMS_ACK_RANGE leaves everything as it was.
 */
uint32_t kms_control_set(struct kms_heap *heap, unsigned variable, uint64_t value);

/** The checks depend on whether anybody traces, which has changed. Locks: takes control_lock. */
void kms_control_again(struct kms_heap *heap);

/**
 * Takes up requests that wait in the request page, and answers them; the commands among them are
 * carried out by the calling thread.
 *
 * Locks: no allocator lock held; not for a nested local
 */
void kms_control_poll(struct kms_local *t);

/** Is there a request that was not taken up? No lock. */
bool kms_control_is_asked(const struct kms_heap *heap);

/** Is kmem_continue among those? For a thread that cannot have the lock. */
bool kms_control_is_told_to_go_on(const struct kms_heap *heap);

/**
 * Reads "name=value,name=value" (KMEM_OPTIONS). Unknown names and bad values are told to @complain
 * (may be NULL) and passed over. Returns the number of complaints.
 */
unsigned kms_control_parse(struct kms_heap *heap, const char *options,
			   void (*complain)(const char *item, size_t length, const char *reason));

#endif
