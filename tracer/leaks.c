/* SPDX-License-Identifier: BSD-2-Clause */
/* Leak suspects: see leaks.h. */
#include "tracer/leaks.h"

#include <math.h>
#include <string.h>

/* Weights of what a full score is made of; their sum is 1. */
#define WEIGHT_BASE  0.15
#define WEIGHT_GROWS 0.45
#define WEIGHT_MANY  0.25
#define WEIGHT_SHARE 0.15

#define MANY_LOG2    10.0 /* this many doublings of one block are "many": 1023 */
#define OLD_LOG2     6.0  /* and an age of 64 lifetimes is as old as it gets */
#define KEPT_AT_EXIT 0.5  /* what is left at exit is not freed any more, whatever was before */
#define NOT_LATELY   0.6  /* growth that has stopped counts less */

static double clamp01(double v)
{
	if (v < 0)
		return 0;
	return v > 1 ? 1 : v;
}

static double age_over_lifetime(const struct kms_leak_facts *facts)
{
	return facts->lifetime_p99_ns
		       ? (double)facts->median_age_ns / (double)facts->lifetime_p99_ns
		       : 0;
}

/* How sure it is that these blocks are kept: 1 if none was ever freed. */
static double kept(const struct kms_leak_facts *facts)
{
	double survive, old, age = age_over_lifetime(facts);

	if (!facts->frees)
		return 1;
	survive = facts->allocs ? clamp01((double)facts->count / (double)facts->allocs) : 0;
	old = age > 1 ? clamp01(log2(age) / OLD_LOG2) : 0;
	if (facts->at_exit && old < KEPT_AT_EXIT)
		old = KEPT_AT_EXIT;
	return survive > old ? survive : old;
}

/* How steadily the site grew since it first did, and whether it still does. */
static double grows(const struct kms_leak_facts *facts)
{
	uint32_t last_quarter = ~UINT32_C(0) << (facts->epochs * 3 / 4);
	uint32_t since, grown = (uint32_t)__builtin_popcount(facts->grown);
	double growth, shrinks;

	if (!facts->grown)
		return 0;
	since = facts->epochs - (uint32_t)__builtin_ctz(facts->grown);
	if (since < KMS_LEAK_MIN_EPOCHS)
		since = KMS_LEAK_MIN_EPOCHS;
	growth = clamp01((double)grown / since);
	/* A leak leaves a block in each epoch in which it grows; what goes up and down does not. */
	growth *= clamp01((double)facts->count / grown);
	if (!(facts->grown & last_quarter))
		growth *= NOT_LATELY;
	if (facts->growth_bytes_per_s < 0 && facts->bytes) {
		shrinks = -facts->growth_bytes_per_s * facts->window_s / (double)facts->bytes;
		growth *= 1 - clamp01(shrinks);
	}
	return growth;
}

static double share(const struct kms_leak_facts *facts)
{
	return facts->total_bytes ? clamp01(sqrt((double)facts->bytes / (double)facts->total_bytes))
				  : 0;
}

double kms_leak_score(const struct kms_leak_facts *facts, struct kms_view_evidence *evidence)
{
	double many = clamp01(log2(1 + (double)facts->count) / MANY_LOG2);

	*evidence = (struct kms_view_evidence){
		.growth_bytes_per_s = facts->growth_bytes_per_s,
		.age_over_lifetime = age_over_lifetime(facts),
		.freed = facts->frees,
		.never_freed = facts->frees == 0,
		.at_exit = facts->at_exit,
	};
	if (!facts->count)
		return 0;
	return 100 * kept(facts) *
	       (WEIGHT_BASE + WEIGHT_GROWS * grows(facts) + WEIGHT_MANY * many +
		WEIGHT_SHARE * share(facts));
}

double kms_leak_slope(const uint64_t *time_ns, const float *bytes, size_t n)
{
	double mean_t = 0, mean_b = 0, tt = 0, tb = 0;

	for (size_t i = 0; i < n; i++) {
		mean_t += (double)(time_ns[i] - time_ns[0]) / (double)n;
		mean_b += (double)bytes[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		double t = (double)(time_ns[i] - time_ns[0]) - mean_t;

		tt += t * t;
		tb += t * ((double)bytes[i] - mean_b);
	}
	return tt > 0 ? tb / tt * 1e9 : 0;
}

uint64_t kms_leak_lifetime(const uint32_t *bucket, size_t n_buckets, unsigned first_shift,
			   unsigned percent)
{
	uint64_t total = 0, below = 0;

	for (size_t i = 0; i < n_buckets; i++)
		total += bucket[i];
	for (size_t i = 0; i < n_buckets; i++) {
		below += bucket[i];
		if (below && below * 100 >= total * percent)
			return UINT64_C(1) << (i + 1 + first_shift);
	}
	return 0;
}

static int by_number(double a, double b)
{
	return (a > b) - (a < b);
}

int kms_leak_compare(const void *a, const void *b)
{
	const struct kms_view_leak *x = a;
	const struct kms_view_leak *y = b;

	if (x->score != y->score)
		return by_number(y->score, x->score);
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	if (strcmp(x->id, y->id) != 0)
		return strcmp(x->id, y->id);
	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	return (x->stack_id > y->stack_id) - (x->stack_id < y->stack_id);
}

/* FNV-1a: ids stand in files and in suppressions, so they must never change. */
static uint64_t hash_add(uint64_t hash, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_add_number(uint64_t hash, uint64_t number)
{
	unsigned char bytes[8];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(number >> (8 * i));
	return hash_add(hash, bytes, sizeof(bytes));
}

void kms_leak_hash_init(struct kms_leak_hash *hash, const char *cache, size_t cache_bytes)
{
	*hash = (struct kms_leak_hash){.value = hash_add(UINT64_C(0xcbf29ce484222325), cache,
							 strnlen(cache, cache_bytes))};
}

/* Our own library's frames say nothing about the program, and change with its build. */
static bool is_allocator(const struct kms_leak_frame *frame)
{
	static const char prefix[] = "libkmem";

	return frame->module && frame->module_bytes >= sizeof(prefix) - 1 &&
	       memcmp(frame->module, prefix, sizeof(prefix) - 1) == 0;
}

void kms_leak_hash_frame(struct kms_leak_hash *hash, const struct kms_leak_frame *frame)
{
	if (!hash->outside && is_allocator(frame))
		return;
	hash->outside = true;
	/* A zero byte ends each part. A frame without a module (generated code) is the same
	 * everywhere: its address means nothing in another run. */
	if (frame->function) {
		hash->value = hash_add(hash->value, frame->function, strlen(frame->function));
		hash->value = hash_add_number(hash->value, frame->function_offset);
	} else if (frame->module) {
		hash->value = hash_add(hash->value, frame->module, frame->module_bytes);
		hash->value = hash_add_number(hash->value, frame->offset);
	}
	hash->value = hash_add(hash->value, "", 1);
}

uint64_t kms_leak_hash_end(const struct kms_leak_hash *hash)
{
	uint64_t value = hash->value;

	/* FNV leaves the high bits of short input close together */
	value ^= value >> 32;
	value *= UINT64_C(0x9e3779b97f4a7c15);
	value ^= value >> 29;
	return value ? value : 1; /* 0 is "not yet known" */
}

void kms_leak_id_text(uint64_t id, char text[17])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 16; i++)
		text[i] = digits[id >> (60 - 4 * i) & 15];
	text[16] = '\0';
}
