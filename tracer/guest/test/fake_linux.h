/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Linux kernel's memory, made by a test: page tables, VMCOREINFO, kallsyms, BTF, slab caches with
 * live objects and their owners, a stack depot, a trace ring, a module. Members lie in another order and with
 * other gaps for each seed, so an offset that was not looked up is wrong.
 */
#ifndef KMS_TRACER_GUEST_TEST_FAKE_LINUX_H
#define KMS_TRACER_GUEST_TEST_FAKE_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/guest/test/page_tables.h"
#include "tracer/guest/test/ram.h"
#include "tracer/test/rng.h"

enum {
	FAKE_RAM_BYTES = 8 << 20,
	FAKE_IMAGE_AT = 2 << 20, /* physical address of the kernel's image */
	FAKE_CACHES = 5,
	FAKE_OFFSETS = 128,
	FAKE_EVENTS = 300, /* in the ring, on two CPUs in turn */
	FAKE_STACK_FRAMES = 3,
};

/** A cache as it must be seen. */
struct fake_cache {
	char name[32];
	uint32_t object_bytes, size_bytes, objects_per_slab;
	uint64_t active, objects, slabs;
	uint64_t address;
};

struct fake_offset {
	const char *type, *member;
	uint32_t offset;
};

/** The kernel and what is true of it. */
struct fake_linux {
	struct test_ram ram;
	struct test_tables tables;
	struct rng rng;
	bool is_new; /* as 6.12 has it, else 6.1 */
	bool is_5_level;
	uint64_t kaslr, phys_base, image, linear, vmemmap;
	uint64_t text_next, page_next; /* physical: in the image, behind it */
	uint64_t info_at;              /* physical, of VMCOREINFO's page */
	struct fake_offset offset[FAKE_OFFSETS];
	size_t offsets;
	struct fake_cache cache[FAKE_CACHES];
	uint64_t owned_live; /* objects of the one cache that keeps owners */
	uint64_t leak_site;  /* most of them come from it */
	uint32_t leak_handle;
	uint64_t stack[FAKE_STACK_FRAMES];
	uint64_t ring_cpu[2];
	uint64_t module; /* struct module of "fakemod" */
	uint64_t text;   /* its 4096 bytes of text; fake_init at 0, fake_ioctl at 0x40 */
	uint64_t random;
	uint8_t *spare_name, *spare_type; /* a byte of kallsyms, of BTF that nobody needs */
};

/** Makes one. Seeds with bit 0 are new kernels, with bit 1 have 5 levels of page tables. */
struct fake_linux *fake_linux_make(uint64_t seed);

void fake_linux_drop(struct fake_linux *fake);

/** Writes a VMCOREINFO for a kernel of that release at a page of RAM. */
void fake_linux_write_info(struct fake_linux *fake, uint64_t at, const char *release);

/** Offset of a member in this seed's layout. */
uint32_t fake_offset_of(const struct fake_linux *fake, const char *type, const char *member);

#endif
