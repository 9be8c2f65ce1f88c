/* SPDX-License-Identifier: BSD-2-Clause */
/* pool_cache(9) under guard: objects are not parked, and a use after the put is caught. */
#include "allocator/alloc.h"
#include "allocator/port/process.h"
#include "allocator/test/fault_log.h"
#include "allocator/test/pool_support.h"

static volatile unsigned char sink;

static int guard_on(void **state)
{
	(void)state;
	return kmem_variable_set("kmem_guard_depth", 512);
}

static int guard_off(void **state)
{
	(void)state;
	return kmem_variable_set("kmem_guard_depth", 0);
}

static void a_guarded_object_is_constructed_by_each_get_and_destructed_by_each_put(void **state)
{
	pool_cache_t pc = pool_make("guarded");

	(void)state;
	for (unsigned i = 1; i <= 10; i++) {
		unsigned char *object = pool_cache_get(pc, PR_WAITOK);

		assert_int_equal(object[BYTES - 1], 0x11);
		assert_int_equal(seen.constructed, i);
		pool_cache_put(pc, object);
		assert_int_equal(seen.destructed, i);
	}
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void a_use_after_the_put_is_caught_with_its_stacks(void **state)
{
	pool_cache_t pc = pool_make("used");
	volatile unsigned char *object = pool_cache_get(pc, PR_WAITOK);

	(void)state;
	pool_cache_put(pc, (void *)object);
	sink = object[7];
	assert_int_equal(fault_log_at(0)->address, (uintptr_t)object + 7);
	assert_int_equal(fault_log_at(0)->cache, pc->cache->index);
	assert_int_not_equal(fault_log_at(0)->alloc_stack, 0);
	assert_int_not_equal(fault_log_at(0)->free_stack, 0);
	fault_log_expect(KMS_FAULT_USE_AFTER_FREE, (const void *)object);
	pool_cache_put(pc, (void *)object);
	fault_log_expect(KMS_FAULT_DOUBLE_FREE, (const void *)object);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void a_constructor_that_fails_leaves_nothing(void **state)
{
	pool_cache_t pc = pool_make("failing");

	(void)state;
	seen.fail = true;
	assert_null(pool_cache_get(pc, PR_WAITOK));
	seen.fail = false;
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void a_pool_with_a_live_guarded_object_is_busy(void **state)
{
	pool_cache_t pc = pool_make("held");
	void *object = pool_cache_get(pc, PR_WAITOK);

	(void)state;
	pool_cache_destroy(pc);
	fault_log_expect(KMS_FAULT_INVALID_FREE, NULL);
	pool_cache_put(pc, object);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void objects_from_before_and_after_the_guard_mix(void **state)
{
	pool_cache_t pc, other = plain_make("other", BYTES, 64);
	unsigned char *before, *during, *after;

	(void)state;
	guard_off(NULL);
	pc = plain_make("mixed", BYTES, 64);
	before = pool_cache_get(pc, PR_WAITOK);
	guard_on(NULL);
	during = pool_cache_get(pc, PR_WAITOK);
	assert_int_equal((uintptr_t)during % 64, 0);
	guard_off(NULL);
	after = pool_cache_get(pc, PR_WAITOK);
	pool_cache_put(other, during);
	fault_log_expect(KMS_FAULT_WRONG_CACHE, during);
	pool_cache_put(pc, before);
	pool_cache_put(pc, after);
	pool_cache_destroy(pc);
	pool_cache_destroy(other);
	fault_log_expect_none();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guard_on, guard_off)
	const struct CMUnitTest tests[] = {
		TEST(a_guarded_object_is_constructed_by_each_get_and_destructed_by_each_put),
		TEST(a_use_after_the_put_is_caught_with_its_stacks),
		TEST(a_constructor_that_fails_leaves_nothing),
		TEST(a_pool_with_a_live_guarded_object_is_busy),
		TEST(objects_from_before_and_after_the_guard_mix),
	};

	return cmocka_run_group_tests(tests, fault_log_setup, NULL);
}
