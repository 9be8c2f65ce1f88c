/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole stacks from the kernel's stack depot: a handle names a pool and an offset in it, where a
 * record has the frames. How the handle is cut into the two differs between kernels, and is probed.
 */
#include <errno.h>
#include <string.h>

#include "tracer/guest/linux_impl.h"

enum {
	OFFSET_UNIT = 16,      /* DEPOT_STACK_ALIGN is 4: offsets count 16 bytes */
	MAX_POOLS = 1 << 17,   /* of any kernel's number of bits */
	POOL_BYTES = 16 << 10, /* DEPOT_POOL_ORDER 2 */
};

/* Number of the pool that a handle names, from 0; false: none. */
static bool pool_of(const struct kms_linux *lx, const uint32_t *handle, uint64_t *pool)
{
	static const struct {
		enum kms_lx_member member;
		uint64_t first;
	} names[] = {
		{KMS_LX_HANDLE_POOL_1_AT, 1},
		{KMS_LX_HANDLE_POOL_AT,   0},
		{KMS_LX_HANDLE_SLAB_AT,   0},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!kms_linux_has_member(&lx->layout, names[i].member))
			continue;
		*pool = kms_lx_member(lx, names[i].member, handle);
		if (*pool < names[i].first)
			return false;
		*pool -= names[i].first;
		return *pool < MAX_POOLS;
	}
	return false;
}

/* Without the bits that who saves a stack may use for himself. */
static uint32_t handle_plain(const struct kms_linux *lx, uint32_t handle)
{
	const struct kms_linux_place *extra = &lx->layout.place[KMS_LX_HANDLE_EXTRA_AT];
	unsigned shift = extra->byte * 8 + extra->shift;

	if (!extra->bits || shift + extra->bits > 32)
		return handle;
	return handle & ~(uint32_t)(((UINT64_C(1) << extra->bits) - 1) << shift);
}

/* Address of the table of pools: an array, in some kernels a pointer to one. */
static int pools_find(struct kms_linux *lx, uint64_t pool, uint64_t *address, struct kms_err *err)
{
	uint64_t pools = kms_symbols_find(&lx->symbols, "stack_pools");

	if (!pools)
		pools = kms_symbols_find(&lx->symbols, "stack_slabs");
	if (!pools)
		return kms_err_set(err, -ENOTSUP, "this kernel has no stack depot");
	if (kms_symbols_end(&lx->symbols, pools) == pools + sizeof(uint64_t)) {
		int rc = kms_lx_read_word(lx, pools, &pools, err);

		if (rc)
			return rc;
	}
	return kms_lx_read_word(lx, pools + pool * sizeof(uint64_t), address, err);
}

int kms_linux_stack(struct kms_linux *lx, uint32_t handle, uint64_t *frames, struct kms_err *err)
{
	uint8_t copy[256];
	uint32_t entries = kms_lx_offset(lx, KMS_LX_RECORD_ENTRIES_AT);
	uint32_t reach =
		kms_linux_reach(&lx->layout, KMS_LX_RECORD_SIZE_AT, KMS_LX_RECORD_HANDLE_AT);
	uint64_t pool, record = 0, offset, size;
	int rc;

	if (!kms_linux_layout_has(&lx->layout, KMS_LX_FOR_DEPOT) || reach > sizeof(copy))
		return kms_err_set(err, -ENOTSUP, "this kernel has no stack depot");
	offset = kms_lx_member(lx, KMS_LX_HANDLE_OFFSET_AT, &handle) * OFFSET_UNIT;
	if (!handle || !pool_of(lx, &handle, &pool) || offset >= POOL_BYTES)
		return kms_err_set(err, -ENOENT, "no stack %#x", handle);
	rc = pools_find(lx, pool, &record, err);
	if (rc)
		return rc;
	if (!record)
		return kms_err_set(err, -ENOENT, "no stack %#x", handle);
	record += offset;
	rc = kms_lx_read(lx, record, copy, reach, err);
	if (rc)
		return rc;
	size = kms_lx_member(lx, KMS_LX_RECORD_SIZE_AT, copy);
	if (handle_plain(lx, (uint32_t)kms_lx_member(lx, KMS_LX_RECORD_HANDLE_AT, copy)) !=
		    handle_plain(lx, handle) ||
	    !size)
		return kms_err_set(err, -EBADMSG, "the record of stack %#x is another's", handle);
	if (size > KMS_LINUX_MAX_FRAMES)
		size = KMS_LINUX_MAX_FRAMES;
	rc = kms_lx_read(lx, record + entries, frames, size * sizeof(*frames), err);
	return rc ? rc : (int)size;
}
