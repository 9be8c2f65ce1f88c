/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KMEM_GUARD through the kmem(9) calls, for the back end given as argument (see enum
 * kms_guard_backend): what it catches, as fault structures; its FIFO, its limits and figures.
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "allocator/test/fault_log.h"
#include "allocator/test/guard_support.h"
#include "base/test/unit.h"

enum {
	DEPTH = 512,
	THREADS = 4,
	THREAD_ROUNDS = 3000,
	SKIPPED = 77,
};

static unsigned char *page_end(const void *p)
{
	return (unsigned char *)(((uintptr_t)p | (GUARD_PAGE_BYTES - 1)) + 1);
}

/* End of the last page of a block. */
static unsigned char *block_end(unsigned char *p, size_t size)
{
	return page_end(p + size - 1);
}

static int restore(void **state)
{
	(void)state;
	guard_set("kmem_guard_sample", 1);
	guard_set("kmem_guard_minsize", 0);
	guard_set("kmem_guard_maxsize", UINT64_MAX);
	guard_set("kmem_guard_align", 0);
	guard_set("kmem_guard_bytes", 1u << 30);
	guard_set("kmem_guard_depth", DEPTH);
	fault_log_forget();
	return 0;
}

static void depth_is_rounded_up_to_512(void **state)
{
	static const uint64_t pairs[][2] = {
		{1,     512  },
                {512,   512  },
                {513,   1024 },
                {30000, 30208},
                {1,     512  }
        };
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		guard_set("kmem_guard_depth", pairs[i][0]);
		assert_int_equal(guard_figures()->depth, pairs[i][1]);
		assert_int_equal(guard_figures()->depth_requested, pairs[i][0]);
	}
	assert_int_equal(kmem_variable_set("kmem_guard_depth", (uint64_t)-1), -ERANGE);
	assert_int_equal(kmem_variable_get("kmem_size", &value), 0);
	assert_int_equal(value, 1);
}

static void a_block_ends_at_its_page_and_is_aligned(void **state)
{
	static const size_t sizes[] = {1,    6,    7,    8,    9,    13,   24,    100,
				       1000, 4088, 4089, 4096, 5000, 8184, 70000, 1 << 20};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned char *p = kmem_alloc(sizes[i], KM_SLEEP);

		assert_true(guard_owns(p));
		assert_int_equal((uintptr_t)p % 8, 0);
		assert_ptr_equal(p + kmem_roundup_size(sizes[i]), block_end(p, sizes[i]));
		memset(p, 0xa5, sizes[i]);
		kmem_free(p, sizes[i]);
	}
	fault_log_expect_none();
}

static void expect_access(unsigned kind, unsigned access, const void *address, const void *block,
			  size_t size)
{
	const struct kms_fault *f;

	assert_int_equal(fault_log_count(), 1);
	f = fault_log_at(0);
	assert_int_equal(f->kind, kind);
	assert_int_equal(f->access, access);
	assert_int_equal(f->address, (uintptr_t)address);
	assert_int_equal(f->block, (uintptr_t)block);
	assert_int_equal(f->block_bytes, size);
	assert_int_not_equal(f->stack, 0);
	assert_int_not_equal(f->alloc_stack, 0);
	if (kind == KMS_FAULT_USE_AFTER_FREE)
		assert_int_not_equal(f->free_stack, 0);
	else
		assert_int_equal(f->free_stack, 0);
	fault_log_forget();
}

static void the_first_byte_behind_the_page_traps(void **state)
{
	static const size_t sizes[] = {8, 24, 1000, 4088, 5000, 70000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned char *p = kmem_alloc(sizes[i], KM_SLEEP);

		(void)guard_read(p + sizes[i]);
		expect_access(KMS_FAULT_OVERFLOW, KMS_ACCESS_READ, p + sizes[i], p, sizes[i]);
		/* The page is open now: the next one behaves as if the block were larger. */
		guard_write(p + sizes[i] + 1, 1);
		fault_log_expect_none();
		kmem_free(p, sizes[i]);
		p = kmem_alloc(sizes[i], KM_SLEEP);
		guard_write(p + sizes[i], 1);
		expect_access(KMS_FAULT_OVERFLOW, KMS_ACCESS_WRITE, p + sizes[i], p, sizes[i]);
		kmem_free(p, sizes[i]);
		fault_log_expect_none();
	}
}

