/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/faults and /api/v1/faults/{id} */
#include <inttypes.h>
#include <stdio.h>

#include "base/fmt.h"
#include "schema/spans.h"
#include "server/exchange.h"
#include "server/report.h"
#include "server/write.h"

enum {
	OWNERS_IN_LIST = 16,     /* of one fault, with stacks; /faults/{id} has them all */
	OWNERS_IN_REPORT = 1000, /* a line each */
};

static void write_owner(struct kms_exchange *x, const struct kms_view_owner *owner)
{
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, NULL);
	kms_json_u64(json, "alloc_time_ns", owner->alloc_ns);
	if (owner->free_ns)
		kms_json_u64(json, "free_time_ns", owner->free_ns);
	else
		kms_json_null(json, "free_time_ns");
	kms_json_u64(json, "size", owner->bytes);
	kms_json_u64(json, "thread", owner->thread);
	kms_write_stack(x, "alloc_stack", owner->alloc_stack_id);
	kms_write_stack(x, "free_stack", owner->free_stack_id);
	kms_json_object_end(json);
}

static void write_neighbours(struct kms_json *json, const struct kms_fault *raw)
{
	kms_json_array_begin(json, "neighbours");
	for (unsigned int i = 0; i < 2; i++) {
		if (!raw->neighbour[i])
			continue;
		kms_json_object_begin(json, NULL);
		kms_json_string(json, "side", i == 0 ? "before" : "after");
		kms_json_address(json, "address", raw->neighbour[i]);
		kms_json_u64(json, "size", raw->neighbour_bytes[i]);
		kms_json_string(json, "state", kms_block_state_name(raw->neighbour_state[i]));
		kms_json_object_end(json);
	}
	kms_json_array_end(json);
}

/* The block the address belongs to, and what was seen there. */
static void write_block(struct kms_json *json, const struct kms_view_fault *fault)
{
	const struct kms_fault *raw = &fault->raw;
	char bytes[2 * sizeof(raw->bytes) + 1];
	size_t count =
		raw->bytes_count < sizeof(raw->bytes) ? raw->bytes_count : sizeof(raw->bytes);

	kms_json_address(json, "block", raw->block);
	kms_json_u64(json, "size", raw->block_bytes);
	kms_json_i64(json, "offset", raw->block ? (int64_t)(raw->address - raw->block) : 0);
	kms_json_string(json, "cache", fault->cache);
	kms_json_string(json, "block_state", kms_block_state_name(raw->block_state));
	kms_json_u64(json, "argument_size", raw->argument_bytes);
	kms_json_address(json, "expected", raw->expected);
	kms_json_address(json, "found", raw->found);
	write_neighbours(json, raw);
	for (size_t i = 0; i < count; i++)
		snprintf(bytes + 2 * i, 3, "%02x", raw->bytes[i]);
	bytes[2 * count] = '\0';
	kms_json_address(json, "bytes_address", raw->bytes_address);
	kms_json_string(json, "bytes", bytes);
}

static void write_report(struct kms_exchange *x, const struct kms_view_fault *fault)
{
	struct kms_buf text;

	kms_buf_init(&text, 16 << 20);
	kms_report_headline(&text, &x->stacks, fault);
	kms_json_string(&x->json, "headline", kms_buf_text(&text));
	kms_buf_reset(&text);
	kms_report_fault(&text, &x->stacks, fault, OWNERS_IN_REPORT);
	kms_json_string(&x->json, "report", kms_buf_text(&text));
	kms_buf_deinit(&text);
}

static void write_members(struct kms_exchange *x, const struct kms_view_fault *fault,
			  size_t max_owners)
{
	const struct kms_fault *raw = &fault->raw;
	struct kms_json *json = &x->json;

	kms_json_u64(json, "id", fault->id);
	kms_json_u64(json, "target", fault->target);
	kms_json_string(json, "kind", kms_fault_kind_name(raw->kind));
	kms_json_u64(json, "time_ns", raw->time_ns);
	kms_json_address(json, "address", raw->address);
	kms_json_string(json, "access", kms_fault_access_name(raw->access));
	write_block(json, fault);
	kms_json_u64(json, "thread", fault->tid);
	kms_json_string(json, "thread_name", fault->thread_name);
	kms_json_string(json, "context", kms_level_name(raw->level));
	kms_json_string(json, "policy", kms_policy_name(raw->policy));
	kms_json_u64(json, "hits", raw->hits);
	kms_json_string(json, "message", raw->text);
	kms_write_stack(x, "stack", fault->stack_id);
	kms_write_stack(x, "alloc_stack", fault->alloc_stack_id);
	kms_write_stack(x, "free_stack", fault->free_stack_id);
	kms_json_u64(json, "owners_total", fault->n_owners);
	kms_json_array_begin(json, "owners");
	for (size_t i = 0; i < fault->n_owners && i < max_owners; i++)
		write_owner(x, &fault->owner[i]);
	kms_json_array_end(json);
	write_report(x, fault);
}

void kms_res_faults(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	uint64_t key[KMS_CURSOR_KEYS] = {0};
	uint64_t total = 0;
	size_t sent = 0;
	bool more = false;

	kms_write_list_begin(x);
	for (size_t i = 0; i < s->n_faults; i++) { /* ids grow */
		if (x->query.target && s->fault[i].target != x->query.target)
			continue;
		total++;
		if (s->fault[i].id <= x->query.cursor.key[0])
			continue;
		if (sent == x->query.limit) {
			more = true;
			continue;
		}
		kms_json_object_begin(&x->json, NULL);
		write_members(x, &s->fault[i], OWNERS_IN_LIST);
		kms_json_object_end(&x->json);
		key[0] = s->fault[i].id;
		sent++;
	}
	kms_write_list_end(x, total, more, key);
}

void kms_res_fault(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	uint64_t id;

	for (size_t i = 0; kms_parse_u64(x->arg, &id) == 0 && i < s->n_faults; i++) {
		if (s->fault[i].id != id)
			continue;
		kms_json_object_begin(&x->json, NULL);
		kms_write_snapshot(x);
		write_members(x, &s->fault[i], SIZE_MAX);
		kms_json_object_end(&x->json);
		return;
	}
	kms_problem(x, KMS_PROBLEM_NO_ITEM, "there is no fault %s; /api/v1/faults lists them",
		    x->arg);
}
