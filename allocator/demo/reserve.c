/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emergency reserve: small blocks for the moment when memory runs out.
 *
 * A callout replaces its blocks by fresh ones in turn. It also keeps the books even: a bug that
 * leaves a block allocated makes the reserve give one up, so that the number of frees stays the same.
 */
#include "allocator/demo/kernel.h"

#include "allocator/kmem.h"

static void refresh(struct kms_kernel *kernel, void *argument)
{
	uint64_t slot = kms_rng_below(&kernel->rng, KMS_RESERVE_BLOCKS);

	(void)argument;
	if (kernel->reserve[slot]) {
		void *fresh = kmem_intr_alloc(KMS_RESERVE_BYTES, KM_NOSLEEP);

		if (fresh) {
			kmem_intr_free(kernel->reserve[slot], KMS_RESERVE_BYTES);
			kernel->reserve[slot] = fresh;
		}
	}
	kms_callout_schedule(kernel, &kernel->reserve_callout, KMS_RESERVE_REFRESH_TICKS);
}

void kms_reserve_fill(struct kms_kernel *kernel)
{
	for (int i = 0; i < KMS_RESERVE_BLOCKS; i++) {
		if (!kernel->reserve[i])
			kernel->reserve[i] = kmem_alloc(KMS_RESERVE_BYTES, KM_SLEEP);
	}
	kernel->reserve_callout.function = refresh;
	if (!kernel->reserve_callout.pending)
		kms_callout_schedule(kernel, &kernel->reserve_callout, KMS_RESERVE_REFRESH_TICKS);
}

void kms_reserve_release(struct kms_kernel *kernel, uint64_t blocks)
{
	kms_callout_stop(kernel, &kernel->reserve_callout);
	for (int i = 0; i < KMS_RESERVE_BLOCKS && blocks; i++) {
		if (!kernel->reserve[i])
			continue;
		kmem_free(kernel->reserve[i], KMS_RESERVE_BYTES);
		kernel->reserve[i] = NULL;
		blocks--;
	}
}
