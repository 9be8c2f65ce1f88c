/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Findings: copies of the regions' fault tables with every field in range, and the owners that
 * their addresses had as far as they are remembered here. The whole list comes from the file.
 */
#include <errno.h>
#include <string.h>

#include "schema/spans.h"
#include "tracer/model_internal.h"
#include "tracer/stack_id.h"

enum {
	OWNERS_MAX = 256, /* of one finding */
	LOOKUPS_MAX = 64, /* findings looked up after one batch */
};

static uint32_t at_most(uint32_t value, uint32_t max, uint32_t otherwise)
{
	return value <= max ? value : otherwise;
}

/* Brings foreign fields into range: what is not becomes "unknown". */
static void fault_check(struct kms_fault *raw)
{
	raw->kind = at_most(raw->kind, KMS_FAULT_KINDS - 1, KMS_FAULT_NONE);
	raw->access = at_most(raw->access, KMS_ACCESS_CHECK, KMS_ACCESS_NONE);
	raw->slot = at_most(raw->slot, KMS_MAX_SLOTS - 1, KMS_NO_INDEX);
	raw->cache = at_most(raw->cache, KMS_MAX_CACHES - 1, KMS_NO_INDEX);
	raw->argument_cache = at_most(raw->argument_cache, KMS_MAX_CACHES - 1, KMS_NO_INDEX);
	raw->thread = at_most(raw->thread, KMS_MAX_THREADS - 1, KMS_NO_INDEX);
	raw->level = at_most(raw->level, KMS_LEVELS - 1, KMS_LEVEL_TASK);
	raw->stack = at_most(raw->stack, KMS_MAX_NODES - 1, 0);
	raw->alloc_stack = at_most(raw->alloc_stack, KMS_MAX_NODES - 1, 0);
	raw->free_stack = at_most(raw->free_stack, KMS_MAX_NODES - 1, 0);
	raw->block_state = at_most(raw->block_state, KMS_BLOCK_SPENT, KMS_BLOCK_NEVER);
	raw->policy = at_most(raw->policy, 2, 0);
	raw->ring = at_most(raw->ring, KMS_MAX_RINGS - 1, KMS_NO_INDEX);
	raw->bytes_count = at_most(raw->bytes_count, sizeof(raw->bytes), 0);
	for (unsigned i = 0; i < 2; i++)
		raw->neighbour_state[i] =
			at_most(raw->neighbour_state[i], KMS_BLOCK_SPENT, KMS_BLOCK_NEVER);
	raw->text[sizeof(raw->text) - 1] = '\0';
	memset(raw->pad, 0, sizeof(raw->pad));
}

/* The target of a slot of an image; of several the last, since slots are used again. 0 none. */
static uint32_t target_of_slot(const struct kms_model *model, uint32_t image, uint32_t slot,
			       uint64_t time_ns)
{
	uint32_t found = 0;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		if (target && target->image == image && target->slot == slot &&
		    (!found || target->slot_copy.fork_ns <= time_ns))
			found = id;
	}
	return found;
}

static struct kms_model_fault *fault_find(struct kms_model *model, uint32_t image, uint32_t index)
{
	for (size_t i = 0; i < model->n_faults; i++)
		if (model->fault[i].image == image && model->fault[i].index == index)
			return &model->fault[i];
	return NULL;
}

static int fault_add(struct kms_model *model, uint32_t image, uint32_t index,
		     const struct kms_fault *raw)
{
	struct kms_model_fault *fault = fault_find(model, image, index);

	if (!fault) {
		if (kms_memory_reserve(&model->memory, &model->fault, &model->fault_room,
				       model->n_faults + 1, sizeof(*fault)))
			return -ENOMEM;
		fault = &model->fault[model->n_faults++];
		*fault = (struct kms_model_fault){.image = image, .index = index};
		fault->id = (uint32_t)model->n_faults;
	}
	fault->raw = *raw;
	fault_check(&fault->raw);
	fault->target = target_of_slot(model, image, fault->raw.slot, fault->raw.time_ns);
	model->changes++;
	return 0;
}

