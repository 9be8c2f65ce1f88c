/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/poke.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum {
	WORD_BYTES = 8,
};

static int check(struct kms_guest_space *space, uint64_t address, size_t n, struct kms_err *err)
{
	bool is_writable = false;
	int result;

	if (n > WORD_BYTES || (n & (n - 1)) || !n || address % n)
		return kms_err_set(err, -EINVAL, "1, 2, 4 or 8 bytes, aligned");
	kms_guest_space_forget(space);
	result = kms_guest_is_writable(space, address, &is_writable, err);
	if (!result && !is_writable)
		return kms_err_set(err, -EACCES,
				   "0x%llx is write-protected by the kernel itself (text or "
				   "constants): not written",
				   (unsigned long long)address);
	return result;
}

static int replace(struct kms_guest_space *space, uint64_t address, const void *expected,
		   const void *value, size_t n, struct kms_err *err)
{
	uint8_t now[WORD_BYTES];
	int result = kms_guest_read_virtual(space, address, now, n, err);

	if (!result && memcmp(now, expected, n) != 0)
		return kms_err_set(err, -EAGAIN, "0x%llx holds another value by now",
				   (unsigned long long)address);
	if (!result)
		result = kms_guest_write_virtual(space, address, value, n, err);
	if (!result)
		result = kms_guest_read_virtual(space, address, now, n, err);
	if (!result && memcmp(now, value, n) != 0)
		return kms_err_set(err, -EIO, "0x%llx was changed again at once",
				   (unsigned long long)address);
	return result;
}

int kms_guest_poke(struct kms_guest_space *space, uint64_t address, const void *expected,
		   const void *value, size_t n, struct kms_err *err)
{
	/* one pause for all of it where reading takes one: then nothing comes between */
	int result = kms_guest_memory_hold(space->memory, err), later;

	if (result)
		return result;
	result = check(space, address, n, err);
	if (!result)
		result = replace(space, address, expected, value, n, err);
	later = kms_guest_memory_let_go(space->memory, result ? NULL : err);
	return result ? result : later;
}
