/* SPDX-License-Identifier: BSD-2-Clause */
/* pool_cache(9): which mistakes are found, and what becomes of the call. */
#include "allocator/alloc.h"
#include "allocator/port/process.h"
#include "allocator/test/fault_log.h"
#include "allocator/test/pool_support.h"

static void wrong_arguments_are_a_fault_and_give_no_pool(void **state)
{
	static const struct {
		size_t size;
		unsigned align, offset;
		unsigned kind;
	} rows[] = {
		{0,         8,       0, KMS_FAULT_ZERO_SIZE},
                {8,         3,       0, KMS_FAULT_BAD_FLAGS},
		{8,         1 << 20, 0, KMS_FAULT_BAD_FLAGS},
                {8,         8,       4, KMS_FAULT_BAD_FLAGS},
		{SIZE_MAX,  8,       0, KMS_FAULT_BAD_FLAGS},
                {64u << 20, 8,       0, KMS_FAULT_BAD_FLAGS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_null(pool_cache_init(rows[i].size, rows[i].align, rows[i].offset, 0, "wrong",
					    NULL, IPL_NONE, NULL, NULL, NULL));
		fault_log_expect(rows[i].kind, NULL);
	}
}

static void exactly_one_of_waitok_and_nowait_must_be_given(void **state)
{
	static const int bad[] = {0, PR_WAITOK | PR_NOWAIT};
	pool_cache_t pc = pool_make("flags2");

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *object = pool_cache_get(pc, bad[i]);

		assert_non_null(object);
		fault_log_expect(KMS_FAULT_BAD_FLAGS, NULL);
		pool_cache_put(pc, object);
	}
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void contexts_are_checked(void **state)
{
	static const int levels[] = {KMEM_CONTEXT_SOFTINT, KMEM_CONTEXT_CALLOUT,
				     KMEM_CONTEXT_HARDINT};
	pool_cache_t in_interrupts = pool_make("vm"), never = plain_make("none", 40, 0);
	static const int lock;
	void *object;

	(void)state;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		int before = kmem_context_enter(levels[i]);

		object = pool_cache_get(in_interrupts, PR_NOWAIT);
		pool_cache_put(in_interrupts, object);
		fault_log_expect_none();
		object = pool_cache_get(in_interrupts, PR_WAITOK);
		assert_int_equal(fault_log_at(0)->level, levels[i]);
		fault_log_expect(KMS_FAULT_WRONG_CONTEXT, NULL);
		pool_cache_put(in_interrupts, object);
		object = pool_cache_get(never, PR_NOWAIT);
		assert_non_null(strstr(fault_log_at(0)->text, "[none] is IPL_NONE"));
		fault_log_expect(KMS_FAULT_WRONG_CONTEXT, NULL);
		pool_cache_put(never, object);
		fault_log_expect(KMS_FAULT_WRONG_CONTEXT, object);
		kmem_context_leave(before);
	}
	kmem_lock_hold(&lock);
	object = pool_cache_get(never, PR_NOWAIT);
	fault_log_expect_none();
	pool_cache_put(never, object);
	object = pool_cache_get(never, PR_WAITOK);
	fault_log_expect(KMS_FAULT_SLEEP_WITH_LOCK, NULL);
	kmem_lock_drop(&lock);
	pool_cache_put(never, object);
	pool_cache_destroy(never);
	pool_cache_destroy(in_interrupts);
	fault_log_expect_none();
}

static void an_object_of_another_pool_is_named_by_both_and_goes_home(void **state)
{
	pool_cache_t mine = plain_make("mine", 60, 0), other = plain_make("other", 60, 0);
	void *object = pool_cache_get(mine, PR_WAITOK);

	(void)state;
	pool_cache_put(other, object);
	assert_non_null(strstr(fault_log_at(0)->text, "[other]"));
	assert_non_null(strstr(fault_log_at(0)->text, "mine"));
	assert_int_equal(fault_log_at(0)->cache, mine->cache->index);
	assert_int_equal(fault_log_at(0)->argument_cache, other->cache->index);
	fault_log_expect(KMS_FAULT_WRONG_CACHE, object);
	assert_ptr_equal(pool_cache_get(mine, PR_WAITOK), object);
	pool_cache_put(mine, object);
	pool_cache_destroy(mine);
	pool_cache_destroy(other);
	fault_log_expect_none();
}

