/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pools of a NetBSD guest as its own tools print them: show pool of ddb, vmstat -m and -C. What a pool has
 * out includes what its cache has parked, so a line of ours says how much of it lives.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/db.h"
#include "server/db_netbsd.h"
#include "server/db_run.h"

enum {
	RECURSIVE =
		0x200, /* PR_RECURSIVE: its items are pages of other pools, which count them, too */
	KIB = 1024,
	NARROW = 11, /* columns of a name */
	WIDE = 16,
};

/* Show pool ------------------------------------------------------------------------------------ */

static void say_cache_layers(struct kms_ddb *db, const struct kms_view_pool_cache *cache)
{
	uint64_t entries = cache->hits + cache->misses;

	kms_buf_addf(db->out, "\tcpu layer hits %" PRIu64 " misses %" PRIu64 "\n", cache->cpu_hits,
		     cache->cpu_misses);
	kms_buf_addf(db->out, "\tcache layer hits %" PRIu64 " misses %" PRIu64 "\n", cache->hits,
		     cache->misses);
	kms_buf_addf(db->out, "\tcache layer entry uncontended %" PRIu64 " contended %" PRIu64 "\n",
		     entries > cache->contended ? entries - cache->contended : 0, cache->contended);
	kms_buf_addf(db->out, "\tcache layer empty groups %" PRIu32 " full groups %" PRIu32 "\n",
		     cache->empty, cache->full);
}

void kms_ddb_say_netbsd_pool(struct kms_ddb *db, const struct kms_view_cache *cache)
{
	const struct kms_view_pool *pool = cache->pool;

	kms_buf_add_str(db->out, pool->has_cache ? "POOL CACHE " : "POOL ");
	kms_ddb_add_name(db, cache->name, 0);
	kms_buf_addf(db->out,
		     ": size %" PRIu32 ", align %" PRIu32 ", ioff %" PRIu32 ", roflags 0x%08" PRIx32
		     "\n\talloc 0x%" PRIx64 "\n",
		     pool->size, pool->align, pool->itemoffset, pool->roflags, pool->allocator);
	kms_buf_addf(db->out,
		     "\tminitems %" PRIu32 ", minpages %" PRIu32 ", maxpages %" PRIu32
		     ", npages %" PRIu32 "\n",
		     pool->minitems, pool->minpages, pool->maxpages, pool->npages);
	kms_buf_addf(db->out,
		     "\titemsperpage %" PRIu32 ", nitems %" PRIu32 ", nout %" PRIu32
		     ", hardlimit %" PRIu32 "\n",
		     pool->itemsperpage, pool->nitems, pool->nout, pool->hardlimit);
	kms_buf_addf(db->out, "\tnget %" PRIu64 ", nfail %" PRIu64 ", nput %" PRIu64 "\n",
		     pool->nget, pool->nfail, pool->nput);
	kms_buf_addf(db->out,
		     "\tnpagealloc %" PRIu64 ", npagefree %" PRIu64 ", hiwat %" PRIu32
		     ", nidle %" PRIu64 "\n",
		     pool->npagealloc, pool->npagefree, pool->hiwat, pool->nidle);
	if (pool->has_cache)
		say_cache_layers(db, &pool->cache);
	kms_buf_addf(db->out,
		     "\tkmem: live %" PRIu64 ", parked in caches %" PRIu64 ", waste %" PRIu64
		     " bytes, utilization %.1f%%\n",
		     cache->objects_live, cache->objects_cached, cache->waste_bytes,
		     100 * cache->utilization);
}

/* vmstat --------------------------------------------------------------------------------------- */

struct vmstat {
	bool pools, caches; /* -m, -C */
	bool all;           /* -v: unused ones, too */
	bool wide;          /* -W */
};

