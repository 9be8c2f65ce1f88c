/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * underflow SIZE bug|zero|legal: writes the byte before a block (a letter, or 0), or its first byte.
 */
#include "tests/detect/front.h"

static NAMED char *make_block(size_t bytes)
{
	char *p = FRONT_ALLOC(bytes); /* line: alloc */

	keep_frame();
	return p;
}

static NAMED void write_byte(char *p, long offset, char byte)
{
	volatile char *at = hidden(p);

	at[offset] = byte; /* line: write */
	keep_frame();
}

static NAMED void give_back(char *p, size_t bytes)
{
	FRONT_FREE(hidden(p), bytes); /* line: free */
	keep_frame();
}

int main(int argc, char **argv)
{
	size_t bytes = argc == 3 ? size_argument(argv[1]) : 0;
	char *before, *p, *after;

	if (!bytes)
		return 2;
	before = make_block(bytes);
	p = make_block(bytes);
	after = make_block(bytes);
	memset(p, 'x', bytes);
	write_byte(p, strcmp(argv[2], "legal") ? -1 : 0, strcmp(argv[2], "zero") ? 'u' : 0);
	printf("{\"block\": \"%p\", \"bytes\": %zu}\n", (void *)p, bytes);
	give_back(p, bytes);
	give_back(before, bytes);
	give_back(after, bytes);
	return 0;
}
