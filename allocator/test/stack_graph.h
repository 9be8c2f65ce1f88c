/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A zoo of functions that call each other at random and report an event now and then: frames of
 * all sizes, with and without frame pointer, alloca, realigned stacks, tail calls, jumps, callbacks
 * of libc. Built with -O2 and without frame pointers.
 */
#ifndef KMS_ALLOCATOR_TEST_STACK_GRAPH_H
#define KMS_ALLOCATOR_TEST_STACK_GRAPH_H

#include <stdint.h>

struct graph {
	uint64_t seed;
	unsigned budget; /* calls left */
	unsigned max_depth;
	void (*event)(void); /* called at random places */
};

/** A random number below @limit. */
unsigned graph_random(struct graph *graph, unsigned limit);

/** Calls a random function at @depth, unless that is too deep or the budget is spent. */
unsigned graph_call(struct graph *graph, unsigned depth);

/** Recursion of @depth calls; an event at every level on the way down and up. */
unsigned graph_recurse(struct graph *graph, unsigned depth);

#endif
