/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading kernel memory by virtual address: see linux_impl.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tracer/guest/linux_impl.h"
#include "tracer/guest/poke.h"

int kms_lx_physical(const struct kms_linux *lx, uint64_t address, size_t bytes, uint64_t *physical)
{
	uint64_t offset = address - lx->linear_base;

	if (lx->linear_bytes && offset < lx->linear_bytes && bytes <= lx->linear_bytes - offset) {
		*physical = offset;
		return 0;
	}
	offset = address - KMS_LX_IMAGE_BASE;
	if (offset < KMS_LX_IMAGE_BYTES && bytes <= KMS_LX_IMAGE_BYTES - offset) {
		*physical = offset + lx->info.phys_base;
		return 0;
	}
	return -ENOENT;
}

int kms_lx_read(struct kms_linux *lx, uint64_t address, void *to, size_t bytes, struct kms_err *err)
{
	uint64_t physical;

	if (!kms_lx_physical(lx, address, bytes, &physical) &&
	    !kms_guest_read(lx->memory, physical, to, bytes, NULL))
		return 0;
	return kms_guest_read_virtual(&lx->space, address, to, bytes, err);
}

int kms_lx_read_word(struct kms_linux *lx, uint64_t address, uint64_t *word, struct kms_err *err)
{
	return kms_lx_read(lx, address, word, sizeof(*word), err);
}

int kms_lx_read_variable(struct kms_linux *lx, const char *name, size_t bytes, uint64_t *value,
			 struct kms_err *err)
{
	uint64_t address = kms_symbols_find(&lx->symbols, name);

	*value = 0;
	if (!address)
		return kms_err_set(err, -ENOENT, "this kernel has no %s", name);
	return kms_lx_read(lx, address, value, bytes, err);
}

int kms_lx_read_member(struct kms_linux *lx, uint64_t address, enum kms_lx_member member,
		       uint64_t *value, struct kms_err *err)
{
	const struct kms_linux_place *place = &lx->layout.place[member];
	uint8_t copy[sizeof(uint64_t)] = {0};
	uint32_t bytes = (place->shift + place->bits + 7U) / 8;
	int rc;

	if (!place->bits || bytes > sizeof(copy))
		return kms_err_set(err, -ENOTSUP, "a member that this kernel does not have");
	rc = kms_lx_read(lx, address + place->byte, copy, bytes, err);
	*value = rc ? 0 : kms_linux_value(place, copy);
	return rc;
}

int kms_linux_memory(struct kms_linux *lx, uint64_t address, void *to, size_t n, size_t *n_read,
		     struct kms_err *err)
{
	*n_read = 0;
	while (*n_read < n) {
		uint64_t at = address + *n_read;
		size_t bytes = KMS_LX_PAGE - (at & (KMS_LX_PAGE - 1));

		if (bytes > n - *n_read)
			bytes = n - *n_read;
		if (at < address || kms_lx_read(lx, at, (char *)to + *n_read, bytes, err))
			break;
		*n_read += bytes;
	}
	return *n_read || !n ? 0 : kms_err_set(err, -EFAULT, "nothing is mapped there");
}

int kms_linux_memory_write(struct kms_linux *lx, uint64_t address, const void *expected,
			   const void *value, size_t n, struct kms_err *err)
{
	int result = kms_guest_poke(&lx->space, address, expected, value, n, err);

	return result == -ENOENT ? kms_err_set(err, -EFAULT, "nothing is mapped there") : result;
}

const struct kms_symbols *kms_linux_symbols(const struct kms_linux *lx)
{
	return &lx->symbols;
}
