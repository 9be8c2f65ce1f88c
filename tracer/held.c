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

/* What sorts two rows that gained the same. */
struct gain {
	struct kms_view_diff row;
	uint32_t cache_hash;
};

static int by_gain(const void *a, const void *b)
{
	const struct gain *x = a, *y = b;

	if (x->row.bytes != y->row.bytes)
		return x->row.bytes > y->row.bytes ? -1 : 1;
	if (x->row.stack_id != y->row.stack_id)
		return x->row.stack_id < y->row.stack_id ? -1 : 1;
	if (x->row.target != y->row.target)
		return x->row.target < y->row.target ? -1 : 1;
	return (x->cache_hash > y->cache_hash) - (x->cache_hash < y->cache_hash);
}

/* The row of a site, given what it held before and after. */
static struct gain gain_of(const struct kms_held *site, const struct kms_held *before,
			   const struct kms_held *after)
{
	return (struct gain){
		.row = {.target = site->target,
			.stack_id = site->stack_id,
			.cache = *site->cache ? site->cache : NULL,
			.bytes = (int64_t)(after->bytes - before->bytes),
			.count = (int64_t)(after->count - before->count)},
		.cache_hash = (uint32_t)kms_hash_bytes(site->cache, strlen(site->cache), 0),
	};
}

int kms_held_diff(const struct kms_held *a, size_t n_a, const struct kms_held *b, size_t n_b,
		  int (*emit)(void *arg, const struct kms_view_diff *row), void *arg)
{
	static const struct kms_held nothing;
	struct gain *gains = calloc(n_a + n_b + 1, sizeof(*gains));
	size_t n = 0, i = 0, j = 0;

	if (!gains)
		return -ENOMEM;
	while (i < n_a || j < n_b) {
		int order = i == n_a ? 1 : j == n_b ? -1 : by_site(&a[i], &b[j]);

		gains[n] = gain_of(order <= 0 ? &a[i] : &b[j], order <= 0 ? &a[i] : &nothing,
				   order >= 0 ? &b[j] : &nothing);
		n += gains[n].row.bytes || gains[n].row.count;
		i += order <= 0;
		j += order >= 0;
	}
	if (n)
		qsort(gains, n, sizeof(*gains), by_gain);
	for (size_t k = 0; k < n; k++)
		if (emit(arg, &gains[k].row))
			break;
	free(gains);
	return 0;
}
