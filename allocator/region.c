/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/region.h"

#include "allocator/append.h"
#include "allocator/port.h"
#include "allocator/ring.h"

struct section_size {
	enum kms_section_kind kind;
	uint32_t entry_bytes;
	uint64_t entries;
};

enum {
	SECTIONS = 14,
	SLOTS_STEP = 32, /* slots that get memory at a time */
	SLOT_SLICE_NS = 2 * 1000 * 1000,
	SLOT_STALL_NS = 500 * 1000 * 1000, /* without a sign of life of the tracer */
	SLOT_WAIT_NS = 2 * 1000 * 1000 * 1000,
};

static void section_sizes(const struct kms_region_plan *plan, struct section_size out[SECTIONS])
{
	const struct section_size sizes[SECTIONS] = {
  /* The tracer's page and positions are counted in pairs. */
		{KMS_SEC_TRACER,     sizeof(struct kms_pair),
		 KMS_PAGE_BYTES / sizeof(struct kms_pair) + plan->rings                    },
		{KMS_SEC_REQUEST,    sizeof(struct kms_request),     plan->slots           },
		{KMS_SEC_SLOT,       sizeof(struct kms_slot),        plan->slots           },
		{KMS_SEC_RING_DESC,  sizeof(struct kms_ring_desc),   plan->rings           },
		{KMS_SEC_CACHE,      sizeof(struct kms_cache_entry), KMS_MAX_CACHES        },
		{KMS_SEC_CACHE_STAT, sizeof(struct kms_cache_stat),
		 (uint64_t)plan->slots * KMS_MAX_CACHES                                    },
		{KMS_SEC_COUNTER,    sizeof(struct kms_counter),
		 (uint64_t)(plan->rings + plan->slots) * KMS_MAX_CACHES                    },
		{KMS_SEC_MODULE,     sizeof(struct kms_module),      plan->modules         },
		{KMS_SEC_THREAD,     sizeof(struct kms_thread),      plan->threads         },
		{KMS_SEC_STRING,     sizeof(struct kms_string_head), plan->string_bytes / 8},
		{KMS_SEC_FAULT,      sizeof(struct kms_fault),       plan->faults          },
		{KMS_SEC_FORK_CUT,   sizeof(struct kms_fork_cut),    plan->fork_cuts       },
		{KMS_SEC_NODE,       sizeof(struct kms_node),        plan->nodes           },
		{KMS_SEC_RING,       sizeof(struct kms_block),
		 (uint64_t)plan->rings * plan->blocks_per_ring                             },
	};

	__builtin_memcpy(out, sizes, sizeof(sizes));
}

static uint64_t round_page(uint64_t bytes)
{
	return (bytes + KMS_PAGE_BYTES - 1) & ~(uint64_t)(KMS_PAGE_BYTES - 1);
}

void kms_region_plan_process(struct kms_region_plan *plan, uint64_t ring_bytes)
{
	uint32_t blocks = 4;

	while ((uint64_t)blocks * 2 * KMS_PAGE_BYTES <= ring_bytes)
		blocks *= 2;
	*plan = (struct kms_region_plan){
		.rings = KMS_MAX_RINGS,
		.blocks_per_ring = blocks,
		.slots = KMS_MAX_SLOTS,
		.nodes = 1 << 20,
		.modules = KMS_MAX_MODULES,
		.threads = KMS_MAX_THREADS,
		.string_bytes = KMS_MAX_STRING_BYTES,
		.faults = KMS_MAX_FAULTS,
		.fork_cuts = KMS_MAX_FORK_CUTS,
	};
	/* All rings together stay at 256 MiB (DESIGN 6). */
	while (plan->rings > 16 && (uint64_t)plan->rings * blocks * KMS_PAGE_BYTES > 256u << 20)
		plan->rings /= 2;
}

uint64_t kms_region_bytes(const struct kms_region_plan *plan)
{
	struct section_size sizes[SECTIONS];
	uint64_t total = KMS_PAGE_BYTES;

	section_sizes(plan, sizes);
	for (unsigned i = 0; i < SECTIONS; i++)
		total += round_page(sizes[i].entries * sizes[i].entry_bytes);
	return total;
}

uint64_t kms_region_unread_bytes(const struct kms_region_plan *plan)
{
	return kms_region_bytes(plan) -
	       (uint64_t)plan->rings * plan->blocks_per_ring * sizeof(struct kms_block);
}

