/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks from batches: which module an address was in, and when; what is missing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/batch_build.h"
#include "tracer/stack_book.h"
#include "tracer/stack_id.h"

enum {
	IMAGE = 2,
};

static void add_nodes(struct kms_batch *batch, uint32_t first, const struct kms_node *node,
		      uint32_t n)
{
	struct kms_batch_table *table =
		kms_batch_add_table(batch, KMS_SEC_NODE, first, n, sizeof(*node));

	table->image = IMAGE;
	memcpy(table->data, node, n * sizeof(*node));
}

static void add_string(struct kms_batch *batch, uint32_t index, const char *text)
{
	uint32_t units = 1 + (uint32_t)(strlen(text) + 7) / 8;
	struct kms_string_head head = {.ready = (uint32_t)strlen(text) + 1};
	struct kms_batch_table *table =
		kms_batch_add_table(batch, KMS_SEC_STRING, index, units, sizeof(head));

	table->image = IMAGE;
	memcpy(table->data, &head, sizeof(head));
	memcpy(table->data + sizeof(head), text, strlen(text));
}

static void add_module(struct kms_batch *batch, uint32_t index, const struct kms_module *module)
{
	struct kms_batch_table *table =
		kms_batch_add_table(batch, KMS_SEC_MODULE, index, 1, sizeof(*module));

	table->image = IMAGE;
	memcpy(table->data, module, sizeof(*module));
}

static uint32_t ready(uint32_t epoch)
{
	return epoch << 2 | KMS_NODE_READY;
}

/* main (0x1010) called f (0x2020), once before and once after another library took f's place. */
static void fill(struct kms_batch *batch)
{
	const struct kms_node nodes[] = {
		{.pc = 0x1010, .parent = 0, .epoch_ready = ready(1)               },
		{.pc = 0x2020, .parent = 1, .epoch_ready = ready(2)               },
		{.pc = 0x2020, .parent = 1, .epoch_ready = ready(3)               },
		{.pc = 0x9000, .parent = 2, .epoch_ready = ready(2) | KMS_NODE_CUT},
	};
	const struct kms_module program = {.start = 0x1000,
					   .end = 0x1800,
					   .load_bias = 0x1000,
					   .path_string = 1,
					   .epoch = 1,
					   .ready = 1};
	struct kms_module library = {.start = 0x2000,
				     .end = 0x3000,
				     .load_bias = 0x2000,
				     .path_string = 10,
				     .epoch = 2,
				     .ready = 1};

	/* as the reader sends them: strings behind the modules that name them */
	add_nodes(batch, 1, nodes, 4);
	add_module(batch, 0, &program);
	add_module(batch, 1, &library);
	library.epoch = 3;
	library.load_bias = 0x1f00;
	library.path_string = 20;
	add_module(batch, 2, &library);
	add_string(batch, 1, "/bin/program");
	add_string(batch, 10, "/lib/old.so");
	add_string(batch, 20, "/lib/new.so");
}

static struct kms_stack_book *make(void)
{
	struct kms_stack_book *book = kms_stack_book_create(0);
	struct kms_batch *batch = kms_batch_create();

	fill(batch);
	assert_int_equal(kms_stack_book_feed(book, batch), 0);
	kms_batch_put(batch);
	return book;
}

static void frames_are_in_the_module_of_their_epoch(void **state)
{
	struct kms_stack_book *book = make();
	struct kms_view_stack stack;

	(void)state;
	assert_int_equal(kms_stack_book_frames(book, NULL, kms_stack_id(IMAGE, 2), &stack, NULL),
			 0);
	assert_int_equal(stack.n_frames, 2);
	assert_int_equal(stack.frame[0].address, 0x2020);
	assert_string_equal(stack.frame[0].module, "/lib/old.so");
	assert_int_equal(stack.frame[0].offset, 0x20);
	assert_string_equal(stack.frame[1].module, "/bin/program");
	assert_int_equal(stack.frame[1].offset, 0x10);
	assert_false(stack.cut);
	kms_stack_book_free(&stack);
	assert_int_equal(kms_stack_book_frames(book, NULL, kms_stack_id(IMAGE, 3), &stack, NULL),
			 0);
	assert_string_equal(stack.frame[0].module, "/lib/new.so");
	assert_int_equal(stack.frame[0].offset, 0x120);
	kms_stack_book_free(&stack);
	kms_stack_book_destroy(book);
}

