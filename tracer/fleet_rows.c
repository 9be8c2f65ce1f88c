/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of all runs, collected by asking one run after the other: see fleet_impl.h. */
#include <errno.h>
#include <stdlib.h>

#include "tracer/fleet_impl.h"

enum {
	ROWS_MAX = 1 << 20, /* collected at most */
};

void *fleet_add_row(struct fleet_rows *rows)
{
	size_t room = rows->room ? rows->room * 2 : 64;
	void *grown;

	if (rows->n == rows->room) {
		grown = rows->n < ROWS_MAX ? reallocarray(rows->item, room, rows->bytes) : NULL;
		rows->failed |= !grown;
		if (!grown)
			return NULL;
		rows->item = grown;
		rows->room = room;
	}
	return (char *)rows->item + rows->n++ * rows->bytes;
}

int fleet_rows_result(const struct fleet_rows *rows, struct kms_err *err)
{
	return rows->failed ? kms_err_set(err, -ENOMEM, "too many rows to put them in order") : 0;
}

void fleet_sort_rows(const struct fleet_rows *rows, int (*order)(const void *a, const void *b))
{
	if (rows->n)
		qsort(rows->item, rows->n, rows->bytes, order);
}

int fleet_each_run(struct fleet_every *every, fleet_call_fn *call, void *job, struct kms_err *err)
{
	struct kms_err of_one = KMS_ERR_INIT;
	struct fleet_part *part;
	int result = 0, one;

	for (uint32_t after = 0;
	     (!result || every->goes_on) && (part = fleet_hold_next(every->fleet, after)) != NULL;
	     fleet_drop(every->fleet, part)) {
		after = every->run = part->run;
		every->is_live = part->source.is_live;
		every->is_known = fleet_offset(every->fleet, part->run, &every->offset_ns);
		one = fleet_call_part(every->fleet, part, 0, call, job, &of_one);
		if (!one || result)
			continue;
		result = one;
		if (err)
			*err = of_one;
	}
	return result;
}
