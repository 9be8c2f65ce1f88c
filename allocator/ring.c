/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/ring.h"

#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/stop.h"

enum {
	WAIT_SLICE_NS = 10 * 1000 * 1000,
	STALL_NS = 500 * 1000 * 1000,
	POPULATE_BLOCKS = 8,
	EVENTS_PER_LOOK = 64, /* at a file system that was full */
	PREFIX_BYTES = 24,    /* at most: time 11, checks, generation, flags, cache 2 each */
};

static const uint32_t no_tick;

void kms_ring_reset(struct kms_ring_writer *w)
{
	__builtin_memset(w, 0, sizeof(*w));
	w->ring = KMS_NO_INDEX;
	w->tick = &no_tick;
	w->limit = NULL;
	w->cursor = (uint8_t *)1; /* beyond the limit: the first event takes the slow way */
	w->time_countdown = 1;
	w->mark = KMS_SIDE_UNRECORDED;
}

static uint64_t pair_value(const struct kms_pair *pair, uint64_t otherwise)
{
	uint64_t v = __atomic_load_n(&pair->v, __ATOMIC_ACQUIRE);
	uint64_t not_v = __atomic_load_n(&pair->not_v, __ATOMIC_ACQUIRE);

	return v == ~not_v ? v : otherwise;
}

bool kms_ring_drained(const struct kms_heap *heap, uint32_t index)
{
	const struct kms_ring_desc *desc =
		(struct kms_ring_desc *)kms_section_base(heap, KMS_SEC_RING_DESC) + index;
	uint64_t position = pair_value(&heap->position[index], 0);

	/* nothing is written where nobody reads: of such a ring only its counters matter */
	if (!heap->shared)
		return true;
	return position > __atomic_load_n(&desc->head_block, __ATOMIC_ACQUIRE);
}

/*
 * Takes a ring that nobody has had, or whose owner closed it. Between a look at it and the exchange
 * others may have had it, too, and left it just as it was but for what is in it: so a second look.
 */
