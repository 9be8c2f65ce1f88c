/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the events of a trace add to what a model knows of an address.
 */
#ifndef KMS_TRACER_WHATIS_PAST_H
#define KMS_TRACER_WHATIS_PAST_H

#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/model_query.h"

/** Which address of which target; where its events and its ancestors are found. */
struct kms_whatis_ask {
	const struct kms_view *events;       /* of the trace */
	const struct kms_snapshot *snapshot; /* for targets: as new as the target */
	uint32_t target;
	uint64_t address;
};

/**
 * Completes the block of an address that is not live: who had it last, in the target or, before the
 * fork, in its ancestors; when it was freed, where, and whether the guard FIFO still holds it.
 *
 * Shape:  @row: as kms_model_whatis() left it, address 0 if it knows nothing
 * Errors: what the view's events say
 */
int kms_whatis_past(const struct kms_whatis_ask *ask, struct kms_model_row *row,
		    struct kms_err *err);

#endif