static void blocks_and_objects_do_not_mix(void **state)
{
	pool_cache_t pc = plain_make("mix", 60, 0);
	void *object = pool_cache_get(pc, PR_WAITOK);
	void *block = kmem_alloc(60, KM_SLEEP);

	(void)state;
	kmem_free(object, 60);
	assert_non_null(strstr(fault_log_at(0)->text, "mix"));
	fault_log_expect(KMS_FAULT_WRONG_CACHE, object);
	pool_cache_put(pc, block);
	assert_non_null(strstr(fault_log_at(0)->text, "kmem-80"));
	fault_log_expect(KMS_FAULT_WRONG_CACHE, block);
	/* Neither was carried out: both are live. */
	kmem_free(block, 60);
	pool_cache_put(pc, object);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void a_second_put_and_what_is_no_object_are_named(void **state)
{
	pool_cache_t pc = pool_make("bad");
	char *object = pool_cache_get(pc, PR_WAITOK);
	char on_stack[BYTES];

	(void)state;
	pool_cache_put(pc, object + 8);
	fault_log_expect(KMS_FAULT_INVALID_FREE, object);
	pool_cache_put(pc, on_stack);
	fault_log_expect(KMS_FAULT_INVALID_FREE, NULL);
	pool_cache_put(pc, NULL);
	fault_log_expect(KMS_FAULT_NULL_FREE, NULL);
	pool_cache_put(pc, object);
	pool_cache_put(pc, object);
	assert_int_equal(fault_log_at(0)->block_state, KMS_BLOCK_CACHED);
	fault_log_expect(KMS_FAULT_DOUBLE_FREE, object);
	pool_cache_destruct_object(pc, object);
	fault_log_expect(KMS_FAULT_DOUBLE_FREE, object);
	object = pool_cache_get(pc, PR_WAITOK);
	pool_cache_destruct_object(pc, object);
	pool_cache_put(pc, object);
	assert_int_equal(fault_log_at(0)->block_state, KMS_BLOCK_FREE);
	fault_log_expect(KMS_FAULT_DOUBLE_FREE, object);
	pool_cache_destroy(pc);
	fault_log_expect_none();
}

static void writes_around_an_object_are_seen_at_its_put_and_by_verify(void **state)
{
	static const size_t sizes[] = {1, 6, 7, 8, 62, 63, 64, 1000, 5000, 70000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		pool_cache_t pc = plain_make("zones", sizes[i], 0);
		unsigned char *before = pool_cache_get(pc, PR_WAITOK);
		volatile unsigned char *object = pool_cache_get(pc, PR_WAITOK);

		object[sizes[i]] ^= 0xff;
		pool_cache_put(pc, (void *)object);
		assert_int_equal(fault_log_at(0)->address, (uintptr_t)object + sizes[i]);
		fault_log_expect(KMS_FAULT_OVERFLOW, (const void *)object);
		object = pool_cache_get(pc, PR_WAITOK);
		object[sizes[i] + 1] = 0;
		assert_int_equal(kmem_verify(), 1);
		fault_log_expect(KMS_FAULT_OVERFLOW, (const void *)object);
		before[-1] ^= 0xff;
		pool_cache_put(pc, before);
		fault_log_expect(KMS_FAULT_UNDERFLOW, before);
		pool_cache_put(pc, (void *)object);
		pool_cache_destroy(pc);
	}
	fault_log_expect_none();
}

static void poison_finds_writes_to_parked_objects(void **state)
{
	pool_cache_t raw, built;
	unsigned char *object;

	(void)state;
	assert_int_equal(kmem_variable_set("poison", 1), 0);
	raw = plain_make("raw", BYTES, 0);
	object = pool_cache_get(raw, PR_WAITOK);
	memset(object, 5, BYTES);
	pool_cache_put(raw, object);
	object[50] ^= 0xff;
	assert_ptr_equal(pool_cache_get(raw, PR_WAITOK), object);
	assert_int_equal(fault_log_at(0)->address, (uintptr_t)object + 50);
	fault_log_expect(KMS_FAULT_MODIFIED_AFTER_FREE, object);
	/* in its slab as well */
	pool_cache_destruct_object(raw, object);
	object[51] ^= 0xff;
	assert_ptr_equal(pool_cache_get(raw, PR_WAITOK), object);
	assert_int_equal(fault_log_at(0)->address, (uintptr_t)object + 51);
	fault_log_expect(KMS_FAULT_MODIFIED_AFTER_FREE, object);
	pool_cache_put(raw, object);
	pool_cache_destroy(raw);

	built = pool_make("built");
	object = pool_cache_get(built, PR_WAITOK);
	assert_int_equal(object[50], 0x11);
	pool_cache_put(built, object);
	assert_ptr_equal(pool_cache_get(built, PR_WAITOK), object);
	assert_int_equal(object[50], 0x11); /* a constructed object is never filled */
	fault_log_expect_none();
	pool_cache_put(built, object);
	object[50] = 0x12;
	assert_ptr_equal(pool_cache_get(built, PR_WAITOK), object);
	fault_log_expect(KMS_FAULT_MODIFIED_AFTER_FREE, object);
	object[50] = 0x11;
	pool_cache_put(built, object);
	pool_cache_destroy(built);
	assert_int_equal(kmem_variable_set("poison", 0), 0);
	fault_log_expect_none();
}

/* As one that another thread has emptied meanwhile: what its places named is not free any more. */
static void verify_leaves_alone_what_a_pools_magazine_names(void **state)
{
	struct kms_round *round;
	unsigned char *object;
	pool_cache_t pc;

	(void)state;
	assert_int_equal(kmem_variable_set("kmem_poison", 1), 0);
	pc = plain_make("emptied", 128, 0);
	object = pool_cache_get(pc, PR_WAITOK);
	pool_cache_put(pc, object);
	round = kms_tls->bin[pc->cache->index].top - 1;
	assert_ptr_equal(round->block, object);
	round->side->state = KMS_BLOCK_FREE;
	object[50] ^= 0xff;
	assert_int_equal(kmem_verify(), 0);
	object[50] ^= 0xff;
	round->side->state = KMS_BLOCK_CACHED;
	pool_cache_destroy(pc);
	assert_int_equal(kmem_variable_set("kmem_poison", 0), 0);
	fault_log_expect_none();
}

static void a_switch_of_checks_is_in_force_with_the_next_get(void **state)
{
	pool_cache_t pc = pool_make("switch");
	unsigned char *old = pool_cache_get(pc, PR_WAITOK), *parked, *fresh;

	(void)state;
	parked = pool_cache_get(pc, PR_WAITOK);
	pool_cache_put(pc, parked);
	assert_int_equal(kmem_variable_set("redzone", 0), 0);
	fresh = pool_cache_get(pc, PR_WAITOK);
	/* The parked one had a redzone: it was destructed and another one made. */
	assert_int_equal(seen.destructed, 1);
	assert_int_equal(seen.constructed, 3);
	assert_int_equal(kms_span_of(kms_process_heap(), (uintptr_t)fresh)->stride_bytes, 104);
	fresh[BYTES] ^= 0xff;
	pool_cache_put(pc, fresh);
	fault_log_expect_none();
	/* The live one keeps its checks to its end. */
	old[BYTES] ^= 0xff;
	pool_cache_put(pc, old);
	fault_log_expect(KMS_FAULT_OVERFLOW, old);
	assert_int_equal(kmem_variable_set("redzone", 1), 0);
	pool_cache_destroy(pc);
	assert_int_equal(seen.destructed, 3);
	fault_log_expect_none();
}

static void a_pool_with_live_objects_is_not_destroyed(void **state)
{
	pool_cache_t pc = pool_make("busy");
	void *object = pool_cache_get(pc, PR_WAITOK), *second = pool_cache_get(pc, PR_WAITOK);

	(void)state;
	pool_cache_put(pc, second);
	pool_cache_destroy(pc);
	assert_non_null(strstr(fault_log_at(0)->text, "[busy] pool busy: still out: 1"));
	fault_log_expect(KMS_FAULT_INVALID_FREE, NULL);
	pool_cache_put(pc, object);
	pool_cache_destroy(pc);
	fault_log_expect_none();
	assert_null(pool_cache_get(pc, PR_WAITOK));
	assert_non_null(strstr(fault_log_at(0)->text, "[busy] used after pool_cache_destroy"));
	fault_log_expect(KMS_FAULT_USE_AFTER_FREE, NULL);
	pool_cache_destroy(pc);
	fault_log_expect(KMS_FAULT_USE_AFTER_FREE, NULL);
	assert_int_equal(seen.destructed, seen.constructed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_arguments_are_a_fault_and_give_no_pool),
		cmocka_unit_test(exactly_one_of_waitok_and_nowait_must_be_given),
		cmocka_unit_test(contexts_are_checked),
		cmocka_unit_test(an_object_of_another_pool_is_named_by_both_and_goes_home),
		cmocka_unit_test(blocks_and_objects_do_not_mix),
		cmocka_unit_test(a_second_put_and_what_is_no_object_are_named),
		cmocka_unit_test(writes_around_an_object_are_seen_at_its_put_and_by_verify),
		cmocka_unit_test(poison_finds_writes_to_parked_objects),
		cmocka_unit_test(verify_leaves_alone_what_a_pools_magazine_names),
		cmocka_unit_test(a_switch_of_checks_is_in_force_with_the_next_get),
		cmocka_unit_test(a_pool_with_live_objects_is_not_destroyed),
	};

	return cmocka_run_group_tests(tests, fault_log_setup, NULL);
}
