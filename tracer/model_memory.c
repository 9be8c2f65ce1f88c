/* SPDX-License-Identifier: BSD-2-Clause */
/* Counted memory: see model_memory.h. */
#include "tracer/model_memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_ROOM = 16,
};

void *kms_memory_alloc(struct kms_memory *memory, size_t bytes)
{
	void *p = NULL;

	if (bytes <= memory->limit_bytes && memory->used_bytes <= memory->limit_bytes - bytes)
		p = calloc(1, bytes);
	if (p)
		memory->used_bytes += bytes;
	else
		memory->refused++;
	return p;
}

void kms_memory_free(struct kms_memory *memory, void *p, size_t bytes)
{
	if (!p)
		return;
	assert(memory->used_bytes >= bytes);
	memory->used_bytes -= bytes;
	free(p);
}

int kms_memory_reserve(struct kms_memory *memory, void *array, size_t *room, size_t want,
		       size_t element_bytes)
{
	size_t new_room = *room ? *room : FIRST_ROOM;
	void *old;
	void *new;

	if (want <= *room)
		return 0;
	while (new_room < want)
		new_room *= 2;
	new = kms_memory_alloc(memory, new_room * element_bytes);
	if (!new)
		return -ENOMEM;
	memcpy(&old, array, sizeof(old)); /* the address of a pointer of any type */
	if (old)
		memcpy(new, old, *room * element_bytes);
	kms_memory_free(memory, old, *room * element_bytes);
	memcpy(array, &new, sizeof(new));
	*room = new_room;
	return 0;
}
