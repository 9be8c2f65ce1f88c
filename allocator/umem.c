/* SPDX-License-Identifier: BSD-2-Clause */
/* ddi_umem_alloc(9F): buffers made and freed, and their cookies. */
#include "allocator/umem.h"

#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/kmem.h"
#include "allocator/kmem_front.h"
#include "allocator/large.h"

enum {
	SLEEP_SLICE_NS = 10 * 1000 * 1000,
};

void kms_umem_append(struct kms_umem_list *list, struct kms_umem *umem)
{
	umem->next = NULL;
	umem->prev = list->last;
	if (list->last)
		list->last->next = umem;
	else
		list->first = umem;
	list->last = umem;
}

void kms_umem_remove(struct kms_umem_list *list, struct kms_umem *umem)
{
	if (umem->prev)
		umem->prev->next = umem->next;
	else
		list->first = umem->next;
	if (umem->next)
		umem->next->prev = umem->prev;
	else
		list->last = umem->prev;
}

static void raise(struct kms_local *t, uint32_t kind, uint32_t access, uintptr_t address,
		  const char *text, const struct kms_request_info *info)
{
	const struct kms_finding finding = {
		.kind = kind,
		.access = access,
		.address = address,
		.text = text,
		.frame = &info->frame,
		.argument_cache = KMS_NO_INDEX,
	};

	kms_fault_raise(t, &finding);
}

/* The rows of the table of caches, made at the first call. Needs control_lock. */
static struct kms_umems *umems_make(struct kms_heap *heap)
{
	static const char *const names[] = {"ddi_umem", "ddi_umem_pageable"};
	struct kms_umems *u = kms_meta_alloc(heap, sizeof(*u));

	for (unsigned i = 0; u && i < 2; i++) {
		const struct kms_cache_plan plan = {
			.name = names[i],
			.kind = KMS_CACHE_LARGE,
			.stride_bytes = KMS_PAGE_BYTES,
			.align_bytes = KMS_PAGE_BYTES,
			.own_calls = true,
		};
		struct kms_cache *cache = kms_cache_create(heap, &plan);

		if (!cache)
			return NULL;
		u->cache_index[i] = cache->index;
	}
	return u;
}

static struct kms_umems *umems_of(struct kms_heap *heap)
{
	struct kms_umems *u = __atomic_load_n(&heap->umems, __ATOMIC_ACQUIRE);

	if (KMS_LIKELY(u != NULL))
		return u;
	kms_port_lock(&heap->control_lock);
	u = heap->umems;
	if (!u) {
		u = umems_make(heap);
		/* pairs with those who look without the lock */
		__atomic_store_n(&heap->umems, u, __ATOMIC_RELEASE);
	}
	kms_port_unlock(&heap->control_lock);
	return u;
}

/* A cookie that nobody has. Needs the lock. */
static struct kms_umem *cookie_get(struct kms_heap *heap, struct kms_umems *u)
{
	struct kms_umem *umem = u->free.first;
	struct kms_umem_chunk *chunk;

	/* One freed long ago, so that a second free of a cookie is known for one. */
	if (!umem || umem->state == KMS_UMEM_FREE) {
		chunk = kms_meta_alloc(heap, sizeof(*chunk));
		if (chunk) {
			chunk->next = u->chunks;
			u->chunks = chunk;
			for (unsigned i = 0; i < KMS_UMEM_CHUNK; i++)
				kms_umem_append(&u->free, &chunk->umem[i]);
		}
		umem = u->free.first;
	}
	if (umem)
		kms_umem_remove(&u->free, umem);
	return umem;
}

static void check_alloc(struct kms_local *t, int flags, const struct kms_request_info *info)
{
	bool sleeps = !(flags & DDI_UMEM_NOSLEEP);

	if (flags & ~(DDI_UMEM_NOSLEEP | DDI_UMEM_PAGEABLE))
		raise(t, KMS_FAULT_BAD_FLAGS, KMS_ACCESS_ALLOC, 0, "ddi_umem_alloc: unknown flags",
		      info);
	if (t->level != KMS_LEVEL_TASK && sleeps)
		raise(t, KMS_FAULT_WRONG_CONTEXT, KMS_ACCESS_ALLOC, 0,
		      "ddi_umem_alloc: DDI_UMEM_SLEEP in interrupt context", info);
	else if (t->suspended)
		raise(t, KMS_FAULT_WRONG_CONTEXT, KMS_ACCESS_ALLOC, 0,
		      "ddi_umem_alloc: between suspend and resume", info);
	else if (t->locks_held && sleeps)
		raise(t, KMS_FAULT_SLEEP_WITH_LOCK, KMS_ACCESS_ALLOC, 0,
		      "ddi_umem_alloc: DDI_UMEM_SLEEP with a lock held", info);
}

