/* SPDX-License-Identifier: BSD-2-Clause */
/* KMEM_GUARD through the malloc family, which this program is linked with. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>

#include "allocator/test/guard_cases.h"
#include "allocator/test/guard_support.h"
#include "tests/support/kt.h"

enum {
	THREADS = 4,
	ROUNDS = 2000,
};

/* Hides a pointer's past from the compiler. */
static unsigned char *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static unsigned char *block_end(const unsigned char *p, size_t size)
{
	uintptr_t last = (uintptr_t)p + size - 1;

	return (unsigned char *)((last | (GUARD_PAGE_BYTES - 1)) + 1);
}

static void expect(uint32_t kind, const void *address, size_t size)
{
	const struct kms_fault *f = guard_last_fault();
	static uint64_t seen;

	KT_CHECK(guard_faults() == seen + 1, "%d findings", (int)(guard_faults() - seen));
	seen = guard_faults();
	KT_CHECK(f->kind == kind, "kind %u, not %u", f->kind, kind);
	KT_CHECK(f->address == (uintptr_t)address, "address %#llx, not %p",
		 (unsigned long long)f->address, address);
	KT_CHECK(f->block_bytes == size, "size %llu", (unsigned long long)f->block_bytes);
}

static int blocks_are_aligned_to_16_and_end_at_their_page(void *arg)
{
	static const size_t sizes[] = {1, 8, 13, 16, 24, 100, 4000, 4096, 4097, 70000};

	(void)arg;
	guard_case_begin();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i], rounded = (size + 15) & ~(size_t)15;
		unsigned char *p = malloc(size);

		KT_CHECK(guard_owns(p) && (uintptr_t)p % 16 == 0, "%p", (void *)p);
		KT_CHECK(p + rounded == block_end(p, size), "%p of %zu", (void *)p, size);
		KT_CHECK(malloc_usable_size(p) == size, "usable %zu", malloc_usable_size(p));
		memset(p, 1, size);
		guard_write(p + rounded, 1);
		expect(KMS_FAULT_OVERFLOW, p + rounded, size);
		free(p);
		guard_write(hidden(p) + size - 1, 1);
		expect(KMS_FAULT_USE_AFTER_FREE, p + size - 1, size);
	}
	return 0;
}

static int bytes_around_a_block_are_checked_at_free(void *arg)
{
	(void)arg;
	guard_case_begin();
	for (size_t size = 1; size < 50; size++) {
		for (size_t at = size; at % 16; at++) {
			unsigned char *p = hidden(malloc(size));

			p[at] ^= 1;
			free(p);
			expect(KMS_FAULT_OVERFLOW, p + at, size);
		}
	}
	for (int at = 1; at <= 32; at++) {
		unsigned char *p = hidden(malloc(300));

		p[-at] ^= 1;
		free(p);
		expect(KMS_FAULT_UNDERFLOW, p - at, 300);
	}
	return 0;
}

static int a_page_before_a_block_of_pages_traps(void *arg)
{
	unsigned char *p;

	(void)arg;
	guard_case_begin();
	p = hidden(malloc(2 * GUARD_PAGE_BYTES));
	guard_write(p - 1, 1);
	expect(KMS_FAULT_UNDERFLOW, p - 1, 2 * GUARD_PAGE_BYTES);
	free(p);
	return 0;
}

static void expect_aligned(size_t align, size_t size)
{
	unsigned char *p = memalign(align, size);

	KT_CHECK(p && (uintptr_t)p % align == 0, "%p for %zu", (void *)p, align);
	KT_CHECK(guard_owns(p) == (align <= 1 << 16), "align %zu", align);
	memset(p, 1, size);
	if (!guard_owns(p) || align == 16) {
		free(p);
		return;
	}
	p[size] ^= 1;
	free(p);
	expect(KMS_FAULT_OVERFLOW, p + size, size);
}

static int every_alignment_is_kept(void *arg)
{
	(void)arg;
	guard_case_begin();
	for (size_t align = 16; align <= 1 << 18; align *= 2) {
		for (size_t size = 1; size < 40000; size = size * 3 + 1)
			expect_aligned(align, size);
	}
	guard_set("kmem_guard_align", 1);
	KT_CHECK((uintptr_t)memalign(64, 5) % 64 == 0, "memalign is a promise");
	return 0;
}

