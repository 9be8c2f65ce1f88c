/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kmem(9) behind its argument checks: classes, header, size at free. The exported functions, which
 * find the caller's local and frame, are in kmem_api.c.
 */
#include "allocator/kmem_front.h"

#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/kmem.h"
#include "allocator/large.h"
#include "allocator/port.h"
#include "allocator/text.h"

enum {
	SLEEP_SLICE_NS = 10 * 1000 * 1000,
};

/* NOLINTNEXTLINE(readability-function-size): what a finding is made of */
static void raise(struct kms_local *t, uint32_t kind, uint32_t access, void *p, size_t size,
		  const char *text, const struct kms_request_info *info)
{
	const struct kms_finding finding = {
		.kind = kind,
		.access = access,
		.address = (uintptr_t)p,
		.argument_bytes = size,
		.text = text,
		.frame = &info->frame,
		.argument_cache = KMS_NO_INDEX,
	};

	kms_fault_raise(t, &finding);
}

static void check_alloc(struct kms_local *t, size_t size, unsigned flags, bool intr,
			const struct kms_request_info *info)
{
	if ((flags & (KM_SLEEP | KM_NOSLEEP)) != KM_SLEEP &&
	    (flags & (KM_SLEEP | KM_NOSLEEP)) != KM_NOSLEEP)
		raise(t, KMS_FAULT_BAD_FLAGS, KMS_ACCESS_ALLOC, NULL, size,
		      flags & KM_SLEEP ? "kernel diagnostic assertion \"!(kmflags & KM_SLEEP) || "
					 "!(kmflags & KM_NOSLEEP)\" failed"
				       : "kernel diagnostic assertion \"(kmflags & KM_SLEEP) || "
					 "(kmflags & KM_NOSLEEP)\" failed",
		      info);
	if (t->level != KMS_LEVEL_TASK && !intr)
		raise(t, KMS_FAULT_WRONG_CONTEXT, KMS_ACCESS_ALLOC, NULL, size,
		      "kmem(9) should not be used from the interrupt context", info);
	else if (t->level != KMS_LEVEL_TASK && flags & KM_SLEEP)
		raise(t, KMS_FAULT_WRONG_CONTEXT, KMS_ACCESS_ALLOC, NULL, size,
		      "KM_SLEEP in interrupt context", info);
	else if (t->locks_held && flags & KM_SLEEP)
		raise(t, KMS_FAULT_SLEEP_WITH_LOCK, KMS_ACCESS_ALLOC, NULL, size,
		      "KM_SLEEP with a lock held", info);
}

static unsigned class_of(const struct kms_heap *heap, size_t internal)
{
	if (KMS_UNLIKELY(internal > KMS_KMEM_MAX_BYTES))
		return heap->large_kmem_cache;
	return heap->kmem_cache[(internal + KMS_KMEM_ALIGN - 1) / KMS_KMEM_ALIGN];
}

static void *get_once(struct kms_local *t, size_t size, struct kms_request_info *info)
{
	size_t internal = kms_kmem_internal_bytes(size, t->checks);
	unsigned cache = class_of(t->heap, internal);
	void *p;

	if (t->guard_active) {
		p = kms_guard_alloc(t, size, KMS_KMEM_ALIGN, cache, info);
		if (p)
			return p;
	}
	if (cache == t->heap->large_kmem_cache)
		return kms_large_alloc(t, size, KMS_PAGE_BYTES, cache, t->checks, info);
	return kms_alloc_from(t, cache, size, info->node, t->checks, info->attrs);
}

static void *get_now(struct kms_local *t, size_t size, struct kms_request_info *info)
{
	void *p = NULL;

	if (size > PTRDIFF_MAX)
		return NULL;
	while (!(p = get_once(t, size, info)) && kms_local_catch_up(t))
		info->node = kms_capture(t, &info->frame);
	return p;
}

/* KM_SLEEP: tries until memory comes back. Others may run meanwhile. */
static void *get_sleeping(struct kms_local *t, size_t size, struct kms_request_info *info)
{
	struct kms_heap *heap = t->heap;
	void *p = NULL;

	__atomic_add_fetch(&heap->arena_waiters, 1, __ATOMIC_RELAXED);
	while (!p) {
		uint32_t word = __atomic_load_n(&heap->memory_word, __ATOMIC_ACQUIRE);

		kms_cache_flush_local(t);
		p = get_now(t, size, info);
		if (p)
			break;
		kms_leave(t);
		kms_port_wait(&heap->memory_word, word, SLEEP_SLICE_NS);
		kms_enter(t);
	}
	__atomic_sub_fetch(&heap->arena_waiters, 1, __ATOMIC_RELAXED);
	return p;
}

bool kms_kmem_induced_failure(struct kms_heap *heap)
{
	uint64_t nth = kms_variable(heap, KMS_VAR_FAIL_NTH);

	return nth && __atomic_add_fetch(&heap->nosleep_count, 1, __ATOMIC_RELAXED) == nth;
}

void *kms_kmem_alloc(struct kms_local *t, size_t size, unsigned flags, bool intr,
		     struct kms_request_info *info)
{
	void *p = NULL;

