/* SPDX-License-Identifier: BSD-2-Clause */
/* NetBSD's pools in the words of schema/snapshot.h: see netbsd_source.h. */
#include "tracer/guest/netbsd_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schema/variables.h"
#include "tracer/guest/kernel_elf.h"
#include "tracer/guest/kernel_names.h"

enum {
	PAGE_BYTES = 4096,
	NS_PER_S = 1000000000,
};

/* What a pool had counted when rates were last taken. */
struct past {
	uint64_t address, nget, nput;
	uint64_t alloc_rate, free_rate;
};

struct kms_netbsd_source {
	struct kms_guest_memory *memory;
	const struct kms_netbsd_image *image;
	struct kms_netbsd *nb;
	void (*say)(void *arg, const char *line);
	void *say_arg;
	bool damage_said;
	struct past *past; /* KMS_NETBSD_MAX_POOLS, in the kernel's order then */
	size_t pasts;
	uint64_t past_ns;
	struct kms_symbols names; /* empty: nobody has asked for one yet */
};

/* What a picture needs beside its rows. */
struct shown {
	size_t n;
	struct kms_netbsd_pool pool[];
};

struct kms_netbsd_source *kms_netbsd_source_create(struct kms_guest_memory *memory,
						   const struct kms_netbsd_image *image)
{
	struct kms_netbsd_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->memory = memory;
	source->image = image;
	source->past = calloc(KMS_NETBSD_MAX_POOLS, sizeof(*source->past));
	if (source->past)
		return source;
	free(source);
	return NULL;
}

void kms_netbsd_source_destroy(struct kms_netbsd_source *source)
{
	if (!source)
		return;
	kms_netbsd_close(source->nb);
	kms_symbols_deinit(&source->names);
	free(source->past);
	free(source);
}

void kms_netbsd_source_say(struct kms_netbsd_source *source,
			   void (*say)(void *arg, const char *line), void *arg)
{
	source->say = say;
	source->say_arg = arg;
}

static int find(void *arg, char name[KMS_KERNEL_NAME_BYTES], struct kms_err *err)
{
	struct kms_netbsd_source *source = arg;
	int rc = kms_netbsd_open(source->memory, source->image, &source->nb, err);

	if (rc)
		return rc;
	(void)snprintf(name, KMS_KERNEL_NAME_BYTES, "%s",
		       source->image->version[0] ? source->image->version : "NetBSD");
	source->pasts = 0;
	source->damage_said = false;
	return 0;
}

static void lose(void *arg)
{
	struct kms_netbsd_source *source = arg;

	kms_netbsd_close(source->nb);
	source->nb = NULL;
}

static int check(void *arg, struct kms_err *err)
{
	struct kms_netbsd_source *source = arg;

	return kms_netbsd_check(source->nb, err);
}

/* Rates ---------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for it */
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The entry of a pool: most are where they were. */
static const struct past *past_of(const struct kms_netbsd_source *source, size_t i,
				  uint64_t address)
{
	if (i < source->pasts && source->past[i].address == address)
		return &source->past[i];
	for (size_t k = 0; k < source->pasts; k++)
		if (source->past[k].address == address)
			return &source->past[k];
	return NULL;
}

/* Counters of 32 bits wrap. */
static uint64_t rate_of(const struct kms_netbsd_source *source, uint64_t now, uint64_t before,
			uint64_t ns)
{
	uint64_t more = now - before;

	if (source->image->types.word_bytes == 4)
		more = (uint32_t)more;
	/* a counter that went back is another pool's at the same place */
	return more > UINT64_C(1) << 40 ? 0 : (uint64_t)((double)more * NS_PER_S / (double)ns);
}

/* Rates over the second that has gone by. */
static void take_rates(struct kms_netbsd_source *source)
{
	uint64_t now = now_ns(), ns = now - source->past_ns;
	const struct kms_netbsd_pool *pool;
	struct past *next;
	size_t n;

	pool = kms_netbsd_pools(source->nb, &n);
	next = calloc(n + 1, sizeof(*next));
	if (!next || !ns) {
		free(next);
		return; /* the rates of before stay */
	}
	for (size_t i = 0; i < n; i++) {
		const struct kms_view_pool *of = &pool[i].figures;
		const struct past *past = past_of(source, i, of->address);

		next[i] = (struct past){of->address, of->nget, of->nput, 0, 0};
		if (past) {
			next[i].alloc_rate = rate_of(source, of->nget, past->nget, ns);
			next[i].free_rate = rate_of(source, of->nput, past->nput, ns);
		}
	}
	memcpy(source->past, next, n * sizeof(*next));
	free(next);
	source->pasts = n;
	source->past_ns = now;
}

