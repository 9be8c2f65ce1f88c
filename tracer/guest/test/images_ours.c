/* SPDX-License-Identifier: BSD-2-Clause */
/* Saved memory of our own kernel, read by the whole tracer: region, rings, tables, model, file, symbols. */
#include "tracer/guest/test/images.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schema/variables.h"
#include "tracer/guest/link.h"
#include "tracer/guest/space.h"
#include "tracer/options.h"
#include "tracer/process.h"
#include "tracer/tracer.h"

enum {
	LIVE_EVERY = 4, /* images that are read as if the guest ran, and written to */
	STACKS_EVERY =
		16, /* images whose stacks are named: that takes a process with the symbols */
	TRIES = 20,
	LIMIT = 200,
	WAIT_MS = 20,
	OVER_MS = 240000, /* a busy machine may be many times slower than a quiet one */
	TABLE_BYTES = 4096,
};

static void require(bool is_true, const char *what)
{
	if (is_true)
		return;
	(void)fprintf(stderr, "%s\n", what); /* not kept back, as we end here */
	abort();
}

struct trace {
	struct kms_guest_link *link;
	struct kms_tracer *tracer;
	char dir[64], file[80];
};

static void start(struct trace *trace, struct watched *watched, const char *scratch, bool is_live)
{
	const struct kms_guest_link_config link = {.memory = &watched->memory,
						   .program = "",
						   .command = "saved",
						   .emulator_fd = -1,
						   .is_saved = !is_live,
						   .folder = trace->dir,
						   .allow_write = true};
	struct kms_tracer_config config = {
		.run_dir = trace->dir, .output = trace->file, .command = "saved"};

	(void)snprintf(trace->dir, sizeof(trace->dir), "%.50s/run", scratch);
	(void)snprintf(trace->file, sizeof(trace->file), "%.50s/out.kms", scratch);
	require(!kms_guest_link_create(&link, &trace->link, NULL), "no link");
	config.guest = trace->link;
	trace->tracer = kms_tracer_start(&config, NULL);
	require(trace->tracer, "the tracer does not start");
}

static int pass_event(void *arg, const struct kms_view_event *event)
{
	(void)arg;
	(void)event;
	return 0;
}

static int pass_block(void *arg, const struct kms_view_block *block)
{
	uint64_t *last = arg;

	*last = block->address;
	return 0;
}

static int pass_slab(void *arg, const struct kms_view_slab *slab)
{
	(void)arg;
	(void)slab;
	return 0;
}

static void name_stack(struct kms_view view, uint64_t id)
{
	struct kms_view_stack stack;

	if (id && !view.ops->stack(view.ctx, id, &stack, NULL))
		view.ops->stack_free(view.ctx, &stack);
}

/* What a client asks for; what is not there or damaged is an error, and as good as an answer. */
static void ask(struct kms_view view, bool with_stacks, struct images_seen *seen)
{
	const struct kms_event_query events = {.before_seq = UINT64_MAX,
					       .before_ns = UINT64_MAX,
					       .to_ns = UINT64_MAX,
					       .limit = LIMIT};
	const struct kms_block_query blocks = {.limit = LIMIT};
	const struct kms_snapshot *snapshot = view.ops->acquire(view.ctx);
	struct kms_view_block block;
	uint64_t last = 0;
	uint8_t byte[16];
	size_t n;

	seen->opened = snapshot->n_targets > 0;
	seen->events = snapshot->stats.stored;
	seen->objects = snapshot->stats.allocs;
	(void)view.ops->events(view.ctx, &events, pass_event, NULL, NULL);
	(void)view.ops->blocks(view.ctx, &blocks, pass_block, &last, NULL);
	for (size_t i = 0; i < snapshot->n_caches; i++)
		(void)view.ops->slabs(view.ctx, snapshot->cache[i].target, snapshot->cache[i].name,
				      pass_slab, NULL, NULL);
	for (size_t i = 0; with_stacks && i < snapshot->n_faults; i++) {
		name_stack(view, snapshot->fault[i].stack_id);
		name_stack(view, snapshot->fault[i].alloc_stack_id);
		name_stack(view, snapshot->fault[i].free_stack_id);
	}
	for (size_t i = 0; with_stacks && i < snapshot->n_leaks; i++)
		name_stack(view, snapshot->leak[i].stack_id);
	(void)view.ops->whatis(view.ctx, 1, last, &block, NULL);
	if (view.ops->memory)
		(void)view.ops->memory(view.ctx, 1, last, byte, sizeof(byte), &n, NULL);
	view.ops->release(view.ctx, snapshot);
}

/* A guest that is taken over late, asked for something, and let go. */
static void deal_with(struct kms_tracer *tracer)
{
	struct kms_options options = {0};
	int result = -ESRCH;

	require(!kms_options_parse(&options, "on_full=0", NULL), "options");
	for (int try = 0; result == -ESRCH && try < TRIES; try++) {
		result = kms_tracer_resync(tracer, &options, NULL);
		if (result)
			(void)poll(NULL, 0, 1); /* the reader is about to look */
	}
	kms_tracer_want(tracer, KMS_VAR_GUARD_DEPTH, 1000);
	(void)kms_tracer_sync(tracer, WAIT_MS);
}

