/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walking and decoding blocks, against blocks written by encode.c and against bytes written by hand.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/block.h"
#include "tracer/test/encode.h"
#include "tracer/test/rng.h"

enum {
	N_RANDOM_BLOCKS = 400,
	MAX_EVENTS = KMS_SEQ_PER_BLOCK,
	LOG_PAGES = 4096,
};

/* A random block and what was put into it. */
struct written {
	struct kms_block block;
	struct enc_event event[MAX_EVENTS];
	uint32_t end[MAX_EVENTS]; /* fill after each */
	uint64_t time_ns[MAX_EVENTS];
	uint64_t seq[MAX_EVENTS];
	size_t n;
	uint64_t last_time_ns;
};

static uint64_t random_address(struct rng *rng)
{
	switch (rng_below(rng, 8)) {
	case 0:
		return rng_next(rng); /* anything, unaligned */
	case 1:
		return 0x7f0000000000 + rng_below(rng, 1ull << 40) / 8 * 8;
	case 2:
		return 0x100000000000 + rng_below(rng, 1 << 20) * 16;
	default:
		return 0x100000000000 + rng_below(rng, 4096) * 16;
	}
}

static uint64_t random_size(struct rng *rng)
{
	switch (rng_below(rng, 16)) {
	case 0:
		return rng_below(rng, 1ull << 57);
	case 1:
		return rng_below(rng, 1ull << 32);
	case 2:
		return rng_below(rng, 1 << 16);
	default:
		return 8 + rng_below(rng, 6) * 24;
	}
}

static void random_other(struct rng *rng, struct enc_event *e)
{
	e->kind = 3 + (uint32_t)rng_below(rng, KMS_EVENT_KINDS - 3);
	switch (e->kind) {
	case KMS_EVENT_SLAB_GROW:
	case KMS_EVENT_SLAB_RELEASE:
		e->address &= ~0xfffull;
		e->value = 1 + rng_below(rng, 64);
		e->cache = (uint32_t)rng_below(rng, KMS_MAX_CACHES);
		e->first = (uint32_t)rng_below(rng, 4096);
		e->stride = rng_below(rng, 1 << 20);
		break;
	case KMS_EVENT_CONTEXT:
		e->thread = (uint32_t)rng_below(rng, KMS_MAX_THREADS);
		e->level = (uint32_t)rng_below(rng, KMS_LEVELS);
		break;
	case KMS_EVENT_LOST:
		e->value = 1 + rng_below(rng, 1 << 20);
		break;
	case KMS_EVENT_FORK:
		e->value = rng_below(rng, KMS_MAX_SLOTS);
		break;
	default:
		e->value = rng_below(rng, KMS_MAX_FAULTS);
		break;
	}
}

static struct enc_event random_event(struct rng *rng, uint64_t time_ns)
{
	struct enc_event e = {.kind = 1 + (uint32_t)rng_below(rng, 2)};

	e.address = random_address(rng);
	e.size = random_size(rng);
	e.stack = (uint32_t)rng_below(rng, rng_below(rng, 4) ? 20 : KMS_MAX_NODES);
	e.checks = rng_below(rng, 50) ? 3 : (uint8_t)rng_below(rng, 32);
	e.has_generation = rng_below(rng, 10) == 0;
	e.generation = (uint8_t)rng_next(rng);
	e.session = rng_below(rng, 50) ? 3 : (uint8_t)rng_next(rng);
	e.attributes = rng_below(rng, 10) ? 0 : (uint32_t)rng_below(rng, 256) << KMS_ATTR_SHIFT;
	e.told = rng_below(rng, 10) ? 0 : 1 + (uint32_t)rng_below(rng, KMS_MAX_CACHES);
	e.stamp = rng_below(rng, 40) == 0;
	e.time_ns = time_ns + rng_below(rng, 1 << 30);
	if (rng_below(rng, 30) == 0)
		random_other(rng, &e);
	return e;
}

