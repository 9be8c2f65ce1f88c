/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every capture is compared with what glibc's backtrace() says at the same place: a whole walk with
 * another unwinder (libgcc's), from the same frame to the root.
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "allocator/test/stack_graph.h"
#include "allocator/test/stack_support.h"
#include "base/keep.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail(__LINE__, #condition);                                                \
	} while (0)

enum {
	MAX_FRAMES = 4000,
	CORO_STACK = 2 << 20,
	RANDOM_CALLS = 4000,
};

static struct stack_support support;
static __thread struct kms_stack *own;
static __thread unsigned long events;
static unsigned long realigning_cuts;

static void fail(int line, const char *what)
{
	fprintf(stderr, "test_stack.c:%d: %s (after %lu events)\n", line, what, events);
	abort();
}

/* --- the oracle --- */

static void print_frames(const char *name, const uint64_t *pcs, unsigned count)
{
	fprintf(stderr, "%s:", name);
	for (unsigned i = 0; i < count && i < 60; i++)
		fprintf(stderr, " %llx:%x", (unsigned long long)pcs[i],
			kms_unwind_rule(support.unwind, pcs[i]));
	fprintf(stderr, "\n");
}

/* Room for one comparison; a handler that interrupts one has its own. */
struct room {
	void *frames[MAX_FRAMES];
	uint64_t wanted[MAX_FRAMES];
	uint64_t got[MAX_FRAMES];
};

static __thread struct room rooms[2];
static __thread volatile unsigned rooms_used;

static enum kms_rule_kind kind_of(uint64_t pc)
{
	return kms_rule_kind(kms_unwind_rule(support.unwind, pc));
}

/*
 * Was the stack cut at a frame that a signal interrupted in the few instructions in which a function
 * realigns its stack, where the CFA is in a scratch register? Those we do not follow.
 */
static bool cut_while_realigning(const uint64_t *got, unsigned n)
{
	return n > 1 && kind_of(got[n - 2]) == KMS_RULE_SIGNAL &&
	       kind_of(got[n - 1]) == KMS_RULE_CHAIN;
}

/* Does the node hold the wanted frames, and no others? A cut one: its innermost ones. */
static void compare_frames(uint32_t node, struct room *room, unsigned count)
{
	unsigned n = stack_support_frames(&support, node, room->got, MAX_FRAMES);
	bool cut = stack_support_is_cut(&support, node);
	bool realigning = cut && cut_while_realigning(room->got, n);
	bool same = n == count || (cut && n < count && (n >= KMS_STACK_LEAST || realigning));

	for (unsigned i = 0; same && i < n; i++) {
		/* Of an interrupted frame we keep pc + 1, backtrace() tells pc. */
		bool interrupted = i > 0 && kind_of(room->got[i - 1]) == KMS_RULE_SIGNAL;

		same = room->got[i] == room->wanted[i] + interrupted;
	}
	realigning_cuts += realigning;
	if (same)
		return;
	print_frames("wanted", room->wanted, count);
	print_frames(cut ? "got (cut)" : "got", room->got, n);
	fail(__LINE__, "the captured stack is the whole stack");
}

static KMS_KEEP_FUNCTION void event(void)
{
	const struct kms_frame start = kms_frame_caller(__builtin_frame_address(0));
	uint32_t node = kms_stack_capture(own, &start);
	struct room *room = &rooms[rooms_used++];
	int count = backtrace(room->frames, MAX_FRAMES);

	events++;
	CHECK(count > 1);
	for (int i = 1; i < count; i++)
		room->wanted[i - 1] = (uintptr_t)room->frames[i];
	CHECK(room->wanted[0] == start.pc);
	compare_frames(node, room, (unsigned)count - 1);
	rooms_used--;
	/* And once more, from what is remembered now. */
	CHECK(kms_stack_capture(own, &start) == node);
}

static struct graph new_graph(uint64_t seed, unsigned calls)
{
	return (struct graph){seed * 2654435761u + 1, calls, 24, event};
}

static void run_graph(uint64_t seed, unsigned calls)
{
	struct graph graph = new_graph(seed, calls);

	while (graph.budget > 0)
		graph_call(&graph, 0);
}

/* --- the tests --- */

static void random_calls_give_whole_stacks(void)
{
	for (uint64_t seed = 1; seed <= 10; seed++)
		run_graph(seed, RANDOM_CALLS);
}

