/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Base scans of a run, in a thread of their own: the reader, who sees that one is wanted, must not wait
 * for a process with millions of blocks.
 */
#ifndef KMS_TRACER_BASE_H
#define KMS_TRACER_BASE_H

#include "tracer/base_scan.h"
#include "tracer/batch.h"

struct kms_base;

/** A session of recording began, of which nobody knows what was live. */
struct kms_base_want {
	struct kms_base_plan plan;
	uint32_t image, target;
	uint64_t time_ns; /* region time now */
};

/**
 * emit: takes over a reference of its own of each batch, from the thread of the scans; -ENOMEM: it is
 * asked again. say may be NULL. NULL: no memory.
 */
struct kms_base *kms_base_create(int (*emit)(void *arg, struct kms_batch *batch),
				 void (*say)(void *arg, const char *line), void *arg);

/** Waits for what was asked, a moment, and ends the thread; asking does nothing any more. NULL is allowed. */
void kms_base_end(struct kms_base *base);

/** After kms_base_end(), and when nobody asks any more. NULL is allowed. */
void kms_base_destroy(struct kms_base *base);

/** Has one scanned, soon. Without memory it is not. Any thread. */
void kms_base_ask(struct kms_base *base, const struct kms_base_want *want);

#endif
