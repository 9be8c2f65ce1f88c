/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The last events that changed a live set, with what they changed: enough to take them back, for a
 * child that was forked before them, and to name the last owners of an address.
 */
#include <errno.h>

#include "tracer/model_internal.h"

int kms_model_history_init(struct kms_model *model, uint64_t events)
{
	uint64_t room = 1;

	while (room < events)
		room *= 2;
	model->history.past = kms_memory_alloc(&model->memory, room * sizeof(*model->history.past));
	if (!model->history.past)
		return -ENOMEM;
	model->history.room = room;
	return 0;
}

void kms_model_history_deinit(struct kms_model *model)
{
	kms_memory_free(&model->memory, model->history.past,
			model->history.room * sizeof(*model->history.past));
	model->history = (struct kms_model_history){0};
}

uint64_t kms_model_history_oldest(const struct kms_model_history *history)
{
	return history->next > history->room ? history->next - history->room : 0;
}
