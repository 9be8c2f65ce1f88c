/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker PAIRS [hold]: so many pairs of malloc and free, then "done" on stdout. With "hold" it says
 * "half" in the middle and goes on when it has read a line.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	WINDOW = 512,
};

static void *window[WINDOW];

static void pairs(uint64_t n, uint64_t *state)
{
	for (uint64_t i = 0; i < n; i++) {
		size_t slot;
		char *p;

		*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		slot = *state >> 40 & (WINDOW - 1);
		free(window[slot]);
		p = malloc(1 + (*state >> 50) % 200);
		p[0] = 1;
		window[slot] = p;
	}
}

static int say(const char *text)
{
	size_t n = strlen(text);

	return write(STDOUT_FILENO, text, n) == (ssize_t)n;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	uint64_t state = 1;
	char byte;

	pairs(n / 2, &state);
	if (argc > 2) {
		if (!say("half\n") || read(STDIN_FILENO, &byte, 1) != 1)
			return 1;
	}
	pairs(n - n / 2, &state);
	for (int i = 0; i < WINDOW; i++)
		free(window[i]);
	return !say("done\n");
}
