/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values for processes that appear. A forked child has its parent's values as they were in effect at
 * the fork; what was asked of the parent and not yet taken up by then is asked of the child. A new
 * program begins with its environment's values; what was asked of all is asked of it.
 */
#include "tracer/image_impl.h"

/* What was last asked of the parent, if anything was. */
static int from_parent(struct kms_image *image, uint32_t parent, unsigned variable, uint64_t *value,
		       bool *is_asked)
{
	uint64_t seq;

	*is_asked = false;
	if (parent >= image->n_slots || !image->slot[parent].target)
		return 0;
	return kms_control_requested(&image->control, parent, variable, value, is_asked, &seq);
}

int kms_image_slot_inherit(struct kms_image *image, uint32_t slot, uint32_t parent_slot)
{
	const struct kms_wanted *wanted = &image->env->wanted;
	int result = kms_control_greet(&image->control, slot);

	for (unsigned i = 0; !result && i < KMS_VAR_COMMANDS; i++) {
		uint64_t value = 0, seq;
		bool is_asked;

		result = from_parent(image, parent_slot, i, &value, &is_asked);
		/* a guest that was reset is as its own start values have it */
		if (!is_asked && wanted->is_set[i] && !image->mirror) {
			value = wanted->value[i];
			is_asked = true;
		}
		if (!result && is_asked)
			result = kms_control_request(&image->control, slot, i, value, &seq);
	}
	return result;
}