	if (!size) {
		raise(t, KMS_FAULT_ZERO_SIZE, KMS_ACCESS_ALLOC, NULL, 0,
		      "kernel diagnostic assertion \"requested_size > 0\" failed", info);
		return NULL;
	}
	check_alloc(t, size, flags, intr, info);
	info->node = kms_capture(t, &info->frame);
	if (intr)
		info->attrs |= KMS_ATTR_INTR;
	if (flags & KM_NOSLEEP && !(flags & KM_SLEEP)) {
		info->attrs |= KMS_ATTR_NOSLEEP;
		if (!kms_kmem_induced_failure(t->heap))
			p = get_now(t, size, info);
		if (!p)
			kms_alloc_failed(t, size, info);
	} else {
		p = get_now(t, size, info);
		if (!p)
			p = get_sleeping(t, size, info);
	}
	if (p && info->attrs & KMS_ATTR_ZERO)
		__builtin_memset(p, 0, size);
	return p;
}

static void size_text(struct kms_text *text, void *p, size_t size, uint64_t recorded)
{
	kms_text_add(text, "kmem_free(");
	kms_text_pointer(text, (uintptr_t)p);
	kms_text_add(text, ", ");
	kms_text_number(text, size, 10, 1);
	kms_text_add(text, ") != allocated size ");
	kms_text_number(text, recorded, 10, 1);
}

/* The recorded size against the caller's, and the header against both. */
static void check_size(struct kms_local *t, const struct kms_span *span, struct kms_side *side,
		       uint8_t *p, size_t size, const struct kms_request_info *info)
{
	uint64_t recorded = kms_side_size(span, side), header = recorded;
	struct kms_text text = {0};

	if (!(span->checks & KMS_CHECK_SIZE))
		return;
	if (span->checks & KMS_CHECK_HEADER)
		__builtin_memcpy(&header, p - KMS_HEADER_BYTES, sizeof(header));
	if (size != recorded) {
		size_text(&text, p, size, recorded);
		raise(t, KMS_FAULT_SIZE_MISMATCH, KMS_ACCESS_FREE, p, size, text.buffer, info);
	} else if (header != recorded) {
		struct kms_finding finding = {
			.kind = KMS_FAULT_UNDERFLOW,
			.access = KMS_ACCESS_FREE,
			.block = (uintptr_t)p,
			.argument_bytes = size,
			.expected = recorded,
			.found = header,
			.frame = &info->frame,
			.argument_cache = KMS_NO_INDEX,
		};

		/* The broken byte nearest to the block. */
		finding.address = (uintptr_t)p - KMS_HEADER_BYTES +
				  (63u - (unsigned)__builtin_clzll(header ^ recorded)) / 8;
		size_text(&text, p, size, header);
		kms_text_add(&text, "; overwrote?");
		finding.text = text.buffer;
		kms_fault_raise(t, &finding);
	}
}

/* A block of another front or pool: named by its own cache. */
static bool check_cache(struct kms_local *t, const struct kms_span *span, void *p,
			const struct kms_request_info *info)
{
	const struct kms_cache *cache = t->heap->cache[span->cache];

	if (cache->kind == KMS_CACHE_KMEM || cache->index == t->heap->large_kmem_cache)
		return true;
	kms_fault_wrong_cache(t, (uintptr_t)p, cache->name, "kmem_free", KMS_NO_INDEX,
			      &info->frame);
	return false;
}

/* A free with nothing wrong about it, as nearly all are. False: nothing was done. */
static bool free_plain(struct kms_local *t, uint8_t *p, size_t size, struct kms_request_info *info)
{
	struct kms_found found;
	uint64_t header = size;

	if (!kms_find_live(t, (uintptr_t)p, &found) ||
	    t->heap->cache[found.span->cache]->kind != KMS_CACHE_KMEM ||
	    (found.span->checks & KMS_CHECK_SIZE && found.side->size_bytes != size))
		return false;
	if (found.span->checks & KMS_CHECK_HEADER)
		__builtin_memcpy(&header, p - KMS_HEADER_BYTES, sizeof(header));
	if (header != size || !kms_zones_whole(found.span, p, size))
		return false;
	info->node = kms_capture(t, &info->frame);
	kms_free_to(t, &found, p, info->node, info->attrs);
	return true;
}

void kms_kmem_free(struct kms_local *t, void *p, size_t size, bool intr,
		   struct kms_request_info *info)
{
	struct kms_place place;

	if (intr)
		info->attrs |= KMS_ATTR_INTR;
	if (KMS_LIKELY(p && size && (t->level == KMS_LEVEL_TASK || intr)) &&
	    KMS_LIKELY(free_plain(t, p, size, info)))
		return;
	if (t->level != KMS_LEVEL_TASK && !intr)
		raise(t, KMS_FAULT_WRONG_CONTEXT, KMS_ACCESS_FREE, p, size,
		      t->level == KMS_LEVEL_HARDINT
			      ? "kernel diagnostic assertion \"!cpu_intr_p()\" failed"
			      : "kernel diagnostic assertion \"!cpu_softintr_p()\" failed",
		      info);
	if (!p) {
		raise(t, KMS_FAULT_NULL_FREE, KMS_ACCESS_FREE, p, size,
		      "kernel diagnostic assertion \"p != NULL\" failed", info);
		return;
	}
	if (!size) {
		raise(t, KMS_FAULT_ZERO_SIZE, KMS_ACCESS_FREE, p, size,
		      "kernel diagnostic assertion \"requested_size > 0\" failed", info);
		return;
	}
	kms_place_find(t->heap, (uintptr_t)p, &place);
	if (!place.side || place.block != (uintptr_t)p || !place.live) {
		kms_fault_bad_free(t, (uintptr_t)p, size, &info->frame);
		return;
	}
	if (!check_cache(t, place.span, p, info))
		return;
	check_size(t, place.span, place.side, p, size, info);
	kms_free_slow(t, p, info);
}
