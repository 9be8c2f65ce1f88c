/* SPDX-License-Identifier: BSD-2-Clause */
/* Locals: what a thread owns, from its first call to its exit, and across fork. */
#include "allocator/control.h"
#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/sizeclass.h"
#include "allocator/stop.h"
#include "allocator/umem.h"

enum {
	ASK_LOCALS = 64,
	LOCK_TRIES = 100000,
};

static uint32_t thread_entry(struct kms_heap *heap, uint32_t tid)
{
	uint32_t index;
	struct kms_thread *entry = kms_table_take_entry(heap, KMS_SEC_THREAD, &index);

	if (!entry)
		return 0;
	entry->slot = heap->slot_index;
	entry->tid = tid;
	kms_port_thread_name(entry->name);
	__atomic_store_n(&entry->ready, 1, __ATOMIC_RELEASE);
	return index;
}

static struct kms_local *local_create(struct kms_heap *heap)
{
	struct kms_local *t = kms_meta_alloc(heap, sizeof(*t));

	if (!t)
		return NULL;
	t->ring = kms_meta_alloc(heap, sizeof(*t->ring));
	t->stack = kms_meta_alloc(heap, sizeof(struct kms_stack));
	if (!t->ring || !t->stack)
		return NULL;
	for (unsigned i = 1; i < KMS_MALLOC_SMALL_STEPS; i++)
		t->small_class[i] = (uint8_t)kms_malloc_class((size_t)i * KMS_MALLOC_ALIGN);
	t->heap = heap;
	t->next_all = heap->all_locals;
	heap->all_locals = t;
	heap->n_locals++;
	return t;
}

/*
 * Frees what an owner that is gone held of its pools, as no one else will; such a magazine may be in
 * the middle of a change, and is given up. Nobody else holds these locks without control_lock.
 */
static void drop_pool_locks(struct kms_local *t)
{
	for (uint32_t i = 0; i < t->heap->n_caches; i++) {
		if (!__atomic_load_n(&t->pool_lock[i], __ATOMIC_ACQUIRE))
			continue;
		t->bin[i] = (struct kms_bin){0};
		__atomic_store_n(&t->pool_lock[i], 0, __ATOMIC_RELEASE);
	}
}

/* A local that nobody uses, or whose owner left without a word. Needs control_lock. */
static struct kms_local *local_find(struct kms_heap *heap)
{
	struct kms_local *t;

	for (t = heap->all_locals; t; t = t->next_all) {
		/* pairs with kms_local_put: its owner is done with it */
		if (__atomic_load_n(&t->state, __ATOMIC_ACQUIRE) == KMS_LOCAL_FREE)
			return t;
	}
	/* Asking whether threads live costs a system call each: only when many have piled up. What
	 * such a local has in its magazines is as good as new. */
	for (t = heap->n_locals >= ASK_LOCALS ? heap->all_locals : NULL; t; t = t->next_all) {
		if (t->state == KMS_LOCAL_USED && !kms_port_alive(t->tid)) {
			drop_pool_locks(t);
			return t;
		}
	}
	return local_create(heap);
}

/* The checks of new blocks. What the magazines hold has the old ones: it goes back to its slabs. */
static void take_checks(struct kms_local *t, struct kms_check_set set)
{
	t->checks = set.checks;
	t->checks_malloc = set.checks & ~(uint32_t)KMS_CHECK_HEADER;
	t->slab_word = kms_slab_word(t->checks_malloc);
	t->extra_malloc_bytes = set.checks & KMS_CHECK_REDZONE ? KMS_REDZONE_BYTES : 0;
	t->check_epoch = set.epoch;
	kms_cache_new_epoch(t);
}

void kms_local_refresh(struct kms_local *t)
{
	struct kms_heap *heap = t->heap;
	struct kms_check_set set;
	uint32_t busy = t->busy;

	/* A signal handler must not find half of it done. */
	kms_enter(t);
	t->attention =
		heap->shared && heap->request ? &heap->request->attention : heap->alone_attention;
	t->attention_seen = __atomic_load_n(t->attention, __ATOMIC_ACQUIRE);
	t->epoch = heap->epoch;
	t->epoch_seen = __atomic_load_n(heap->epoch, __ATOMIC_ACQUIRE);
	kms_ring_resume(t);
	set = kms_heap_check_set(heap);
	/* In the middle of a switch the trace may be on already and its check not yet: rounds have
	 * no side entry then. The gate is closed once more when the switch is done. */
	t->trace = heap->shared && set.checks & KMS_CHECK_SIZE && t->region_nr == heap->region_nr
			   ? (uint32_t)kms_variable(heap, KMS_VAR_TRACE)
			   : 0;
	t->guard_active = kms_guard_wanted(heap);
	t->detour_free = (t->trace ? KMS_DETOUR_TRACED : 0u) |
			 (set.checks & KMS_CHECK_POISON ? KMS_DETOUR_SLOW : 0u);
	t->detour_malloc = t->detour_free | (t->guard_active ? KMS_DETOUR_SLOW : 0u);
	t->arena_base = heap->arena.base;
	t->arena_pages = heap->arena.bytes >> KMS_PAGE_SHIFT;
	t->page_span = heap->arena.page_span;
	t->span = heap->arena.span;
	if (t->check_epoch != set.epoch)
		take_checks(t, set);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->busy = busy;
}

