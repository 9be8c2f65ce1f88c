/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two ways to memory, behind one name, so that each bug is written once: with DETECT_KMEM the
 * kmem(9) calls of libkmem, else the C library's. As macros, so that the line of the caller is the
 * line of the call and no wrapper stands in the stacks.
 *
 * The programs take what to do from their arguments, print what a script must know as one JSON
 * object, and end with 0. Comments of the form "line: tag" mark lines that a report must name.
 */
#ifndef KMS_TESTS_DETECT_FRONT_H
#define KMS_TESTS_DETECT_FRONT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/keep.h"

#ifdef DETECT_KMEM
#include "allocator/kmem.h"
#define FRONT_ALLOC(bytes)   kmem_alloc((bytes), KM_SLEEP)
#define FRONT_FREE(p, bytes) kmem_free((p), (bytes))
#else
#define FRONT_ALLOC(bytes)   malloc(bytes)
#define FRONT_FREE(p, bytes) ((void)(bytes), free(p))
#endif

/* A function that a report must be able to name. */
#define NAMED KMS_KEEP_FUNCTION

/* Hides where a pointer comes from, so that the compiler cannot reason about the bug. */
static inline void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

/* Ends a function after a call that must not become a jump. */
static inline void keep_frame(void)
{
	__asm__ volatile("" ::: "memory");
}

/** A mistake by name; @run makes it, or with @legal does the same without it. */
struct kind {
	const char *name;
	void (*run)(int legal);
};

/* Runs the kind of this name, "legal_" in front allowed. The exit status. */
static inline int run_kind(const struct kind *kinds, size_t n, const char *name)
{
	int legal = !strncmp(name, "legal_", 6);

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(kinds[i].name, name + (legal ? 6 : 0))) {
			kinds[i].run(legal);
			puts("{}");
			return 0;
		}
	}
	return 2;
}

static inline size_t size_argument(const char *text)
{
	return (size_t)strtoull(text, NULL, 0);
}

#endif