static unsigned char *grow(unsigned char *p, size_t old_size, size_t size)
{
	unsigned char *fresh = realloc(p, size);

	KT_CHECK(fresh && fresh != p && guard_owns(fresh), "%p", (void *)fresh);
	for (size_t i = 0; i < old_size; i++)
		KT_CHECK(fresh[i] == 42, "byte %zu of %zu", i, size);
	memset(fresh, 42, size);
	return fresh;
}

static int realloc_moves_and_keeps_what_was_there(void *arg)
{
	unsigned char *p = NULL, *old, *fresh;
	size_t size = 0;

	(void)arg;
	guard_case_begin();
	for (size_t next = 10; next < 100000; next *= 2) {
		p = grow(p, size, next);
		size = next;
	}
	old = p;
	p = realloc(hidden(old), 5);
	KT_CHECK(p[4] == 42, "shrunk");
	guard_write(hidden(old), 1);
	expect(KMS_FAULT_USE_AFTER_FREE, old, size);
	fresh = realloc(hidden(old), 5);
	KT_CHECK(fresh == NULL, "a freed block was resized");
	expect(KMS_FAULT_DOUBLE_FREE, old, size);
	free(p);
	return 0;
}

static int calloc_gives_zero_and_size_zero_gives_a_block(void *arg)
{
	unsigned char *p, *q;

	(void)arg;
	guard_case_begin();
	guard_set("kmem_poison", 1);
	for (size_t size = 1; size < 20000; size = size * 2 + 1) {
		p = malloc(size);
		KT_CHECK(p[size - 1] != 0, "fresh memory is not poisoned");
		memset(p, 7, size);
		free(p);
		p = calloc(1, size);
		for (size_t i = 0; i < size; i++)
			KT_CHECK(p[i] == 0, "byte %zu of %zu", i, size);
		free(p);
	}
	p = malloc(0);
	q = malloc(0);
	KT_CHECK(p && q && p != q && guard_owns(p), "%p %p", (void *)p, (void *)q);
	guard_write(hidden(p), 1);
	free(p);
	KT_CHECK(guard_last_fault()->kind == KMS_FAULT_OVERFLOW, "a byte in a block of none");
	free(q);
	free(NULL);
	return 0;
}

static void *thread_body(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		size_t size = (size_t)rand_r(&seed) % 6000;
		unsigned char *p = malloc(size), *fresh;

		memset(p, 1, size);
		fresh = realloc(p, size + 100);
		KT_CHECK(fresh && (size == 0 || fresh[size - 1] == 1), "content");
		free(fresh);
	}
	return NULL;
}

static int threads_come_and_go(void *arg)
{
	(void)arg;
	guard_case_begin();
	for (int round = 0; round < 3; round++) {
		pthread_t thread[THREADS];

		for (uintptr_t i = 0; i < THREADS; i++)
			KT_CHECK(pthread_create(&thread[i], NULL, thread_body, (void *)(i + 1)) ==
					 0,
				 "%s", strerror(errno));
		for (int i = 0; i < THREADS; i++)
			pthread_join(thread[i], NULL);
	}
	KT_CHECK(guard_faults() == 0, "%d findings", (int)guard_faults());
	return 0;
}

static const struct guard_case cases[] = {
	{"blocks are aligned to 16 and end at their page",
	 blocks_are_aligned_to_16_and_end_at_their_page,                                                  0},
	{"bytes around a block are checked at free",       bytes_around_a_block_are_checked_at_free,      0},
	{"a page before a block of pages traps",           a_page_before_a_block_of_pages_traps,          0},
	{"every alignment is kept",                        every_alignment_is_kept,                       0},
	{"realloc moves and keeps what was there",         realloc_moves_and_keeps_what_was_there,        0},
	{"calloc gives zero, and size zero a block",       calloc_gives_zero_and_size_zero_gives_a_block,
	 0												 },
	{"threads come and go",                            threads_come_and_go,                           0},
};

int main(int argc, char **argv)
{
	return guard_cases_run(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
