/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading one ring, against the synthetic producer.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/batch_build.h"
#include "tracer/control.h"
#include "tracer/ring_reader.h"
#include "tracer/test/rng.h"
#include "tracer/test/synth.h"

static char folder[] = "/dev/shm/kms-test-ring-XXXXXX";

/* A region with its tracer half. */
struct bench {
	struct synth s;
	struct kms_region region;
	struct kms_control control;
	struct kms_ring_reader reader;
	struct kms_ring_ask ask;
	struct kms_batch *batch;
	uint64_t events;
	struct kms_err err;
};

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	char path[256];

	if (!b)
		return -1;
	memcpy(folder + sizeof(folder) - 7, "XXXXXX", 7);
	if (!mkdtemp(folder)) {
		free(b);
		return -1;
	}
	snprintf(path, sizeof(path), "%s/img-1", folder);
	synth_create(&b->s, path, &(struct synth_config){.blocks_per_ring = 8});
	assert_int_equal(kms_region_open(AT_FDCWD, path, &b->region, &b->err), 0);
	assert_int_equal(kms_control_init(&b->control, &b->region, 1), 0);
	kms_ring_reader_init(&b->reader, 0, 0);
	b->batch = kms_batch_create();
	b->ask.batch_bytes = 1 << 20;
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	kms_batch_put(b->batch);
	kms_region_close(&b->region);
	synth_close(&b->s);
	unlink(b->s.path);
	free(b);
	return rmdir(folder);
}

static struct enc_event alloc_of(uint64_t n)
{
	return (struct enc_event){.kind = KMS_EVENT_ALLOC,
				  .checks = 3,
				  .address = 0x10000 + n % 1000 * 16,
				  .size = n};
}

/* Reads once into an empty batch and moves the position as the image does. */
static int read_once(struct bench *b)
{
	int result;

	kms_batch_reset(b->batch);
	b->ask.now_ns++;
	result = kms_ring_read(&b->reader, &b->region, &b->ask, b->batch, &b->err);
	if (result < 0)
		return result;
	for (size_t i = 0; i < b->batch->n_blocks; i++)
		b->events += b->batch->block[i].summary.events;
	assert_int_equal(kms_control_position(&b->control, 0, b->reader.next_block), 0);
	assert_int_equal(kms_control_wake(&b->control), 0);
	return result;
}

static void partial_growth_is_taken_once_each(void **state)
{
	struct bench *b = *state;
	struct synth_ring ring;

	synth_ring_claim(&ring, &b->s, 0, 0);
	assert_int_equal(read_once(b), KMS_RING_IDLE);
	for (uint64_t n = 0; n < 10; n++) {
		struct enc_event e = alloc_of(n);

		synth_ring_put(&ring, &e);
		assert_int_equal(read_once(b), KMS_RING_NEWS);
		assert_int_equal(b->batch->n_blocks, 1);
		assert_int_equal(b->batch->block[0].summary.events, 1);
		assert_false(b->batch->block[0].complete);
		assert_int_equal(b->events, n + 1);
		assert_int_equal(read_once(b), KMS_RING_IDLE);
	}
	assert_int_equal(kms_ring_produced(&b->reader), 10);
	assert_int_equal(b->reader.next_block, 1);
}

static void an_open_block_is_left_alone_for_the_time_asked(void **state)
{
	struct bench *b = *state;
	struct enc_event e = alloc_of(1);
	struct synth_ring ring;

	synth_ring_claim(&ring, &b->s, 0, 0);
	b->ask.now_ns = 1000000;
	b->ask.partial_ns = 100;
	synth_ring_put(&ring, &e);
	assert_int_equal(read_once(b), KMS_RING_NEWS);
	synth_ring_put(&ring, &e);
	for (int i = 0; i < 99; i++)
		assert_int_equal(read_once(b), KMS_RING_IDLE);
	assert_int_equal(read_once(b), KMS_RING_NEWS);
	assert_int_equal(b->events, 2);
}

static void a_full_batch_says_more_and_goes_on(void **state)
{
	struct bench *b = *state;
	struct synth_ring ring;
	uint64_t n = 0;

	synth_ring_claim(&ring, &b->s, 0, 0);
	while (ring.block < 8) {
		struct enc_event e = alloc_of(n++);

		synth_ring_put(&ring, &e);
	}
	b->ask.batch_bytes = 3 * sizeof(struct kms_batch_block);
	/* seven complete blocks, three a batch, then the open one */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(read_once(b), KMS_RING_MORE);
		assert_int_equal(b->batch->n_blocks, 3);
	}
	assert_int_equal(read_once(b), KMS_RING_NEWS);
	assert_int_equal(b->batch->n_blocks, 2);
	assert_int_equal(b->events, n);
}

