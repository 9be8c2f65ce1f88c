/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/fault.h"

#include "allocator/alloc.h"
#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/large.h"
#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/slab.h"
#include "allocator/stop.h"
#include "allocator/text.h"
#include "allocator/umem.h"

enum {
	AROUND_BYTES = 64, /* memory shown before and behind the address */
	ZONE_FINDINGS = 2, /* of one block: behind it and before it */
};

static const char *const kind_names[KMS_FAULT_KINDS] = {KMS_FAULT_NAMES};

static struct kms_side *side_at(const struct kms_span *span, uint32_t index)
{
	return (struct kms_side *)(uintptr_t)span->side_address + index;
}

void kms_place_find(const struct kms_heap *heap, uintptr_t p, struct kms_place *place)
{
	struct kms_span *span = kms_span_of(heap, p);
	uint32_t index;

	*place = (struct kms_place){.index = KMS_NO_INDEX};
	if (kms_guard_place(heap, p, place))
		return;
	if (!span || p - span->base >= (uint64_t)span->pages << KMS_PAGE_SHIFT)
		return;
	if (span->state == KMS_SPAN_LARGE) {
		place->span = span;
		place->side = side_at(span, 0);
		place->block = span->base + span->first_bytes;
		place->index = 0;
	} else if (span->state == KMS_SPAN_SLAB) {
		place->span = span;
		index = kms_slab_index(span, p);
		if (index == KMS_NO_INDEX)
			return;
		place->index = index;
		place->side = side_at(span, index);
		place->block =
			span->base + span->first_bytes + (uint64_t)index * span->stride_bytes;
	} else {
		return;
	}
	place->block_bytes = kms_side_size(span, place->side);
	place->live = place->side->state == KMS_BLOCK_LIVE;
	/* Without checks nobody kept the size or the state, but of what came back to an old slab. */
	if (span->state == KMS_SPAN_SLAB && !span->checks) {
		place->block_bytes = span->usable_bytes;
		place->live = place->side->state != KMS_BLOCK_FREE;
	}
}

/* Start of the block of one entry of a span; 0 if it had none yet. */
static uint64_t block_at(const struct kms_heap *heap, const struct kms_span *span, uint32_t index)
{
	struct kms_place place = {0};

	if (span->state == KMS_SPAN_SLAB)
		return span->base + span->first_bytes + (uint64_t)index * span->stride_bytes;
	(void)kms_guard_place(heap, span->base + (uint64_t)index * span->stride_bytes, &place);
	return place.block;
}

static void fill_neighbours(const struct kms_heap *heap, struct kms_fault *f,
			    const struct kms_place *place)
{
	const struct kms_span *span = place->span;

	if (span->state == KMS_SPAN_LARGE || place->index == KMS_NO_INDEX)
		return;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t index = i ? place->index + 1 : place->index - 1;
		const struct kms_side *side;

		if (index >= span->count)
			continue;
		side = side_at(span, index);
		f->neighbour[i] = block_at(heap, span, index);
		f->neighbour_bytes[i] = side->size_bytes;
		f->neighbour_state[i] = side->state;
	}
}

/* Bytes around the address that lie in the same span and can be read for certain. */
static void fill_bytes(const struct kms_heap *heap, struct kms_fault *f,
		       const struct kms_place *place)
{
	const struct kms_span *span = place->span;
	uint64_t start, end;
	uintptr_t low = span->base, high = low + ((uintptr_t)span->pages << KMS_PAGE_SHIFT);

	if (span->state == KMS_SPAN_GUARD && !kms_guard_readable(heap, f->address, &low, &high))
		return;
	if (kms_umem_owns(heap, f->address) && !kms_umem_readable(heap, f->address, &low, &high))
		return;
	if (span->state == KMS_SPAN_FREE || f->address < low || f->address >= high)
		return;
	start = f->address > low + AROUND_BYTES ? f->address - AROUND_BYTES : low;
	start &= ~UINT64_C(15);
	end = high;
	if (end - start > sizeof(f->bytes))
		end = start + sizeof(f->bytes);
	f->bytes_address = start;
	f->bytes_count = (uint32_t)(end - start);
	__builtin_memcpy(f->bytes, (const void *)(uintptr_t)start, end - start);
}