void kms_region_init(struct kms_heap *heap, void *memory, const struct kms_region_plan *plan)
{
	struct kms_region_header *r = memory;
	struct section_size sizes[SECTIONS];
	uint64_t offset = KMS_PAGE_BYTES;

	section_sizes(plan, sizes);
	r->version = KMS_REGION_VERSION;
	r->header_bytes = sizeof(*r);
	r->region_bytes = kms_region_bytes(plan);
	r->self_address = (uintptr_t)memory;
	r->word_bytes = sizeof(void *);
	r->blocks_per_ring = plan->blocks_per_ring;
	r->rings = plan->rings;
	r->slots = plan->slots;
	r->sections = SECTIONS;
	for (unsigned i = 0; i < SECTIONS; i++) {
		struct kms_section *s = &r->section[i];

		s->kind = sizes[i].kind;
		s->entry_bytes = sizes[i].entry_bytes;
		s->offset = offset;
		s->entries = sizes[i].entries;
		/* Index 0 of the stack trie is the empty stack, of the strings "unknown". */
		s->used = s->kind == KMS_SEC_NODE || s->kind == KMS_SEC_STRING;
		heap->section[s->kind] = *s;
		offset += round_page(s->entries * s->entry_bytes);
	}
	heap->region = r;
	heap->tracer = kms_section_base(heap, KMS_SEC_TRACER);
	heap->position = (const struct kms_pair *)(heap->tracer + 1);
}

void kms_region_publish(struct kms_heap *heap)
{
	heap->region->arena_base = heap->arena.base;
	heap->region->arena_bytes = heap->arena.bytes;
	/* pairs with the tracer's acquire load of magic: the header before it is complete */
	__atomic_store_n(&heap->region->magic, KMS_REGION_MAGIC, __ATOMIC_RELEASE);
}

bool kms_region_back_entries(struct kms_heap *heap, enum kms_section_kind kind, uint64_t first,
			     uint64_t count)
{
	const struct kms_section *s = &heap->section[kind];
	uint64_t begin = first * s->entry_bytes & ~(uint64_t)(KMS_PAGE_BYTES - 1);
	uint64_t end = round_page((first + count) * s->entry_bytes);

	if (!heap->backs ||
	    kms_port_populate((uint8_t *)heap->region + s->offset + begin, end - begin) == 0)
		return true;
	__atomic_add_fetch(&heap->region->no_memory, 1, __ATOMIC_RELAXED);
	return false;
}

/* Memory for slot @index, and for those behind it that a reader may look at. */
static bool slots_back(struct kms_heap *heap, uint32_t index)
{
	uint32_t backed = __atomic_load_n(&heap->backed_slots, __ATOMIC_RELAXED);
	uint32_t n_slots = heap->region->slots;
	uint32_t count = SLOTS_STEP;

	if (!heap->backs || backed >= n_slots || index + KMS_SLOTS_AHEAD < backed)
		return true;
	if (count > n_slots - backed)
		count = n_slots - backed;
	if (!kms_region_back_entries(heap, KMS_SEC_SLOT, backed, count))
		return false;
	/* Two may both do this: as with the tables, whoever stores less makes it done twice. */
	__atomic_store_n(&heap->backed_slots, backed + count, __ATOMIC_RELAXED);
	return true;
}

/* Memory for what belongs to a slot. */
static bool slot_back(struct kms_heap *heap, uint32_t index)
{
	return kms_region_back_entries(heap, KMS_SEC_REQUEST, index, 1) &&
	       kms_region_back_entries(heap, KMS_SEC_CACHE_STAT, (uint64_t)index * KMS_MAX_CACHES,
				       KMS_MAX_CACHES) &&
	       kms_region_back_entries(heap, KMS_SEC_COUNTER,
				       ((uint64_t)heap->region->rings + index) * KMS_MAX_CACHES,
				       KMS_MAX_CACHES);
}

bool kms_region_back(struct kms_heap *heap)
{
	static const enum kms_section_kind whole[] = {KMS_SEC_TRACER, KMS_SEC_RING_DESC,
						      KMS_SEC_CACHE};

	/* entry 0 is taken already */
	static const enum kms_section_kind begun[] = {KMS_SEC_NODE, KMS_SEC_STRING};

	bool backed = true;

	heap->backs = true;
	heap->backed_slots = 0;
	for (unsigned i = 0; backed && i < sizeof(whole) / sizeof(whole[0]); i++) {
		const struct kms_section *s = &heap->section[whole[i]];

		backed = kms_region_back_entries(heap, whole[i], 0, s->entries);
		heap->backed_bytes[whole[i]] = s->entries * s->entry_bytes;
	}
	for (unsigned i = 0; backed && i < sizeof(begun) / sizeof(begun[0]); i++)
		backed = kms_region_back_entries(heap, begun[i], 0, 1);
	backed = backed && slots_back(heap, 0) && slot_back(heap, 0);
	heap->backs = backed;
	return backed;
}