static int read_pools(void *arg, bool is_long, struct kms_err *err)
{
	struct kms_netbsd_source *source = arg;
	int rc = kms_netbsd_refresh(source->nb, err);
	const char *damage = kms_netbsd_damage(source->nb);

	if (!rc && is_long)
		take_rates(source);
	if (!rc && damage[0] && !source->damage_said && source->say)
		source->say(source->say_arg, damage);
	source->damage_said = damage[0] != '\0';
	return rc;
}

/* Pictures ------------------------------------------------------------------------------------- */

static void fill_cache(struct kms_view_cache *cache, const struct kms_netbsd_pool *pool,
		       uint32_t target, const struct past *past)
{
	const struct kms_view_pool *of = &pool->figures;
	uint64_t live = of->nout - of->cache.parked; /* not below 0: it was held down */
	uint64_t bytes = (uint64_t)of->npages * of->page_bytes;

	*cache = (struct kms_view_cache){
		.target = target,
		.name = pool->name,
		.object_bytes = of->reqsize,
		.objects_live = live,
		.objects_cached = of->cache.parked,
		.objects_total = (uint64_t)of->nout + of->nitems,
		.slabs = of->npages,
		.pages = bytes / PAGE_BYTES,
		.live_bytes = live * of->reqsize,
		.allocs = of->nget,
		.frees = of->nput,
		.failed = of->nfail,
		.pool = of,
	};
	cache->waste_bytes = bytes > cache->live_bytes ? bytes - cache->live_bytes : 0;
	cache->utilization = bytes ? (double)cache->live_bytes / (double)bytes : 0;
	if (past) {
		cache->alloc_rate = past->alloc_rate;
		cache->free_rate = past->free_rate;
	}
}

static void add_to_sums(struct kms_view_stats *stats, const struct kms_view_cache *cache)
{
	stats->live_objects += cache->objects_live;
	stats->live_bytes += cache->live_bytes;
	stats->allocs += cache->allocs;
	stats->frees += cache->frees;
	stats->failed += cache->failed;
	stats->alloc_rate += cache->alloc_rate;
	stats->free_rate += cache->free_rate;
}

static bool show(void *arg, struct kms_kernel_shot *shot, struct kms_kernel_history *history)
{
	const struct kms_netbsd_source *source = arg;
	struct kms_snapshot *snapshot = &shot->snapshot;
	const struct kms_netbsd_pool *pool;
	struct shown *shown;
	size_t n;

	pool = kms_netbsd_pools(source->nb, &n);
	shown = calloc(1, sizeof(*shown) + n * sizeof(shown->pool[0]));
	shot->more = shown;
	snapshot->cache = calloc(n + 1, sizeof(*snapshot->cache));
	if (!shown || !snapshot->cache)
		return false;
	memcpy(shown->pool, pool, n * sizeof(*pool));
	for (size_t i = 0; i < n; i++) {
		fill_cache(&snapshot->cache[i], &shown->pool[i], history->n_targets,
			   past_of(source, i, pool[i].figures.address));
		add_to_sums(&snapshot->stats, &snapshot->cache[i]);
	}
	shown->n = snapshot->n_caches = n;
	snapshot->incomplete = kms_netbsd_damage(source->nb)[0] != '\0';
	if (snapshot->stats.live_bytes > history->peak_bytes)
		history->peak_bytes = snapshot->stats.live_bytes;
	snapshot->stats.peak_bytes = history->peak_bytes;
	return true;
}

/* Questions ------------------------------------------------------------------------------------ */

static int memory(void *arg, uint64_t address, void *to, size_t n, size_t *n_read,
		  struct kms_err *err)
{
	struct kms_netbsd_source *source = arg;

	return kms_netbsd_memory(source->nb, address, to, n, n_read, err);
}

/* A pool's pages in the order of their addresses, as clients page through them. */
struct sorted {
	struct kms_view_slab *slab;
	size_t n, room;
	uint32_t target;
	bool is_full;
};