static void recursion_is_whole_up_to_the_limit(void)
{
	struct graph graph = new_graph(1, 0);
	unsigned long before = events;

	graph_recurse(&graph, 300);
	graph_recurse(&graph, 900);
	CHECK(events == before + 2 * 301 + 2 * 901);
}

static void deeper_recursion_is_cut_and_says_so(void)
{
	struct graph graph = new_graph(1, 0);

	graph_recurse(&graph, 2500);
	run_graph(77, 300); /* and leaves nothing wrong behind */
}

static KMS_KEEP_FUNCTION void handler(int sig)
{
	struct graph graph = new_graph((uint64_t)sig + events, 20);

	(void)sig;
	event();
	graph.max_depth = 4;
	graph_call(&graph, 0);
}

static void raise_event(void)
{
	if (events % 3 == 0)
		raise(SIGUSR1);
	event();
}

static void handle(int sig, void (*function)(int), int flags)
{
	struct sigaction action = {.sa_handler = function, .sa_flags = flags};

	CHECK(sigaction(sig, &action, NULL) == 0);
}

static void run_with_signals(int flags)
{
	struct graph graph = new_graph(5, RANDOM_CALLS);

	handle(SIGUSR1, handler, flags);
	graph.event = raise_event;
	while (graph.budget > 0)
		graph_call(&graph, 0);
}

static void handlers_on_the_same_stack_give_whole_stacks(void)
{
	run_with_signals(0);
}

static void handlers_on_another_stack_give_whole_stacks(void)
{
	stack_t other = {.ss_sp = stack_support_pages(CORO_STACK), .ss_size = CORO_STACK};

	CHECK(sigaltstack(&other, NULL) == 0);
	run_with_signals(SA_ONSTACK);
	other.ss_flags = SS_DISABLE;
	CHECK(sigaltstack(&other, NULL) == 0);
}

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
	event();
}

static void run_with_timer(int flags)
{
	const struct itimerval often =
				       {
					       {0, 300},
                                               {0, 300}
        },
			       never = {{0, 0}, {0, 0}};

	ticks = 0;
	handle(SIGALRM, tick, flags | SA_RESTART);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	for (uint64_t seed = 1; ticks < 200; seed++)
		run_graph(seed, 200);
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	CHECK(realigning_cuts < 20);
}

static void captures_interrupted_anywhere_stay_right(void)
{
	stack_t other = {.ss_sp = stack_support_pages(CORO_STACK), .ss_size = CORO_STACK};

	run_with_timer(0);
	CHECK(sigaltstack(&other, NULL) == 0);
	run_with_timer(SA_ONSTACK);
	other.ss_flags = SS_DISABLE;
	CHECK(sigaltstack(&other, NULL) == 0);
}

/* A handler that jumps out of an interrupted capture leaves it busy for ever. */
static void a_capture_left_by_a_jump_is_forgotten(void)
{
	uint64_t apart;

	event();
	own->busy = (uintptr_t)__builtin_frame_address(0) - 4096; /* of a frame long gone */
	event();
	CHECK(own->busy == 0);
	apart = own->count;
	event();
	CHECK(apart > KMS_STACK_FIRST);
}

/* --- coroutines --- */

struct coroutine {
	ucontext_t context, back;
	struct graph graph;
	bool done;
};

static struct coroutine *running;

static void yield_event(void)
{
	struct coroutine *self = running;

	event();
	if (graph_random(&self->graph, 4) == 0)
		swapcontext(&self->context, &self->back);
	event();
}

static void coroutine_main(void)
{
	struct coroutine *self = running;

	while (self->graph.budget > 0)
		graph_call(&self->graph, 0);
	self->done = true;
	swapcontext(&self->context, &self->back);
}

static void start_coroutine(struct coroutine *co, uint64_t seed, void *memory)
{
	*co = (struct coroutine){.graph = new_graph(seed, 500)};
	co->graph.event = yield_event;
	co->graph.max_depth = 8;
	CHECK(getcontext(&co->context) == 0);
	co->context.uc_stack.ss_sp = memory;
	co->context.uc_stack.ss_size = CORO_STACK;
	makecontext(&co->context, coroutine_main, 0);
}

static void run_coroutines(struct coroutine *co, unsigned count)
{
	unsigned left = count;

	for (unsigned i = 0; left > 0; i = (i + 1) % count) {
		if (co[i].done)
			continue;
		running = &co[i];
		CHECK(swapcontext(&co[i].back, &co[i].context) == 0);
		left -= co[i].done;
		event();
	}
}

