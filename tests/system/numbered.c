/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * numbered: allocates blocks of 1, 2, 3, ... bytes and frees them; after each allocation its number
 * goes to stdout as eight bytes. Runs until it is killed.
 *
 * A number that was read from the pipe is an event that had happened before the kill.
 */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	LARGEST = 1 << 20,
};

int main(void)
{
	for (uint64_t i = 1;; i = i == LARGEST ? 1 : i + 1) {
		void *p = malloc(i);

		if (!p || write(STDOUT_FILENO, &i, sizeof(i)) != sizeof(i))
			return 1;
		free(p);
	}
}