/* Times as schema/record.h says, by a formula of its own. */
static void expect_times(struct written *w, size_t from, size_t to, uint64_t start, uint64_t end)
{
	for (size_t i = from; i < to; i++)
		w->time_ns[i] = start + (uint64_t)((unsigned __int128)(end - start) * (i - from) /
						   (to - from));
}

static void write_random(struct written *w, struct rng *rng)
{
	struct enc_open open = {.number = 7,
				.first_seq = rng_below(rng, 1ull << 40),
				.time_ns = rng_below(rng, 1ull << 50),
				.slot = 3,
				.thread = 5,
				.base_address = 0x100000000000,
				.ring = 9,
				.level = 1,
				.checks = 3};
	struct enc_writer enc;
	uint64_t since = open.time_ns;
	size_t anchor = 0;

	memset(&w->block, 0x5a, sizeof(w->block));
	w->n = 0;
	enc_begin(&enc, &w->block, &open);
	for (;;) {
		struct enc_event e = random_event(rng, enc.time_ns);

		w->seq[w->n] = enc.seq;
		if (!enc_put(&enc, &e))
			break;
		if (e.stamp) {
			expect_times(w, anchor, w->n, since, e.time_ns);
			anchor = w->n;
			since = e.time_ns;
		}
		w->event[w->n] = e;
		w->end[w->n++] = enc.fill;
	}
	expect_times(w, anchor, w->n, since, since);
	w->last_time_ns = since;
}

static bool is_hot(const struct enc_event *e)
{
	return e->kind == KMS_EVENT_ALLOC || e->kind == KMS_EVENT_FREE;
}

static bool has_address(const struct enc_event *e)
{
	return is_hot(e) || e->kind == KMS_EVENT_CHECK || e->kind == KMS_EVENT_EVICT;
}

static void check_value(const struct enc_event *want, const struct kms_event *got)
{
	switch (want->kind) {
	case KMS_EVENT_SLAB_GROW:
		assert_int_equal(got->value2, want->stride);
		assert_int_equal(got->first_bytes, want->first);
		/* fall through */
	case KMS_EVENT_SLAB_RELEASE:
		assert_int_equal(got->cache, want->cache);
		assert_int_equal(got->value, want->value);
		assert_int_equal(got->size, want->value * 4096);
		break;
	case KMS_EVENT_CONTEXT:
		assert_int_equal(got->thread, want->thread);
		assert_int_equal(got->level, want->level);
		break;
	default:
		assert_int_equal(got->value, want->value);
		break;
	}
}

static void check_event(const struct written *w, size_t i, const struct kms_event *got)
{
	const struct enc_event *want = &w->event[i];
	bool sized = has_address(want) || want->kind == KMS_EVENT_ALLOC_FAILED;
	bool stacked = sized && want->kind != KMS_EVENT_EVICT;
	bool checked = is_hot(want) || want->kind == KMS_EVENT_CHECK;
	bool slab = want->kind == KMS_EVENT_SLAB_GROW || want->kind == KMS_EVENT_SLAB_RELEASE;

	assert_int_equal(got->kind, want->kind);
	assert_int_equal(got->time_ns, w->time_ns[i]);
	assert_int_equal(got->ring_seq, w->seq[i]);
	assert_int_equal(got->index, i);
	assert_true(got->offset >= (i ? w->end[i - 1] : 0) && got->offset < w->end[i]);
	assert_int_equal(got->flags, want->attributes | (checked ? want->checks : 0));
	if (!slab)
		assert_int_equal(got->cache, want->told ? want->told - 1 : KMS_NO_INDEX);
	assert_int_equal(got->has_generation, want->has_generation);
	assert_int_equal(got->session, want->session);
	if (want->has_generation)
		assert_int_equal(got->generation, want->generation);
	assert_int_equal(got->address, has_address(want) || slab ? want->address : 0);
	if (sized)
		assert_int_equal(got->size, want->size);
	assert_int_equal(got->stack, stacked ? want->stack : 0);
	if (!sized)
		check_value(want, got);
}

