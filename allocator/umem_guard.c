/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of ddi_umem buffers that are closed: those around a guarded one, all of one that was freed
 * under guard, and those of pageable ones while somebody runs in interrupt context.
 */
#include "allocator/heap.h"
#include "allocator/large.h"
#include "allocator/pattern.h"
#include "allocator/umem.h"

bool kms_umem_owns(const struct kms_heap *heap, uintptr_t p)
{
	const struct kms_umems *u = __atomic_load_n(&heap->umems, __ATOMIC_ACQUIRE);
	const struct kms_span *span = u ? kms_span_of(heap, p) : NULL;

	return span && span->state == KMS_SPAN_LARGE &&
	       (span->cache == u->cache_index[0] || span->cache == u->cache_index[1]);
}

/* The buffer whose pages hold @p, live or kept. Needs the lock. */
static struct kms_umem *umem_at(const struct kms_heap *heap, const struct kms_umems *u, uintptr_t p)
{
	const struct kms_span *span = kms_span_of(heap, p);
	const struct kms_umem_list *lists[] = {&u->live, &u->kept};

	for (unsigned i = 0; i < 2; i++) {
		for (struct kms_umem *umem = lists[i]->first; umem; umem = umem->next) {
			if (umem->span == span)
				return umem;
		}
	}
	return NULL;
}

static uintptr_t span_end(const struct kms_span *span)
{
	return (uintptr_t)span->base + ((uintptr_t)span->pages << KMS_PAGE_SHIFT);
}

/*
 * Without the lock, which the code that a trap interrupted may hold. Cookies are never given back, so
 * a walk through a list that changes comes to an end; what it finds is checked.
 */
bool kms_umem_readable(const struct kms_heap *heap, uintptr_t p, uintptr_t *start, uintptr_t *end)
{
	const struct kms_span *span = kms_span_of(heap, p);
	const struct kms_umem *umem = umem_at(heap, heap->umems, p);

	if (!umem || umem->span != span || umem->state != KMS_UMEM_LIVE || umem->closed)
		return false;
	*start = umem->guarded ? umem->start : (uintptr_t)span->base;
	*end = umem->guarded ? umem->start + umem->bytes : span_end(span);
	return p >= *start && p < *end;
}

void kms_umem_close_new(struct kms_umems *u, struct kms_umem *umem)
{
	struct kms_span *span = umem->span;
	uintptr_t end = umem->start + umem->bytes;

	if (umem->guarded) {
		/* Not looked at for patterns any more: nobody can write there unseen. */
		span->checks = (uint8_t)((span->checks & ~KMS_CHECK_REDZONE) | KMS_CHECK_GUARD);
		(void)kms_port_close_pages((void *)(uintptr_t)span->base, span->first_bytes);
		(void)kms_port_close_pages((void *)end, span_end(span) - end);
	}
	if (umem->pageable && u->interrupts) {
		umem->closed = true;
		(void)kms_port_close_pages((void *)umem->start, umem->bytes);
	}
}

void kms_umem_open_all(struct kms_umem *umem)
{
	const struct kms_span *span = umem->span;

	if (umem->guarded)
		(void)kms_port_open_pages((void *)(uintptr_t)span->base,
					  (size_t)span->pages << KMS_PAGE_SHIFT);
}

void kms_umem_keep(struct kms_umems *u, struct kms_umem *umem)
{
	struct kms_side *side = (struct kms_side *)(uintptr_t)umem->span->side_address;

	(void)kms_port_close_pages((void *)umem->start, umem->bytes);
	__atomic_store_n(&side->state, KMS_BLOCK_QUARANTINE, __ATOMIC_RELEASE);
	kms_umem_append(&u->kept, umem);
	u->n_kept++;
	u->kept_bytes += umem->bytes;
}

struct kms_umem *kms_umem_evict(struct kms_umems *u, bool all)
{
	struct kms_umem *umem = u->kept.first;

	if (!umem || (!all && u->n_kept <= KMS_UMEM_KEPT && u->kept_bytes <= KMS_UMEM_KEPT_BYTES))
		return NULL;
	kms_umem_remove(&u->kept, umem);
	u->n_kept--;
	u->kept_bytes -= umem->bytes;
	return umem;
}

