/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/vtab_functions.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "schema/record.h"

static void hex(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	char text[24];

	(void)argc;
	if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
		return; /* NULL is the result unless another is set */
	(void)snprintf(text, sizeof(text), "0x%llx",
		       (unsigned long long)sqlite3_value_int64(argv[0])); /* fits */
	sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static const struct {
	uint32_t bit;
	const char *name;
} flag_names[] = {
	{KMS_CHECK_SIZE,    "size"   },
        {KMS_CHECK_REDZONE, "redzone"},
	{KMS_CHECK_POISON,  "poison" },
        {KMS_CHECK_GUARD,   "guard"  },
	{KMS_CHECK_HEADER,  "header" },
        {KMS_ATTR_ZERO,     "zero"   },
	{KMS_ATTR_REALLOC,  "realloc"},
        {KMS_ATTR_ALIGNED,  "aligned"},
	{KMS_ATTR_INTR,     "intr"   },
        {KMS_ATTR_NOSLEEP,  "nosleep"},
	{KMS_ATTR_FOREIGN,  "foreign"},
        {KMS_ATTR_GUARDED,  "guarded"},
};

static void flags(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	char text[128] = "";
	size_t used = 0;
	int64_t bits;

	(void)argc;
	if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
		return;
	bits = sqlite3_value_int64(argv[0]);
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(*flag_names); i++)
		if (bits & flag_names[i].bit) /* all names together fit */
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 used ? " " : "", flag_names[i].name);
	sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

int kms_vtab_functions(sqlite3 *db)
{
	int how = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
	int rc;

#ifdef SQLITE_INNOCUOUS
	how |= SQLITE_INNOCUOUS;
#endif
	rc = sqlite3_create_function_v2(db, "kms_hex", 1, how, NULL, hex, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_create_function_v2(db, "kms_flags", 1, how, NULL, flags, NULL, NULL,
						NULL);
	return rc;
}