static void random_blocks_decode_to_what_was_written(void **state)
{
	struct written *w = malloc(sizeof(*w));
	struct kms_event *event = calloc(MAX_EVENTS, sizeof(*event));
	struct rng rng;
	size_t n;

	(void)state;
	rng_init(&rng, rng_seed());
	for (int i = 0; i < N_RANDOM_BLOCKS; i++) {
		write_random(w, &rng);
		assert_int_equal(kms_block_decode(&w->block, event, MAX_EVENTS, &n), 0);
		assert_int_equal(n, w->n);
		for (size_t j = 0; j < n; j++)
			check_event(w, j, &event[j]);
	}
	free(event);
	free(w);
}

/* Sums over the source events from `from` on. */
static struct kms_block_summary sum_of(const struct written *w, size_t from, size_t to)
{
	struct kms_block_summary s = {.events = (uint32_t)(to - from), .min_address = UINT64_MAX};

	for (size_t i = from; i < to; i++) {
		const struct enc_event *e = &w->event[i];

		s.by_kind[e->kind]++;
		s.lost += e->kind == KMS_EVENT_LOST ? e->value : 0;
		if (has_address(e) && e->address < s.min_address)
			s.min_address = e->address;
		if (has_address(e) && e->address > s.max_address)
			s.max_address = e->address;
		if ((has_address(e) || e->kind == KMS_EVENT_ALLOC_FAILED) &&
		    e->kind != KMS_EVENT_EVICT && e->stack > s.max_node)
			s.max_node = e->stack;
	}
	if (s.min_address == UINT64_MAX)
		s.min_address = 0;
	s.bytes = to ? w->end[to - 1] : 0;
	if (to)
		s.next_seq = w->seq[to - 1] +
			     (w->event[to - 1].kind == KMS_EVENT_LOST ? w->event[to - 1].value : 1);
	return s;
}

static void check_sum(const struct written *w, size_t from, size_t to,
		      const struct kms_block_summary *got)
{
	struct kms_block_summary want = sum_of(w, from, to);

	assert_int_equal(got->events, want.events);
	assert_int_equal(got->bytes, want.bytes);
	assert_int_equal(got->lost, want.lost);
	assert_int_equal(got->next_seq, to ? want.next_seq : w->block.first_seq);
	assert_int_equal(got->min_address, want.min_address);
	assert_int_equal(got->max_address, want.max_address);
	assert_memory_equal(got->by_kind, want.by_kind, sizeof(want.by_kind));
	/* a HIT's node was named by an earlier record: the walk may leave it out after `from` */
	if (!from)
		assert_int_equal(got->max_node, want.max_node);
	else
		assert_true(got->max_node <= want.max_node);
}

/* Pages as they were reported. */
struct pages {
	uint64_t page[LOG_PAGES];
	size_t n;
};

static void log_page(void *arg, uint64_t page)
{
	struct pages *pages = arg;

	assert_true(pages->n < LOG_PAGES);
	pages->page[pages->n++] = page;
}

static void check_pages(const struct written *w, size_t from, const struct pages *pages)
{
	size_t at = 0;

	for (size_t i = from; i < w->n; i++) {
		if (!has_address(&w->event[i]))
			continue;
		if (at && pages->page[at - 1] == w->event[i].address >> 12)
			continue;
		assert_true(at < pages->n);
		assert_int_equal(pages->page[at++], w->event[i].address >> 12);
	}
	assert_int_equal(at, pages->n);
}

static void walk_sums_up_what_was_written_from_any_event_on(void **state)
{
	struct written *w = malloc(sizeof(*w));
	struct kms_block_summary sum;
	struct rng rng;

	(void)state;
	rng_init(&rng, rng_seed());
	for (int i = 0; i < N_RANDOM_BLOCKS; i++) {
		struct pages pages = {.n = 0};
		size_t from;

		write_random(w, &rng);
		assert_int_equal(kms_block_walk(&w->block, 0, &sum, NULL, NULL), 0);
		check_sum(w, 0, w->n, &sum);
		assert_int_equal(sum.last_time_ns, w->last_time_ns);
		assert_false(sum.truncated);
		from = rng_below(&rng, w->n);
		assert_int_equal(kms_block_walk(&w->block, from ? w->end[from - 1] : 0, &sum,
						log_page, &pages),
				 0);
		check_sum(w, from, w->n, &sum);
		check_pages(w, from, &pages);
	}
	free(w);
}

