/* SPDX-License-Identifier: BSD-2-Clause */
/* Chunks: what goes in comes out, filters say no only where that is true, damage is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tracer/block.h"
#include "tracer/chunk.h"
#include "tracer/filter.h"
#include "tracer/stack_id.h"
#include "tracer/test/encode.h"
#include "tracer/test/rng.h"
#include "tracer/test/workload.h"

enum {
	BLOCKS = KMS_CHUNK_BLOCKS,
};

/* A chunk's way through writer and reader. */
struct fixture {
	struct kms_chunk_writer *writer;
	struct kms_chunk_reader *reader;
	struct kms_block *in, *out;
	struct kms_chunk_block entry[BLOCKS], read[BLOCKS];
	struct kms_event *event;
	size_t n;
	struct kms_chunk chunk;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(kms_chunk_writer_create(1, &f->writer), 0);
	assert_int_equal(kms_chunk_reader_create(&f->reader), 0);
	f->in = calloc(BLOCKS, sizeof(*f->in));
	f->out = malloc(BLOCKS * sizeof(*f->out) + KMS_CHUNK_PAD_BYTES);
	f->event = calloc(KMS_SEQ_PER_BLOCK, sizeof(*f->event));
	assert_true(f->in && f->out && f->event);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kms_chunk_writer_destroy(f->writer);
	kms_chunk_reader_destroy(f->reader);
	free(f->in);
	free(f->out);
	free(f->event);
	free(f);
	return 0;
}

/* Gives in[0..n) entries of their own: images and targets change now and then. */
static void describe(struct fixture *f, struct rng *rng)
{
	uint32_t image = 1;

	for (size_t i = 0; i < f->n; i++) {
		struct kms_block_summary sum;

		assert_int_equal(kms_block_walk(&f->in[i], 0, &sum, NULL, NULL), 0);
		image += rng_below(rng, 20) == 0;
		f->entry[i] = (struct kms_chunk_block){
			.image = image,
			.target = image + (uint32_t)rng_below(rng, 2),
			.ordinal = i * 3 + rng_below(rng, 3),
			.events = sum.events,
			.last_time_ns = sum.last_time_ns,
		};
	}
}

static void write_chunk(struct fixture *f)
{
	kms_chunk_begin(f->writer);
	for (size_t i = 0; i < f->n; i++)
		assert_int_equal(kms_chunk_add(f->writer, &f->entry[i], &f->in[i]), 0);
	assert_int_equal(kms_chunk_end(f->writer, &f->chunk), 0);
	assert_int_equal(f->chunk.n_blocks, f->n);
}

static int read_chunk(struct fixture *f)
{
	size_t n;
	int result = kms_chunk_dir_read(f->chunk.dir, f->chunk.dir_bytes, f->read, BLOCKS, &n);

	if (result < 0)
		return result;
	assert_int_equal(n, f->n);
	return kms_chunk_read(f->reader, f->read, n, f->chunk.data, f->chunk.data_bytes, f->out);
}

static void expect_same(struct fixture *f)
{
	assert_int_equal(read_chunk(f), 0);
	for (size_t i = 0; i < f->n; i++) {
		assert_memory_equal(&f->out[i], &f->in[i],
				    offsetof(struct kms_block, record) + f->in[i].fill);
		assert_int_equal(f->read[i].image, f->entry[i].image);
		assert_int_equal(f->read[i].target, f->entry[i].target);
		assert_int_equal(f->read[i].ordinal, f->entry[i].ordinal);
		assert_int_equal(f->read[i].events, f->entry[i].events);
		assert_int_equal(f->read[i].last_time_ns, f->entry[i].last_time_ns);
	}
}

