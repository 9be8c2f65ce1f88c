/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The variables that can be read and set while a target runs. Their index is the index of the item
 * in struct kms_request and of the answer in struct kms_slot; new ones go at the end.
 *
 * KMS_VARIABLES(X): X(ENUM, "name", default, minimum, maximum, "what it does")
 * Values are unsigned 64-bit. Freestanding: needs <stdint.h> only.
 */
#ifndef KMS_SCHEMA_VARIABLES_H
#define KMS_SCHEMA_VARIABLES_H

#include <stdint.h>

#define KMS_VARIABLES(X)                                                                             \
	X(GUARD_DEPTH, "kmem_guard_depth", 0, 0, 1 << 24, "slots of the guard FIFO; 0 off")          \
	X(GUARD_BYTES, "kmem_guard_bytes", 1ull << 30, 0, 1ull << 46,                                \
	  "address space the guard FIFO may hold, in bytes")                                         \
	X(GUARD_SAMPLE, "kmem_guard_sample", 1, 1, 1ull << 32, "guard 1 allocation in N")            \
	X(GUARD_MINSIZE, "kmem_guard_minsize", 0, 0, UINT64_MAX, "smallest size to guard")           \
	X(GUARD_MAXSIZE, "kmem_guard_maxsize", UINT64_MAX, 0, UINT64_MAX, "largest size to guard")   \
	X(GUARD_ALIGN, "kmem_guard_align", 0, 0, 4096,                                               \
	  "alignment of a guarded block: 0 = 16 for malloc, 8 for kmem; 1 ends exactly at the page") \
	X(GUARD_BACKEND, "kmem_guard_backend", 0, 0, 3,                                              \
	  "0 auto, 1 userfaultfd, 2 markers, 3 mprotect")                                            \
	X(SIZE, "kmem_size", 1, 0, 1, "record and check the requested size")                         \
	X(REDZONE, "kmem_redzone", 1, 0, 1, "pattern bytes behind and before each block")            \
	X(POISON, "kmem_poison", 0, 0, 1, "fill freed memory and check it before reuse")             \
	X(TRACE, "kmem_trace", 2, 0, 2, "0 off, 1 events, 2 events with stacks")                     \
	X(STACK_DEPTH, "kmem_stack_depth", 16, 0, 64, "frames shown of a stack")                     \
	X(ON_FULL, "kmem_on_full", 1, 0, 1, "ring full: 0 drop and count, 1 wait")                   \
	X(RING_BYTES, "kmem_ring_bytes", 512 << 10, 16 << 10, 16 << 20,                              \
	  "size of one ring; at start only")                                                         \
	X(ARENA_LIMIT, "kmem_arena_limit", 0, 0, UINT64_MAX, "bytes the arena may hold; 0 none")     \
	X(FAIL_NTH, "kmem_fail_nth", 0, 0, UINT64_MAX, "the n-th NOSLEEP allocation fails; 0 off")   \
	X(PANIC, "kmem_panic", 2, 0, 2, "policy for damage: 0 report, 1 stop, 2 panic")              \
	X(PANIC_OVERFLOW, "kmem_panic_overflow", 3, 0, 3, "policy for this kind; 3 = kmem_panic")    \
	X(PANIC_UNDERFLOW, "kmem_panic_underflow", 3, 0, 3,                                          \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_USE_AFTER_FREE, "kmem_panic_use_after_free", 3, 0, 3,                                \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_DOUBLE_FREE, "kmem_panic_double_free", 3, 0, 3,                                      \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_INVALID_FREE, "kmem_panic_invalid_free", 3, 0, 3,                                    \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_SIZE_MISMATCH, "kmem_panic_size_mismatch", 3, 0, 3,                                  \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_WRONG_CACHE, "kmem_panic_wrong_cache", 3, 0, 3,                                      \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_MODIFIED_AFTER_FREE, "kmem_panic_modified_after_free", 3, 0, 3,                      \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_BAD_FLAGS, "kmem_panic_bad_flags", 0, 0, 3,                                          \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_ZERO_SIZE, "kmem_panic_zero_size", 3, 0, 3,                                          \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_NULL_FREE, "kmem_panic_null_free", 3, 0, 3,                                          \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_WRONG_CONTEXT, "kmem_panic_wrong_context", 0, 0, 3,                                  \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_SLEEP_WITH_LOCK, "kmem_panic_sleep_with_lock", 0, 0, 3,                              \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(PANIC_RING_CORRUPT, "kmem_panic_ring_corrupt", 0, 0, 3,                                    \
	  "policy for this kind; 3 = kmem_panic")                                                    \
	X(VERIFY, "kmem_verify", 0, 0, UINT32_MAX,                                                   \
	  "a write checks every block once; reads as the damaged ones it found")                     \
	X(MARK, "kmem_mark", 0, 0, UINT32_MAX, "a write puts a mark record into the rings")          \
	X(CONTINUE, "kmem_continue", 0, 0, UINT32_MAX, "a write lets a stopped target go on")        \
	X(LEAVE, "kmem_leave", 0, 0, UINT32_MAX,                                                     \
	  "a write lets a process go on without its tracer")                                         \
	X(RESYNC, "kmem_resync", 0, 0, UINT32_MAX,                                                   \
	  "a write begins recording anew, as after an attach")                                       \
	X(STOP, "kmem_stop", 0, 0, UINT32_MAX,                                                       \
	  "a write has a guest kernel stand still; processes are held from outside")

#define KMS_VARIABLE_ENUM(id, name, def, min, max, help) KMS_VAR_##id,

enum kms_variable { KMS_VARIABLES(KMS_VARIABLE_ENUM) KMS_VARIABLE_COUNT };

/** From here on a write is a command to a live target, not a value that it keeps. */
#define KMS_VAR_COMMANDS KMS_VAR_VERIFY

/** The policy variable of fault kind k (k >= 1): KMS_VAR_PANIC + k. */
#define KMS_VAR_PANIC_OF(kind) ((unsigned)KMS_VAR_PANIC + (unsigned)(kind))

#endif
