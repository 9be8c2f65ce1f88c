/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Variables as the API knows them: rows of schema/variables.h.
 */
#ifndef KMS_SERVER_VARIABLE_H
#define KMS_SERVER_VARIABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/variables.h"
#include "server/exchange.h"

struct kms_variable_row {
	const char *name;
	uint64_t def, min, max;
	const char *help;
};

/** By number, KMS_VARIABLE_COUNT of them. */
extern const struct kms_variable_row kms_variable_rows[KMS_VARIABLE_COUNT];

/** What a target has; members that are unknown are left out. */
struct kms_variable_state {
	bool known; /* a target lives and told */
	uint64_t requested, effective;
	bool pending;
};

/** Asks the view; not known where there is nobody to tell. */
void kms_variable_read(const struct kms_exchange *x, unsigned variable,
		       struct kms_variable_state *state);

/** Whether variables of the run can be written; else a problem was answered. */
bool kms_variable_is_writable(struct kms_exchange *x);

/** Writes a value within the row's range; false: a problem was answered, naming @where. */
bool kms_variable_write(struct kms_exchange *x, const char *where, unsigned variable,
			uint64_t value);

#endif
