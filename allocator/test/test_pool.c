/* SPDX-License-Identifier: BSD-2-Clause */
/* pool_cache(9): what stays constructed, what an object is like, and when there is none. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator/alloc.h"
#include "allocator/port/process.h"
#include "allocator/region.h"
#include "allocator/test/fault_log.h"
#include "allocator/test/pool_support.h"

static const struct kms_cache_entry *entry_of(pool_cache_t pc)
{
	const struct kms_cache_entry *entries = kms_section_base(kms_process_heap(), KMS_SEC_CACHE);

	return &entries[pc->cache->index];
}

static void an_object_is_constructed_once_however_often_it_is_taken(void **state)
{
	pool_cache_t pc = pool_make("once");
	void *first = pool_cache_get(pc, PR_WAITOK);

	(void)state;
	pool_cache_put(pc, first);
	for (int i = 0; i < 1000; i++) {
		void *object = pool_cache_get(pc, PR_NOWAIT);

		assert_ptr_equal(object, first);
		pool_cache_put(pc, object);
	}
	assert_int_equal(seen.constructed, 1);
	assert_int_equal(seen.destructed, 0);
	pool_cache_destroy(pc);
	assert_int_equal(seen.destructed, 1);
	fault_log_expect_none();
}

static void every_object_is_destructed_before_its_pool_is_gone(void **state)
{
	pool_cache_t pc = pool_make("many");
	void *object[OBJECTS];

	(void)state;
	for (int i = 0; i < OBJECTS; i++)
		object[i] = pool_cache_get(pc, PR_WAITOK);
	assert_int_equal(seen.constructed, OBJECTS);
	for (int i = 0; i < OBJECTS; i++)
		pool_cache_put(pc, object[i]);
	assert_int_equal(seen.destructed, 0);
	pool_cache_invalidate(pc);
	assert_int_equal(seen.destructed, OBJECTS);
	object[0] = pool_cache_get(pc, PR_WAITOK);
	assert_int_equal(seen.constructed, OBJECTS + 1);
	pool_cache_destruct_object(pc, object[0]);
	assert_int_equal(seen.destructed, OBJECTS + 1);
	pool_cache_destroy(pc);
	assert_int_equal(seen.destructed, OBJECTS + 1);
	fault_log_expect_none();
}

static void the_constructor_gets_its_argument_and_the_flags_of_the_get(void **state)
{
	pool_cache_t pc = pool_make("flags");
	void *object[2];

	(void)state;
	object[0] = pool_cache_get(pc, PR_WAITOK);
	assert_int_equal(seen.last_flags, PR_WAITOK);
	object[1] = pool_cache_get(pc, PR_NOWAIT);
	assert_int_equal(seen.last_flags, PR_NOWAIT);
	assert_ptr_equal(seen.argument, &seen);
	pool_cache_put(pc, object[0]);
	pool_cache_put(pc, object[1]);
	pool_cache_destroy(pc);
}

static void a_constructor_that_fails_gives_null_even_with_waitok(void **state)
{
	pool_cache_t pc = pool_make("fails");
	void *object;

	(void)state;
	seen.fail = true;
	for (int i = 0; i < OBJECTS; i++) {
		assert_null(pool_cache_get(pc, PR_WAITOK));
		assert_null(pool_cache_get(pc, PR_NOWAIT));
	}
	seen.fail = false;
	object = pool_cache_get(pc, PR_WAITOK);
	assert_non_null(object);
	pool_cache_put(pc, object);
	/* A parked object needs no constructor. */
	seen.fail = true;
	object = pool_cache_get(pc, PR_WAITOK);
	assert_non_null(object);
	pool_cache_put(pc, object);
	assert_int_equal(pc->cache->stat->objects_total - pc->cache->stat->objects_in_slabs, 1);
	pool_cache_destroy(pc);
	assert_int_equal(seen.constructed, 1);
	assert_int_equal(seen.destructed, 1);
	fault_log_expect_none();
}

/* As a driver's constructor may: it needs memory of another cache and of kmem(9). */
static pool_cache_t inner;

struct outer {
	void *inner, *block;
};

static int construct_outer(void *argument, void *object, int flags)
{
	struct outer *outer = object;

	(void)argument;
	outer->inner = pool_cache_get(inner, flags);
	outer->block = kmem_alloc(64, KM_SLEEP);
	return outer->inner && outer->block ? 0 : ENOMEM;
}

static void destruct_outer(void *argument, void *object)
{
	struct outer *outer = object;

	(void)argument;
	pool_cache_put(inner, outer->inner);
	kmem_free(outer->block, 64);
}

