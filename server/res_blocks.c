/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/blocks and /api/v1/whatis/{address} */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "server/exchange.h"
#include "server/report.h"
#include "server/write.h"

enum {
	US = 1000,
};

/* Run time at which ages of a target's blocks are measured: the picture's, or that of its end. */
static uint64_t now_of(const struct kms_snapshot *s, uint32_t target)
{
	for (size_t i = 0; i < s->n_targets; i++) {
		uint64_t end = s->target[i].end_wall_ns;

		if (s->target[i].id == target && end > s->wall_ns && end - s->wall_ns < s->time_ns)
			return end - s->wall_ns;
	}
	return s->time_ns;
}

static void write_time(struct kms_json *json, const char *key, uint64_t time_ns)
{
	if (time_ns)
		kms_json_u64(json, key, time_ns);
	else
		kms_json_null(json, key);
}

/* Members that both resources have. */
static void write_members(struct kms_exchange *x, const struct kms_view_block *block)
{
	struct kms_json *json = &x->json;
	uint64_t now = now_of(x->snapshot, block->target);

	kms_json_u64(json, "target", block->target);
	kms_json_address(json, "address", block->address);
	kms_json_u64(json, "size", block->bytes);
	kms_json_string(json, "state", kms_block_state_name(block->state));
	kms_json_string(json, "cache", block->cache);
	write_time(json, "time_ns", block->alloc_ns);
	if (block->alloc_ns && !block->free_ns)
		kms_json_u64(json, "age_us",
			     now > block->alloc_ns ? (now - block->alloc_ns) / US : 0);
	else
		kms_json_null(json, "age_us");
	kms_json_u64(json, "thread", block->alloc_tid);
	kms_json_u64(json, "stack_id", block->alloc_stack_id);
}

/* A page of blocks. */
struct page {
	struct kms_exchange *x;
	size_t sent;
	uint64_t key[KMS_CURSOR_KEYS];
	bool more;
};

static int emit_block(void *arg, const struct kms_view_block *block)
{
	struct page *page = arg;

	if (page->sent == page->x->query.limit) {
		page->more = true;
		return 1;
	}
	kms_json_object_begin(&page->x->json, NULL);
	write_members(page->x, block);
	kms_json_object_end(&page->x->json);
	page->key[0] = block->target;
	page->key[1] = block->address;
	page->sent++;
	return 0;
}

static void list_end(struct page *page)
{
	struct kms_json *json = &page->x->json;
	char text[KMS_CURSOR_TEXT_BYTES];

	kms_json_array_end(json);
	if (page->more) {
		kms_write_next(page->x, page->key, text);
		kms_json_string(json, "next_cursor", text);
	} else {
		kms_json_null(json, "next_cursor");
	}
	kms_json_object_end(json);
}

void kms_res_blocks(struct kms_exchange *x)
{
	const struct kms_query *query = &x->query;
	bool resumed = query->given & KMS_PARAM_BIT(KMS_PARAM_CURSOR);
	const struct kms_block_query wanted = {
		.target = query->target,
		.site = query->site,
		.cache = query->cache[0] ? query->cache : NULL,
		.min_bytes = query->min_bytes,
		.after_target = resumed ? (uint32_t)query->cursor.key[0] : 0,
		.after_address = resumed ? query->cursor.key[1] : 0,
		.limit = query->limit + 1,
	};
	struct page page = {.x = x};
	struct kms_err err = KMS_ERR_INIT;

	if (!x->view->ops->blocks) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source has no list of blocks");
		return;
	}
	kms_write_list_begin(x);
	if (x->view->ops->blocks(x->view->ctx, &wanted, emit_block, &page, &err) < 0)
		kms_problem(x, KMS_PROBLEM_INTERNAL, "blocks cannot be listed: %s", err.text);
	else
		list_end(&page);
}

static void write_slab(struct kms_json *json, const struct kms_view_block *block)
{
	kms_json_object_begin(json, "slab");
	if (block->slab) {
		kms_json_address(json, "address", block->slab);
		kms_json_u64(json, "pages", block->slab_pages);
	} else {
		kms_json_null(json, "address");
		kms_json_null(json, "pages");
	}
	kms_json_object_end(json);
}

static void write_whatis(struct kms_exchange *x, uint64_t address,
			 const struct kms_view_block *block)
{
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, NULL);
	write_members(x, block);
	kms_json_u64(json, "offset", address - block->address);
	write_time(json, "free_time_ns", block->free_ns);
	write_slab(json, block);
	kms_write_stack(x, "alloc_stack", block->alloc_stack_id);
	kms_json_u64(json, "free_stack_id", block->free_stack_id);
	kms_write_stack(x, "free_stack", block->free_stack_id);
	kms_json_object_end(json);
}

/* Asks one target; false: it has nothing there, or a problem was answered. */
static bool ask_target(struct kms_exchange *x, uint32_t target, uint64_t address,
		       struct kms_view_block *block)
{
	struct kms_err err = KMS_ERR_INIT;
	int result;

	*block = (struct kms_view_block){0};
	result = x->view->ops->whatis(x->view->ctx, target, address, block, &err);
	if (result < 0 && result != -ESRCH)
		kms_problem(x, KMS_PROBLEM_INTERNAL, "%s", err.text);
	return result == 0 && block->address;
}

void kms_res_whatis(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	struct kms_view_block block;
	uint64_t address;

	if (kms_parse_addr(x->arg, &address) < 0) {
		kms_problem(x, KMS_PROBLEM_NO_ITEM, "%s is no address: hexadecimal digits", x->arg);
		return;
	}
	if (!x->view->ops->whatis) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED,
			    "this source cannot tell what an address is");
		return;
	}
	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	kms_json_address(&x->json, "asked", address);
	kms_json_array_begin(&x->json, "items");
	for (size_t i = 0; i < s->n_targets && x->out->status == 200; i++) {
		if (x->query.target && x->query.target != s->target[i].id)
			continue;
		if (ask_target(x, s->target[i].id, address, &block))
			write_whatis(x, address, &block);
	}
	if (x->out->status != 200)
		return;
	kms_json_array_end(&x->json);
	kms_json_object_end(&x->json);
}
