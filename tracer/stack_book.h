/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks of the images of a run in memory: tries and modules, as batches bring them, and the frames
 * of any stack, with names from the symbol resolver.
 *
 * One thread feeds; any thread asks.
 */
#ifndef KMS_TRACER_STACK_BOOK_H
#define KMS_TRACER_STACK_BOOK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/batch.h"
#include "tracer/symbols.h"

struct kms_stack_book;

enum kms_stack_book_limits {
	KMS_STACK_MAX_FRAMES = 1024,
	KMS_STACK_BOOK_BYTES = 96 << 20, /* default; what comes later is not kept */
};

/** Shape: limit_bytes 0: default. Errors: NULL without memory */
struct kms_stack_book *kms_stack_book_create(size_t limit_bytes);
/** NULL is allowed. Frames handed out are no longer valid. */
void kms_stack_book_destroy(struct kms_stack_book *book);

/** Takes over nodes, modules and strings. Errors: -ENOMEM: some stacks will be cut or nameless */
int kms_stack_book_feed(struct kms_stack_book *book, const struct kms_batch *batch);

/**
 * The frames of a stack.
 *
 * Shape:  symbols may be NULL: then frames have module and offset only. offset is the address in the
 *         module's file (run-time address less load bias). A stack that is not known has no frames.
 * Owner:  kms_stack_book_free(); its strings are the book's and the resolver's
 * Locks:  may wait for the resolver as long as its deadline
 * Errors: -ENOENT: no such stack; -ENOMEM
 */
int kms_stack_book_frames(struct kms_stack_book *book, struct kms_symbols *symbols,
			  uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err);
void kms_stack_book_free(struct kms_view_stack *stack);

#endif
