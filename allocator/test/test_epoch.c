/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks switched while blocks are about, through the malloc family that this program is linked
 * with. Each case is a process of its own: it needs a heap with nothing in it but what it made.
 *
 * Usage: test_epoch [CASE]
 */
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator/control.h"
#include "allocator/heap.h"
#include "allocator/kmem.h"
#include "allocator/kmem_front.h"
#include "allocator/port/process.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

enum {
	BLOCKS = 500,
};

extern char **environ;

/* Hides a pointer's past from the compiler. */
static unsigned char *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static void set(const char *name, uint64_t value)
{
	CHECK(kmem_variable_set(name, value) == 0);
}

static uint64_t findings(void)
{
	const struct kms_heap *heap = kms_process_heap();

	for (unsigned i = 0; i < heap->region->sections; i++) {
		if (heap->region->section[i].kind == KMS_SEC_FAULT)
			return heap->region->section[i].used;
	}
	return 0;
}

/* What this thread allocated and did not free, by its counters. */
static uint64_t bytes_live(void)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < kms_process_heap()->n_caches; i++)
		bytes += kms_tls->counter[i].alloc_bytes - kms_tls->counter[i].free_bytes;
	return bytes;
}

static size_t size_of(int i)
{
	return 1 + (size_t)i * 37;
}

static bool holds(const unsigned char *p, int value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (p[i] != (unsigned char)value)
			return false;
	}
	return true;
}

/* Blocks made without checks are freed, resized and measured like any other once a check is on. */
static void unchecked_blocks_outlive_a_switch(const char *variable, uint64_t value)
{
	static unsigned char *p[BLOCKS], *q[BLOCKS];
	uint64_t live = bytes_live();

	for (int i = 0; i < BLOCKS; i++) {
		p[i] = hidden(malloc(size_of(i)));
		memset(p[i], i, size_of(i));
		q[i] = kmem_alloc(size_of(i) % 3000 + 1, KM_SLEEP);
	}
	set(variable, value);
	for (int i = 0; i < BLOCKS; i++) {
		kmem_free(q[i], size_of(i) % 3000 + 1);
		CHECK(malloc_usable_size(p[i]) >= size_of(i));
		if (i & 1)
			continue;
		p[i] = hidden(realloc(p[i], i % 4 ? size_of(i) / 2 + 1 : 5000 + size_of(i)));
		CHECK(holds(p[i], i, size_of(i) / 2));
	}
	for (int i = 0; i < BLOCKS; i++)
		free(p[i]);
	CHECK(kmem_verify() == 0);
	CHECK(findings() == 0);
	CHECK(bytes_live() == live);
}

static void redzone_on(void)
{
	unchecked_blocks_outlive_a_switch("redzone", 1);
}

static void size_on(void)
{
	unchecked_blocks_outlive_a_switch("size", 1);
}

static void poison_on(void)
{
	unchecked_blocks_outlive_a_switch("poison", 1);
}

static void guard_on(void)
{
	unchecked_blocks_outlive_a_switch("guard_depth", 64);
}

static void trace_on(void)
{
	unchecked_blocks_outlive_a_switch("trace", 2);
}

/* What came back to a slab without checks is known there: freed again it is a finding. */
static void second_free_of_an_unchecked_block(void)
{
	unsigned char *first = hidden(malloc(100)), *second = hidden(malloc(100));

	set("panic", 0);
	free(first);
	set("redzone", 1);
	free(second);
	CHECK(findings() == 0);
	free(second);
	CHECK(findings() == 1);
	free(first);
	CHECK(findings() == 2);
	CHECK(!hidden(realloc(second, 200)));
	CHECK(findings() == 3);
	CHECK(malloc_usable_size(second) == 0);
}

static sem_t cached, switched;

/* Leaves full magazines behind that are older than the switch. */
static void *cache_blocks(void *arg)
{
	static unsigned char *p[BLOCKS];

	for (int i = 0; i < BLOCKS; i++)
		p[i] = hidden(malloc(100));
	for (int i = 0; i < BLOCKS; i++)
		free(p[i]);
	sem_post(&cached);
	sem_wait(&switched);
	return arg;
}

