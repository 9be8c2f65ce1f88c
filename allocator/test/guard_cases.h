/* SPDX-License-Identifier: BSD-2-Clause */
/* Cases about the guard and the process it is in: each runs in a child of its own. */
#ifndef KMS_ALLOCATOR_TEST_GUARD_CASES_H
#define KMS_ALLOCATOR_TEST_GUARD_CASES_H

#include <stddef.h>
#include <stdint.h>

/** Back end of this run, from the command line. */
extern uint64_t guard_backend;

enum {
	GUARD_CASE_DEPTH = 512,
	GUARD_CASE_BYTES = 64,
};

struct guard_case {
	const char *name;
	int (*body)(void *arg);
	int signal; /* that must end the child; 0: it must exit with 0 */
};

/** Runs all; returns KT_PASS, or KT_SKIP if this system does not have the back end. */
int guard_cases_run(const struct guard_case *cases, size_t count, int argc, char **argv);

/** Starts the guard in the case's process; every finding is reported only. */
void guard_case_begin(void);

/** One use after free, which must be reported and survived. */
void guard_case_expect_caught(void);

#endif
