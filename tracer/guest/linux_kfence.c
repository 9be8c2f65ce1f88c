/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KFENCE: its pool and the record of each of its objects. Object i lies in page 2 i + 2 of the pool;
 * its record names an address in that page from the start on, so the last record is known by its
 * not doing so. (Documentation/dev-tools/kfence.rst of Linux.)
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tracer/guest/linux_impl.h"

enum {
	MAX_OBJECTS = 65535, /* CONFIG_KFENCE_NUM_OBJECTS */
	MAX_META_BYTES = 4096,
	MAX_COUNTERS = 32,
	CANARY = 0xaa,     /* KFENCE_CANARY_PATTERN_U8: XORed with the low bits of the address */
	COUNTER_SLACK = 8, /* each is counted for itself, while the kernel runs */
};

/* A track's stack, as much of it as there is room for. */
static void track_read(const struct kms_linux *lx, const uint8_t *track, size_t bytes, int32_t *pid,
		       uint32_t *count, uint64_t *frames)
{
	uint32_t at = kms_lx_offset(lx, KMS_LX_KFENCE_TRACK_ENTRIES_AT);
	uint64_t n = kms_lx_member(lx, KMS_LX_KFENCE_TRACK_COUNT_AT, track);

	*pid = (int32_t)kms_lx_member(lx, KMS_LX_KFENCE_TRACK_PID_AT, track);
	if (n > KMS_LINUX_MAX_FRAMES || at > bytes || n > (bytes - at) / sizeof(*frames))
		n = 0;
	*count = (uint32_t)n;
	memcpy(frames, track + at, n * sizeof(*frames));
}

static void object_read(const struct kms_linux *lx, const uint8_t *meta,
			struct kms_linux_kfence_object *object)
{
	uint64_t state = kms_lx_member(lx, KMS_LX_KFENCE_STATE_AT, meta);
	uint32_t track = lx->layout.bytes[KMS_LX_KFENCE_TRACK];

	*object = (struct kms_linux_kfence_object){
		.address = kms_lx_member(lx, KMS_LX_KFENCE_ADDRESS_AT, meta),
		.bytes = kms_lx_member(lx, KMS_LX_KFENCE_SIZE_AT, meta),
		.cache = kms_lx_member(lx, KMS_LX_KFENCE_CACHE_AT, meta),
	};
	if (state == lx->layout.constant[KMS_LX_IS_KFENCE_ALLOCATED])
		object->state = KMS_LINUX_KFENCE_LIVE;
	else if (state)
		object->state = KMS_LINUX_KFENCE_FREED; /* or on its way to it (RCU) */
	track_read(lx, meta + kms_lx_offset(lx, KMS_LX_KFENCE_ALLOC_AT), track, &object->alloc_pid,
		   &object->alloc_frames, object->alloc_frame);
	track_read(lx, meta + kms_lx_offset(lx, KMS_LX_KFENCE_FREE_AT), track, &object->free_pid,
		   &object->free_frames, object->free_frame);
}

/* The records: an array until 6.4, since then a pointer to one, told apart by the symbol's size. */
static int find_records(struct kms_linux *lx, uint64_t *records, struct kms_err *err)
{
	uint64_t symbol = kms_symbols_find(&lx->symbols, "kfence_metadata");

	if (!symbol)
		return kms_err_set(err, -ENOTSUP, "this kernel has no KFENCE");
	*records = symbol;
	if (kms_symbols_end(&lx->symbols, symbol) - symbol < lx->layout.bytes[KMS_LX_KFENCE_META])
		return kms_lx_read_word(lx, symbol, records, err);
	return 0;
}

static int tracks_fit(const struct kms_linux *lx)
{
	uint32_t meta = lx->layout.bytes[KMS_LX_KFENCE_META];
	uint32_t track = lx->layout.bytes[KMS_LX_KFENCE_TRACK];

	return meta && meta <= MAX_META_BYTES && track <= meta &&
	       kms_lx_offset(lx, KMS_LX_KFENCE_ALLOC_AT) <= meta - track &&
	       kms_lx_offset(lx, KMS_LX_KFENCE_FREE_AT) <= meta - track;
}

