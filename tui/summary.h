/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a run on one screen: what was recorded, what is live, faults, the largest suspects, and
 * where to look further.
 */
#ifndef KMS_TUI_SUMMARY_H
#define KMS_TUI_SUMMARY_H

#include "tui/cli.h"

struct cJSON;

/** The documents a summary is made of, asked once. Freed by kms_summary_deinit(). */
struct kms_summary {
	struct cJSON *stats;
	struct cJSON *faults;
	struct cJSON *leaks;
	uint64_t earlier_faults; /* in traces of daemons that died during the run */
};

struct kms_suppressions;

/**
 * Asks for the documents: from the trace file, or, while others of the tree live, from the session.
 * Where several traces have a part of the run it is the last one; of the others the faults are counted.
 *
 * Shape:  suppressions may be NULL
 * Errors: what opening and asking say; what was got is there all the same
 */
int kms_summary_load(const struct kms_cli *cli, const struct kms_run_info *info,
		     const struct kms_suppressions *suppressions, struct kms_summary *summary,
		     struct kms_err *err);

void kms_summary_deinit(struct kms_summary *summary);

/** Prints it. */
void kms_summary_print(const struct kms_cli *cli, const struct kms_run_info *info,
		       const struct kms_summary *summary, FILE *to);

/** Whether there are findings: faults, in whichever trace, or, if a threshold was given, leaked bytes above it. */
bool kms_summary_has_findings(const struct kms_summary *summary,
			      const struct kms_opt_number *leak_threshold);

#endif
