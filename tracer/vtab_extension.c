/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table `events` for any program that can load an SQLite extension:
 *
 *	sqlite3 FILE.kms ".load .../kmemscope_sqlite" "SELECT count(*) FROM events"
 */
#include "tracer/sqlite.h"
#include "tracer/vtab.h"

SQLITE_EXTENSION_INIT1

/** SQLite calls this one by its name. */
__attribute__((visibility("default"))) int sqlite3_extension_init(sqlite3 *db, char **message,
								  const sqlite3_api_routines *api);

int sqlite3_extension_init(sqlite3 *db, char **message, const sqlite3_api_routines *api)
{
	(void)message;
	SQLITE_EXTENSION_INIT2(api);
	return kms_vtab_register(db);
}
