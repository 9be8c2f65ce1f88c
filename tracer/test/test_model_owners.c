/* SPDX-License-Identifier: BSD-2-Clause */
/* Owners of findings' addresses, in whichever order findings and events are read. */
#include <string.h>

#include "base/test/unit.h"
#include "tracer/owners.h"
#include "tracer/test/model_script.h"

#define ALLOC KMS_EVENT_ALLOC
#define FREE  KMS_EVENT_FREE
#define NO    SCRIPT_NO_GENERATION

enum {
	MS_NS = 1000000,
	LONG_NS = 20 * MS_NS, /* no two events so far apart are taken for each other's */
};

static uint64_t block_at(unsigned i)
{
	return SCRIPT_BASE + (uint64_t)i * 64;
}

/* Ring 0 finds something at an address, which stands for its record (there is none of its own); the
 * model reads the finding with what it reads next. */
static void put_fault(struct script *s, uint32_t index, uint64_t address)
{
	struct kms_fault fault = {
		.ready = 1,
		.kind = KMS_FAULT_USE_AFTER_FREE,
		.time_ns = s->now_ns += 10000,
		.address = address,
		.block = address,
		.ring = 0,
		.ring_seq = s->ring[0].begun ? s->ring[0].writer.seq - 1 : 0,
	};
	struct kms_batch_table *table;

	if (!s->batch)
		s->batch = kms_batch_create();
	assert_non_null(s->batch);
	table = kms_batch_add_table(s->batch, KMS_SEC_FAULT, index, 1, sizeof(fault));
	assert_non_null(table);
	table->image = 1;
	memcpy(table->data, &fault, sizeof(fault));
}

static void feed_as(struct script *s, enum kms_batch_what what)
{
	if (!s->batch)
		s->batch = kms_batch_create();
	assert_non_null(s->batch);
	s->batch->what = what;
	script_feed(s);
}

static const struct kms_view_fault *fault_at(struct script *s, size_t i)
{
	const struct kms_snapshot *snapshot = script_snapshot(s);

	assert_true(i < snapshot->n_faults);
	return &snapshot->fault[i];
}

static void life(struct script *s, unsigned alloc_ring, unsigned free_ring, uint64_t address)
{
	script_put(s, alloc_ring, ALLOC, address, NO);
	script_put(s, free_ring, FREE, address, alloc_ring == free_ring ? NO : 2);
}

static void a_finding_that_is_read_before_its_victims_events_gets_it_as_owner(void **state)
{
	struct script *s = *state;

	script_slab(s, 0);
	life(s, 0, 0, block_at(1));
	put_fault(s, 0, block_at(1));
	script_feed(s);
	assert_int_equal(fault_at(s, 0)->n_owners, 0);
	script_read(s, 0);
	script_feed(s);
	assert_int_equal(fault_at(s, 0)->n_owners, 1);
	assert_true(fault_at(s, 0)->owner[0].free_ns > 0);
}

static void a_victim_that_another_ring_frees_is_an_owner_whichever_is_read_first(void **state)
{
	struct script *s = *state;

	script_slab(s, 0);
	life(s, 0, 1, block_at(1));
	put_fault(s, 0, block_at(1));
	script_read(s, 1);
	feed_as(s, KMS_BATCH_DATA);
	feed_as(s, KMS_BATCH_SYNC); /* the free waits for its allocation: not settled */
	script_read(s, 0);
	script_feed(s);
	assert_int_equal(fault_at(s, 0)->n_owners, 1);
	assert_true(fault_at(s, 0)->owner[0].free_ns > 0);
}

static void owners_are_told_newest_first(void **state)
{
	struct script *s = *state;
	const struct kms_view_fault *fault;

	script_slab(s, 0);
	for (unsigned i = 0; i < 5; i++)
		life(s, 0, 0, block_at(1));
	script_put(s, 0, ALLOC, block_at(1), NO);
	put_fault(s, 0, block_at(1));
	script_read(s, 0);
	script_feed(s);
	fault = fault_at(s, 0);
	assert_int_equal(fault->n_owners, 6);
	assert_int_equal(fault->owner[0].free_ns, 0);
	for (unsigned i = 1; i < 6; i++) {
		assert_true(fault->owner[i].free_ns > fault->owner[i].alloc_ns);
		assert_true(fault->owner[i].free_ns < fault->owner[i - 1].alloc_ns);
	}
}

static void who_gets_the_address_after_the_finding_is_no_owner(void **state)
{
	struct script *s = *state;

	script_slab(s, 0);
	life(s, 0, 0, block_at(1));
	put_fault(s, 0, block_at(1));
	life(s, 0, 0, block_at(1));
	script_put(s, 0, ALLOC, block_at(1), NO);
	script_read(s, 0);
	script_feed(s);
	assert_int_equal(fault_at(s, 0)->n_owners, 1);
	put_fault(s, 1, block_at(4));
	s->now_ns += LONG_NS;
	life(s, 1, 1, block_at(3)); /* of 100 bytes: the address lies in it */
	script_put(s, 1, ALLOC, block_at(4), NO);
	script_read(s, 1);
	script_feed(s);
	assert_int_equal(fault_at(s, 1)->n_owners, 0);
}