/* Nothing that an event is about may be missing from the filters. */
static void expect_filtered(struct fixture *f)
{
	for (size_t i = 0; i < f->n; i++) {
		size_t n;

		assert_int_equal(kms_block_decode(&f->in[i], f->event, KMS_SEQ_PER_BLOCK, &n), 0);
		for (size_t k = 0; k < n; k++) {
			const struct kms_event *e = &f->event[k];
			uint64_t stack = kms_stack_id(f->entry[i].image, e->stack);

			assert_true(!e->address ||
				    kms_filter_may_contain(f->chunk.pages, f->chunk.pages_bytes,
							   e->address / KMS_PAGE_BYTES));
			assert_true(!stack || kms_filter_may_contain(f->chunk.stacks,
								     f->chunk.stacks_bytes, stack));
		}
	}
}

static void programs_come_out_as_they_went_in(void **state)
{
	struct fixture *f = *state;
	struct rng rng;
	uint64_t seed = rng_seed();

	for (const char *const *name = workload_names; *name; name++) {
		struct workload *w = workload_create(*name, seed);

		assert_non_null(w);
		rng_init(&rng, seed);
		for (unsigned round = 0; round < 4; round++) {
			f->n = 1 + rng_below(&rng, BLOCKS);
			for (size_t i = 0; i < f->n; i++)
				workload_block(w, &f->in[i]);
			describe(f, &rng);
			write_chunk(f);
			expect_same(f);
			expect_filtered(f);
		}
		workload_destroy(w);
	}
}

/* Any event that a block can hold, with every prefix. */
static struct enc_event random_event(struct rng *rng)
{
	struct enc_event e = {
		.kind = 1 + (uint32_t)rng_below(rng, KMS_EVENT_KINDS - 1),
		.stack = (uint32_t)rng_below(rng, 1 + (KMS_MAX_NODES - 1) * rng_below(rng, 2) + 40),
		.address = rng_below(rng, 2) ? 0x7f0000000000 + rng_below(rng, 1 << 20) * 8
					     : rng_next(rng) >> rng_below(rng, 64),
		.size = rng_next(rng) >> (7 + rng_below(rng, 57)),
		.checks = (uint8_t)rng_below(rng, 4),
		.value = 1 + rng_below(rng, 100),
		.has_generation = rng_below(rng, 3) == 0,
		.generation = (uint8_t)rng_next(rng),
		.session = rng_below(rng, 9) == 0,
		.cache = (uint32_t)rng_below(rng, KMS_MAX_CACHES),
		.thread = (uint32_t)rng_below(rng, 9),
		.level = (uint32_t)rng_below(rng, KMS_LEVELS),
		.first = (uint32_t)rng_below(rng, 4096),
		.stride = rng_below(rng, 4096),
	};

	e.stack = e.stack < KMS_MAX_NODES ? e.stack : 0;
	e.attributes = rng_below(rng, 3) ? 0 : (uint32_t)rng_below(rng, 128) << KMS_ATTR_SHIFT;
	if (rng_below(rng, 3))
		e.kind = 1 + (uint32_t)rng_below(rng, 2);
	if (e.kind == KMS_EVENT_SLAB_GROW || e.kind == KMS_EVENT_SLAB_RELEASE)
		e.address &= UINT64_C(0x7ffffffff000);
	return e;
}

static void random_block(struct rng *rng, struct kms_block *block)
{
	struct enc_writer enc;
	struct enc_open open = {
		.number = 1 + rng_below(rng, 1 << 30),
		.first_seq = rng_below(rng, 1 << 30),
		.time_ns = rng_below(rng, 1 << 30),
		.base_address = rng_next(rng) >> rng_below(rng, 64),
		.slot = (uint32_t)rng_below(rng, KMS_MAX_SLOTS),
		.thread = (uint32_t)rng_below(rng, KMS_MAX_THREADS),
		.ring = (uint16_t)rng_below(rng, KMS_MAX_RINGS),
		.level = (uint8_t)rng_below(rng, KMS_LEVELS),
	};
	uint64_t events = rng_below(rng, 1500);
	uint64_t time_ns = open.time_ns;

	memset(block, 0, sizeof(*block));
	enc_begin(&enc, block, &open);
	for (uint64_t i = 0; i < events; i++) {
		struct enc_event e = random_event(rng);

		e.stamp = rng_below(rng, 30) == 0;
		time_ns += rng_below(rng, 1000);
		e.time_ns = time_ns;
		if (!enc_put(&enc, &e))
			return;
	}
}

