/* SPDX-License-Identifier: BSD-2-Clause */
/* The SQL functions of vtab.h. */
#ifndef KMS_TRACER_VTAB_FUNCTIONS_H
#define KMS_TRACER_VTAB_FUNCTIONS_H

#include "tracer/sqlite.h"

/** Registers kms_hex() and kms_flags(). Returns an SQLite result. */
int kms_vtab_functions(sqlite3 *db);

#endif
