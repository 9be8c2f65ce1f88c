/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/test/guard_cases.h"

#include <stdlib.h>
#include <sys/wait.h>

#include "allocator/test/guard_support.h"
#include "tests/support/kt.h"

enum {
	DEADLINE_MS = 60000,
};

uint64_t guard_backend = 1;

void guard_case_begin(void)
{
	guard_set("kmem_panic", 0);
	KT_CHECK(guard_begin(guard_backend, GUARD_CASE_DEPTH), "back end %d in place of %d",
		 (int)guard_figures()->backend, (int)guard_backend);
}

void guard_case_expect_caught(void)
{
	uint64_t before = guard_faults();
	unsigned char *p = kmem_alloc(GUARD_CASE_BYTES, KM_SLEEP);
	const struct kms_fault *fault;

	KT_CHECK(guard_owns(p), "%p is not guarded", (void *)p);
	kmem_free(p, GUARD_CASE_BYTES);
	guard_write(p + 3, 1);
	fault = guard_last_fault();
	KT_CHECK(guard_faults() == before + 1, "%d findings", (int)(guard_faults() - before));
	KT_CHECK(fault->kind == KMS_FAULT_USE_AFTER_FREE, "kind %u", fault->kind);
	KT_CHECK(fault->address == (uintptr_t)p + 3, "address %p",
		 (void *)(uintptr_t)fault->address);
	KT_CHECK(fault->access == KMS_ACCESS_WRITE, "access %u", fault->access);
	KT_CHECK(fault->stack && fault->alloc_stack && fault->free_stack, "a stack is missing");
}

static int has_back_end(void *arg)
{
	(void)arg;
	return guard_begin(guard_backend, GUARD_CASE_DEPTH) ? KT_PASS : KT_SKIP;
}

static bool ended_well(const struct guard_case *c, const struct kt_child *child)
{
	if (child->wait_status == -1)
		return false;
	if (c->signal)
		return WIFSIGNALED(child->wait_status) && WTERMSIG(child->wait_status) == c->signal;
	return WIFEXITED(child->wait_status) && WEXITSTATUS(child->wait_status) == 0;
}

int guard_cases_run(const struct guard_case *cases, size_t count, int argc, char **argv)
{
	static struct kt_child child;
	int status = KT_PASS;

	if (argc > 1)
		guard_backend = strtoull(argv[1], NULL, 0);
	kt_run(&child, has_back_end, NULL, DEADLINE_MS);
	if (WIFEXITED(child.wait_status) && WEXITSTATUS(child.wait_status) == KT_SKIP)
		kt_skip("this system has no such back end");
	for (size_t i = 0; i < count; i++) {
		kt_run(&child, cases[i].body, NULL, DEADLINE_MS);
		if (ended_well(&cases[i], &child)) {
			printf("ok      %s\n", cases[i].name);
			continue;
		}
		printf("FAILED  %s: wait status %#x\n%s\n", cases[i].name,
		       (unsigned)child.wait_status, child.output);
		status = KT_FAIL;
	}
	return status;
}