/* A producer of its own thread, and what it wrote. */
struct producer {
	struct bench *b;
	uint64_t n_events;
	uint64_t claims;
	uint64_t lost;
	bool drop;
	pthread_t thread;
};

static void *produce(void *arg)
{
	struct producer *p = arg;
	uint64_t written = 0;

	for (uint64_t claim = 0; claim < p->claims; claim++) {
		struct kms_ring_desc *desc = synth_at(&p->b->s, KMS_SEC_RING_DESC, 0);
		const struct kms_pair *pair =
			(struct kms_pair *)synth_at(&p->b->s, KMS_SEC_TRACER, 256);
		struct synth_ring ring;

		/* a closed ring may be claimed when the position has passed its head */
		while (claim && __atomic_load_n(&pair->v, __ATOMIC_ACQUIRE) <= desc->head_block)
			sched_yield();
		synth_ring_claim(&ring, &p->b->s, 0, 0);
		ring.drop = p->drop;
		for (uint64_t n = 0; n < p->n_events; n++) {
			struct enc_event e = alloc_of(written++);

			synth_ring_put(&ring, &e);
		}
		p->lost += __atomic_load_n(&desc->lost, __ATOMIC_RELAXED);
		synth_ring_close(&ring);
	}
	return NULL;
}

/* Events of one claim, as read so far. */
struct tally {
	uint64_t next; /* number of the event to come: its size says which it is */
	uint64_t stored;
	uint64_t lost;
};

/* Checks that every event is the one after the last, but for those lost in between. */
static void count_events(const struct bench *b, struct tally *t)
{
	static struct kms_event event[KMS_SEQ_PER_BLOCK];

	for (size_t i = 0; i < b->batch->n_blocks; i++) {
		const struct kms_batch_block *block = &b->batch->block[i];
		size_t n;

		assert_int_equal(kms_block_decode(&block->block, event, KMS_SEQ_PER_BLOCK, &n), 0);
		for (size_t j = 0; j < n; j++) {
			if (event[j].offset < block->from_bytes)
				continue;
			if (event[j].kind == KMS_EVENT_LOST) {
				t->next += event[j].value;
				t->lost += event[j].value;
				continue;
			}
			assert_int_equal(event[j].size, t->next);
			t->next++;
			t->stored++;
		}
	}
}

static void run_producer(struct bench *b, struct producer *p, struct tally *t)
{
	uint64_t claims_over = 0;
	bool was_over = false;

	p->b = b;
	assert_int_equal(pthread_create(&p->thread, NULL, produce, p), 0);
	while (claims_over < p->claims) {
		int result = read_once(b);

		if (result < 0)
			fail_msg("%s", b->err.text);
		count_events(b, t);
		if (b->reader.is_over && !was_over) {
			claims_over++;
			t->lost += b->reader.extra_lost;
			t->next += b->reader.extra_lost;
			assert_int_equal(kms_ring_produced(&b->reader), p->n_events);
		}
		was_over = b->reader.is_over;
	}
	pthread_join(p->thread, NULL);
}

static void every_event_of_a_waiting_producer_arrives_in_order(void **state)
{
	struct producer p = {.n_events = 200000, .claims = 1};
	struct tally t = {0};

	run_producer(*state, &p, &t);
	assert_int_equal(t.stored, p.n_events);
	assert_int_equal(t.lost, 0);
}

static void one_claim_after_another_is_read_to_its_end(void **state)
{
	struct producer p = {.n_events = 500, .claims = 100};
	struct tally t = {0};

	run_producer(*state, &p, &t);
	assert_int_equal(t.stored, p.n_events * p.claims);
}

static void what_a_dropping_producer_loses_is_counted_exactly(void **state)
{
	struct producer p = {.n_events = 300000, .claims = 3, .drop = true};
	struct bench *b = *state;
	struct tally t = {0};

	b->ask.batch_bytes =
		sizeof(struct kms_batch_block); /* a block at a time: the reader is slow */
	run_producer(b, &p, &t);
	assert_int_equal(t.stored + t.lost, p.n_events * p.claims);
	assert_int_equal(t.lost, p.lost);
}

