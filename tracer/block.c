/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walking a block: every record checked and summed up in one pass. See block.h.
 *
 * The loop has no branch but "is it a hot record that fits" for the common case: the length comes
 * from a table by tag, address and node from unaligned word loads.
 */
#include "tracer/block.h"

#include <errno.h>

#include "tracer/block_parse.h"

/* Where the walk stands, and what it has counted since `from`. */
struct walk {
	const uint8_t *text;
	const uint8_t *p;    /* next record */
	const uint8_t *good; /* behind the last whole event or state record */
	const uint8_t *end;  /* of the records in use */
	uint64_t address;    /* of the last hot record */
	uint64_t seq;        /* of the next event */
	uint64_t time_ns;
	uint64_t min_address;
	uint64_t max_address;
	uint64_t lost;
	uint32_t hot; /* allocs and frees */
	uint32_t frees;
	uint32_t max_node;
	uint32_t by_kind[KMS_EVENT_KINDS]; /* the other kinds */
	uint64_t last_page;
	kms_page_fn *page_fn;
	void *page_arg;
};

static inline void touch(struct walk *w, uint64_t address, bool pages)
{
	w->min_address = address < w->min_address ? address : w->min_address;
	w->max_address = address > w->max_address ? address : w->max_address;
	if (pages && address / KMS_PAGE_BYTES != w->last_page) {
		w->last_page = address / KMS_PAGE_BYTES;
		w->page_fn(w->page_arg, w->last_page);
	}
}

/* One record of form 0. *pending: a prefix waits for its event. */
static enum kms_parse_result walk_code(struct walk *w, bool *pending)
{
	struct kms_code_record record;
	const struct kms_code_form *form;
	enum kms_parse_result result = kms_code_parse(&w->p, w->end, &record);
	uint64_t address;
	uint32_t node;

	if (result)
		return result;
	form = &kms_code_forms[record.code];
	if (form->role == KMS_ROLE_PREFIX) {
		*pending = true;
		return KMS_PARSE_OK;
	}
	if (record.code == KMS_REC_TIME) {
		w->time_ns += record.operand[0];
		if (w->time_ns > KMS_BLOCK_TIME_MAX)
			return KMS_PARSE_MALFORMED;
	}
	if (form->role == KMS_ROLE_EVENT) {
		*pending = false;
		w->by_kind[form->event]++;
		w->seq += record.code == KMS_REC_LOST ? record.operand[0] : 1;
		w->lost += record.code == KMS_REC_LOST ? record.operand[0] : 0;
		node = kms_code_node(&record);
		w->max_node = node > w->max_node ? node : w->max_node;
		if (kms_code_address(&record, &address))
			touch(w, address, w->page_fn != NULL);
	}
	if (!*pending)
		w->good = w->p;
	return KMS_PARSE_OK;
}

/* Events that begin before limit. Inlined twice, so that a walk without pages has no test for them. */
static inline __attribute__((always_inline)) enum kms_parse_result
walk_until(struct walk *w, const uint8_t *limit, bool pages)
{
	enum kms_parse_result result = KMS_PARSE_OK;
	bool pending = false;

	while (!result && (w->p < limit || pending)) {
		const uint8_t *p = w->p;
		unsigned tag = *p;
		unsigned bytes = kms_hot_bytes[tag];
		uint32_t node;

		if (p == w->end)
			return KMS_PARSE_TRUNCATED; /* prefixes without their event */
		if (!bytes) {
			result = walk_code(w, &pending);
			continue;
		}
		if (bytes > (size_t)(w->end - p))
			return KMS_PARSE_TRUNCATED;
		node = kms_hot_node(p, tag);
		if (node >= KMS_MAX_NODES ||
		    (kms_hot_size_is_wide(tag) && kms_hot_size(p, tag) > KMS_BLOCK_SIZE_MAX))
			return KMS_PARSE_MALFORMED;
		w->address = kms_hot_address(p, tag, w->address);
		w->max_node = node > w->max_node ? node : w->max_node;
		w->hot++;
		w->frees += (tag & KMS_REC_FORM_MASK) == KMS_REC_FORM_FREE;
		touch(w, w->address, pages);
		w->p = p + bytes;
		w->good = w->p;
		pending = false;
	}
	return result;
}

static void walk_init(struct walk *w, const struct kms_block *block,
		      const struct kms_block_text *text)
{
	memset(w, 0, sizeof(*w));
	w->text = text->byte;
	w->p = w->good = text->byte;
	w->end = text->byte + block->fill;
	w->address = block->base_address;
	w->seq = block->first_seq;
	w->time_ns = block->base_time_ns;
}

/* What was counted so far was counted by an earlier walk. */
static void walk_forget(struct walk *w)
{
	w->seq += w->hot;
	w->hot = w->frees = w->max_node = 0;
	w->lost = 0;
	memset(w->by_kind, 0, sizeof(w->by_kind));
	w->min_address = UINT64_MAX;
	w->max_address = 0;
	w->last_page = UINT64_MAX;
}

static void walk_report(const struct walk *w, struct kms_block_summary *summary)
{
	summary->bytes = (uint32_t)(w->good - w->text);
	summary->lost = w->lost;
	summary->next_seq = w->seq + w->hot;
	summary->last_time_ns = w->time_ns;
	summary->min_address = w->min_address == UINT64_MAX ? 0 : w->min_address;
	summary->max_address = w->max_address;
	summary->max_node = w->max_node;
	memcpy(summary->by_kind, w->by_kind, sizeof(summary->by_kind));
	summary->by_kind[KMS_EVENT_ALLOC] = w->hot - w->frees;
	summary->by_kind[KMS_EVENT_FREE] = w->frees;
	for (unsigned kind = 0; kind < KMS_EVENT_KINDS; kind++)
		summary->events += summary->by_kind[kind];
}

int kms_block_walk(const struct kms_block *block, uint32_t from_bytes,
		   struct kms_block_summary *summary, kms_page_fn *page_fn, void *page_arg)
{
	struct kms_block_text text;
	struct walk w;
	enum kms_parse_result result;

	memset(summary, 0, sizeof(*summary));
	if (!kms_block_header_ok(block))
		return -EBADMSG;
	kms_block_text_init(&text, block);
	walk_init(&w, block, &text);
	if (from_bytes > block->fill)
		from_bytes = block->fill;
	result = walk_until(&w, text.byte + from_bytes, false);
	walk_forget(&w);
	w.page_fn = page_fn;
	w.page_arg = page_arg;
	if (!result && page_fn)
		result = walk_until(&w, w.end, true);
	else if (!result)
		result = walk_until(&w, w.end, false);
	walk_report(&w, summary);
	summary->truncated = result == KMS_PARSE_TRUNCATED;
	return result ? -EBADMSG : 0;
}
