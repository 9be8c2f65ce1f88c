/* SPDX-License-Identifier: BSD-2-Clause */
/* The live model, one situation at a time: what test_model finds by chance stands here by name. */
#include "base/test/unit.h"
#include "tracer/test/model_script.h"

#define ALLOC KMS_EVENT_ALLOC
#define FREE  KMS_EVENT_FREE
#define NO    SCRIPT_NO_GENERATION

static uint64_t block_at(unsigned i)
{
	return SCRIPT_BASE + (uint64_t)i * 64;
}

static void peak_counts_a_process_that_has_ended_by_the_time_its_events_come(void **state)
{
	struct script *s = *state;
	const struct kms_snapshot *snapshot;

	script_slab(s, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_put(s, 0, ALLOC, block_at(1), NO);
	script_put(s, 0, FREE, block_at(1), NO);
	script_read(s, 0);
	script_state(s, 1, KMS_STATE_EXITED);
	script_feed(s);
	snapshot = script_snapshot(s);
	assert_int_equal(snapshot->stats.live_bytes, SCRIPT_BYTES);
	assert_int_equal(snapshot->stats.peak_bytes, 2 * SCRIPT_BYTES);
	assert_int_equal(snapshot->target_stats[0].peak_bytes, 2 * SCRIPT_BYTES);
}

static void peak_of_the_run_has_what_ended_processes_left(void **state)
{
	struct script *s = *state;
	const struct kms_snapshot *snapshot;

	script_slab(s, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_read(s, 0);
	script_feed(s);
	script_state(s, 1, KMS_STATE_EXITED);
	script_state(s, 2, KMS_STATE_RUNNING);
	script_feed(s);
	script_claim(s, 2, 2);
	script_slab(s, 2);
	script_put(s, 2, ALLOC, block_at(0), NO);
	script_read(s, 2);
	script_feed(s);
	snapshot = script_snapshot(s);
	assert_int_equal(snapshot->stats.live_bytes, 2 * SCRIPT_BYTES);
	assert_int_equal(snapshot->stats.peak_bytes, 2 * SCRIPT_BYTES);
}

/* Target 2 is a child of target 1, and waits for an event of ring 0 that the model has not read. */
static void make_waiting_child(struct script *s)
{
	script_claim(s, 2, 2);
	script_slab(s, 0);
	script_read(s, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_fork(s, 2, 1);
	script_put(s, 2, ALLOC, block_at(1), NO);
	script_read(s, 2);
	script_feed(s);
	assert_int_equal(s->model->n_held, 1);
}

static void a_ring_of_a_waiting_child_does_not_hold_up_its_next_owner(void **state)
{
	struct script *s = *state;

	make_waiting_child(s);
	script_claim(s, 2, 1);
	script_put(s, 2, ALLOC, block_at(2), NO);
	script_read(s, 2);
	script_feed(s);
	assert_true(script_is_live(s, 1, block_at(2)));
	script_read(s, 0);
	script_feed(s);
	assert_true(script_is_live(s, 2, block_at(0)));
	assert_true(script_is_live(s, 2, block_at(1)));
	assert_false(script_is_live(s, 2, block_at(2)));
	assert_int_equal(s->model->counts.forks_forced, 0);
}

static void of_children_that_waited_too_long_the_eldest_is_formed_first(void **state)
{
	struct script *s = *state;

	make_waiting_child(s);
	script_claim(s, 1, 3); /* its ring comes before its parent's */
	script_fork(s, 3, 2);
	script_put(s, 1, ALLOC, block_at(3), NO);
	script_read(s, 1);
	script_feed(s);
	assert_int_equal(s->model->n_held, 2);
	script_deadline(s);
	assert_int_equal(s->model->n_held, 0);
	assert_true(script_is_live(s, 3, block_at(1)));
	assert_true(script_is_live(s, 3, block_at(3)));
}

static void a_claim_that_lost_its_first_event_is_found_by_a_childs_cut(void **state)
{
	struct script *s = *state;

	script_slab(s, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_put(s, 1, ALLOC, block_at(1), NO);
	script_put(s, 1, FREE, block_at(0), 2);
	script_read(s, 0);
	script_read(s, 1);
	script_feed(s);
	script_claim(s, 1, 1);
	script_lose(s, 1);
	script_claim(s, 2, 2);
	script_fork(s, 2, 1);
	script_put(s, 1, ALLOC, block_at(2), NO);
	script_put(s, 2, ALLOC, block_at(3), NO);
	script_read(s, 1);
	script_read(s, 2);
	script_feed(s);
	assert_false(script_is_live(s, 2, block_at(0)));
	assert_true(script_is_live(s, 2, block_at(1)));
	assert_false(script_is_live(s, 2, block_at(2)));
	assert_true(script_is_live(s, 2, block_at(3)));
}

static void a_large_block_that_came_too_late_is_still_its_childs(void **state)
{
	struct script *s = *state;
	uint64_t second_ns;

	script_large(s, 0, KMS_EVENT_SLAB_GROW);
	script_put(s, 0, ALLOC, SCRIPT_BASE, 1);
	script_put(s, 1, FREE, SCRIPT_BASE, 2);
	script_large(s, 1, KMS_EVENT_SLAB_RELEASE);
	script_large(s, 1, KMS_EVENT_SLAB_GROW);
	script_put(s, 1, ALLOC, SCRIPT_BASE, 1);
	second_ns = s->now_ns;
	script_claim(s, 2, 2);
	script_fork(s, 2, 1);
	script_put(s, 0, FREE, SCRIPT_BASE, 2);
	script_large(s, 0, KMS_EVENT_SLAB_RELEASE);
	script_put(s, 2, ALLOC, SCRIPT_BASE + (1 << 20), 1);
	script_read(s, 0);
	script_feed(s);
	script_read(s, 1);
	script_read(s, 2);
	script_feed(s);
	assert_false(script_is_live(s, 1, SCRIPT_BASE));
	assert_true(script_is_live(s, 2, SCRIPT_BASE));
	assert_int_equal(
		kms_live_time(kms_live_find(&kms_model_target_find(s->model, 2)->set, SCRIPT_BASE)),
		second_ns);
	assert_int_equal(kms_model_target_find(s->model, 2)->inherited_objects, 1);
}

static const struct kms_model_target *first_target(const struct script *s)
{
	return kms_model_target_find(s->model, 1);
}

static void after_recording_was_off_any_generation_is_taken_at_once(void **state)
{
	struct script *s = *state;

	script_slab(s, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	s->ring[0].session = 1;
	script_put(s, 0, ALLOC, block_at(0), 77);
	script_put(s, 0, ALLOC, block_at(5), 200);
	script_read(s, 0);
	script_feed(s);
	assert_true(script_is_live(s, 1, block_at(0)));
	assert_true(script_is_live(s, 1, block_at(5)));
	assert_int_equal(first_target(s)->live_objects, 2);
	assert_int_equal(s->model->park.total, 0);
	assert_int_equal(s->model->counts.reopened, 0);
}

static void a_loss_makes_a_picture_stale_until_recording_begins_anew(void **state)
{
	struct script *s = *state;
	const struct kms_snapshot *snapshot;
	struct kms_batch_slot *slot;

	script_slab(s, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_read(s, 0);
	slot = kms_batch_add_slot(s->batch, 0);
	assert_non_null(slot);
	slot->target = 1;
	slot->slot.state = KMS_SLOT_LIVE;
	script_feed(s);
	assert_false(script_snapshot(s)->target[0].stale);

	script_put(s, 0, ALLOC, block_at(1), NO);
	script_read(s, 0);
	slot = kms_batch_add_slot(s->batch, 0);
	assert_non_null(slot);
	slot->target = 1;
	slot->slot.state = KMS_SLOT_LIVE;
	slot->slot.lost_unringed = 5; /* of threads that got no ring */
	script_feed(s);
	snapshot = script_snapshot(s);
	assert_true(snapshot->target[0].stale);
	assert_int_equal(snapshot->stats.lost, 5);
	assert_int_equal(snapshot->ring[snapshot->n_rings - 1].ring, KMS_VIEW_NO_RING);
	assert_int_equal(snapshot->ring[snapshot->n_rings - 1].target, 1);
	assert_int_equal(snapshot->ring[snapshot->n_rings - 1].lost, 5);

	s->ring[0].session = 1;
	script_put(s, 0, ALLOC, block_at(2), 9);
	script_read(s, 0);
	script_feed(s);
	snapshot = script_snapshot(s);
	assert_false(snapshot->target[0].stale);
	assert_int_equal(snapshot->stats.lost, 5);
}

static void blocks_from_before_recording_was_off_are_no_leak_and_their_free_is_no_news(void **state)
{
	struct script *s = *state;
	const struct kms_snapshot *snapshot;

	script_slab(s, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_put(s, 0, ALLOC, block_at(1), NO);
	s->ring[1].session = 1;
	script_put(s, 1, FREE, block_at(1), 9);
	script_read(s, 0);
	script_read(s, 1);
	script_feed(s);
	assert_int_equal(s->model->park.total, 0);
	snapshot = script_snapshot(s);
	assert_int_equal(snapshot->stats.live_objects, 0);
	assert_int_equal(snapshot->stats.live_bytes, 0);
	assert_int_equal(snapshot->stats.peak_bytes, 2 * SCRIPT_BYTES);
	assert_int_equal(snapshot->stats.faults, 0);
	assert_int_equal(snapshot->n_leaks, 0);
	assert_true(snapshot->incomplete);
}

static void what_the_first_event_heard_of_an_address_overtook_does_nothing(void **state)
{
	struct script *s = *state;

	s->ring[0].session = s->ring[1].session = 1;
	script_put(s, 0, ALLOC, block_at(0), 40);
	script_put(s, 0, FREE, block_at(0), NO);
	script_put(s, 1, ALLOC, block_at(0), 42);
	script_read(s, 1);
	script_feed(s);
	script_read(s, 0);
	script_feed(s);
	assert_int_equal(s->model->park.count, 0);
	assert_int_equal(first_target(s)->live_objects, 1);
	script_put(s, 1, FREE, block_at(0), NO);
	script_read(s, 1);
	script_feed(s);
	assert_int_equal(first_target(s)->live_objects, 0);
	assert_int_equal(s->model->park.count, 0);
}

static void an_event_of_a_session_that_is_over_does_nothing(void **state)
{
	struct script *s = *state;

	script_slab(s, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	s->ring[1].session = 1;
	script_put(s, 1, ALLOC, block_at(1), 3);
	script_read(s, 1);
	script_feed(s);
	script_read(s, 0);
	script_feed(s);
	assert_false(script_is_live(s, 1, block_at(0)));
	assert_int_equal(first_target(s)->live_objects, 1);
	assert_int_equal(first_target(s)->events[ALLOC], 2);
	assert_int_equal(s->model->park.total, 0);
}

static void a_child_of_an_earlier_session_begins_without_its_parents_blocks(void **state)
{
	struct script *s = *state;

	script_claim(s, 2, 2);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_fork(s, 2, 1);
	s->ring[0].session = s->ring[2].session = 1; /* each switched by itself */
	script_put(s, 0, ALLOC, block_at(1), 5);
	script_put(s, 2, ALLOC, block_at(2), 6);
	script_read(s, 0);
	script_read(s, 2);
	script_feed(s);
	assert_false(script_is_live(s, 2, block_at(0)));
	assert_false(script_is_live(s, 2, block_at(1)));
	assert_true(script_is_live(s, 2, block_at(2)));
}

static uint64_t live_in_cache(struct script *s, uint16_t cache)
{
	struct kms_model_target *target = kms_model_target_find(s->model, 1);

	return kms_model_target_cache(s->model, target, cache)->live;
}

static void a_record_that_says_its_cache_is_believed_before_any_slab(void **state)
{
	struct script *s = *state;

	script_put_told(s, 1, ALLOC, block_at(0), 6);
	script_read(s, 1);
	script_feed(s);
	script_deadline(s);
	assert_int_equal(live_in_cache(s, 6), 1);
	/* the slab's news come late, and would have it otherwise */
	script_slab(s, 0);
	script_put_told(s, 0, ALLOC, block_at(1), 6);
	script_put(s, 0, ALLOC, block_at(2), NO);
	script_read(s, 0);
	script_feed(s);
	assert_int_equal(live_in_cache(s, 6), 2);
	assert_int_equal(live_in_cache(s, 3), 1);
	script_put_told(s, 0, FREE, block_at(0), 6);
	script_put_told(s, 0, FREE, block_at(1), 6);
	script_read(s, 0);
	script_feed(s);
	script_deadline(s);
	assert_int_equal(live_in_cache(s, 6), 0);
	assert_int_equal(live_in_cache(s, 3), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, script_setup, script_teardown)
	const struct CMUnitTest tests[] = {
		TEST(peak_counts_a_process_that_has_ended_by_the_time_its_events_come),
		TEST(peak_of_the_run_has_what_ended_processes_left),
		TEST(a_ring_of_a_waiting_child_does_not_hold_up_its_next_owner),
		TEST(of_children_that_waited_too_long_the_eldest_is_formed_first),
		TEST(a_claim_that_lost_its_first_event_is_found_by_a_childs_cut),
		TEST(a_large_block_that_came_too_late_is_still_its_childs),
		TEST(after_recording_was_off_any_generation_is_taken_at_once),
		TEST(blocks_from_before_recording_was_off_are_no_leak_and_their_free_is_no_news),
		TEST(what_the_first_event_heard_of_an_address_overtook_does_nothing),
		TEST(a_loss_makes_a_picture_stale_until_recording_begins_anew),
		TEST(an_event_of_a_session_that_is_over_does_nothing),
		TEST(a_child_of_an_earlier_session_begins_without_its_parents_blocks),
		TEST(a_record_that_says_its_cache_is_believed_before_any_slab),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