static bool desc_take_free(struct kms_heap *heap, struct kms_ring_desc *desc, uint32_t index,
			   uint32_t state)
{
	uint32_t owned = KMS_RING_OWNED;

	if (state == KMS_RING_CLOSED && !kms_ring_drained(heap, index))
		return false;
	if (!__atomic_compare_exchange_n(&desc->state, &state, KMS_RING_OWNED, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	if (state == KMS_RING_FREE || kms_ring_drained(heap, index))
		return true;
	(void)__atomic_compare_exchange_n(&desc->state, &owned, KMS_RING_CLOSED, false,
					  __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	return false;
}

/*
 * Takes a ring from an owner that died without a word; asking costs a system call each. Its state
 * stays what it is, so the owner's number decides between two who find it.
 */
static bool desc_take_over(struct kms_heap *heap, struct kms_ring_desc *desc, uint32_t index,
			   uint32_t tid)
{
	uint32_t owner = __atomic_load_n(&desc->tid, __ATOMIC_ACQUIRE);

	return owner != tid && !kms_port_alive(owner) && kms_ring_drained(heap, index) &&
	       __atomic_compare_exchange_n(&desc->tid, &owner, tid, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED) &&
	       __atomic_load_n(&desc->state, __ATOMIC_ACQUIRE) == KMS_RING_OWNED;
}

static bool desc_take(struct kms_heap *heap, struct kms_ring_desc *desc, uint32_t index,
		      uint32_t tid, bool from_dead)
{
	uint32_t state = __atomic_load_n(&desc->state, __ATOMIC_ACQUIRE);

	if (state != KMS_RING_OWNED)
		return desc_take_free(heap, desc, index, state);
	return from_dead && desc_take_over(heap, desc, index, tid);
}

/* Memory for block @number; false if there is none. */
static bool block_back(struct kms_heap *heap, struct kms_ring_writer *w, uint64_t number)
{
	uint32_t first = w->populated_blocks, index = (uint32_t)number & w->mask;
	uint32_t end = (index / POPULATE_BLOCKS + 1) * POPULATE_BLOCKS;

	if (index < first)
		return true;
	/* Room may come back, but a system call for each lost event would be the program's time. */
	if (w->no_memory && w->lost_pending % EVENTS_PER_LOOK)
		return false;
	if (end > w->mask)
		end = w->mask + 1;
	w->no_memory =
		kms_port_populate(&w->blocks[first], (end - first) * sizeof(struct kms_block)) < 0;
	if (w->no_memory) {
		__atomic_add_fetch(&heap->region->no_memory, 1, __ATOMIC_RELAXED);
		return false;
	}
	w->populated_blocks = end;
	return true;
}

static void block_open(struct kms_local *local)
{
	struct kms_ring_writer *w = local->ring;
	struct kms_heap *heap = local->heap;
	struct kms_block *b = &w->blocks[w->block_nr & w->mask];

	/* A reader that sees any of what follows must not take it for the old block. */
	__atomic_store_n(&b->number, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&b->fill, 0, __ATOMIC_RELEASE);
	b->first_seq = w->seq;
	w->block_first_seq = w->seq;
	w->tick_seen = __atomic_load_n(w->tick, __ATOMIC_RELAXED);
	w->last_time_ns = kms_port_now_ns() - heap->start_mono_ns;
	w->time_countdown = KMS_TIME_EVERY_RECORDS;
	b->base_time_ns = w->last_time_ns;
	b->base_address = w->last_address;
	b->slot = heap->slot_index;
	b->thread = local->thread_index;
	b->ring = (uint16_t)w->ring;
	b->level = (uint8_t)local->level;
	b->checks = w->checks;
	__builtin_memset(w->site, 0, sizeof(w->site));
	w->block = b;
	w->cursor = b->record;
	w->limit = b->record + sizeof(b->record) - KMS_RING_ROOM_BYTES;
	/* pairs with the reader's acquire load of number: the header is complete */
	__atomic_store_n(&b->number, w->block_nr, __ATOMIC_RELEASE);
	__atomic_store_n(&w->desc->head_block, w->block_nr, __ATOMIC_RELEASE);
}

/* From here on nothing is known of what was before: schema/record.h. */
static void join_session(struct kms_ring_writer *w, uint32_t session)
{
	w->session = (uint8_t)session;
	w->mark = KMS_SIDE_MARK(w->ring, w->session);
	w->fresh = w->session ? w->mark : 0;
}

/* Counters of the ring: without memory for them nobody gets it. One that had an owner has it. */
static bool desc_back(struct kms_heap *heap, struct kms_ring_desc *desc, uint32_t index)
{
	if (desc->claims ||
	    kms_region_back_entries(heap, KMS_SEC_COUNTER, (uint64_t)index * KMS_MAX_CACHES,
				    KMS_MAX_CACHES))
		return true;
	__atomic_store_n(&desc->state, KMS_RING_FREE, __ATOMIC_RELEASE);
	return false;
}

/* The local writes into ring @index from here on. */
static void writer_begin(struct kms_local *local, struct kms_ring_desc *desc, uint32_t index)
{
	struct kms_heap *heap = local->heap;
	struct kms_ring_writer *w = local->ring;

	kms_ring_reset(w);
	w->desc = desc;
	w->ring = index;
	join_session(w, __atomic_load_n(&heap->session, __ATOMIC_RELAXED));
	w->mask = heap->region->blocks_per_ring - 1;
	w->blocks = (struct kms_block *)kms_section_base(heap, KMS_SEC_RING) +
		    (size_t)index * heap->region->blocks_per_ring;
	w->tick = heap->tick ? heap->tick : (const uint32_t *)&heap->tracer->tick.v;
	w->checks = (uint8_t)kms_heap_check_set(heap).checks;
	w->block_nr = desc->head_block; /* make_room opens the one after it */
	desc->slot = heap->slot_index;
	desc->thread = local->thread_index;
	desc->tid = local->tid;
	desc->level = local->level;
	desc->first_block = w->block_nr + 1;
	desc->next_seq = 0;
	desc->lost = 0;
	desc->claims++;
	local->counter = (struct kms_counter *)kms_section_base(heap, KMS_SEC_COUNTER) +
			 (size_t)index * KMS_MAX_CACHES;
}

void kms_ring_claim(struct kms_local *local)
{
	struct kms_heap *heap = local->heap;
	struct kms_ring_desc *desc = kms_section_base(heap, KMS_SEC_RING_DESC);
	const uint32_t rings = heap->region->rings;
	bool is_full = false;

	for (uint32_t n = 0; n < 2 * rings; n++) {
		/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): n is less than twice as many */
		uint32_t i = n % rings;

		if ((is_full && !desc[i].claims) ||
		    !desc_take(heap, &desc[i], i, local->tid, n >= rings))
			continue;
		is_full = !desc_back(heap, &desc[i], i);
		if (is_full)
			continue;
		writer_begin(local, &desc[i], i);
		return;
	}
	kms_ring_reset(local->ring);
	local->ring->no_ring = true;
	local->counter = (struct kms_counter *)kms_section_base(heap, KMS_SEC_COUNTER) +
			 ((size_t)heap->region->rings + heap->slot_index) * KMS_MAX_CACHES;
}

void kms_ring_close(struct kms_local *local)
{
	struct kms_ring_writer *w = local->ring;

	if (!w || w->ring == KMS_NO_INDEX)
		return;
	__atomic_store_n(&w->desc->next_seq, w->seq, __ATOMIC_RELEASE);
	/* pairs with the tracer: a closed ring's head block gets no more records */
	__atomic_store_n(&w->desc->state, KMS_RING_CLOSED, __ATOMIC_RELEASE);
	kms_ring_reset(w);
}

static bool room_for_block(const struct kms_heap *heap, const struct kms_ring_writer *w,
			   uint64_t number)
{
	uint64_t position = pair_value(&heap->position[w->ring], 0);

	return number <= w->mask || number - w->mask <= position ||
	       number - w->desc->first_block <= w->mask;
}

/* A position that is no pair was written over by somebody: no heartbeat will mend it. */
static bool position_is_whole(const struct kms_heap *heap, const struct kms_ring_writer *w)
{
	return pair_value(&heap->position[w->ring], UINT64_MAX) != UINT64_MAX ||
	       heap->position[w->ring].v == 0;
}

/* Waits for the tracer; false when it does not come, or must not be waited for. */
static bool wait_for_room(struct kms_local *local, uint64_t number)
{
	struct kms_heap *heap = local->heap;
	struct kms_ring_writer *w = local->ring;
	uint64_t begin = kms_port_now_ns(), moved = begin;
	uint64_t beat = pair_value(&heap->tracer->heartbeat, 0);
	bool room = false;

	if (!kms_variable(heap, KMS_VAR_ON_FULL) || local->state == KMS_LOCAL_NESTED ||
	    kms_stop_is_mine(local))
		return false;
	if (__atomic_load_n(&heap->region->stalled, __ATOMIC_RELAXED)) {
		/* Somebody waited in vain; try again when the tracer gives a sign of life. */
		if (beat == __atomic_load_n(&heap->stalled_beat, __ATOMIC_RELAXED))
			return false;
		__atomic_store_n(&heap->region->stalled, 0, __ATOMIC_RELAXED);
	}
	if (w->distrust && !position_is_whole(heap, w))
		return false;
	w->distrust = false;
	__atomic_add_fetch(&heap->slot->waits, 1, __ATOMIC_RELAXED); /* other threads wait too */
	while (!(room = room_for_block(heap, w, number))) {
		uint32_t wake = __atomic_load_n(&heap->tracer->wake, __ATOMIC_ACQUIRE);
		uint64_t now, beat_now;

		if (room_for_block(heap, w, number))
			continue;
		kms_port_wait(&heap->tracer->wake, wake, WAIT_SLICE_NS);
		now = kms_port_now_ns();
		beat_now = pair_value(&heap->tracer->heartbeat, beat);
		if (beat_now != beat && position_is_whole(heap, w)) {
			beat = beat_now;
			moved = now;
		} else if (now - moved > STALL_NS) {
			w->distrust = !position_is_whole(heap, w);
			__atomic_store_n(&heap->stalled_beat, beat, __ATOMIC_RELAXED);
			__atomic_store_n(&heap->region->stalled, 1, __ATOMIC_RELAXED);
			break;
		}
	}
	__atomic_add_fetch(&heap->slot->waited_ns, kms_port_now_ns() - begin, __ATOMIC_RELAXED);
	return room;
}

static void count_lost(struct kms_local *local)
{
	struct kms_ring_writer *w = local->ring;

	if (w->ring == KMS_NO_INDEX) {
		__atomic_add_fetch(&local->heap->slot->lost_unringed, 1, __ATOMIC_RELAXED);
		return;
	}
	w->lost_pending++;
	w->seq++;
	w->desc->lost++;
	w->desc->next_seq = w->seq;
	if (__atomic_load_n(&local->heap->region->stalled, __ATOMIC_RELAXED))
		__atomic_add_fetch(&local->heap->slot->dropped_stalled, 1, __ATOMIC_RELAXED);
}

static uint8_t *put_varint(uint8_t *out, uint64_t v)
{
	while (v >= 0x80) {
		*out++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*out++ = (uint8_t)v;
	return out;
}

static void publish(struct kms_ring_writer *w, uint8_t *out)
{
	w->cursor = out;
	/* pairs with the reader's acquire load of fill: the record's bytes are there */
	__atomic_store_n(&w->block->fill, (uint32_t)(out - w->block->record), __ATOMIC_RELEASE);
}

static void tell_session(struct kms_ring_writer *w)
{
	uint8_t *out = w->cursor;

	*out++ = (uint8_t)(KMS_REC_RESUME << KMS_REC_CODE_SHIFT);
	*out++ = w->session;
	publish(w, out);
}

bool kms_ring_make_room(struct kms_local *local)
{
	struct kms_ring_writer *w = local->ring;
	uint64_t next;

	if (w->ring == KMS_NO_INDEX) {
		count_lost(local);
		return false;
	}
	next = w->block_nr + 1;
	if (!room_for_block(local->heap, w, next) && !wait_for_room(local, next)) {
		count_lost(local);
		return false;
	}
	if (!block_back(local->heap, w, next)) {
		count_lost(local);
		return false;
	}
	w->desc->next_seq = w->seq;
	w->block_nr = next;
	/* The block to come begins with what was lost: those sequences are its first. */
	w->seq -= w->lost_pending;
	block_open(local);
	if (w->lost_pending) {
		uint8_t *out = w->cursor;

		*out++ = (uint8_t)(KMS_REC_LOST << KMS_REC_CODE_SHIFT);
		out = put_varint(out, w->lost_pending);
		w->seq += w->lost_pending;
		w->lost_pending = 0;
		publish(w, out);
	}
	if (w->session)
		tell_session(w);
	return true;
}

void kms_ring_stamp(struct kms_local *local)
{
	struct kms_ring_writer *w = local->ring;
	uint64_t now = kms_port_now_ns() - local->heap->start_mono_ns;
	uint8_t *out = w->cursor;

	w->tick_seen = __atomic_load_n(w->tick, __ATOMIC_RELAXED);
	w->time_countdown = KMS_TIME_EVERY_RECORDS;
	if (now <= w->last_time_ns)
		return;
	*out++ = (uint8_t)(KMS_REC_TIME << KMS_REC_CODE_SHIFT);
	out = put_varint(out, now - w->last_time_ns);
	w->last_time_ns = now;
	publish(w, out);
}

void kms_ring_resume(struct kms_local *local)
{
	struct kms_ring_writer *w = local->ring;

	if (w->ring == KMS_NO_INDEX || local->region_nr != local->heap->region_nr ||
	    w->session == (uint8_t)__atomic_load_n(&local->heap->session, __ATOMIC_RELAXED))
		return;
	join_session(w, __atomic_load_n(&local->heap->session, __ATOMIC_RELAXED));
	/* Where no block is open, or none has room, the next one begins with it. */
	if (w->cursor > w->limit)
		return;
	kms_ring_stamp(local);
	tell_session(w);
}

/* NOLINTNEXTLINE(readability-function-size): the parts of an event, in registers */
void kms_ring_emit_slow(struct kms_local *local, unsigned form, uintptr_t address, uint64_t size,
			uint32_t node, uint32_t flags, int generation)
{
	struct kms_ring_writer *w = local->ring;
	unsigned size_code = kms_unsigned_code(size), slot = kms_site_slot(node);
	uint32_t cache = flags >> KMS_CACHE_ATTR_SHIFT & KMS_CACHE_ATTR_MASK;
	uint8_t checks = (uint8_t)flags;
	uint8_t *out;

	/* With its stamp and prefixes the record must stay in one block. */
	if (w->cursor + PREFIX_BYTES > w->limit && !kms_ring_make_room(local))
		return;
	if (kms_ring_time_due(w) || (flags & (KMS_ATTR_GUARDED | KMS_EXACT_ATTR)))
		kms_ring_stamp(local);
	if (!(address & 7) && generation < 0 && checks == w->checks && !(flags >> 8)) {
		w->time_countdown++; /* the hot path counts it */
		kms_ring_emit(local, form, address, size, node);
		return;
	}
	out = w->cursor;
	if (checks != w->checks) {
		*out++ = (uint8_t)(KMS_REC_CHECKS << KMS_REC_CODE_SHIFT);
		*out++ = checks;
		w->checks = checks;
	}
	if (generation >= 0) {
		*out++ = (uint8_t)(KMS_REC_GEN << KMS_REC_CODE_SHIFT);
		*out++ = (uint8_t)generation;
	}
	if (flags >> KMS_ATTR_SHIFT & UINT8_MAX) {
		*out++ = (uint8_t)(KMS_REC_FLAGS << KMS_REC_CODE_SHIFT);
		*out++ = (uint8_t)(flags >> KMS_ATTR_SHIFT);
	}
	if (cache) {
		*out++ = (uint8_t)(KMS_REC_CACHE << KMS_REC_CODE_SHIFT);
		*out++ = (uint8_t)(cache - 1);
	}
	w->cursor = out;
	if (!(address & 7)) {
		w->time_countdown++;
		w->tick_seen = __atomic_load_n(w->tick, __ATOMIC_RELAXED);
		kms_ring_emit(local, form, address, size, node);
		return;
	}
	*out++ = (uint8_t)(form | 3u << KMS_REC_ADDR_SHIFT | size_code << KMS_REC_SIZE_SHIFT);
	*out++ = (uint8_t)slot;
	kms_store32(out, node);
	out += 3;
	kms_store64(out, address);
	out += 8;
	kms_store64(out, size);
	out += 1u << size_code;
	w->last_address = address & ~(uintptr_t)7;
	w->site[slot].node = node;
	w->site[slot].size = (uint32_t)size;
	w->seq++;
	publish(w, out);
}

void kms_ring_emit_code(struct kms_local *local, unsigned code, unsigned n,
			const uint64_t numbers[5])
{
	struct kms_ring_writer *w = local->ring;
	uint8_t *out;

	if (w->cursor > w->limit && !kms_ring_make_room(local))
		return;
	kms_ring_stamp(local);
	out = w->cursor;
	*out++ = (uint8_t)(code << KMS_REC_CODE_SHIFT);
	for (unsigned i = 0; i < n; i++)
		out = put_varint(out, numbers[i]);
	w->seq++;
	publish(w, out);
}
