/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Owners of findings' addresses that the model has forgotten, from the events of the trace.
 */
#ifndef KMS_TRACER_OWNERS_H
#define KMS_TRACER_OWNERS_H

#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/model.h"

/**
 * Completes the findings of a model that is fed no more.
 *
 * Shape:  @events: a view whose events are all that were stored; @until_ns: CLOCK_MONOTONIC; what is
 *         not done by then is left as it is
 * Errors: -ENOMEM; what the view's events say
 */
int kms_owners_complete(struct kms_model *model, const struct kms_view *events, uint64_t until_ns,
			struct kms_err *err);

#endif
