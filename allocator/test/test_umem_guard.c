/* SPDX-License-Identifier: BSD-2-Clause */
/* ddi_umem buffers under guard, and pageable ones in interrupt context: caught at the access. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator/alloc.h"
#include "allocator/kmem.h"
#include "allocator/port/process.h"
#include "allocator/test/fault_log.h"
#include "allocator/umem.h"
#include "base/test/unit.h"

#define PAGE ((size_t)4096)

enum {
	MANY = 200,
	DEADLINE_S = 20,
};

static volatile char sink;

static void guard_on(void)
{
	assert_int_equal(kmem_variable_set("kmem_guard_depth", 512), 0);
}

static void guard_off(void)
{
	assert_int_equal(kmem_variable_set("kmem_guard_depth", 0), 0);
}

static void an_access_next_to_a_guarded_buffer_is_caught_at_once(void **state)
{
	static const long offsets[] = {2 * PAGE, 2 * PAGE + 100, 3 * PAGE - 1, -1, -(long)PAGE};

	(void)state;
	guard_on();
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		ddi_umem_cookie_t cookie;
		volatile char *p = ddi_umem_alloc(5000, DDI_UMEM_SLEEP, &cookie);

		p[2 * PAGE - 1] = 1;
		fault_log_expect_none();
		if (i % 2)
			p[offsets[i]] = 1;
		else
			sink = p[offsets[i]];
		assert_int_equal(fault_log_at(0)->address, (uintptr_t)p + (uintptr_t)offsets[i]);
		assert_int_equal(fault_log_at(0)->access,
				 i % 2 ? KMS_ACCESS_WRITE : KMS_ACCESS_READ);
		assert_int_not_equal(fault_log_at(0)->stack, 0);
		assert_int_not_equal(fault_log_at(0)->alloc_stack, 0);
		fault_log_expect(offsets[i] < 0 ? KMS_FAULT_UNDERFLOW : KMS_FAULT_OVERFLOW,
				 (const void *)p);
		ddi_umem_free(cookie);
		fault_log_expect_none();
	}
	guard_off();
}

static void a_guarded_buffer_stays_closed_after_its_free(void **state)
{
	ddi_umem_cookie_t cookie;
	volatile char *p;

	(void)state;
	guard_on();
	p = ddi_umem_alloc(2 * PAGE, DDI_UMEM_SLEEP, &cookie);
	p[5] = 1;
	ddi_umem_free(cookie);
	sink = p[5];
	assert_int_equal(fault_log_at(0)->address, (uintptr_t)p + 5);
	assert_int_not_equal(fault_log_at(0)->alloc_stack, 0);
	assert_int_not_equal(fault_log_at(0)->free_stack, 0);
	fault_log_expect(KMS_FAULT_USE_AFTER_FREE, (const void *)p);
	/* the page is open now, with a pattern */
	sink = p[6];
	fault_log_expect_none();
	ddi_umem_free(cookie);
	fault_log_expect(KMS_FAULT_DOUBLE_FREE, (const void *)p);
	guard_off();
}

static void kept_buffers_give_way_to_new_ones(void **state)
{
	struct kms_heap *heap = kms_process_heap();
	ddi_umem_cookie_t cookie;

	(void)state;
	guard_on();
	for (int i = 0; i < MANY; i++) {
		assert_non_null(ddi_umem_alloc(4 * PAGE, DDI_UMEM_SLEEP, &cookie));
		ddi_umem_free(cookie);
		assert_true(heap->umems->n_kept <= KMS_UMEM_KEPT);
	}
	assert_int_equal(heap->umems->n_kept, KMS_UMEM_KEPT);
	assert_int_equal(kmem_variable_set("arena_limit", heap->arena.used_pages * PAGE), 0);
	assert_non_null(ddi_umem_alloc(100 * PAGE, DDI_UMEM_NOSLEEP, &cookie));
	assert_true(heap->umems->n_kept < KMS_UMEM_KEPT);
	assert_int_equal(kmem_variable_set("arena_limit", 0), 0);
	ddi_umem_free(cookie);
	guard_off();
	fault_log_expect_none();
}

static void verify_passes_by_closed_pages(void **state)
{
	ddi_umem_cookie_t guarded, kept;

	(void)state;
	guard_on();
	(void)ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &guarded);
	(void)ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &kept);
	ddi_umem_free(kept);
	assert_int_equal(kmem_verify(), 0);
	ddi_umem_free(guarded);
	guard_off();
	fault_log_expect_none();
}

