/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * leak SEED [legal|mixed]: 1,000,000 balanced allocations with 1,000 blocks among them that one function
 * loses, of 48 bytes, or mixed: of 20 to 5000 (lost_bytes); then it says "done" and waits for the end of
 * its input.
 */
#include <unistd.h>

#include "tests/detect/front.h"

enum {
	PAIRS = 1000000,
	LEAKS = 1000,
	LEAK_BYTES = 48,
	MIXED_MIN = 20, /* to 5000: each step of some 5 bytes once, in a mixed order */
	MIXED_MAX = 5000,
	WINDOW = 2000, /* blocks alive at a time */
	SIZE_MAX_BYTES = 400,
};

static struct {
	void *p;
	size_t bytes;
} window[WINDOW];

static size_t lost_bytes(const char *mode, size_t n)
{
	if (strcmp(mode, "mixed") != 0)
		return LEAK_BYTES;
	/* 387 and 1,000 have no common factor: all of the steps */
	return MIXED_MIN + n * 387 % LEAKS * (MIXED_MAX - MIXED_MIN) / (LEAKS - 1);
}

static NAMED void lose_block(size_t bytes, int legal)
{
	char *p = FRONT_ALLOC(bytes); /* line: leak */

	p[0] = 1;
	if (legal)
		FRONT_FREE(p, bytes);
	keep_frame();
}

static NAMED void replace(size_t slot, size_t bytes)
{
	if (window[slot].p)
		FRONT_FREE(window[slot].p, window[slot].bytes);
	window[slot].p = FRONT_ALLOC(bytes);
	window[slot].bytes = bytes;
}

static NAMED void empty_window(void)
{
	for (size_t i = 0; i < WINDOW; i++) {
		if (window[i].p)
			FRONT_FREE(window[i].p, window[i].bytes);
	}
}

int main(int argc, char **argv)
{
	uint64_t state = argc > 1 ? size_argument(argv[1]) : 1;
	const char *mode = argc > 2 ? argv[2] : "";
	char byte;

	for (size_t i = 1; i <= PAIRS; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		replace((state >> 33) % WINDOW, 1 + (state >> 20) % SIZE_MAX_BYTES);
		if (i % (PAIRS / LEAKS) == 0)
			lose_block(lost_bytes(mode, i / (PAIRS / LEAKS)), !strcmp(mode, "legal"));
	}
	empty_window();
	if (write(STDOUT_FILENO, "done\n", 5) != 5)
		return 1;
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
