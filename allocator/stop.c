/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/stop.h"

#include "allocator/control.h"
#include "allocator/heap.h"
#include "allocator/port.h"

enum {
	MS = 1000 * 1000,
	SLICE_NS = 10 * MS,
	LOCKS_NS = 500 * MS, /* somebody who holds a lock may have to wait for a processor */
	HELD_NS = 200 * MS,  /* the tracer is to hold the others within 10 ms */
	STALE_NS = 500 * MS, /* without a heartbeat nobody is there */
};

/* Who starts us has a tracer that reads, but first has to find our region. */
static const uint64_t first_beat_ns = UINT64_C(5000) * MS;

/* The tracer's heart, as it was last seen to beat. */
struct pulse {
	uint64_t beat;
	uint64_t seen_ns;
	uint64_t patience_ns;
};

static uint64_t heartbeat(const struct kms_heap *heap)
{
	uint64_t v = __atomic_load_n(&heap->tracer->heartbeat.v, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&heap->tracer->heartbeat.not_v, __ATOMIC_ACQUIRE) == ~v ? v : 0;
}

static bool pulse_lives(const struct kms_heap *heap, struct pulse *pulse)
{
	uint64_t beat = heartbeat(heap), now = kms_port_now_ns();

	if (beat != pulse->beat) {
		pulse->beat = beat;
		pulse->seen_ns = now;
		pulse->patience_ns = STALE_NS;
	}
	return now - pulse->seen_ns <= pulse->patience_ns;
}

/* Is there anybody who could let us go on? */
static bool can_stand(const struct kms_heap *heap)
{
	if (!heap->shared || !heap->request)
		return false;
	/* somebody waited in vain, and nothing has moved since */
	return !__atomic_load_n(&heap->region->stalled, __ATOMIC_RELAXED) ||
	       heartbeat(heap) != __atomic_load_n(&heap->stalled_beat, __ATOMIC_RELAXED);
}

/* As when a ring stays full: the next one does not wait again for a tracer that is gone. */
static void give_up(struct kms_heap *heap, const struct pulse *pulse)
{
	__atomic_store_n(&heap->stalled_beat, pulse->beat, __ATOMIC_RELAXED);
	__atomic_store_n(&heap->region->stalled, 1, __ATOMIC_RELAXED);
}

static void become_stander(struct kms_local *t)
{
	uint32_t *stander = &t->heap->stander;
	uint32_t other = 0;

	while (!__atomic_compare_exchange_n(stander, &other, t->tid, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED)) {
		kms_port_wait(stander, other, SLICE_NS);
		other = 0;
	}
}

bool kms_stop_all_held(const struct kms_heap *heap)
{
	return heap->request && __atomic_load_n(&heap->standing, __ATOMIC_RELAXED) &&
	       (__atomic_load_n(&heap->holds_others, __ATOMIC_RELAXED) ||
		__atomic_load_n(&heap->request->held, __ATOMIC_ACQUIRE) ==
			__atomic_load_n(&heap->stops, __ATOMIC_RELAXED));
}

static void publish(struct kms_local *t, uint32_t state, uint32_t fault)
{
	struct kms_heap *heap = t->heap;
	struct kms_slot *slot = heap->slot;

	__atomic_store_n(&heap->go_on, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&heap->standing, 1, __ATOMIC_RELEASE);
	kms_heap_attention(heap); /* the others' next calls look */
	slot->stop_fault = fault;
	slot->stop_tid = t->tid;
	slot->stop_nr = __atomic_add_fetch(&heap->stops, 1, __ATOMIC_RELAXED);
	/* pairs with the tracer's acquire load: what stands before it is this stop's */
	__atomic_store_n(&slot->stop_state, state, __ATOMIC_RELEASE);
	kms_port_tell_tracer();
}

static void await_held(struct kms_heap *heap, struct pulse *pulse)
{
	uint64_t end = kms_port_now_ns() + HELD_NS;

	while (!kms_stop_all_held(heap) && pulse_lives(heap, pulse) && kms_port_now_ns() < end) {
		uint32_t seen = __atomic_load_n(&heap->request->attention, __ATOMIC_ACQUIRE);

		if (!kms_stop_all_held(heap))
			kms_port_wait(&heap->request->attention, seen, SLICE_NS);
	}
}

