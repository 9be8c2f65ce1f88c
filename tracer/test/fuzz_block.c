/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a hostile target hands to the tracer: a block of records, and a region's header.
 *
 * Input: 'B', two bytes of offset, then a block (struct kms_block, cut anywhere); or 'R', eight bytes
 * of file size, then a header. Checked beside "does not crash": walking and decoding a block agree on
 * what is good, a walk from any record on counts what is left; and an accepted header has every
 * section inside the file, and what the tracer writes apart from all else.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "tracer/block.h"
#include "tracer/region.h"

static void check_event(const struct kms_block *block, const struct kms_event *event,
			const struct kms_block_summary *sum)
{
	assert(event->kind > 0 && event->kind < KMS_EVENT_KINDS);
	assert(event->offset < block->fill);
	assert(event->time_ns >= block->base_time_ns && event->time_ns <= sum->last_time_ns);
	assert(event->stack < KMS_MAX_NODES && event->level < KMS_LEVELS);
}

static void check_decoded(const struct kms_block *block, const struct kms_event *event, size_t n,
			  const struct kms_block_summary *sum)
{
	struct kms_block_summary own = {.next_seq = block->first_seq};

	for (size_t i = 0; i < n; i++) {
		uint64_t lost = event[i].kind == KMS_EVENT_LOST ? event[i].value : 0;

		check_event(block, &event[i], sum);
		assert(event[i].index == i && event[i].ring_seq == own.next_seq);
		assert(i == 0 || event[i].offset > event[i - 1].offset);
		own.next_seq += lost ? lost : 1;
		own.lost += lost;
		if (event[i].stack > own.max_node)
			own.max_node = event[i].stack;
		own.by_kind[event[i].kind]++;
	}
	assert(n == sum->events && own.next_seq == sum->next_seq && own.lost == sum->lost);
	assert(own.max_node == sum->max_node);
	assert(memcmp(own.by_kind, sum->by_kind, sizeof(own.by_kind)) == 0);
}

static void fuzz_block(const uint8_t *bytes, size_t n, uint32_t from)
{
	static struct kms_event event[KMS_SEQ_PER_BLOCK];
	struct kms_block_summary whole, rest;
	struct kms_block *block = calloc(1, sizeof(*block));
	uint32_t expected = 0;
	size_t n_events;
	int result;

	assert(block);
	memcpy(block, bytes, n < sizeof(*block) ? n : sizeof(*block));
	result = kms_block_walk(block, 0, &whole, NULL, NULL);
	assert(result == 0 || result == -EBADMSG);
	assert(result == 0 || whole.bytes <= block->fill || block->fill > sizeof(block->record));
	assert(result != 0 || (whole.bytes == block->fill && !whole.truncated));
	assert(kms_block_decode(block, event, KMS_SEQ_PER_BLOCK, &n_events) == result);
	assert(n_events == whole.events);
	if (result == 0)
		check_decoded(block, event, n_events, &whole);
	assert(kms_block_walk(block, from, &rest, NULL, NULL) == result);
	for (size_t i = 0; i < n_events; i++)
		expected += event[i].offset >= from;
	assert(result || rest.events == expected);
	assert(result || rest.next_seq == whole.next_seq);
	/* a block cut at the end of its good records is a good block */
	if (whole.events) {
		block->fill = whole.bytes;
		assert(kms_block_walk(block, 0, &rest, NULL, NULL) == 0);
		assert(rest.events == whole.events && rest.next_seq == whole.next_seq);
	}
	free(block);
}

static uint64_t end_of(const struct kms_region_section *section)
{
	return section->offset + section->entries * section->entry_bytes;
}

static void fuzz_region(const uint8_t *bytes, size_t n, uint64_t file_bytes)
{
	static const unsigned ours[] = {KMS_SEC_TRACER, KMS_SEC_REQUEST};
	struct kms_region_section section[KMS_REGION_KINDS];
	struct kms_region_header head;
	struct kms_err err = KMS_ERR_INIT;

	memset(&head, 0, sizeof(head));
	memcpy(&head, bytes, n < sizeof(head) ? n : sizeof(head));
	if (kms_region_check(&head, file_bytes, section, &err)) {
		assert(err.code < 0 && err.text[0]);
		return;
	}
	for (unsigned kind = 1; kind < KMS_REGION_KINDS; kind++) {
		assert(section[kind].entries && section[kind].offset % 8 == 0);
		assert(end_of(&section[kind]) <= file_bytes);
		for (int i = 0; i < 2; i++)
			assert(kind == ours[i] ||
			       section[kind].offset >= end_of(&section[ours[i]]) ||
			       end_of(&section[kind]) <= section[ours[i]].offset);
	}
	assert(section[KMS_SEC_RING].entries == (uint64_t)head.rings * head.blocks_per_ring);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	uint64_t number = 0;

	if (n >= 3 && bytes[0] == 'B')
		fuzz_block(bytes + 3, n - 3, bytes[1] | (uint32_t)bytes[2] << 8);
	if (n >= 9 && bytes[0] == 'R') {
		memcpy(&number, bytes + 1, sizeof(number));
		fuzz_region(bytes + 9, n - 9, number);
	}
	return 0;
}
