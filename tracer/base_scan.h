/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads the live blocks of a process from outside: its span table and side tables (schema/spans.h), by
 * process_vm_readv, or as the plan says. The process goes on meanwhile, and what it says is hostile.
 */
#ifndef KMS_TRACER_BASE_SCAN_H
#define KMS_TRACER_BASE_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tracer/base_entry.h"

enum kms_base_limits {
	KMS_BASE_MAX_SPANS = 1 << 22,
	KMS_BASE_MAX_SIDES = 1 << 26, /* entries of side tables looked at, live or not */
};

/** What to read. */
struct kms_base_plan {
	pid_t pid; /* the process; not asked where @copy is set */
	/** Copies memory of another kind of target: as kms_memory_copy(). NULL: it is a process. */
	ssize_t (*copy)(void *arg, uint64_t address, void *to, size_t n);
	void *copy_arg;
	uint64_t span_table;    /* address of struct kms_span[] */
	uint64_t span_entries;  /* at most; the table may be shorter */
	uint32_t session;       /* of recording */
	uint32_t first_session; /* whose stacks are in the region */
	uint32_t nodes;         /* stacks below are known */
	uint32_t max_blocks;
};

/** What came of it. */
struct kms_base_result {
	uint64_t blocks, spans;
	uint64_t skipped; /* spans that cannot be, or could not be read */
	bool cut;         /* a limit was reached, or the process ended */
};

/**
 * Calls emit for each slab with sizes, and for each live block in it; kind, address, size, stack, first,
 * flags, cache and is_large are set. A result of emit other than 0 ends it.
 *
 * Errors: what emit said; -EPERM, -ESRCH: nothing could be read; -ENOMEM
 */
int kms_base_scan(const struct kms_base_plan *plan,
		  int (*emit)(void *arg, const struct kms_base_entry *entry), void *arg,
		  struct kms_base_result *result);

#endif
