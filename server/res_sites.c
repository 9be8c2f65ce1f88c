/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/sites and /api/v1/stacks/{id} */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "server/exchange.h"
#include "server/write.h"

/* An allocation site with live blocks: the rows of one stack, over its caches. */
struct site {
	uint64_t stack_id;
	uint64_t bytes;
	uint64_t count;
	uint64_t allocs;
	uint64_t freed;
	uint32_t target;
};

static int by_stack(const void *a, const void *b)
{
	const struct site *left = a;
	const struct site *right = b;

	if (left->stack_id != right->stack_id)
		return left->stack_id < right->stack_id ? -1 : 1;
	return (left->target > right->target) - (left->target < right->target);
}

/* Largest first; ties by stack, so that a page boundary is well defined. */
static int by_bytes(const void *a, const void *b)
{
	const struct site *left = a;
	const struct site *right = b;

	if (left->bytes != right->bytes)
		return left->bytes > right->bytes ? -1 : 1;
	return by_stack(a, b);
}

/* Joins neighbours of one stack and target; returns how many are left. */
static size_t join_equal(struct site *sites, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		if (used && by_stack(&sites[used - 1], &sites[i]) == 0) {
			sites[used - 1].bytes += sites[i].bytes;
			sites[used - 1].count += sites[i].count;
			sites[used - 1].allocs += sites[i].allocs;
			sites[used - 1].freed += sites[i].freed;
		} else {
			sites[used++] = sites[i];
		}
	}
	return used;
}

static struct site *collect(const struct kms_exchange *x, size_t *n_sites)
{
	const struct kms_snapshot *s = x->snapshot;
	struct site *sites = calloc(s->n_leaks + 1, sizeof(*sites));
	size_t n = 0;
	size_t kept = 0;

	if (!sites)
		return NULL;
	for (size_t i = 0; i < s->n_leaks; i++) {
		if (x->query.target && s->leak[i].target != x->query.target)
			continue;
		sites[n++] = (struct site){s->leak[i].stack_id,       s->leak[i].bytes,
					   s->leak[i].count,          s->leak[i].allocs,
					   s->leak[i].evidence.freed, s->leak[i].target};
	}
	qsort(sites, n, sizeof(*sites), by_stack);
	n = join_equal(sites, n);
	for (size_t i = 0; i < n; i++)
		if (sites[i].bytes >= x->query.min_bytes)
			sites[kept++] = sites[i];
	qsort(sites, kept, sizeof(*sites), by_bytes);
	*n_sites = kept;
	return sites;
}

static void write_site(struct kms_exchange *x, const struct site *site)
{
	kms_json_object_begin(&x->json, NULL);
	kms_json_u64(&x->json, "stack_id", site->stack_id);
	kms_json_u64(&x->json, "target", site->target);
	kms_json_u64(&x->json, "live_bytes", site->bytes);
	kms_json_u64(&x->json, "live_objects", site->count);
	kms_json_u64(&x->json, "allocs", site->allocs);
	kms_json_u64(&x->json, "frees", site->freed);
	kms_write_stack(x, "stack", site->stack_id);
	kms_json_object_end(&x->json);
}

/* Whether a row comes behind the one the last page ended with. */
static bool is_behind(const struct kms_exchange *x, const struct site *site)
{
	const uint64_t *key = x->query.cursor.key;

	if (!(x->query.given & KMS_PARAM_BIT(KMS_PARAM_CURSOR)))
		return true;
	if (site->bytes != key[0])
		return site->bytes < key[0];
	if (site->stack_id != key[1])
		return site->stack_id > key[1];
	return site->target > key[2];
}

void kms_res_sites(struct kms_exchange *x)
{
	uint64_t key[KMS_CURSOR_KEYS] = {0};
	size_t n;
	size_t sent = 0;
	bool more = false;
	struct site *sites = collect(x, &n);

	if (!sites) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "out of memory");
		return;
	}
	kms_write_list_begin(x);
	for (size_t i = 0; i < n && !more; i++) {
		if (!is_behind(x, &sites[i]))
			continue;
		more = sent == x->query.limit;
		if (more)
			break;
		write_site(x, &sites[i]);
		key[0] = sites[i].bytes;
		key[1] = sites[i].stack_id;
		key[2] = sites[i].target;
		sent++;
	}
	kms_write_list_end(x, n, more, key);
	free(sites);
}

void kms_res_stack(struct kms_exchange *x)
{
	const struct kms_view_stack *stack;
	const char *error = NULL;
	uint64_t id;

	if (kms_parse_u64(x->arg, &id) < 0)
		id = 0;
	stack = kms_stacks_get(&x->stacks, id, &error);
	if (id == 0 || error) {
		kms_problem(x, KMS_PROBLEM_NO_ITEM, "there is no stack %s%s%s", x->arg,
			    error ? ": " : "", error ? error : "");
		return;
	}
	kms_json_object_begin(&x->json, NULL);
	kms_json_u64(&x->json, "id", id);
	kms_json_bool(&x->json, "cut", stack->cut);
	kms_write_frames(&x->json, "stack", stack);
	kms_json_object_end(&x->json);
}
