/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening a trace of unknown origin with SQLite. Private to file*.c and sql.c. */
#ifndef KMS_TRACER_FILE_CONNECT_H
#define KMS_TRACER_FILE_CONNECT_H

#include "base/err.h"
#include "tracer/sqlite.h"

/**
 * A read-only connection to a trace that passed the schema check, with vtab.h registered.
 *
 * Owner:  sqlite3_close()
 * Errors: as kms_file_open()
 */
int kms_file_connect(const char *path, sqlite3 **out, struct kms_err *err);

#endif
