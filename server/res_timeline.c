/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/timeline: figures of the past, at most POINTS_MAX moments of them. */
#include <inttypes.h>
#include <stdlib.h>

#include "server/exchange.h"
#include "server/write.h"

enum {
	POINTS_MAX = 2000,
	POINTS_DEFAULT = 500,
};

/* What the samples of one step have come to. */
struct bucket {
	uint64_t number; /* begins at from + number * step */
	uint64_t last[KMS_SERIES_COUNT], min[KMS_SERIES_COUNT], max[KMS_SERIES_COUNT];
};

struct timeline {
	uint64_t from_ns, to_ns, step_ns;
	struct bucket *bucket; /* POINTS_MAX */
	size_t n;
};

static void values_of(const struct kms_view_sample *sample, uint64_t value[KMS_SERIES_COUNT])
{
	value[KMS_SERIES_LIVE_BYTES] = sample->live_bytes;
	value[KMS_SERIES_LIVE_OBJECTS] = sample->live_objects;
	value[KMS_SERIES_ALLOCS] = sample->allocs;
	value[KMS_SERIES_FREES] = sample->frees;
	value[KMS_SERIES_ALLOC_RATE] = sample->alloc_rate;
	value[KMS_SERIES_FREE_RATE] = sample->free_rate;
	value[KMS_SERIES_FAULTS] = sample->faults;
	value[KMS_SERIES_LOST] = sample->lost;
	value[KMS_SERIES_GUARD_USED] = sample->guard_used;
	value[KMS_SERIES_GUARD_DEPTH] = sample->guard_depth;
}

/* Samples come by time; what does not is passed over. */
static int add_sample(void *arg, const struct kms_view_sample *sample)
{
	struct timeline *t = arg;
	uint64_t value[KMS_SERIES_COUNT];
	struct bucket *bucket;
	uint64_t number;

	if (sample->time_ns < t->from_ns || sample->time_ns > t->to_ns)
		return 0;
	number = (sample->time_ns - t->from_ns) / t->step_ns;
	if (t->n && number < t->bucket[t->n - 1].number)
		return 0;
	values_of(sample, value);
	if (!t->n || number > t->bucket[t->n - 1].number) {
		if (t->n == POINTS_MAX)
			return 1;
		bucket = &t->bucket[t->n++];
		bucket->number = number;
		for (unsigned i = 0; i < KMS_SERIES_COUNT; i++)
			bucket->min[i] = bucket->max[i] = value[i];
	}
	bucket = &t->bucket[t->n - 1];
	for (unsigned i = 0; i < KMS_SERIES_COUNT; i++) {
		bucket->last[i] = value[i];
		bucket->min[i] = value[i] < bucket->min[i] ? value[i] : bucket->min[i];
		bucket->max[i] = value[i] > bucket->max[i] ? value[i] : bucket->max[i];
	}
	return 0;
}

/* The step that was asked for, or one that gives few enough points. */
static void set_range(const struct kms_exchange *x, struct timeline *t)
{
	const struct kms_query *query = &x->query;
	uint64_t span, least;

	t->from_ns = query->from_ns;
	t->to_ns = query->to_ns < x->snapshot->time_ns ? query->to_ns : x->snapshot->time_ns;
	span = t->to_ns > t->from_ns ? t->to_ns - t->from_ns : 0;
	least = span / (POINTS_MAX - 1) + 1;
	t->step_ns = query->step_ns ? query->step_ns : span / (POINTS_DEFAULT - 1) + 1;
	if (t->step_ns < least)
		t->step_ns = least;
}

static void write_values(struct kms_json *json, const char *key, const struct timeline *t,
			 const uint64_t *first)
{
	const size_t stride = sizeof(struct bucket) / sizeof(uint64_t);

	kms_json_array_begin(json, key);
	for (size_t i = 0; i < t->n; i++)
		kms_json_u64(json, NULL, first[i * stride]);
	kms_json_array_end(json);
}

static void write_series(struct kms_json *json, const struct timeline *t, unsigned series)
{
	kms_json_object_begin(json, kms_series_name(series));
	write_values(json, "last", t, &t->bucket[0].last[series]);
	write_values(json, "min", t, &t->bucket[0].min[series]);
	write_values(json, "max", t, &t->bucket[0].max[series]);
	kms_json_object_end(json);
}

static void write_document(struct kms_exchange *x, const struct timeline *t)
{
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, NULL);
	kms_write_snapshot(x);
	kms_json_u64(json, "from_ns", t->from_ns);
	kms_json_u64(json, "to_ns", t->to_ns);
	kms_json_u64(json, "step_ns", t->step_ns);
	kms_json_array_begin(json, "time_ns");
	for (size_t i = 0; i < t->n; i++)
		kms_json_u64(json, NULL, t->from_ns + t->bucket[i].number * t->step_ns);
	kms_json_array_end(json);
	kms_json_object_begin(json, "series");
	for (unsigned i = 0; i < KMS_SERIES_COUNT; i++)
		if (!x->query.series || x->query.series >> i & 1)
			write_series(json, t, i);
	kms_json_object_end(json);
	kms_json_object_end(json);
}

void kms_res_timeline(struct kms_exchange *x)
{
	const struct kms_view *view = x->view;
	struct timeline t = {0};
	struct kms_sample_query query;
	struct kms_err err = KMS_ERR_INIT;

	if (!view->ops->samples) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source keeps no past figures");
		return;
	}
	set_range(x, &t);
	query = (struct kms_sample_query){x->query.target, t.from_ns, t.to_ns};
	t.bucket = calloc(POINTS_MAX, sizeof(*t.bucket));
	if (!t.bucket)
		kms_problem(x, KMS_PROBLEM_INTERNAL, "out of memory");
	else if (view->ops->samples(view->ctx, &query, add_sample, &t, &err) < 0)
		kms_problem(x, KMS_PROBLEM_INTERNAL, "past figures cannot be read: %s", err.text);
	else
		write_document(x, &t);
	free(t.bucket);
}
