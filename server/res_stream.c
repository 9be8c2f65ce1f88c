/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/stream, and /api/v1/loss, the one of its documents that is nowhere else */
#include "server/exchange.h"
#include "server/stream.h"
#include "server/write.h"

void kms_res_stream(struct kms_exchange *x)
{
	const struct kms_query *query = &x->query;

	if (!x->in->can_stream) {
		kms_problem(x, KMS_PROBLEM_NOT_ACCEPTABLE,
			    "events come over a connection to a live session only; ask for the "
			    "documents");
		return;
	}
	x->out->content_type = "text/event-stream";
	x->out->stream = (struct kms_stream_spec){
		.topics = query->topics,
		.period_ms = query->period_ms,
		.target = query->target,
		.limit = query->given & KMS_PARAM_BIT(KMS_PARAM_LIMIT) ? (uint32_t)query->limit
								       : KMS_STREAM_ROWS,
	};
}

/* Rings that lost events. */
static void write_rings(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	const struct kms_view_ring *ring;

	kms_json_array_begin(&x->json, "items");
	for (size_t i = 0; i < s->n_rings; i++) {
		ring = &s->ring[i];
		if (!ring->lost || (x->query.target && ring->target != x->query.target))
			continue;
		kms_json_object_begin(&x->json, NULL);
		kms_json_u64(&x->json, "target", ring->target);
		if (ring->ring == KMS_VIEW_NO_RING)
			kms_json_null(&x->json, "ring");
		else
			kms_json_u64(&x->json, "ring", ring->ring);
		kms_json_u64(&x->json, "lost", ring->lost);
		kms_json_object_end(&x->json);
	}
	kms_json_array_end(&x->json);
}

void kms_res_loss(struct kms_exchange *x)
{
	struct kms_view_stats stats;
	bool peak_known;

	kms_sum_stats(x->snapshot, x->query.target, &stats, &peak_known);
	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	if (x->query.target)
		kms_json_u64(&x->json, "target", x->query.target);
	else
		kms_json_null(&x->json, "target");
	kms_json_u64(&x->json, "lost", stats.lost);
	kms_json_bool(&x->json, "incomplete", x->snapshot->incomplete);
	write_rings(x);
	kms_json_object_end(&x->json);
}
