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
	return state->pool && records ? each_object(lx, state, records, emit, arg) : 0;
}
