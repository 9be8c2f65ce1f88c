/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/kernel_names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/near.h"

enum {
	NEAR_EDITS = 3,     /* a name that differs by more is another name */
	LETTERS_A_EDIT = 3, /* of a short one less may be wrong */
	PREFIX_LETTERS = 3, /* of a name whose beginning was typed */
};

static void set_name(struct kms_view_symbol *out, const char *name)
{
	(void)snprintf(out->name, sizeof(out->name), "%s", name); /* cut */
}

/* The name with the fewest edits; else the shortest that begins so. NULL: none is near. */
static const char *nearest(const struct kms_symbols *symbols, const char *name)
{
	size_t length = strlen(name), shortest = SIZE_MAX;
	size_t most = length / LETTERS_A_EDIT < NEAR_EDITS ? length / LETTERS_A_EDIT : NEAR_EDITS;
	const char *near = NULL, *longer = NULL;

	for (uint32_t i = 0; i < symbols->count; i++) {
		const char *other = symbols->names + symbols->name[i];
		size_t edits = most ? kms_near_distance(name, other, most) : 1;

		if (edits <= most && most) {
			near = other;
			most = edits - 1; /* only what is nearer from now on */
			if (!most)
				return near;
		} else if (length >= PREFIX_LETTERS && strncmp(name, other, length) == 0 &&
			   strlen(other) < shortest) {
			longer = other;
			shortest = strlen(other);
		}
	}
	return near ? near : longer;
}

int kms_kernel_names_find(const struct kms_symbols *symbols, const char *name,
			  struct kms_view_symbol *out, struct kms_err *err)
{
	uint64_t address = kms_symbols_find(symbols, name);
	const char *near;

	*out = (struct kms_view_symbol){.address = address};
	if (address) {
		set_name(out, name);
		return 0;
	}
	near = nearest(symbols, name);
	set_name(out, near ? near : "");
	return kms_err_set(err, -ENOENT, "the kernel has no symbol %.64s", name);
}

int kms_kernel_names_at(const struct kms_symbols *symbols, uint64_t address,
			struct kms_view_symbol *out, struct kms_err *err)
{
	uint64_t offset = 0;
	const char *name = kms_symbols_name(symbols, address, &offset);

	*out = (struct kms_view_symbol){.address = address - offset, .offset = offset};
	if (!name || offset >= KMS_KERNEL_NAMES_FAR)
		return kms_err_set(err, -ENOENT, "no symbol is near 0x%llx",
				   (unsigned long long)address);
	set_name(out, name);
	return 0;
}
