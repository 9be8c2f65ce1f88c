/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * write_after_free SIZE bug|legal: writes into a block after it was freed (or before), and allocates
 * the same size again until the block is reused. Found with kmem_poison.
 */
#include "tests/detect/front.h"

enum {
	AGAIN = 4096,
};

static NAMED char *make_block(size_t bytes)
{
	char *p = FRONT_ALLOC(bytes); /* line: alloc */

	keep_frame();
	return p;
}

static NAMED void give_back(char *p, size_t bytes)
{
	FRONT_FREE(hidden(p), bytes); /* line: free */
	keep_frame();
}

int main(int argc, char **argv)
{
	size_t bytes = argc == 3 ? size_argument(argv[1]) : 0;
	volatile char *stale;
	char *p;

	if (!bytes)
		return 2;
	p = make_block(bytes);
	stale = hidden(p);
	printf("{\"block\": \"%p\", \"bytes\": %zu}\n", (void *)p, bytes);
	fflush(stdout);
	if (strcmp(argv[2], "bug"))
		stale[bytes / 2] = 7;
	give_back(p, bytes);
	if (!strcmp(argv[2], "bug"))
		stale[bytes / 2] = 7;
	for (int i = 0; i < AGAIN; i++) {
		if (hidden(FRONT_ALLOC(bytes)) == (void *)stale) /* line: again */
			break;
	}
	return 0;
}
