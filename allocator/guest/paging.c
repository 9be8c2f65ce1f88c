/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel SDM volume 3, chapter 4: 4-level paging. */
#include "allocator/guest/paging.h"

#include "allocator/guest/console.h"
#include "allocator/guest/cpu.h"
#include "allocator/guest/memory.h"
#include "allocator/guest/spin.h"

#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)

enum {
	ENTRY_PRESENT = 1,
	ENTRY_WRITE = 2,
	ENTRY_NO_CACHE = 0x10,
	ENTRY_LARGE = 0x80,
	/* ours: bits that the CPU leaves alone */
	ENTRY_LAZY = 0x200,   /* not present, promised */
	ENTRY_HIDDEN = 0x400, /* not present, with its page */
	ENTRY_ZEROS = 0x800,  /* present: the page of zeros */
	INDEX_BITS = 9,
	INDEX_MASK = 511,
	TABLE_SHIFT = 12 + INDEX_BITS, /* what a last-level table spans */
	MMIO_FIRST = 0xfec00000u >> 21,
	MMIO_LAST = 0xfee00000u >> 21,
};

extern uint64_t kms_guest_pml4[512];
extern uint64_t kms_guest_pd[4 * 512];

static struct {
	uint32_t lock;
	uintptr_t next; /* of the areas */
	uint64_t zeros; /* physical */
} paging;

uint64_t kms_paging_root(void)
{
	return kms_physical(kms_guest_pml4);
}

void kms_paging_init(void)
{
	paging.next = KMS_GUEST_AREA_BASE;
	for (unsigned i = MMIO_FIRST; i <= MMIO_LAST; i++)
		kms_guest_pd[i] |= ENTRY_NO_CACHE;
	paging.zeros = kms_physical(kms_memory_row(KMS_GUEST_PAGE));
	kms_cpu_flush();
}

void kms_paging_drop_low(void)
{
	kms_guest_pml4[0] = 0;
	kms_cpu_flush();
}

void *kms_area_reserve(size_t bytes, size_t align)
{
	uint64_t flags = kms_spin_lock(&paging.lock);
	uintptr_t start = (paging.next + align - 1) & ~(uintptr_t)(align - 1);
	void *area = NULL;

	bytes = (bytes + KMS_GUEST_PAGE - 1) & ~(size_t)(KMS_GUEST_PAGE - 1);
	if (bytes < KMS_GUEST_AREA_END - start) {
		area = (void *)start;
		/* a page between two areas traps what runs over */
		paging.next = start + bytes + KMS_GUEST_PAGE;
	}
	kms_spin_unlock(&paging.lock, flags);
	return area;
}

/* The last-level entry of an address, NULL if there is no table; @make: then there is. */
static uint64_t *entry_of(uintptr_t address, bool make)
{
	uint64_t *table = kms_guest_pml4;

	for (unsigned shift = 12 + 3 * INDEX_BITS; shift > 12; shift -= INDEX_BITS) {
		uint64_t *entry = &table[address >> shift & INDEX_MASK];

		if (!(*entry & ENTRY_PRESENT)) {
			if (!make)
				return NULL;
			*entry = kms_memory_page() | ENTRY_WRITE | ENTRY_PRESENT;
		}
		if (*entry & ENTRY_LARGE)
			return NULL;
		table = kms_direct(*entry & ENTRY_ADDRESS);
	}
	return &table[address >> 12 & INDEX_MASK];
}

