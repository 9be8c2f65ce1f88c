/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/front.h"

#include <stdio.h>
#include <string.h>

#include "allocator/control.h"
#include "allocator/guard.h"
#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/memory.h"
#include "allocator/guest/options.h"
#include "allocator/guest/paging.h"
#include "allocator/guest/symbols.h"
#include "allocator/guest/thread.h"
#include "allocator/guest/unwind.h"
#include "allocator/heap.h"
#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/stop.h"

enum {
	RINGS_PER_CPU = 2, /* a second one for what interrupts the allocator */
	NODES = 1 << 17,
	MODULES = 4,
	STRING_BYTES = 64 << 10,
	FAULTS = KMS_MAX_FAULTS,
	RDRAND = 1 << 30,   /* CPUID leaf 1, ecx */
	BUILD_ID_SKIP = 16, /* note header and the name "GNU" */
	BUILD_ID_BYTES = 20,
	OPTIONS_MAX = 1024,
};

static struct kms_heap the_heap;
static uint32_t the_epoch;
static uint32_t the_tick;
static struct kms_unwind the_unwind;
uint32_t kmem_guard_depth;

extern const uint8_t kms_guest_image_start[];
extern const uint8_t kms_guest_image_end[];
extern const uint8_t kms_guest_build_id[];

struct kms_heap *kms_guest_heap(void)
{
	return &the_heap;
}

static uint64_t random_word(void)
{
	uint32_t eax = 1, ebx, ecx = 0, edx;
	uint64_t value = 0;
	uint8_t good = 0;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	if (ecx & RDRAND)
		__asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(good) : : "cc");
	/* no two boots of an emulator find its counter at the same place */
	return value ^ kms_cpu_tsc() * UINT64_C(0x9e3779b97f4a7c15) ^ kms_clock_wall_ns();
}

static void add_module(struct kms_heap *heap)
{
	uint32_t index;
	struct kms_module *module = kms_table_take_entry(heap, KMS_SEC_MODULE, &index);

	if (!module)
		return;
	module->start = (uintptr_t)kms_guest_image_start;
	module->end = (uintptr_t)kms_guest_image_end;
	module->path_string = heap->region->program_string;
	module->epoch = 1;
	module->slot = heap->slot_index;
	module->build_id_bytes = BUILD_ID_BYTES;
	memcpy(module->build_id, kms_guest_build_id + BUILD_ID_SKIP, BUILD_ID_BYTES);
	__atomic_store_n(&module->ready, 1, __ATOMIC_RELEASE);
}

/* Who this is: all of the header but the magic. */
static void identify(struct kms_heap *heap, const char *options)
{
	struct kms_region_header *r = heap->region;
	size_t symbols_bytes;

	heap->start_mono_ns = kms_clock_ns();
	r->symbols_address = (uintptr_t)kms_symbols_blob(&symbols_bytes);
	r->symbols_bytes = symbols_bytes;
	r->image_id[0] = random_word();
	r->image_id[1] = random_word();
	r->start_mono_ns = heap->start_mono_ns;
	r->start_wall_ns = kms_clock_wall_ns();
	r->target_kind = KMS_TARGET_GUEST;
	r->page_table_root = kms_paging_root();
	r->program_string = kms_string_add(heap, "kmem_guest.elf", OPTIONS_MAX);
	r->command_string = kms_string_add(heap, options, OPTIONS_MAX);
	/* nobody reads yet: drop and count until a heart beats (ring.c, stop.c) */
	r->stalled = 1;
}

static bool make_region(struct kms_heap *heap, const char *options)
{
	struct kms_region_plan plan;
	void *memory;

	kms_region_plan_process(&plan, heap->variable[KMS_VAR_RING_BYTES]);
	plan.rings = RINGS_PER_CPU * kms_cpus.count;
	plan.slots = 1;
	plan.nodes = NODES;
	plan.modules = MODULES;
	plan.threads = KMS_GUEST_MAX_THREADS * 2;
	plan.string_bytes = STRING_BYTES;
	plan.faults = FAULTS;
	plan.fork_cuts = 1;
	memory = kms_memory_row(kms_region_bytes(&plan));
	if (!memory)
		return false;
	kms_region_init(heap, memory, &plan);
	identify(heap, options);
	heap->shared = 1;
	return kms_region_claim_slot(heap, kms_port_pid(), KMS_NO_INDEX);
}

static bool make_stacks(struct kms_heap *heap)
{
	uint64_t nodes = heap->section[KMS_SEC_NODE].entries;
	struct kms_stacks *stacks = kms_port_meta(sizeof(*stacks));
	void *memory = kms_port_meta(kms_stacks_memory_bytes(nodes));

	if (!stacks || !memory)
		return false;
	kms_stacks_init(stacks, heap->region, &the_unwind, memory);
	heap->stacks = stacks;
	return true;
}

void kms_front_take_boot_depth(struct kms_heap *heap)
{
	uint32_t depth = __atomic_load_n(&kmem_guard_depth, __ATOMIC_RELAXED);
	char word[48];

	if (!depth)
		return;
	(void)snprintf(word, sizeof(word), "kmem_guard_depth=%u", depth); /* fits */
	kms_options_set_variables(heap, word);
}