static void constructors_may_use_the_allocator(void **state)
{
	pool_cache_t pc = pool_cache_init(sizeof(struct outer), 0, 0, 0, "outer", NULL, IPL_NONE,
					  construct_outer, destruct_outer, NULL);
	struct outer *object[50];

	(void)state;
	inner = plain_make("inner", 40, 0);
	for (int i = 0; i < 50; i++)
		object[i] = pool_cache_get(pc, PR_WAITOK);
	for (int i = 0; i < 50; i++)
		pool_cache_put(pc, object[i]);
	pool_cache_destroy(pc);
	pool_cache_destroy(inner);
	fault_log_expect_none();
}

static void objects_have_the_size_and_alignment_asked_for(void **state)
{
	static const struct {
		size_t size;
		unsigned align;
	} rows[] = {
		{1,      0    },
                {7,      0    },
                {64,     64   },
                {100,    128  },
                {4096,   4096 },
		{5000,   16   },
                {70000,  0    },
                {9000,   16384},
                {100000, 32768},
                {200,    32768},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pool_cache_t pc = plain_make("aligned", rows[i].size, rows[i].align);
		unsigned align = rows[i].align ? rows[i].align : 8;
		unsigned char *object[40];

		assert_non_null(pc);
		for (int n = 0; n < 40; n++) {
			object[n] = pool_cache_get(pc, PR_WAITOK);
			assert_int_equal((uintptr_t)object[n] % align, 0);
			memset(object[n], n, rows[i].size);
		}
		for (int n = 0; n < 40; n++) {
			assert_int_equal(object[n][rows[i].size - 1], n);
			pool_cache_put(pc, object[n]);
		}
		pool_cache_destroy(pc);
	}
	fault_log_expect_none();
}

