/* SPDX-License-Identifier: BSD-2-Clause */
/* What an entry of each append-only table may say. Private to tables.c. */
#ifndef KMS_TRACER_TABLE_CHECK_H
#define KMS_TRACER_TABLE_CHECK_H

#include <stdint.h>

#include "base/err.h"
#include "tracer/region.h"

/** How entries of one table are read; rows by enum kms_section_kind. */
struct kms_table_form {
	const char *name;    /* NULL: no append-only table of entries */
	uint32_t ready_at;   /* offset of the ready word */
	uint32_t ready_mask; /* bits of it that say so */
	/**
	 * Checks a private copy of a ready entry and makes its texts end.
	 * Errors: -EBADMSG with err set
	 */
	int (*check)(uint8_t *entry, uint64_t index, const struct kms_region *region,
		     struct kms_err *err);
	/** The string it names, 0 none; NULL: it never does. */
	uint32_t (*string)(const uint8_t *entry);
};

extern const struct kms_table_form kms_table_forms[KMS_REGION_KINDS];

#endif
