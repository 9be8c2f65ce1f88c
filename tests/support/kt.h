/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests that cmocka cannot run: with threads, forks, signals, other programs.
 *
 * A test is a program: exit status 0 passed, 1 failed, 77 skipped. A failed check says where and
 * what, and ends the program.
 */
#ifndef KMS_TESTS_SUPPORT_KT_H
#define KMS_TESTS_SUPPORT_KT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum kt_status {
	KT_PASS = 0,
	KT_FAIL = 1,
	KT_SKIP = 77,
};

/** Ends the test as failed unless @condition holds; the rest is a printf text about what was seen. */
#define KT_CHECK(condition, ...)                                                                   \
	do {                                                                                       \
		if (!(condition))                                                                  \
			kt_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                      \
	} while (0)

_Noreturn void kt_fail(const char *file, int line, const char *condition, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/** Ends the test as skipped. */
_Noreturn void kt_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * The seed of this run: @text if not NULL, else $KT_SEED, else from the clock. Printed, so that a
 * failed run can be repeated.
 */
uint64_t kt_seed(const char *text);

/** The next number of a seeded stream; *state is the seed at first. */
uint64_t kt_random(uint64_t *state);

/** Monotonic time. */
uint64_t kt_now_ns(void);

/**
 * Waits until @condition(arg) is true. True if it became so before @deadline_ms have passed.
 *
 * Asks every millisecond: a test never sleeps for a fixed time.
 */
bool kt_wait(bool (*condition)(void *arg), void *arg, unsigned deadline_ms);

/** How a child ended, and what it wrote. */
struct kt_child {
	int wait_status; /* as of waitpid; -1 if it was killed at the deadline */
	uint64_t took_ns;
	size_t n_output;    /* bytes of stdout and stderr together; the rest was thrown away */
	char output[16384]; /* NUL-terminated */
};

/** Runs @body(arg) in a forked child that ends with its result, at most @deadline_ms. */
void kt_run(struct kt_child *child, int (*body)(void *arg), void *arg, unsigned deadline_ms);

#endif