/* Buffers are few, and their stacks worth having even if nobody records events. */
static void find_stack(struct kms_local *t, struct kms_request_info *info)
{
	if (kms_variable(t->heap, KMS_VAR_TRACE) == 2)
		info->node = kms_stack_capture(t->stack, &info->frame);
}

/* Pages of the arena; if there are none, those that freed buffers keep closed come first. */
static void *pages_get(struct kms_local *t, struct kms_umems *u, size_t bytes, unsigned cache,
		       struct kms_request_info *info)
{
	/* The pages around it are there with any checks, so that they can be closed. */
	uint32_t checks = t->checks | KMS_CHECK_REDZONE;
	void *p;

	while (!(p = kms_large_alloc(t, bytes, KMS_PAGE_BYTES, cache, checks, info)) &&
	       kms_umem_release_kept(t, u))
		;
	return p;
}

static void *pages_wait(struct kms_local *t, struct kms_umems *u, size_t bytes, unsigned cache,
			struct kms_request_info *info)
{
	struct kms_heap *heap = t->heap;
	void *p;

	__atomic_add_fetch(&heap->arena_waiters, 1, __ATOMIC_RELAXED);
	for (;;) {
		uint32_t word = __atomic_load_n(&heap->memory_word, __ATOMIC_ACQUIRE);

		kms_cache_flush_local(t);
		p = pages_get(t, u, bytes, cache, info);
		if (p)
			break;
		kms_leave(t);
		kms_port_wait(&heap->memory_word, word, SLEEP_SLICE_NS);
		kms_enter(t);
	}
	__atomic_sub_fetch(&heap->arena_waiters, 1, __ATOMIC_RELAXED);
	return p;
}

/* Physical memory for as much as the system allows; what is short is a figure of the process. */
static void pin(struct kms_heap *heap, struct kms_umem *umem)
{
	umem->pinned_bytes = 0;
	if (umem->pageable)
		return;
	umem->pinned_bytes = kms_port_pin((void *)umem->start, umem->bytes);
	__atomic_add_fetch(&heap->slot->locked_short_bytes, umem->bytes - umem->pinned_bytes,
			   __ATOMIC_RELAXED);
}

static void unpin(struct kms_heap *heap, struct kms_umem *umem)
{
	if (umem->pageable)
		return;
	kms_port_unpin((void *)umem->start, umem->pinned_bytes);
	__atomic_sub_fetch(&heap->slot->locked_short_bytes, umem->bytes - umem->pinned_bytes,
			   __ATOMIC_RELAXED);
}

/* Does the user want buffers of this size guarded? */
static bool is_chosen(const struct kms_heap *heap, size_t bytes)
{
	return heap->variable[KMS_VAR_GUARD_DEPTH] &&
	       bytes >= heap->variable[KMS_VAR_GUARD_MINSIZE] &&
	       bytes <= heap->variable[KMS_VAR_GUARD_MAXSIZE];
}

static void umem_begin(struct kms_local *t, struct kms_umems *u, struct kms_umem *umem, void *p,
		       size_t bytes, bool pageable)
{
	struct kms_span *span = kms_span_of(t->heap, (uintptr_t)p);

	umem->span = span;
	umem->start = (uintptr_t)p;
	umem->bytes = bytes;
	umem->pageable = pageable;
	umem->closed = false;
	umem->hits = 0;
	umem->guarded = is_chosen(t->heap, bytes) && kms_port_catch_traps() == 0;
	if (!(t->checks & KMS_CHECK_REDZONE))
		span->checks &= (uint8_t)~KMS_CHECK_REDZONE;
	kms_port_lock(&u->lock);
	(void)kms_port_share(&u->files, p, bytes, &umem->shared);
	kms_port_unlock(&u->lock);
	pin(t->heap, umem);
	kms_port_lock(&u->lock);
	umem->state = KMS_UMEM_LIVE;
	kms_umem_append(&u->live, umem);
	__atomic_add_fetch(&u->n_pageable, pageable, __ATOMIC_RELEASE);
	kms_umem_close_new(u, umem);
	kms_port_unlock(&u->lock);
}