static void every_kind_of_record_comes_out(void **state)
{
	struct fixture *f = *state;
	struct rng rng;

	rng_init(&rng, rng_seed());
	for (unsigned round = 0; round < 30; round++) {
		f->n = 1 + rng_below(&rng, 20);
		for (size_t i = 0; i < f->n; i++)
			random_block(&rng, &f->in[i]);
		describe(f, &rng);
		write_chunk(f);
		expect_same(f);
		expect_filtered(f);
	}
}

/* A block with records in a longer form than needed, as a foreign writer may make them. */
static void wordy_block(struct kms_block *block, unsigned which)
{
	static const uint8_t records[][16] = {
  /* alloc, node, a 4-byte delta that fits into one, 1-byte size */
		{0x21, 7, 9, 0, 0, 5, 0, 0, 0, 32},
 /* the same with a 2-byte size that fits into one */
		{0x41,   7,   9,   0, 0, 5, 32, 0},
 /* HIT and SAME on an index that was never used, with size bits */
		{0x4d,   7,  5  },
	};
	static const uint8_t bytes[] = {10, 8, 3};
	struct enc_writer enc;
	struct enc_open open = {.number = 1, .base_address = 0x1000};

	memset(block, 0, sizeof(*block));
	enc_begin(&enc, block, &open);
	for (unsigned i = 0; i < 50; i++)
		assert_true(enc_put_bytes(&enc, records[which], bytes[which]));
}

static void blocks_in_longer_form_are_kept_verbatim(void **state)
{
	struct fixture *f = *state;
	struct rng rng;
	struct workload *w = workload_create("python", 1);

	rng_init(&rng, 1);
	f->n = 9;
	for (unsigned i = 0; i < 9; i++)
		if (i % 2)
			wordy_block(&f->in[i], i % 3);
		else
			workload_block(w, &f->in[i]);
	describe(f, &rng);
	write_chunk(f);
	expect_same(f);
	expect_filtered(f);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(f->read[i].verbatim, i % 2);
	workload_destroy(w);
}

static void a_hit_on_an_unused_index_is_the_empty_stack(void **state)
{
	struct fixture *f = *state;
	struct rng rng;
	/* HIT, 1-byte delta, 1-byte size: an untraced stack at the begin of each block */
	static const uint8_t record[] = {0x05, 200, 2, 24};
	struct enc_writer enc;
	struct workload *w = workload_create("churn", 3);

	rng_init(&rng, 1);
	f->n = 6;
	for (unsigned i = 0; i < 6; i++) {
		if (i % 2 == 0) {
			workload_block(w, &f->in[i]);
			continue;
		}
		memset(&f->in[i], 0, sizeof(f->in[i]));
		enc_begin(&enc, &f->in[i],
			  &(struct enc_open){.number = i, .base_address = 0x100000});
		for (unsigned k = 0; k < 256; k++) {
			uint8_t r[sizeof(record)];

			memcpy(r, record, sizeof(r));
			r[1] = (uint8_t)k;
			assert_true(enc_put_bytes(&enc, r, sizeof(r)));
		}
	}
	describe(f, &rng);
	write_chunk(f);
	expect_same(f);
	assert_false(f->read[1].verbatim);
	workload_destroy(w);
}

static void an_empty_chunk_is_a_chunk(void **state)
{
	struct fixture *f = *state;

	f->n = 0;
	write_chunk(f);
	assert_int_equal(read_chunk(f), 0);
}

static void a_full_chunk_takes_no_more(void **state)
{
	struct fixture *f = *state;
	struct rng rng;

	rng_init(&rng, 1);
	f->n = BLOCKS;
	for (size_t i = 0; i < f->n; i++)
		random_block(&rng, &f->in[i]);
	describe(f, &rng);
	kms_chunk_begin(f->writer);
	for (size_t i = 0; i < f->n; i++)
		assert_int_equal(kms_chunk_add(f->writer, &f->entry[i], &f->in[i]), 0);
	assert_int_equal(kms_chunk_add(f->writer, &f->entry[0], &f->in[0]), -ENOSPC);
}

