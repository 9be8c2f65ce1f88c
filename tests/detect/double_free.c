/* SPDX-License-Identifier: BSD-2-Clause */
/* double_free SIZE bug|legal: frees a block twice, or two blocks once each. */
#include "tests/detect/front.h"

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

static NAMED void give_back_again(char *p, size_t bytes)
{
	FRONT_FREE(hidden(p), bytes); /* line: again */
	keep_frame();
}

int main(int argc, char **argv)
{
	size_t bytes = argc == 3 ? size_argument(argv[1]) : 0;
	int bug;
	char *p, *other;

	if (!bytes)
		return 2;
	bug = !strcmp(argv[2], "bug");
	p = make_block(bytes);
	other = make_block(bytes);
	printf("{\"block\": \"%p\", \"bytes\": %zu}\n", (void *)p, bytes);
	give_back(p, bytes);
	give_back_again(bug ? p : other, bytes);
	if (bug)
		FRONT_FREE(other, bytes);
	return 0;
}