static void a_byte_in_the_slack_is_found_at_free(void **state)
{
	(void)state;
	for (size_t size = 1; size < 64; size++) {
		for (size_t i = size; i % 8; i++) {
			unsigned char *p = kmem_alloc(size, KM_SLEEP);

			guard_write(p + i, (unsigned char)~p[i]);
			fault_log_expect_none();
			kmem_free(p, size);
			assert_int_equal(fault_log_at(0)->address, (uintptr_t)(p + i));
			assert_int_equal(fault_log_at(0)->access, KMS_ACCESS_FREE);
			assert_int_equal(fault_log_at(0)->block_bytes, size);
			fault_log_expect(KMS_FAULT_OVERFLOW, p);
		}
	}
}

static void a_freed_block_traps_at_the_exact_address(void **state)
{
	static const size_t sizes[] = {1, 24, 100, 4088, 5000, 70000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int write = 0; write < 2; write++) {
			unsigned char *p = kmem_alloc(sizes[i], KM_SLEEP);
			size_t at = sizes[i] / 2;

			kmem_free(p, sizes[i]);
			if (write)
				guard_write(p + at, 1);
			else
				(void)guard_read(p + at);
			assert_int_equal(fault_log_at(0)->block_state, KMS_BLOCK_QUARANTINE);
			expect_access(KMS_FAULT_USE_AFTER_FREE,
				      write ? KMS_ACCESS_WRITE : KMS_ACCESS_READ, p + at, p,
				      sizes[i]);
			/* Resumed on a page of poison; nothing new is said about this block. */
			assert_int_not_equal(guard_read(p + at), 0);
			fault_log_expect_none();
		}
	}
}

static void further_pages_of_a_spent_block_count_as_hits(void **state)
{
	unsigned char *p = kmem_alloc(4 * GUARD_PAGE_BYTES, KM_SLEEP);

	(void)state;
	kmem_free(p, 4 * GUARD_PAGE_BYTES);
	guard_write(p, 1);
	assert_int_equal(fault_log_at(0)->hits, 0);
	guard_write(p + GUARD_PAGE_BYTES, 1);
	(void)guard_read(p + 2 * GUARD_PAGE_BYTES);
	(void)guard_read(p + 2 * GUARD_PAGE_BYTES);
	assert_int_equal(fault_log_at(0)->hits, 2);
	fault_log_expect(KMS_FAULT_USE_AFTER_FREE, p);
}

static void a_report_names_the_neighbours_and_shows_bytes(void **state)
{
	unsigned char *block[3];
	const struct kms_fault *f;

	(void)state;
	for (int i = 0; i < 3; i++)
		block[i] = kmem_alloc(760, KM_SLEEP);
	assert_ptr_equal(block[1], block[0] + 2 * GUARD_PAGE_BYTES);
	memset(block[1], 0x5e, 760);
	*(block[1] - 9) ^= 1;
	kmem_free(block[0], 760);
	kmem_free(block[1], 760);
	f = fault_log_at(0);
	assert_int_equal(f->neighbour[0], (uintptr_t)block[0]);
	assert_int_equal(f->neighbour[1], (uintptr_t)block[2]);
	assert_int_equal(f->neighbour_bytes[0], 760);
	assert_int_equal(f->neighbour_state[0], KMS_BLOCK_QUARANTINE);
	assert_int_equal(f->neighbour_state[1], KMS_BLOCK_LIVE);
	assert_in_range(f->bytes_count, 64, sizeof(f->bytes));
	assert_int_equal(f->bytes[(uintptr_t)block[1] - f->bytes_address], 0x5e);
	fault_log_expect(KMS_FAULT_UNDERFLOW, block[1]);
	kmem_free(block[2], 760);
}