static void close_pageable(struct kms_umems *u, bool close)
{
	for (struct kms_umem *umem = u->live.first; umem; umem = umem->next) {
		if (!umem->pageable || umem->closed == close)
			continue;
		umem->closed = close;
		if (close)
			(void)kms_port_close_pages((void *)umem->start, umem->bytes);
		else
			(void)kms_port_open_pages((void *)umem->start, umem->bytes);
	}
}

void kms_umem_level(struct kms_heap *heap, uint32_t from, uint32_t to)
{
	struct kms_umems *u = __atomic_load_n(&heap->umems, __ATOMIC_ACQUIRE);
	bool enters = from == KMS_LEVEL_TASK && to != KMS_LEVEL_TASK;
	bool leaves = from != KMS_LEVEL_TASK && to == KMS_LEVEL_TASK;

	if (!u || enters == leaves)
		return;
	kms_port_lock(&u->lock);
	if (enters)
		u->interrupts++;
	else if (u->interrupts)
		u->interrupts--;
	if (__atomic_load_n(&u->n_pageable, __ATOMIC_ACQUIRE) &&
	    (!u->interrupts || kms_port_catch_traps() == 0))
		close_pageable(u, u->interrupts > 0);
	kms_port_unlock(&u->lock);
}

/** A trapped address explained. */
struct verdict {
	uint32_t kind; /* enum kms_fault_kind; NONE: the access is right, or reported already */
	uintptr_t block;
	const char *text;
};

/* Needs the lock. */
static void judge(const struct kms_local *t, const struct kms_umem *umem, uintptr_t address,
		  struct verdict *v)
{
	*v = (struct verdict){.block = umem->start};
	if (umem->state == KMS_UMEM_FREE) {
		v->kind = KMS_FAULT_USE_AFTER_FREE;
	} else if (address >= umem->start + umem->bytes) {
		v->kind = KMS_FAULT_OVERFLOW;
	} else if (address < umem->start) {
		v->kind = KMS_FAULT_UNDERFLOW;
	} else if (t->level != KMS_LEVEL_TASK && umem->closed) {
		v->kind = KMS_FAULT_WRONG_CONTEXT;
		v->text = "ddi_umem: DDI_UMEM_PAGEABLE memory touched in interrupt context";
	}
}

/*
 * Lets the access go on. A buffer that an interrupt has touched, or that another thread may touch
 * while one runs, stays open until the next interrupt begins. Needs the lock.
 */
static bool let_go_on(struct kms_umem *umem, uintptr_t address)
{
	uintptr_t page = address & ~(uintptr_t)(KMS_PAGE_BYTES - 1);

	if (umem->state == KMS_UMEM_LIVE && umem->closed && address - umem->start < umem->bytes) {
		umem->closed = false;
		return kms_port_open_pages((void *)umem->start, umem->bytes) == 0;
	}
	if (kms_port_open_pages((void *)page, KMS_PAGE_BYTES) < 0)
		return false;
	if (umem->state == KMS_UMEM_FREE)
		kms_pattern_fill((void *)page, KMS_PAGE_BYTES);
	return true;
}

bool kms_umem_trap(struct kms_local *t, uintptr_t address, bool write, uint32_t stack)
{
	struct kms_umems *u = t->heap->umems;
	struct kms_umem *umem;
	struct verdict v = {0};
	bool resume;

	if (!kms_local_lock(t, &u->lock))
		return false;
	umem = umem_at(t->heap, u, address);
	if (umem)
		judge(t, umem, address, &v);
	resume = umem && let_go_on(umem, address);
	kms_port_unlock(&u->lock);
	if (umem && v.kind != KMS_FAULT_NONE) {
		const struct kms_finding finding = {
			.kind = v.kind,
			.access = write ? KMS_ACCESS_WRITE : KMS_ACCESS_READ,
			.address = address,
			.block = v.block,
			.text = v.text,
			.stack = stack,
			.argument_cache = KMS_NO_INDEX,
		};

		kms_fault_raise(t, &finding);
	}
	return resume;
}
