/* SPDX-License-Identifier: BSD-2-Clause */
/* Which block an address of the guard's reservation belongs to, and what a trap there means. */
#include "allocator/guard_impl.h"
#include "allocator/heap.h"
#include "allocator/port.h"
#include "allocator/region.h"

enum {
	LIVE_RETRIES = 8, /* traps inside of a live block, before they are somebody else's */
	FAULT_PENDING = UINT32_MAX,
};

/** A trapped address explained. */
struct verdict {
	struct kms_guard_slot *page_slot; /* the slot whose page trapped */
	struct kms_guard_slot *slot;      /* the slot of the block at fault */
	uintptr_t block;
	uint8_t kind; /* enum kms_fault_kind; NONE: nothing is wrong */
	uint8_t generation;
};

static bool has_owner(const struct kms_guard_slot *slot)
{
	return __atomic_load_n(&slot->side->state, __ATOMIC_ACQUIRE) != KMS_BLOCK_NEVER;
}

/* Bytes between an address and the block of a slot; 0 inside. */
static uintptr_t distance(const struct kms_guard_slot *slot, uintptr_t address)
{
	uint64_t size = slot->side->size_bytes;
	uintptr_t block = kms_guard_block(slot, size);

	if (address < block)
		return block - address;
	return address < block + size ? 0 : address - (block + size) + 1;
}

/* The nearer of two slots with an owner; the earlier one if they are as near. */
static struct kms_guard_slot *nearer(struct kms_guard_slot *a, struct kms_guard_slot *b,
				     uintptr_t address)
{
	if (!a || !has_owner(a))
		return b && has_owner(b) ? b : NULL;
	if (!b || !has_owner(b))
		return a;
	return distance(a, address) <= distance(b, address) ? a : b;
}

/* The block that an address most likely was meant for. */
static struct kms_guard_slot *culprit(const struct kms_guard *g, struct kms_guard_slot *slot,
				      uintptr_t address)
{
	if (address >= slot->data_end)
		return nearer(slot, kms_guard_slot_after(g, slot), address);
	return nearer(kms_guard_slot_before(g, slot), slot, address);
}

bool kms_guard_place(const struct kms_heap *heap, uintptr_t p, struct kms_place *place)
{
	const struct kms_guard *g = __atomic_load_n(&heap->guard, __ATOMIC_ACQUIRE);
	struct kms_guard_slot *slot;

	if (!g || p - g->base >= g->bytes)
		return false;
	slot = kms_guard_slot_of(g, p);
	if (!slot)
		return true;
	place->span = slot->run->span;
	place->index = kms_guard_slot_index(slot);
	if (!has_owner(slot))
		return true;
	place->side = slot->side;
	place->block_bytes = place->side->size_bytes;
	place->block = kms_guard_block(slot, place->block_bytes);
	place->live = place->side->state == KMS_BLOCK_LIVE;
	return true;
}

bool kms_guard_readable(const struct kms_heap *heap, uintptr_t p, uintptr_t *start, uintptr_t *end)
{
	const struct kms_guard *g = heap->guard;
	struct kms_guard_slot *slot = g ? kms_guard_slot_of(g, p) : NULL;
	const struct kms_side *side = slot ? slot->side : NULL;

	if (!side || __atomic_load_n(&side->state, __ATOMIC_ACQUIRE) != KMS_BLOCK_LIVE)
		return false;
	*start = kms_guard_open_start(slot, kms_guard_block(slot, side->size_bytes));
	*end = slot->data_end;
	return p >= *start && p < *end;
}

static bool judge(const struct kms_guard *g, uintptr_t address, struct verdict *v)
{
	const struct kms_side *side;
	uint64_t size;

	v->page_slot = kms_guard_slot_of(g, address);
	v->slot = v->page_slot ? culprit(g, v->page_slot, address) : NULL;
	if (!v->slot)
		return false;
	side = v->slot->side;
	size = side->size_bytes;
	v->block = kms_guard_block(v->slot, size);
	v->generation = side->generation;
	if (side->state != KMS_BLOCK_LIVE)
		v->kind = KMS_FAULT_USE_AFTER_FREE;
	else if (address >= v->block + size)
		v->kind = KMS_FAULT_OVERFLOW;
	else if (address < v->block)
		v->kind = KMS_FAULT_UNDERFLOW;
	else
		v->kind = KMS_FAULT_NONE;
	return true;
}

