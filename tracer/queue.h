/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Batches on their way from the reader to one consumer thread. Not bounded by itself: the reader
 * bounds the memory of all batches together.
 */
#ifndef KMS_TRACER_QUEUE_H
#define KMS_TRACER_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/batch.h"

struct kms_queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct kms_batch **item; /* a ring of room entries */
	size_t first, n, room;
	bool woken;
};

void kms_queue_init(struct kms_queue *queue);
/** Gives back what is still in it. */
void kms_queue_deinit(struct kms_queue *queue);

/** Adds a batch with a reference of its own. Errors: -ENOMEM: the batch is not in the queue */
int kms_queue_push(struct kms_queue *queue, struct kms_batch *batch);

/**
 * Takes the oldest batch, or waits for one until a moment of CLOCK_MONOTONIC.
 * Owner: the caller puts the batch. NULL: the time is over, or somebody called kms_queue_wake().
 */
struct kms_batch *kms_queue_pop(struct kms_queue *queue, uint64_t until_mono_ns);

/** Ends the consumer's wait, or the next one: there is something else to do. Any thread. */
void kms_queue_wake(struct kms_queue *queue);

#endif
