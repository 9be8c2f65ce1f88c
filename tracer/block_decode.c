/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoding a block into events: see block.h.
 */
#include <errno.h>

#include "tracer/block.h"
#include "tracer/block_parse.h"

/* What the site cache holds; both sides begin each block with all zero. */
struct site {
	uint64_t size;
	uint32_t node;
};

struct decode {
	const uint8_t *p;
	const uint8_t *end;
	struct kms_event *out;
	size_t n_out;
	size_t max_events;
	size_t n_timed;   /* events whose time is final: those before the last TIME */
	uint64_t address; /* of the last hot record */
	uint64_t seq;
	uint64_t time_ns; /* of the last TIME */
	uint32_t thread;
	uint32_t attributes; /* from prefixes, for the next event */
	uint32_t cache;      /* likewise; KMS_NO_INDEX none */
	uint32_t start;      /* offset of the event's first byte, prefixes included */
	uint8_t level;
	uint8_t checks;
	uint8_t generation;
	uint8_t has_generation;
	uint8_t session;
	bool pending; /* a prefix was read */
	struct site site[KMS_SITE_CACHE_ENTRIES];
};

/* The next event with all that the record itself does not say. */
static inline struct kms_event *new_event(struct decode *d, uint32_t kind)
{
	struct kms_event *event = &d->out[d->n_out];

	event->time_ns = d->time_ns;
	event->address = 0;
	event->size = 0;
	event->value = 0;
	event->value2 = 0;
	event->ring_seq = d->seq++;
	event->kind = kind;
	event->stack = 0;
	event->flags = d->attributes;
	event->thread = d->thread;
	event->cache = d->cache;
	event->offset = d->start;
	event->index = (uint16_t)d->n_out++;
	event->level = d->level;
	event->generation = d->generation;
	event->has_generation = d->has_generation;
	event->session = d->session;
	event->first_bytes = 0;
	d->attributes = 0;
	d->cache = KMS_NO_INDEX;
	d->generation = d->has_generation = 0;
	d->pending = false;
	return event;
}

/* Events since the last TIME lie evenly between it and the new one. */
static void spread_times(struct decode *d, uint64_t delta_ns)
{
	uint64_t n = d->n_out - d->n_timed;
	uint64_t time_ns = d->time_ns;
	uint64_t step = n ? delta_ns / n : 0;
	uint64_t rest = n ? delta_ns % n : 0;
	uint64_t carry = 0;

	for (; d->n_timed < d->n_out; d->n_timed++) {
		d->out[d->n_timed].time_ns = time_ns;
		time_ns += step;
		carry += rest;
		if (carry >= n) {
			carry -= n;
			time_ns++;
		}
	}
	d->time_ns += delta_ns;
}

static bool decode_state(struct decode *d, const struct kms_code_record *record)
{
	switch (record->code) {
	case KMS_REC_TIME:
		spread_times(d, record->operand[0]);
		return d->time_ns <= KMS_BLOCK_TIME_MAX;
	case KMS_REC_CHECKS:
		d->checks = (uint8_t)record->operand[0];
		return true;
	case KMS_REC_RESUME:
		d->session = (uint8_t)record->operand[0];
		return true;
	case KMS_REC_GEN:
		d->generation = (uint8_t)record->operand[0];
		d->has_generation = 1;
		d->pending = true;
		return true;
	case KMS_REC_CACHE:
		d->cache = (uint32_t)record->operand[0];
		d->pending = true;
		return true;
	default: /* KMS_REC_FLAGS */
		d->attributes = (uint32_t)record->operand[0] << KMS_ATTR_SHIFT;
		d->pending = true;
		return true;
	}
}

static void decode_slab(const struct kms_code_record *record, struct kms_event *event)
{
	event->address = record->operand[0] * KMS_PAGE_BYTES;
	event->value = record->operand[1];
	event->size = record->operand[1] * KMS_PAGE_BYTES;
	event->cache = (uint32_t)record->operand[2];
	if (record->code == KMS_REC_SLAB_GROW) {
		event->first_bytes = (uint16_t)record->operand[3];
		event->value2 = record->operand[4];
	}
}

