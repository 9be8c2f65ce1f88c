/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file system under SQLite in which the n-th write, sync, truncation or removal fails. Becomes the
 * default, so that the store under test needs to know nothing of it.
 */
#ifndef KMS_TRACER_TEST_STORE_FAULTY_VFS_H
#define KMS_TRACER_TEST_STORE_FAULTY_VFS_H

#include <stdbool.h>
#include <stdint.h>

/** What to let fail. */
struct faulty_plan {
	uint64_t nth;   /* counted from faulty_start(); 0 none */
	bool for_ever;  /* from then on, else this once */
	bool disk_full; /* writes fail with SQLITE_FULL, else with I/O errors */
};

/** Puts it on top of the system's. */
void faulty_install(void);

/** Starts counting anew. */
void faulty_start(struct faulty_plan plan);

/** Operations since the start. */
uint64_t faulty_count(void);

#endif