/* Blocks of all places where they may come from now; none may have the checks of before. */
static void use_blocks(void)
{
	static unsigned char *p[2 * BLOCKS];

	for (int i = 0; i < 2 * BLOCKS; i++) {
		p[i] = hidden(malloc(100));
		memset(p[i], i, 100);
		CHECK(kms_span_of(kms_tls->heap, (uintptr_t)p[i])->checks ==
		      kms_tls->checks_malloc);
	}
	CHECK(kmem_verify() == 0);
	for (int i = 0; i < 2 * BLOCKS; i++) {
		CHECK(holds(p[i], i, 100));
		free(p[i]);
	}
	CHECK(findings() == 0);
}

static void start_thread(pthread_t *thread)
{
	CHECK(sem_init(&cached, 0, 0) == 0 && sem_init(&switched, 0, 0) == 0);
	free(hidden(malloc(100)));
	CHECK(pthread_create(thread, NULL, cache_blocks, NULL) == 0);
	CHECK(sem_wait(&cached) == 0);
}

static void thread_exits_after_a_switch(uint64_t redzone)
{
	pthread_t thread;

	start_thread(&thread);
	set("redzone", redzone);
	free(hidden(malloc(5)));
	CHECK(sem_post(&switched) == 0 && pthread_join(thread, NULL) == 0);
	use_blocks();
}

static void thread_exits_after_redzone_on(void)
{
	thread_exits_after_a_switch(1);
}

static void thread_exits_after_redzone_off(void)
{
	thread_exits_after_a_switch(0);
}

