/* SPDX-License-Identifier: BSD-2-Clause */
/* Saved memory of a Linux guest, read whole: caches, sites, stacks, events, KFENCE, and through the view. */
#include "tracer/guest/test/images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/linux_impl.h"
#include "tracer/guest/linux_view.h"

enum {
	PHASE_OPEN,
	PHASE_CACHES,
	PHASE_SITES,
	PHASE_EVENTS,
	PHASE_REST,
	MAX_EVENTS = 1 << 20,
	MAX_STACKS = 64,
	VIEW_EVERY = 8, /* images that are read through a view, too */
	DECODE_EVERY =
		16, /* images whose symbols are not taken from the kept file, whatever is damaged */
	LIST_BYTES = 4096, /* a longer read is no member of a list */
};

static int count_event(void *arg, const struct kms_linux_event *event)
{
	(void)event;
	return ++*(uint64_t *)arg >= MAX_EVENTS;
}

static int count_object(void *arg, const struct kms_linux_kfence_object *object)
{
	(void)object;
	++*(uint64_t *)arg;
	return 0;
}

static void read_stacks(struct kms_linux *lx)
{
	uint64_t frame[KMS_LINUX_MAX_FRAMES], offset;
	const struct kms_linux_site *site;
	const char *name, *module;
	size_t n;

	site = kms_linux_sites(lx, &n);
	for (size_t i = 0; i < n && i < MAX_STACKS; i++) {
		int frames = kms_linux_stack(lx, site[i].handle, frame, NULL);

		(void)kms_linux_name(lx, site[i].call_site, &name, &offset, &module);
		for (int j = 0; j < frames; j++)
			(void)kms_linux_name(lx, frame[j], &name, &offset, &module);
	}
}

/* What is not there or damaged is an error, and as good as an answer. */
static void read_kernel(struct kms_linux *lx, struct watched *watched, struct images_seen *seen)
{
	struct kms_linux_kfence kfence;
	struct kms_linux_site_stats stats;
	uint64_t ignored = 0;

	for (uint64_t second = 1; second <= 2; second++) {
		watched->phase = PHASE_CACHES;
		(void)kms_linux_refresh_caches(lx, NULL);
		watched->phase = PHASE_SITES;
		(void)kms_linux_refresh_sites(lx, second * 1000000000, NULL);
		watched->phase = PHASE_EVENTS;
		(void)kms_linux_events(lx, count_event, &seen->events, NULL);
	}
	kms_linux_site_stats(lx, &stats);
	seen->objects = stats.live;
	watched->phase = PHASE_REST;
	read_stacks(lx);
	(void)kms_linux_kfence(lx, &kfence, count_object, &ignored, NULL);
	(void)kms_linux_check(lx, NULL);
}

static void read_view(struct watched *watched)
{
	const struct kms_linux_view_config config = {.memory = &watched->memory,
						     .linux_options = {.is_still = true},
						     .command = "saved",
						     .pid = 1};
	struct kms_linux_view *view = NULL;
	const struct kms_snapshot *snapshot;
	struct kms_view ops;

	if (kms_linux_view_start(&config, &view, NULL))
		return;
	ops = kms_linux_view_ops(view);
	snapshot = ops.ops->acquire(ops.ctx);
	for (size_t i = 0; i < snapshot->n_leaks && i < MAX_STACKS; i++) {
		struct kms_view_stack stack;

		if (!ops.ops->stack(ops.ctx, snapshot->leak[i].stack_id, &stack, NULL))
			ops.ops->stack_free(ops.ctx, &stack);
	}
	ops.ops->release(ops.ctx, snapshot);
	kms_linux_view_stop(view);
}

static void read_image(struct watched *watched, const char *scratch, uint64_t number,
		       struct images_seen *seen)
{
	struct kms_linux_options options = {.is_still = true, .old_events = true};
	unsigned kind = (unsigned)(number % DAMAGE_KINDS);
	bool decodes = kind == DAMAGE_SYMBOLS || kind == DAMAGE_TYPES ||
		       number / DAMAGE_KINDS % DECODE_EVERY == 0;
	struct kms_linux *lx = NULL;

