/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/caches/{name}/slabs */
#include <inttypes.h>
#include <string.h>

#include "server/exchange.h"
#include "server/write.h"

/* A page of slabs; rows come by target and address. */
struct page {
	struct kms_exchange *x;
	size_t sent;
	uint64_t total;
	uint64_t key[KMS_CURSOR_KEYS];
	bool more;
};

static bool is_behind(const struct kms_exchange *x, const struct kms_view_slab *slab)
{
	const uint64_t *key = x->query.cursor.key;

	if (!(x->query.given & KMS_PARAM_BIT(KMS_PARAM_CURSOR)))
		return true;
	if (slab->target != key[0])
		return slab->target > key[0];
	return slab->base > key[1];
}

static void write_slab(struct kms_json *json, const struct kms_view_slab *slab)
{
	kms_json_object_begin(json, NULL);
	kms_json_u64(json, "target", slab->target);
	kms_json_address(json, "address", slab->base);
	kms_json_u64(json, "pages", slab->pages);
	kms_json_u64(json, "count", slab->count);
	kms_json_u64(json, "live", slab->live);
	if (slab->bitmap)
		kms_json_base64(json, "bitmap", slab->bitmap, ((size_t)slab->count + 7) / 8);
	else
		kms_json_null(json, "bitmap");
	kms_json_object_end(json);
}

static int emit_slab(void *arg, const struct kms_view_slab *slab)
{
	struct page *page = arg;

	page->total++;
	if (!is_behind(page->x, slab))
		return 0;
	if (page->sent == page->x->query.limit) {
		page->more = true;
		return 0;
	}
	write_slab(&page->x->json, slab);
	page->key[0] = slab->target;
	page->key[1] = slab->base;
	page->sent++;
	return 0;
}

/* Whether a target of the answer has a cache of this name; *object_bytes: of its blocks. */
static bool cache_exists(const struct kms_exchange *x, uint64_t *object_bytes)
{
	const struct kms_snapshot *s = x->snapshot;

	for (size_t i = 0; i < s->n_caches; i++) {
		if (strcmp(s->cache[i].name, x->arg) != 0 ||
		    (x->query.target && x->query.target != s->cache[i].target))
			continue;
		*object_bytes = s->cache[i].object_bytes;
		return true;
	}
	return false;
}

void kms_res_slabs(struct kms_exchange *x)
{
	struct page page = {.x = x};
	struct kms_err err = KMS_ERR_INIT;
	uint64_t object_bytes;

	if (!x->view->ops->slabs) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source has no list of slabs");
		return;
	}
	if (!cache_exists(x, &object_bytes)) {
		kms_problem(x, KMS_PROBLEM_NO_ITEM,
			    "no cache is named %s; /api/v1/caches lists them", x->arg);
		return;
	}
	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	kms_json_string(&x->json, "cache", x->arg);
	kms_json_u64(&x->json, "object_size", object_bytes);
	kms_json_array_begin(&x->json, "items");
	if (x->view->ops->slabs(x->view->ctx, x->query.target, x->arg, emit_slab, &page, &err) < 0)
		kms_problem(x, KMS_PROBLEM_INTERNAL, "slabs cannot be listed: %s", err.text);
	else
		kms_write_list_end(x, page.total, page.more, page.key);
}
