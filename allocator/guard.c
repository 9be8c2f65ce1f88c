/* SPDX-License-Identifier: BSD-2-Clause */
/* KMEM_GUARD: allocation and free of guarded blocks, the variables, fork. The essay is guard.md. */
#include "allocator/guard.h"

#include "allocator/guard_impl.h"
#include "allocator/port.h"
#include "allocator/text.h"

enum {
	PIN_SPINS = 100,
	PIN_SLICE_NS = 1000 * 1000,
};

uint64_t kms_guard_round_depth(uint64_t depth)
{
	return (depth + KMS_GUARD_DEPTH_UNIT - 1) & ~(uint64_t)(KMS_GUARD_DEPTH_UNIT - 1);
}

bool kms_guard_owns(const struct kms_heap *heap, uintptr_t p)
{
	const struct kms_guard *g = __atomic_load_n(&heap->guard, __ATOMIC_ACQUIRE);

	return g && p - g->base < g->bytes;
}

bool kms_guard_wanted(const struct kms_heap *heap)
{
	const struct kms_guard *g = heap->guard;

	return g && (g->depth || __atomic_load_n(&g->over, __ATOMIC_RELAXED));
}

static bool sampled(struct kms_local *t, uint64_t one_in)
{
	if (one_in <= 1)
		return true;
	if (t->guard_countdown > 1 && t->guard_countdown <= one_in) {
		t->guard_countdown--;
		return false;
	}
	t->guard_countdown = one_in;
	return true;
}

/* Is this request one that the user wants guarded? */
static bool chosen(struct kms_local *t, const struct kms_guard *g, size_t size)
{
	const struct kms_heap *heap = t->heap;

	return g->depth && size >= kms_variable(heap, KMS_VAR_GUARD_MINSIZE) &&
	       size <= kms_variable(heap, KMS_VAR_GUARD_MAXSIZE) &&
	       sampled(t, kms_variable(heap, KMS_VAR_GUARD_SAMPLE));
}

/* kmem_guard_align, as a power of two. */
static uint32_t align_for(const struct kms_heap *heap, size_t align)
{
	uint64_t wanted = kms_variable(heap, KMS_VAR_GUARD_ALIGN);
	uint32_t power = 1;

	/* More than a front's own alignment is a promise to the caller. */
	if (align > KMS_MALLOC_ALIGN || !wanted)
		return (uint32_t)align;
	while (power < wanted)
		power <<= 1;
	return power;
}

/* Slots of two to six pages, then four sizes a doubling. */
static uint32_t stride_pages(size_t pages)
{
	unsigned shift = 63u - (unsigned)__builtin_clzll(pages - 1);
	size_t step = shift > 2 ? (size_t)1 << (shift - 2) : 1;

	return (uint32_t)((pages + step - 1) & ~(step - 1));
}

/* False: no slot is large enough. */
static bool plan_make(const struct kms_heap *heap, size_t size, size_t align, unsigned cache_index,
		      struct kms_guard_plan *plan)
{
	bool kmem = heap->cache[cache_index]->kind == KMS_CACHE_KMEM ||
		    cache_index == heap->large_kmem_cache;
	size_t bytes;

	if (size > KMS_GUARD_SLOT_BYTES || align > KMS_GUARD_ALIGN_BYTES)
		return false;
	plan->cache_index = cache_index;
	plan->align_bytes = align_for(heap, align);
	bytes = size + !size + plan->align_bytes - 1;
	bytes &= ~(size_t)(plan->align_bytes - 1);
	/* Pages begin at multiples of a page only: room to move the block down. */
	if (plan->align_bytes > KMS_PAGE_BYTES)
		bytes += plan->align_bytes - KMS_PAGE_BYTES;
	if (kmem)
		bytes += KMS_HEADER_BYTES;
	bytes = (bytes + KMS_PAGE_BYTES - 1) & ~(size_t)(KMS_PAGE_BYTES - 1);
	bytes = (size_t)stride_pages((bytes >> KMS_PAGE_SHIFT) + 1) << KMS_PAGE_SHIFT;
	plan->stride_bytes = (uint32_t)bytes;
	return bytes <= KMS_GUARD_SLOT_BYTES;
}

/* Counts, under the lock, what became of a request. */
static struct kms_guard_slot *slot_for(struct kms_local *t, struct kms_guard *g,
				       const struct kms_guard_plan *plan)
{
	struct kms_heap *heap = t->heap;
	struct kms_guard_slot *slot, *evicted;

	kms_port_lock(&g->lock);
	evicted = KMS_UNLIKELY(g->over) ? kms_guard_fifo_evict(g) : NULL;
	slot = kms_guard_slot_take(heap, g, plan);
	if (slot) {
		g->figure.live++;
		heap->cache[plan->cache_index]->stat->guarded_allocs++;
	} else {
		kms_guard_refused(g, KMS_LIMITED_MEMORY);
	}
	if (KMS_UNLIKELY(evicted || !slot))
		kms_guard_publish(heap, g);
	else
		heap->slot->guard.live = g->figure.live;
	kms_guard_unlock(t, g, evicted);
	return slot;
}