static void decode_event(struct decode *d, const struct kms_code_record *record)
{
	struct kms_event *event = new_event(d, kms_code_forms[record->code].event);

	event->stack = kms_code_node(record);
	(void)kms_code_address(record, &event->address); /* those without one keep 0 */
	switch (record->code) {
	case KMS_REC_ALLOC_FAILED:
		event->size = record->operand[0];
		break;
	case KMS_REC_CHECK:
		event->flags |= d->checks;
		event->size = record->operand[1];
		break;
	case KMS_REC_EVICT:
		event->size = record->operand[1];
		break;
	case KMS_REC_SLAB_GROW:
	case KMS_REC_SLAB_RELEASE:
		decode_slab(record, event);
		break;
	case KMS_REC_CONTEXT:
		event->value = event->thread = d->thread = (uint32_t)record->operand[0];
		event->value2 = event->level = d->level = (uint8_t)record->operand[1];
		break;
	case KMS_REC_LOST:
		d->seq += record->operand[0] - 1;
		event->value = record->operand[0];
		break;
	default: /* an index in a table */
		event->value = record->operand[0];
		break;
	}
}

static enum kms_parse_result decode_code(struct decode *d)
{
	struct kms_code_record record;
	enum kms_parse_result result = kms_code_parse(&d->p, d->end, &record);

	if (result)
		return result;
	if (kms_code_forms[record.code].role == KMS_ROLE_EVENT)
		decode_event(d, &record);
	else if (!decode_state(d, &record))
		return KMS_PARSE_MALFORMED;
	return KMS_PARSE_OK;
}

static inline enum kms_parse_result decode_hot(struct decode *d, unsigned tag, unsigned bytes)
{
	const uint8_t *p = d->p;
	struct site *site = &d->site[p[1]];
	uint32_t node = kms_hot_node(p, tag);
	struct kms_event *event;

	if (bytes > (size_t)(d->end - p))
		return KMS_PARSE_TRUNCATED;
	if (node >= KMS_MAX_NODES ||
	    (kms_hot_size_is_wide(tag) && kms_hot_size(p, tag) > KMS_BLOCK_SIZE_MAX))
		return KMS_PARSE_MALFORMED;
	if (!(tag & KMS_REC_HIT))
		site->node = node;
	if (!(tag & KMS_REC_SAME))
		site->size = kms_hot_size(p, tag);
	d->address = kms_hot_address(p, tag, d->address);
	d->p = p + bytes;
	event = new_event(d, tag & KMS_REC_FORM_MASK);
	event->address = d->address;
	event->size = site->size;
	event->stack = site->node;
	event->flags |= d->checks;
	return KMS_PARSE_OK;
}

_Static_assert((int)KMS_EVENT_ALLOC == (int)KMS_REC_FORM_ALLOC &&
		       (int)KMS_EVENT_FREE == (int)KMS_REC_FORM_FREE,
	       "a hot record's form is its event's kind");

static int decode_all(struct decode *d, const uint8_t *text)
{
	enum kms_parse_result result = KMS_PARSE_OK;

	while (!result && d->p < d->end) {
		unsigned tag = *d->p;
		unsigned bytes = kms_hot_bytes[tag];

		if (d->n_out == d->max_events)
			return -ENOSPC;
		if (!d->pending)
			d->start = (uint32_t)(d->p - text);
		result = bytes ? decode_hot(d, tag, bytes) : decode_code(d);
	}
	return result || d->pending ? -EBADMSG : 0;
}

int kms_block_decode(const struct kms_block *block, struct kms_event *out, size_t max_events,
		     size_t *n_out)
{
	struct kms_block_text text;
	struct decode d;
	int result;

	*n_out = 0;
	if (!kms_block_header_ok(block))
		return -EBADMSG;
	kms_block_text_init(&text, block);
	memset(&d, 0, sizeof(d));
	d.p = text.byte;
	d.end = text.byte + block->fill;
	d.out = out;
	d.max_events = max_events;
	d.address = block->base_address;
	d.seq = block->first_seq;
	d.time_ns = block->base_time_ns;
	d.thread = block->thread;
	d.level = block->level;
	d.checks = block->checks;
	d.cache = KMS_NO_INDEX;
	result = decode_all(&d, text.byte);
	*n_out = d.n_out;
	return result;
}