/* @gone: a block that was freed and whose pages may be anybody's, or NULL. */
static void fill_gone(struct kms_fault *f, const struct kms_gone *gone)
{
	if (!gone)
		return;
	f->block = gone->block;
	f->block_bytes = gone->size;
	f->alloc_stack = gone->alloc_stack;
	f->free_stack = gone->free_stack;
	f->block_state = KMS_BLOCK_FREE;
	f->cache = gone->cache;
}

static void fill_place(struct kms_local *t, struct kms_fault *f, const struct kms_gone *gone)
{
	struct kms_place place;

	f->cache = KMS_NO_INDEX;
	if (gone) {
		fill_gone(f, gone);
		return;
	}
	kms_place_find(t->heap, f->block ? f->block : f->address, &place);
	if (!place.span) {
		fill_gone(f, kms_heap_gone(t->heap, f->address));
		return;
	}
	f->cache = place.span->cache;
	if (place.side) {
		f->block = place.block;
		f->block_bytes = place.block_bytes;
		f->alloc_stack = place.side->alloc_stack;
		f->free_stack = place.side->state == KMS_BLOCK_LIVE ? 0 : place.side->free_stack;
		f->block_state = place.side->state;
	}
	fill_neighbours(t->heap, f, &place);
	fill_bytes(t->heap, f, &place);
}

static uint32_t policy_of(const struct kms_heap *heap, uint32_t kind)
{
	uint64_t policy = kms_variable(heap, KMS_VAR_PANIC_OF(kind));

	return (uint32_t)(policy == 3 ? kms_variable(heap, KMS_VAR_PANIC) : policy);
}

static void fault_text(struct kms_fault *f, const struct kms_finding *finding)
{
	struct kms_text text = {0};

	if (finding->text) {
		kms_text_add(&text, finding->text);
	} else {
		kms_text_add(&text, kind_names[f->kind]);
		kms_text_add(&text, " at ");
		kms_text_pointer(&text, f->address);
	}
	__builtin_memcpy(f->text, text.buffer, sizeof(f->text));
}

/* "0xADDRESS: 0xFOUND != 0xEXPECTED" */
static void byte_text(struct kms_text *text, const struct kms_finding *finding)
{
	kms_text_pointer(text, finding->address);
	kms_text_add(text, ": 0x");
	kms_text_number(text, finding->found, 16, 2);
	kms_text_add(text, " != 0x");
	kms_text_number(text, finding->expected, 16, 2);
}

static struct kms_fault *fault_take(struct kms_local *t, uint32_t *index)
{
	struct kms_fault *fault = kms_table_take_entry(t->heap, KMS_SEC_FAULT, index);

	if (!fault)
		t->heap->slot->lost_faults++;
	return fault;
}

/* Into table and ring; @spare is where a finding goes for which the table has no room. */
static struct kms_fault *fault_publish(struct kms_local *t, const struct kms_finding *finding,
				       struct kms_fault *spare, uint32_t *index)
{
	struct kms_fault *f = fault_take(t, index);
	const uint64_t numbers[5] = {*index};
	bool is_recorded = t->trace && f;

