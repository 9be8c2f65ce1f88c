/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/append.h"

#include <stdbool.h>

#include "allocator/port.h"

enum {
	BACK_BYTES = 64 << 10, /* memory is asked for in pieces of this size */
};

void kms_append_open(struct kms_append *append, struct kms_region_header *region,
		     enum kms_section_kind kind)
{
	*append =
		(struct kms_append){.lost = &region->lost_tables, .no_memory = &region->no_memory};
	for (uint32_t i = 0; i < region->sections && i < KMS_MAX_SECTIONS; i++) {
		struct kms_section *section = &region->section[i];

		if (section->kind != (uint32_t)kind)
			continue;
		append->base = (uint8_t *)region + section->offset;
		append->used = &section->used;
		append->entries = section->entries;
		append->entry_bytes = section->entry_bytes;
		return;
	}
}

/* Makes sure that the table's bytes up to @end can be written. */
static bool back(struct kms_append *append, uint64_t end)
{
	uint64_t backed = __atomic_load_n(&append->backed_bytes, __ATOMIC_RELAXED);
	uint64_t limit = append->entries * append->entry_bytes;
	uint64_t wanted;

	if (end <= backed)
		return true;
	wanted = (end + BACK_BYTES - 1) & ~(uint64_t)(BACK_BYTES - 1);
	if (wanted > limit)
		wanted = limit;
	/* Two threads may both do this; whoever stores the smaller value only makes it done twice. */
	if (kms_port_populate(append->base + backed, wanted - backed) < 0) {
		__atomic_add_fetch(append->no_memory, 1, __ATOMIC_RELAXED);
		return false;
	}
	__atomic_store_n(&append->backed_bytes, wanted, __ATOMIC_RELAXED);
	return true;
}

uint32_t kms_append_take(struct kms_append *append, uint32_t count)
{
	uint64_t first = append->entries ? __atomic_load_n(append->used, __ATOMIC_RELAXED) : 0;

	while (first <= append->entries && count <= append->entries - first &&
	       back(append, (first + count) * append->entry_bytes)) {
		if (__atomic_compare_exchange_n(append->used, &first, first + count, true,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return (uint32_t)first;
	}
	__atomic_add_fetch(append->lost, 1, __ATOMIC_RELAXED);
	return KMS_NO_INDEX;
}

uint32_t kms_append_string(struct kms_append *append, const char *text, size_t max_bytes)
{
	struct kms_string_head *head;
	size_t length = 0;
	uint32_t index;

	while (length < max_bytes && text[length])
		length++;
	index = kms_append_take(append, (uint32_t)(1 + (length + 7) / 8));
	if (index == KMS_NO_INDEX)
		return index;
	head = kms_append_entry(append, index);
	__builtin_memcpy(head + 1, text, length);
	/* pairs with the reader's acquire load of ready: the bytes are there */
	__atomic_store_n(&head->ready, (uint32_t)length + 1, __ATOMIC_RELEASE);
	return index;
}