/* Changes some bytes of the data or of the directory. Whatever it means then, reading it ends. */
static void damage_is_refused_or_harmless(void **state)
{
	struct fixture *f = *state;
	struct rng rng;
	struct kms_chunk good;
	uint8_t *dir, *data;
	unsigned refused = 0;

	rng_init(&rng, rng_seed());
	f->n = 8;
	for (size_t i = 0; i < f->n; i++)
		random_block(&rng, &f->in[i]);
	describe(f, &rng);
	write_chunk(f);
	good = f->chunk;
	dir = malloc(good.dir_bytes);
	data = malloc(good.data_bytes);
	for (unsigned round = 0; round < 3000; round++) {
		memcpy(dir, good.dir, good.dir_bytes);
		memcpy(data, good.data, good.data_bytes);
		if (rng_below(&rng, 2))
			data[rng_below(&rng, good.data_bytes)] ^=
				(uint8_t)(1 + rng_below(&rng, 255));
		else
			dir[rng_below(&rng, good.dir_bytes)] ^= (uint8_t)(1 + rng_below(&rng, 255));
		f->chunk.dir = dir;
		f->chunk.data = data;
		f->chunk.data_bytes =
			rng_below(&rng, 8) ? good.data_bytes : rng_below(&rng, good.data_bytes);
		size_t n;
		int result = kms_chunk_dir_read(dir, good.dir_bytes, f->read, BLOCKS, &n);

		if (!result)
			result = kms_chunk_read(f->reader, f->read, n, data, f->chunk.data_bytes,
						f->out);
		assert_true(result == 0 || result == -EBADMSG);
		refused += result != 0;
	}
	assert_true(refused > 1000);
	free(dir);
	free(data);
}

static void filters_say_no_only_where_it_is_true(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, rng_seed());
	for (unsigned round = 0; round < 60; round++) {
		uint64_t number[3000];
		size_t n = rng_below(&rng, 3000);
		uint64_t at = rng_below(&rng, 1 << 20);
		uint64_t spread = round % 2 ? 3 : 1 << 20;
		uint8_t *out = malloc(kms_filter_room(n));
		unsigned false_yes = 0;
		size_t bytes;

		for (size_t i = 0; i < n; i++)
			number[i] = at += 1 + rng_below(&rng, spread);
		bytes = kms_filter_write(number, n, out);
		/* a list may be two numbers of 10 bytes longer than the other form */
		assert_true(bytes <= 2 + (n * 10 + 7) / 8 + 20);
		for (size_t i = 0; i < n; i++)
			assert_true(kms_filter_may_contain(out, bytes, number[i]));
		for (unsigned i = 0; i < 1000; i++)
			false_yes +=
				kms_filter_may_contain(out, bytes, at + 1 + rng_next(&rng) / 2);
		assert_true(false_yes < 50);
		free(out);
	}
}

static void bytes_that_are_no_filter_exclude_nothing(void **state)
{
	static const uint8_t odd[][3] = {
		{0, 0,    0   },
                {9, 9,    9   },
                {1, 0x80, 0x80},
                {1, 5,    0x80}
        };

	(void)state;
	assert_true(kms_filter_may_contain("", 0, 5));
	for (unsigned i = 0; i < 4; i++)
		assert_true(kms_filter_may_contain(odd[i], 3, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(programs_come_out_as_they_went_in, setup, teardown),
		cmocka_unit_test_setup_teardown(every_kind_of_record_comes_out, setup, teardown),
		cmocka_unit_test_setup_teardown(blocks_in_longer_form_are_kept_verbatim, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_hit_on_an_unused_index_is_the_empty_stack, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_empty_chunk_is_a_chunk, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_chunk_takes_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_is_refused_or_harmless, setup, teardown),
		cmocka_unit_test(filters_say_no_only_where_it_is_true),
		cmocka_unit_test(bytes_that_are_no_filter_exclude_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
