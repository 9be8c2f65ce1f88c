/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot: memory, traps, clock, the other CPUs, the heap, and then the workload. */
#include "allocator/guest/main.h"

#include <string.h>

#include "allocator/guest/apic.h"
#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/front.h"
#include "allocator/guest/memory.h"
#include "allocator/guest/options.h"
#include "allocator/guest/paging.h"
#include "allocator/guest/thread.h"
#include "allocator/guest/trap.h"
#include "allocator/guest/workload.h"

#define START_MAGIC UINT32_C(0x336ec578)

enum {
	OPTIONS_BYTES = 1024,
	MAP_ENTRIES = 64,
	MAP_RAM = 1,
	LOW_END = 1 << 20,
	FW_CFG_SELECT = 0x510,
	FW_CFG_DATA = 0x511,
	FW_CFG_SIGNATURE = 0,
	FW_CFG_CPUS = 5,
	ONLINE_NS = 200 * 1000 * 1000,
};

/** What the loader leaves: struct hvm_start_info of the PVH boot protocol, version 1. */
struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t modules_address, options, rsdp, map;
	uint32_t map_entries, reserved;
};

struct map_entry {
	uint64_t address, bytes;
	uint32_t type, reserved;
};

uint32_t kms_guest_start_info; /* physical; boot.S */
uint64_t *kms_guest_cpu_stack;
uint32_t kms_guest_cpus_wanted;

extern const uint8_t kms_guest_trampoline[];
extern const uint8_t kms_guest_trampoline_end[];
extern const uint8_t kms_guest_image_end[];

static char options[OPTIONS_BYTES];
static uint64_t cpu_stack[KMS_GUEST_MAX_CPUS];
static uint32_t go; /* the other CPUs may come in */

const char *kms_guest_options(void)
{
	return options;
}

static void read_start_info(void)
{
	const struct start_info *info = kms_direct(kms_guest_start_info);
	const struct map_entry *map;
	const char *text;

	if (!kms_guest_start_info || info->magic != START_MAGIC)
		kms_guest_die("not booted by the PVH protocol");
	text = info->options ? kms_direct(info->options) : "";
	memcpy(options, text, strnlen(text, sizeof(options) - 1));
	if (info->version < 1 || !info->map)
		kms_guest_die("the loader gave no memory map");
	map = kms_direct(info->map);
	for (uint32_t i = 0; i < info->map_entries && i < MAP_ENTRIES; i++) {
		uint64_t start = map[i].address, end = start + map[i].bytes;

		if (map[i].type != MAP_RAM || end <= LOW_END)
			continue;
		if (start < kms_physical(kms_guest_image_end))
			start = kms_physical(kms_guest_image_end);
		kms_memory_add(start, end);
	}
}

static uint8_t fw_cfg(uint16_t item)
{
	kms_out16(FW_CFG_SELECT, item);
	return kms_in8(FW_CFG_DATA);
}

/* As the emulator says it: to wait for CPUs that are not there would take longer than the boot. */
static uint32_t count_cpus(void)
{
	uint32_t count = 1;

	if (fw_cfg(FW_CFG_SIGNATURE) == 'Q' && kms_in8(FW_CFG_DATA) == 'E')
		count = fw_cfg(FW_CFG_CPUS);
	if (count < 1)
		count = 1;
	return count < KMS_GUEST_MAX_CPUS ? count : KMS_GUEST_MAX_CPUS;
}

static void start_cpus(uint64_t apic_hz)
{
	uint32_t wanted = count_cpus();
	uint64_t until_ns;

	kms_cpus.count = 1;
	kms_cpus.cpu[0].online = 1;
	if (wanted == 1)
		return;
	for (uint32_t i = 1; i < wanted; i++) {
		uint8_t *stack = kms_memory_row(KMS_GUEST_STACK_BYTES);

		if (!stack)
			kms_guest_die("no memory for a CPU's stack");
		cpu_stack[i - 1] = (uintptr_t)stack + KMS_GUEST_STACK_BYTES;
		kms_cpus.cpu[i].last_tick_ns = apic_hz; /* until it has a timer */
	}
	kms_guest_cpu_stack = cpu_stack;
	kms_guest_cpus_wanted = wanted;
	memcpy(kms_direct(KMS_GUEST_TRAMPOLINE), kms_guest_trampoline,
	       (uintptr_t)kms_guest_trampoline_end - (uintptr_t)kms_guest_trampoline);
	kms_apic_start_others();
	until_ns = kms_clock_ns() + ONLINE_NS;
	for (uint32_t i = 1; i < wanted; i++) {
		while (!__atomic_load_n(&kms_cpus.cpu[i].online, __ATOMIC_ACQUIRE) &&
		       kms_clock_ns() < until_ns)
			kms_cpu_pause();
		if (kms_cpus.cpu[i].online)
			kms_cpus.count = i + 1;
	}
	if (kms_cpus.count < wanted)
		kms_console_printf("only %u of %u CPUs came up\n", kms_cpus.count, wanted);
}

/* Every CPU runs the same from here on: idle, with a timer. */
static _Noreturn void run(uint64_t apic_hz)
{
	kms_cpu_this()->last_tick_ns = 0;
	kms_apic_timer_start(apic_hz);
	kms_thread_idle();
}

_Noreturn void kms_guest_cpu_main(uint32_t index)
{
	struct kms_cpu *cpu = &kms_cpus.cpu[index];
	uint64_t apic_hz = cpu->last_tick_ns;

	kms_cpu_init(index);
	kms_apic_init();
	cpu->apic_id = kms_apic_id();
	kms_thread_adopt("idle", cpu_stack[index - 1]);
	__atomic_store_n(&cpu->online, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE)) {
		kms_cpu_poll();
		kms_cpu_pause();
	}
	kms_cpu_flush();
	kms_front_cpu_start();
	run(apic_hz);
}

extern uint8_t kms_guest_boot_stack_end[];

_Noreturn void kms_guest_main(void)
{
	uint64_t apic_hz;

	kms_console_init();
	kms_trap_init();
	kms_cpu_init(0);
	kms_thread_adopt("idle", (uintptr_t)kms_guest_boot_stack_end);
	read_start_info();
	kms_paging_init();
	kms_apic_init();
	kms_cpu_this()->apic_id = kms_apic_id();
	apic_hz = kms_clock_start();
	start_cpus(apic_hz);
	kms_paging_drop_low();
	kmem_init(options);
	__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
	kms_console_printf("kmem_guest: %u CPU%s, %llu MiB, region at 0x%llx\n", kms_cpus.count,
			   kms_cpus.count > 1 ? "s" : "",
			   (unsigned long long)(kms_memory_bytes() >> 20),
			   (unsigned long long)kms_physical(kms_guest_heap()->region));
	kms_workload_start(options);
	run(apic_hz);
}
