/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * torture SEED ROUNDS: the malloc family in all its forms, from threads that come and go and free
 * each other's blocks, across fork, vfork, exec and exit. Checks what it is given: alignment, zeroes,
 * contents. Ends with 0 and one line, or says what was wrong.
 *
 * For an allocator under test, and as a source of events whose number a preload has counted.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
	THREADS = 6,
	BOXES = 64, /* where threads leave blocks for each other */
	OPS = 3000, /* of one thread in a round */
	CHILDREN = 8,
	CHILD_OPS = 400,
	SMALL_MAX = 600,
	LARGE_MAX = 300000,
	LARGE_ONE_IN = 40,
};

/* In front of each block's contents: how long it is and what it was filled with. */
struct block {
	size_t bytes;
	unsigned char fill;
	unsigned char content[];
};

static _Atomic(struct block *) boxes[BOXES];
static pthread_key_t key;

static _Noreturn void wrong(const char *what)
{
	fprintf(stderr, "torture: wrong: %s\n", what);
	abort();
}

static void expect(int holds, const char *what)
{
	if (!holds)
		wrong(what);
}

static uint64_t next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *state >> 21;
}

static struct block *fill(struct block *block, size_t bytes, uint64_t random)
{
	expect(block != NULL, "no memory");
	expect(((uintptr_t)block & 15) == 0, "alignment of 16");
	block->bytes = bytes;
	block->fill = (unsigned char)random;
	memset(block->content, block->fill, bytes);
	return block;
}

static void check(const struct block *block)
{
	expect(malloc_usable_size((void *)block) >= sizeof(*block) + block->bytes, "usable size");
	for (size_t i = 0; i < block->bytes; i++)
		expect(block->content[i] == block->fill, "contents");
}

static size_t random_size(uint64_t random)
{
	return random % LARGE_ONE_IN ? (random >> 8) % SMALL_MAX : (random >> 8) % LARGE_MAX;
}

static struct block *make(uint64_t random)
{
	size_t bytes = random_size(random >> 3), total = sizeof(struct block) + bytes;
	struct block *block = NULL;

	switch (random & 7) {
	case 0:
		block = calloc(1, total);
		for (size_t i = 0; block && i < bytes; i++)
			expect(block->content[i] == 0, "calloc gives zeroes");
		break;
	case 1:
		expect(posix_memalign((void **)&block, 256, total) == 0, "posix_memalign");
		expect(((uintptr_t)block & 255) == 0, "alignment of 256");
		break;
	case 2:
		block = aligned_alloc(64, (total + 63) / 64 * 64);
		expect(((uintptr_t)block & 63) == 0, "alignment of 64");
		break;
	case 3:
		block = realloc(NULL, total);
		break;
	default:
		block = malloc(total);
	}
	return fill(block, bytes, random >> 40);
}

static struct block *resize(struct block *block, uint64_t random)
{
	size_t bytes = random_size(random);
	size_t kept = bytes < block->bytes ? bytes : block->bytes;
	unsigned char old = block->fill;

	block = random & 64 ? realloc(block, sizeof(*block) + bytes)
			    : reallocarray(block, 1, sizeof(*block) + bytes);
	expect(block != NULL, "realloc");
	for (size_t i = 0; i < kept; i++)
		expect(block->content[i] == old, "contents after realloc");
	return fill(block, bytes, random >> 40);
}

static void drop(struct block *block)
{
	if (block)
		check(block);
	free(block);
}

static void operations(uint64_t *state, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t random = next(state);
		struct block *block = make(random);

		if (random % 5 == 0)
			block = resize(block, next(state));
		drop(atomic_exchange(&boxes[next(state) % BOXES], block));
	}
}

static void empty_boxes(void)
{
	for (int i = 0; i < BOXES; i++)
		drop(atomic_exchange(&boxes[i], NULL));
}

