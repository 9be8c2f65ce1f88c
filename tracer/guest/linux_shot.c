/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/linux_shot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/linux_record.h"
#include "tracer/tracer.h"

enum {
	PAGE_BYTES = 4096,
	NS_PER_S = 1000000000,
	NAME_ROOM = 192, /* function and module of a frame */
	SCORE_MAX = 100,
	SCORE_HALF = 1024, /* growth in bytes/s that is worth half of it */
};

static uint32_t slot_of(uint32_t id)
{
	return (id - 1) % KMS_LINUX_MAX_BOOTS;
}

int kms_linux_history_begin(struct kms_linux_history *history, const struct kms_linux_about *about,
			    pid_t pid, uint64_t wall_ns)
{
	struct kms_linux_boot *boot = &history->boot[slot_of(++history->n_targets)];

	*boot = (struct kms_linux_boot){
		.pid = (uint32_t)pid,
		.state = KMS_STATE_RUNNING,
		.start_wall_ns = wall_ns,
	};
	(void)snprintf(boot->name, sizeof(boot->name), "Linux %s", about->release); /* fits */
	return 0;
}

void kms_linux_history_end(struct kms_linux_history *history, uint64_t wall_ns, uint32_t state)
{
	struct kms_linux_boot *boot = &history->boot[slot_of(history->n_targets)];

	boot->state = state;
	boot->end_wall_ns = wall_ns;
}

void kms_linux_history_pause(struct kms_linux_history *history, bool paused)
{
	history->boot[slot_of(history->n_targets)].state =
		paused ? KMS_STATE_STOPPED : KMS_STATE_RUNNING;
}

const struct kms_linux_boot *kms_linux_history_newest(const struct kms_linux_history *history)
{
	return &history->boot[slot_of(history->n_targets)];
}

void kms_linux_history_deinit(struct kms_linux_history *history)
{
	*history = (struct kms_linux_history){0};
}

static void fill_targets(struct kms_linux_shot *shot, const struct kms_linux_history *history)
{
	uint32_t n =
		history->n_targets < KMS_LINUX_MAX_BOOTS ? history->n_targets : KMS_LINUX_MAX_BOOTS;

	memcpy(shot->boot, history->boot, sizeof(shot->boot));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = history->n_targets - n + 1 + i;
		const struct kms_linux_boot *boot = &shot->boot[slot_of(id)];

		shot->target[i] = (struct kms_view_target){
			.id = id,
			.pid = boot->pid,
			.state = boot->state,
			.kind = KMS_TARGET_GUEST,
			.exit_status = -1,
			.name = boot->name,
			.command = shot->command,
			.start_wall_ns = boot->start_wall_ns,
			.end_wall_ns = boot->end_wall_ns,
		};
	}
	shot->snapshot.target = shot->target;
	shot->snapshot.n_targets = n;
}

static void fill_cache(struct kms_view_cache *view, const struct kms_linux_cache *cache,
		       uint32_t target)
{
	uint64_t pages = cache->slabs * cache->pages_per_slab;
	uint64_t live = cache->active * cache->object_bytes;

	*view = (struct kms_view_cache){
		.target = target,
		.name = cache->name,
		.object_bytes = cache->object_bytes,
		.objects_live = cache->active,
		.objects_cached = cache->objects - cache->active,
		.objects_total = cache->objects,
		.slabs = cache->slabs,
		.pages = pages,
		.live_bytes = live,
		.waste_bytes = pages * PAGE_BYTES > live ? pages * PAGE_BYTES - live : 0,
		.utilization = pages ? (double)live / ((double)pages * PAGE_BYTES) : 0,
	};
}

static bool fill_caches(struct kms_linux_shot *shot, const struct kms_linux *kernel,
			uint32_t target)
{
	struct kms_snapshot *snapshot = &shot->snapshot;
	const struct kms_linux_cache *cache;
	size_t n;

	cache = kms_linux_caches(kernel, &n);
	shot->named = calloc(n + 1, sizeof(*shot->named));
	snapshot->cache = calloc(n + 1, sizeof(*snapshot->cache));
	if (!shot->named || !snapshot->cache)
		return false;
	memcpy(shot->named, cache, n * sizeof(*cache));
	for (size_t i = 0; i < n; i++) {
		fill_cache(&snapshot->cache[i], &shot->named[i], target);
		snapshot->stats.live_objects += snapshot->cache[i].objects_live;
		snapshot->stats.live_bytes += snapshot->cache[i].live_bytes;
	}
	snapshot->n_caches = n;
	return true;
}

/* Growth decides; what has shrunk before is not all leaked. */
static double score_of(const struct kms_linux_site *site)
{
	double growth = site->growth_bytes_per_s;

	if (growth <= 0)
		return 0;
	growth = SCORE_MAX * growth / (growth + SCORE_HALF);
	return site->shrunk ? growth / (1 + (double)site->shrunk) : growth;
}

static int by_score(const void *a, const void *b)
{
	const struct kms_view_leak *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return strcmp(x->id, y->id);
}