/* Has the tracer taken over everything that the rings of this slot hold? */
static bool slot_drained(const struct kms_heap *heap, uint32_t index)
{
	const struct kms_ring_desc *desc = kms_section_base(heap, KMS_SEC_RING_DESC);

	for (uint32_t i = 0; i < heap->region->rings; i++) {
		uint32_t state = __atomic_load_n(&desc[i].state, __ATOMIC_ACQUIRE);

		if (state != KMS_RING_FREE && desc[i].slot == index && !kms_ring_drained(heap, i))
			return false;
	}
	return true;
}

/*
 * As with rings: between the look and the exchange the slot may have been another process's, which
 * left it in the same state, or lives in it.
 */
static bool slot_take(const struct kms_heap *heap, struct kms_slot *slot, uint32_t index,
		      bool recycle)
{
	uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
	uint32_t pid = __atomic_load_n(&slot->pid, __ATOMIC_RELAXED);
	uint32_t claimed = KMS_SLOT_CLAIMED;

	if (recycle) {
		if (state == KMS_SLOT_CLAIMED || kms_port_process_alive(pid) ||
		    !slot_drained(heap, index))
			return false;
	} else if (state != KMS_SLOT_FREE) {
		return false;
	}
	if (!__atomic_compare_exchange_n(&slot->state, &state, KMS_SLOT_CLAIMED, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	if (!recycle || (slot->pid == pid && slot_drained(heap, index)))
		return true;
	(void)__atomic_compare_exchange_n(&slot->state, &claimed, state, false, __ATOMIC_RELEASE,
					  __ATOMIC_RELAXED);
	return false;
}

/* What the request page says of the slot's former process is not asked of us. */
static void requests_begin(struct kms_heap *heap)
{
	const struct kms_request *r = heap->request;

	heap->acked_seq = r->seq.v == ~r->seq.not_v ? r->seq.v : 0;
	heap->slot->acked_seq = heap->acked_seq;
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		heap->was_requested[i] = r->item[i].v == ~r->item[i].not_v;
		heap->requested[i] = r->item[i].v;
	}
}

static void slot_begin(struct kms_heap *heap, uint32_t index, uint32_t pid, uint32_t parent_slot)
{
	struct kms_slot *slot = (struct kms_slot *)kms_section_base(heap, KMS_SEC_SLOT) + index;
	const struct kms_request *requests = kms_section_base(heap, KMS_SEC_REQUEST);
	uint32_t claims = slot->claims + 1;

	__builtin_memset((uint8_t *)slot + offsetof(struct kms_slot, pid), 0,
			 sizeof(*slot) - offsetof(struct kms_slot, pid));
	slot->claims = claims;
	slot->pid = pid;
	slot->parent_slot = parent_slot;
	slot->claim_ns = kms_port_now_ns() - heap->start_mono_ns;
	slot->span_table_address = (uintptr_t)heap->arena.span;
	slot->span_table_entries = heap->arena.span_limit;
	heap->slot = slot;
	heap->slot_index = index;
	heap->request = &requests[index];
	requests_begin(heap);
}

static bool claim_slot(struct kms_heap *heap, uint32_t pid, uint32_t parent_slot)
{
	struct kms_slot *slots = kms_section_base(heap, KMS_SEC_SLOT);
	const uint32_t n_slots = heap->region->slots;
	uint32_t n_usable = n_slots;

	/* First a fresh one, else one whose process is gone. */
	for (uint32_t n = 0; n < 2 * n_slots; n++) {
		/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): n is less than twice as many */
		uint32_t i = n % n_slots;

		if (i < n_usable && !slots_back(heap, i))
			n_usable = i;
		if (i >= n_usable || !slot_take(heap, &slots[i], i, n >= n_slots))
			continue;
		/* one that somebody had before has its memory */
		if (slots[i].claims || slot_back(heap, i)) {
			slot_begin(heap, i, pid, parent_slot);
			return true;
		}
		__atomic_store_n(&slots[i].state, KMS_SLOT_FREE, __ATOMIC_RELEASE);
		n_usable = i;
	}
	return false;
}

