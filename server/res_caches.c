/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/caches and /api/v1/caches/{name} */
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/write.h"

/* NetBSD's word for "no limit" is null here. */
static void write_limit(struct kms_json *json, const char *key, uint32_t value)
{
	if (value == UINT32_MAX)
		kms_json_null(json, key);
	else
		kms_json_u64(json, key, value);
}

static void write_pool_cache(struct kms_json *json, const struct kms_view_pool *pool)
{
	const struct kms_view_pool_cache *cache = &pool->cache;

	if (!pool->has_cache) {
		kms_json_null(json, "cache");
		return;
	}
	kms_json_object_begin(json, "cache");
	kms_json_u64(json, "group_size", cache->group_size);
	kms_json_u64(json, "full", cache->full);
	kms_json_u64(json, "partial", cache->partial);
	kms_json_u64(json, "empty", cache->empty);
	kms_json_u64(json, "parked", cache->parked);
	kms_json_u64(json, "hits", cache->hits);
	kms_json_u64(json, "misses", cache->misses);
	kms_json_u64(json, "contended", cache->contended);
	kms_json_u64(json, "cpu_hits", cache->cpu_hits);
	kms_json_u64(json, "cpu_misses", cache->cpu_misses);
	kms_json_object_end(json);
}

static void write_pool(struct kms_json *json, const struct kms_view_pool *pool)
{
	kms_json_object_begin(json, "pool");
	kms_json_address(json, "address", pool->address);
	kms_json_address(json, "allocator", pool->allocator);
	kms_json_u64(json, "size", pool->size);
	kms_json_u64(json, "reqsize", pool->reqsize);
	kms_json_u64(json, "align", pool->align);
	kms_json_u64(json, "itemoffset", pool->itemoffset);
	kms_json_u64(json, "minitems", pool->minitems);
	kms_json_u64(json, "minpages", pool->minpages);
	write_limit(json, "maxpages", pool->maxpages);
	kms_json_u64(json, "npages", pool->npages);
	kms_json_u64(json, "hiwat", pool->hiwat);
	kms_json_u64(json, "itemsperpage", pool->itemsperpage);
	kms_json_u64(json, "nitems", pool->nitems);
	kms_json_u64(json, "nout", pool->nout);
	write_limit(json, "hardlimit", pool->hardlimit);
	kms_json_u64(json, "flags", pool->flags);
	kms_json_u64(json, "roflags", pool->roflags);
	kms_json_u64(json, "page_bytes", pool->page_bytes);
	kms_json_u64(json, "nget", pool->nget);
	kms_json_u64(json, "nfail", pool->nfail);
	kms_json_u64(json, "nput", pool->nput);
	kms_json_u64(json, "npagealloc", pool->npagealloc);
	kms_json_u64(json, "npagefree", pool->npagefree);
	kms_json_u64(json, "nidle", pool->nidle);
	write_pool_cache(json, pool);
	kms_json_object_end(json);
}

static void write_members(struct kms_json *json, const struct kms_view_cache *cache)
{
	kms_json_string(json, "name", cache->name);
	if (cache->target)
		kms_json_u64(json, "target", cache->target);
	else
		kms_json_null(json, "target");
	kms_json_u64(json, "object_size", cache->object_bytes);
	kms_json_u64(json, "objects_live", cache->objects_live);
	kms_json_u64(json, "objects_cached", cache->objects_cached);
	kms_json_u64(json, "objects_guarded", cache->objects_guarded);
	kms_json_u64(json, "objects_total", cache->objects_total);
	kms_json_u64(json, "slabs", cache->slabs);
	kms_json_u64(json, "pages", cache->pages);
	kms_json_double(json, "utilization", cache->utilization);
	kms_json_u64(json, "waste_bytes", cache->waste_bytes);
	kms_json_u64(json, "live_bytes", cache->live_bytes);
	kms_json_u64(json, "allocs", cache->allocs);
	kms_json_u64(json, "frees", cache->frees);
	kms_json_u64(json, "failed", cache->failed);
	kms_json_u64(json, "alloc_rate", cache->alloc_rate);
	kms_json_u64(json, "free_rate", cache->free_rate);
}

static void write_row(struct kms_json *json, const struct kms_view_cache *cache)
{
	kms_json_object_begin(json, NULL);
	write_members(json, cache);
	if (cache->pool)
		write_pool(json, cache->pool);
	kms_json_object_end(json);
}

/* Rows of a table of caches and the place of the first one of the page. */
struct table {
	const struct kms_view_cache *row;
	size_t n_rows;
};

/*
 * One page. The key is (target, ordinal of the row among those of its target): both only grow, since
 * targets and the caches of a target are never removed.
 */
static void write_page(struct kms_exchange *x, const struct table *table)
{
	const uint64_t *after = x->query.cursor.key;
	uint64_t key[KMS_CURSOR_KEYS] = {0};
	uint64_t last[KMS_CURSOR_KEYS] = {0};
	uint64_t total = 0;
	size_t sent = 0;
	bool more = false;

	kms_write_list_begin(x);
	for (size_t i = 0; i < table->n_rows; i++) {
		key[1] = i > 0 && table->row[i].target == key[0] ? key[1] + 1 : 1;
		key[0] = table->row[i].target;
		if (x->query.target && x->query.target != key[0])
			continue;
		total++;
		if (key[0] < after[0] || (key[0] == after[0] && key[1] <= after[1]))
			continue;
		if (sent == x->query.limit) {
			more = true;
			continue;
		}
		write_row(&x->json, &table->row[i]);
		memcpy(last, key, sizeof(last));
		sent++;
	}
	kms_write_list_end(x, total, more, last);
}

/* The target of a summed row is null, but the filter has been applied already. */
static void write_sums(struct kms_exchange *x)
{
	struct kms_view_cache *rows;
	size_t n_rows;
	uint32_t target = x->query.target;

	if (kms_sum_caches(x->snapshot, x->query.target, &rows, &n_rows) < 0) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "out of memory");
		return;
	}
	x->query.target = 0;
	write_page(x, &(struct table){rows, n_rows});
	x->query.target = target;
	free(rows);
}

void kms_res_caches(struct kms_exchange *x)
{
	if (x->query.sum)
		write_sums(x);
	else
		write_page(x, &(struct table){x->snapshot->cache, x->snapshot->n_caches});
}

void kms_res_cache(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	struct kms_view_cache sum = {.name = x->arg};
	struct kms_json *json = &x->json;
	size_t n = 0;

	kms_json_object_begin(json, NULL);
	kms_write_snapshot(x);
	kms_json_array_begin(json, "targets");
	for (size_t i = 0; i < s->n_caches; i++) {
		if (strcmp(s->cache[i].name, x->arg) != 0 ||
		    (x->query.target && x->query.target != s->cache[i].target))
			continue;
		write_row(json, &s->cache[i]);
		kms_sum_cache(&sum, &s->cache[i]);
		sum.target = n++ == 0 ? s->cache[i].target : 0;
	}
	kms_json_array_end(json);
	if (n == 0) {
		kms_problem(x, KMS_PROBLEM_NO_ITEM,
			    "no cache is named %s; /api/v1/caches lists them", x->arg);
		return;
	}
	write_members(json, &sum);
	kms_json_object_end(json);
}