static int each_object(struct kms_linux *lx, struct kms_linux_kfence *state, uint64_t records,
		       int (*emit)(void *arg, const struct kms_linux_kfence_object *object),
		       void *arg)
{
	uint32_t bytes = lx->layout.bytes[KMS_LX_KFENCE_META];
	uint8_t meta[MAX_META_BYTES];
	bool ended = false;

	for (uint32_t i = 0; i < MAX_OBJECTS; i++) {
		uint64_t page = state->pool + (2 * (uint64_t)i + 2) * KMS_LX_PAGE;
		struct kms_linux_kfence_object object;

		if (kms_lx_read(lx, records + (uint64_t)i * bytes, meta, bytes, NULL))
			break;
		object_read(lx, meta, &object);
		object.index = i;
		if ((object.address & ~(uint64_t)(KMS_LX_PAGE - 1)) != page)
			break;
		state->objects++;
		state->live += object.state == KMS_LINUX_KFENCE_LIVE;
		state->freed += object.state == KMS_LINUX_KFENCE_FREED;
		if (emit && !ended && object.state != KMS_LINUX_KFENCE_UNUSED)
			ended = emit(arg, &object) != 0;
	}
	return 0;
}

/*
 * The kernel's counters. "counters" may be another file's as well: these add up. What was skipped lies
 * between the first of its kinds and the end.
 */
static void read_counters(struct kms_linux *lx, struct kms_linux_kfence *state)
{
	const uint64_t *at = lx->layout.constant;
	uint64_t symbol = kms_symbols_find(&lx->symbols, "counters"), count[MAX_COUNTERS];
	uint64_t n = at[KMS_LX_IS_COUNTS], off;

	if (!symbol || n > MAX_COUNTERS || at[KMS_LX_IS_COUNT_ALLOCATED] >= n ||
	    at[KMS_LX_IS_COUNT_ALLOCS] >= n || at[KMS_LX_IS_COUNT_FREES] >= n ||
	    at[KMS_LX_IS_COUNT_BUGS] >= n || at[KMS_LX_IS_COUNT_SKIPPED] >= n ||
	    kms_symbols_end(&lx->symbols, symbol) - symbol < n * sizeof(*count) ||
	    kms_lx_read(lx, symbol, count, n * sizeof(*count), NULL))
		return;
	state->allocs = count[at[KMS_LX_IS_COUNT_ALLOCS]];
	state->frees = count[at[KMS_LX_IS_COUNT_FREES]];
	off = state->allocs - state->frees - count[at[KMS_LX_IS_COUNT_ALLOCATED]];
	state->has_counters = off + COUNTER_SLACK <= (uint64_t)COUNTER_SLACK * 2;
	state->bugs = count[at[KMS_LX_IS_COUNT_BUGS]];
	for (uint64_t i = at[KMS_LX_IS_COUNT_SKIPPED]; i < n; i++)
		state->skipped += count[i];
}

int kms_linux_kfence(struct kms_linux *lx, struct kms_linux_kfence *state,
		     int (*emit)(void *arg, const struct kms_linux_kfence_object *object),
		     void *arg, struct kms_err *err)
{
	uint64_t on, records = 0;
	int rc;

	*state = (struct kms_linux_kfence){0};
	if (!kms_linux_layout_has(&lx->layout, KMS_LX_FOR_KFENCE))
		return kms_err_set(err, -ENOTSUP, "this kernel has no KFENCE");
	if (!tracks_fit(lx))
		return kms_err_set(err, -EBADMSG, "KFENCE's records make no sense");
	rc = find_records(lx, &records, err);
	if (!rc)
		rc = kms_lx_read_variable(lx, "__kfence_pool", sizeof(state->pool), &state->pool,
					  err);
	if (!rc)
		rc = kms_lx_read_variable(lx, "kfence_enabled", 1, &on, err);
	if (rc)
		return rc;
	state->is_on = on & 0xff;
	(void)kms_lx_read_variable(lx, "kfence_sample_interval", sizeof(uint64_t),
				   &state->sample_interval_ms, NULL);
	read_counters(lx, state);
	return state->pool && records ? each_object(lx, state, records, emit, arg) : 0;
}

