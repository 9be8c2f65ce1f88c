/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Start values of variables as people write them: `--set guard_depth=30000`, and the list in the
 * environment variable KMEM_OPTIONS. The variables themselves stand in schema/variables.h.
 */
#ifndef KMS_TRACER_OPTIONS_H
#define KMS_TRACER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "schema/variables.h"

/** What one variable is; rows of schema/variables.h. */
struct kms_variable_info {
	const char *name; /* with kmem_ */
	uint64_t def, min, max;
	const char *help;
};

/** The row of a variable; NULL if there is none with this index. */
const struct kms_variable_info *kms_variable_info(unsigned variable);

/**
 * Index of the variable with this name, with or without kmem_.
 *
 * Errors: -ENOENT: none; err then lists names that are near.
 */
int kms_variable_find(const char *name, unsigned *variable, struct kms_err *err);

/**
 * Reads a value of a variable: decimal or 0x, suffixes K, M, G, T.
 *
 * Errors: -EINVAL no number; -ERANGE outside of the variable's range, negative included. err names
 *         the variable, the value and the range.
 */
int kms_variable_parse(unsigned variable, const char *text, uint64_t *value, struct kms_err *err);

/** Values that were set, by variable; all zero is nothing set. */
struct kms_options {
	bool is_set[KMS_VARIABLE_COUNT];
	uint64_t value[KMS_VARIABLE_COUNT];
};

/** Takes over one NAME=VALUE; a later one replaces an earlier one. Errors as above. */
int kms_options_set(struct kms_options *options, const char *assignment, struct kms_err *err);

/**
 * Takes over a list NAME=VALUE,NAME=VALUE as in KMEM_OPTIONS. Empty items are passed over.
 * Errors: as above, -E2BIG: an item of more than 127 bytes; options then holds the items before it.
 */
int kms_options_parse(struct kms_options *options, const char *list, struct kms_err *err);

/** Adds the values set in the form that kms_options_parse() reads, names without kmem_. */
void kms_options_format(const struct kms_options *options, struct kms_buf *out);

#endif