static bool heap_start(struct kms_heap *heap, const char *options)
{
	heap->epoch = &the_epoch;
	the_epoch = heap->last_epoch = 1;
	heap->tick = &the_tick;
	heap->first_beat_ns = UINT64_MAX;
	heap->stops_itself = true;
	kms_control_defaults(heap);
	kms_options_set_variables(heap, options);
	kms_front_take_boot_depth(heap);
	if (!make_region(heap, options) || !kms_heap_init(heap) || !make_stacks(heap))
		return false;
	add_module(heap);
	kms_guard_configure(heap);
	kms_control_publish(heap); /* with the depth that is in effect */
	__atomic_store_n(&heap->slot->state, KMS_SLOT_LIVE, __ATOMIC_RELEASE);
	kms_region_publish(heap);
	heap->ready = 1;
	return true;
}

void kmem_init(const char *options)
{
	if (!heap_start(&the_heap, options))
		kms_guest_die("no memory for the heap");
	kms_front_cpu_start();
}

void kms_front_cpu_start(void)
{
	uint64_t flags = kms_irq_save();
	struct kms_cpu *cpu = kms_cpu_this();
	struct kms_local *t = kms_local_get(&the_heap, KMS_LOCAL_USED);

	cpu->nested = kms_local_get(&the_heap, KMS_LOCAL_NESTED);
	if (t && cpu->nested) {
		cpu->thread->memory = t->stack;
		cpu->thread->thread_index = t->thread_index;
		cpu->local = t;
	} else {
		kms_guest_die("no memory for a CPU's part of the heap");
	}
	kms_irq_restore(flags);
}

static void emit_context(struct kms_local *t)
{
	const uint64_t numbers[5] = {t->thread_index, t->level};

	if (!t->trace)
		return;
	kms_enter(t);
	kms_ring_emit_code(t, KMS_REC_CONTEXT, 2, numbers);
	kms_leave(t);
}

/* The one for calls that interrupt the allocator: they are of the same thread and level. */
static struct kms_local *nested(const struct kms_cpu *cpu)
{
	const struct kms_local *t = cpu->local;
	struct kms_local *n = cpu->nested;
	bool same = n->level == t->level && n->thread_index == t->thread_index;

	if (n->busy)
		return NULL;
	n->level = t->level;
	n->tid = t->tid;
	n->thread_index = t->thread_index;
	if (!same)
		emit_context(n);
	return n;
}

struct kms_local *kms_front_enter(void)
{
	uint64_t flags = kms_irq_save();
	struct kms_cpu *cpu = kms_cpu_this();
	struct kms_local *t = cpu->local;

	if (t && t->busy)
		t = nested(cpu);
	if (!t) {
		kms_irq_restore(flags);
		return NULL;
	}
	if (KMS_UNLIKELY(kms_gate(t)))
		kms_local_look(t, NULL);
	cpu->front_flags[t->state == KMS_LOCAL_NESTED] = flags;
	kms_enter(t);
	return t;
}

void kms_front_leave(struct kms_local *t)
{
	uint64_t flags = kms_cpu_this()->front_flags[t->state == KMS_LOCAL_NESTED];

	kms_leave(t);
	kms_irq_restore(flags);
}

bool kms_front_thread(struct kms_thread_context *thread)
{
	struct kms_heap *heap = &the_heap;
	struct kms_thread *entry =
		kms_table_take_entry(heap, KMS_SEC_THREAD, &thread->thread_index);

	thread->memory = kms_port_meta(sizeof(*thread->memory));
	if (!thread->memory)
		return false;
	kms_stack_init(thread->memory, heap->stacks);
	if (!entry)
		return true; /* a thread without a name */
	entry->slot = heap->slot_index;
	entry->tid = thread->tid;
	memcpy(entry->name, thread->name, sizeof(entry->name));
	__atomic_store_n(&entry->ready, 1, __ATOMIC_RELEASE);
	return true;
}

void kms_front_switched(struct kms_cpu *cpu, struct kms_thread_context *from)
{
	const struct kms_thread_context *to = cpu->thread;
	struct kms_local *t = cpu->local;

	from->level = t->level;
	from->locks_held = t->locks_held;
	from->suspended = t->suspended;
	t->level = to->level;
	t->locks_held = to->locks_held;
	t->suspended = to->suspended;
	t->stack = to->memory;
	t->tid = to->tid;
	t->thread_index = to->thread_index;
	emit_context(t);
}

void kms_front_tick(struct kms_cpu *cpu)
{
	if (cpu->index == 0)
		__atomic_add_fetch(&the_tick, 1, __ATOMIC_RELAXED);
	if (cpu->local && !cpu->local->busy && kms_gate(cpu->local))
		kms_local_look(cpu->local, NULL);
}

void kms_front_break(uint32_t state)
{
	struct kms_local *t = kms_front_enter();
	struct kms_heap *heap = &the_heap;
	uint32_t stalled = heap->region->stalled;

	if (!t)
		return;
	kms_console_write(state == KMS_STOP_START ? "db> waiting for a host, or for 'c' to go on\n"
						  : "db> break\n");
	/* whether or not anybody is there yet: the serial line can let us go on */
	heap->region->stalled = 0;
	(void)kms_stop_stand(t, state, 0);
	if (stalled && !heap->tracer->heartbeat.v)
		heap->region->stalled = 1;
	kms_front_leave(t);
}

void kms_front_listen(void)
{
	struct kms_heap *heap = &the_heap;
	int c;

	if (!heap->ready || !__atomic_load_n(&heap->standing, __ATOMIC_RELAXED) ||
	    !kms_stop_is_mine(kms_cpu_this()->local))
		return;
	while ((c = kms_console_read()) >= 0) {
		if (c == 'c')
			__atomic_store_n(&heap->go_on, 1, __ATOMIC_RELAXED);
	}
}
