/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reader thread: polls all images at the pace of the fullest ring, and hands batches on.
 *
 * Its memory: batches are counted from their making until every consumer has given them back. At the
 * limit nothing more is copied; positions stay where they are, heartbeats go on, producers wait.
 */
#ifndef KMS_TRACER_READER_H
#define KMS_TRACER_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/batch.h"
#include "tracer/images.h"

struct kms_reader;

/**
 * Shape:  both functions get emit_arg. emit gets a batch in order, one at a time, in the reader's thread; it takes references of
 *         its own and does not block. Errors of emit: -ENOMEM, it is called again with the batch.
 */
struct kms_reader_config {
	struct kms_images *images; /* borrowed; polled by this reader alone */
	int (*emit)(void *arg, struct kms_batch *batch);
	void *emit_arg;
	/** After a poll that changed kms_images_state(); may be NULL. */
	void (*changed)(void *arg);
	size_t held_bytes; /* 0: 64 MiB */
};

/** Starts the thread. Errors: NULL with -ENOMEM, -EAGAIN */
struct kms_reader *kms_reader_start(const struct kms_reader_config *config, struct kms_err *err);

/**
 * Ends the thread after a last poll of everything that is there; its last batch is KMS_BATCH_END. Once;
 * NULL is allowed. A sync asked for from then on is not answered any more.
 */
void kms_reader_end(struct kms_reader *reader);

/** Frees a reader that has ended; batches still out are their holders'. NULL is allowed. */
void kms_reader_free(struct kms_reader *reader);

/**
 * Asks for a batch KMS_BATCH_SYNC behind everything that targets wrote before the call. Any thread.
 * Returns the number of the request: that of SYNC batches emitted until then is at least as high.
 */
uint64_t kms_reader_sync(struct kms_reader *reader);

/** Times the reader had to stop copying because its batches did not come back. Any thread. */
uint64_t kms_reader_holds(struct kms_reader *reader);

#endif