	if (!f)
		f = spare;
	f->slot = t->heap->slot_index;
	f->kind = finding->kind < KMS_FAULT_KINDS ? finding->kind : KMS_FAULT_NONE;
	f->access = finding->access;
	f->time_ns = kms_port_now_ns() - t->heap->start_mono_ns;
	f->address = finding->address;
	f->block = finding->block;
	f->argument_bytes = finding->argument_bytes;
	f->expected = finding->expected;
	f->found = finding->found;
	f->argument_cache = finding->argument_cache;
	f->thread = t->thread_index;
	f->level = t->level;
	f->stack = finding->stack;
	if (!f->stack && finding->frame)
		f->stack = kms_stack_capture(t->stack, finding->frame);
	fill_place(t, f, finding->gone);
	if (f->cache == KMS_NO_INDEX)
		f->cache = f->argument_cache;
	f->policy = policy_of(t->heap, f->kind);
	fault_text(f, finding);
	f->ring = KMS_NO_INDEX;
	if (is_recorded) {
		f->ring = t->ring->ring;
		f->ring_seq = t->ring->seq;
	}
	/* pairs with the reader's acquire load of ready: the finding is complete */
	__atomic_store_n(&f->ready, 1, __ATOMIC_RELEASE);
	if (is_recorded)
		kms_ring_emit_code(t, KMS_REC_FAULT, 1, numbers);
	return f;
}

/* What the policy says. No lock held. */
static void fault_act(struct kms_local *t, const struct kms_fault *f, uint32_t index)
{
	kms_port_fault(t->heap, f);
	if (f->policy == KMS_POLICY_STOP && !kms_stop_is_mine(t))
		(void)kms_stop_stand(t, KMS_STOP_FAULT, index == KMS_NO_INDEX ? 0 : index + 1);
	if (f->policy == KMS_POLICY_PANIC)
		kms_port_panic(f->text);
}

uint32_t kms_fault_raise(struct kms_local *t, const struct kms_finding *finding)
{
	struct kms_fault spare = {0};
	uint32_t index;
	const struct kms_fault *f = fault_publish(t, finding, &spare, &index);

	fault_act(t, f, index);
	return index;
}

void kms_fault_poison(struct kms_local *t, struct kms_finding *finding)
{
	struct kms_text text = {0};

	finding->kind = KMS_FAULT_MODIFIED_AFTER_FREE;
	finding->argument_cache = KMS_NO_INDEX;
	kms_text_add(&text, "kmem_poison_check: ");
	byte_text(&text, finding);
	finding->text = text.buffer;
	kms_fault_raise(t, finding);
	finding->text = NULL;
}

void kms_fault_check_poison(struct kms_local *t, uint8_t *p, struct kms_side *side, uint32_t node)
{
	struct kms_span *span = kms_span_of(t->heap, (uintptr_t)p);
	size_t bytes = span->usable_bytes - KMS_REDZONE_BYTES;
	size_t good = kms_pattern_check(p, bytes);
	struct kms_finding finding = {
		.access = KMS_ACCESS_CHECK,
		.address = (uintptr_t)p + good,
		.stack = node,
	};

	if (KMS_LIKELY(good == bytes) || side->state == KMS_BLOCK_NEVER)
		return;
	finding.expected = kms_pattern_byte((uintptr_t)p + good);
	finding.found = p[good];
	kms_fault_poison(t, &finding);
}

/* What is broken, in the original's words. */
static void zone_finding(struct kms_finding *finding, struct kms_text *text)
{
	if (!finding->expected)
		finding->expected = kms_pattern_byte(finding->address);
	finding->found = *(const uint8_t *)finding->address;
	kms_text_add(text, "kmem_redzone_check: ");
	byte_text(text, finding);
	finding->text = text->buffer;
}

void kms_fault_zone(struct kms_local *t, struct kms_finding *finding)
{
	struct kms_text text = {0};

	zone_finding(finding, &text);
	kms_fault_raise(t, finding);
	finding->text = NULL;
}

/* A look at one block: who looks, and what was found under the lock, for the policy after it. */
struct zone_check {
	struct kms_local *t;
	const struct kms_span *span;
	const struct kms_frame *frame;
	uint32_t access;
	unsigned n;
	const struct kms_fault *fault[ZONE_FINDINGS];
	uint32_t index[ZONE_FINDINGS];
	struct kms_fault spare;
};

