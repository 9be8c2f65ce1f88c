/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which bugs are planted, when they are due, and the journal of those carried out.
 *
 * A bug that is not planted is replaced by its twin: the same calls without the mistake. So a run
 * has the same number of allocations and frees with any set of bugs. Where a mistake leaves a block
 * behind that the twin frees, the reserve gives up a block instead (kms_bugs_blocks_left).
 */
#include "allocator/demo/kernel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "allocator/demo/host.h"

enum {
	LEAK_COUNT_MIN = 80,
	LEAK_COUNT_MAX = 96,
	UMEM_LEAK_COUNT_MIN = 24,
	UMEM_LEAK_COUNT_MAX = 32,
	JOURNAL_BYTES = 512,
};

/* What is known of each bug. @blocks_left: one carried out leaves that many blocks allocated that
 * its benign twin frees. */
static const struct bug_info {
	const char *name;
	const char *kind;
	uint64_t blocks_left;
} bug_info[KMS_BUGS] = {
	[KMS_BUG_LEAK] = {"leak",           "leak",           1},
	[KMS_BUG_OVERFLOW] = {"overflow",       "overflow",       0},
	[KMS_BUG_UNDERFLOW] = {"underflow",      "underflow",      0},
	[KMS_BUG_DOUBLE_FREE] = {"double-free",    "double_free",    0},
	[KMS_BUG_USE_AFTER_FREE] = {"use-after-free", "use_after_free", 0},
	[KMS_BUG_WRONG_SIZE] = {"wrong-size",     "size_mismatch",  0},
	[KMS_BUG_CONTEXT] = {"context",        "wrong_context",  0},
	[KMS_BUG_WRONG_CACHE] = {"wrong-cache",    "wrong_cache",    0},
	[KMS_BUG_USE_AFTER_PUT] = {"use-after-put",  "use_after_free", 0},
	[KMS_BUG_UMEM_OVERFLOW] = {"umem-overflow",  "overflow",       0},
	[KMS_BUG_UMEM_LEAK] = {"umem-leak",      "leak",           1},
	[KMS_BUG_PAGEABLE] = {"pageable",       "wrong_context",  0},
};

const char *kms_bug_name(enum kms_bug bug)
{
	return bug_info[bug].name;
}

const char *kms_bug_kind(enum kms_bug bug)
{
	return bug_info[bug].kind;
}

static int parse_name(const char *name, size_t length, uint32_t *bugs)
{
	if (length == 3 && !memcmp(name, "all", 3)) {
		*bugs |= (1u << KMS_BUGS) - 1;
		return 0;
	}
	if (length == 4 && !memcmp(name, "none", 4))
		return 0;
	for (unsigned bug = 0; bug < KMS_BUGS; bug++) {
		const char *known = bug_info[bug].name;

		if (strlen(known) == length && !memcmp(name, known, length)) {
			*bugs |= 1u << bug;
			return 0;
		}
	}
	return -EINVAL;
}

int kms_bugs_parse(const char *list, uint32_t *bugs)
{
	for (;;) {
		size_t length = strcspn(list, ",");
		int rc = parse_name(list, length, bugs);

		if (rc || !list[length])
			return rc;
		list += length + 1;
	}
}

/* So many of them from an eighth of the round until shortly before its end. */
static struct kms_bug_plan spread_plan(struct kms_kernel *kernel, uint64_t least, uint64_t most)
{
	uint64_t ops = kernel->options.ops;
	uint64_t count = kms_rng_between(&kernel->rng, least, most);

	return (struct kms_bug_plan){
		.op = ops / 8,
		.every = (ops - ops / 8 - ops / 16) / count,
		.count = count,
	};
}

void kms_bugs_plan(struct kms_kernel *kernel)
{
	uint64_t ops = kernel->options.ops;

	for (int bug = 0; bug < KMS_BUGS; bug++) {
		struct kms_bug_plan *plan = &kernel->plan[bug];

		*plan = (struct kms_bug_plan){
			.op = kms_rng_between(&kernel->rng, ops / 4, ops / 2),
			.every = 1,
			.count = 1,
		};
	}
	kernel->plan[KMS_BUG_LEAK] = spread_plan(kernel, LEAK_COUNT_MIN, LEAK_COUNT_MAX);
	kernel->plan[KMS_BUG_UMEM_LEAK] =
		spread_plan(kernel, UMEM_LEAK_COUNT_MIN, UMEM_LEAK_COUNT_MAX);
}

bool kms_bug_due(struct kms_driver *driver, enum kms_bug bug)
{
	struct kms_bug_plan *plan = &driver->kernel->plan[bug];

	if (plan->done == plan->count || driver->ops_done < plan->op + plan->done * plan->every)
		return false;
	plan->done++;
	return true;
}

bool kms_bug_planted(const struct kms_kernel *kernel, enum kms_bug bug)
{
	return kernel->options.bugs & 1u << bug;
}

static uint64_t blocks_left_by(const struct kms_kernel *kernel, uint32_t bugs)
{
	uint64_t blocks = 0;

	for (unsigned bug = 0; bug < KMS_BUGS; bug++) {
		if (bugs & 1u << bug)
			blocks += kernel->plan[bug].done * bug_info[bug].blocks_left;
	}
	return blocks;
}

uint64_t kms_bugs_blocks_left(const struct kms_kernel *kernel)
{
	return blocks_left_by(kernel, kernel->options.bugs);
}

uint64_t kms_bugs_blocks_left_most(const struct kms_kernel *kernel)
{
	return blocks_left_by(kernel, (1u << KMS_BUGS) - 1);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void kms_bug_record(struct kms_kernel *kernel, enum kms_bug bug, const struct kms_bug_place *place)
{
	const char *file = base_name(place->file);
	char line[JOURNAL_BYTES];

	kms_kernel_print(kernel, "planted %s in %s, %s:%d: %p, %zu bytes", kms_bug_name(bug),
			 place->function, file, place->line, place->address, place->bytes);
	(void)snprintf(
		line, sizeof(line),
		"{\"bug\": \"%s\", \"kind\": \"%s\", \"function\": \"%s\", \"file\": \"%s\", "
		"\"line\": %d, \"address\": \"%p\", \"bytes\": %zu}",
		kms_bug_name(bug), kms_bug_kind(bug), place->function, file, place->line,
		place->address, place->bytes);
	kms_host_journal(kernel, line);
}