/* Calls that fail, and forms that are easily forgotten. */
static void odd_forms(void)
{
	volatile size_t huge = PTRDIFF_MAX;
	void *p = malloc(0);

	expect(p != NULL, "malloc(0) gives a block");
	free(p);
	free(NULL);
	errno = 0;
	expect(malloc(huge + 1) == NULL && errno == ENOMEM, "too much is refused");
	expect(calloc(huge, 4) == NULL && errno == ENOMEM, "calloc that overflows is refused");
	p = malloc(10);
	expect(reallocarray(p, huge, 4) == NULL, "reallocarray that overflows is refused");
	expect(realloc(p, huge + 1) == NULL, "realloc that is too large is refused");
	expect(realloc(p, 0) == NULL, "realloc to nothing");
	expect(posix_memalign(&p, 3, 10) == EINVAL, "alignment 3 is refused");
	p = valloc(1);
	expect(((uintptr_t)p & 4095) == 0, "valloc");
	free(p);
	p = pvalloc(1);
	expect(malloc_usable_size(p) >= 1 && ((uintptr_t)p & 4095) == 0, "pvalloc");
	free(p);
	p = memalign(8192, 100);
	expect(((uintptr_t)p & 8191) == 0, "memalign");
	free(p);
	expect(malloc_usable_size(NULL) == 0, "usable size of NULL");
}

static void *worker(void *argument)
{
	uint64_t state = (uintptr_t)argument;

	pthread_setspecific(key, malloc(77));
	operations(&state, OPS);
	return malloc(33);
}

/* At thread exit, when much of a thread is gone already. */
static void destroy_specific(void *p)
{
	free(p);
	free(malloc(55));
}

static void at_exit(void)
{
	free(malloc(99));
}

static _Noreturn void child(uint64_t state, int how, char *program)
{
	operations(&state, CHILD_OPS);
	if (how % 3 == 0)
		_exit(how);
	if (how % 3 == 1) {
		char number[16];

		snprintf(number, sizeof(number), "%d", how);
		execl(program, program, "child", number, (char *)NULL);
		_exit(126);
	}
	exit(how);
}

static void run_children(uint64_t *state, char *program)
{
	pid_t pid[CHILDREN];

	fflush(NULL);
	for (int i = 0; i < CHILDREN; i++) {
		uint64_t seed = next(state);

		pid[i] = fork();
		expect(pid[i] >= 0, "fork");
		if (pid[i] == 0)
			child(seed, i, program);
	}
	for (int i = 0; i < CHILDREN; i++) {
		int status = 0;

		expect(waitpid(pid[i], &status, 0) == pid[i], "waitpid");
		expect(WIFEXITED(status) && WEXITSTATUS(status) == i, "a child's status");
	}
}

static void spawn_children(char *program)
{
	char *const arguments[] = {program, "child", "0", NULL};
	int status = 0;
	pid_t pid;

	expect(posix_spawn(&pid, program, NULL, NULL, arguments, environ) == 0, "posix_spawn");
	expect(waitpid(pid, &status, 0) == pid && status == 0, "a spawned child's status");
	pid = vfork();
	if (pid == 0) {
		execv(program, arguments);
		_exit(126);
	}
	expect(waitpid(pid, &status, 0) == pid && status == 0, "a vforked child's status");
}

static void round_of(uint64_t *state, char *program)
{
	pthread_t thread[THREADS];
	void *result;

	for (int i = 0; i < THREADS; i++)
		expect(pthread_create(&thread[i], NULL, worker, (void *)(uintptr_t)next(state)) ==
			       0,
		       "pthread_create");
	run_children(state, program);
	spawn_children(program);
	for (int i = 0; i < THREADS; i++) {
		expect(pthread_join(thread[i], &result) == 0, "pthread_join");
		free(result);
	}
}

int main(int argc, char **argv)
{
	uint64_t state;
	unsigned rounds;

	if (argc != 3)
		return 2;
	atexit(at_exit);
	if (!strcmp(argv[1], "child")) {
		state = 5;
		operations(&state, CHILD_OPS);
		empty_boxes();
		return atoi(argv[2]);
	}
	state = strtoull(argv[1], NULL, 0);
	rounds = (unsigned)strtoul(argv[2], NULL, 0);
	expect(pthread_key_create(&key, destroy_specific) == 0, "pthread_key_create");
	odd_forms();
	for (unsigned i = 0; i < rounds; i++)
		round_of(&state, argv[0]);
	empty_boxes();
	printf("%u rounds\n", rounds);
	return 0;
}