bool kms_local_catch_up(struct kms_local *t)
{
	uint32_t attention = t->attention_seen, epoch = t->epoch_seen;

	if (t->check_epoch == kms_heap_check_set(t->heap).epoch)
		return false;
	kms_local_refresh(t);
	/* The gate may be closed for more than the checks: it stays so for the next call. */
	t->attention_seen = attention;
	t->epoch_seen = epoch;
	return true;
}

/*
 * The first record of an image says by which program it began, the first one of a thread who it is.
 * Said by the image that an exec made, and not by hooks in front of exec: those would not see
 * posix_spawn and bare system calls, would see calls that fail, and would run in vforked children.
 */
static void announce(struct kms_local *t)
{
	struct kms_heap *heap = t->heap;
	uint64_t numbers[5] = {heap->region->program_string};

	if (!t->trace || t->state != KMS_LOCAL_USED)
		return;
	if (numbers[0] && !__atomic_exchange_n(&heap->announced, 1, __ATOMIC_RELAXED))
		kms_ring_emit_code(t, KMS_REC_EXEC, 1, numbers);
	numbers[0] = t->thread_index;
	kms_ring_emit_code(t, KMS_REC_THREAD, 1, numbers);
}

/* A place in the region: ring, counters, and an entry that says who this is. */
static void take_place(struct kms_local *t)
{
	struct kms_heap *heap = t->heap;

	t->region_nr = heap->region_nr;
	t->thread_index = thread_entry(heap, t->tid);
	kms_ring_reset(t->ring);
	kms_ring_claim(t);
}

/*
 * For who was not there to look. The slot is live, so somebody may have asked for something already:
 * the attention that stands there now was not answered by anybody.
 */
static void begin_unlooked(struct kms_local *t)
{
	kms_local_refresh(t);
	t->attention_seen = ~t->attention_seen;
}

void kms_local_rejoin(struct kms_local *t)
{
	uint32_t busy = t->busy;

	kms_enter(t);
	kms_stack_init(t->stack, t->heap->stacks);
	take_place(t);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->busy = busy;
	kms_local_refresh(t);
	announce(t);
}

void kms_local_look(struct kms_local *t, void (*others)(struct kms_heap *heap))
{
	struct kms_heap *heap = t->heap;
	const uint32_t *word = t->attention;
	uint32_t attention = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	uint32_t epoch = __atomic_load_n(heap->epoch, __ATOMIC_ACQUIRE);

	if (t->state == KMS_LOCAL_USED) {
		if (KMS_UNLIKELY(__atomic_load_n(&heap->standing, __ATOMIC_ACQUIRE)))
			kms_stop_join(t);
		if (attention != t->attention_seen)
			kms_control_poll(t);
		if (others)
			others(heap);
	}
	if (t->region_nr != heap->region_nr)
		kms_local_rejoin(t);
	else if (kms_gate(t))
		kms_local_refresh(t);
	/* another word is one that nobody has looked at yet */
	t->attention_seen = t->attention == word ? attention : ~t->attention_seen;
	t->epoch_seen = epoch;
}

struct kms_local *kms_local_get(struct kms_heap *heap, uint32_t state)
{
	struct kms_local *t;

	kms_port_lock(&heap->control_lock);
	t = local_find(heap);
	if (t)
		t->state = state;
	kms_port_unlock(&heap->control_lock);
	if (!t)
		return NULL;
	t->tid = kms_port_tid();
	t->level = KMS_LEVEL_TASK;
	t->suspended = 0;
	t->busy = 0;
	kms_stack_init(t->stack, heap->stacks);
	take_place(t);
	begin_unlooked(t);
	announce(t);
	return t;
}

/* NOLINTNEXTLINE(misc-no-recursion): a nested one has none of its own */
void kms_local_put(struct kms_local *t)
{
	kms_enter(t);
	kms_umem_level(t->heap, t->level, KMS_LEVEL_TASK);
	kms_cache_flush_local(t);
	kms_ring_close(t);
	kms_leave(t);
	if (t->nested) {
		struct kms_local *nested = t->nested;

		t->nested = NULL;
		kms_local_put(nested);
	}
	__atomic_store_n(&t->state, KMS_LOCAL_FREE, __ATOMIC_RELEASE);
}

bool kms_local_lock(const struct kms_local *t, uint32_t *lock)
{
	if (t->state != KMS_LOCAL_NESTED) {
		kms_port_lock(lock);
		return true;
	}
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (kms_port_trylock(lock))
			return true;
	}
	return false;
}