/* A look for damage in the pool. */
struct canaries {
	struct kms_linux *lx;
	int (*emit)(void *arg, const struct kms_linux_damage *damage,
		    const struct kms_linux_kfence_object *object);
	void *arg;
};

static uint8_t canary(uint64_t address)
{
	return (uint8_t)(CANARY ^ (address & 7));
}

/* The first byte from one place of a page to another that differs; to: none. */
static uint32_t canary_broken(const uint8_t *page, uint32_t from, uint32_t to)
{
	while (from < to && page[from] == canary(from))
		from++;
	return from;
}

static uint32_t cache_index(const struct kms_linux *lx, uint64_t address)
{
	for (size_t i = 0; i < lx->caches; i++)
		if (lx->cache[i].address == address)
			return (uint32_t)i;
	return KMS_LINUX_MAX_CACHES;
}

static void fill_canary(const struct kms_linux_kfence_object *object, const uint8_t *page,
			uint32_t at, uint32_t to, struct kms_linux_damage *damage)
{
	uint64_t base = object->address & ~(uint64_t)(KMS_LX_PAGE - 1);
	uint32_t begin = at & ~15U, last = to - 1;

	begin = begin > sizeof(damage->bytes) / 2 ? begin - (uint32_t)sizeof(damage->bytes) / 2 : 0;
	if (begin > KMS_LX_PAGE - sizeof(damage->bytes))
		begin = KMS_LX_PAGE - (uint32_t)sizeof(damage->bytes);
	while (page[last] == canary(last))
		last--; /* at is one that differs */
	damage->object = object->address;
	damage->object_bytes = (uint32_t)object->bytes;
	damage->at = base + at;
	damage->length = last - at + 1;
	damage->found = page[at];
	damage->expected = canary(at);
	damage->bytes_at = base + begin;
	damage->n_bytes = sizeof(damage->bytes);
	memcpy(damage->bytes, page + begin, sizeof(damage->bytes));
}

static int look_at_canaries(void *arg, const struct kms_linux_kfence_object *object)
{
	const struct canaries *c = arg;
	uint32_t from = (uint32_t)(object->address & (KMS_LX_PAGE - 1)), to, at;
	struct kms_linux_damage damage = {.zone = KMS_LINUX_ZONE_BEFORE};
	uint8_t page[KMS_LX_PAGE];

	if (object->state != KMS_LINUX_KFENCE_LIVE || object->bytes > KMS_LX_PAGE - from ||
	    kms_lx_read(c->lx, object->address - from, page, sizeof(page), NULL))
		return 0;
	to = from;
	at = canary_broken(page, 0, to);
	if (at == to) {
		damage.zone = KMS_LINUX_ZONE_BEHIND;
		to = KMS_LX_PAGE;
		at = canary_broken(page, from + (uint32_t)object->bytes, to);
	}
	if (at == to)
		return 0;
	fill_canary(object, page, at, to, &damage);
	damage.cache = cache_index(c->lx, object->cache);
	damage.times = 1;
	return c->emit(c->arg, &damage, object);
}

int kms_linux_kfence_damage(struct kms_linux *lx,
			    int (*emit)(void *arg, const struct kms_linux_damage *damage,
					const struct kms_linux_kfence_object *object),
			    void *arg, struct kms_err *err)
{
	struct canaries c = {.lx = lx, .emit = emit, .arg = arg};
	struct kms_linux_kfence state;

	return kms_linux_kfence(lx, &state, look_at_canaries, &c, err);
}