/*
 * Takes up what was asked for. A thread that is held may have a lock all the same, should it have
 * come to that without us; then only the word to go on is heard, and everything else waits for it.
 */
static void answer(struct kms_local *t)
{
	struct kms_heap *heap = t->heap;

	if (!kms_control_is_asked(heap))
		return;
	if (kms_heap_lock_all(heap, kms_port_now_ns() + LOCKS_NS)) {
		kms_heap_unlock_all(heap);
		kms_control_poll(t);
	} else if (kms_control_is_told_to_go_on(heap)) {
		__atomic_store_n(&heap->go_on, 1, __ATOMIC_RELAXED);
	}
}

static uint64_t patience(const struct kms_heap *heap)
{
	return heap->first_beat_ns ? heap->first_beat_ns : first_beat_ns;
}

static void stand(struct kms_local *t, uint32_t state, uint32_t fault)
{
	struct kms_heap *heap = t->heap;
	struct pulse pulse = {
		.beat = heartbeat(heap),
		.seen_ns = kms_port_now_ns(),
		.patience_ns = state == KMS_STOP_START ? patience(heap) : STALE_NS,
	};
	bool locked;

	answer(t); /* what was asked for before is not meant for this stop */
	/* Whoever is held from here on holds none of our locks: we have them. */
	locked = kms_heap_lock_all(heap, kms_port_now_ns() + LOCKS_NS);
	publish(t, state, fault);
	__atomic_store_n(&heap->holds_others, kms_port_hold_others(), __ATOMIC_RELAXED);
	await_held(heap, &pulse);
	if (locked)
		kms_heap_unlock_all(heap);
	while (!__atomic_load_n(&heap->go_on, __ATOMIC_RELAXED)) {
		uint32_t seen = __atomic_load_n(&heap->request->attention, __ATOMIC_ACQUIRE);

		answer(t);
		if (__atomic_load_n(&heap->go_on, __ATOMIC_RELAXED))
			break;
		if (!pulse_lives(heap, &pulse)) {
			give_up(heap, &pulse);
			break;
		}
		kms_port_wait(&heap->request->attention, seen, SLICE_NS);
	}
}

static void go_on(struct kms_heap *heap)
{
	/* pairs with the tracer's acquire load: all that was answered stands before it */
	__atomic_store_n(&heap->slot->stop_state, KMS_STOP_NONE, __ATOMIC_RELEASE);
	kms_port_tell_tracer();
	__atomic_store_n(&heap->holds_others, false, __ATOMIC_RELAXED);
	kms_port_release_others();
	__atomic_store_n(&heap->standing, 0, __ATOMIC_RELEASE);
	kms_port_wake(&heap->standing);
	__atomic_store_n(&heap->stander, 0, __ATOMIC_RELEASE);
	kms_port_wake(&heap->stander);
}

bool kms_stop_stand(struct kms_local *t, uint32_t state, uint32_t fault)
{
	struct kms_heap *heap = t->heap;
	uint64_t signals;

	if (!can_stand(heap))
		return false;
	become_stander(t);
	kms_port_signals_hold(&signals);
	/* who waited for another one may find that the tracer is gone by now */
	if (can_stand(heap)) {
		kms_port_allow_tracer(heap->tracer->pid);
		stand(t, state, fault);
	}
	go_on(heap);
	kms_port_signals_release(&signals);
	return true;
}

void kms_stop_join(struct kms_local *t)
{
	struct kms_heap *heap = t->heap;

	while (__atomic_load_n(&heap->standing, __ATOMIC_ACQUIRE) && !kms_stop_is_mine(t))
		kms_port_wait(&heap->standing, 1, SLICE_NS);
}

void kms_stop_after_fork(struct kms_heap *heap)
{
	heap->stander = heap->standing = heap->go_on = 0;
	heap->holds_others = false;
	heap->tracer_pid = 0;
}