static int keep_page(void *arg, const struct kms_view_slab *page)
{
	struct sorted *sorted = arg;
	size_t bytes = page->bitmap ? (page->count + 7U) / 8 : 0;
	struct kms_view_slab *slab;
	uint8_t *bitmap = NULL;

	if (sorted->n == sorted->room) {
		size_t room = sorted->room ? 2 * sorted->room : 64;

		slab = realloc(sorted->slab, room * sizeof(*slab));
		if (!slab)
			return -ENOMEM;
		sorted->slab = slab;
		sorted->room = room;
	}
	if (bytes) {
		bitmap = malloc(bytes);
		if (!bitmap)
			return -ENOMEM;
		memcpy(bitmap, page->bitmap, bytes);
	}
	slab = &sorted->slab[sorted->n++];
	*slab = *page;
	slab->bitmap = bitmap;
	return 0;
}

static int by_base(const void *a, const void *b)
{
	const struct kms_view_slab *x = a, *y = b;

	return x->base == y->base ? 0 : x->base < y->base ? -1 : 1;
}

static int slabs(void *arg, const char *cache,
		 int (*emit)(void *arg, const struct kms_view_slab *slab), void *emit_arg,
		 struct kms_err *err)
{
	struct kms_netbsd_source *source = arg;
	const struct kms_netbsd_pool *pool;
	struct sorted sorted = {0};
	size_t n;
	int rc = 0;

	pool = kms_netbsd_pools(source->nb, &n);
	for (size_t i = 0; !rc && i < n; i++)
		if (!strcmp(pool[i].name, cache))
			rc = kms_netbsd_pages(source->nb, &pool[i], keep_page, &sorted, err);
	if (sorted.n)
		qsort(sorted.slab, sorted.n, sizeof(*sorted.slab), by_base);
	for (size_t i = 0; i < sorted.n && rc >= 0; i++)
		if (emit(emit_arg, &sorted.slab[i]))
			break;
	for (size_t i = 0; i < sorted.n; i++)
		free((void *)sorted.slab[i].bitmap); /* our copy */
	free(sorted.slab);
	return rc;
}

static int variable_get(void *arg, unsigned variable, uint64_t *value, struct kms_err *err)
{
	struct kms_netbsd_source *source = arg;

	if (variable != KMS_VAR_GUARD_DEPTH)
		return kms_err_set(err, -ENOTSUP, "NetBSD has no such variable");
	return kms_netbsd_guard_depth(source->nb, value, err);
}

static int variable_set(void *arg, unsigned variable, uint64_t value, struct kms_err *err)
{
	(void)arg;
	(void)value;
	if (variable != KMS_VAR_GUARD_DEPTH)
		return kms_err_set(err, -ENOTSUP, "NetBSD has no such variable");
	return kms_err_set(err, -ENOTSUP,
			   "this kernel reads it only at boot, in kmem_init: now it would change "
			   "nothing; `kmemscope attach --boot --guard-depth N` sets it there");
}

static int memory_write(void *arg, const struct kms_memory_write *write, struct kms_err *err)
{
	const struct kms_netbsd_source *source = arg;

	return kms_netbsd_memory_write(source->nb, write, err);
}

/* Of the kernel's file, or of the debug file where only that has them; read when somebody first asks. */
static int load_names(struct kms_netbsd_source *source, struct kms_err *err)
{
	const char *paths[] = {source->image->path, source->image->types.debug_path};
	struct kms_kernel_elf elf;
	int rc = source->names.count ? 0 : -ENOENT;

	for (size_t i = 0; rc && i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (!paths[i][0] || kms_kernel_elf_open(paths[i], &elf, err))
			continue;
		kms_err_clear(err);
		rc = kms_kernel_elf_symbols(&elf, &source->names, err);
		kms_kernel_elf_close(&elf);
	}
	return rc ? -ENOTSUP : 0;
}

static int symbol(void *arg, const char *name, struct kms_view_symbol *out, struct kms_err *err)
{
	struct kms_netbsd_source *source = arg;
	int rc = load_names(source, err);

	return rc ? rc : kms_kernel_names_find(&source->names, name, out, err);
}

static int symbol_at(void *arg, uint64_t address, struct kms_view_symbol *out, struct kms_err *err)
{
	struct kms_netbsd_source *source = arg;
	int rc = load_names(source, err);

	return rc ? rc : kms_kernel_names_at(&source->names, address, out, err);
}

const struct kms_kernel_source_ops kms_netbsd_source_ops = {
	.find = find,
	.lose = lose,
	.check = check,
	.read = read_pools,
	.show = show,
	.memory = memory,
	.slabs = slabs,
	.variable_get = variable_get,
	.variable_set = variable_set,
	.memory_write = memory_write,
	.symbol = symbol,
	.symbol_at = symbol_at,
};