static void a_block_cut_anywhere_gives_its_whole_events_and_says_truncated(void **state)
{
	struct written *w = malloc(sizeof(*w));
	struct kms_event *event = calloc(MAX_EVENTS, sizeof(*event));
	struct kms_block_summary sum;
	struct rng rng;
	size_t whole = 0;
	size_t n;

	(void)state;
	rng_init(&rng, rng_seed());
	write_random(w, &rng);
	for (uint32_t fill = 0; fill < w->end[w->n - 1]; fill++) {
		int result;

		while (whole < w->n && w->end[whole] <= fill)
			whole++;
		w->block.fill = fill;
		result = kms_block_walk(&w->block, 0, &sum, NULL, NULL);
		assert_int_equal(sum.events, whole);
		assert_true(sum.bytes <= fill);
		assert_true(result == 0 ? sum.bytes == fill : result == -EBADMSG && sum.truncated);
		assert_int_equal(kms_block_decode(&w->block, event, MAX_EVENTS, &n), result);
		assert_int_equal(n, whole);
	}
	free(event);
	free(w);
}

/* Bytes that no producer writes, and whether they look cut off. */
struct bad {
	const char *what;
	uint8_t byte[24];
	uint32_t n;
	bool truncated;
};

#define CODE(c) ((c) << KMS_REC_CODE_SHIFT)

static const struct bad bad_bytes[] = {
	{"form 3",			{3, 0, 0, 0},				       4, false},
	{"code 0",			{0, 0, 0, 0},				       4, false},
	{"code 7, not defined",           {CODE(7), 0},                                       2, false},
	{"code 21, past the end",         {CODE(21), 0},                                      2, false},
	{"code 63",		       {CODE(63), 0},				      2, false},
	{"SAME without HIT",              {1 | KMS_REC_SAME, 0, 0, 0, 0, 0, 0, 0},            8, false},
	{"node beyond the limit",         {1, 0, 0, 0, 0x40, 1, 1},                           7, false},
	{"size above 2^57",
	 {1 | KMS_REC_HIT | 3 << KMS_REC_SIZE_SHIFT, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3},
	 11,										     false},
	{"unknown check bit",             {CODE(KMS_REC_CHECKS), 0x20},                       2, false},
	{"varint of 11 bytes",
	 {CODE(KMS_REC_TIME), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0},
	 12,										     false},
	{"varint above 64 bits",
	 {CODE(KMS_REC_TIME), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2},
	 11,										     false},
	{"fault index",                   {CODE(KMS_REC_FAULT), 0x80, 0x08},                  3, false},
	{"module index",                  {CODE(KMS_REC_MAP), 0x80, 0x80, 0x01},              4, false},
	{"thread index",                  {CODE(KMS_REC_THREAD), 0x80, 0x80, 0x04},           4, false},
	{"slot",			  {CODE(KMS_REC_FORK), 0x80, 0x02},                   3, false},
	{"string index",                  {CODE(KMS_REC_EXEC), 0xff, 0xff, 0xff, 0x7f},       5, false},
	{"level",			 {CODE(KMS_REC_CONTEXT), 1, 4},                      3, false},
	{"context thread",                {CODE(KMS_REC_CONTEXT), 0x80, 0x80, 0x04, 1},       5, false},
	{"cache",			 {CODE(KMS_REC_SLAB_GROW), 1, 1, 0x80, 2, 0, 8},     7, false},
	{"slab of no pages",              {CODE(KMS_REC_SLAB_GROW), 1, 0, 1, 0, 8},           6, false},
	{"first object outside its slab",
	 {CODE(KMS_REC_SLAB_GROW), 1, 1, 1, 0x80, 0x20, 8},
	 7,										      false},
	{"nothing lost",                  {CODE(KMS_REC_LOST), 0},                            2, false},
	{"too much lost",
	 {CODE(KMS_REC_LOST), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	 9,										      false},
	{"hot record cut",                {1, 0, 0, 0, 0, 1},                                 6, true },
	{"tag alone",                     {2},						1, true },
	{"varint cut",                    {CODE(KMS_REC_TIME), 0x80},                         2, true },
	{"prefix alone",                  {CODE(KMS_REC_GEN), 1},                             2, true },
	{"prefix cut",                    {CODE(KMS_REC_FLAGS)},                              1, true },
	{"second operand missing",        {CODE(KMS_REC_EVICT), 8},                           2, true },
};

static void malformed_records_are_refused_and_told_from_truncated_ones(void **state)
{
	static const struct enc_event good = {.kind = KMS_EVENT_ALLOC, .address = 64, .size = 8};
	struct enc_open open = {.number = 1};
	struct kms_event event[4];
	struct kms_block_summary sum;
	struct kms_block block;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_bytes) / sizeof(bad_bytes[0]); i++) {
		const struct bad *bad = &bad_bytes[i];
		struct enc_writer enc;
		uint32_t good_bytes;

		memset(&block, 0, sizeof(block));
		enc_begin(&enc, &block, &open);
		assert_true(enc_put(&enc, &good));
		good_bytes = enc.fill;
		assert_true(enc_put_bytes(&enc, bad->byte, bad->n));
		if (kms_block_walk(&block, 0, &sum, NULL, NULL) != -EBADMSG ||
		    sum.truncated != bad->truncated || sum.bytes != good_bytes)
			fail_msg("%s: truncated %d, %u good bytes", bad->what, sum.truncated,
				 sum.bytes);
		assert_int_equal(sum.events, 1);
		assert_int_equal(kms_block_decode(&block, event, 4, &n), -EBADMSG);
		assert_int_equal(n, 1);
	}
}