static void finish(struct trace *trace)
{
	char path[PATH_MAX];

	(void)kms_tracer_stop(trace->tracer, NULL); /* what could not be stored was damaged */
	kms_guest_link_destroy(trace->link);
	(void)unlink(trace->file);
	for (unsigned boot = 0; boot < TRIES; boot++) { /* symbols that the kernel carried */
		(void)snprintf(path, sizeof(path), "%s/kernel.%u.elf", trace->dir, boot);
		(void)unlink(path);
	}
}

static void read_image(struct watched *watched, const char *scratch, uint64_t number,
		       struct images_seen *seen)
{
	uint64_t round = number / DAMAGE_KINDS;
	bool is_live = round % LIVE_EVERY == 1;
	struct trace trace = {0};

	watched_set_writable(watched, is_live);
	start(&trace, watched, scratch, is_live);
	if (is_live) {
		deal_with(trace.tracer);
	} else {
		/* saved memory is read, and then over */
		require(kms_tracer_wait(trace.tracer, OVER_MS) == KMS_TRACER_OVER, "no end");
		require(!kms_tracer_sync(trace.tracer, OVER_MS), "no picture");
	}
	ask(kms_tracer_view(trace.tracer), round % STACKS_EVERY == 0, seen);
	if (is_live)
		(void)kms_tracer_leave(trace.tracer, 0, NULL);
	finish(&trace);
	watched_set_writable(watched, false);
}

/* A section of the region, as far as it is in use, in pieces. */
static void add_section(const struct kms_guest_region *region, unsigned kind,
			struct damage_places *places)
{
	const struct kms_region_section *section = &region->section[kind];
	uint64_t used = region->head.section[section->index].used;
	uint64_t bytes =
		section->entry_bytes * (used && used < section->entries ? used : section->entries);

	for (uint64_t at = 0; at < bytes; at += TABLE_BYTES)
		damage_add(places, region->physical + section->offset + at,
			   bytes - at < TABLE_BYTES ? bytes - at : TABLE_BYTES);
}

static const enum damage_kind kind_of[KMS_REGION_KINDS] = {
	[KMS_SEC_TRACER] = DAMAGE_RING,      [KMS_SEC_RING_DESC] = DAMAGE_RING,
	[KMS_SEC_RING] = DAMAGE_RING,        [KMS_SEC_NODE] = DAMAGE_TYPES,
	[KMS_SEC_CACHE] = DAMAGE_TYPES,      [KMS_SEC_MODULE] = DAMAGE_TYPES,
	[KMS_SEC_THREAD] = DAMAGE_TYPES,     [KMS_SEC_STRING] = DAMAGE_TYPES,
	[KMS_SEC_REQUEST] = DAMAGE_LISTS,    [KMS_SEC_SLOT] = DAMAGE_LISTS,
	[KMS_SEC_CACHE_STAT] = DAMAGE_LISTS, [KMS_SEC_COUNTER] = DAMAGE_LISTS,
	[KMS_SEC_FAULT] = DAMAGE_LISTS,      [KMS_SEC_FORK_CUT] = DAMAGE_LISTS,
};

static void find_symbols(struct watched *watched, const struct kms_guest_region *region,
			 struct damage_places *places)
{
	const struct kms_region_header *head = &region->head;
	struct kms_guest_space space;
	uint64_t physical;

	kms_guest_space_init(&space, &watched->memory, KMS_GUEST_PAGING_4, head->page_table_root);
	if (kms_guest_translate(&space, head->symbols_address, &physical, NULL, NULL))
		abort();
	damage_add(places, physical, 64); /* the ELF header */
	damage_add(places, physical, head->symbols_bytes);
	damage_add(places, physical + head->symbols_bytes - 1024, 1024); /* its sections */
	damage_add(places, region->physical, sizeof(*head));
}

static void find_places(struct watched *watched, struct damage_places places[DAMAGE_KINDS])
{
	struct kms_guest_search search = {0};
	struct damage_places table = {0}, *loops = &places[DAMAGE_LOOPS];
	struct kms_guest_region region;
	int result = 0;

	watched->is_recording = false;
	while (!result)
		result = kms_guest_search(&search, &watched->memory, UINT64_MAX, &region, NULL);
	if (result != 1)
		abort();
	for (unsigned kind = 1; kind < KMS_REGION_KINDS; kind++)
		add_section(&region, kind, &places[kind_of[kind]]);
	find_symbols(watched, &region, &places[DAMAGE_SYMBOLS]);
	damage_find_tables(watched, region.head.page_table_root, 4, &table);
	damage_add_used(watched, &table, &places[DAMAGE_PAGE_TABLES]);
	damage_drop(&table);
	for (unsigned kind = KMS_SEC_NODE; kind < KMS_REGION_KINDS; kind++)
		add_section(&region, kind, loops);
	damage_add(loops, region.physical, sizeof(region.head));
}

const struct images_kernel images_ours = {
	.name = "ours", .word = 4, .read = read_image, .find_places = find_places};
