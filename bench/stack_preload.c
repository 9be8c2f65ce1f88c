/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A malloc front that does nothing but take stacks, on top of glibc's malloc: what a capture costs
 * in a real program. STACK_MODE: none, capture, fp (frame-pointer walk), backtrace (glibc's).
 * At the end it writes "events N ..." to the file STACK_OUT.
 */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "allocator/test/stack_support.h"

#define EXPORT __attribute__((visibility("default"), noinline))
#define HERE() kms_frame_caller(__builtin_frame_address(0))
#define TLS    __thread __attribute__((tls_model("initial-exec")))

enum mode {
	MODE_NONE,
	MODE_CAPTURE,
	MODE_FP,
	MODE_BACKTRACE,
	FRAMES = 32,
};

extern void *__libc_malloc(size_t bytes);
extern void __libc_free(void *block);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

static enum mode mode;
static bool ready;
static struct stack_support support;
static TLS struct kms_stack *own;
static TLS bool inside;
static TLS uint64_t *own_events;
static uint64_t events[4096];
static unsigned threads;
static volatile uint64_t sink;

static void start_thread(void)
{
	inside = true;
	own_events = &events[__atomic_fetch_add(&threads, 1, __ATOMIC_RELAXED) % 4096];
	if (mode == MODE_CAPTURE)
		own = stack_support_thread(&support);
	inside = false;
}

static __attribute__((noinline)) void walk_fp(const struct kms_frame *start)
{
	uint64_t end = kms_unwind_stack_end(support.unwind, start->sp);
	uint64_t fp = start->fp, last = start->sp, sum = start->pc;

	for (unsigned i = 1; i < FRAMES && fp > last && fp < end && fp % 8 == 0; i++) {
		sum += *(const uint64_t *)(uintptr_t)(fp + 8);
		last = fp;
		fp = *(const uint64_t *)(uintptr_t)fp;
	}
	sink = sum;
}

static __attribute__((noinline)) void other_modes(const struct kms_frame *start)
{
	void *frames[FRAMES];

	if (mode == MODE_FP) {
		walk_fp(start);
	} else if (mode == MODE_BACKTRACE && !inside) {
		inside = true;
		sink = (uint64_t)backtrace(frames, FRAMES);
		inside = false;
	}
}

static inline void event(struct kms_frame start)
{
	if (!ready)
		return;
	if (__builtin_expect(!own_events, 0)) {
		if (inside)
			return;
		start_thread();
	}
	++*own_events;
	if (mode == MODE_CAPTURE)
		sink = kms_stack_capture(own, &start);
	else if (mode != MODE_NONE)
		other_modes(&start);
}

EXPORT void *malloc(size_t bytes)
{
	event(HERE());
	return __libc_malloc(bytes);
}

EXPORT void free(void *block)
{
	if (block)
		event(HERE());
	__libc_free(block);
}

EXPORT void *calloc(size_t count, size_t bytes)
{
	event(HERE());
	return __libc_calloc(count, bytes);
}

EXPORT void *realloc(void *block, size_t bytes)
{
	event(HERE());
	return __libc_realloc(block, bytes);
}

EXPORT void *memalign(size_t align, size_t bytes)
{
	event(HERE());
	return __libc_memalign(align, bytes);
}

EXPORT int posix_memalign(void **block, size_t align, size_t bytes)
{
	event(HERE());
	*block = __libc_memalign(align, bytes);
	return *block ? 0 : ENOMEM;
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
	event(HERE());
	return __libc_memalign(align, bytes);
}

static __attribute__((constructor)) void begin(void)
{
	static const char *const names[] = {"none", "capture", "fp", "backtrace"};
	const char *wanted = getenv("STACK_MODE");

	for (unsigned i = 0; wanted && i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(wanted, names[i]) == 0)
			mode = (enum mode)i;
	}
	stack_support_init(&support, 1 << 20);
	ready = true;
}

static __attribute__((destructor)) void finish(void)
{
	const char *out = getenv("STACK_OUT");
	uint64_t sum = 0;
	char line[400];
	int length, fd;

	ready = false;
	for (unsigned i = 0; i < sizeof(events) / sizeof(*events); i++)
		sum += events[i];
	length =
		snprintf(line, sizeof(line), "events %llu nodes %llu modules %llu",
			 (unsigned long long)sum, (unsigned long long)stack_support_nodes(&support),
			 (unsigned long long)*support.unwind->modules.table.used);
#ifdef KMS_STACK_STATS
	if (own)
		length += snprintf(
			line + length, sizeof(line) - (size_t)length,
			" | captures %llu memo %.2f%% chain %.2f%% verified %.2f walked %.3f (per miss) apart %llu "
			"rule_misses %llu child_misses %llu",
			(unsigned long long)own->stats.captures,
			100.0 * (double)own->stats.memo_hits / (double)own->stats.captures,
			100.0 * (double)own->stats.chain_hits / (double)own->stats.captures,
			(double)own->stats.verified /
				(double)(own->stats.captures - own->stats.memo_hits -
					 own->stats.chain_hits),
			(double)own->stats.walked /
				(double)(own->stats.captures - own->stats.memo_hits -
					 own->stats.chain_hits),
			(unsigned long long)own->stats.apart,
			(unsigned long long)own->stats.rule_misses,
			(unsigned long long)own->stats.child_misses);
#endif
	line[length++] = '\n';
	fd = out ? open(out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : 2;
	if (fd >= 0 && write(fd, line, (size_t)length) < 0)
		abort();
}