/* Is this page one that the slot's owner opens, or has opened? Needs the lock. */
static bool owner_opens(const struct kms_guard_slot *slot, uintptr_t address)
{
	const struct kms_side *side = slot->side;

	if (slot->where != KMS_GUARD_OWNED || address >= slot->data_end)
		return false;
	if (side->state == KMS_BLOCK_LIVE)
		return address >=
		       kms_guard_open_start(slot, kms_guard_block(slot, side->size_bytes));
	/* On its way to the next owner; a block being freed is closed for good. */
	return side->state != KMS_BLOCK_QUARANTINE && side->state != KMS_BLOCK_SPENT;
}

/*
 * A page that should be open: it was closed when the access began, or the program gave its memory
 * back (madvise). Or the program itself made it inaccessible; then it is not ours. Needs the lock.
 */
static bool reopen(struct kms_guard *g, const struct verdict *v, uintptr_t page)
{
	struct kms_guard_slot *slot = v->page_slot;
	int result = 0;

	if (slot->side->state == KMS_BLOCK_LIVE && g->ops->missing_traps)
		result = g->ops->open((void *)page, KMS_PAGE_BYTES);
	if (result == KMS_GUARD_WAS_CLOSED)
		return true;
	if (slot->retries == LIVE_RETRIES)
		return false;
	slot->retries++;
	return result >= 0;
}

/* Lets the access go on, into a page of poison. Needs the lock. */
static bool open_poisoned(struct kms_guard *g, const struct verdict *v, uintptr_t page)
{
	uint8_t state = KMS_BLOCK_QUARANTINE;

	if (owner_opens(v->page_slot, page))
		return true;
	if (g->ops->open((void *)page, KMS_PAGE_BYTES) < 0)
		return false;
	v->page_slot->dirty = 1;
	kms_pattern_fill((void *)page, KMS_PAGE_BYTES);
	(void)__atomic_compare_exchange_n(&v->slot->side->state, &state, KMS_BLOCK_SPENT, false,
					  __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return true;
}

static void count_hit(struct kms_heap *heap, const struct kms_guard_slot *slot)
{
	struct kms_fault *fault = kms_section_base(heap, KMS_SEC_FAULT);

	if (slot->fault != FAULT_PENDING)
		__atomic_add_fetch(&fault[slot->fault - 1].hits, 1, __ATOMIC_RELAXED);
}

static uint32_t raise(struct kms_local *t, const struct verdict *v, uintptr_t address, bool write,
		      uint32_t stack)
{
	const struct kms_finding finding = {
		.kind = v->kind,
		.access = write ? KMS_ACCESS_WRITE : KMS_ACCESS_READ,
		.address = address,
		.block = v->block,
		.stack = stack,
		.argument_cache = KMS_NO_INDEX,
	};
	uint32_t index = kms_fault_raise(t, &finding);

	return index == KMS_NO_INDEX ? FAULT_PENDING : index + 1;
}

/* What can be settled without a new finding. True: @resume is the answer. Needs the lock. */
static bool settled(struct kms_heap *heap, struct kms_guard *g, struct verdict *v,
		    uintptr_t address, bool *resume)
{
	uintptr_t page = address & ~(uintptr_t)(KMS_PAGE_BYTES - 1);

	*resume = false;
	if (!judge(g, address, v))
		return true;
	if (v->kind == KMS_FAULT_NONE || owner_opens(v->page_slot, address)) {
		*resume = reopen(g, v, page);
		return true;
	}
	if (v->slot->fault && v->slot->fault_kind == v->kind) {
		count_hit(heap, v->slot);
		*resume = open_poisoned(g, v, page);
		return true;
	}
	v->slot->fault = FAULT_PENDING;
	v->slot->fault_kind = v->kind;
	return false;
}

bool kms_guard_trap(struct kms_local *t, uintptr_t address, bool write, uint32_t stack)
{
	struct kms_guard *g = t->heap->guard;
	uintptr_t page = address & ~(uintptr_t)(KMS_PAGE_BYTES - 1);
	struct verdict v;
	uint32_t fault;
	bool resume;

	if (!kms_guard_owns(t->heap, address) || !kms_local_lock(t, &g->lock))
		return false;
	if (settled(t->heap, g, &v, address, &resume)) {
		kms_port_unlock(&g->lock);
		return resume;
	}
	kms_port_unlock(&g->lock);
	fault = raise(t, &v, address, write, stack);
	if (!kms_local_lock(t, &g->lock))
		return false;
	if (v.slot->side->generation == v.generation)
		v.slot->fault = fault;
	resume = open_poisoned(g, &v, page);
	kms_port_unlock(&g->lock);
	return resume;
}
