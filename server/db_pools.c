/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches as ddb and mdb print them: show kmastat, show pool, show all pools. A line of ddb's that is about
 * something our caches do not have, or do not count, leaves that part out; NetBSD's pools have all of it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "schema/region.h"
#include "server/db.h"
#include "server/db_netbsd.h"
#include "server/db_run.h"
#include "server/sum.h"

enum {
	MAX_POOLS = 4096, /* that show all pools sorts */
};

static void say_kmastat(struct kms_ddb *db, const struct kms_view_cache *cache)
{
	kms_ddb_add_name(db, cache->name, 25);
	kms_buf_addf(db->out,
		     " %6" PRIu64 " %9" PRIu64 " %9" PRIu64 " %11" PRIu64 " %11" PRIu64 " %6" PRIu64
		     "\n",
		     cache->object_bytes, cache->objects_live, cache->objects_total,
		     cache->pages * KMS_PAGE_BYTES, cache->allocs, cache->failed);
}

void kms_ddb_show_kmastat(struct kms_ddb *db)
{
	static const char rule[] =
		"------------------------- ------ --------- --------- ----------- "
		"----------- ------\n";
	const struct kms_snapshot *s = db->snapshot;
	struct kms_view_cache sum = {.name = "Total"};

	kms_buf_addf(db->out, "%-25s %6s %9s %9s %11s %11s %6s\n", "cache", "buf", "buf", "buf",
		     "memory", "alloc", "alloc");
	kms_buf_addf(db->out, "%-25s %6s %9s %9s %11s %11s %6s\n", "name", "size", "in use",
		     "total", "in use", "succeed", "fail");
	kms_buf_add_str(db->out, rule);
	for (size_t i = 0; i < s->n_caches; i++) {
		if (!kms_ddb_is_meant(db, s->cache[i].target) ||
		    (!s->cache[i].allocs && !s->cache[i].failed && !s->cache[i].objects_total))
			continue; /* never used: as vmstat leaves such out */
		say_kmastat(db, &s->cache[i]);
		kms_sum_cache(&sum, &s->cache[i]);
	}
	kms_buf_add_str(db->out, rule);
	sum.object_bytes = 0;
	say_kmastat(db, &sum);
}

/* Slabs of a pool as text, in ddb's three lists. */
struct pages {
	struct kms_buf list[3]; /* empty, full, partial */
};

static int sort_page(void *arg, const struct kms_view_slab *slab)
{
	struct pages *pages = arg;
	unsigned int which = slab->live == 0 ? 0 : slab->live == slab->count ? 1 : 2;

	kms_buf_addf(&pages->list[which], "\t\tpage 0x%" PRIx64 ", nmissing %" PRIu32 "\n",
		     slab->base, slab->live);
	return 0;
}

static void say_pages(struct kms_ddb *db, const struct kms_view_cache *cache)
{
	static const char *const names[3] = {"empty page list", "full page list",
					     "partial-page list"};
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;
	struct pages pages;

	if (!view->ops->slabs) {
		kms_ddb_fail(db, "show pool/p: this source does not know single slabs");
		return;
	}
	for (unsigned int i = 0; i < 3; i++)
		kms_buf_init(&pages.list[i], KMS_DDB_OUTPUT_BYTES);
	if (view->ops->slabs(view->ctx, cache->target, cache->name, sort_page, &pages, &err) < 0)
		kms_ddb_fail_err(db, "show pool/p", &err);
	for (unsigned int i = 0; i < 3; i++) {
		if (pages.list[i].used_bytes)
			kms_buf_addf(db->out, "\t%s:\n%s", names[i], kms_buf_text(&pages.list[i]));
		kms_buf_deinit(&pages.list[i]);
	}
}

