/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system calls that a guard cannot do without, and nothing else: makes one page accessible, and
 * takes its memory away again so that any access faults.
 */
#ifndef KMS_BENCH_GUARD_BARE_H
#define KMS_BENCH_GUARD_BARE_H

#include <stdint.h>

/** Pages that are opened and shut in turn, as the slots of a FIFO are. */
struct bare {
	unsigned backend; /* 1 userfaultfd, 2 markers, 3 mprotect */
	char *base;
	uint64_t slots;
	int fd; /* of userfaultfd, else -1 */
};

/** 0, or -1: the system has no such back end. */
int bare_init(struct bare *bare, unsigned backend);
void bare_deinit(struct bare *bare);
/** The page of slot @i (modulo the number of slots), accessible. */
char *bare_open(struct bare *bare, uint64_t i);
/** Takes it away again. */
void bare_shut(struct bare *bare, uint64_t i);
const char *bare_name(unsigned backend);

#endif