static void child_takes_over_older_magazines(void)
{
	pthread_t thread;
	int status;
	pid_t child;

	start_thread(&thread);
	set("redzone", 0);
	free(hidden(malloc(5)));
	child = fork();
	if (!child) {
		use_blocks();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(sem_post(&switched) == 0 && pthread_join(thread, NULL) == 0);
}

/* The switch comes when this thread's call has passed its gate already. */
static void allocations_past_their_gate(void)
{
	struct kms_local *t = kms_front_local();
	struct kms_request_info info = {0};
	static unsigned char *p[BLOCKS], *q[BLOCKS], *a[BLOCKS];

	KMS_CALLER_FRAME(&info.frame);
	for (int i = 0; i < BLOCKS; i++) {
		size_t kmem_bytes = size_of(i) % 4000 + 1;

		kms_enter(t);
		kms_control_set(t->heap, KMS_VAR_REDZONE, (unsigned)i & 1);
		p[i] = kms_alloc_slow(t, size_of(i), KMS_MALLOC_ALIGN, &info);
		kms_control_set(t->heap, KMS_VAR_SIZE, (unsigned)i >> 1 & 1);
		q[i] = kms_kmem_alloc(t, kmem_bytes, KM_SLEEP, false, &info);
		kms_control_set(t->heap, KMS_VAR_POISON, (unsigned)i >> 2 & 1);
		a[i] = kms_alloc_slow(t, size_of(i), 256, &info);
		kms_leave(t);
		memset(p[i], i, size_of(i));
		memset(q[i], i, kmem_bytes);
		memset(a[i], i, size_of(i));
	}
	CHECK(kmem_verify() == 0);
	for (int i = 0; i < BLOCKS; i++) {
		CHECK(holds(p[i], i, size_of(i)) && holds(q[i], i, size_of(i) % 4000 + 1) &&
		      holds(a[i], i, size_of(i)));
		free(p[i]);
		kmem_free(q[i], size_of(i) % 4000 + 1);
		free(a[i]);
	}
	CHECK(findings() == 0);
}

static void frees_past_their_gate(void)
{
	struct kms_local *t = kms_front_local();
	struct kms_request_info info = {0};
	static unsigned char *p[BLOCKS];

	KMS_CALLER_FRAME(&info.frame);
	for (int i = 0; i < BLOCKS; i++)
		p[i] = hidden(malloc(100));
	kms_enter(t);
	kms_control_set(t->heap, KMS_VAR_REDZONE, 1);
	for (int i = 0; i < BLOCKS; i++)
		kms_free_slow(t, p[i], &info);
	kms_leave(t);
	use_blocks();
}

static void *sleep_for_memory(void *arg)
{
	(void)arg;
	sem_wait(&switched);
	return kmem_alloc(1000, KM_SLEEP);
}

/* A call that waits for memory wakes up to other checks. */
static void sleeper_wakes_to_other_checks(void)
{
	static unsigned char *p[64];
	struct kms_heap *heap = kms_process_heap();
	pthread_t thread;
	void *got;

	CHECK(sem_init(&switched, 0, 0) == 0);
	CHECK(pthread_create(&thread, NULL, sleep_for_memory, NULL) == 0);
	set("arena_limit", 1);
	CHECK(sem_post(&switched) == 0);
	while (!__atomic_load_n(&heap->arena_waiters, __ATOMIC_ACQUIRE))
		usleep(1000);
	set("size", 0);
	set("redzone", 0);
	set("arena_limit", 0);
	for (int i = 0; i < 64; i++) {
		p[i] = kmem_alloc(1024, KM_SLEEP);
		memset(p[i], i, 1024);
	}
	CHECK(pthread_join(thread, &got) == 0);
	memset(got, 1, 1000);
	for (int i = 0; i < 64; i++) {
		CHECK(holds(p[i], i, 1024));
		kmem_free(p[i], 1024);
	}
	kmem_free(got, 1000);
	CHECK(findings() == 0);
}

/* Sizes around the largest slot: which layer serves them depends on the checks. */
static void calloc_is_zero_at_the_largest_slot(void)
{
	for (size_t n = 65530; n <= 65540; n++) {
		unsigned char *p[4];

		for (int i = 0; i < 4; i++) {
			p[i] = hidden(malloc(n));
			memset(p[i], 0xff, n);
		}
		for (int i = 0; i < 4; i++)
			free(p[i]);
		p[0] = hidden(calloc(1, n));
		CHECK(holds(p[0], 0, n));
		free(p[0]);
	}
}

/* What nobody uses does not stay behind with its check set. */
static void switches_leave_no_pages_behind(void)
{
	const struct kms_heap *heap = kms_process_heap();
	size_t pages = 0;

	for (unsigned round = 0; round < 40; round++) {
		unsigned char *p[BLOCKS];

		set("redzone", round & 1);
		for (int i = 0; i < BLOCKS; i++)
			p[i] = hidden(malloc(size_of(i)));
		for (int i = 0; i < BLOCKS; i++)
			free(p[i]);
		if (round == 3)
			pages = heap->arena.used_pages;
	}
	CHECK(heap->arena.used_pages <= pages);
}

struct test_case {
	const char *name;
	const char *options;
	void (*run)(void);
	bool traced;
};

#define NONE "trace=0,size=0,redzone=0,panic=2"
#define ALL  "trace=0,panic=2"
#define ZONE "trace=0,size=0,panic=2"

#define CASE(name, options)                                                                        \
	{                                                                                          \
#name, options, name, false                                                        \
	}

static const struct test_case cases[] = {
	CASE(redzone_on, NONE),
	CASE(size_on, NONE),
	CASE(poison_on, NONE),
	CASE(guard_on, NONE),
	{"trace_on", NONE, trace_on, true},
	CASE(second_free_of_an_unchecked_block, NONE),
	CASE(thread_exits_after_redzone_on, NONE),
	CASE(thread_exits_after_redzone_off, ZONE),
	CASE(child_takes_over_older_magazines, ZONE),
	CASE(allocations_past_their_gate, NONE),
	CASE(frees_past_their_gate, NONE),
	CASE(sleeper_wakes_to_other_checks, ALL),
	CASE(calloc_is_zero_at_the_largest_slot, NONE),
	CASE(calloc_is_zero_at_the_largest_slot, ALL),
	CASE(switches_leave_no_pages_behind, ALL),
};

/* The case in a process of its own, traced by nobody if it is to be traced. */
static bool passes(const struct test_case *c)
{
	char folder[] = "/tmp/kms_epoch_XXXXXX";
	char program[] = "/proc/self/exe", name[64], command[64];
	char *arguments[] = {program, name, NULL};
	int status = -1;
	pid_t pid;

	(void)snprintf(name, sizeof(name), "%s", c->name);
	setenv("KMEM_OPTIONS", c->options, 1);
	if (c->traced) {
		CHECK(mkdtemp(folder));
		setenv("KMEMSCOPE_RUN", folder, 1);
	}
	CHECK(posix_spawn(&pid, program, NULL, NULL, arguments, environ) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	if (c->traced) {
		unsetenv("KMEMSCOPE_RUN");
		(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
		CHECK(system(command) == 0);
	}
	if (status)
		fprintf(stderr, "%s: status %#x\n", c->name, (unsigned)status);
	return status == 0;
}

int main(int argc, char **argv)
{
	bool passed = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (argc < 2)
			passed &= passes(&cases[i]);
		else if (strcmp(argv[1], cases[i].name) == 0)
			cases[i].run();
	}
	return passed ? 0 : 1;
}
