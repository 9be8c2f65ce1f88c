/* SPDX-License-Identifier: BSD-2-Clause */
/* Stacks of a request: see stacks.h. */
#include "server/stacks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
	FIRST_SLOTS = 64,
	ERROR_BYTES = KMS_ERR_TEXT_BYTES,
};

struct kms_stack_slot {
	uint64_t id; /* 0: free */
	struct entry *entry;
};

/* Apart from the slots, so that it stays where it is when they grow. */
struct entry {
	struct kms_view_stack stack;
	bool have;
	char error[ERROR_BYTES];
};

static const struct kms_view_stack no_stack;

void kms_stacks_init(struct kms_stacks *stacks, const struct kms_view *view)
{
	memset(stacks, 0, sizeof(*stacks));
	stacks->view = view;
}

void kms_stacks_deinit(struct kms_stacks *stacks)
{
	const struct kms_view *view = stacks->view;
	struct entry *entry;

	for (size_t i = 0; i < stacks->n_slots; i++) {
		entry = stacks->slot[i].entry;
		if (entry && entry->have)
			view->ops->stack_free(view->ctx, &entry->stack);
		free(entry);
	}
	free(stacks->slot);
	kms_stacks_init(stacks, view);
}

/* The slot of an id, or the free one where it belongs. There is always a free one. */
static struct kms_stack_slot *find(struct kms_stack_slot *slot, size_t n_slots, uint64_t id)
{
	size_t i = kms_hash_u64(id) & (n_slots - 1);

	while (slot[i].id && slot[i].id != id)
		i = (i + 1) & (n_slots - 1);
	return &slot[i];
}

/* Keeps at least half of the slots free. */
static bool make_room(struct kms_stacks *stacks)
{
	size_t n_slots = stacks->n_slots ? stacks->n_slots * 2 : FIRST_SLOTS;
	struct kms_stack_slot *grown;

	if (stacks->used < stacks->n_slots / 2)
		return true;
	grown = calloc(n_slots, sizeof(*grown));
	if (!grown)
		return false;
	for (size_t i = 0; i < stacks->n_slots; i++)
		if (stacks->slot[i].id)
			*find(grown, n_slots, stacks->slot[i].id) = stacks->slot[i];
	free(stacks->slot);
	stacks->slot = grown;
	stacks->n_slots = n_slots;
	return true;
}

static struct entry *load(struct kms_stacks *stacks, uint64_t id)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	struct kms_err err = KMS_ERR_INIT;

	if (!entry)
		return NULL;
	entry->have = stacks->view->ops->stack(stacks->view->ctx, id, &entry->stack, &err) == 0;
	if (!entry->have) {
		memset(&entry->stack, 0, sizeof(entry->stack));
		snprintf(entry->error, sizeof(entry->error), "%s",
			 err.text[0] ? err.text : "not available");
	}
	return entry;
}

const struct kms_view_stack *kms_stacks_get(struct kms_stacks *stacks, uint64_t stack_id,
					    const char **error)
{
	struct kms_stack_slot *slot;
	const char *why = "out of memory";
	const struct kms_view_stack *stack = &no_stack;

	if (stack_id == 0) {
		why = NULL;
	} else if (make_room(stacks)) {
		slot = find(stacks->slot, stacks->n_slots, stack_id);
		if (!slot->id) {
			slot->entry = load(stacks, stack_id);
			slot->id = slot->entry ? stack_id : 0;
			stacks->used += slot->entry != NULL;
		}
		if (slot->entry) {
			stack = &slot->entry->stack;
			why = slot->entry->have ? NULL : slot->entry->error;
		}
	}
	if (error)
		*error = why;
	return stack;
}
