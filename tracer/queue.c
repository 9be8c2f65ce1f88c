/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue of batches: see queue.h.
 */
#include "tracer/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void kms_queue_init(struct kms_queue *queue)
{
	pthread_condattr_t attr;

	memset(queue, 0, sizeof(*queue));
	/* none of these can fail with these arguments on Linux */
	(void)pthread_mutex_init(&queue->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&queue->filled, &attr);
	(void)pthread_condattr_destroy(&attr);
}

void kms_queue_deinit(struct kms_queue *queue)
{
	struct kms_batch *batch;

	while ((batch = kms_queue_pop(queue, 0)) != NULL)
		kms_batch_put(batch);
	free(queue->item);
	(void)pthread_cond_destroy(&queue->filled); /* nobody waits any more */
	(void)pthread_mutex_destroy(&queue->lock);
}

/* Doubles the room; what is in the ring becomes its beginning. */
static int grow(struct kms_queue *queue)
{
	size_t room = queue->room ? queue->room * 2 : 64;
	struct kms_batch **item = calloc(room, sizeof(struct kms_batch *));

	if (!item)
		return -ENOMEM;
	for (size_t i = 0; i < queue->n; i++)
		item[i] = queue->item[(queue->first + i) % queue->room];
	free(queue->item);
	queue->item = item;
	queue->first = 0;
	queue->room = room;
	return 0;
}

int kms_queue_push(struct kms_queue *queue, struct kms_batch *batch)
{
	int result = 0;

	(void)pthread_mutex_lock(&queue->lock); /* a plain mutex, never locked twice */
	if (queue->n == queue->room)
		result = grow(queue);
	if (!result) {
		kms_batch_get(batch);
		queue->item[(queue->first + queue->n++) % queue->room] = batch;
		(void)pthread_cond_signal(&queue->filled);
	}
	(void)pthread_mutex_unlock(&queue->lock);
	return result;
}

struct kms_batch *kms_queue_pop(struct kms_queue *queue, uint64_t until_mono_ns)
{
	struct timespec until = {.tv_sec = (time_t)(until_mono_ns / 1000000000u),
				 .tv_nsec = (long)(until_mono_ns % 1000000000u)};
	struct kms_batch *batch = NULL;
	int result = 0;

	(void)pthread_mutex_lock(&queue->lock);
	while (!queue->n && !queue->woken && !result)
		result = pthread_cond_timedwait(&queue->filled, &queue->lock, &until);
	queue->woken = false;
	if (queue->n) {
		batch = queue->item[queue->first];
		queue->first = (queue->first + 1) % queue->room;
		queue->n--;
	}
	(void)pthread_mutex_unlock(&queue->lock);
	return batch;
}

void kms_queue_wake(struct kms_queue *queue)
{
	(void)pthread_mutex_lock(&queue->lock);
	queue->woken = true;
	(void)pthread_cond_signal(&queue->filled);
	(void)pthread_mutex_unlock(&queue->lock);
}
