/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Suppressions: leaks that are known and shall not be reported. The file has LeakSanitizer's syntax, so
 * that one file serves both: lines "leak:PATTERN", comments behind #. A pattern is looked for in
 * function, source file and module of every frame of a stack; * stands for any text, ^ at its begin
 * and $ at its end for begin and end.
 */
#ifndef KMS_TUI_SUPPRESS_H
#define KMS_TUI_SUPPRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "tui/client.h"

struct cJSON;
struct kms_suppressions;

/**
 * Reads a file.
 * Owner:  the caller ends it with kms_suppressions_free().
 * Errors: what opening and reading say; -EINVAL: err names the line; -ENOMEM
 */
int kms_suppressions_load(const char *path, struct kms_suppressions **out, struct kms_err *err);

/** NULL is allowed. */
void kms_suppressions_free(struct kms_suppressions *suppressions);

/** Whether a frame of the stack (an array of the API) matches. */
bool kms_suppressions_match(const struct kms_suppressions *suppressions, const struct cJSON *stack);

/** Whether text has the pattern in it, as said above. */
bool kms_suppressions_has(const char *text, const char *pattern);

/** What is asked for. */
struct kms_suppressions_ask {
	const char *request; /* GET /leaks with its parameters, without limit */
	uint64_t limit;      /* at most so many items */
	bool keep;           /* suppressed ones stay, of state "suppressed" */
};

/**
 * Asks for all leak suspects and takes those out that are suppressed.
 *
 * Shape:  the document is as the API gives it, its totals of suspects without the suppressed ones,
 *         which it has as suppressed, suppressed_bytes
 * Owner:  the caller deletes it.
 * Errors: as kms_client_json()
 */
int kms_suppressions_leaks(const struct kms_suppressions *suppressions, struct kms_client *client,
			   const struct kms_suppressions_ask *ask, struct cJSON **document,
			   struct kms_err *err);

#endif