static void a_dead_owner_gives_its_open_block_and_lets_the_ring_go(void **state)
{
	struct bench *b = *state;
	struct synth_ring ring, next;

	synth_ring_claim(&ring, &b->s, 0, 0);
	for (uint64_t n = 0; n < 5; n++) {
		struct enc_event e = alloc_of(n);

		synth_ring_put(&ring, &e);
	}
	b->ask.is_final = true;
	assert_int_equal(read_once(b), KMS_RING_NEWS);
	assert_true(b->batch->block[0].complete);
	assert_true(b->reader.is_over);
	assert_int_equal(b->events, 5);
	assert_int_equal(b->reader.next_block, 2);
	b->ask.is_final = false;
	synth_ring_claim(&next, &b->s, 0, 1);
	synth_ring_put(&next, &(struct enc_event){.kind = KMS_EVENT_FREE, .checks = 3});
	assert_int_equal(read_once(b), KMS_RING_NEWS);
	assert_int_equal(b->batch->block[0].block.slot, 1);
	assert_int_equal(b->batch->block[0].block.number, 2);
}

static void a_record_cut_off_waits_in_an_open_block_and_is_damage_in_a_complete_one(void **state)
{
	struct bench *b = *state;
	struct enc_event e = alloc_of(1);
	struct synth_ring ring;

	synth_ring_claim(&ring, &b->s, 0, 0);
	synth_ring_put(&ring, &e);
	enc_put_bytes(&ring.enc, (const uint8_t[]){KMS_REC_GEN << KMS_REC_CODE_SHIFT}, 1);
	assert_int_equal(read_once(b), KMS_RING_NEWS);
	assert_int_equal(b->batch->block[0].block.fill, ring.enc.fill - 1);
	assert_int_equal(read_once(b), KMS_RING_IDLE);
	b->ask.is_final = true;
	assert_int_equal(read_once(b), -EBADMSG);
}

/* One scribble over a ring that has two complete blocks and an open one, some of it read. */
struct scribble {
	const char *what;
	void (*make)(struct bench *b);
};

static struct kms_ring_desc *desc_of(struct bench *b)
{
	return synth_at(&b->s, KMS_SEC_RING_DESC, 0);
}

static struct kms_block *block_of(struct bench *b, uint64_t number)
{
	return synth_at(&b->s, KMS_SEC_RING, number & 7);
}

static void head_back(struct bench *b)
{
	desc_of(b)->head_block = 1;
}

static void head_far(struct bench *b)
{
	desc_of(b)->head_block = 11;
}

static void head_huge(struct bench *b)
{
	desc_of(b)->head_block = UINT64_MAX;
}

static void bad_state(struct bench *b)
{
	desc_of(b)->state = 3;
}

static void bad_slot(struct bench *b)
{
	desc_of(b)->slot = 4;
}

static void new_claim(struct bench *b)
{
	desc_of(b)->claims++;
}

static void no_number(struct bench *b)
{
	block_of(b, 3)->number = 0;
}

static void fill_shrinks(struct bench *b)
{
	block_of(b, 3)->fill = 2;
}

static void fill_huge(struct bench *b)
{
	block_of(b, 3)->fill = 5000;
}

static void block_slot(struct bench *b)
{
	block_of(b, 3)->slot = 4;
}

static void block_ring(struct bench *b)
{
	block_of(b, 3)->ring = 1;
}

static void block_level(struct bench *b)
{
	block_of(b, 3)->level = 77;
}

static void seq_changes(struct bench *b)
{
	block_of(b, 3)->first_seq++;
}

static void record(struct bench *b)
{
	memset(block_of(b, 3)->record + 20, 3, 4);
}

static void next_seq_back(struct bench *b)
{
	block_of(b, 4)->first_seq = 5;
}

static void next_seq_far(struct bench *b)
{
	block_of(b, 4)->first_seq = UINT64_C(1) << 60;
}

static void next_record(struct bench *b)
{
	memset(block_of(b, 4)->record, 0, 30);
}

