/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See encode.h.
 */
#include "tracer/test/encode.h"

#include <string.h>

/* One event with its prefixes, not yet in the block. */
struct piece {
	uint8_t byte[160];
	uint32_t n;
};

static void byte(struct piece *p, unsigned value)
{
	p->byte[p->n++] = (uint8_t)value;
}

static void little(struct piece *p, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		byte(p, (unsigned)(value >> (8 * i)) & 0xff);
}

static void varint(struct piece *p, uint64_t value)
{
	while (value > 0x7f) {
		byte(p, 0x80 | (unsigned)(value & 0x7f));
		value >>= 7;
	}
	byte(p, (unsigned)value);
}

static void code(struct piece *p, unsigned number)
{
	byte(p, number << KMS_REC_CODE_SHIFT);
}

/* 0 to 3 for 1, 2, 4, 8 bytes */
static unsigned size_class(uint64_t size)
{
	if (size <= 0xff)
		return 0;
	if (size <= 0xffff)
		return 1;
	return size <= 0xffffffff ? 2 : 3;
}

static unsigned delta_class(int64_t units)
{
	if (units >= -128 && units <= 127)
		return 0;
	if (units >= -32768 && units <= 32767)
		return 1;
	return units >= INT32_MIN && units <= INT32_MAX ? 2 : 3;
}

static void hot(struct enc_writer *w, struct piece *p, const struct enc_event *e)
{
	unsigned entry = (e->stack * 31 + (unsigned)e->size * 7) & 255;
	struct enc_site *site = &w->site[entry];
	bool hit = site->node == e->stack;
	bool same = hit && site->size == e->size;
	int64_t units = (int64_t)(e->address - (w->address & ~7ull)) / 8;
	unsigned a = e->address & 7 ? 3 : delta_class(units);
	unsigned s = size_class(e->size);
	unsigned tag = e->kind == KMS_EVENT_ALLOC ? KMS_REC_FORM_ALLOC : KMS_REC_FORM_FREE;

	tag |= hit ? KMS_REC_HIT : 0;
	tag |= same ? KMS_REC_SAME : s << KMS_REC_SIZE_SHIFT;
	byte(p, tag | a << KMS_REC_ADDR_SHIFT);
	byte(p, entry);
	if (!hit)
		little(p, e->stack, 3);
	little(p, a == 3 ? e->address : (uint64_t)units, 1u << a);
	if (!same)
		little(p, e->size, 1u << s);
	*site = (struct enc_site){e->stack, e->size};
	w->address = e->address;
}

static void other(struct piece *p, const struct enc_event *e)
{
	static const uint8_t codes[KMS_EVENT_KINDS] = {
		[KMS_EVENT_ALLOC_FAILED] = KMS_REC_ALLOC_FAILED,
		[KMS_EVENT_CHECK] = KMS_REC_CHECK,
		[KMS_EVENT_EVICT] = KMS_REC_EVICT,
		[KMS_EVENT_SLAB_GROW] = KMS_REC_SLAB_GROW,
		[KMS_EVENT_SLAB_RELEASE] = KMS_REC_SLAB_RELEASE,
		[KMS_EVENT_FAULT] = KMS_REC_FAULT,
		[KMS_EVENT_MAP] = KMS_REC_MAP,
		[KMS_EVENT_THREAD] = KMS_REC_THREAD,
		[KMS_EVENT_FORK] = KMS_REC_FORK,
		[KMS_EVENT_EXEC] = KMS_REC_EXEC,
		[KMS_EVENT_MARK] = KMS_REC_MARK,
		[KMS_EVENT_CONTEXT] = KMS_REC_CONTEXT,
		[KMS_EVENT_LOST] = KMS_REC_LOST,
	};

	code(p, codes[e->kind]);
	switch (e->kind) {
	case KMS_EVENT_ALLOC_FAILED:
		varint(p, e->size);
		varint(p, e->stack);
		break;
	case KMS_EVENT_CHECK:
		varint(p, e->address);
		varint(p, e->size);
		varint(p, e->stack);
		break;
	case KMS_EVENT_EVICT:
		varint(p, e->address);
		varint(p, e->size);
		break;
	case KMS_EVENT_SLAB_GROW:
	case KMS_EVENT_SLAB_RELEASE:
		varint(p, e->address >> 12);
		varint(p, e->value);
		varint(p, e->cache);
		if (e->kind == KMS_EVENT_SLAB_GROW) {
			varint(p, e->first);
			varint(p, e->stride);
		}
		break;
	case KMS_EVENT_CONTEXT:
		varint(p, e->thread);
		varint(p, e->level);
		break;
	default:
		varint(p, e->value);
		break;
	}
}

void enc_begin(struct enc_writer *w, struct kms_block *block, const struct enc_open *open)
{
	memset(w, 0, sizeof(*w));
	w->block = block;
	w->address = open->base_address;
	w->time_ns = open->time_ns;
	w->seq = open->first_seq;
	w->checks = open->checks;
	__atomic_store_n(&block->number, 0, __ATOMIC_RELAXED);
	block->first_seq = open->first_seq;
	block->base_time_ns = open->time_ns;
	block->base_address = open->base_address;
	__atomic_store_n(&block->fill, 0, __ATOMIC_RELAXED);
	block->slot = open->slot;
	block->thread = open->thread;
	block->ring = open->ring;
	block->level = open->level;
	block->checks = open->checks;
	/* pairs with the reader's load of number: the header above becomes visible */
	__atomic_store_n(&block->number, open->number, __ATOMIC_RELEASE);
}

bool enc_put_bytes(struct enc_writer *w, const uint8_t *bytes, uint32_t n)
{
	if (n > sizeof(w->block->record) - w->fill)
		return false;
	memcpy(w->block->record + w->fill, bytes, n);
	w->fill += n;
	/* pairs with the reader's load of fill: the record becomes visible */
	__atomic_store_n(&w->block->fill, w->fill, __ATOMIC_RELEASE);
	return true;
}

bool enc_put(struct enc_writer *w, const struct enc_event *e)
{
	struct piece p = {.n = 0};

	if (sizeof(w->block->record) - w->fill < 96)
		return false; /* the longest event with everything before it */
	if (e->stamp) {
		code(&p, KMS_REC_TIME);
		varint(&p, e->time_ns - w->time_ns);
		w->time_ns = e->time_ns;
	}
	if (e->checks != w->checks) {
		code(&p, KMS_REC_CHECKS);
		byte(&p, e->checks);
		w->checks = e->checks;
	}
	if (e->session != w->session) {
		code(&p, KMS_REC_RESUME);
		byte(&p, e->session);
		w->session = e->session;
	}
	if (e->has_generation) {
		code(&p, KMS_REC_GEN);
		byte(&p, e->generation);
	}
	if (e->attributes) {
		code(&p, KMS_REC_FLAGS);
		byte(&p, e->attributes >> KMS_ATTR_SHIFT);
	}
	if (e->told) {
		code(&p, KMS_REC_CACHE);
		byte(&p, e->told - 1);
	}
	if (e->kind == KMS_EVENT_ALLOC || e->kind == KMS_EVENT_FREE)
		hot(w, &p, e);
	else
		other(&p, e);
	w->seq += e->kind == KMS_EVENT_LOST ? e->value : 1;
	return enc_put_bytes(w, p.byte, p.n);
}