/*
 * The name of a site's cache; NULL: it is gone. Caches are read ten times between two looks at the sites,
 * and each that is made or destroyed moves the others.
 */
static const char *cache_of(const struct kms_linux_shot *shot, const struct kms_linux_site *site)
{
	size_t n = shot->snapshot.n_caches;

	if (site->cache < n && shot->named[site->cache].address == site->cache_address)
		return shot->named[site->cache].name;
	for (size_t i = 0; i < n; i++) {
		if (shot->named[i].address == site->cache_address)
			return shot->named[i].name;
	}
	return NULL;
}

/* Where events are recorded stacks have one number for all that names them. */
static uint64_t stack_of(struct kms_linux *kernel, const struct kms_linux_history *history,
			 const struct kms_linux_site *site)
{
	const struct kms_linux_track track = {.call_site = site->call_site, .handle = site->handle};
	uint64_t id = kms_linux_recorder_track_id(history->recorder, kernel, &track);

	return id ? id : site->handle ? site->handle : site->call_site;
}

static bool fill_leaks(struct kms_linux_shot *shot, struct kms_linux *kernel,
		       const struct kms_linux_history *history)
{
	struct kms_snapshot *snapshot = &shot->snapshot;
	const struct kms_linux_site *site;
	size_t n;

	site = kms_linux_sites(kernel, &n);
	n = n < KMS_LINUX_MAX_SUSPECTS ? n : KMS_LINUX_MAX_SUSPECTS;
	snapshot->leak = shot->leak = calloc(n + 1, sizeof(*snapshot->leak));
	if (!snapshot->leak)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *cache = cache_of(shot, &site[i]);
		struct kms_view_leak *leak = &snapshot->leak[snapshot->n_leaks];

		if (!cache)
			continue;
		snapshot->n_leaks++;
		*leak = (struct kms_view_leak){
			.target = history->n_targets,
			.stack_id = stack_of(kernel, history, &site[i]),
			.cache = cache,
			.bytes = site[i].bytes,
			.count = site[i].objects,
			.score = score_of(&site[i]),
			.evidence = {.growth_bytes_per_s = site[i].growth_bytes_per_s},
			.state = "open",
		};
		(void)snprintf(leak->id, sizeof(leak->id), "%016" PRIx64, site[i].id); /* fits */
	}
	qsort(snapshot->leak, snapshot->n_leaks, sizeof(*snapshot->leak), by_score);
	return true;
}

/* Events of the last second by the picture that is at least that old. */
static void fill_rates(struct kms_view_stats *stats, struct kms_linux_history *history)
{
	size_t slot = history->seq % KMS_LINUX_RATES, old = slot;

	history->past[slot].time_ns = history->time_ns;
	history->past[slot].allocs = history->allocs;
	history->past[slot].frees = history->frees;
	for (size_t i = 1; i < KMS_LINUX_RATES && i < history->seq; i++) {
		old = (slot + KMS_LINUX_RATES - i) % KMS_LINUX_RATES;
		if (history->time_ns - history->past[old].time_ns >= NS_PER_S)
			break;
	}
	if (history->time_ns > history->past[old].time_ns) {
		double seconds = (double)(history->time_ns - history->past[old].time_ns) / NS_PER_S;

		stats->alloc_rate =
			(uint64_t)((double)(history->allocs - history->past[old].allocs) / seconds);
		stats->free_rate =
			(uint64_t)((double)(history->frees - history->past[old].frees) / seconds);
	}
	stats->allocs = history->allocs;
	stats->frees = history->frees;
	stats->produced = history->allocs + history->frees;
}

/* What the events say of a cache. */
static void add_cache_events(struct kms_view_cache *cache, const struct kms_snapshot *events)
{
	for (size_t i = 0; i < events->n_caches; i++) {
		const struct kms_view_cache *from = &events->cache[i];

		if (from->target != cache->target || !from->name ||
		    strcmp(from->name, cache->name) != 0)
			continue;
		cache->allocs = from->allocs;
		cache->frees = from->frees;
		cache->alloc_rate = from->alloc_rate;
		cache->free_rate = from->free_rate;
		return;
	}
}

/* What is live is known from the slabs, what happens from the events. */
static struct kms_view_stats join_stats(const struct kms_view_stats *live,
					const struct kms_view_stats *events)
{
	struct kms_view_stats out = *events;

	out.live_bytes = live->live_bytes;
	out.live_objects = live->live_objects;
	out.peak_bytes = live->peak_bytes;
	return out;
}

static bool join_targets(struct kms_linux_shot *shot, const struct kms_snapshot *events)
{
	struct kms_snapshot *snapshot = &shot->snapshot;

	snapshot->target_stats = shot->target_stats =
		calloc(snapshot->n_targets + 1, sizeof(*snapshot->target_stats));
	if (!snapshot->target_stats)
		return false;
	for (size_t i = 0; i < snapshot->n_targets; i++)
		for (size_t j = 0; events->target_stats && j < events->n_targets; j++)
			if (events->target[j].id == snapshot->target[i].id)
				snapshot->target_stats[i] = events->target_stats[j];
	if (snapshot->n_caches && snapshot->n_targets)
		snapshot->target_stats[snapshot->n_targets - 1] = join_stats(
			&snapshot->stats, &snapshot->target_stats[snapshot->n_targets - 1]);
	return true;
}

