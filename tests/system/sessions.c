/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sessions free|keep|replace: allocates 1,000 blocks while it is recorded, switches recording off,
 * frees them, leaves them, or frees and allocates each again, and switches recording on. In the end
 * all blocks that are left are freed.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	BLOCKS = 1000,
	BLOCK_BYTES = 100,
	OTHER_BYTES = 5000,
	TRACE_ON = 2,
};

typedef int set_fn(const char *name, uint64_t value);

int main(int argc, char **argv)
{
	static void *block[BLOCKS];
	const char *mode = argc > 1 ? argv[1] : "";
	set_fn *set;
	void *symbol = dlsym(RTLD_DEFAULT, "kmem_variable_set");

	/* C has no cast from an object to a function */
	memcpy(&set, &symbol, sizeof(set));
	if (!symbol)
		return 2;
	for (int i = 0; i < BLOCKS; i++)
		block[i] = malloc(BLOCK_BYTES);
	if (set("kmem_trace", 0))
		return 1;
	for (int i = 0; i < BLOCKS && strcmp(mode, "keep") != 0; i++) {
		free(block[i]);
		block[i] = strcmp(mode, "replace") == 0 ? malloc(BLOCK_BYTES) : NULL;
	}
	if (set("kmem_trace", TRACE_ON))
		return 1;
	free(malloc(OTHER_BYTES));
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
	return 0;
}
