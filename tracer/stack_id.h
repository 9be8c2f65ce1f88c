/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The number by which one stack is known in a whole run: stack_id in events, sites, leaks, faults,
 * in SQL and in the API. A node index alone is unique in its image only.
 */
#ifndef KMS_TRACER_STACK_ID_H
#define KMS_TRACER_STACK_ID_H

#include <stdint.h>

/** The run-wide id of a stack. @image: ordinal from 1; @node: index in its trie; 0 is no stack. */
static inline uint64_t kms_stack_id(uint32_t image, uint32_t node)
{
	return node ? (uint64_t)image << 32 | node : 0;
}

/** Ordinal of the image that a stack belongs to, 0 for no stack. */
static inline uint32_t kms_stack_image(uint64_t stack_id)
{
	return (uint32_t)(stack_id >> 32);
}

/** Index of the stack's innermost node in its image's trie. */
static inline uint32_t kms_stack_node(uint64_t stack_id)
{
	return (uint32_t)stack_id;
}

#endif