/* The picture that the events make, and ours of what there is. */
static bool join_events(struct kms_linux_shot *shot, struct kms_linux_history *history)
{
	struct kms_snapshot *snapshot = &shot->snapshot;
	const struct kms_snapshot *events;

	if (!history->tracer)
		return true;
	shot->tracer = history->tracer;
	events = shot->events = kms_tracer_events_acquire(history->tracer);
	if (!join_targets(shot, events))
		return false;
	snapshot->stats = join_stats(&snapshot->stats, &events->stats);
	snapshot->time_ns = events->time_ns;
	snapshot->wall_ns = events->wall_ns;
	snapshot->file = events->file;
	snapshot->incomplete = events->stats.lost != 0;
	snapshot->n_faults = events->n_faults;
	snapshot->fault = events->fault;
	snapshot->n_rings = events->n_rings;
	snapshot->ring = events->ring;
	for (size_t i = 0; i < snapshot->n_caches; i++)
		add_cache_events(&snapshot->cache[i], events);
	if (!snapshot->n_leaks) { /* no kernel knows its objects' owners: the events' suspects */
		snapshot->n_leaks = events->n_leaks;
		snapshot->leak = events->leak;
	}
	return true;
}

static bool fill_all(struct kms_linux_shot *shot, struct kms_linux *kernel,
		     struct kms_linux_history *history)
{
	struct kms_linux_event_stats events = {0};

	fill_targets(shot, history);
	fill_rates(&shot->snapshot.stats, history);
	if (!kernel)
		return join_events(shot, history);
	if (!fill_caches(shot, kernel, history->n_targets) || !fill_leaks(shot, kernel, history))
		return false;
	kms_linux_event_stats(kernel, &events);
	shot->snapshot.incomplete = events.lost_pages != 0;
	if (shot->snapshot.stats.live_bytes > history->peak_bytes)
		history->peak_bytes = shot->snapshot.stats.live_bytes;
	shot->snapshot.stats.peak_bytes = history->peak_bytes;
	return join_events(shot, history);
}

struct kms_linux_shot *kms_linux_shot_make(struct kms_linux *kernel,
					   struct kms_linux_history *history)
{
	struct kms_linux_shot *shot = calloc(1, sizeof(*shot));

	if (!shot)
		return NULL;
	shot->users = 1;
	shot->command = strdup(history->command);
	shot->snapshot.seq = history->seq;
	shot->snapshot.time_ns = history->time_ns;
	shot->snapshot.wall_ns = history->wall_ns;
	if (shot->command && fill_all(shot, kernel, history))
		return shot;
	kms_linux_shot_free(shot);
	return NULL;
}

void kms_linux_shot_free(struct kms_linux_shot *shot)
{
	free(shot->command);
	free(shot->named);
	free(shot->snapshot.cache);
	free(shot->leak);
	free(shot->target_stats);
	if (shot->events)
		kms_tracer_events_release(shot->tracer, shot->events);
	free(shot);
}

/* A frame, its names written behind all frames. */
static void fill_frame(struct kms_linux *kernel, uint64_t address, struct kms_view_frame *frame,
		       char *room)
{
	const char *name, *module;
	uint64_t offset;
	int rc = kms_linux_name(kernel, address, &name, &offset, &module);
	int n = snprintf(room, NAME_ROOM / 2, "%s", module ? module : "vmlinux");

	(void)n; /* cut, if it must be */
	*frame = (struct kms_view_frame){.address = address, .module = room, .offset = offset};
	if (rc)
		return;
	(void)snprintf(room + NAME_ROOM / 2, NAME_ROOM / 2, "%s", name);
	frame->function = room + NAME_ROOM / 2;
}

int kms_linux_shot_stack(struct kms_linux *kernel, uint64_t stack_id, struct kms_view_stack *out,
			 struct kms_err *err)
{
	uint64_t frame[KMS_LINUX_MAX_FRAMES] = {stack_id};
	int n = stack_id >> 32 ? 1 : kms_linux_stack(kernel, (uint32_t)stack_id, frame, err);
	char *room;

	if (n < 0)
		return n;
	out->frame = calloc((size_t)n + 1, sizeof(*out->frame) + NAME_ROOM);
	if (!out->frame)
		return kms_err_set(err, -ENOMEM, "no memory for a stack");
	room = (char *)(out->frame + n);
	for (int i = 0; i < n; i++)
		fill_frame(kernel, frame[i], &out->frame[i], room + (size_t)i * NAME_ROOM);
	out->n_frames = (size_t)n;
	out->cut = n == KMS_LINUX_MAX_FRAMES;
	return 0;
}
