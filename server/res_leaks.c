/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/leaks and /api/v1/leaks/{id} */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "base/hash.h"
#include "server/exchange.h"
#include "server/suspect.h"
#include "server/write.h"

static const char *const state_names[KMS_LEAK_STATES] = {"open", "suppressed", "expected", "fixed"};

static void write_words(struct kms_json *json, const struct kms_view_leak *leak)
{
	struct kms_buf text;

	kms_buf_init(&text, 1024);
	kms_suspect_words(&text, leak);
	kms_json_string(json, "words", kms_buf_text(&text));
	kms_buf_deinit(&text);
}

static void write_evidence(struct kms_json *json, const struct kms_view_leak *leak)
{
	const struct kms_view_evidence *e = &leak->evidence;

	kms_json_object_begin(json, "evidence");
	kms_json_double(json, "growth_bytes_per_s", e->growth_bytes_per_s);
	kms_json_double(json, "age_over_lifetime", e->age_over_lifetime);
	kms_json_u64(json, "freed", e->freed);
	kms_json_bool(json, "never_freed", e->never_freed);
	kms_json_bool(json, "at_exit", e->at_exit);
	write_words(json, leak);
	kms_json_object_end(json);
}

static void write_caches(struct kms_json *json, const struct kms_view_leak *leak)
{
	kms_json_array_begin(json, "caches");
	for (size_t i = 0; i < leak->n_caches; i++) {
		kms_json_object_begin(json, NULL);
		kms_json_string(json, "cache", leak->caches[i].name);
		kms_json_u64(json, "bytes", leak->caches[i].bytes);
		kms_json_u64(json, "count", leak->caches[i].count);
		kms_json_object_end(json);
	}
	kms_json_array_end(json);
}

static void write_members(struct kms_exchange *x, const struct kms_view_leak *leak)
{
	struct kms_json *json = &x->json;

	kms_json_string(json, "id", leak->id);
	kms_json_u64(json, "target", leak->target);
	kms_json_double(json, "score", leak->score);
	kms_json_bool(json, "suspect", kms_is_suspect(leak));
	kms_json_u64(json, "bytes", leak->bytes);
	kms_json_u64(json, "count", leak->count);
	kms_json_u64(json, "allocs", leak->allocs);
	kms_json_u64(json, "age_p50_us", leak->age_p50_us);
	kms_json_double(json, "growth_bytes_per_s", leak->evidence.growth_bytes_per_s);
	kms_json_string(json, "cache", leak->cache);
	write_caches(json, leak);
	kms_json_string(json, "state", leak->state);
	write_evidence(json, leak);
	kms_json_u64(json, "stack_id", leak->stack_id);
	kms_write_stack(x, "stack", leak->stack_id);
}

static bool has_state(const struct kms_view_leak *leak, uint32_t states)
{
	for (unsigned int i = 0; i < KMS_LEAK_STATES; i++)
		if (leak->state && strcmp(leak->state, state_names[i]) == 0)
			return states >> i & 1;
	return states == KMS_LEAK_STATE_ANY;
}

static bool matches(const struct kms_view_leak *leak, const struct kms_query *query)
{
	return (!query->target || leak->target == query->target) &&
	       leak->bytes >= query->min_bytes && leak->score >= (double)query->min_score &&
	       has_state(leak, query->states);
}

static uint64_t score_key(double score)
{
	uint64_t bits;

	memcpy(&bits, &score, sizeof(bits)); /* scores are not negative: bits order as values do */
	return bits;
}

/* Rows of one id, one for each stack that means the same to a reader, must not be confused. */
static uint64_t row_key(const struct kms_view_leak *leak)
{
	return kms_hash_join(kms_hash_bytes(leak->id, strlen(leak->id), 0), leak->stack_id);
}

/*
 * Where a page goes on: behind the row the last one ended with, or, where that has gone, at the first
 * one with a lower score.
 */
static size_t resume_at(const struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	const uint64_t *key = x->query.cursor.key;
	size_t lower = s->n_leaks;

	if (!(x->query.given & KMS_PARAM_BIT(KMS_PARAM_CURSOR)))
		return 0;
	for (size_t i = 0; i < s->n_leaks; i++) {
		if (row_key(&s->leak[i]) == key[1] && s->leak[i].target == key[2])
			return i + 1;
		if (lower == s->n_leaks && score_key(s->leak[i].score) < key[0])
			lower = i;
	}
	return lower;
}

/* Rows, bytes and blocks. */
struct total {
	uint64_t rows, bytes, count;
};

static void add_row(struct total *total, const struct kms_view_leak *leak)
{
	total->rows++;
	total->bytes += leak->bytes;
	total->count += leak->count;
}

/* Begins the document with sums over all rows that match, sent or not. Returns how many they are. */
static uint64_t write_totals(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	struct total all = {0};
	struct total suspects = {0};
	struct kms_json *json = &x->json;

	for (size_t i = 0; i < s->n_leaks; i++) {
		if (!matches(&s->leak[i], &x->query))
			continue;
		add_row(&all, &s->leak[i]);
		if (kms_is_suspect(&s->leak[i]))
			add_row(&suspects, &s->leak[i]);
	}
	kms_json_object_begin(json, NULL);
	kms_write_snapshot(x);
	kms_json_bool(json, "incomplete", s->incomplete || s->stats.lost > 0 || s->tracer_lost);
	kms_json_u64(json, "suspects", suspects.rows);
	kms_json_u64(json, "suspect_bytes", suspects.bytes);
	kms_json_u64(json, "suspect_count", suspects.count);
	kms_json_u64(json, "total_bytes", all.bytes);
	kms_json_u64(json, "total_count", all.count);
	kms_json_array_begin(json, "items");
	return all.rows;
}

void kms_res_leaks(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	uint64_t key[KMS_CURSOR_KEYS] = {0};
	uint64_t total = write_totals(x);
	size_t sent = 0;
	bool more = false;

	for (size_t i = resume_at(x); i < s->n_leaks && !more; i++) {
		if (!matches(&s->leak[i], &x->query))
			continue;
		more = sent == x->query.limit;
		if (more)
			break;
		kms_json_object_begin(&x->json, NULL);
		write_members(x, &s->leak[i]);
		kms_json_object_end(&x->json);
		key[0] = score_key(s->leak[i].score);
		key[1] = row_key(&s->leak[i]);
		key[2] = s->leak[i].target;
		sent++;
	}
	kms_write_list_end(x, total, more, key);
}

/* An id is the same in all targets of a run: the answer is the first row, and where else it is. */
void kms_res_leak(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	const struct kms_view_leak *first = NULL;

	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	kms_json_bool(&x->json, "incomplete", s->incomplete || s->stats.lost > 0 || s->tracer_lost);
	kms_json_array_begin(&x->json, "targets");
	for (size_t i = 0; i < s->n_leaks; i++) {
		if (strcmp(s->leak[i].id, x->arg) != 0 || !matches(&s->leak[i], &x->query))
			continue;
		kms_json_u64(&x->json, NULL, s->leak[i].target);
		if (!first)
			first = &s->leak[i];
	}
	kms_json_array_end(&x->json);
	if (!first) {
		kms_problem(x, KMS_PROBLEM_NO_ITEM,
			    "no leak suspect has the id %s; /api/v1/leaks "
			    "lists them",
			    x->arg);
		return;
	}
	write_members(x, first);
	kms_json_object_end(&x->json);
}
