/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Members that several resources share.
 */
#ifndef KMS_SERVER_WRITE_H
#define KMS_SERVER_WRITE_H

#include "server/exchange.h"
#include "server/sum.h"

/** Member "snapshot": which moment of which run the numbers are of. */
void kms_write_snapshot(struct kms_exchange *x);

/** Begins a list document: the object, "snapshot", and the array "items". */
void kms_write_list_begin(struct kms_exchange *x);

/**
 * Ends it: "total" (rows that match, on all pages) and "next_cursor". With @more the cursor names the
 * last row sent by its key, and a Link header says the same.
 */
void kms_write_list_end(struct kms_exchange *x, uint64_t total, bool more,
			const uint64_t key[KMS_CURSOR_KEYS]);

/** Sets cursor and Link header of the next page; @text is the cursor. */
void kms_write_next(struct kms_exchange *x, const uint64_t key[KMS_CURSOR_KEYS],
		    char text[KMS_CURSOR_TEXT_BYTES]);

/**
 * A stack as an array of frames, innermost first; the empty array for stack 0. A stack that cannot be
 * had is an empty array too, and the reason is in @key followed by "_error".
 */
void kms_write_stack(struct kms_exchange *x, const char *key, uint64_t stack_id);

/** The frames of a stack that is at hand. */
void kms_write_frames(struct kms_json *json, const char *key, const struct kms_view_stack *stack);

/** The members of guard figures, inside an object. */
void kms_write_guard(struct kms_json *json, const struct kms_guard_sum *sum);

/** Name of a target's state; static. */
const char *kms_state_name(uint32_t state);

#endif
