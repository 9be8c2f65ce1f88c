/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/store_names.h"

#include <stddef.h>
#include <string.h>

#include "schema/snapshot.h"

static const char *const event_names[] = {KMS_EVENT_NAMES};
static const char *const fault_names[] = {KMS_FAULT_NAMES};
static const char *const access_names[] = {"none", "read", "write", "free", "alloc", "check"};
static const char *const state_names[] = {KMS_STATE_NAMES};
static const char *const target_kind_names[] = {"none", "process", "guest"};
static const char *const limit_names[] = {"none", "depth", "bytes", "maps", "memory"};
static const char *const backend_names[] = {"none", "userfaultfd", "marker", "mprotect",
					    "page_table"};

#define TABLE(names)                                                                               \
	{                                                                                          \
		names, sizeof(names) / sizeof(*(names))                                            \
	}

static const struct {
	const char *const *name;
	size_t n;
} tables[KMS_NAMES_TABLES] = {
	[KMS_NAMES_EVENT] = TABLE(event_names),
	[KMS_NAMES_FAULT] = TABLE(fault_names),
	[KMS_NAMES_ACCESS] = TABLE(access_names),
	[KMS_NAMES_STATE] = TABLE(state_names),
	[KMS_NAMES_TARGET_KIND] = TABLE(target_kind_names),
	[KMS_NAMES_LIMIT] = TABLE(limit_names),
	[KMS_NAMES_BACKEND] = TABLE(backend_names),
};

const char *kms_name_of(enum kms_names table, uint32_t value)
{
	return value < tables[table].n ? tables[table].name[value] : "unknown";
}

uint32_t kms_name_value(enum kms_names table, const char *name)
{
	for (uint32_t i = 0; name && i < tables[table].n; i++)
		if (strcmp(tables[table].name[i], name) == 0)
			return i;
	return 0;
}
