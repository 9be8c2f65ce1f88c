/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address translation over arbitrary page tables. Input: a byte for the mode, eight of an address,
 * eight of the root, then guest memory, of which what is missing is zero. A walk has to end, what it
 * finds has to be a page, and what is remembered has to be what is found.
 */
#include <assert.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "tracer/guest/space.h"
#include "tracer/guest/test/ram.h"

enum {
	RAM_BYTES = 64 << 10,
	HEAD_BYTES = 17,
};

/* Made by the first input; the RAM is that of all. */
static struct test_ram ram;
static struct kms_guest_space space, fresh;

static void check(uint64_t address)
{
	uint64_t found[2], bytes[2];
	int result = kms_guest_translate(&space, address, &found[0], &bytes[0], NULL);

	kms_guest_space_init(&fresh, ram.memory, space.paging, space.root);
	assert(kms_guest_translate(&fresh, address, &found[1], &bytes[1], NULL) == result);
	if (result)
		return;
	assert(found[0] == found[1] && bytes[0] == bytes[1]);
	assert(bytes[0] > 0 && bytes[0] <= UINT64_C(1) << 30);
	assert((found[0] + bytes[0]) % 4096 == 0 && (address + bytes[0]) % 4096 == 0);
	assert(found[0] < UINT64_C(1) << 52);
}

/* Reads what is there; each byte is that of its own page. */
static void read_across(uint64_t address)
{
	uint8_t got[10000], byte;
	char text[100];
	uint64_t physical;

	if (kms_guest_read_virtual(&space, address, got, sizeof(got), NULL) == 0) {
		for (size_t i = 0; i < sizeof(got); i += 997) {
			assert(kms_guest_translate(&space, address + i, &physical, NULL, NULL) ==
			       0);
			assert(kms_guest_read(ram.memory, physical, &byte, 1, NULL) == 0);
			assert(byte == got[i]);
		}
	}
	memset(text, 'x', sizeof(text));
	(void)kms_guest_read_string(&space, address, text, sizeof(text), NULL);
	assert(memchr(text, '\0', sizeof(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	uint64_t address, root;
	size_t body;

	if (n < HEAD_BYTES)
		return 0;
	if (!ram.memory)
		test_ram_make(&ram, RAM_BYTES);
	memcpy(&address, bytes + 1, sizeof(address));
	memcpy(&root, bytes + 9, sizeof(root));
	body = n - HEAD_BYTES < RAM_BYTES ? n - HEAD_BYTES : RAM_BYTES;
	memcpy(ram.bytes, bytes + HEAD_BYTES, body);
	memset(ram.bytes + body, 0, RAM_BYTES - body);
	kms_guest_space_init(&space, ram.memory, (enum kms_guest_paging)(1 + bytes[0] % 4), root);
	/* neighbours, whose pages and tables are remembered, too */
	for (unsigned shift = 0; shift < 48; shift++)
		check(address ^ UINT64_C(1) << shift);
	check(address);
	read_across(address);
	return 0;
}