static const struct scribble scribbles[] = {
	{"head goes back",                  head_back    },
	{"head beyond the room",            head_far     },
	{"head huge",		       head_huge    },
	{"state",			   bad_state    },
	{"slot",			    bad_slot     },
	{"a claim out of nothing",          new_claim    },
	{"block number",                    no_number    },
	{"fill shrinks",                    fill_shrinks },
	{"fill beyond the block",           fill_huge    },
	{"block's slot",                    block_slot   },
	{"block's ring",                    block_ring   },
	{"block's level",                   block_level  },
	{"first sequence of a known block", seq_changes  },
	{"records already read",            record       },
	{"sequence goes back",              next_seq_back},
	{"sequence jumps",                  next_seq_far },
	{"records not yet read",            next_record  },
};

static void fill_to(struct bench *b, struct synth_ring *ring, uint64_t block)
{
	(void)b;
	while (ring->block < block || ring->enc.fill < 200) {
		struct enc_event e = alloc_of(ring->seq);

		synth_ring_put(ring, &e);
	}
}

static void each_scribble_over_a_ring_is_found(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < sizeof(scribbles) / sizeof(scribbles[0]); i++) {
		struct synth_ring ring;
		struct kms_ring_desc *desc = desc_of(b);

		/* each from a ring as new */
		memset(desc, 0, sizeof(*desc));
		memset(block_of(b, 0), 0, 8 * sizeof(struct kms_block));
		kms_control_position(&b->control, 0, 1);
		kms_ring_reader_init(&b->reader, 0, 0);
		synth_ring_claim(&ring, &b->s, 0, 0);
		fill_to(b, &ring, 3);
		assert_int_equal(read_once(b), KMS_RING_NEWS);
		fill_to(b, &ring, 4);
		scribbles[i].make(b);
		kms_err_clear(&b->err);
		if (read_once(b) != -EBADMSG || !b->err.text[0])
			fail_msg("%s: not found", scribbles[i].what);
	}
}

static void a_ring_that_goes_on_after_its_end_is_found(void **state)
{
	struct bench *b = *state;
	struct synth_ring ring;

	synth_ring_claim(&ring, &b->s, 0, 0);
	fill_to(b, &ring, 2);
	assert_int_equal(read_once(b), KMS_RING_NEWS);
	synth_ring_close(&ring);
	assert_int_equal(read_once(b), KMS_RING_NEWS);
	assert_true(b->reader.is_over);
	fill_to(b, &ring, 3);
	assert_int_equal(read_once(b), -EBADMSG);
}

static void random_scribbles_never_crash_the_reader(void **state)
{
	struct bench *b = *state;
	struct kms_ring_desc *desc = desc_of(b);
	struct rng rng;
	int found = 0;

	rng_init(&rng, rng_seed());
	for (int i = 0; i < 5000; i++) {
		struct synth_ring ring;
		bool in_desc = rng_below(&rng, 4) == 0;
		uint8_t *area = in_desc ? (uint8_t *)desc : (uint8_t *)block_of(b, 0);
		size_t bytes = in_desc ? sizeof(*desc) : 8 * sizeof(struct kms_block);

		memset(desc, 0, sizeof(*desc));
		kms_control_position(&b->control, 0, 1);
		kms_ring_reader_init(&b->reader, 0, 0);
		synth_ring_claim(&ring, &b->s, 0, 0);
		fill_to(b, &ring, 3);
		(void)read_once(b);
		fill_to(b, &ring, 5);
		for (uint64_t n = 1 + rng_below(&rng, 8); n; n--)
			area[rng_below(&rng, bytes)] = (uint8_t)rng_next(&rng);
		found += read_once(b) == -EBADMSG;
		b->ask.is_final = true;
		(void)read_once(b);
		b->ask.is_final = false;
	}
	assert_true(found > 300);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(partial_growth_is_taken_once_each),
		TEST(an_open_block_is_left_alone_for_the_time_asked),
		TEST(a_full_batch_says_more_and_goes_on),
		TEST(every_event_of_a_waiting_producer_arrives_in_order),
		TEST(one_claim_after_another_is_read_to_its_end),
		TEST(what_a_dropping_producer_loses_is_counted_exactly),
		TEST(a_dead_owner_gives_its_open_block_and_lets_the_ring_go),
		TEST(a_record_cut_off_waits_in_an_open_block_and_is_damage_in_a_complete_one),
		TEST(each_scribble_over_a_ring_is_found),
		TEST(a_ring_that_goes_on_after_its_end_is_found),
		TEST(random_scribbles_never_crash_the_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
