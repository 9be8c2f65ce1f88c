/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a call does when its gate is closed: it looks, and what comes while it looks is for the next
 * call, whose gate must be closed.
 */
#include "allocator/heap.h"
#include "allocator/port/process.h"
#include "base/test/unit.h"

/* Words that stand for a tracer's; the heap is that of this process, used alone. */
static uint32_t word, other_word;
static unsigned asked;

static int own_word(void **state)
{
	struct kms_heap *heap;

	kms_process_local(); /* the heap is there */
	heap = kms_process_heap();
	*state = (void *)(uintptr_t)heap->alone_attention;
	word = other_word = 1;
	asked = 0;
	heap->alone_attention = &word;
	kms_heap_attention(heap);
	return 0;
}

static int old_word(void **state)
{
	struct kms_heap *heap = kms_process_heap();

	heap->alone_attention = *state;
	kms_heap_attention(heap);
	return 0;
}

/* A local whose gate is open. */
static struct kms_local *open_local(void)
{
	struct kms_local *t = kms_process_local();

	assert_non_null(t);
	kms_local_look(t, NULL);
	kms_local_look(t, NULL); /* the first one may have found another word */
	assert_ptr_equal(t->attention, &word);
	assert_int_equal(kms_gate(t), 0);
	return t;
}

static void nothing_comes(struct kms_heap *heap)
{
	(void)heap;
	asked++;
}

static void a_request_comes(struct kms_heap *heap)
{
	(void)heap;
	word++;
}

static void a_switch_comes(struct kms_heap *heap)
{
	kms_heap_attention(heap);
}

static void another_word_comes(struct kms_heap *heap)
{
	heap->alone_attention = &other_word;
	kms_heap_attention(heap);
}

static void a_look_opens_the_gate_for_what_was_there_before(void **state)
{
	struct kms_local *t = open_local();

	(void)state;
	word++;
	assert_int_not_equal(kms_gate(t), 0);
	kms_local_look(t, nothing_comes);
	assert_int_equal(kms_gate(t), 0);
	kms_heap_attention(t->heap);
	assert_int_not_equal(kms_gate(t), 0);
	kms_local_look(t, nothing_comes);
	assert_int_equal(kms_gate(t), 0);
	assert_int_equal(asked, 2);
}

static void a_request_that_comes_meanwhile_is_for_the_next_call(void **state)
{
	struct kms_local *t = open_local();

	(void)state;
	word++;
	kms_local_look(t, a_request_comes);
	assert_int_not_equal(kms_gate(t), 0);
	kms_local_look(t, nothing_comes);
	assert_int_equal(kms_gate(t), 0);
}

static void a_switch_that_comes_meanwhile_is_for_the_next_call(void **state)
{
	struct kms_local *t = open_local();

	(void)state;
	word++;
	kms_local_look(t, a_switch_comes);
	assert_int_not_equal(kms_gate(t), 0);
	kms_local_look(t, nothing_comes);
	assert_int_equal(kms_gate(t), 0);
}

static void another_word_is_looked_at_even_if_it_says_the_same(void **state)
{
	struct kms_local *t = open_local();

	(void)state;
	kms_local_look(t, another_word_comes);
	assert_ptr_equal(t->attention, &other_word);
	assert_int_equal(*t->attention, word);
	assert_int_not_equal(kms_gate(t), 0);
}

static void a_nested_local_takes_nothing_up_but_knows_what_is_switched(void **state)
{
	struct kms_local *t = open_local();

	(void)state;
	t->state = KMS_LOCAL_NESTED;
	kms_heap_attention(t->heap);
	kms_local_look(t, nothing_comes);
	t->state = KMS_LOCAL_USED;
	assert_int_equal(asked, 0);
	assert_int_equal(kms_gate(t), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, own_word, old_word)
	const struct CMUnitTest tests[] = {
		TEST(a_look_opens_the_gate_for_what_was_there_before),
		TEST(a_request_that_comes_meanwhile_is_for_the_next_call),
		TEST(a_switch_that_comes_meanwhile_is_for_the_next_call),
		TEST(another_word_is_looked_at_even_if_it_says_the_same),
		TEST(a_nested_local_takes_nothing_up_but_knows_what_is_switched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
