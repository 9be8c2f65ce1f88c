/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ddi_umem_alloc(9F): page-aligned, zeroed memory behind a cookie, locked or pageable, that another
 * address space can map. The essay is umem.md.
 *
 * A buffer is a large span: a page before it, its own pages, a page behind it. The pages around it
 * carry the redzone pattern, or under guard are closed. Its own pages are shared memory.
 */
#ifndef KMS_ALLOCATOR_UMEM_H
#define KMS_ALLOCATOR_UMEM_H

#include "allocator/alloc.h"
#include "allocator/port.h"

enum kms_umem_limits {
	KMS_UMEM_CHUNK = 64, /* cookies made at a time */
	KMS_UMEM_KEPT = 64,  /* freed buffers that stay closed under guard */
	KMS_UMEM_KEPT_BYTES = 64 << 20,
};

enum kms_umem_state {
	KMS_UMEM_NEVER = 0,
	KMS_UMEM_LIVE = 1,
	KMS_UMEM_FREE = 2,
};

/** A buffer; its address is the cookie. Guarded by kms_umems.lock. Never given back. */
struct kms_umem {
	struct kms_umem *next, *prev; /* of the live, the kept or the free ones */
	struct kms_span *span;        /* live or kept; else NULL */
	uintptr_t start;
	size_t bytes; /* rounded to pages */
	size_t pinned_bytes;
	struct kms_shared shared;
	uint8_t state; /* enum kms_umem_state */
	bool pageable;
	bool guarded; /* the pages around it are, or were, closed */
	bool closed;  /* pageable, and somebody runs in interrupt context */
	uint32_t hits;
	struct kms_gone last; /* what it was; valid when free */
};

struct kms_umem_list {
	struct kms_umem *first, *last;
};

struct kms_umem_chunk {
	struct kms_umem_chunk *next;
	struct kms_umem umem[KMS_UMEM_CHUNK];
};

struct kms_umems {
	uint32_t lock;
	uint32_t interrupts;     /* threads (CPUs) above task level */
	uint32_t cache_index[2]; /* locked, pageable */
	uint32_t n_pageable;     /* live ones; atomic */
	uint32_t n_kept;
	size_t kept_bytes;
	struct kms_umem_list live, kept, free; /* the longest free is reused first */
	struct kms_umem_chunk *chunks;
	struct kms_shared_files files;
};

/* umem.c: all between kms_enter and kms_leave. */

/**
 * ddi_umem_alloc: @flags DDI_UMEM_*. The buffer, and its cookie in *@cookie; NULL and NULL for size
 * 0, for one that cannot be rounded, and without memory (SLEEP waits for it, but not PAGEABLE).
 */
void *kms_umem_alloc(struct kms_local *t, size_t size, int flags, struct kms_umem **cookie,
		     struct kms_request_info *info);

/** ddi_umem_free of anything but NULL. */
void kms_umem_free(struct kms_local *t, const void *cookie, struct kms_request_info *info);

/** Gives the pages of the oldest kept buffer back; false: there is none. */
bool kms_umem_release_kept(struct kms_local *t, struct kms_umems *u);

/** The live buffer of a cookie; NULL, after a finding, for anything else. Locks: takes the lock */
struct kms_umem *kms_umem_find(struct kms_local *t, const void *cookie, uint32_t access,
			       const struct kms_request_info *info);

/** Before a fork, with the lock held: what comes after it does not go into files that child and parent share. */
void kms_umem_before_fork(struct kms_heap *heap);

/** In a forked child: the lock is free, and what was locked is locked again as far as allowed. */
void kms_umem_after_fork(struct kms_heap *heap);

/** The word of the lock; NULL before the first buffer. */
uint32_t *kms_umem_lock_word(struct kms_heap *heap);

/* umem_guard.c: closed pages. */

/** Is @p in the pages of a buffer, or next to them? Any value is allowed. Lock-free. */
bool kms_umem_owns(const struct kms_heap *heap, uintptr_t p);

/** The memory around @p that can be read; false: none, or not known. */
bool kms_umem_readable(const struct kms_heap *heap, uintptr_t p, uintptr_t *start, uintptr_t *end);

/** A buffer was made or is about to go: its pages are closed or opened as things are. Needs the lock. */
void kms_umem_close_new(struct kms_umems *u, struct kms_umem *umem);
void kms_umem_open_all(struct kms_umem *umem);

/** Keeps a freed buffer closed for a while, in place of releasing it. Needs the lock. */
void kms_umem_keep(struct kms_umems *u, struct kms_umem *umem);

/** Takes the oldest kept buffer out, if there are too many (@all: if there is one). Needs the lock. */
struct kms_umem *kms_umem_evict(struct kms_umems *u, bool all);

/**
 * This thread goes from one level to another: pageable memory is not for interrupts. Between kms_enter
 * and kms_leave: a trap that comes meanwhile does not wait for the lock.
 */
void kms_umem_level(struct kms_heap *heap, uint32_t from, uint32_t to);

/** As kms_guard_trap, for an address that kms_umem_owns. */
bool kms_umem_trap(struct kms_local *t, uintptr_t address, bool write, uint32_t stack);

/* Lists. */
void kms_umem_append(struct kms_umem_list *list, struct kms_umem *umem);
void kms_umem_remove(struct kms_umem_list *list, struct kms_umem *umem);

#endif