/* NOLINTNEXTLINE(readability-function-size): what a finding is made of */
static void zone_publish(struct zone_check *check, uint32_t kind, uintptr_t block,
			 uintptr_t address, uint8_t expected)
{
	struct kms_finding finding = {
		.kind = kind,
		.access = check->access,
		.address = address,
		.block = block,
		.expected = expected,
		.frame = check->frame,
		.argument_cache = KMS_NO_INDEX,
	};
	struct kms_text text = {0};

	zone_finding(&finding, &text);
	check->fault[check->n] =
		fault_publish(check->t, &finding, &check->spare, &check->index[check->n]);
	check->n++;
}

/* The first byte of a redzone that is not what it should be; 2: whole. */
static unsigned redzone_broken(const uint8_t *zone, uint8_t *expected)
{
	uint16_t good = kms_pattern_redzone((uintptr_t)zone);

	for (unsigned i = 0; i < KMS_REDZONE_BYTES; i++) {
		*expected = (uint8_t)(good >> 8 * i);
		if (zone[i] != *expected)
			return i;
	}
	return KMS_REDZONE_BYTES;
}

static bool check_redzone(struct zone_check *check, uint8_t *zone, uintptr_t block)
{
	uint8_t expected;
	unsigned i = redzone_broken(zone, &expected);

	if (i == KMS_REDZONE_BYTES)
		return false;
	zone_publish(check, KMS_FAULT_OVERFLOW, block, (uintptr_t)zone + i, expected);
	kms_redzone_fill(zone);
	return true;
}

/* The slot before: its live block, if its own redzone is broken, wrote over it into ours. */
static uintptr_t culprit_before(const struct kms_span *span, uintptr_t p)
{
	uint32_t index = kms_slab_index(span, p);
	const struct kms_side *side;
	uintptr_t before;

	if (span->state != KMS_SPAN_SLAB || index == KMS_NO_INDEX || index == 0)
		return 0;
	side = side_at(span, index - 1);
	before = p - span->stride_bytes;
	if (side->state != KMS_BLOCK_LIVE ||
	    kms_redzone_whole((const void *)(before + side->size_bytes)))
		return 0;
	return before;
}

/* How many pattern bytes lie before this block. */
static size_t front_of(const struct kms_span *span, uintptr_t p)
{
	bool first = p == span->base + span->first_bytes;

	if (!first)
		return KMS_REDZONE_BYTES;
	return span->first_bytes >= KMS_FRONT_BYTES ? KMS_FRONT_BYTES : 0;
}

static void check_front(struct zone_check *check, uint8_t *p)
{
	const struct kms_span *span = check->span;
	size_t front = front_of(span, (uintptr_t)p);
	bool slot_end = (uintptr_t)p != span->base + span->first_bytes;
	uintptr_t culprit;

	for (size_t i = 1; i <= front; i++) {
		uint8_t expected = kms_pattern_byte((uintptr_t)p - i);

		if (p[-(ptrdiff_t)i] == expected)
			continue;
		culprit = culprit_before(span, (uintptr_t)p);
		zone_publish(check, culprit ? KMS_FAULT_OVERFLOW : KMS_FAULT_UNDERFLOW,
			     culprit ? culprit : (uintptr_t)p, (uintptr_t)p - i, expected);
		if (slot_end)
			kms_redzone_fill(p - KMS_REDZONE_BYTES);
		else
			kms_pattern_fill(p - front, front);
		return;
	}
}

static uint8_t *slot_end_of(const struct kms_span *span, uint8_t *p)
{
	return p + span->usable_bytes - KMS_REDZONE_BYTES;
}

/* Needs mend_lock, but for a look whether there is anything to do. */
static bool zones_broken(const struct kms_span *span, const uint8_t *p, uint64_t size)
{
	size_t front = span->checks & KMS_CHECK_HEADER ? 0 : front_of(span, (uintptr_t)p);

	return !kms_redzone_whole(p + size) ||
	       (span->state == KMS_SPAN_SLAB &&
		!kms_redzone_whole(p + span->usable_bytes - KMS_REDZONE_BYTES)) ||
	       kms_pattern_check(p - front, front) != front;
}

