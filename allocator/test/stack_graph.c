/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/test/stack_graph.h"

#include <alloca.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/keep.h"

/* Keeps a value in memory or in a register past the calls around it. */
#define KEEP(x) __asm__ volatile("" : "+r"(x)::"memory")

typedef unsigned graph_function(struct graph *graph, unsigned depth);

unsigned graph_random(struct graph *graph, unsigned limit)
{
	graph->seed ^= graph->seed << 13;
	graph->seed ^= graph->seed >> 7;
	graph->seed ^= graph->seed << 17;
	return (unsigned)(graph->seed >> 20) % limit;
}

static void maybe_event(struct graph *graph)
{
	if (graph_random(graph, 3) == 0)
		graph->event();
}

/* Calls twice from two places, so that a frame has two return addresses. */
#define BODY(sum)                                                                                  \
	do {                                                                                       \
		maybe_event(graph);                                                                \
		(sum) += graph_call(graph, depth + 1);                                             \
		KEEP(sum);                                                                         \
		if (graph_random(graph, 2))                                                        \
			(sum) += graph_call(graph, depth + 2);                                     \
		KEEP(sum);                                                                         \
		graph->event();                                                                    \
		KEEP(sum);                                                                         \
	} while (0)

#define PLAIN(name, bytes)                                                                         \
	static KMS_KEEP_FUNCTION unsigned name(struct graph *graph, unsigned depth)                \
	{                                                                                          \
		volatile char room[bytes];                                                         \
		unsigned sum = 1;                                                                  \
                                                                                                   \
		room[0] = (char)depth;                                                             \
		BODY(sum);                                                                         \
		return sum + (unsigned)room[0];                                                    \
	}

PLAIN(plain_small, 8)
PLAIN(plain_middle, 200)
PLAIN(plain_page, 5000)
PLAIN(plain_wide, 100000)

/* Many values live across the calls: every callee-saved register is pushed, rbp too. */
static KMS_KEEP_FUNCTION unsigned many_registers(struct graph *graph, unsigned depth)
{
	unsigned a = depth, b = depth + 1, c = depth + 2, d = depth + 3, e = depth + 4, f = 0;

	KEEP(a);
	KEEP(b);
	KEEP(c);
	BODY(f);
	KEEP(a);
	KEEP(d);
	BODY(f);
	return a + b + c + d + e + f;
}

static KMS_KEEP_FUNCTION unsigned with_alloca(struct graph *graph, unsigned depth)
{
	size_t bytes = 16 + graph_random(graph, 300);
	char *room = alloca(bytes);
	unsigned sum = 0;

	memset(room, (int)depth, bytes);
	BODY(sum);
	return sum + (unsigned)room[bytes / 2];
}

static KMS_KEEP_FUNCTION unsigned with_two_allocas(struct graph *graph, unsigned depth)
{
	unsigned sum = with_alloca(graph, depth);
	char *room = alloca(graph_random(graph, 3) * 16 + 16);

	room[0] = (char)sum;
	maybe_event(graph);
	sum += graph_call(graph, depth + 1);
	room = alloca(graph_random(graph, 3) * 16 + 16);
	room[0] = (char)sum;
	sum += graph_call(graph, depth + 1);
	KEEP(room);
	return sum;
}

static KMS_KEEP_FUNCTION unsigned realigned(struct graph *graph, unsigned depth)
{
	_Alignas(128) volatile char room[256];
	unsigned sum = 0;

	room[1] = (char)depth;
	BODY(sum);
	return sum + (unsigned)room[1];
}

/* Aligned and of variable size: the compiler keeps the arguments by another register. */
static KMS_KEEP_FUNCTION unsigned realigned_alloca(struct graph *graph, unsigned depth)
{
	_Alignas(64) volatile char room[64];
	char *more = alloca(16 + graph_random(graph, 100));
	unsigned sum = 0;

	room[1] = (char)depth;
	more[0] = (char)depth;
	BODY(sum);
	KEEP(more);
	return sum + (unsigned)room[1];
}

__attribute__((optimize("no-omit-frame-pointer"))) static KMS_KEEP_FUNCTION unsigned
with_frame_pointer(struct graph *graph, unsigned depth)
{
	volatile char room[40];
	unsigned sum = 0;

	room[0] = (char)depth;
	BODY(sum);
	return sum + (unsigned)room[0];
}

static KMS_KEEP_FUNCTION unsigned tail_call(struct graph *graph, unsigned depth)
{
	maybe_event(graph);
	return graph_call(graph, depth + 1);
}

static KMS_KEEP_FUNCTION unsigned event_only(struct graph *graph, unsigned depth)
{
	graph->event();
	return depth;
}

static KMS_KEEP_FUNCTION void jump_out(struct graph *graph, unsigned depth, jmp_buf *back)
{
	volatile char room[120];

	room[0] = (char)depth;
	maybe_event(graph);
	if (depth > 0)
		jump_out(graph, depth - 1, back);
	else if (room[0] == 0)
		longjmp(*back, 1);
	room[0]++;
}

static KMS_KEEP_FUNCTION unsigned with_jump(struct graph *graph, unsigned depth)
{
	jmp_buf back;

	if (setjmp(back) == 0)
		jump_out(graph, graph_random(graph, 6), &back);
	graph->event();
	return graph_call(graph, depth + 1) + 1;
}

static __thread struct graph *compare_graph;

static int compare(const void *a, const void *b)
{
	maybe_event(compare_graph);
	return *(const int *)a - *(const int *)b;
}

static KMS_KEEP_FUNCTION unsigned with_callback(struct graph *graph, unsigned depth)
{
	int numbers[6];

	for (unsigned i = 0; i < 6; i++)
		numbers[i] = (int)graph_random(graph, 100);
	compare_graph = graph;
	qsort(numbers, 6, sizeof(numbers[0]), compare);
	return (unsigned)numbers[0] + depth;
}

static graph_function *const functions[] = {
	plain_small,   plain_middle,       plain_page,  many_registers,
	with_alloca,   with_two_allocas,   realigned,   realigned_alloca,
	tail_call,     with_frame_pointer, event_only,  with_jump,
	with_callback, plain_wide,         plain_small, plain_middle,
};

unsigned graph_call(struct graph *graph, unsigned depth)
{
	unsigned which = graph_random(graph, sizeof(functions) / sizeof(functions[0]));

	if (depth >= graph->max_depth || graph->budget == 0)
		return depth;
	graph->budget--;
	return functions[which](graph, depth);
}

KMS_KEEP_FUNCTION unsigned graph_recurse(struct graph *graph, unsigned depth)
{
	unsigned sum = depth;

	graph->event();
	if (depth > 0)
		sum += graph_recurse(graph, depth - 1);
	KEEP(sum);
	graph->event();
	return sum;
}