static void a_system_call_on_a_freed_block_fails(void **state)
{
	char *p = kmem_alloc(64, KM_SLEEP);
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	kmem_free(p, 64);
	assert_int_equal(write(ends[1], p, 64), -1);
	assert_int_equal(errno, EFAULT);
	fault_log_expect_none();
	close(ends[0]);
	close(ends[1]);
}

static void a_byte_before_the_block_is_found(void **state)
{
	static const int offsets[] = {1, 3, 8, 9, 16, 39, 40};

	(void)state;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		unsigned char *p = kmem_alloc(200, KM_SLEEP);

		p[-offsets[i]] ^= 0x5a;
		kmem_free(p, 200);
		assert_int_equal(fault_log_at(0)->address, (uintptr_t)p - (unsigned)offsets[i]);
		fault_log_expect(KMS_FAULT_UNDERFLOW, p);
	}
}

static void a_byte_before_a_block_of_whole_pages_traps(void **state)
{
	/* With the header the first page holds 4088 bytes, then the page before is closed. */
	unsigned char *first = kmem_alloc(4088, KM_SLEEP), *p = kmem_alloc(4088, KM_SLEEP);

	(void)state;
	assert_int_equal(((uintptr_t)p - 8) % GUARD_PAGE_BYTES, 0);
	guard_write(p - 9, 1);
	expect_access(KMS_FAULT_UNDERFLOW, KMS_ACCESS_WRITE, p - 9, p, 4088);
	kmem_free(p, 4088);
	kmem_free(first, 4088);
	fault_log_expect_none();
}

static void bad_frees_are_told_apart(void **state)
{
	unsigned char *p = kmem_alloc(100, KM_SLEEP);

	(void)state;
	kmem_free(p + 8, 92);
	fault_log_expect(KMS_FAULT_INVALID_FREE, p);
	kmem_free(p, 99);
	assert_non_null(strstr(fault_log_at(0)->text, "99) != allocated size 100"));
	fault_log_expect(KMS_FAULT_SIZE_MISMATCH, p);
	kmem_free(p, 100);
	assert_int_not_equal(fault_log_at(0)->free_stack, 0);
	fault_log_expect(KMS_FAULT_DOUBLE_FREE, p);
	guard_flush(DEPTH);
	kmem_free(p, 100);
	fault_log_expect(KMS_FAULT_DOUBLE_FREE, p);
}

/* Pairs of the same size until @address is given out again. */
static uint64_t frees_until_reuse(const void *address, size_t size)
{
	for (uint64_t frees = 0; frees < 100000; frees++) {
		void *p = kmem_alloc(size, KM_SLEEP);

		if (p == address) {
			kmem_free(p, size);
			return frees;
		}
		kmem_free(p, size);
	}
	return UINT64_MAX;
}

static void an_address_is_not_reused_before_depth_frees(void **state)
{
	static const uint64_t depths[] = {DEPTH, 2 * DEPTH};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		void *p;

		guard_set("kmem_guard_depth", depths[i]);
		p = kmem_alloc(48, KM_SLEEP);
		kmem_free(p, 48);
		assert_in_range(frees_until_reuse(p, 48), depths[i], 16 * DEPTH);
	}
	fault_log_expect_none();
}

static void the_fifo_counts_slots_of_several_pages(void **state)
{
	static const struct {
		size_t size;
		uint64_t pages;
	} rows[] = {
		{1,     2 },
                {4088,  2 },
                {4089,  3 },
                {8184,  3 },
                {8185,  4 },
                {70000, 20}
        };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_guard_stat before;

		guard_set("kmem_guard_depth", 1024);
		before = *guard_figures();
		kmem_free(kmem_alloc(rows[i].size, KM_SLEEP), rows[i].size);
		if (before.used == before.depth)
			continue;
		assert_int_equal(guard_figures()->used, before.used + 1);
		assert_int_equal(guard_figures()->bytes,
				 before.bytes + rows[i].pages * GUARD_PAGE_BYTES);
		assert_int_equal(guard_figures()->pages, guard_figures()->bytes / GUARD_PAGE_BYTES);
	}
}

