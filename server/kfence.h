/* SPDX-License-Identifier: BSD-2-Clause */
/* KFENCE's state with its objects, for the API and the prompt: all at once, as the view may be locked while
 * it gives them. */
#ifndef KMS_SERVER_KFENCE_H
#define KMS_SERVER_KFENCE_H

#include "base/err.h"
#include "schema/snapshot.h"

/** Shape: object is n of them, in order of the pool. */
struct kms_kfence {
	struct kms_view_kfence state;
	struct kms_view_kfence_object *object;
	size_t n, room;
};

/**
 * Owner:  kms_kfence_deinit(), whatever the result
 * Errors: -ENOTSUP: the source or the target's kernel has none; -ENOMEM; as the view's kfence()
 */
int kms_kfence_read(const struct kms_view *view, uint32_t target, struct kms_kfence *out,
		    struct kms_err *err);
void kms_kfence_deinit(struct kms_kfence *kfence);

/** "allocated", "freed", ...; static. */
const char *kms_kfence_state_name(uint32_t state);

#endif
