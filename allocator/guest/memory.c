/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/memory.h"

#include <string.h>

#include "allocator/guest/console.h"
#include "allocator/guest/spin.h"

enum {
	TABLES_PART = 64, /* of all pages: kept for page tables */
};

/* One stretch of RAM: used from its begin up to @next; what came back is a list. */
#define DIRECT_END (UINT64_C(4) << 30) /* of what the boot's tables map */

static struct {
	uint32_t lock;
	uint64_t start, next, end;
	uint64_t
		free; /* physical address of the first free page, 0 none; each begins with the next */
	uint64_t free_pages;
	uint64_t committed;
	uint64_t rows_pages; /* given away for ever */
} memory;

void kms_memory_add(uint64_t start, uint64_t end)
{
	start = (start + KMS_GUEST_PAGE - 1) & ~(uint64_t)(KMS_GUEST_PAGE - 1);
	end &= ~(uint64_t)(KMS_GUEST_PAGE - 1);
	if (end > DIRECT_END)
		end = DIRECT_END;
	if (end <= start || end - start <= memory.end - memory.start)
		return;
	memory.start = memory.next = start;
	memory.end = end;
}

static uint64_t pages_in_all(void)
{
	return (memory.end - memory.start) / KMS_GUEST_PAGE;
}

/* Pages that can still be promised. */
static uint64_t pages_left(void)
{
	uint64_t all = pages_in_all();
	uint64_t gone = memory.committed + memory.rows_pages + all / TABLES_PART;

	return gone < all ? all - gone : 0;
}

void *kms_memory_row(size_t bytes)
{
	uint64_t flags = kms_spin_lock(&memory.lock);
	void *row = NULL;

	bytes = (bytes + KMS_GUEST_PAGE - 1) & ~(size_t)(KMS_GUEST_PAGE - 1);
	if (bytes <= memory.end - memory.next &&
	    bytes / KMS_GUEST_PAGE <= pages_left() + pages_in_all() / TABLES_PART) {
		row = kms_direct(memory.next);
		memory.next += bytes;
		memory.rows_pages += bytes / KMS_GUEST_PAGE;
	}
	kms_spin_unlock(&memory.lock, flags);
	return row ? memset(row, 0, bytes) : NULL;
}

bool kms_memory_commit(size_t pages)
{
	uint64_t flags = kms_spin_lock(&memory.lock);
	bool good = pages <= pages_left();

	if (good)
		memory.committed += pages;
	kms_spin_unlock(&memory.lock, flags);
	return good;
}

void kms_memory_uncommit(size_t pages)
{
	uint64_t flags = kms_spin_lock(&memory.lock);

	memory.committed -= pages;
	kms_spin_unlock(&memory.lock, flags);
}

static uint64_t take(void)
{
	uint64_t page = memory.free;

	if (page) {
		memory.free = *(const uint64_t *)kms_direct(page);
		memory.free_pages--;
	} else if (memory.next < memory.end) {
		page = memory.next;
		memory.next += KMS_GUEST_PAGE;
	}
	return page;
}

uint64_t kms_memory_page(void)
{
	uint64_t flags = kms_spin_lock(&memory.lock);
	uint64_t page = take();

	kms_spin_unlock(&memory.lock, flags);
	if (!page)
		kms_guest_die("out of memory that was promised");
	memset(kms_direct(page), 0, KMS_GUEST_PAGE);
	return page;
}

void kms_memory_page_free(uint64_t physical)
{
	uint64_t flags = kms_spin_lock(&memory.lock);

	*(uint64_t *)kms_direct(physical) = memory.free;
	memory.free = physical;
	memory.free_pages++;
	kms_spin_unlock(&memory.lock, flags);
}

uint64_t kms_memory_bytes(void)
{
	return memory.end - memory.start;
}

uint64_t kms_memory_free_bytes(void)
{
	return pages_left() * KMS_GUEST_PAGE;
}
