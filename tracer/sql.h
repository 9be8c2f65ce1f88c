/* SPDX-License-Identifier: BSD-2-Clause */
/* SQL on a trace, for people: read-only, with the table `events` (vtab.h). */
#ifndef KMS_TRACER_SQL_H
#define KMS_TRACER_SQL_H

#include <stddef.h>

#include "base/err.h"

/**
 * Receives the rows of a query; non-zero ends it.
 *
 * Shape:  n names and values, borrowed for the call. Values are text, blobs as x'...', SQL's NULL is
 *         NULL.
 */
struct kms_query_sink {
	int (*row)(void *arg, size_t n, const char *const *names, const char *const *values);
	void *arg;
};

/**
 * Runs the statements of a query, each on one state of the file, live or not.
 *
 * Errors: as kms_file_open(); -EINVAL: SQLite's message about the query; -EACCES: it does more than
 *         read; -ECANCELED: the sink ended it
 */
int kms_file_sql(const char *path, const char *query, const struct kms_query_sink *sink,
		 struct kms_err *err);

#endif