static uint32_t reason_of(int error)
{
	return error == KMS_GUARD_NO_MAPS ? KMS_LIMITED_MAPS : KMS_LIMITED_MEMORY;
}

/* The pages could not be opened: as if nothing had been. */
static void slot_back(struct kms_heap *heap, struct kms_guard *g, struct kms_guard_slot *slot,
		      int error)
{
	kms_port_lock(&g->lock);
	g->figure.live--;
	heap->cache[slot->run->pool->cache_index]->stat->guarded_allocs--;
	kms_guard_slot_put(slot);
	kms_guard_refused(g, reason_of(error));
	kms_guard_publish(heap, g);
	kms_port_unlock(&g->lock);
}

static int slot_open(struct kms_guard *g, struct kms_guard_slot *slot, uintptr_t block)
{
	uintptr_t start = kms_guard_open_start(slot, block);

	/* Somebody touched it after it had left the FIFO. */
	if (slot->dirty)
		kms_guard_clean(g, slot);
	return g->ops->open((void *)start, slot->data_end - start);
}

/* Stacks are worth having even if nobody records events: the report of a fault shows them. */
static void find_stack(struct kms_local *t, struct kms_request_info *info)
{
	if (!info->node && kms_variable(t->heap, KMS_VAR_TRACE) == 2)
		info->node = kms_stack_capture(t->stack, &info->frame);
}

/* A run of slots serves one cache; its slab event says which, once. */
static void tell_run(struct kms_local *t, struct kms_guard_run *run)
{
	const struct kms_span *span = run->span;
	const uint64_t numbers[5] = {span->base >> KMS_PAGE_SHIFT, span->pages, span->cache,
				     span->first_bytes, span->stride_bytes};

	if (KMS_LIKELY(__atomic_load_n(&run->told, __ATOMIC_RELAXED)) || !t->trace)
		return;
	if (!__atomic_exchange_n(&run->told, 1, __ATOMIC_ACQ_REL))
		kms_ring_emit_code(t, KMS_REC_SLAB_GROW, 5, numbers);
}

static uint32_t event_flags(const struct kms_heap *heap, const struct kms_span *span,
			    const struct kms_request_info *info)
{
	return span->checks | info->attrs | KMS_ATTR_GUARDED |
	       kms_front_attr(heap->cache[span->cache]);
}

static void publish_alloc(struct kms_local *t, const struct kms_guard_slot *slot, uintptr_t block,
			  size_t size, const struct kms_request_info *info)
{
	const struct kms_span *span = slot->run->span;
	struct kms_side *side = slot->side;
	struct kms_counter *counter = &t->counter[span->cache];
	uint16_t last_ring = KMS_SIDE_UNRECORDED;

	if (t->trace)
		last_ring = kms_record(t, KMS_REC_FORM_ALLOC, block, side, size, info->node,
				       event_flags(t->heap, span, info));
	side->size_bytes = (uint32_t)size;
	side->alloc_stack = info->node;
	side->generation++;
	side->last_ring = last_ring;
	__atomic_store_n(&side->state, KMS_BLOCK_LIVE, __ATOMIC_RELEASE);
	counter->allocs++;
	counter->alloc_bytes += size;
}

/* Without the lock: the next figures written under it are right again. */
static void count_unguarded(struct kms_heap *heap, struct kms_guard *g)
{
	uint64_t unguarded = __atomic_add_fetch(&g->unguarded, 1, __ATOMIC_RELAXED);

	__atomic_store_n(&heap->slot->guard.unguarded, unguarded, __ATOMIC_RELAXED);
}

void *kms_guard_alloc(struct kms_local *t, size_t size, size_t align, unsigned cache_index,
		      struct kms_request_info *info)
{
	struct kms_guard *g = t->heap->guard;
	struct kms_guard_plan plan;
	struct kms_guard_slot *slot;
	uintptr_t block;
	int error;

	if (!g || !chosen(t, g, size)) {
		kms_guard_drain(t);
		return NULL;
	}
	/* The call that a nested one interrupted may hold the lock. */
	if (t->state == KMS_LOCAL_NESTED || !plan_make(t->heap, size, align, cache_index, &plan)) {
		count_unguarded(t->heap, g);
		return NULL;
	}
	slot = slot_for(t, g, &plan);
	if (!slot)
		return NULL;
	block = kms_guard_block(slot, size);
	error = slot_open(g, slot, block);
	if (error < 0) {
		slot_back(t->heap, g, slot, error);
		return NULL;
	}
	kms_guard_fill_zones(slot, block, size);
	if (t->checks & KMS_CHECK_POISON && !(info->attrs & KMS_ATTR_ZERO))
		kms_pattern_fill((void *)block, size);
	find_stack(t, info);
	tell_run(t, slot->run);
	publish_alloc(t, slot, block, size, info);
	return (void *)block;
}

