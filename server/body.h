/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Request bodies: JSON objects of a few members.
 */
#ifndef KMS_SERVER_BODY_H
#define KMS_SERVER_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "server/exchange.h"

/**
 * The body of a request, an object with one member at least.
 *
 * Shape:  @example: of a body, for who sent something else: {"depth": 30000}
 * Owner:  the caller ends it with cJSON_Delete()
 * Errors: NULL: a problem document was answered
 */
cJSON *kms_body_read(struct kms_exchange *x, const char *example);

/** A whole number that is not negative: a JSON number up to 2^53, or a string such as "0x10", "64K". */
bool kms_body_u64(const cJSON *member, uint64_t *value);

#endif
