/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes the memory of a made-up Linux: fake_linux_ram FILE. For tests that show it to whole programs. */
#include <stdio.h>

#include "tracer/guest/test/fake_linux.h"

int main(int n_args, char **args)
{
	struct fake_linux *fake = fake_linux_make(1);
	FILE *file = n_args == 2 ? fopen(args[1], "we") : NULL;
	bool good = file && fwrite(fake->ram.bytes, 1, FAKE_RAM_BYTES, file) == FAKE_RAM_BYTES;

	if (file && fclose(file))
		good = false;
	fake_linux_drop(fake);
	return !good;
}