static void *pages_for(struct kms_local *t, struct kms_umems *u, size_t bytes, int flags,
		       struct kms_request_info *info)
{
	bool pageable = flags & DDI_UMEM_PAGEABLE;
	unsigned cache = u->cache_index[pageable];
	void *p;

	if (flags & DDI_UMEM_NOSLEEP && kms_kmem_induced_failure(t->heap))
		return NULL;
	p = pages_get(t, u, bytes, cache, info);
	/* There is no swap to wait for: pageable memory may fail even if the caller may sleep. */
	if (!p && !(flags & (DDI_UMEM_NOSLEEP | DDI_UMEM_PAGEABLE)) && bytes < t->heap->arena.bytes)
		p = pages_wait(t, u, bytes, cache, info);
	return p;
}

static void *alloc_failed(struct kms_local *t, struct kms_umems *u, size_t size, int flags,
			  struct kms_request_info *info)
{
	struct kms_cache *cache;

	if (u) {
		cache = t->heap->cache[u->cache_index[!!(flags & DDI_UMEM_PAGEABLE)]];
		kms_port_lock(&cache->lock);
		cache->stat->failed++;
		kms_port_unlock(&cache->lock);
	}
	kms_alloc_failed(t, size, info);
	return NULL;
}

void *kms_umem_alloc(struct kms_local *t, size_t size, int flags, struct kms_umem **cookie,
		     struct kms_request_info *info)
{
	size_t bytes = (size + KMS_PAGE_BYTES - 1) & ~(size_t)(KMS_PAGE_BYTES - 1);
	struct kms_umem *umem = NULL;
	struct kms_umems *u;
	void *p;

	*cookie = NULL;
	check_alloc(t, flags, info);
	if (!size)
		return NULL;
	find_stack(t, info);
	info->attrs |= KMS_ATTR_ZERO | (flags & DDI_UMEM_NOSLEEP ? KMS_ATTR_NOSLEEP : 0);
	u = umems_of(t->heap);
	/* Rounded to 0: too large for this address space. */
	p = u && bytes ? pages_for(t, u, bytes, flags, info) : NULL;
	if (!p)
		return alloc_failed(t, u, size, flags, info);
	kms_port_lock(&u->lock);
	umem = cookie_get(t->heap, u);
	kms_port_unlock(&u->lock);
	if (!umem) {
		(void)kms_large_free(t, p, info);
		return alloc_failed(t, u, size, flags, info);
	}
	umem_begin(t, u, umem, p, bytes, flags & DDI_UMEM_PAGEABLE);
	*cookie = umem;
	return p;
}

/* The cookie that lies at this address; NULL: there is none. Needs the lock. */
static struct kms_umem *cookie_at(const struct kms_umems *u, const void *cookie)
{
	for (struct kms_umem_chunk *chunk = u->chunks; chunk; chunk = chunk->next) {
		uintptr_t offset = (uintptr_t)cookie - (uintptr_t)chunk->umem;

		if (offset < sizeof(chunk->umem) && offset % sizeof(chunk->umem[0]) == 0)
			return &chunk->umem[offset / sizeof(chunk->umem[0])];
	}
	return NULL;
}

static void bad_cookie(struct kms_local *t, const struct kms_umem *umem, const void *cookie,
		       uint32_t access, const struct kms_request_info *info)
{
	struct kms_finding finding = {
		.kind = access == KMS_ACCESS_FREE ? KMS_FAULT_INVALID_FREE
						  : KMS_FAULT_USE_AFTER_FREE,
		.access = access,
		.address = (uintptr_t)cookie,
		.text = "ddi_umem: not a cookie of ddi_umem_alloc",
		.frame = &info->frame,
		.argument_cache = KMS_NO_INDEX,
	};

	if (umem && umem->state == KMS_UMEM_FREE) {
		if (access == KMS_ACCESS_FREE)
			finding.kind = KMS_FAULT_DOUBLE_FREE;
		finding.text = "ddi_umem: the cookie was freed before";
		finding.gone = &umem->last;
	} else if (kms_umem_owns(t->heap, (uintptr_t)cookie)) {
		finding.text = "ddi_umem: this is the memory, not its cookie";
	}
	kms_fault_raise(t, &finding);
}

