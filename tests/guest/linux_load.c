/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Has a kernel allocate and free as fast as it can: linux_load SECONDS CPUS. On each of so many CPUs a
 * process makes pipes and closes them, each a dozen objects of half as many caches. Prints how many pipes
 * all of them made. Runs without a C library, in a guest that has none.
 */
#include <stddef.h>
#include <stdint.h>

enum {
	/* numbers of asm/unistd_64.h, mman.h, time.h, fcntl.h */
	SYS_WRITE = 1,
	SYS_CLOSE = 3,
	SYS_MMAP = 9,
	SYS_FORK = 57,
	SYS_EXIT = 60,
	SYS_WAIT4 = 61,
	SYS_SETAFFINITY = 203,
	SYS_CLOCK_GETTIME = 228,
	SYS_PIPE2 = 293,
	PROT_READ_WRITE = 3,
	SHARED_ANONYMOUS = 0x21,
	MONOTONIC = 1,
	MAX_CPUS = 64,
	LOOK_EVERY = 64, /* pipes between two looks at the clock */
	PAGE_BYTES = 4096,
	DIGITS = 20,
};

static long call(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = -1, r9 __asm__("r9") = 0;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static long now_s(void)
{
	long now[2] = {0};

	(void)call(SYS_CLOCK_GETTIME, MONOTONIC, (long)now, 0, 0);
	return now[0];
}

static long number_of(const char *text)
{
	long number = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + *text - '0';
	return number;
}

static void say(uint64_t number)
{
	char text[DIGITS + 1];
	size_t at = sizeof(text);

	text[--at] = '\n';
	do
		text[--at] = (char)('0' + number % 10);
	while (number /= 10);
	(void)call(SYS_WRITE, 1, (long)(text + at), (long)(sizeof(text) - at), 0);
}

static void work(long cpu, long end_s, volatile uint64_t *pipes)
{
	uint64_t mask = UINT64_C(1) << cpu;
	int fd[2] = {-1, -1};

	(void)call(SYS_SETAFFINITY, 0, sizeof(mask), (long)&mask, 0);
	while (now_s() < end_s)
		for (int i = 0; i < LOOK_EVERY; i++) {
			if (call(SYS_PIPE2, (long)fd, 0, 0, 0))
				return;
			(void)call(SYS_CLOSE, fd[0], 0, 0, 0);
			(void)call(SYS_CLOSE, fd[1], 0, 0, 0);
			++*pipes;
		}
}

__attribute__((noreturn, used)) static void begin(long argc, char **argv)
{
	long seconds = argc > 1 ? number_of(argv[1]) : 1, cpus = argc > 2 ? number_of(argv[2]) : 1;
	long page = call(SYS_MMAP, 0, PAGE_BYTES, PROT_READ_WRITE, SHARED_ANONYMOUS);
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): a system call returns numbers */
	volatile uint64_t *pipes = (void *)page;
	long end_s = now_s() + seconds;
	uint64_t sum = 0;

	for (long cpu = 0; cpu < cpus && cpu < MAX_CPUS; cpu++)
		if (call(SYS_FORK, 0, 0, 0, 0) == 0) {
			work(cpu, end_s, &pipes[cpu]);
			(void)call(SYS_EXIT, 0, 0, 0, 0);
		}
	while (call(SYS_WAIT4, -1, 0, 0, 0) > 0)
		;
	for (long cpu = 0; cpu < cpus && cpu < MAX_CPUS; cpu++)
		sum += pipes[cpu];
	say(sum);
	(void)call(SYS_EXIT, 0, 0, 0, 0);
	__builtin_unreachable();
}

/* The kernel starts us with argc on top of the stack and argv behind it. */
__asm__(".globl _start\n"
	"_start:\n"
	"	mov (%rsp), %rdi\n"
	"	lea 8(%rsp), %rsi\n"
	"	and $-16, %rsp\n"
	"	call begin\n");