static void coroutines_give_whole_stacks(void)
{
	struct coroutine co[3];

	for (unsigned i = 0; i < 3; i++)
		start_coroutine(&co[i], i + 1, stack_support_pages(CORO_STACK));
	run_coroutines(co, 3);
}

/* Coroutine stacks may lie in the thread's own. */
static void coroutines_inside_the_stack_give_whole_stacks(void)
{
	char memory[2][CORO_STACK];
	struct coroutine co[2];

	for (unsigned i = 0; i < 2; i++)
		start_coroutine(&co[i], i + 7, memory[i]);
	run_coroutines(co, 2);
}

/* --- threads, processes, modules --- */

static void *thread_main(void *arg)
{
	own = stack_support_thread(&support);
	run_graph((uintptr_t)arg, RANDOM_CALLS);
	return NULL;
}

static void threads_give_whole_stacks(void)
{
	pthread_t thread[4];

	for (uintptr_t i = 0; i < 4; i++)
		CHECK(pthread_create(&thread[i], NULL, thread_main, (void *)(i + 100)) == 0);
	for (unsigned i = 0; i < 4; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

static void a_forked_child_goes_on(void)
{
	int status;
	pid_t child;

	event();
	child = fork();
	CHECK(child >= 0);
	run_graph(child ? 11 : 12, 1000);
	if (child == 0)
		_exit(0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Two modules that differ in their frames only come to lie at the same place. */
static void a_module_gone_and_another_at_its_place_are_told_apart(void)
{
	void (*call[2])(void (*function)(void));

	for (unsigned i = 0; i < 6; i++) {
		void *module = dlopen(i % 2 ? KMS_TEST_MODULE_B : KMS_TEST_MODULE_A, RTLD_NOW);

		CHECK(module);
		*(void **)&call[i % 2] = dlsym(module, "stack_module_call");
		CHECK(call[i % 2]);
		call[i % 2](event);
		CHECK(dlclose(module) == 0);
		kms_stacks_new_epoch(support.stacks);
		event();
	}
	CHECK(call[0] == call[1]); /* else this test tests nothing */
}

static bool find_module(const char *name)
{
	const struct kms_append *table = &support.unwind->modules.table;

	for (uint32_t i = 0; i < *table->used; i++) {
		const struct kms_module *module = kms_append_entry(table, i);
		const char *path = stack_support_string(&support, module->path_string);

		CHECK(module->ready == 1 && module->start < module->end);
		if (strstr(path, name) && path[0] == '/')
			return module->build_id_bytes == 20;
	}
	return false;
}

static void modules_are_registered_with_path_and_build_id(void)
{
	CHECK(find_module("test_stack"));
	CHECK(find_module("libc.so.6"));
}

/* --- code that no table describes --- */

static void *make_code(const uint8_t *code, size_t bytes)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	memcpy(page, code, bytes);
	CHECK(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
	return page;
}

static uint32_t last_node;

static KMS_KEEP_FUNCTION void bare_event(void)
{
	const struct kms_frame start = kms_frame_caller(__builtin_frame_address(0));

	last_node = kms_stack_capture(own, &start);
	CHECK(kms_stack_capture(own, &start) == last_node);
}

static unsigned frames_through(void (*code)(void (*function)(void)), bool *cut)
{
	uint64_t pcs[64];

	code(bare_event);
	*cut = stack_support_is_cut(&support, last_node);
	return stack_support_frames(&support, last_node, pcs, 64);
}

/* push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret */
static const uint8_t code_with_fp[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
/* push %rbp; xor %ebp,%ebp; call *%rdi; pop %rbp; ret */
static const uint8_t code_without_fp[] = {0x55, 0x31, 0xed, 0xff, 0xd7, 0x5d, 0xc3};

__attribute__((optimize("no-omit-frame-pointer"))) static KMS_KEEP_FUNCTION void
code_without_tables_is_walked_by_frame_pointer_or_cut(void)
{
	void (*code)(void (*function)(void));
	bool cut;

	*(void **)&code = make_code(code_with_fp, sizeof(code_with_fp));
	CHECK(frames_through(code, &cut) > 4);
	CHECK(!cut);
	*(void **)&code = make_code(code_without_fp, sizeof(code_without_fp));
	CHECK(frames_through(code, &cut) == 1);
	CHECK(cut);
}

/* --- faults --- */

static uint64_t fault_pc;
static uint32_t fault_node;

static void fault_handler(int sig, siginfo_t *info, void *context)
{
	const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	const struct kms_frame start = {(uint64_t)regs[REG_RIP], (uint64_t)regs[REG_RSP],
					(uint64_t)regs[REG_RBP]};

	(void)sig;
	(void)info;
	if (kms_unwind_fixup(context))
		return;
	fault_pc = start.pc;
	fault_node = kms_stack_capture_exact(own, &start);
	mprotect((void *)((uintptr_t)info->si_addr & ~(uintptr_t)4095), 4096,
		 PROT_READ | PROT_WRITE);
}

static KMS_KEEP_FUNCTION void touch(volatile char *place)
{
	volatile char room[100];

	room[0] = 1;
	place[0] = room[0];
}

static void the_stack_of_a_fault_is_that_of_the_access(void)
{
	struct sigaction action = {.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO};
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *frames[MAX_FRAMES];
	uint64_t pcs[MAX_FRAMES];
	unsigned count;
	int wanted;

	CHECK(page != MAP_FAILED);
	CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
	touch(page);
	wanted = backtrace(frames, MAX_FRAMES);
	count = stack_support_frames(&support, fault_node, pcs, MAX_FRAMES);
	CHECK(!stack_support_is_cut(&support, fault_node));
	CHECK(count == (unsigned)wanted + 1); /* touch() on top */
	CHECK(pcs[0] == fault_pc + 1);
	for (unsigned i = 2; i < count; i++)
		CHECK(pcs[i] == (uintptr_t)frames[i - 1]);
	signal(SIGSEGV, SIG_DFL);
}

static void reads_that_fail_are_survived(void)
{
	struct sigaction action = {.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO};
	char *pages = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t word = 0;

	CHECK(pages != MAP_FAILED && mprotect(pages + 4096, 4096, PROT_READ) == 0);
	CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
	for (unsigned with_handler = 0; with_handler < 2; with_handler++) {
		support.unwind->fixup_ready = with_handler;
		CHECK(!kms_unwind_read(support.unwind, (uintptr_t)pages, &word));
		CHECK(!kms_unwind_read(support.unwind, (uintptr_t)pages + 4097, &word));
		CHECK(kms_unwind_read(support.unwind, (uintptr_t)pages + 4096, &word));
	}
	CHECK(!kms_unwind_readable(support.unwind, (uintptr_t)pages, (uintptr_t)pages + 8192));
	support.unwind->fixup_ready = true;
	coroutines_give_whole_stacks(); /* once more, with the handler behind it */
	support.unwind->fixup_ready = false;
	signal(SIGSEGV, SIG_DFL);
}

/* --- a full table --- */

static void a_full_table_gives_the_deepest_node_there_is(void)
{
	struct stack_support small;
	struct graph graph = new_graph(3, 0);
	struct kms_stack *before = own;

	stack_support_init(&small, 40);
	own = stack_support_thread(&small);
	graph.event = bare_event;
	support = small;
	graph_recurse(&graph, 60);
	CHECK(stack_support_nodes(&small) == 40);
	CHECK(last_node > 0 && last_node < 40);
	CHECK(small.region->lost_tables > 0);
	own = before;
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}
	TEST(random_calls_give_whole_stacks),
	TEST(recursion_is_whole_up_to_the_limit),
	TEST(deeper_recursion_is_cut_and_says_so),
	TEST(handlers_on_the_same_stack_give_whole_stacks),
	TEST(handlers_on_another_stack_give_whole_stacks),
	TEST(captures_interrupted_anywhere_stay_right),
	TEST(a_capture_left_by_a_jump_is_forgotten),
	TEST(coroutines_give_whole_stacks),
	TEST(coroutines_inside_the_stack_give_whole_stacks),
	TEST(threads_give_whole_stacks),
	TEST(a_forked_child_goes_on),
	TEST(a_module_gone_and_another_at_its_place_are_told_apart),
	TEST(modules_are_registered_with_path_and_build_id),
	TEST(code_without_tables_is_walked_by_frame_pointer_or_cut),
	TEST(the_stack_of_a_fault_is_that_of_the_access),
	TEST(reads_that_fail_are_survived),
	TEST(a_full_table_gives_the_deepest_node_there_is),
};

int main(void)
{
	void *warm[4];

	setvbuf(stdout, NULL, _IOLBF, 0);

	backtrace(warm, 4); /* loads libgcc before anything is measured by it */
	stack_support_init(&support, 1 << 20);
	own = stack_support_thread(&support);
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		unsigned long before = events;

		tests[i].run();
		printf("ok %s (%lu events)\n", tests[i].name, events - before);
	}
	return 0;
}