static void first_blocks_of_slabs_move_through_the_colours(void **state)
{
	pool_cache_t pc = plain_make("colour", 3000, 64);
	uint32_t expected = 0, last = 0, slabs = 0;
	void *object[OBJECTS];
	uintptr_t base = 0, start = 0;

	(void)state;
	for (int i = 0; i < OBJECTS; i++) {
		const struct kms_span *span;

		object[i] = pool_cache_get(pc, PR_WAITOK);
		span = kms_span_of(kms_process_heap(), (uintptr_t)object[i]);
		if (span->base == base)
			continue;
		base = (uintptr_t)span->base;
		if (!slabs++)
			start = span->first_bytes;
		/* 0, align, 2 * align, ... as long as the slab has room; then 0 again */
		last = (uint32_t)(span->first_bytes - start);
		if (last == 0)
			expected = 0;
		assert_int_equal(last, expected);
		assert_true(span->first_bytes + span->count * span->stride_bytes <=
			    span->pages * KMS_PAGE_BYTES);
		expected += 64;
	}
	assert_true(slabs > 4);
	for (int i = 0; i < OBJECTS; i++)
		pool_cache_put(pc, object[i]);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void the_hard_limit_counts_parked_objects_and_uses_them_first(void **state)
{
	pool_cache_t pc = pool_make("limit");
	void *object[3];

	(void)state;
	pool_cache_sethardlimit(pc, 2, NULL, 0);
	object[0] = pool_cache_get(pc, PR_NOWAIT);
	object[1] = pool_cache_get(pc, PR_WAITOK);
	assert_null(pool_cache_get(pc, PR_NOWAIT));
	assert_null(pool_cache_get(pc, PR_WAITOK | PR_LIMITFAIL));
	pool_cache_put(pc, object[0]);
	object[2] = pool_cache_get(pc, PR_NOWAIT);
	assert_ptr_equal(object[2], object[0]);
	pool_cache_put(pc, object[1]);
	pool_cache_put(pc, object[2]);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

/** Another thread of a test. */
struct helper {
	pthread_t thread;
	pool_cache_t pc;
	void *object;
	pthread_barrier_t step;
};

static void *park_and_stay(void *argument)
{
	struct helper *helper = argument;

	helper->object = pool_cache_get(helper->pc, PR_WAITOK);
	pool_cache_put(helper->pc, helper->object);
	pthread_barrier_wait(&helper->step);
	pthread_barrier_wait(&helper->step);
	return NULL;
}

static void helper_start(struct helper *helper, pool_cache_t pc, void *(*body)(void *))
{
	*helper = (struct helper){.pc = pc};
	pthread_barrier_init(&helper->step, NULL, 2);
	assert_int_equal(pthread_create(&helper->thread, NULL, body, helper), 0);
	pthread_barrier_wait(&helper->step);
}

static void helper_end(struct helper *helper)
{
	pthread_barrier_wait(&helper->step);
	pthread_join(helper->thread, NULL);
	pthread_barrier_destroy(&helper->step);
}

static void objects_parked_with_another_thread_are_reached(void **state)
{
	pool_cache_t pc = pool_make("reach");
	struct helper helper;
	void *object;

	(void)state;
	helper_start(&helper, pc, park_and_stay);
	pool_cache_sethardlimit(pc, 1, NULL, 0);
	object = pool_cache_get(pc, PR_NOWAIT);
	assert_ptr_equal(object, helper.object);
	pool_cache_put(pc, object);
	helper_end(&helper);
	pool_cache_sethardlimit(pc, 100, NULL, 0);
	helper_start(&helper, pc, park_and_stay);
	pool_cache_invalidate(pc);
	assert_int_equal(seen.destructed, seen.constructed);
	helper_end(&helper);
	helper_start(&helper, pc, park_and_stay);
	pool_cache_destroy(pc);
	assert_int_equal(seen.destructed, seen.constructed);
	helper_end(&helper);
	fault_log_expect_none();
}

static void *wait_for_object(void *argument)
{
	struct helper *helper = argument;

	pthread_barrier_wait(&helper->step);
	helper->object = pool_cache_get(helper->pc, PR_WAITOK);
	pthread_barrier_wait(&helper->step);
	return NULL;
}

static void waitok_waits_at_the_hard_limit_until_an_object_comes_back(void **state)
{
	pool_cache_t pc = pool_make("waits");
	struct helper helper;
	void *object = pool_cache_get(pc, PR_WAITOK);

	(void)state;
	pool_cache_sethardlimit(pc, 1, NULL, 0);
	helper_start(&helper, pc, wait_for_object);
	while (!__atomic_load_n(&pc->waiters, __ATOMIC_ACQUIRE))
		sched_yield();
	pool_cache_put(pc, object);
	helper_end(&helper);
	assert_ptr_equal(helper.object, object);
	assert_int_equal(seen.constructed, 1);
	pool_cache_put(pc, helper.object);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void an_exhausted_arena_fails_nowait_and_holds_waitok(void **state)
{
	pool_cache_t pc = plain_make("exhausted", 4000, 0);
	struct kms_heap *heap = kms_process_heap();
	uint64_t used = (uint64_t)heap->arena.used_pages * KMS_PAGE_BYTES;
	uint64_t failed = pc->cache->stat->failed;
	struct helper helper;
	void *block = kmem_alloc(1 << 20, KM_SLEEP);

	(void)state;
	/* Room for the block, and for nothing else. */
	assert_int_equal(kmem_variable_set("arena_limit", used + (1 << 20) + (8 << 10)), 0);
	assert_null(pool_cache_get(pc, PR_NOWAIT));
	assert_int_equal(pc->cache->stat->failed, failed + 1);
	helper_start(&helper, pc, wait_for_object);
	while (!__atomic_load_n(&pc->waiters, __ATOMIC_ACQUIRE))
		sched_yield();
	kmem_free(block, 1 << 20);
	helper_end(&helper);
	assert_non_null(helper.object);
	assert_int_equal(kmem_variable_set("arena_limit", 0), 0);
	pool_cache_put(pc, helper.object);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void fail_nth_lets_a_nowait_get_fail(void **state)
{
	pool_cache_t pc = pool_make("nth");
	void *object;

	(void)state;
	kms_process_heap()->nosleep_count = 0;
	assert_int_equal(kmem_variable_set("fail_nth", 1), 0);
	assert_null(pool_cache_get(pc, PR_NOWAIT));
	object = pool_cache_get(pc, PR_NOWAIT);
	assert_non_null(object);
	assert_int_equal(kmem_variable_set("fail_nth", 0), 0);
	pool_cache_put(pc, object);
	pool_cache_destroy(pc);
}

static void low_water_keeps_memory_and_high_water_gives_it_back(void **state)
{
	pool_cache_t pc = plain_make("water", 1000, 0);
	const struct kms_cache_stat *stat = pc->cache->stat;
	void *object[OBJECTS];

	(void)state;
	pool_cache_setlowat(pc, 100);
	assert_true(stat->objects_in_slabs >= 100);
	for (int i = 0; i < OBJECTS; i++)
		object[i] = pool_cache_get(pc, PR_WAITOK);
	for (int i = 0; i < OBJECTS; i++)
		pool_cache_destruct_object(pc, object[i]);
	assert_true(stat->objects_in_slabs >= 100);
	assert_true(stat->objects_in_slabs < OBJECTS);
	pool_cache_setlowat(pc, 0);
	object[0] = pool_cache_get(pc, PR_WAITOK);
	pool_cache_destruct_object(pc, object[0]);
	/* One empty slab stays for the next object, unless the high water mark forbids it. */
	assert_true(stat->slabs > 0);
	pool_cache_sethiwat(pc, 0);
	while (stat->slabs) {
		uint64_t slabs = stat->slabs;

		object[0] = pool_cache_get(pc, PR_WAITOK);
		pool_cache_destruct_object(pc, object[0]);
		assert_true(stat->slabs < slabs);
	}
	pool_cache_destroy(pc);
}

static void reclaim_takes_slabs_that_were_empty_for_ten_seconds(void **state)
{
	pool_cache_t pc = pool_make("reclaim");
	const struct kms_cache_stat *stat = pc->cache->stat;

	(void)state;
	pool_cache_put(pc, pool_cache_get(pc, PR_WAITOK));
	assert_int_equal(pool_cache_reclaim(pc), 0);
	assert_int_equal(seen.destructed, 1);
	assert_int_equal(stat->slabs, 1);
	pc->cache->partial->idle_ns -= UINT64_C(11000000000);
	assert_int_equal(pool_cache_reclaim(pc), 1);
	assert_int_equal(stat->slabs, 0);
	pool_cache_destroy(pc);
}

static void a_pool_is_a_row_of_the_caches_under_its_name(void **state)
{
	pool_cache_t pc = plain_make("a pool with a rather long name that goes on and on", 72, 64);
	void *object = pool_cache_get(pc, PR_WAITOK);
	struct kms_local *t = kms_tls;
	uint64_t allocs = t->counter[pc->cache->index].allocs;

	(void)state;
	assert_string_equal(entry_of(pc)->name, "a pool with a rather long name that goe");
	assert_int_equal(entry_of(pc)->kind, KMS_CACHE_POOL);
	assert_int_equal(entry_of(pc)->object_bytes, 72);
	assert_int_equal(entry_of(pc)->align_bytes, 64);
	assert_int_equal(entry_of(pc)->stride_bytes, 128);
	assert_int_equal(entry_of(pc)->ready, 1);
	assert_int_equal(allocs, 1);
	assert_int_equal(t->counter[pc->cache->index].alloc_bytes, 72);
	pool_cache_put(pc, object);
	assert_int_equal(t->counter[pc->cache->index].frees, 1);
	pool_cache_destroy(pc);
}

static void beyond_256_caches_there_is_no_pool_until_one_like_it_is_destroyed(void **state)
{
	static pool_cache_t pc[KMS_MAX_CACHES];
	unsigned n = 0;
	void *object;

	(void)state;
	while ((pc[n] = plain_make(n % 2 ? "odd" : "even", 16, 0)))
		n++;
	assert_true(n > 100);
	fault_log_expect_none();
	pool_cache_destroy(pc[1]);
	assert_null(plain_make("even", 16, 0));
	assert_null(plain_make("odd", 24, 0));
	pc[1] = plain_make("odd", 16, 0);
	assert_non_null(pc[1]);
	object = pool_cache_get(pc[1], PR_WAITOK);
	pool_cache_put(pc[1], object);
	while (n)
		pool_cache_destroy(pc[--n]);
	for (int i = 0; i < 10000; i++) {
		pc[0] = plain_make("odd", 16, 0);
		assert_non_null(pc[0]);
		pool_cache_put(pc[0], pool_cache_get(pc[0], PR_WAITOK));
		pool_cache_destroy(pc[0]);
	}
	fault_log_expect_none();
}

/* What pool(9) promises of its figures: an object is in its slab, parked or live. */
static void figures_add_up_at_any_time(void **state)
{
	pool_cache_t pc = plain_make("figures", 500, 0);
	const struct kms_cache_stat *stat = pc->cache->stat;
	void *object[OBJECTS];

	(void)state;
	for (int i = 0; i < OBJECTS; i++) {
		object[i] = pool_cache_get(pc, PR_WAITOK);
		assert_int_equal(stat->objects_total - stat->objects_in_slabs, pc->out);
		assert_int_equal(pc->out, i + 1);
		assert_int_equal(stat->pages, stat->slabs * pc->cache->slab_pages);
	}
	for (int i = 0; i < OBJECTS; i++)
		pool_cache_put(pc, object[i]);
	assert_int_equal(pc->out, OBJECTS); /* parked ones are out of their slabs */
	pool_cache_invalidate(pc);
	assert_int_equal(pc->out, 0);
	assert_int_equal(stat->objects_total, stat->objects_in_slabs);
	pool_cache_destroy(pc);
	assert_int_equal(stat->pages, 0);
	fault_log_expect_none();
}

/* With objects parked by it, live, and parked by a thread that the child does not have. */
static int use_after_fork(pool_cache_t pc, void *live)
{
	void *object = pool_cache_get(pc, PR_WAITOK);

	if (!object)
		return 1;
	pool_cache_put(pc, object);
	pool_cache_put(pc, live);
	pool_cache_destroy(pc);
	return fault_log_count() || seen.constructed != seen.destructed ? 2 : 0;
}

static void a_forked_child_has_a_pool_of_its_own(void **state)
{
	pool_cache_t pc = pool_make("forked");
	void *live = pool_cache_get(pc, PR_WAITOK);
	struct helper helper;
	int status;
	pid_t pid;

	(void)state;
	pool_cache_put(pc, pool_cache_get(pc, PR_WAITOK));
	helper_start(&helper, pc, park_and_stay);
	pid = fork();
	if (pid == 0)
		_exit(use_after_fork(pc, live));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	helper_end(&helper);
	assert_int_equal(seen.destructed, 0);
	pool_cache_put(pc, live);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

/* The lock of a magazine that another thread has at work at the moment of the fork. */
static uint32_t *lock_of_helper(pool_cache_t pc)
{
	struct kms_local *t = kms_process_heap()->all_locals;

	while (t &&
	       (t == kms_tls || t->bin[pc->cache->index].top == t->bin[pc->cache->index].bottom))
		t = t->next_all;
	assert_non_null(t);
	return &t->pool_lock[pc->cache->index];
}

static void a_magazine_at_work_while_somebody_forks_does_not_stop_the_child(void **state)
{
	pool_cache_t pc = pool_make("at work");
	struct helper helper;
	uint32_t *lock;
	int status;
	pid_t pid;

	(void)state;
	helper_start(&helper, pc, park_and_stay);
	lock = lock_of_helper(pc);
	__atomic_store_n(lock, 1, __ATOMIC_RELEASE);
	pid = fork();
	if (pid == 0) {
		alarm(20);
		pool_cache_invalidate(pc);
		_exit(0);
	}
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	helper_end(&helper);
	pool_cache_destroy(pc);
	assert_int_equal(seen.destructed, seen.constructed);
	fault_log_expect_none();
}

static void get_paddr_knows_no_physical_address(void **state)
{
	pool_cache_t pc = plain_make("paddr", 16, 0);
	paddr_t paddr = 1;
	void *object = pool_cache_get_paddr(pc, PR_WAITOK, &paddr);

	(void)state;
	assert_true(paddr == POOL_PADDR_INVALID);
	pool_cache_put_paddr(pc, object, paddr);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_object_is_constructed_once_however_often_it_is_taken),
		cmocka_unit_test(every_object_is_destructed_before_its_pool_is_gone),
		cmocka_unit_test(the_constructor_gets_its_argument_and_the_flags_of_the_get),
		cmocka_unit_test(a_constructor_that_fails_gives_null_even_with_waitok),
		cmocka_unit_test(constructors_may_use_the_allocator),
		cmocka_unit_test(objects_have_the_size_and_alignment_asked_for),
		cmocka_unit_test(first_blocks_of_slabs_move_through_the_colours),
		cmocka_unit_test(the_hard_limit_counts_parked_objects_and_uses_them_first),
		cmocka_unit_test(objects_parked_with_another_thread_are_reached),
		cmocka_unit_test(waitok_waits_at_the_hard_limit_until_an_object_comes_back),
		cmocka_unit_test(an_exhausted_arena_fails_nowait_and_holds_waitok),
		cmocka_unit_test(fail_nth_lets_a_nowait_get_fail),
		cmocka_unit_test(low_water_keeps_memory_and_high_water_gives_it_back),
		cmocka_unit_test(reclaim_takes_slabs_that_were_empty_for_ten_seconds),
		cmocka_unit_test(a_pool_is_a_row_of_the_caches_under_its_name),
		cmocka_unit_test(figures_add_up_at_any_time),
		cmocka_unit_test(a_forked_child_has_a_pool_of_its_own),
		cmocka_unit_test(a_magazine_at_work_while_somebody_forks_does_not_stop_the_child),
		cmocka_unit_test(get_paddr_knows_no_physical_address),
		cmocka_unit_test(beyond_256_caches_there_is_no_pool_until_one_like_it_is_destroyed),
	};

	return cmocka_run_group_tests(tests, fault_log_setup, NULL);
}
