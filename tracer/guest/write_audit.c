/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/write_audit.h"

#include <stdio.h>
#include <stdlib.h>

#include "tracer/process.h"

enum {
	WHO_BYTES = 64,
	ADDRESS_BYTES = 24,
	RESULT_BYTES = 128,
};

struct kms_write_audit_row {
	uint64_t wall_ns, value;
	uint32_t target;
	char who[WHO_BYTES], address[ADDRESS_BYTES], result[RESULT_BYTES];
};

void kms_write_audit_deinit(struct kms_write_audit *audit)
{
	free(audit->row);
	*audit = (struct kms_write_audit){0};
}

void kms_write_audit_add(struct kms_write_audit *audit, const char *who,
			 const struct kms_memory_write *write, const char *result)
{
	struct kms_write_audit_row *row;

	if (!audit->row)
		audit->row = calloc(KMS_WRITE_AUDIT_ROWS, sizeof(*audit->row));
	if (!audit->row)
		return; /* the write was done all the same */
	row = &audit->row[audit->written++ % KMS_WRITE_AUDIT_ROWS];
	*row = (struct kms_write_audit_row){
		.wall_ns = kms_wall_ns(), .value = write->value, .target = write->target};
	(void)snprintf(row->who, sizeof(row->who), "%s", who); /* cut, as what follows */
	(void)snprintf(row->address, sizeof(row->address), "0x%llx",
		       (unsigned long long)write->address);
	(void)snprintf(row->result, sizeof(row->result), "%s", result);
}

int kms_write_audit_each(const struct kms_write_audit *audit,
			 int (*emit)(void *arg, const struct kms_view_audit *row), void *arg)
{
	uint64_t kept =
		audit->written < KMS_WRITE_AUDIT_ROWS ? audit->written : KMS_WRITE_AUDIT_ROWS;

	for (uint64_t i = 0; i < kept; i++) {
		uint64_t number = audit->written - 1 - i;
		const struct kms_write_audit_row *row = &audit->row[number % KMS_WRITE_AUDIT_ROWS];
		const struct kms_view_audit shown = {.id = number + 1,
						     .wall_ns = row->wall_ns,
						     .who = row->who,
						     .target = row->target,
						     .variable = row->address,
						     .value = row->value,
						     .result = row->result};

		if (emit(arg, &shown))
			break;
	}
	return 0;
}