static void the_byte_budget_evicts(void **state)
{
	enum { BUDGET = 100 * 2 * GUARD_PAGE_BYTES };

	uint64_t evictions;
	void *p;

	(void)state;
	guard_set("kmem_guard_bytes", BUDGET);
	guard_flush(DEPTH);
	assert_true(guard_figures()->bytes <= BUDGET);
	assert_int_equal(guard_figures()->used, 100);
	assert_int_equal(guard_figures()->limited_by, KMS_LIMITED_BYTES);
	p = kmem_alloc(24, KM_SLEEP);
	kmem_free(p, 24);
	evictions = guard_figures()->evictions;
	assert_in_range(frees_until_reuse(p, 24), 100, DEPTH);
	assert_true(guard_figures()->evictions > evictions);
	guard_set("kmem_guard_bytes", 1u << 30);
	guard_flush(DEPTH + 1);
	assert_int_equal(guard_figures()->limited_by, KMS_LIMITED_DEPTH);
}

static void shrinking_drains_at_most_32_a_call(void **state)
{
	uint64_t used;

	(void)state;
	guard_set("kmem_guard_depth", 4 * DEPTH);
	guard_flush(4 * DEPTH);
	assert_int_equal(guard_figures()->used, 4 * DEPTH);
	guard_set("kmem_guard_depth", 0);
	for (used = guard_figures()->used; used; used = guard_figures()->used) {
		void *p = kmem_alloc(24, KM_SLEEP);

		assert_false(guard_owns(p));
		assert_in_range(used - guard_figures()->used, 1, 32);
		kmem_free(p, 24);
	}
	assert_int_equal(guard_figures()->oldest_free_nr, 0);
	assert_false(kms_guard_wanted(kms_process_heap()));
	guard_set("kmem_guard_depth", DEPTH);
	assert_true(guard_owns(kmem_alloc(24, KM_SLEEP)));
}

static void figures_say_what_is_in_the_fifo(void **state)
{
	const struct kms_guard_stat *f = guard_figures();
	struct kms_guard_stat before;
	void *block[10];

	(void)state;
	guard_flush(DEPTH + 1);
	before = *f;
	assert_int_equal(f->used, DEPTH);
	assert_int_equal(f->oldest_free_nr, f->frees - DEPTH + 1);
	for (int i = 0; i < 10; i++)
		block[i] = kmem_alloc(24, KM_SLEEP);
	assert_int_equal(f->live, before.live + 10);
	for (int i = 0; i < 10; i++)
		kmem_free(block[i], 24);
	assert_int_equal(f->live, before.live);
	assert_int_equal(f->frees, before.frees + 10);
	assert_int_equal(f->evictions, before.evictions + 10);
	assert_int_equal(f->oldest_free_nr, before.oldest_free_nr + 10);
	assert_true(f->oldest_free_ns > before.oldest_free_ns);
	assert_int_equal(f->limited_by, KMS_LIMITED_DEPTH);
	assert_true(f->maps_used > 0);
	assert_true(f->maps_max > f->maps_used);
}

static void guarded_blocks_are_counted_in_their_cache(void **state)
{
	struct kms_heap *heap = kms_process_heap();
	struct kms_place place;
	struct kms_cache_stat before;
	const struct kms_cache *cache;
	void *p = kmem_alloc(24, KM_SLEEP);

	(void)state;
	kms_place_find(heap, (uintptr_t)p, &place);
	assert_int_equal(place.span->state, KMS_SPAN_GUARD);
	cache = heap->cache[place.span->cache];
	assert_int_equal(cache->kind, KMS_CACHE_KMEM);
	before = *cache->stat;
	kmem_free(p, 24);
	assert_int_equal(cache->stat->guarded_frees, before.guarded_frees + 1);
	kmem_free(kmem_alloc(24, KM_SLEEP), 24);
	assert_int_equal(cache->stat->guarded_allocs, before.guarded_allocs + 1);
}

