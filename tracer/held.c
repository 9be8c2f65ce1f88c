/* SPDX-License-Identifier: BSD-2-Clause */
/* See held.h. */
#include "tracer/held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static int by_site(const void *a, const void *b)
{
	const struct kms_held *x = a, *y = b;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	if (x->stack_id != y->stack_id)
		return x->stack_id < y->stack_id ? -1 : 1;
	return strcmp(x->cache, y->cache);
}

size_t kms_held_order(struct kms_held *held, size_t n)
{
	size_t used = 0;

	if (n)
		qsort(held, n, sizeof(*held), by_site);
	for (size_t i = 0; i < n; i++) {
		if (used && by_site(&held[used - 1], &held[i]) == 0) {
			held[used - 1].bytes += held[i].bytes;
			held[used - 1].count += held[i].count;
		} else {
			held[used++] = held[i];
		}
	}
	return used;
}

/* Returns how many rows. */
static size_t add_leak(const struct kms_view_leak *leak, struct kms_held *held)
{
	for (size_t i = 0; i < leak->n_caches; i++) {
		const struct kms_view_leak_cache *cache = &leak->caches[i];

		held[i] = (struct kms_held){.stack_id = leak->stack_id,
					    .bytes = cache->bytes,
					    .count = cache->count,
					    .cache = cache->name ? cache->name : "",
					    .target = leak->target};
	}
	return leak->n_caches;
}

int kms_held_of(const struct kms_snapshot *snapshot, struct kms_held **out, size_t *n)
{
	struct kms_held *held;
	size_t rows = 0;

	for (size_t i = 0; i < snapshot->n_leaks; i++)
		rows += snapshot->leak[i].n_caches;
	held = calloc(rows + 1, sizeof(*held));
	if (!held)
		return -ENOMEM;
	rows = 0;
	for (size_t i = 0; i < snapshot->n_leaks; i++)
		rows += add_leak(&snapshot->leak[i], held + rows);
	*n = kms_held_order(held, rows);
	*out = held;
	return 0;
}

static uint32_t cache_hash(const char *cache)
{
	return cache ? (uint32_t)kms_hash_bytes(cache, strlen(cache), 0) : 0;
}

int kms_held_by_gain(const struct kms_view_diff *a, const struct kms_view_diff *b)
{
	uint32_t a_hash, b_hash;

	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	if (a->stack_id != b->stack_id)
		return a->stack_id < b->stack_id ? -1 : 1;
	if (a->target != b->target)
		return a->target < b->target ? -1 : 1;
	a_hash = cache_hash(a->cache);
	b_hash = cache_hash(b->cache);
	return (a_hash > b_hash) - (a_hash < b_hash);
}

static int by_gain(const void *a, const void *b)
{
	return kms_held_by_gain(a, b);
}

static uint64_t size_of(int64_t gain)
{
	return gain < 0 ? -(uint64_t)gain : (uint64_t)gain;
}

/* Caches of a row: what changed most comes first. */
static int by_change(const void *a, const void *b)
{
	const struct kms_view_diff_cache *x = a, *y = b;

	if (size_of(x->bytes) != size_of(y->bytes))
		return size_of(x->bytes) > size_of(y->bytes) ? -1 : 1;
	return strcmp(x->name ? x->name : "", y->name ? y->name : "");
}

/* What differs, while it is computed: rows, and the caches of all of them one after the other. */
struct gains {
	struct kms_view_diff *row;
	struct kms_view_diff_cache *cache;
	size_t n_rows, n_caches;
};

/* A site's difference: one more cache of the last row, or a row of its own. Sites come in order. */
static void add_gain(struct gains *gains, const struct kms_held *site,
		     const struct kms_view_diff_cache *part)
{
	struct kms_view_diff *row = gains->n_rows ? &gains->row[gains->n_rows - 1] : NULL;

	if (!row || !site->stack_id || row->stack_id != site->stack_id ||
	    row->target != site->target) {
		row = &gains->row[gains->n_rows++];
		*row = (struct kms_view_diff){.target = site->target,
					      .stack_id = site->stack_id,
					      .caches = &gains->cache[gains->n_caches]};
	}
	gains->cache[gains->n_caches++] = *part;
	row->n_caches++;
	row->bytes += part->bytes;
	row->count += part->count;
}

static void find_gains(struct gains *gains, const struct kms_held *a, size_t n_a,
		       const struct kms_held *b, size_t n_b)
{
	static const struct kms_held nothing;
	size_t i = 0, j = 0;

	while (i < n_a || j < n_b) {
		int order = i == n_a ? 1 : j == n_b ? -1 : by_site(&a[i], &b[j]);
		const struct kms_held *site = order <= 0 ? &a[i] : &b[j];
		const struct kms_held *before = order <= 0 ? &a[i] : &nothing;
		const struct kms_held *after = order >= 0 ? &b[j] : &nothing;
		const struct kms_view_diff_cache part = {
			.name = *site->cache ? site->cache : NULL,
			.bytes = (int64_t)(after->bytes - before->bytes),
			.count = (int64_t)(after->count - before->count),
		};

		if (part.bytes || part.count)
			add_gain(gains, site, &part);
		i += order <= 0;
		j += order >= 0;
	}
}

/* The caches of each row and the rows in their order. */
static void order_gains(const struct gains *gains)
{
	struct kms_view_diff_cache *cache = gains->cache;

	for (size_t i = 0; i < gains->n_rows; i++) {
		struct kms_view_diff *row = &gains->row[i];

		qsort(cache, row->n_caches, sizeof(*cache), by_change);
		row->cache = cache->name;
		cache += row->n_caches;
	}
	if (gains->n_rows)
		qsort(gains->row, gains->n_rows, sizeof(*gains->row), by_gain);
}

int kms_held_diff(const struct kms_held *a, size_t n_a, const struct kms_held *b, size_t n_b,
		  int (*emit)(void *arg, const struct kms_view_diff *row), void *arg)
{
	struct gains gains = {.row = calloc(n_a + n_b + 1, sizeof(*gains.row)),
			      .cache = calloc(n_a + n_b + 1, sizeof(*gains.cache))};
	int result = gains.row && gains.cache ? 0 : -ENOMEM;

	if (!result) {
		find_gains(&gains, a, n_a, b, n_b);
		order_gains(&gains);
		for (size_t i = 0; i < gains.n_rows; i++)
			if (emit(arg, &gains.row[i]))
				break;
	}
	free(gains.row);
	free(gains.cache);
	return result;
}