void kms_heap_attention(struct kms_heap *heap)
{
	uint32_t epoch = __atomic_add_fetch(&heap->last_epoch, 1, __ATOMIC_RELAXED);

	if (!epoch)
		epoch = __atomic_add_fetch(&heap->last_epoch, 1, __ATOMIC_RELAXED);
	/* Of two at a time the older may be stored last: everybody looks once more than needed. */
	__atomic_store_n(heap->epoch, epoch, __ATOMIC_RELEASE);
}

/* Where each ring of the parent stood in this copy of its memory. */
static void fork_cut(struct kms_heap *heap, struct kms_slot *slot)
{
	struct kms_fork_cut *cuts = kms_section_base(heap, KMS_SEC_FORK_CUT);
	uint32_t count = 0, first;
	struct kms_local *t;

	for (t = heap->all_locals; t; t = t->next_all)
		count += t->state != KMS_LOCAL_FREE && t->ring->ring != KMS_NO_INDEX;
	if (!count)
		return;
	first = kms_table_take(heap, KMS_SEC_FORK_CUT, count);
	if (first == KMS_NO_INDEX)
		return;
	slot->fork_cut_first = first;
	slot->fork_cut_count = count;
	for (t = heap->all_locals; t; t = t->next_all) {
		if (t->state == KMS_LOCAL_FREE || t->ring->ring == KMS_NO_INDEX)
			continue;
		cuts[first].ring = t->ring->ring;
		cuts[first].seq = t->ring->seq;
		__atomic_store_n(&cuts[first].ready, 1, __ATOMIC_RELEASE);
		first++;
	}
}

/* Threads of the parent do not exist here: what they cached goes back, unless they were in the
 * middle of a change. */
static void adopt_orphans(struct kms_heap *heap, struct kms_local *self)
{
	for (struct kms_local *t = heap->all_locals; t; t = t->next_all) {
		if (t == self || t->state == KMS_LOCAL_FREE)
			continue;
		kms_ring_reset(t->ring);
		t->counter = self->counter;
		t->trace = 0;
		if (!t->busy) {
			kms_enter(t);
			kms_cache_flush_local(t);
			kms_leave(t);
		} else {
			__builtin_memset(t->bin, 0, sizeof(t->bin));
		}
		t->busy = 0;
		t->nested = NULL;
		t->state = KMS_LOCAL_FREE;
	}
}

/*
 * Threads of the parent took their objects while it forked: their locks have no holder here, and who
 * empties all magazines of a pool would wait for them. What @self holds itself, below the handler that
 * forked, it will still let go.
 */
static void drop_orphans_locks(struct kms_heap *heap, const struct kms_local *self)
{
	for (struct kms_local *t = heap->all_locals; t; t = t->next_all) {
		if (t != self)
			drop_pool_locks(t);
		else if (!t->busy)
			__builtin_memset(t->pool_lock, 0, sizeof(t->pool_lock));
	}
}

void kms_heap_after_fork(struct kms_heap *heap, struct kms_local *t)
{
	uint32_t parent_slot = heap->slot_index;
	struct kms_slot *parent = heap->slot;
	struct kms_guard_stat guard = parent->guard;
	uint64_t numbers[5] = {0};

	kms_stop_after_fork(heap);
	kms_heap_attention(heap);
	drop_orphans_locks(heap, t);
	if (!kms_region_claim_slot(heap, kms_port_pid(), parent_slot)) {
		/* No slot: this child goes on untraced, in figures that nobody reads. */
		__atomic_add_fetch(&parent->lost_children, 1, __ATOMIC_RELAXED);
		heap->shared = 0;
		heap->slot = kms_meta_alloc(heap, sizeof(*heap->slot));
		heap->request = NULL;
	}
	heap->slot->guard = guard;
	heap->slot->session = parent->session;
	heap->slot->first_session = parent->first_session;
	heap->slot->fork_ns = kms_port_now_ns() - heap->start_mono_ns;
	heap->slot->arena_used_bytes = (uint64_t)heap->arena.used_pages << KMS_PAGE_SHIFT;
	kms_control_publish(heap);
	fork_cut(heap, heap->slot);
	for (uint32_t i = 0; i < heap->n_caches; i++) {
		if (heap->cache[i])
			kms_cache_fork_stat(heap, heap->cache[i]);
	}
	__atomic_store_n(&heap->slot->state, KMS_SLOT_LIVE, __ATOMIC_RELEASE);
	if (t) {
		t->tid = kms_port_tid();
		if (t->region_nr != heap->region_nr)
			kms_stack_init(t->stack, heap->stacks);
		take_place(t);
		adopt_orphans(heap, t);
		begin_unlooked(t);
		numbers[0] = heap->slot_index;
		if (t->trace)
			kms_ring_emit_code(t, KMS_REC_FORK, 1, numbers);
		announce(t);
	}
	kms_guard_after_fork(heap);
	kms_umem_after_fork(heap);
}