/* Is there a slot that its process has left, and the tracer not yet? */
static bool slot_will_be_free(const struct kms_heap *heap)
{
	const struct kms_slot *slots = kms_section_base(heap, KMS_SEC_SLOT);
	uint32_t n_slots = heap->backs ? __atomic_load_n(&heap->backed_slots, __ATOMIC_RELAXED)
				       : heap->region->slots;

	for (uint32_t i = 0; i < n_slots; i++) {
		uint32_t state = __atomic_load_n(&slots[i].state, __ATOMIC_ACQUIRE);

		if (state == KMS_SLOT_EXITED ||
		    (state == KMS_SLOT_LIVE && !kms_port_process_alive(slots[i].pid)))
			return true;
	}
	return false;
}

/*
 * A program that forks faster than the tracer reads would leave most of its children untraced, each
 * of which is gone in a moment; so in wait mode a child waits, too, as long as the tracer lives.
 */
bool kms_region_claim_slot(struct kms_heap *heap, uint32_t pid, uint32_t parent_slot)
{
	uint64_t begin = kms_port_now_ns(), now = begin, moved = begin;
	uint64_t beat = heap->tracer->heartbeat.v;
	bool claimed = claim_slot(heap, pid, parent_slot);

	while (!claimed && kms_variable(heap, KMS_VAR_ON_FULL) && now - begin < SLOT_WAIT_NS &&
	       now - moved < SLOT_STALL_NS && slot_will_be_free(heap)) {
		uint32_t wake = __atomic_load_n(&heap->tracer->wake, __ATOMIC_ACQUIRE);

		kms_port_wait(&heap->tracer->wake, wake, SLOT_SLICE_NS);
		now = kms_port_now_ns();
		if (heap->tracer->heartbeat.v != beat) {
			beat = heap->tracer->heartbeat.v;
			moved = now;
		}
		claimed = claim_slot(heap, pid, parent_slot);
	}
	return claimed;
}

void kms_region_exit_slot(struct kms_heap *heap)
{
	if (heap->slot)
		__atomic_store_n(&heap->slot->state, KMS_SLOT_EXITED, __ATOMIC_RELEASE);
}

/*
 * How far a table has memory is known to each process by itself, for the region that it began with;
 * later ones have all of theirs from the start.
 */
static void table_open(const struct kms_heap *heap, struct kms_region_header *region,
		       enum kms_section_kind kind, struct kms_append *table)
{
	kms_append_open(table, region, kind);
	if (!table->entries)
		return;
	/* our own copy: the header's may have been written over */
	table->base = (uint8_t *)region + heap->section[kind].offset;
	table->entries = heap->section[kind].entries;
	table->entry_bytes = heap->section[kind].entry_bytes;
	table->backed_bytes = heap->backs
				      ? __atomic_load_n(&heap->backed_bytes[kind], __ATOMIC_RELAXED)
				      : UINT64_MAX;
}

static void table_close(struct kms_heap *heap, enum kms_section_kind kind,
			const struct kms_append *table)
{
	if (heap->backs)
		__atomic_store_n(&heap->backed_bytes[kind], table->backed_bytes, __ATOMIC_RELAXED);
}

static uint32_t take(struct kms_heap *heap, struct kms_region_header *region,
		     enum kms_section_kind kind, uint32_t count)
{
	struct kms_append table;
	uint32_t index;

	table_open(heap, region, kind, &table);
	index = kms_append_take(&table, count);
	table_close(heap, kind, &table);
	return index;
}

uint32_t kms_table_take(struct kms_heap *heap, enum kms_section_kind kind, uint32_t count)
{
	return take(heap, heap->region, kind, count);
}

void *kms_table_take_entry(struct kms_heap *heap, enum kms_section_kind kind, uint32_t *index)
{
	struct kms_region_header *region = __atomic_load_n(&heap->region, __ATOMIC_ACQUIRE);
	const struct kms_section *section = &heap->section[kind];

	*index = take(heap, region, kind, 1);
	return *index == KMS_NO_INDEX ? NULL
				      : (uint8_t *)region + section->offset +
						(uint64_t)*index * section->entry_bytes;
}

uint32_t kms_string_add(struct kms_heap *heap, const char *text, size_t max_bytes)
{
	struct kms_append table;
	uint32_t index;

	table_open(heap, heap->region, KMS_SEC_STRING, &table);
	index = kms_append_string(&table, text, max_bytes);
	table_close(heap, KMS_SEC_STRING, &table);
	return index;
}