/* A number, or a word, right-justified; columns that it is too long for are made wider, as by vmstat. */
static void add_cell(struct kms_ddb *db, int width, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void add_cell(struct kms_ddb *db, int width, const char *format, ...)
{
	char text[32];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* fits */
	va_end(args);
	kms_buf_addf(db->out, " %*s", width, text);
}

/* As long as vmstat has it: what is longer is cut. */
static void add_name(struct kms_ddb *db, const struct vmstat *v, const char *name)
{
	size_t width = v->wide ? WIDE : NARROW;
	char text[WIDE + 1];

	(void)snprintf(text, sizeof(text), "%.*s", (int)width, name ? name : "?");
	kms_ddb_add_name(db, text, width);
}

static void add_limit(struct kms_ddb *db, int width, uint32_t value)
{
	if (value == UINT32_MAX)
		add_cell(db, width, "inf");
	else
		add_cell(db, width, "%" PRIu32, value);
}

static void say_head(struct kms_ddb *db, const struct vmstat *v)
{
	kms_buf_addf(db->out, "Memory resource pool statistics\n%-*s %8s %9s %5s %9s",
		     v->wide ? WIDE : NARROW, "Name", "Size", "Requests", "Fail", "Releases");
	if (v->wide)
		kms_buf_addf(db->out, " %9s %9s", "InUse", "Avail");
	kms_buf_addf(db->out, " %8s %8s %8s", "Pgreq", "Pgrel", "Npage");
	if (v->wide)
		kms_buf_addf(db->out, " %7s", "PageSz");
	kms_buf_addf(db->out, " %5s %5s %5s %5s", "Hiwat", "Minpg", "Maxpg", "Idle");
	kms_buf_addf(db->out, v->wide ? " %8s %6s\n" : "\n", "Flags", "Util");
}

static void say_pool(struct kms_ddb *db, const struct vmstat *v, const struct kms_view_cache *cache)
{
	const struct kms_view_pool *pool = cache->pool;
	uint64_t room = (uint64_t)pool->npages * pool->page_bytes;

	add_name(db, v, cache->name);
	add_cell(db, 8, "%" PRIu32, pool->size);
	add_cell(db, 9, "%" PRIu64, pool->nget);
	add_cell(db, 5, "%" PRIu64, pool->nfail);
	add_cell(db, 9, "%" PRIu64, pool->nput);
	if (v->wide) {
		add_cell(db, 9, "%" PRIu32, pool->nout);
		add_cell(db, 9, "%" PRIu32, pool->nitems);
	}
	add_cell(db, 8, "%" PRIu64, pool->npagealloc);
	add_cell(db, 8, "%" PRIu64, pool->npagefree);
	add_cell(db, 8, "%" PRIu32, pool->npages);
	if (v->wide)
		add_cell(db, 7, "%" PRIu32, pool->page_bytes);
	add_cell(db, 5, "%" PRIu32, pool->hiwat);
	add_cell(db, 5, "%" PRIu32, pool->minpages);
	add_limit(db, 5, pool->maxpages);
	add_cell(db, 5, "%" PRIu64, pool->nidle);
	if (v->wide) {
		add_cell(db, 8, "0x%04" PRIx32, pool->flags | pool->roflags);
		if (room)
			add_cell(db, 6, "%.1f%%",
				 100.0 * (double)pool->nout * (double)pool->size / (double)room);
		else
			add_cell(db, 6, "---");
	}
	kms_buf_add_str(db->out, "\n");
}

/* Sums of what was listed. */
struct total {
	uint64_t nget, nfail, nput, nout, nitems, npagealloc, npagefree, npages;
	uint64_t in_use, room; /* bytes */
};

static void add_total(struct total *sum, const struct kms_view_pool *pool)
{
	uint64_t in_use = (uint64_t)pool->nout * pool->size;

	sum->nget += pool->nget;
	sum->nfail += pool->nfail;
	sum->nput += pool->nput;
	sum->nout += pool->nout;
	sum->nitems += pool->nitems;
	sum->npagealloc += pool->npagealloc;
	sum->npagefree += pool->npagefree;
	sum->npages += pool->npages;
	sum->room += (uint64_t)pool->npages * pool->page_bytes;
	if (!((pool->flags | pool->roflags) & RECURSIVE))
		sum->in_use += in_use;
	else
		sum->in_use -= sum->in_use < in_use ? sum->in_use : in_use;
}

static void say_total(struct kms_ddb *db, const struct vmstat *v, const struct total *sum)
{
	kms_buf_addf(db->out, "%-*s", v->wide ? WIDE : NARROW, "Totals");
	add_cell(db, 8, "%s", "");
	add_cell(db, 9, "%" PRIu64, sum->nget);
	add_cell(db, 5, "%" PRIu64, sum->nfail);
	add_cell(db, 9, "%" PRIu64, sum->nput);
	if (v->wide) {
		add_cell(db, 9, "%" PRIu64, sum->nout);
		add_cell(db, 9, "%" PRIu64, sum->nitems);
	}
	add_cell(db, 8, "%" PRIu64, sum->npagealloc);
	add_cell(db, 8, "%" PRIu64, sum->npagefree);
	add_cell(db, 8, "%" PRIu64, sum->npages);
	kms_buf_addf(db->out,
		     "\n\n"
		     "In use %" PRIu64 "K, total allocated %" PRIu64 "K; utilization %.1f%%\n",
		     sum->in_use / KIB, sum->room / KIB,
		     sum->room ? 100.0 * (double)sum->in_use / (double)sum->room : 0.0);
}

/* Whether a cache is a pool of a target that is meant. */
static bool is_meant(const struct kms_ddb *db, const struct kms_view_cache *cache)
{
	return cache->pool && kms_ddb_is_meant(db, cache->target);
}

static void say_pools(struct kms_ddb *db, const struct vmstat *v)
{
	const struct kms_snapshot *s = db->snapshot;
	struct total sum = {0};

	say_head(db, v);
	for (size_t i = 0; i < s->n_caches; i++) {
		if (!is_meant(db, &s->cache[i]))
			continue;
		add_total(&sum, s->cache[i].pool);
		if (v->all || s->cache[i].pool->nget)
			say_pool(db, v, &s->cache[i]);
	}
	say_total(db, v, &sum);
}

static void add_hits(struct kms_ddb *db, uint64_t hits, uint64_t all)
{
	add_cell(db, 12, "%" PRIu64, all);
	if (all)
		add_cell(db, 5, "%.1f", 100.0 * (double)hits / (double)all);
	else
		add_cell(db, 5, "---");
}

/* The last column is ours. */
static void say_caches(struct kms_ddb *db, const struct vmstat *v)
{
	const struct kms_snapshot *s = db->snapshot;
	int width = v->wide ? WIDE : NARROW;

	kms_buf_addf(db->out,
		     "Pool cache statistics.\n%-*s %8s %6s %5s %5s %12s %12s %5s %12s %5s %8s\n",
		     width, "Name", "Spin", "GrpSz", "Full", "Emty", "PoolLayer", "CacheLayer",
		     "Hit%", "CpuLayer", "Hit%", "Parked");
	for (size_t i = 0; i < s->n_caches; i++) {
		const struct kms_view_pool_cache *cache;

		if (!is_meant(db, &s->cache[i]) || !s->cache[i].pool->has_cache)
			continue;
		cache = &s->cache[i].pool->cache;
		if (!v->all && !cache->misses)
			continue;
		add_name(db, v, s->cache[i].name);
		add_cell(db, 8, "%" PRIu64, cache->contended);
		add_cell(db, 6, "%" PRIu32, cache->group_size);
		add_cell(db, 5, "%" PRIu32, cache->full);
		add_cell(db, 5, "%" PRIu32, cache->empty);
		add_cell(db, 12, "%" PRIu64, cache->misses);
		add_hits(db, cache->hits, cache->hits + cache->misses);
		add_hits(db, cache->cpu_hits, cache->cpu_hits + cache->cpu_misses);
		add_cell(db, 8, "%" PRIu64, cache->parked);
		kms_buf_add_str(db->out, "\n");
	}
}

/* False: an error is set. */
static bool take_letters(struct kms_ddb *db, struct vmstat *v, const char *letters)
{
	for (; *letters; letters++) {
		switch (*letters) {
		case 'm':
			v->pools = true;
			break;
		case 'C':
			v->caches = true;
			break;
		case 'v':
			v->all = true;
			break;
		case 'W':
			v->wide = true;
			break;
		default:
			kms_ddb_fail(db,
				     "vmstat takes -m (pools), -C (their caches), -v (unused ones, "
				     "too) and -W (more columns)");
			return false;
		}
	}
	return true;
}

void kms_ddb_cmd_vmstat(struct kms_ddb *db)
{
	char word[KMS_DDB_NAME_BYTES];
	struct vmstat v = {0};
	bool any = false;

	kms_ddb_modifier(db);
	if (kms_ddb_failed(db) || !take_letters(db, &v, db->modif))
		return;
	while (kms_ddb_lex_word(&db->lex, word, sizeof(word)))
		if (!take_letters(db, &v, word[0] == '-' ? word + 1 : "?"))
			return;
	for (size_t i = 0; i < db->snapshot->n_caches; i++)
		any |= is_meant(db, &db->snapshot->cache[i]);
	if (!any) {
		kms_ddb_fail(
			db,
			"vmstat: only NetBSD guests have pools; `show kmastat` lists the caches");
		return;
	}
	if (v.pools || !v.caches)
		say_pools(db, &v);
	if (v.caches)
		say_caches(db, &v);
}