static void check_zones(struct zone_check *check, uint8_t *p, uint64_t size)
{
	const struct kms_span *span = check->span;
	bool is_slab = span->state == KMS_SPAN_SLAB;

	if (check_redzone(check, p + size, (uintptr_t)p)) {
		/* One write may have gone on to the slot's end: that is the same finding. */
		if (is_slab)
			kms_redzone_fill(slot_end_of(span, p));
	} else if (is_slab) {
		check_redzone(check, slot_end_of(span, p), (uintptr_t)p);
	}
	if (!(span->checks & KMS_CHECK_HEADER))
		check_front(check, p);
}

unsigned kms_fault_check_zones(struct kms_local *t, const struct kms_span *span, uint8_t *p,
			       struct kms_side *side, const struct kms_frame *frame,
			       uint32_t access)
{
	struct zone_check check = {.t = t, .span = span, .frame = frame, .access = access};
	uint64_t size = kms_side_size(span, side);

	if (!(span->checks & KMS_CHECK_REDZONE) || !zones_broken(span, p, size))
		return 0;
	kms_port_lock(&t->heap->mend_lock);
	/* Its owner frees or resizes a broken block only after it was here. */
	if (access != KMS_ACCESS_CHECK ||
	    (__atomic_load_n(&side->state, __ATOMIC_ACQUIRE) == KMS_BLOCK_LIVE &&
	     kms_side_size(span, side) == size))
		check_zones(&check, p, size);
	kms_port_unlock(&t->heap->mend_lock);
	for (unsigned i = 0; i < check.n; i++)
		fault_act(t, check.fault[i], check.index[i]);
	return check.n;
}

void kms_fault_bad_free(struct kms_local *t, uintptr_t p, uint64_t argument_bytes,
			const struct kms_frame *frame)
{
	struct kms_finding finding = {
		.kind = KMS_FAULT_INVALID_FREE,
		.access = KMS_ACCESS_FREE,
		.address = p,
		.argument_bytes = argument_bytes,
		.frame = frame,
		.argument_cache = KMS_NO_INDEX,
	};
	struct kms_place place;
	struct kms_text text = {0};

	kms_place_find(t->heap, p, &place);
	if ((place.side && place.block == p && place.side->state != KMS_BLOCK_LIVE &&
	     place.side->state != KMS_BLOCK_NEVER) ||
	    (!place.span && kms_heap_gone(t->heap, p)))
		finding.kind = KMS_FAULT_DOUBLE_FREE;
	if (argument_bytes != UINT64_MAX && finding.kind == KMS_FAULT_DOUBLE_FREE) {
		/* What the original finds: the header that the first free filled with ones. */
		kms_text_add(&text, "kmem_free(");
		kms_text_pointer(&text, p);
		kms_text_add(&text, ", ");
		kms_text_number(&text, argument_bytes, 10, 1);
		kms_text_add(&text, ") != allocated size 18446744073709551615");
		finding.text = text.buffer;
	}
	kms_fault_raise(t, &finding);
}

/* NOLINTNEXTLINE(readability-function-size): see fault.h */
void kms_fault_wrong_cache(struct kms_local *t, uintptr_t p, const char *owner, const char *caller,
			   uint32_t caller_cache, const struct kms_frame *frame)
{
	struct kms_finding finding = {
		.kind = KMS_FAULT_WRONG_CACHE,
		.access = KMS_ACCESS_FREE,
		.address = p,
		.frame = frame,
		.argument_cache = caller_cache,
	};
	struct kms_text text = {0};

	kms_text_add(&text, caller);
	kms_text_add(&text, ": item ");
	kms_text_pointer(&text, p);
	kms_text_add(&text, " is not its own: it was allocated from ");
	kms_text_add(&text, owner);
	finding.text = text.buffer;
	kms_fault_raise(t, &finding);
}