struct kms_umem *kms_umem_find(struct kms_local *t, const void *cookie, uint32_t access,
			       const struct kms_request_info *info)
{
	struct kms_umems *u = __atomic_load_n(&t->heap->umems, __ATOMIC_ACQUIRE);
	struct kms_umem *umem = NULL;

	if (u) {
		kms_port_lock(&u->lock);
		umem = cookie_at(u, cookie);
		kms_port_unlock(&u->lock);
	}
	if (umem && umem->state == KMS_UMEM_LIVE)
		return umem;
	bad_cookie(t, umem, cookie, access, info);
	return NULL;
}

static void remember(struct kms_umem *umem)
{
	const struct kms_side *side = (struct kms_side *)(uintptr_t)umem->span->side_address;

	umem->last = (struct kms_gone){
		.block = umem->start,
		.size = umem->bytes,
		.alloc_stack = side->alloc_stack,
		.free_stack = side->free_stack,
		.cache = umem->span->cache,
	};
}

/* Its pages are anybody's again. */
static void release(struct kms_heap *heap, struct kms_umems *u, struct kms_umem *umem)
{
	struct kms_span *span = umem->span;

	kms_umem_open_all(umem);
	kms_port_lock(&u->lock);
	umem->span = NULL;
	kms_umem_append(&u->free, umem);
	kms_port_unlock(&u->lock);
	kms_large_release(heap, span);
}

bool kms_umem_release_kept(struct kms_local *t, struct kms_umems *u)
{
	struct kms_umem *umem;

	kms_port_lock(&u->lock);
	umem = kms_umem_evict(u, true);
	kms_port_unlock(&u->lock);
	if (umem)
		release(t->heap, u, umem);
	return umem != NULL;
}

void kms_umem_free(struct kms_local *t, const void *cookie, struct kms_request_info *info)
{
	struct kms_umem *umem = kms_umem_find(t, cookie, KMS_ACCESS_FREE, info);
	struct kms_umems *u = t->heap->umems;
	struct kms_umem *old;
	bool mine;

	if (!umem)
		return;
	kms_port_lock(&u->lock);
	mine = umem->state == KMS_UMEM_LIVE;
	if (mine) {
		umem->state = KMS_UMEM_FREE;
		kms_umem_remove(&u->live, umem);
		__atomic_sub_fetch(&u->n_pageable, umem->pageable, __ATOMIC_RELEASE);
	}
	kms_port_unlock(&u->lock);
	if (!mine) {
		bad_cookie(t, umem, cookie, KMS_ACCESS_FREE, info);
		return;
	}
	find_stack(t, info);
	kms_large_retire(t, umem->span, info);
	remember(umem);
	unpin(t->heap, umem);
	kms_port_lock(&u->lock);
	kms_port_unshare(&u->files, (void *)umem->start, umem->bytes, &umem->shared);
	kms_port_unlock(&u->lock);
	umem->closed = false;
	if (!umem->guarded) {
		release(t->heap, u, umem);
		return;
	}
	kms_port_lock(&u->lock);
	kms_umem_keep(u, umem);
	old = kms_umem_evict(u, false);
	kms_port_unlock(&u->lock);
	if (old)
		release(t->heap, u, old);
}

uint32_t *kms_umem_lock_word(struct kms_heap *heap)
{
	return heap->umems ? &heap->umems->lock : NULL;
}

void kms_umem_before_fork(struct kms_heap *heap)
{
	for (unsigned i = 0; heap->umems && i < KMS_SHARED_FILES; i++)
		heap->umems->files.common[i].is_ended = true;
}

void kms_umem_after_fork(struct kms_heap *heap)
{
	struct kms_umems *u = heap->umems;

	if (!u)
		return;
	/* as for the guard: a child of a clone that ran no fork handlers */
	u->lock = 0;
	u->interrupts = 0;
	kms_umem_before_fork(heap);
	heap->slot->locked_short_bytes = 0;
	for (struct kms_umem *umem = u->live.first; umem; umem = umem->next)
		pin(heap, umem);
}