static void headers_out_of_range_are_refused(void **state)
{
	struct kms_block good = {.number = 1, .thread = KMS_NO_INDEX, .checks = 31};
	struct kms_block bad[9];
	struct kms_block_summary sum;
	struct kms_event event;
	size_t n;

	(void)state;
	assert_int_equal(kms_block_walk(&good, 0, &sum, NULL, NULL), 0);
	for (size_t i = 0; i < 9; i++)
		bad[i] = good;
	bad[0].number = 0;
	bad[1].fill = sizeof(good.record) + 1;
	bad[2].slot = KMS_MAX_SLOTS;
	bad[3].ring = KMS_MAX_RINGS;
	bad[4].level = KMS_LEVELS;
	bad[5].checks = 32;
	bad[6].thread = KMS_MAX_THREADS;
	bad[7].first_seq = UINT64_MAX;
	bad[8].base_time_ns = UINT64_MAX;
	for (size_t i = 0; i < 9; i++) {
		assert_int_equal(kms_block_walk(&bad[i], 0, &sum, NULL, NULL), -EBADMSG);
		assert_int_equal(kms_block_decode(&bad[i], &event, 1, &n), -EBADMSG);
	}
}

static void decode_stops_at_the_room_it_was_given(void **state)
{
	struct written *w = malloc(sizeof(*w));
	struct kms_event event[10];
	struct rng rng;
	size_t n;

	(void)state;
	rng_init(&rng, rng_seed());
	write_random(w, &rng);
	assert_int_equal(kms_block_decode(&w->block, event, 10, &n), -ENOSPC);
	assert_int_equal(n, 10);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_blocks_decode_to_what_was_written),
		cmocka_unit_test(walk_sums_up_what_was_written_from_any_event_on),
		cmocka_unit_test(a_block_cut_anywhere_gives_its_whole_events_and_says_truncated),
		cmocka_unit_test(malformed_records_are_refused_and_told_from_truncated_ones),
		cmocka_unit_test(headers_out_of_range_are_refused),
		cmocka_unit_test(decode_stops_at_the_room_it_was_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
