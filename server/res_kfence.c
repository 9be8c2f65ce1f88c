/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/kfence */
#include <errno.h>

#include "server/exchange.h"
#include "server/kfence.h"
#include "server/write.h"

static void write_object(struct kms_exchange *x, const struct kms_view_kfence_object *object)
{
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, NULL);
	kms_json_u64(json, "index", object->index);
	kms_json_string(json, "state", kms_kfence_state_name(object->state));
	kms_json_address(json, "address", object->address);
	kms_json_u64(json, "size", object->bytes);
	kms_json_string(json, "cache", object->cache);
	kms_json_u64(json, "alloc_pid", object->alloc_pid);
	kms_write_stack(x, "alloc_stack", object->alloc_stack_id);
	kms_json_u64(json, "free_pid", object->free_pid);
	kms_write_stack(x, "free_stack", object->free_stack_id);
	kms_json_object_end(json);
}

static void write_state(struct kms_json *json, const struct kms_view_kfence *state)
{
	kms_json_u64(json, "target", state->target);
	kms_json_bool(json, "enabled", state->enabled);
	kms_json_address(json, "pool", state->pool);
	kms_json_u64(json, "sample_interval_ms", state->sample_interval_ms);
	kms_json_u64(json, "objects", state->objects);
	kms_json_u64(json, "live", state->live);
	kms_json_u64(json, "freed", state->freed);
	if (state->has_counters) {
		kms_json_object_begin(json, "counters");
		kms_json_u64(json, "allocs", state->allocs);
		kms_json_u64(json, "frees", state->frees);
		kms_json_u64(json, "bugs", state->bugs);
		kms_json_u64(json, "skipped", state->skipped);
		kms_json_object_end(json);
	} else {
		kms_json_null(json, "counters");
	}
	kms_json_u64(json, "reports", state->reports);
	kms_json_array_begin(json, "report_lines");
	for (uint32_t i = 0;
	     i < state->reports && i < sizeof(state->report) / sizeof(state->report[0]); i++)
		kms_json_string(json, NULL, state->report[i]);
	kms_json_array_end(json);
}

void kms_res_kfence(struct kms_exchange *x)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_kfence kfence;
	size_t limit = x->query.limit;
	int result = kms_kfence_read(x->view, x->query.target, &kfence, &err);

	if (result == -ENOTSUP) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "%s", err.text);
	} else if (result < 0) {
		kms_problem(x, KMS_PROBLEM_NO_ITEM, "%s", err.text);
	} else {
		kms_json_object_begin(&x->json, NULL);
		kms_write_snapshot(x);
		write_state(&x->json, &kfence.state);
		kms_json_array_begin(&x->json, "items");
		for (size_t i = 0; i < kfence.n && i < limit; i++)
			write_object(x, &kfence.object[i]);
		kms_json_array_end(&x->json);
		kms_json_u64(&x->json, "total", kfence.n);
		kms_json_object_end(&x->json);
	}
	kms_kfence_deinit(&kfence);
}
