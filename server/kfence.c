/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/kfence.h"

#include <errno.h>
#include <stdlib.h>

enum {
	FIRST_ROOM = 256,
	OBJECTS_MAX = 65535, /* CONFIG_KFENCE_NUM_OBJECTS */
};

static int keep(void *arg, const struct kms_view_kfence_object *object)
{
	struct kms_kfence *kfence = arg;

	if (kfence->n == OBJECTS_MAX)
		return 1;
	if (kfence->n == kfence->room) {
		size_t room = kfence->room ? kfence->room * 2 : FIRST_ROOM;
		void *grown = realloc(kfence->object, room * sizeof(*kfence->object));

		if (!grown)
			return 1;
		kfence->object = grown;
		kfence->room = room;
	}
	kfence->object[kfence->n++] = *object;
	return 0;
}

int kms_kfence_read(const struct kms_view *view, uint32_t target, struct kms_kfence *out,
		    struct kms_err *err)
{
	*out = (struct kms_kfence){0};
	if (!view->ops->kfence)
		return kms_err_set(err, -ENOTSUP, "only a Linux kernel has KFENCE");
	return view->ops->kfence(view->ctx, target, &out->state, keep, out, err);
}

void kms_kfence_deinit(struct kms_kfence *kfence)
{
	free(kfence->object);
	*kfence = (struct kms_kfence){0};
}

const char *kms_kfence_state_name(uint32_t state)
{
	static const char *const names[] = {KMS_KFENCE_STATE_NAMES};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}
