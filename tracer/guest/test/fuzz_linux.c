/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel's memory, damaged: the first byte chooses one of four layouts, then each 5 bytes are a
 * place (u32, below 8 MiB) and what is written there.
 */
#include "base/test/fuzz_entry.h"

#include <stdlib.h>
#include <string.h>

#include "tracer/guest/test/linux_all.h"

enum {
	LAYOUTS = 4,
	PATCH_BYTES = 5,
	MAX_PATCHES = 256,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct fake_linux
		*fakes[LAYOUTS]; /* made once: a hundred times the cost of a look */
	uint8_t before[MAX_PATCHES];
	uint32_t at[MAX_PATCHES];
	struct fake_linux *fake;
	size_t patches = 0;

	if (!n)
		return 0;
	if (!fakes[*bytes % LAYOUTS])
		fakes[*bytes % LAYOUTS] = fake_linux_make(*bytes % LAYOUTS);
	fake = fakes[*bytes % LAYOUTS];
	for (bytes++, n--; n >= PATCH_BYTES && patches < MAX_PATCHES; patches++) {
		memcpy(&at[patches], bytes, 4);
		at[patches] %= FAKE_RAM_BYTES;
		before[patches] = fake->ram.bytes[at[patches]];
		fake->ram.bytes[at[patches]] = bytes[4];
		bytes += PATCH_BYTES;
		n -= PATCH_BYTES;
	}
	if (!linux_all(fake) && !patches)
		__builtin_trap(); /* whole memory opens */
	while (patches--)
		fake->ram.bytes[at[patches]] = before[patches];
	return 0;
}
