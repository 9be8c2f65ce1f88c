/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Work that other threads have for one that owns something: questions to the model, rows for the
 * store. Who asks waits; who owns does it between its own work, in slices of time.
 */
#ifndef KMS_TRACER_ERRANDS_H
#define KMS_TRACER_ERRANDS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * Works on an errand until CLOCK_MONOTONIC is @until_ns or it is done. In the owner's thread.
 * Shape:  @arg: the asker's; @owned: the owner's
 * Returns true when it is done.
 */
typedef bool kms_errand_fn(void *arg, void *owned, uint64_t until_ns);

struct kms_errands {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct kms_errand *first, **last; /* oldest first; they are the askers' */
	bool closed;
	uint64_t rest_until_ns; /* the owner's: no slice before, if it has work of its own */
	/** Called when there is something to do: ends the owner's sleep. */
	void (*wake)(void *arg);
	void *wake_arg;
};

void kms_errands_init(struct kms_errands *errands, void (*wake)(void *arg), void *wake_arg);
void kms_errands_deinit(struct kms_errands *errands);

/**
 * Has an errand done and waits for it.
 * Errors: -ESHUTDOWN: the owner has ended, or ends before it is done
 */
int kms_errands_run(struct kms_errands *errands, kms_errand_fn *step, void *arg);

/**
 * Works for a slice on the oldest errand. The owner's thread.
 *
 * Shape:  @busy: the owner has work of its own waiting: then it gets as much time in between
 * Returns whether something is left to do.
 */
bool kms_errands_work(struct kms_errands *errands, void *owned, bool busy);

/** Ends those that wait, and all that come. The owner's thread. */
void kms_errands_close(struct kms_errands *errands);

#endif
