/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory, whatever stands behind it: see memory.h. Addresses are checked here, once for all
 * back ends.
 */
#include "tracer/guest/memory.h"

#include <errno.h>
#include <inttypes.h>

static bool is_in(const struct kms_guest_range *range, uint64_t address, uint64_t bytes)
{
	return address >= range->address && bytes <= range->bytes &&
	       address - range->address <= range->bytes - bytes;
}

bool kms_guest_memory_has(const struct kms_guest_memory *memory, uint64_t address, uint64_t bytes)
{
	for (size_t i = 0; i < memory->ranges; i++) {
		if (is_in(&memory->range[i], address, bytes))
			return true;
	}
	return false;
}

static int check(const struct kms_guest_memory *memory, uint64_t address, uint64_t bytes,
		 struct kms_err *err)
{
	if (kms_guest_memory_has(memory, address, bytes))
		return 0;
	return kms_err_set(err, -ERANGE,
			   "0x%" PRIx64 ", %" PRIu64 " bytes: not all of it is memory of the guest",
			   address, bytes);
}

int kms_guest_read_pieces(struct kms_guest_memory *memory, const struct kms_guest_piece *pieces,
			  size_t count, struct kms_err *err)
{
	size_t first = 0;
	int result;

	for (size_t i = 0; i < count; i++) {
		result = check(memory, pieces[i].address, pieces[i].bytes, err);
		if (result)
			return result;
	}
	/* a piece of no bytes parts the others */
	for (size_t i = 0; i <= count; i++) {
		if (i < count && pieces[i].bytes)
			continue;
		result = i > first ? memory->ops->read(memory, pieces + first, i - first, err) : 0;
		if (result)
			return result;
		first = i + 1;
	}
	return 0;
}

int kms_guest_read(struct kms_guest_memory *memory, uint64_t address, void *to, size_t bytes,
		   struct kms_err *err)
{
	struct kms_guest_piece piece = {.address = address, .to = to, .bytes = bytes};

	return kms_guest_read_pieces(memory, &piece, 1, err);
}

int kms_guest_write(struct kms_guest_memory *memory, uint64_t address, const void *from,
		    size_t bytes, struct kms_err *err)
{
	int result = check(memory, address, bytes, err);

	if (result)
		return result;
	if (!memory->ops->write)
		return kms_err_set(err, -EROFS, "guest memory of this kind (%s) cannot be written",
				   memory->ops->name);
	return bytes ? memory->ops->write(memory, address, from, bytes, err) : 0;
}

int kms_guest_memory_hold(struct kms_guest_memory *memory, struct kms_err *err)
{
	int result = 0;

	if (memory->holds == 0 && memory->ops->hold)
		result = memory->ops->hold(memory, err);
	if (result == 0)
		memory->holds++;
	return result;
}

int kms_guest_memory_let_go(struct kms_guest_memory *memory, struct kms_err *err)
{
	if (memory->holds == 0)
		return 0;
	memory->holds--;
	if (memory->holds > 0 || !memory->ops->let_go)
		return 0;
	return memory->ops->let_go(memory, err);
}

uint64_t kms_guest_memory_bytes(const struct kms_guest_memory *memory)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < memory->ranges; i++)
		sum += memory->range[i].bytes;
	return sum;
}

void kms_guest_memory_close(struct kms_guest_memory *memory)
{
	if (memory)
		memory->ops->close(memory);
}
