/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of enumerations as the trace file, and hence SQL, writes them. */
#ifndef KMS_TRACER_STORE_NAMES_H
#define KMS_TRACER_STORE_NAMES_H

#include <stdint.h>

enum kms_names {
	KMS_NAMES_EVENT,       /* enum kms_event_kind */
	KMS_NAMES_FAULT,       /* enum kms_fault_kind */
	KMS_NAMES_ACCESS,      /* enum kms_fault_access */
	KMS_NAMES_STATE,       /* enum kms_target_state */
	KMS_NAMES_TARGET_KIND, /* enum kms_target_kind */
	KMS_NAMES_LIMIT,       /* enum kms_limited_by */
	KMS_NAMES_BACKEND,     /* enum kms_guard_backend */
	KMS_NAMES_TABLES,
};

/** The name of a value; "unknown" for one that has none. Static. */
const char *kms_name_of(enum kms_names table, uint32_t value);

/** The value with this name; 0 if there is none. NULL is no name. */
uint32_t kms_name_value(enum kms_names table, const char *name);

#endif