static void an_address_in_no_module_is_a_frame_and_a_cut_is_told(void **state)
{
	struct kms_stack_book *book = make();
	struct kms_view_stack stack;

	(void)state;
	assert_int_equal(kms_stack_book_frames(book, NULL, kms_stack_id(IMAGE, 4), &stack, NULL),
			 0);
	assert_int_equal(stack.n_frames, 3);
	assert_null(stack.frame[0].module);
	assert_true(stack.cut);
	kms_stack_book_free(&stack);
	kms_stack_book_destroy(book);
}

static void a_stack_that_was_never_sent_is_not_there(void **state)
{
	struct kms_stack_book *book = make();
	const uint64_t ids[] = {0,
				1,
				kms_stack_id(IMAGE, 5),
				kms_stack_id(IMAGE, UINT32_MAX),
				kms_stack_id(1, 1),
				kms_stack_id(9, 1),
				UINT64_MAX};
	struct kms_view_stack stack;
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		assert_int_equal(kms_stack_book_frames(book, NULL, ids[i], &stack, &err), -ENOENT);
		assert_int_equal(stack.n_frames, 0);
	}
	kms_stack_book_destroy(book);
}

static void a_hole_ends_a_stack_as_cut(void **state)
{
	const struct kms_node nodes[] = {
		{.epoch_ready = 0        },
                { .pc = 0x1010, .parent = 1, .epoch_ready = ready(1)}
        };
	struct kms_stack_book *book = kms_stack_book_create(0);
	struct kms_batch *batch = kms_batch_create();
	struct kms_view_stack stack;

	(void)state;
	add_nodes(batch, 1, nodes, 2);
	assert_int_equal(kms_stack_book_feed(book, batch), 0);
	assert_int_equal(kms_stack_book_frames(book, NULL, kms_stack_id(IMAGE, 2), &stack, NULL),
			 0);
	assert_int_equal(stack.n_frames, 1);
	assert_true(stack.cut);
	kms_stack_book_free(&stack);
	kms_batch_put(batch);
	kms_stack_book_destroy(book);
}

static void at_its_limit_the_book_says_so_and_keeps_what_it_has(void **state)
{
	struct kms_stack_book *book = kms_stack_book_create(8192);
	struct kms_node *nodes = calloc(1000, sizeof(*nodes));
	struct kms_batch *batch = kms_batch_create();
	struct kms_view_stack stack;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		nodes[i] = (struct kms_node){.pc = i, .parent = 0, .epoch_ready = ready(1)};
	add_nodes(batch, 1, nodes, 100);
	assert_int_equal(kms_stack_book_feed(book, batch), 0);
	add_nodes(batch, 101, nodes, 900);
	assert_int_equal(kms_stack_book_feed(book, batch), -ENOMEM);
	assert_int_equal(kms_stack_book_frames(book, NULL, kms_stack_id(IMAGE, 100), &stack, NULL),
			 0);
	kms_stack_book_free(&stack);
	assert_int_equal(kms_stack_book_frames(book, NULL, kms_stack_id(IMAGE, 500), &stack, NULL),
			 -ENOENT);
	kms_batch_put(batch);
	free(nodes);
	kms_stack_book_destroy(book);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_in_the_module_of_their_epoch),
		cmocka_unit_test(an_address_in_no_module_is_a_frame_and_a_cut_is_told),
		cmocka_unit_test(a_stack_that_was_never_sent_is_not_there),
		cmocka_unit_test(a_hole_ends_a_stack_as_cut),
		cmocka_unit_test(at_its_limit_the_book_says_so_and_keeps_what_it_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
