/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Findings: copies of the regions' fault tables with every field in range. Who owned their addresses:
 * model_owners.c.
 */
#include <errno.h>
#include <string.h>

#include "schema/spans.h"
#include "tracer/model_internal.h"

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
		*fault = (struct kms_model_fault){.image = image,
						  .index = index,
						  .seen_batch = model->batches,
						  .seen_ns = model->batch_ns,
						  .until_ns = UINT64_MAX};
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

void kms_model_faults_deinit(struct kms_model *model)
{
	for (size_t i = 0; i < model->n_faults; i++) {
		struct kms_model_fault *fault = &model->fault[i];

		kms_memory_free(&model->memory, fault->owner,
				fault->owner_room * sizeof(*fault->owner));
	}
	kms_memory_free(&model->memory, model->fault, model->fault_room * sizeof(*model->fault));
	model->fault = NULL;
	model->n_faults = 0;
}