	/* kept symbols are a shortcut, and would hide damage to the tables that they came from */
	options.cache_folder = decodes ? NULL : scratch;
	watched->phase = PHASE_OPEN;
	seen->opened = !kms_linux_open(&watched->memory, &options, &lx, NULL);
	if (!seen->opened)
		return;
	read_kernel(lx, watched, seen);
	kms_linux_close(lx);
	if (number / DAMAGE_KINDS % VIEW_EVERY == 1)
		read_view(watched);
}

/* A stretch of the kernel's image between two symbols. */
static void add_symbols(struct kms_linux *lx, struct damage_places *places, uint64_t from,
			uint64_t to)
{
	uint64_t physical;

	if (from && to > from && !kms_lx_physical(lx, from, (size_t)(to - from), &physical))
		damage_add(places, physical, to - from);
}

static void find_kallsyms(struct kms_linux *lx, struct damage_places *places)
{
	const struct kms_linux_info *info = &lx->info;

	add_symbols(lx, places, info->kallsyms_names, info->kallsyms_names + (1 << 20));
	add_symbols(lx, places, info->kallsyms_num_syms, info->kallsyms_num_syms + 4);
	add_symbols(lx, places, info->kallsyms_token_table, info->kallsyms_token_table + 1024);
	add_symbols(lx, places, info->kallsyms_token_index, info->kallsyms_token_index + 512);
	add_symbols(lx, places, info->kallsyms_offsets, info->kallsyms_offsets + (1 << 18));
	add_symbols(lx, places, info->kallsyms_relative_base, info->kallsyms_relative_base + 8);
	damage_add(places, info->found_at, 2048); /* and the text that names them */
}

static void find_btf(struct kms_linux *lx, struct damage_places *places)
{
	uint64_t from = kms_linux_symbol(lx, "__start_BTF"),
		 to = kms_linux_symbol(lx, "__stop_BTF");

	add_symbols(lx, places, from, from + 24); /* its header */
	add_symbols(lx, places, from + 24, from + 65536);
	add_symbols(lx, places, from, to);
}

static void find_places(struct watched *watched, struct damage_places places[DAMAGE_KINDS])
{
	struct kms_linux_options options = {.is_still = true};
	struct damage_places table = {0};
	struct kms_linux *lx = NULL;

	watched->is_recording = false;
	if (kms_linux_open(&watched->memory, &options, &lx, NULL))
		abort();
	find_kallsyms(lx, &places[DAMAGE_SYMBOLS]);
	find_btf(lx, &places[DAMAGE_TYPES]);
	damage_find_tables(watched, lx->space.root, lx->info.is_5_level ? 5 : 4, &table);
	damage_add_used(watched, &table, &places[DAMAGE_PAGE_TABLES]);
	damage_drop(&table);
	for (size_t i = 0; i < watched->reads; i++) {
		const struct watched_read *read = &watched->read[i];

		if (read->phase == PHASE_EVENTS)
			damage_add(&places[DAMAGE_RING], read->address, read->bytes);
		if ((read->phase == PHASE_CACHES || read->phase == PHASE_SITES ||
		     read->phase == PHASE_EVENTS) &&
		    read->bytes <= LIST_BYTES)
			damage_add(&places[DAMAGE_LOOPS], read->address, read->bytes);
		if (read->phase == PHASE_CACHES ||
		    (read->phase == PHASE_SITES && read->bytes <= LIST_BYTES))
			damage_add(&places[DAMAGE_LISTS], read->address, read->bytes);
	}
	kms_linux_close(lx);
}

const struct images_kernel images_linux = {
	.name = "linux", .word = 8, .read = read_image, .find_places = find_places};
