/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The heap of a process and the locals of its threads: what the fronts (malloc, kmem) need to get
 * from "somebody called" to a local. The one place with process-wide state.
 */
#ifndef KMS_ALLOCATOR_PORT_PROCESS_H
#define KMS_ALLOCATOR_PORT_PROCESS_H

#include "allocator/alloc.h"

/** This thread's local; a stand-in whose gate is always closed until the first call. */
extern _Thread_local struct kms_local *kms_tls __attribute__((tls_model("initial-exec")));

/**
 * The slow way to a local: starts the heap, makes the thread's local, takes up requests, finds a
 * nested one for a signal handler. NULL while the heap cannot be started (then early memory is all
 * there is).
 */
struct kms_local *kms_process_local(void);

/** The heap, started or not. */
struct kms_heap *kms_process_heap(void);

/** Tells the tracer with which status the process is about to end. Async-signal-safe. */
void kms_process_exit_status(int status);

/** Takes all locks of the heap in their order, so that nobody is in the middle of anything. */
void kms_process_lock_all(void);
void kms_process_unlock_all(void);

/** Name of the library as messages say it. */
#define KMS_LIBRARY_NAME "kmemscope"

/** A local that may be used now. NULL only while the heap cannot be started. */
static inline struct kms_local *kms_front_local(void)
{
	struct kms_local *t = kms_tls;

	return KMS_UNLIKELY(kms_gate(t)) ? kms_process_local() : t;
}

/** The same, entered (kms_enter); kms_front_leave() leads out again. */
static inline struct kms_local *kms_front_enter(void)
{
	struct kms_local *t = kms_front_local();

	if (KMS_LIKELY(t))
		kms_enter(t);
	return t;
}

static inline void kms_front_leave(struct kms_local *t)
{
	kms_leave(t);
}

/** The caller of the function this stands in; that function must keep a frame pointer. */
#define KMS_CALLER_FRAME(frame_) (*(frame_) = kms_frame_caller(__builtin_frame_address(0)))

#endif