static void sampling_and_the_size_window_choose(void **state)
{
	unsigned guarded = 0;
	uint64_t unguarded = guard_figures()->unguarded;
	void *p;

	(void)state;
	guard_set("kmem_guard_sample", 10);
	for (int i = 0; i < 1000; i++) {
		p = kmem_alloc(40, KM_SLEEP);
		guarded += guard_owns(p);
		kmem_free(p, 40);
	}
	assert_int_equal(guarded, 100);
	guard_set("kmem_guard_sample", 1);
	guard_set("kmem_guard_minsize", 100);
	guard_set("kmem_guard_maxsize", 200);
	for (size_t size = 99; size <= 201; size++) {
		p = kmem_alloc(size, KM_SLEEP);
		assert_int_equal(guard_owns(p), size >= 100 && size <= 200);
		kmem_free(p, size);
	}
	assert_int_equal(guard_figures()->unguarded, unguarded);
}

static void align_1_ends_exactly_at_the_page(void **state)
{
	(void)state;
	guard_set("kmem_guard_align", 1);
	for (size_t size = 1; size < 40; size++) {
		unsigned char *p = kmem_alloc(size, KM_SLEEP);

		assert_ptr_equal(p + size, block_end(p, size));
		guard_write(p + size, 0);
		expect_access(KMS_FAULT_OVERFLOW, KMS_ACCESS_WRITE, p + size, p, size);
		kmem_free(p, size);
	}
	guard_set("kmem_guard_align", 64);
	assert_int_equal((uintptr_t)kmem_alloc(5, KM_SLEEP) % 64, 0);
	fault_log_expect_none();
}

static void blocks_too_large_for_a_slot_are_counted(void **state)
{
	uint64_t unguarded = guard_figures()->unguarded;
	void *p = kmem_alloc((size_t)17 << 20, KM_SLEEP);

	(void)state;
	assert_false(guard_owns(p));
	assert_int_equal(guard_figures()->unguarded, unguarded + 1);
	kmem_free(p, (size_t)17 << 20);
}

static void verify_finds_damage_around_live_blocks(void **state)
{
	unsigned char *p = kmem_alloc(13, KM_SLEEP), *q = kmem_alloc(4100, KM_SLEEP);

	(void)state;
	assert_int_equal(kmem_verify(), 0);
	p[14] ^= 1;
	q[-20] ^= 1;
	assert_int_equal(kmem_verify(), 2);
	assert_int_equal(fault_log_count(), 2);
	assert_int_equal(fault_log_at(0)->access, KMS_ACCESS_CHECK);
	fault_log_forget();
	assert_int_equal(kmem_verify(), 0);
	kmem_free(p, 13);
	kmem_free(q, 4100);
	fault_log_expect_none();
}

static void an_evicted_block_is_still_closed(void **state)
{
	unsigned char *p = kmem_alloc(320, KM_SLEEP), *q = kmem_alloc(320, KM_SLEEP), *next;

	(void)state;
	kmem_free(p, 320);
	kmem_free(q, 320);
	guard_write(p, 1);
	guard_flush(DEPTH);
	/* The hit one was closed again, and its next hit counts. */
	(void)guard_read(p);
	assert_int_equal(fault_log_at(0)->hits, 1);
	fault_log_expect(KMS_FAULT_USE_AFTER_FREE, p);
	(void)guard_read(q);
	assert_int_equal(fault_log_at(0)->block_state, KMS_BLOCK_FREE);
	expect_access(KMS_FAULT_USE_AFTER_FREE, KMS_ACCESS_READ, q, q, 320);
	/* The next owner gets it clean. */
	while ((next = kmem_alloc(320, KM_SLEEP)) != p)
		kmem_free(next, 320);
	for (size_t i = 0; i < 320; i++)
		assert_int_equal(p[i], 0);
	kmem_free(p, 320);
	guard_write(p, 1);
	fault_log_expect(KMS_FAULT_USE_AFTER_FREE, p);
}

