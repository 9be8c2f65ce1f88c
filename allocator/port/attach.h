/* SPDX-License-Identifier: BSD-2-Clause */
/* The process's side of schema/attach.h: a tracer that comes late. */
#ifndef KMS_ALLOCATOR_PORT_ATTACH_H
#define KMS_ALLOCATOR_PORT_ATTACH_H

#include "allocator/impl.h"

/** Says in the attach page what this process is, and has its word looked at. When the heap is made. */
void kms_attach_start(struct kms_heap *heap);

/** Has somebody asked for this process before it began? Then that is the run it joins. */
bool kms_attach_is_asked(void);

/** In a forked child: the page is the child's now. */
void kms_attach_forked(struct kms_heap *heap);

/**
 * Takes up a request to join a run, if there is one. By a thread that is in no call and holds no
 * lock; it may take some milliseconds, with signals blocked.
 */
void kms_attach_poll(struct kms_heap *heap);

#endif
