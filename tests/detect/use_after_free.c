/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * use_after_free SIZE MODE CHURN-SIZE FREES: frees a block, then does FREES pairs of CHURN-SIZE,
 * then reads or writes the block's first byte.
 *
 * MODE: read, write; legal: reads before the free; reuse: allocates blocks of SIZE until
 * one has the victim's address, keeps that one, then reads; fresh: the pairs must not touch the address.
 */
#include "tests/detect/front.h"

enum {
	TRIES_MAX = 40000,
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

static NAMED char read_stale(char *p)
{
	volatile char *at = hidden(p);
	char byte = at[0]; /* line: read */

	keep_frame();
	return byte;
}

static NAMED void write_stale(char *p)
{
	volatile char *at = hidden(p);

	at[0] = 1; /* line: write */
	keep_frame();
}

static NAMED void churn(size_t bytes, size_t frees)
{
	for (size_t i = 0; i < frees; i++) {
		char *p = hidden(FRONT_ALLOC(bytes));

		p[0] = 1;
		FRONT_FREE(p, bytes);
	}
}

static NAMED char *make_next_owner(size_t bytes)
{
	char *p = FRONT_ALLOC(bytes); /* line: next_owner */

	keep_frame();
	return p;
}

/* Allocates until the address is in use again, and keeps that block. The others are freed, so that
 * the FIFO goes on giving addresses back. */
static size_t allocate_until(const char *address, size_t bytes)
{
	for (size_t i = 1; i <= TRIES_MAX; i++) {
		char *p = make_next_owner(bytes);

		if (p == address)
			return i;
		FRONT_FREE(p, bytes);
	}
	return 0;
}

int main(int argc, char **argv)
{
	size_t bytes, churn_bytes, frees, owner = 0;
	const char *mode;
	char *p;

	if (argc != 5)
		return 2;
	bytes = size_argument(argv[1]);
	mode = argv[2];
	churn_bytes = size_argument(argv[3]);
	frees = size_argument(argv[4]);
	p = make_block(bytes);
	p[0] = 'v';
	if (!strcmp(mode, "legal"))
		read_stale(p);
	give_back(p, bytes);
	churn(churn_bytes, frees);
	if (!strcmp(mode, "reuse"))
		owner = allocate_until(p, bytes);
	printf("{\"block\": \"%p\", \"bytes\": %zu, \"owner\": %zu}\n", (void *)p, bytes, owner);
	fflush(stdout);
	if (!strcmp(mode, "write"))
		write_stale(p);
	else if (strcmp(mode, "legal"))
		read_stale(p);
	return 0;
}