static void the_back_end_stays_as_it_was_chosen(void **state)
{
	uint64_t other = guard_figures()->backend % 3 + 1;

	(void)state;
	assert_int_equal(kmem_variable_set("kmem_guard_backend", other), -ENOTSUP);
	assert_int_equal(guard_figures()->backend, other == 1 ? 3 : other - 1);
	assert_int_equal(kmem_variable_set("kmem_guard_backend", 0), 0);
}

static void *thread_body(void *arg)
{
	unsigned char *held[16] = {0};
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < THREAD_ROUNDS; i++) {
		unsigned at = (unsigned)rand_r(&seed) % 16;
		size_t size = at * 700 + 1;

		if (!held[at]) {
			held[at] = kmem_alloc(size, KM_SLEEP);
			memset(held[at], (int)at, size);
			continue;
		}
		for (size_t k = 0; k < size; k += 97) {
			if (held[at][k] != at)
				return held[at];
		}
		kmem_free(held[at], size);
		held[at] = NULL;
	}
	for (unsigned at = 0; at < 16; at++) {
		if (held[at])
			kmem_free(held[at], at * 700 + 1);
	}
	return NULL;
}

static void threads_lose_nothing_and_share_nothing(void **state)
{
	const struct kms_guard_stat before = *guard_figures(), *f = guard_figures();
	pthread_t thread[THREADS];
	void *damaged;

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, thread_body, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(thread[i], &damaged), 0);
		assert_null(damaged);
	}
	fault_log_expect_none();
	assert_int_equal(f->live, before.live);
	assert_int_equal(f->frees - before.frees,
			 f->used - before.used + f->evictions - before.evictions);
	assert_in_range(f->used, 1, DEPTH);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(depth_is_rounded_up_to_512, restore),
		cmocka_unit_test_setup(a_block_ends_at_its_page_and_is_aligned, restore),
		cmocka_unit_test_setup(the_first_byte_behind_the_page_traps, restore),
		cmocka_unit_test_setup(a_byte_in_the_slack_is_found_at_free, restore),
		cmocka_unit_test_setup(a_freed_block_traps_at_the_exact_address, restore),
		cmocka_unit_test_setup(further_pages_of_a_spent_block_count_as_hits, restore),
		cmocka_unit_test_setup(a_report_names_the_neighbours_and_shows_bytes, restore),
		cmocka_unit_test_setup(a_system_call_on_a_freed_block_fails, restore),
		cmocka_unit_test_setup(a_byte_before_the_block_is_found, restore),
		cmocka_unit_test_setup(a_byte_before_a_block_of_whole_pages_traps, restore),
		cmocka_unit_test_setup(bad_frees_are_told_apart, restore),
		cmocka_unit_test_setup(an_address_is_not_reused_before_depth_frees, restore),
		cmocka_unit_test_setup(the_fifo_counts_slots_of_several_pages, restore),
		cmocka_unit_test_setup(the_byte_budget_evicts, restore),
		cmocka_unit_test_setup(shrinking_drains_at_most_32_a_call, restore),
		cmocka_unit_test_setup(figures_say_what_is_in_the_fifo, restore),
		cmocka_unit_test_setup(guarded_blocks_are_counted_in_their_cache, restore),
		cmocka_unit_test_setup(sampling_and_the_size_window_choose, restore),
		cmocka_unit_test_setup(align_1_ends_exactly_at_the_page, restore),
		cmocka_unit_test_setup(blocks_too_large_for_a_slot_are_counted, restore),
		cmocka_unit_test_setup(verify_finds_damage_around_live_blocks, restore),
		cmocka_unit_test_setup(an_evicted_block_is_still_closed, restore),
		cmocka_unit_test_setup(the_back_end_stays_as_it_was_chosen, restore),
		cmocka_unit_test_setup(threads_lose_nothing_and_share_nothing, restore),
	};

	fault_log_start();
	if (!guard_begin(argc > 1 ? strtoull(argv[1], NULL, 0) : 1, DEPTH)) {
		fprintf(stderr, "this system has no such back end\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
