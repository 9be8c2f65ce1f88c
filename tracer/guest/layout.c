/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where RAM lies: see layout.h. The numbers are those that QEMU 7.2 shows in `info mtree -f`; they
 * have been the same since machine types of 2.x.
 */
#include "tracer/guest/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define GIB        (UINT64_C(1) << 30)
#define FOUR_GIB   (4 * GIB)
#define PAGE_BYTES UINT64_C(4096)
/* more than x86-64 can address: 52 bits */
#define MOST_BYTES (UINT64_C(1) << 52)

/* A machine with less than @limit has all its RAM below the hole, another one @below. */
struct split {
	uint64_t limit;
	uint64_t below;
	bool is_limit_chosen; /* max-ram-below-4g= is the limit; else it only cuts */
};

static const struct split splits[KMS_GUEST_MACHINES] = {
	[KMS_GUEST_MACHINE_UNKNOWN] = {2 * GIB,      0,           false},
	[KMS_GUEST_MACHINE_PC] = {GIB / 2 * 7,  3 * GIB,     true },
	[KMS_GUEST_MACHINE_Q35] = {GIB / 4 * 11, 2 * GIB,     false},
	[KMS_GUEST_MACHINE_MICROVM] = {3 * GIB,      3 * GIB,     false},
	[KMS_GUEST_MACHINE_ISAPC] = {GIB / 2 * 7,  GIB / 2 * 7, false},
};

/* Names of machine types begin so; the first that fits counts. */
static const struct {
	const char *start;
	enum kms_guest_machine machine;
} names[] = {
	{"q35",     KMS_GUEST_MACHINE_Q35    },
        {"pc-q35",  KMS_GUEST_MACHINE_Q35    },
	{"microvm", KMS_GUEST_MACHINE_MICROVM},
        {"isapc",   KMS_GUEST_MACHINE_ISAPC  },
	{"pc",      KMS_GUEST_MACHINE_PC     },
};

enum kms_guest_machine kms_guest_machine_find(const char *name)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(name, names[i].start, strlen(names[i].start)) == 0)
			return names[i].machine;
	}
	return KMS_GUEST_MACHINE_UNKNOWN;
}

int kms_guest_layout_make(struct kms_guest_layout *layout, enum kms_guest_machine machine,
			  uint64_t ram_bytes, uint64_t max_below, struct kms_err *err)
{
	const struct split *split = &splits[machine];
	uint64_t limit = max_below && split->is_limit_chosen ? max_below : split->limit;
	uint64_t below = ram_bytes < limit ? ram_bytes : split->below;

	if (ram_bytes < PAGE_BYTES || ram_bytes > MOST_BYTES || ram_bytes % PAGE_BYTES)
		return kms_err_set(err, -ERANGE, "no machine has %" PRIu64 " bytes of memory",
				   ram_bytes);
	if (below == 0)
		return kms_err_set(err, -EINVAL,
				   "%" PRIu64 " MiB of memory: it is not known where a machine of "
				   "this type has its hole below 4 GiB",
				   ram_bytes >> 20);
	if (max_below >= PAGE_BYTES && max_below % PAGE_BYTES == 0 && below > max_below)
		below = max_below;
	memset(layout, 0, sizeof(*layout));
	layout->segments = 1;
	layout->segment[0].bytes = below;
	if (below < ram_bytes) {
		layout->segments = 2;
		layout->segment[1].address = FOUR_GIB;
		layout->segment[1].bytes = ram_bytes - below;
		layout->segment[1].place = below;
	}
	return 0;
}

static bool is_possible(const struct kms_guest_segment *segment, uint64_t from)
{
	return segment->address % PAGE_BYTES == 0 && segment->bytes % PAGE_BYTES == 0 &&
	       segment->bytes > 0 && segment->bytes <= MOST_BYTES && segment->address >= from &&
	       segment->address <= MOST_BYTES && segment->place <= UINT64_MAX - segment->bytes;
}

int kms_guest_layout_check(const struct kms_guest_layout *layout, struct kms_err *err)
{
	uint64_t from = 0;

	if (layout->segments == 0 || layout->segments > KMS_GUEST_RANGES)
		return kms_err_set(err, -EINVAL, "%zu stretches of guest memory", layout->segments);
	for (size_t i = 0; i < layout->segments; i++) {
		const struct kms_guest_segment *segment = &layout->segment[i];

		if (!is_possible(segment, from))
			return kms_err_set(err, -EINVAL,
					   "guest memory cannot lie at 0x%" PRIx64 ", %" PRIu64
					   " bytes",
					   segment->address, segment->bytes);
		from = segment->address + segment->bytes;
	}
	return 0;
}

int kms_guest_layout_shift(struct kms_guest_layout *layout, uint64_t by, struct kms_err *err)
{
	for (size_t i = 0; i < layout->segments; i++) {
		struct kms_guest_segment *segment = &layout->segment[i];

		if (segment->place > UINT64_MAX - segment->bytes ||
		    by > UINT64_MAX - segment->bytes - segment->place)
			return kms_err_set(err, -ERANGE, "offset 0x%" PRIx64 " is too large", by);
		segment->place += by;
	}
	return 0;
}

uint64_t kms_guest_layout_place(const struct kms_guest_layout *layout, uint64_t address,
				uint64_t *bytes)
{
	size_t i = layout->segments - 1;

	while (i > 0 && layout->segment[i].address > address)
		i--;
	*bytes = layout->segment[i].address + layout->segment[i].bytes - address;
	return layout->segment[i].place + (address - layout->segment[i].address);
}