static void say_own_pool(struct kms_ddb *db, const struct kms_view_cache *cache)
{
	uint64_t out = cache->objects_live + cache->objects_cached;
	uint64_t free_items = cache->objects_total > out ? cache->objects_total - out : 0;
	uint64_t in_slabs = cache->objects_total > cache->objects_guarded
				    ? cache->objects_total - cache->objects_guarded
				    : 0;

	kms_buf_add_str(db->out, "POOL CACHE ");
	kms_ddb_add_name(db, cache->name, 0);
	kms_buf_addf(db->out, ": size %" PRIu64 ", target %" PRIu32 "\n", cache->object_bytes,
		     cache->target);
	kms_buf_addf(db->out, "\tnpages %" PRIu64 "\n", cache->pages);
	kms_buf_addf(db->out, "\titemsperpage %" PRIu64 ", nitems %" PRIu64 ", nout %" PRIu64 "\n",
		     cache->slabs ? in_slabs / cache->slabs : 0, free_items, out);
	kms_buf_addf(db->out, "\tnget %" PRIu64 ", nfail %" PRIu64 ", nput %" PRIu64 "\n",
		     cache->allocs, cache->failed, cache->frees);
	kms_buf_addf(db->out,
		     "\tkmem: live %" PRIu64 ", cached %" PRIu64 ", guarded %" PRIu64
		     ", slabs %" PRIu64 ", waste %" PRIu64 " bytes, utilization %.1f%%\n",
		     cache->objects_live, cache->objects_cached, cache->objects_guarded,
		     cache->slabs, cache->waste_bytes, 100 * cache->utilization);
}

static void say_pool(struct kms_ddb *db, const struct kms_view_cache *cache)
{
	if (cache->pool)
		kms_ddb_say_netbsd_pool(db, cache);
	else
		say_own_pool(db, cache);
	if (strchr(db->modif, 'p'))
		say_pages(db, cache);
}

static bool check_modifier(struct kms_ddb *db)
{
	kms_ddb_modifier(db);
	if (db->modif[strspn(db->modif, "clp")] != '\0')
		kms_ddb_fail(db, "Bad modifier: show pool takes p (pages)");
	return !kms_ddb_failed(db);
}

/* Says every cache of this name in the targets that are meant; false: there is none. */
static bool say_named(struct kms_ddb *db, const char *name)
{
	const struct kms_snapshot *s = db->snapshot;
	bool any = false;

	for (size_t i = 0; i < s->n_caches; i++) {
		if (strcmp(s->cache[i].name, name) != 0 ||
		    !kms_ddb_is_meant(db, s->cache[i].target))
			continue;
		say_pool(db, &s->cache[i]);
		any = true;
	}
	return any;
}

/* The cache of the block at an address. */
static void say_pool_at(struct kms_ddb *db, uint64_t address)
{
	uint32_t target;
	const char *cache = kms_ddb_cache_at(db, address, &target);

	if ((!cache || !say_named(db, cache)) && !kms_ddb_failed(db))
		kms_ddb_fail(db, "%s is in no pool; `show all pools` lists them",
			     kms_ddb_number(db, address).text);
}

void kms_ddb_show_pool(struct kms_ddb *db)
{
	char name[KMS_DDB_NAME_BYTES];
	char shown[KMS_DDB_NAME_BYTES];
	struct kms_ddb_lex rest;
	uint64_t address = db->state->dot;

	if (!check_modifier(db))
		return;
	rest = db->lex;
	if (kms_ddb_lex_word(&rest, name, sizeof(name))) {
		if (say_named(db, name))
			return;
		if (!kms_ddb_expression(db, &address)) {
			kms_ddb_printable(name, shown, sizeof(shown));
			db->lex.error[0] = '\0'; /* the word's own error says less */
			kms_ddb_fail(db, "no pool is named %s; `show all pools` lists them", shown);
			return;
		}
	}
	if (address)
		say_pool_at(db, address);
	else
		kms_ddb_fail(db, "Must specify a pool to print.: show pool NAME");
}

static int compare_names(const void *a, const void *b)
{
	const struct kms_view_cache *const *left = a;
	const struct kms_view_cache *const *right = b;
	int order = strcmp((*left)->name, (*right)->name);

	return order ? order : (*left)->target < (*right)->target ? -1 : 1;
}

void kms_ddb_show_pools(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	const struct kms_view_cache **pool;
	size_t n = 0;

	if (!check_modifier(db))
		return;
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
	pool = calloc(MAX_POOLS, sizeof(*pool));
	if (!pool) {
		kms_ddb_fail(db, "out of memory");
		return;
	}
	for (size_t i = 0; i < s->n_caches && n < MAX_POOLS; i++)
		if (kms_ddb_is_meant(db, s->cache[i].target))
			pool[n++] = &s->cache[i];
	if (n)
		/* NOLINTNEXTLINE(bugprone-sizeof-expression): likewise */
		qsort(pool, n, sizeof(*pool), compare_names);
	for (size_t i = 0; i < n && kms_buf_status(db->out) == 0; i++)
		say_pool(db, pool[i]);
	free(pool);
}
