/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/audit: what was written to targets, by whom, newest first. */
#include "server/exchange.h"
#include "server/write.h"

/* A page of rows. */
struct page {
	struct kms_exchange *x;
	size_t sent;
	uint64_t total;
	uint64_t key[KMS_CURSOR_KEYS];
	bool more;
};

static void write_row(struct kms_json *json, const struct kms_view_audit *row)
{
	kms_json_object_begin(json, NULL);
	kms_json_u64(json, "id", row->id);
	kms_json_time(json, "time", row->wall_ns);
	kms_json_string(json, "who", row->who);
	if (row->target)
		kms_json_u64(json, "target", row->target);
	else
		kms_json_null(json, "target");
	kms_json_string(json, "variable", row->variable);
	kms_json_u64(json, "value", row->value);
	kms_json_string(json, "result", row->result);
	kms_json_object_end(json);
}

static int emit_row(void *arg, const struct kms_view_audit *row)
{
	struct page *page = arg;
	const struct kms_query *query = &page->x->query;

	page->total++;
	if (query->given & KMS_PARAM_BIT(KMS_PARAM_CURSOR) && row->id >= query->cursor.key[0])
		return 0;
	if (page->sent == query->limit) {
		page->more = true;
		return 0;
	}
	write_row(&page->x->json, row);
	page->key[0] = row->id;
	page->sent++;
	return 0;
}

void kms_res_audit(struct kms_exchange *x)
{
	struct page page = {.x = x};
	struct kms_err err = KMS_ERR_INIT;

	if (!x->view->ops->audit) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source keeps no audit");
		return;
	}
	kms_write_list_begin(x);
	if (x->view->ops->audit(x->view->ctx, emit_row, &page, &err) < 0)
		kms_problem(x, KMS_PROBLEM_INTERNAL, "the audit cannot be read: %s", err.text);
	else
		kms_write_list_end(x, page.total, page.more, page.key);
}
