/* SPDX-License-Identifier: BSD-2-Clause */
/* Request bodies: see body.h. */
#include "server/body.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/fmt.h"

/* Up to here every whole number is a double. */
static const double exact_max = 9007199254740992.0;

static bool is_json(const char *type)
{
	const size_t json_bytes = strlen("application/json");

	return type && strncasecmp(type, "application/json", json_bytes) == 0 &&
	       strchr("; ", type[json_bytes]);
}

cJSON *kms_body_read(struct kms_exchange *x, const char *example)
{
	cJSON *body;

	if (!is_json(x->in->content_type)) {
		kms_problem(x, KMS_PROBLEM_MEDIA_TYPE, "send Content-Type: application/json");
		return NULL;
	}
	if (x->in->body_bytes > KMS_REQUEST_BODY_BYTES) {
		kms_problem(x, KMS_PROBLEM_BODY_TOO_LARGE, "at most %d bytes",
			    KMS_REQUEST_BODY_BYTES);
		return NULL;
	}
	body = cJSON_ParseWithLength(x->in->body, x->in->body_bytes);
	if (cJSON_IsObject(body) && body->child)
		return body;
	cJSON_Delete(body);
	kms_problem(x, KMS_PROBLEM_BAD_BODY, "the body must be an object such as %s", example);
	return NULL;
}

bool kms_body_u64(const cJSON *member, uint64_t *value)
{
	if (cJSON_IsString(member))
		return kms_parse_u64(member->valuestring, value) == 0;
	if (!cJSON_IsNumber(member) || member->valuedouble < 0 || member->valuedouble > exact_max ||
	    floor(member->valuedouble) != member->valuedouble)
		return false;
	*value = (uint64_t)member->valuedouble;
	return true;
}
