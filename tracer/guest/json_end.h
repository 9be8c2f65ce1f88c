/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a JSON object ends in a stream of bytes that comes piece by piece. */
#ifndef KMS_TRACER_GUEST_JSON_END_H
#define KMS_TRACER_GUEST_JSON_END_H

#include <stdbool.h>
#include <stddef.h>

/** How far a buffer was looked through. Begin with all zero. */
struct kms_json_end {
	size_t at;
	unsigned depth;
	bool is_in_string;
	bool is_escaped;
};

/**
 * Looks on where it was left. The buffer may have grown since, its beginning is the same.
 *
 * Returns 1: *bytes is the length up to the object's last brace; 0: not all of it is there
 * Errors: -EPROTO: before the object stands something else than blanks
 */
int kms_json_end_find(struct kms_json_end *end, const char *buffer, size_t n_bytes, size_t *bytes);

#endif