/* Somebody reads the block (verify): its pages must stay for that long. */
static void await_unpinned(struct kms_guard_slot *slot)
{
	uint32_t pin;

	for (unsigned i = 0; (pin = __atomic_load_n(&slot->pin, __ATOMIC_SEQ_CST)) != 0; i++) {
		if (i > PIN_SPINS)
			kms_port_wait(&slot->pin, pin, PIN_SLICE_NS);
	}
}

static void publish_free(struct kms_local *t, const struct kms_guard_slot *slot, uintptr_t block,
			 const struct kms_request_info *info)
{
	const struct kms_span *span = slot->run->span;
	struct kms_side *side = slot->side;
	struct kms_counter *counter = &t->counter[span->cache];
	uint16_t last_ring = KMS_SIDE_UNRECORDED;

	if (t->trace)
		last_ring = kms_record(t, KMS_REC_FORM_FREE, block, side, side->size_bytes,
				       info->node, event_flags(t->heap, span, info));
	side->free_stack = info->node;
	side->generation++;
	side->last_ring = last_ring;
	counter->frees++;
	counter->free_bytes += side->size_bytes;
}

/* Into the FIFO, and out of it what is too much now. @error: of closing it. */
static void queue(struct kms_local *t, struct kms_guard *g, struct kms_guard_slot *slot, int error)
{
	struct kms_heap *heap = t->heap;
	struct kms_guard_slot *evicted;

	slot->free_ns = kms_port_now_ns();
	if (t->state == KMS_LOCAL_NESTED) {
		kms_guard_fifo_push_late(g, slot);
		return;
	}
	kms_port_lock(&g->lock);
	kms_guard_fifo_push(heap, g, slot);
	if (KMS_UNLIKELY(error < 0))
		kms_guard_refused(g, reason_of(error));
	evicted = kms_guard_fifo_evict(g);
	if (g->figure.frees % KMS_GUARD_MAPS_EVERY == 0)
		g->ops->maps(&g->figure.maps_used, &g->figure.maps_max);
	kms_guard_publish(heap, g);
	kms_guard_unlock(t, g, evicted);
}

