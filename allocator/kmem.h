/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public interface of libkmem: kmem(9) as its manual page promises, with the checks of its
 * options KMEM_SIZE, KMEM_REDZONE and KMEM_GUARD. libkmem_malloc.so exports the same functions.
 *
 * All functions are safe in threads. Misuse (size 0, NULL free, wrong size, wrong context, ...) is
 * one fault report; the policy variables say whether the program then goes on. After a report the
 * call returns safely: an allocation of size 0 gives NULL, any other memory as asked; a free of a
 * live block is carried out, of anything else not.
 */
#ifndef KMEM_H
#define KMEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KMEM_API __attribute__((visibility("default")))

typedef unsigned int km_flag_t;

/** Exactly one of the two must be given. */
#define KM_SLEEP   0x00000001u /* never fails: waits for memory */
#define KM_NOSLEEP 0x00000002u /* may return NULL */

/**
 * Memory of at least @size bytes, contents undefined, aligned to 8 bytes at least.
 *
 * Locks:  KM_SLEEP may block; not from interrupt, soft interrupt or callout context
 * Errors: NULL with KM_NOSLEEP when there is no memory; size 0, bad flags, wrong context: a fault
 * Source: kmem(9)
 */
KMEM_API void *kmem_alloc(size_t size, km_flag_t flags);

/** As kmem_alloc, with exactly @size bytes set to zero. Source: kmem(9). */
KMEM_API void *kmem_zalloc(size_t size, km_flag_t flags);

/**
 * Gives @p back. @size must be the size it was allocated with.
 *
 * Locks:  may block; not from interrupt context
 * Errors: NULL, size 0, a wrong size, a pointer that is no block, a block freed before: a fault
 * Source: kmem(9)
 */
KMEM_API void kmem_free(void *p, size_t size);

/** As kmem_alloc, legal in interrupt context (with KM_NOSLEEP). Source: kmem(9). */
KMEM_API void *kmem_intr_alloc(size_t size, km_flag_t flags);
KMEM_API void *kmem_intr_zalloc(size_t size, km_flag_t flags);
KMEM_API void kmem_intr_free(void *p, size_t size);

/** Formatted string in a block of its length + 1; free with kmem_strfree. Never fails. */
KMEM_API char *kmem_asprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * Copy of @string. *@size (may be NULL) is set to its length + 1, the size to give to kmem_free.
 * NULL with KM_NOSLEEP when there is no memory; *size is untouched then.
 */
KMEM_API char *kmem_strdupsize(const char *string, size_t *size, km_flag_t flags);

/** Copy of at most @max characters; the block has the copied length + 1. @max 0: a fault. */
KMEM_API char *kmem_strndup(const char *string, size_t max, km_flag_t flags);

/* NOLINTNEXTLINE(readability-identifier-naming): called as a function, as the manual says */
#define kmem_strdup(string, flags) kmem_strdupsize((string), NULL, (flags))

/** Frees a string of the functions above: strlen + 1 bytes. NULL is allowed. */
KMEM_API void kmem_strfree(char *string);

/** @size rounded up to the allocator's quantum of 8 bytes. */
KMEM_API size_t kmem_roundup_size(size_t size);

/** Context levels, for kmem_context_enter; same values as enum kms_level of schema/record.h. */
enum kmem_context {
	KMEM_CONTEXT_TASK = 0,
	KMEM_CONTEXT_SOFTINT = 1,
	KMEM_CONTEXT_CALLOUT = 2,
	KMEM_CONTEXT_HARDINT = 3,
};

/**
 * Tells the allocator that this thread (CPU) now runs at @level: an emulated kernel calls it where
 * its interrupt, soft interrupt or callout begins. Returns the level before, for
 * kmem_context_leave. Nests.
 */
KMEM_API int kmem_context_enter(int level);
KMEM_API void kmem_context_leave(int previous_level);

/** Tells that this thread holds one more (one less) lock with which it must not sleep. */
KMEM_API void kmem_lock_hold(const void *lock);
KMEM_API void kmem_lock_drop(const void *lock);

/** Puts a named mark into the event stream. */
KMEM_API void kmem_mark(const char *name);

/** Checks every block of every cache now; returns the number of damaged blocks (each one a fault). */
KMEM_API size_t kmem_verify(void);

/**
 * Reads or sets a variable of DESIGN 5 by name ("kmem_guard_depth" or "guard_depth").
 * Errors: -ENOENT unknown name, -ERANGE out of range, -ENOTSUP not possible here
 */
KMEM_API int kmem_variable_get(const char *name, uint64_t *value);
KMEM_API int kmem_variable_set(const char *name, uint64_t value);

#ifdef __cplusplus
}
#endif

#endif
