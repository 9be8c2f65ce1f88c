/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bad_free SIZE stack|data|interior|wild|legal: frees a pointer that is no block: on the stack, in
 * the data section, inside a block, nowhere; or the block itself.
 */
#include "tests/detect/front.h"

static char in_data[256] __attribute__((aligned(16)));

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

static char *bad_pointer(const char *what, char *block, char *on_stack)
{
	if (!strcmp(what, "stack"))
		return on_stack;
	if (!strcmp(what, "data"))
		return in_data + 64;
	if (!strcmp(what, "interior"))
		return block + 16;
	if (!strcmp(what, "wild"))
		return (char *)(uintptr_t)0x1000;
	return NULL;
}

int main(int argc, char **argv)
{
	char on_stack[256] __attribute__((aligned(16)));
	size_t bytes = argc == 3 ? size_argument(argv[1]) : 0;
	char *block, *bad;

	if (!bytes)
		return 2;
	block = make_block(bytes);
	bad = bad_pointer(argv[2], block, on_stack);
	printf("{\"block\": \"%p\", \"bytes\": %zu, \"bad\": \"%p\"}\n", (void *)block, bytes,
	       (void *)bad);
	if (bad)
		give_back(bad, bytes);
	FRONT_FREE(block, bytes);
	return 0;
}