void kms_guard_free(struct kms_local *t, uintptr_t p, struct kms_request_info *info)
{
	struct kms_guard *g = t->heap->guard;
	struct kms_guard_slot *slot = kms_guard_slot_of(g, p);
	struct kms_side *side = slot ? slot->side : NULL;
	uint8_t state = KMS_BLOCK_LIVE;
	uintptr_t start;
	int error;

	if (!side || __atomic_load_n(&side->state, __ATOMIC_ACQUIRE) != KMS_BLOCK_LIVE ||
	    kms_guard_block(slot, side->size_bytes) != p) {
		kms_fault_bad_free(t, p, UINT64_MAX, &info->frame);
		return;
	}
	kms_guard_check_zones(t, slot, p, &info->frame, KMS_ACCESS_FREE);
	find_stack(t, info);
	/* Of two frees at once one is the second; pairs with verify_pinned. */
	if (!__atomic_compare_exchange_n(&side->state, &state, KMS_BLOCK_QUARANTINE, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
		kms_fault_bad_free(t, p, UINT64_MAX, &info->frame);
		return;
	}
	await_unpinned(slot);
	publish_free(t, slot, p, info);
	start = kms_guard_open_start(slot, p);
	error = g->ops->close((void *)start, slot->data_end - start);
	queue(t, g, slot, error);
}

/* The back end asked for, else the first that works. */
static const struct kms_guard_ops *backend_start(uint64_t wanted)
{
	const struct kms_guard_ops *ops;
	unsigned i;

	for (i = 0; wanted && (ops = kms_port_guard_backend(i)); i++) {
		if (ops->id == wanted && ops->start() == 0)
			return ops;
	}
	for (i = 0; (ops = kms_port_guard_backend(i)); i++) {
		if (ops->id != wanted && ops->start() == 0)
			return ops;
	}
	return NULL;
}

static struct kms_guard *guard_start(struct kms_heap *heap)
{
	uint64_t *wanted = &heap->variable[KMS_VAR_GUARD_BACKEND];
	struct kms_guard *g = kms_meta_alloc(heap, sizeof(*g));

	if (!g)
		return NULL;
	g->ops = backend_start(*wanted);
	if (!g->ops || !kms_guard_reserve(heap, g) || !kms_guard_fence(heap, g))
		return NULL;
	if (*wanted)
		*wanted = g->ops->id;
	g->figure.backend = g->ops->id;
	g->ops->maps(&g->figure.maps_used, &g->figure.maps_max);
	/* pairs with kms_guard_owns: the reservation is known */
	__atomic_store_n(&heap->guard, g, __ATOMIC_RELEASE);
	return g;
}

/* The line of the original's boot, where no tracer shows the figures. */
static void announce(const struct kms_heap *heap, const struct kms_guard *g)
{
	static const char *const names[] = {"none", "userfaultfd", "markers", "mprotect",
					    "page tables"};
	struct kms_text line = {0};

	if (heap->shared || !g->depth)
		return;
	kms_text_add(&line, "kmem_guard(");
	kms_text_pointer(&line, g->base);
	kms_text_add(&line, "): depth ");
	kms_text_number(&line, g->depth, 10, 1);
	kms_text_add(&line, ", ");
	kms_text_add(&line, names[g->ops->id]);
	kms_text_add(&line, "\n");
	kms_port_print(line.buffer);
}

static void refuse(struct kms_heap *heap)
{
	kms_variable_store(heap, KMS_VAR_GUARD_DEPTH, 0);
	heap->slot->guard.limited_by = KMS_LIMITED_MEMORY;
	if (!heap->shared)
		kms_port_print("kmem_guard: no address space or no way to close pages: off\n");
}

/* The guard keeps every block's size and checks it, so all blocks are treated alike. */
static void turn_size_on(struct kms_heap *heap)
{
	if (heap->variable[KMS_VAR_SIZE])
		return;
	kms_variable_store(heap, KMS_VAR_SIZE, 1);
	heap->slot->ack[KMS_VAR_SIZE].value = 1;
	heap->slot->ack[KMS_VAR_SIZE].status = KMS_ACK_ADJUSTED;
	if (!heap->shared)
		kms_port_print("kmem_guard: kmem_size is on now\n");
}

uint32_t kms_guard_configure(struct kms_heap *heap)
{
	uint64_t *variable = heap->variable;
	uint64_t depth = kms_guard_round_depth(variable[KMS_VAR_GUARD_DEPTH]);
	struct kms_guard *g = heap->guard;
	uint64_t old_depth = g ? g->depth : 0;

	heap->slot->guard.depth_requested = variable[KMS_VAR_GUARD_DEPTH];
	if (!g && !depth)
		return KMS_ACK_OK;
	if (!g)
		g = guard_start(heap);
	if (!g) {
		refuse(heap);
		return KMS_ACK_UNSUPPORTED;
	}
	kms_port_lock(&g->lock);
	g->figure.depth_requested = variable[KMS_VAR_GUARD_DEPTH];
	g->depth = depth;
	g->byte_limit = variable[KMS_VAR_GUARD_BYTES];
	/* Live blocks need their part of the reservation. */
	if (g->byte_limit > g->bytes / 2)
		g->byte_limit = g->bytes / 2;
	kms_guard_limit(g);
	kms_guard_publish(heap, g);
	kms_port_unlock(&g->lock);
	if (depth)
		turn_size_on(heap);
	if (depth != old_depth)
		announce(heap, g);
	if (variable[KMS_VAR_GUARD_BACKEND] && variable[KMS_VAR_GUARD_BACKEND] != g->ops->id) {
		/* Chosen at start. */
		kms_variable_store(heap, KMS_VAR_GUARD_BACKEND, g->ops->id);
		return KMS_ACK_UNSUPPORTED;
	}
	return KMS_ACK_OK;
}

uint32_t *kms_guard_lock_word(struct kms_heap *heap)
{
	return heap->guard ? &heap->guard->lock : NULL;
}

/* Closed pages read as zero here: blocks of the parent stay what they are, new ones are plain. */
static void switch_off(struct kms_heap *heap, struct kms_guard *g)
{
	kms_variable_store(heap, KMS_VAR_GUARD_DEPTH, 0);
	kms_port_lock(&g->lock);
	g->depth = 0;
	kms_guard_limit(g);
	kms_guard_refused(g, KMS_LIMITED_MEMORY);
	kms_guard_publish(heap, g);
	kms_port_unlock(&g->lock);
	if (!heap->shared)
		kms_port_print("kmem_guard: could not start again in a forked child: off\n");
}

void kms_guard_after_fork(struct kms_heap *heap)
{
	struct kms_guard *g = heap->guard;

	if (!g)
		return;
	/* A child of a clone that ran no fork handlers: no other thread of it holds the lock. */
	g->lock = 0;
	if (g->ops->after_fork((void *)g->base, g->taken_bytes) < 0)
		switch_off(heap, g);
}
