/* SPDX-License-Identifier: BSD-2-Clause */
/* The port of the allocator (port.h) to the guest: memory, locks, time, waiting. */
#include "allocator/port.h"

#include <string.h>

#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/cpu.h"
#include "allocator/guest/front.h"
#include "allocator/guest/memory.h"
#include "allocator/guest/paging.h"
#include "allocator/guest/thread.h"
#include "schema/region.h"

enum {
	NOT_HERE = -95, /* ENOTSUP */
	NO_MEMORY = -12,
	LAZY_BYTES = 4 << 20, /* opened so much at once: as it is touched */
	ARENA_EXTENT = 64 << 20,
	WAIT_SPIN_NS = 50 * 1000,
};

void *kms_port_reserve(size_t bytes, size_t align)
{
	return kms_area_reserve(bytes, align < KMS_GUEST_PAGE ? KMS_GUEST_PAGE : align);
}

/* There is no more than RAM. */
size_t kms_port_arena_reserve_bytes(void)
{
	return (kms_memory_bytes() + ARENA_EXTENT) & ~(size_t)(ARENA_EXTENT - 1);
}

void *kms_port_reserve_readable(size_t bytes)
{
	void *start = kms_area_reserve(bytes, KMS_GUEST_PAGE);

	if (start)
		kms_area_show_zeros(start, bytes);
	return start;
}

int kms_port_open(void *start, size_t bytes)
{
	return kms_area_open(start, bytes, bytes >= LAZY_BYTES) ? 0 : NO_MEMORY;
}

void kms_port_advise_huge(void *start, size_t bytes)
{
	(void)start;
	(void)bytes;
}

void kms_port_discard(void *start, size_t bytes)
{
	kms_area_discard(start, bytes);
}

void *kms_port_meta(size_t bytes)
{
	return kms_memory_row(bytes);
}

int kms_port_populate(void *start, size_t bytes)
{
	(void)start;
	(void)bytes;
	return 0;
}

/* Another address space would be another guest's. */
int kms_port_share(struct kms_shared_files *files, void *start, size_t bytes,
		   struct kms_shared *shared)
{
	(void)files;
	(void)start;
	(void)bytes;
	*shared = (struct kms_shared){0};
	return NOT_HERE;
}

void kms_port_unshare(struct kms_shared_files *files, void *start, size_t bytes,
		      struct kms_shared *shared)
{
	(void)files;
	(void)shared;
	kms_area_discard(start, bytes);
}

int kms_port_shared_fd(struct kms_shared *shared, bool writable)
{
	(void)shared;
	(void)writable;
	return NOT_HERE;
}

/* Nothing is ever paged out. */
size_t kms_port_pin(void *start, size_t bytes)
{
	(void)start;
	return bytes;
}

void kms_port_unpin(void *start, size_t bytes)
{
	(void)start;
	(void)bytes;
}

int kms_port_close_pages(void *start, size_t bytes)
{
	kms_area_hide(start, bytes);
	return 0;
}

int kms_port_open_pages(void *start, size_t bytes)
{
	kms_area_unhide(start, bytes);
	return 0;
}

uint64_t kms_port_now_ns(void)
{
	return kms_clock_ns();
}

void kms_port_lock(uint32_t *word)
{
	while (!kms_port_trylock(word)) {
		/* whoever has it may need our answer before it lets go */
		kms_cpu_poll();
		kms_cpu_pause();
	}
}

/* NOLINTNEXTLINE(readability-non-const-parameter): an atomic operation writes there */
bool kms_port_trylock(uint32_t *word)
{
	return !__atomic_load_n(word, __ATOMIC_RELAXED) &&
	       !__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): an atomic operation writes there */
void kms_port_unlock(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

/*
 * Within the allocator this CPU waits itself: a moment at full speed, because the host may be about to
 * make room, then from one interrupt to the next. Outside of it another thread may run.
 */
void kms_port_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	uint64_t begin = kms_clock_ns(), until = begin + timeout_ns;
	uint64_t flags = kms_irq_save();
	const struct kms_cpu *cpu = kms_cpu_this();

	if (cpu->local && !cpu->local->busy) {
		kms_thread_wait(word, expected, until);
		kms_irq_restore(flags);
		return;
	}
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == expected) {
		uint64_t now = kms_clock_ns();

		if (now >= until)
			break;
		kms_cpu_poll();
		kms_front_listen();
		if (now - begin < WAIT_SPIN_NS)
			kms_cpu_pause();
		else
			kms_cpu_halt_quietly();
	}
	kms_irq_restore(flags);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): as port.h has it */
void kms_port_wake(uint32_t *word)
{
	(void)word;
	kms_thread_wake();
}

uint32_t kms_port_tid(void)
{
	return kms_cpu_this()->thread->tid;
}

void kms_port_thread_name(char name[16])
{
	memcpy(name, kms_cpu_this()->thread->name, 16);
}

uint32_t kms_port_pid(void)
{
	return 0;
}

bool kms_port_alive(uint32_t tid)
{
	(void)tid;
	return true;
}

bool kms_port_process_alive(uint32_t pid)
{
	(void)pid;
	return true;
}

void kms_port_print(const char *text)
{
	kms_console_write(text);
}

/* Interrupts are off in the allocator. */
void kms_port_signals_hold(uint64_t *saved)
{
	*saved = 0;
}

void kms_port_signals_release(const uint64_t *saved)
{
	(void)saved;
}

void kms_port_allow_tracer(uint32_t pid)
{
	(void)pid;
}

/* It looks by itself: there is no way to call it. */
void kms_port_tell_tracer(void)
{
}

bool kms_port_hold_others(void)
{
	return kms_cpu_hold_others();
}

void kms_port_release_others(void)
{
	kms_cpu_release_others();
}
