/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue of freed blocks, its two limits, and the figures that people see. */
#include "allocator/guard_impl.h"
#include "allocator/port.h"

static bool over_bytes(const struct kms_guard *g)
{
	return g->figure.bytes > g->byte_limit;
}

static bool over_depth(const struct kms_guard *g)
{
	return g->figure.used > g->depth;
}

static void note_over(struct kms_guard *g)
{
	__atomic_store_n(&g->over, over_bytes(g) || over_depth(g), __ATOMIC_RELAXED);
}

void kms_guard_limit(struct kms_guard *g)
{
	g->figure.depth = g->depth;
	note_over(g);
}

/* A refusal stays visible for some frees, else the next eviction would hide it. */
static bool refused_lately(const struct kms_guard *g)
{
	return g->refused_nr && g->figure.frees - g->refused_nr < KMS_GUARD_DEPTH_UNIT;
}

void kms_guard_refused(struct kms_guard *g, uint32_t reason)
{
	__atomic_add_fetch(&g->unguarded, 1, __ATOMIC_RELAXED);
	g->figure.limited_by = reason;
	g->refused_nr = g->figure.frees ? g->figure.frees : 1;
}

/* The region may be younger than a block in the queue. */
static uint64_t region_time(const struct kms_heap *heap, uint64_t mono_ns)
{
	return mono_ns > heap->start_mono_ns ? mono_ns - heap->start_mono_ns : 1;
}

void kms_guard_publish(struct kms_heap *heap, struct kms_guard *g)
{
	const struct kms_guard_slot *oldest = g->fifo_first;

	g->figure.pages = g->figure.bytes >> KMS_PAGE_SHIFT;
	g->figure.oldest_free_ns = oldest ? region_time(heap, oldest->free_ns) : 0;
	g->figure.oldest_free_nr = oldest ? oldest->free_nr : 0;
	g->figure.unguarded = __atomic_load_n(&g->unguarded, __ATOMIC_RELAXED);
	heap->slot->guard = g->figure;
}

static void append(struct kms_heap *heap, struct kms_guard *g, struct kms_guard_slot *slot)
{
	heap->cache[slot->run->pool->cache_index]->stat->guarded_frees++;
	slot->fault = 0;
	slot->next = NULL;
	slot->where = KMS_GUARD_FIFO;
	slot->free_nr = ++g->figure.frees;
	if (g->fifo_last)
		g->fifo_last->next = slot;
	else
		g->fifo_first = slot;
	g->fifo_last = slot;
	g->figure.used++;
	g->figure.bytes += slot->run->span->stride_bytes;
	g->figure.live--;
}

/* Frees of nested calls, latest first: they go in before the one that found them. */
static void append_late(struct kms_heap *heap, struct kms_guard *g)
{
	struct kms_guard_slot *late = __atomic_exchange_n(&g->late, NULL, __ATOMIC_ACQUIRE);
	struct kms_guard_slot *in_order = NULL, *next;

	for (; late; late = next) {
		next = late->next;
		late->next = in_order;
		in_order = late;
	}
	for (; in_order; in_order = next) {
		next = in_order->next;
		append(heap, g, in_order);
	}
}

void kms_guard_fifo_push(struct kms_heap *heap, struct kms_guard *g, struct kms_guard_slot *slot)
{
	if (KMS_UNLIKELY(__atomic_load_n(&g->late, __ATOMIC_RELAXED) != NULL))
		append_late(heap, g);
	append(heap, g, slot);
	note_over(g);
}

void kms_guard_fifo_push_late(struct kms_guard *g, struct kms_guard_slot *slot)
{
	struct kms_guard_slot *head = __atomic_load_n(&g->late, __ATOMIC_RELAXED);

	do {
		slot->next = head;
		/* pairs with append_late: the slot is closed and linked */
	} while (!__atomic_compare_exchange_n(&g->late, &head, slot, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
}

struct kms_guard_slot *kms_guard_fifo_evict(struct kms_guard *g)
{
	struct kms_guard_slot *first = NULL, **last = &first, *slot;

	for (unsigned n = 0; n < KMS_GUARD_DRAIN && (over_depth(g) || over_bytes(g)); n++) {
		slot = g->fifo_first;
		if (!slot)
			break;
		if (!refused_lately(g))
			g->figure.limited_by =
				over_depth(g) ? KMS_LIMITED_DEPTH : KMS_LIMITED_BYTES;
		g->fifo_first = slot->next;
		if (!slot->next)
			g->fifo_last = NULL;
		g->figure.used--;
		g->figure.bytes -= slot->run->span->stride_bytes;
		g->figure.evictions++;
		slot->where = KMS_GUARD_LEAVING;
		slot->next = NULL;
		*last = slot;
		last = &slot->next;
	}
	note_over(g);
	return first;
}

static void tell_evicted(struct kms_local *t, const struct kms_guard_slot *slot)
{
	uint64_t size = slot->side->size_bytes;
	const uint64_t numbers[5] = {kms_guard_block(slot, size), size};

	if (t->trace)
		kms_ring_emit_code(t, KMS_REC_EVICT, 2, numbers);
}

void kms_guard_clean(struct kms_guard *g, struct kms_guard_slot *slot)
{
	uintptr_t start = kms_guard_slot_start(slot);

	(void)g->ops->close((void *)start, kms_guard_slot_end(slot) - start);
	slot->dirty = 0;
}

/* The end of an eviction: the slot may have another owner. Needs the lock. */
static void put_evicted(struct kms_guard *g, struct kms_guard_slot *evicted)
{
	struct kms_guard_slot *next;

	for (; evicted; evicted = next) {
		next = evicted->next;
		if (KMS_UNLIKELY(evicted->dirty))
			kms_guard_clean(g, evicted);
		__atomic_store_n(&evicted->side->state, KMS_BLOCK_FREE, __ATOMIC_RELEASE);
		kms_guard_slot_put(evicted);
	}
}

void kms_guard_unlock(struct kms_local *t, struct kms_guard *g, struct kms_guard_slot *evicted)
{
	if (KMS_LIKELY(!evicted || !t->trace)) {
		put_evicted(g, evicted);
		kms_port_unlock(&g->lock);
		return;
	}
	kms_port_unlock(&g->lock);
	/* First the record, then the list: an owner to come is recorded after the eviction. And
	 * without the lock, because a full ring waits. */
	for (struct kms_guard_slot *slot = evicted; slot; slot = slot->next)
		tell_evicted(t, slot);
	kms_port_lock(&g->lock);
	put_evicted(g, evicted);
	kms_port_unlock(&g->lock);
}

void kms_guard_drain(struct kms_local *t)
{
	struct kms_heap *heap = t->heap;
	struct kms_guard *g = heap->guard;
	struct kms_guard_slot *evicted;
	bool over;

	if (!g || !__atomic_load_n(&g->over, __ATOMIC_RELAXED) || t->state == KMS_LOCAL_NESTED)
		return;
	kms_port_lock(&g->lock);
	evicted = kms_guard_fifo_evict(g);
	over = g->over;
	kms_guard_publish(heap, g);
	kms_guard_unlock(t, g, evicted);
	if (over || g->depth)
		return;
	/* Nothing is left to be done for a guard that is off: calls take the short way again. */
	kms_port_lock(&heap->control_lock);
	kms_heap_attention(heap);
	kms_port_unlock(&heap->control_lock);
}