static void pageable_memory_is_not_for_interrupts(void **state)
{
	static const int levels[] = {KMEM_CONTEXT_SOFTINT, KMEM_CONTEXT_CALLOUT,
				     KMEM_CONTEXT_HARDINT};
	ddi_umem_cookie_t locked, pageable;
	volatile char *p = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &locked);
	volatile char *q = ddi_umem_alloc(2 * PAGE, DDI_UMEM_PAGEABLE, &pageable);

	(void)state;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		int before;

		q[0] = (char)i;
		before = kmem_context_enter(levels[i]);
		p[0] = 1;
		fault_log_expect_none();
		q[PAGE] = q[0];
		assert_int_equal(fault_log_at(0)->address, (uintptr_t)q);
		assert_int_equal(fault_log_at(0)->level, levels[i]);
		fault_log_expect(KMS_FAULT_WRONG_CONTEXT, (const void *)q);
		kmem_context_leave(before);
		assert_int_equal(q[PAGE], (char)i);
	}
	fault_log_expect_none();
	ddi_umem_free(locked);
	ddi_umem_free(pageable);
}

static void pageable_memory_made_in_an_interrupt_is_closed_there(void **state)
{
	int before = kmem_context_enter(KMEM_CONTEXT_HARDINT);
	ddi_umem_cookie_t cookie, never_touched;
	volatile char *p = ddi_umem_alloc(PAGE, DDI_UMEM_NOSLEEP | DDI_UMEM_PAGEABLE, &cookie);

	(void)state;
	(void)ddi_umem_alloc(PAGE, DDI_UMEM_NOSLEEP | DDI_UMEM_PAGEABLE, &never_touched);
	ddi_umem_free(never_touched);
	sink = p[0];
	fault_log_expect(KMS_FAULT_WRONG_CONTEXT, (const void *)p);
	kmem_context_leave(before);
	p[0] = 1;
	ddi_umem_free(cookie);
	fault_log_expect_none();
}

/** A thread at task level, while another one is in an interrupt. */
static void *touch(void *p)
{
	*(volatile char *)p = 42;
	return NULL;
}

static void other_threads_may_touch_pageable_memory_meanwhile(void **state)
{
	ddi_umem_cookie_t cookie;
	char *p = ddi_umem_alloc(PAGE, DDI_UMEM_PAGEABLE, &cookie);
	int before = kmem_context_enter(KMEM_CONTEXT_SOFTINT);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, touch, p), 0);
	pthread_join(thread, NULL);
	kmem_context_leave(before);
	assert_int_equal(p[0], 42);
	ddi_umem_free(cookie);
	fault_log_expect_none();
}

/* As in a signal handler that came while this thread was in a call and held the lock. */
static void touch_under_the_lock(struct kms_local *t, volatile char *p)
{
	kms_port_lock(kms_umem_lock_word(t->heap));
	kms_enter(t);
	alarm(DEADLINE_S);
	signal(SIGSEGV, SIG_DFL); /* not the test library's */
	*p = 1;
}

static void a_trap_does_not_wait_for_a_lock_of_the_call_it_interrupted(void **state)
{
	ddi_umem_cookie_t cookie;
	volatile char *p;
	int status;
	pid_t pid;

	(void)state;
	guard_on();
	p = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie);
	pid = fork();
	if (pid == 0) {
		touch_under_the_lock(kms_process_local(), p + PAGE);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	ddi_umem_free(cookie);
	guard_off();
	fault_log_expect_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pageable_memory_is_not_for_interrupts),
		cmocka_unit_test(pageable_memory_made_in_an_interrupt_is_closed_there),
		cmocka_unit_test(other_threads_may_touch_pageable_memory_meanwhile),
		cmocka_unit_test(an_access_next_to_a_guarded_buffer_is_caught_at_once),
		cmocka_unit_test(a_guarded_buffer_stays_closed_after_its_free),
		cmocka_unit_test(kept_buffers_give_way_to_new_ones),
		cmocka_unit_test(verify_passes_by_closed_pages),
		cmocka_unit_test(a_trap_does_not_wait_for_a_lock_of_the_call_it_interrupted),
	};

	return cmocka_run_group_tests(tests, fault_log_setup, NULL);
}