static void forget(uintptr_t address)
{
	__asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

/* Calls @change for the entry of each page, tables made at need; returns the sum of its answers. */
static size_t for_pages(void *start, size_t bytes, bool make,
			size_t (*change)(uint64_t *entry, uintptr_t address))
{
	uintptr_t first = (uintptr_t)start & ~(uintptr_t)(KMS_GUEST_PAGE - 1);
	uintptr_t end = (uintptr_t)start + bytes;
	uint64_t flags = kms_spin_lock(&paging.lock);
	size_t n = 0;

	for (uintptr_t address = first; address < end; address += KMS_GUEST_PAGE) {
		uint64_t *entry = entry_of(address, make);

		if (entry)
			n += change(entry, address);
	}
	kms_spin_unlock(&paging.lock, flags);
	return n;
}

static size_t show_zeros(uint64_t *entry, uintptr_t address)
{
	(void)address;
	*entry = paging.zeros | ENTRY_ZEROS | ENTRY_PRESENT;
	return 1;
}

void kms_area_show_zeros(void *start, size_t bytes)
{
	(void)for_pages(start, bytes, true, show_zeros);
}

static bool is_open(uint64_t entry)
{
	return entry & (ENTRY_LAZY | ENTRY_HIDDEN) ||
	       (entry & ENTRY_PRESENT && !(entry & ENTRY_ZEROS));
}

/* NOLINTNEXTLINE(readability-non-const-parameter): one of those that for_pages() calls */
static size_t count_closed(uint64_t *entry, uintptr_t address)
{
	(void)address;
	return !is_open(*entry);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): likewise */
static size_t count_zeros(uint64_t *entry, uintptr_t address)
{
	(void)address;
	return *entry & ENTRY_ZEROS;
}

static size_t make_lazy(uint64_t *entry, uintptr_t address)
{
	if (is_open(*entry))
		return 0;
	*entry = ENTRY_LAZY;
	forget(address);
	return 1;
}

static size_t map(uint64_t *entry, uintptr_t address)
{
	if (is_open(*entry))
		return 0;
	*entry = kms_memory_page() | ENTRY_WRITE | ENTRY_PRESENT;
	forget(address);
	return 1;
}

bool kms_area_open(void *start, size_t bytes, bool lazy)
{
	size_t closed = for_pages(start, bytes, true, count_closed);
	bool zeros = for_pages(start, bytes, false, count_zeros);

	if (!kms_memory_commit(closed))
		return false;
	(void)for_pages(start, bytes, true, lazy ? make_lazy : map);
	if (zeros)
		kms_cpu_flush_others(); /* they would go on to read zeros */
	return true;
}

static void free_page(uint64_t entry)
{
	if (entry & ENTRY_ADDRESS && !(entry & ENTRY_ZEROS))
		kms_memory_page_free(entry & ENTRY_ADDRESS);
}

/*
 * A page must not be given to another owner before all CPUs have forgotten it: so memory goes back in
 * batches, each after a flush.
 */
enum {
	BATCH = 64,
};

static size_t take_away(void *start, size_t bytes, uint64_t leave, size_t *opened)
{
	uintptr_t address = (uintptr_t)start, end = address + bytes;
	uint64_t pages[BATCH];
	size_t n = 0, freed = 0;

	while (address < end) {
		uint64_t flags = kms_spin_lock(&paging.lock);

		for (n = 0; n < BATCH && address < end; address += KMS_GUEST_PAGE) {
			uint64_t *entry = entry_of(address, false);

			if (!entry || !is_open(*entry))
				continue;
			++*opened;
			if (*entry & ENTRY_ADDRESS)
				pages[n++] = *entry;
			*entry = leave;
			forget(address);
		}
		kms_spin_unlock(&paging.lock, flags);
		if (n)
			kms_cpu_flush_others();
		freed += n;
		while (n > 0)
			free_page(pages[--n]);
	}
	return freed;
}

void kms_area_discard(void *start, size_t bytes)
{
	size_t opened = 0;

	(void)take_away(start, bytes, ENTRY_LAZY, &opened);
}

size_t kms_area_close(void *start, size_t bytes)
{
	size_t opened = 0;

	(void)take_away(start, bytes, 0, &opened);
	kms_memory_uncommit(opened);
	return opened;
}

static size_t hide(uint64_t *entry, uintptr_t address)
{
	if (!(*entry & ENTRY_PRESENT) && !(*entry & ENTRY_LAZY))
		return 0;
	*entry = (*entry & ~(uint64_t)(ENTRY_PRESENT | ENTRY_LAZY)) | ENTRY_HIDDEN;
	forget(address);
	return 1;
}

void kms_area_hide(void *start, size_t bytes)
{
	if (for_pages(start, bytes, false, hide))
		kms_cpu_flush_others();
}

static size_t unhide(uint64_t *entry, uintptr_t address)
{
	(void)address;
	if (!(*entry & ENTRY_HIDDEN))
		return 0;
	*entry &= ~(uint64_t)ENTRY_HIDDEN;
	*entry |= *entry & ENTRY_ADDRESS ? ENTRY_PRESENT : ENTRY_LAZY;
	return 1;
}

void kms_area_unhide(void *start, size_t bytes)
{
	(void)for_pages(start, bytes, false, unhide);
}

bool kms_area_touch(uintptr_t address)
{
	uint64_t flags = kms_spin_lock(&paging.lock);
	uint64_t *entry = entry_of(address, false);
	bool touched = false;

	if (entry && *entry & ENTRY_LAZY) {
		*entry = kms_memory_page() | ENTRY_WRITE | ENTRY_PRESENT;
		touched = true;
	} else if (entry && *entry & ENTRY_PRESENT && *entry & ENTRY_WRITE) {
		touched = true; /* by another CPU, a moment ago */
	}
	kms_spin_unlock(&paging.lock, flags);
	return touched;
}

bool kms_paging_readable(uintptr_t address)
{
	const uint64_t *table = kms_guest_pml4;

	for (unsigned shift = 12 + 3 * INDEX_BITS;; shift -= INDEX_BITS) {
		uint64_t entry = table[address >> shift & INDEX_MASK];

		if (!(entry & ENTRY_PRESENT))
			return false;
		if (shift == 12 || entry & ENTRY_LARGE)
			return true;
		table = kms_direct(entry & ENTRY_ADDRESS);
	}
}