int kms_model_faults_add(struct kms_model *model, const struct kms_batch_table *table)
{
	int result = 0;

	if (table->entry_bytes != sizeof(struct kms_fault) || table->first >= KMS_MAX_FAULTS)
		return -EINVAL;
	for (uint32_t i = 0; i < table->count && table->first + i < KMS_MAX_FAULTS; i++) {
		struct kms_fault raw;

		memcpy(&raw, table->data + (size_t)i * sizeof(raw), sizeof(raw));
		if (raw.ready && fault_add(model, table->image, table->first + i, &raw))
			result = -ENOMEM;
	}
	return result;
}

static bool covers(uint64_t begin, uint64_t bytes, const struct kms_fault *raw)
{
	uint64_t address = raw->block ? raw->block : raw->address;

	return address - begin < (bytes ? bytes : 1) || raw->address - begin < (bytes ? bytes : 1);
}

/* The target whose past an event is: a forked child's address had its parent's owners. */
static bool is_ancestor(const struct kms_model *model, uint32_t id, uint32_t of)
{
	for (unsigned steps = 0; of && steps < KMS_MAX_SLOTS; steps++) {
		const struct kms_model_target *target = kms_model_target_find(model, of);

		if (of == id)
			return true;
		of = target ? target->parent : 0;
	}
	return false;
}

static void owner_from_past(const struct kms_model *model, const struct kms_model_image *image,
			    const struct kms_past *past, struct kms_view_owner *owner)
{
	*owner = (struct kms_view_owner){
		.alloc_ns = kms_model_run_time(model, image, past->alloc_ns),
		.free_ns = kms_model_run_time(model, image, past->time_ns),
		.bytes = (uint64_t)past->size_high << 32 | past->size_low,
		.alloc_stack_id = kms_stack_id(image->id, past->alloc_stack),
		.free_stack_id = kms_stack_id(image->id, past->stack),
		.thread = past->thread,
	};
}

/* The block that lives at the finding's address now. */
static size_t owner_now(const struct kms_model *model, const struct kms_model_image *image,
			const struct kms_model_fault *fault, struct kms_view_owner *owner)
{
	const struct kms_model_target *target = kms_model_target_find(model, fault->target);
	uint64_t begin = fault->raw.block ? fault->raw.block : fault->raw.address;
	const struct kms_live *live = target ? kms_live_find(&target->set, begin) : NULL;

	if (!live || !(live->low_bits & KMS_LIVE_LIVE))
		return 0;
	*owner = (struct kms_view_owner){
		.alloc_ns = kms_model_run_time(model, image, kms_live_time(live)),
		.bytes = kms_live_size(live),
		.alloc_stack_id = kms_stack_id(image->id, model->sites.site[live->site].node),
		.thread = live->thread,
	};
	return 1;
}

static int fault_owners(struct kms_model *model, struct kms_model_fault *fault)
{
	const struct kms_model_history *history = &model->history;
	const struct kms_model_image *image = kms_model_image_find(model, fault->image);
	uint64_t oldest = kms_model_history_oldest(history);
	struct kms_view_owner found[OWNERS_MAX];
	size_t n = owner_now(model, image, fault, found);

	for (uint64_t number = history->next; number > oldest && n < OWNERS_MAX;) {
		const struct kms_past *past = kms_model_history_at(history, --number);

		if (past->kind == KMS_EVENT_FREE &&
		    covers(past->address, (uint64_t)past->size_high << 32 | past->size_low,
			   &fault->raw) &&
		    is_ancestor(model, past->target, fault->target))
			owner_from_past(model, image, past, &found[n++]);
	}
	fault->owner = kms_memory_alloc(&model->memory, (n ? n : 1) * sizeof(*found));
	if (!fault->owner)
		return -ENOMEM;
	memcpy(fault->owner, found, n * sizeof(*found));
	fault->n_owners = n;
	return 0;
}

void kms_model_faults_owners(struct kms_model *model)
{
	unsigned looked_up = 0;

	while (model->faults_looked_up < model->n_faults && looked_up++ < LOOKUPS_MAX)
		if (fault_owners(model, &model->fault[model->faults_looked_up++]))
			return;
}

void kms_model_faults_deinit(struct kms_model *model)
{
	for (size_t i = 0; i < model->n_faults; i++) {
		struct kms_model_fault *fault = &model->fault[i];
		size_t n = fault->n_owners ? fault->n_owners : 1;

		kms_memory_free(&model->memory, fault->owner, n * sizeof(*fault->owner));
	}
	kms_memory_free(&model->memory, model->fault, model->fault_room * sizeof(*model->fault));
	model->fault = NULL;
	model->n_faults = 0;
}
