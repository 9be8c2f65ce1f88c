/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one door to SQLite. In the loadable extension every call goes through the table that the host
 * program hands over, else to the library.
 */
#ifndef KMS_TRACER_SQLITE_H
#define KMS_TRACER_SQLITE_H

#ifdef KMS_SQLITE_EXTENSION
#include <sqlite3ext.h>
extern const sqlite3_api_routines *sqlite3_api;
#else
#include <sqlite3.h>
#endif

#endif
