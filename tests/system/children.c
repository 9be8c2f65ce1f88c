/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * children N [stay]: forks N children, each of which allocates and frees one block. They end at once,
 * and are waited for 16 at a time; with "stay" all live until the last one is there. Prints "done".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	TOGETHER = 16,
	BLOCK_BYTES = 100,
};

static void child(int told, int stay)
{
	char byte = 1;

	free(malloc(BLOCK_BYTES));
	if (write(told, &byte, 1) != 1)
		_exit(1);
	/* the end of the pipe: everybody is there */
	while (stay >= 0 && read(stay, &byte, 1) > 0)
		continue;
	_exit(0);
}

static void collect(int n)
{
	int status;

	for (int i = 0; i < n; i++) {
		if (wait(&status) < 0 || status != 0)
			exit(1);
	}
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0;
	int stays = argc > 2 && strcmp(argv[2], "stay") == 0;
	int told[2], stay[2] = {-1, -1};
	char byte;

	/* the parent's image has to be there before, else each child makes one of its own */
	free(malloc(BLOCK_BYTES));
	if (pipe(told) < 0 || (stays && pipe(stay) < 0))
		return 1;
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid == 0) {
			if (stays)
				close(stay[1]);
			child(told[1], stay[0]);
		}
		if (read(told[0], &byte, 1) != 1)
			return 1;
		if (!stays && i % TOGETHER == TOGETHER - 1)
			collect(TOGETHER);
	}
	if (stays) {
		close(stay[1]);
		collect(n);
	} else {
		collect(n % TOGETHER);
	}
	puts("done");
	return 0;
}