static void after_a_sync_nothing_more_is_looked_for(void **state)
{
	struct script *s = *state;

	script_slab(s, 0);
	put_fault(s, 0, block_at(1));
	script_read(s, 0);
	script_feed(s);
	assert_int_equal(s->model->faults_settled, 0);
	feed_as(s, KMS_BATCH_SYNC);
	assert_int_equal(s->model->faults_settled, 1);
	put_fault(s, 1, block_at(2));
	feed_as(s, KMS_BATCH_END);
	assert_int_equal(s->model->faults_settled, 2);
}

static void without_a_sync_time_and_batches_settle_it(void **state)
{
	struct script *s = *state;

	put_fault(s, 0, block_at(1));
	script_feed(s);
	for (unsigned i = 0; i < 500; i++)
		script_feed(s);
	assert_int_equal(s->model->faults_settled, 0);
	s->batch_ns += 1000 * (uint64_t)MS_NS;
	script_feed(s);
	assert_int_equal(s->model->faults_settled, 1);
}

/* Events of a trace that has what the model has forgotten. */
struct past {
	size_t n;
	struct kms_view_event event[16];
};

static int past_events(void *ctx, const struct kms_event_query *query,
		       int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
		       struct kms_err *err)
{
	const struct past *past = ctx;

	(void)err;
	for (size_t i = 0; i < past->n; i++)
		if (past->event[i].address == query->address && emit(arg, &past->event[i]))
			break;
	return 0;
}

static void past_add(struct past *past, uint32_t kind, uint32_t target, uint64_t ms)
{
	past->event[past->n++] = (struct kms_view_event){
		.kind = kind,
		.target = target,
		.address = block_at(1),
		.size = SCRIPT_BYTES,
		.time_ns = ms * MS_NS,
		.stack_id = UINT64_C(1) << 32 | ms,
		.tid = 77,
	};
}

/* A finding at 100 ms, when all that was before has been forgotten. */
static void forget(struct script *s)
{
	script_slab(s, 0);
	for (size_t i = 0; i <= s->model->history.room / 64; i++) {
		for (unsigned n = 0; n < 32; n++)
			life(s, 0, 0, block_at(2));
		script_read(s, 0);
		script_feed(s);
		if (s->ring[0].block.fill > sizeof(s->ring[0].block.record) / 2)
			script_claim(s, 0, 1);
	}
	s->now_ns = 100 * (uint64_t)MS_NS - 10000;
	put_fault(s, 0, block_at(1));
	feed_as(s, KMS_BATCH_END);
}

static void owners_that_were_forgotten_come_from_the_trace(void **state)
{
	struct script *s = *state;
	const struct kms_view_ops ops = {.events = past_events};
	struct past past = {0};
	struct kms_view view = {.ops = &ops, .ctx = &past};
	const struct kms_view_fault *fault;

	past_add(&past, ALLOC, 1, 10);
	past_add(&past, FREE, 1, 20);
	past_add(&past, ALLOC, 2, 25); /* of a process that is not its past */
	past_add(&past, FREE, 1, 29);  /* of another ring, whose times run ahead */
	past_add(&past, ALLOC, 1, 30);
	past_add(&past, FREE, 1, 80);
	past_add(&past, ALLOC, 1, 50); /* stored late, and its free before it */
	past_add(&past, ALLOC, 1, 200);
	forget(s);
	assert_int_equal(fault_at(s, 0)->n_owners, 0);
	assert_int_equal(kms_owners_complete(s->model, &view, UINT64_MAX, NULL), 0);
	fault = fault_at(s, 0);
	assert_int_equal(fault->n_owners, 3);
	assert_int_equal(fault->owner[0].alloc_ns, 50 * MS_NS);
	assert_int_equal(fault->owner[0].free_ns, 80 * MS_NS);
	assert_int_equal(fault->owner[1].alloc_ns, 30 * MS_NS);
	assert_int_equal(fault->owner[1].free_ns, 29 * MS_NS);
	assert_int_equal(fault->owner[2].alloc_ns, 10 * MS_NS);
	assert_int_equal(fault->owner[2].free_stack_id, UINT64_C(1) << 32 | 20);
	assert_int_equal(fault->owner[2].thread, 77);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, script_setup, script_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_finding_that_is_read_before_its_victims_events_gets_it_as_owner),
		TEST(a_victim_that_another_ring_frees_is_an_owner_whichever_is_read_first),
		TEST(owners_are_told_newest_first),
		TEST(who_gets_the_address_after_the_finding_is_no_owner),
		TEST(after_a_sync_nothing_more_is_looked_for),
		TEST(without_a_sync_time_and_batches_settle_it),
		TEST(owners_that_were_forgotten_come_from_the_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
