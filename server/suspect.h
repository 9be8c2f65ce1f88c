/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Leak suspects: which sites are ones, and why, in the same words wherever one is shown.
 */
#ifndef KMS_SERVER_SUSPECT_H
#define KMS_SERVER_SUSPECT_H

#include <stdbool.h>

#include "base/buf.h"
#include "schema/snapshot.h"

/** Every site with live blocks is in a snapshot; these are worth a look. */
bool kms_is_suspect(const struct kms_view_leak *leak);

/** Adds the evidence in words to an empty text, clauses joined by "; ". */
void kms_suspect_words(struct kms_buf *text, const struct kms_view_leak *leak);

#endif
