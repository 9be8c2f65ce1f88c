/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/guard, GET and PATCH */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "schema/variables.h"
#include "server/exchange.h"
#include "server/write.h"

/* Members that PATCH takes. */
static const struct setting {
	const char *member;
	unsigned int variable;
	uint64_t max;
} settings[] = {
	{"depth", KMS_VAR_GUARD_DEPTH, UINT64_C(1) << 24},
	{"bytes", KMS_VAR_GUARD_BYTES, UINT64_C(1) << 46},
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

static void write_target(struct kms_exchange *x, const struct kms_view_guard *guard)
{
	struct kms_guard_sum one;

	kms_sum_guard(x->snapshot, guard->target, &one);
	kms_json_object_begin(&x->json, NULL);
	kms_json_u64(&x->json, "target", guard->target);
	kms_write_guard(&x->json, &one);
	kms_json_object_end(&x->json);
}

static void write_document(struct kms_exchange *x, const struct kms_guard_sum *sum)
{
	const struct kms_snapshot *s = x->snapshot;
	uint32_t target = x->query.target;

	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	if (target)
		kms_json_u64(&x->json, "target", target);
	else
		kms_json_null(&x->json, "target");
	kms_write_guard(&x->json, sum);
	kms_json_array_begin(&x->json, "items");
	for (size_t i = 0; i < s->n_guards; i++)
		if (!target || s->guard[i].target == target)
			write_target(x, &s->guard[i]);
	kms_json_array_end(&x->json);
	kms_json_object_end(&x->json);
}

void kms_res_guard(struct kms_exchange *x)
{
	struct kms_guard_sum sum;

	kms_sum_guard(x->snapshot, x->query.target, &sum);
	write_document(x, &sum);
}

static const struct setting *find_setting(const char *member)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (strcmp(settings[i].member, member) == 0)
			return &settings[i];
	return NULL;
}

/* Checks one member of the body before anything is written. */
static bool check_member(struct kms_exchange *x, const cJSON *member)
{
	const struct setting *setting = find_setting(member->string);
	double value = member->valuedouble;
	char pointer[64];

	snprintf(pointer, sizeof(pointer), "/%.40s", member->string);
	if (!setting)
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, pointer,
			       "unknown member; depth and bytes can be set");
	else if (!cJSON_IsNumber(member) || value < 0 || value > (double)setting->max ||
		 floor(value) != value)
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, pointer,
			       "must be a whole number from 0 to %" PRIu64, setting->max);
	else
		return true;
	return false;
}

static bool check_body(struct kms_exchange *x, const cJSON *body)
{
	const cJSON *member;

	if (!cJSON_IsObject(body) || !body->child) {
		kms_problem(x, KMS_PROBLEM_BAD_BODY,
			    "the body must be an object such as "
			    "{\"depth\": 30000}");
		return false;
	}
	for (member = body->child; member; member = member->next) {
		if (!check_member(x, member))
			return false;
	}
	return true;
}

/* Writes the variables, then answers with the figures as they are now. */
static void apply(struct kms_exchange *x, const cJSON *body)
{
	const struct kms_view *view = x->view;
	const struct setting *setting;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_guard_sum sum;
	const cJSON *member;

	for (member = body->child; member; member = member->next) {
		setting = find_setting(member->string);
		if (view->ops->variable_set(view->ctx, kms_exchange_who(x), x->query.target,
					    setting->variable, (uint64_t)member->valuedouble,
					    &err) < 0) {
			kms_problem(x,
				    err.code == -ENOTCONN || err.code == -ESRCH
					    ? KMS_PROBLEM_NOT_LIVE
					    : KMS_PROBLEM_INTERNAL,
				    "%s: %s", member->string, err.text);
			return;
		}
	}
	kms_sum_guard(x->snapshot, x->query.target, &sum);
	if (cJSON_GetObjectItemCaseSensitive(body, "depth") &&
	    view->ops->variable_get(view->ctx, x->query.target, KMS_VAR_GUARD_DEPTH,
				    &sum.s.depth_requested, &sum.s.depth, &sum.pending, &err) < 0)
		sum.pending = true; /* written; what the target made of it is not known yet */
	x->out->status = sum.pending ? 202 : 200;
	write_document(x, &sum);
}

void kms_res_guard_patch(struct kms_exchange *x)
{
	const size_t json_bytes = strlen("application/json");
	const char *type = x->in->content_type;
	cJSON *body;

	if (!type || strncasecmp(type, "application/json", json_bytes) != 0 ||
	    !strchr("; ", type[json_bytes])) {
		kms_problem(x, KMS_PROBLEM_MEDIA_TYPE, "send Content-Type: application/json");
		return;
	}
	if (x->in->body_bytes > KMS_REQUEST_BODY_BYTES) {
		kms_problem(x, KMS_PROBLEM_BODY_TOO_LARGE, "at most %d bytes",
			    KMS_REQUEST_BODY_BYTES);
		return;
	}
	if (x->snapshot->finished || !x->view->ops->variable_set || !x->view->ops->variable_get) {
		kms_problem(x, KMS_PROBLEM_NOT_LIVE,
			    "this is a finished trace; variables can be written while it runs");
		return;
	}
	body = cJSON_ParseWithLength(x->in->body, x->in->body_bytes);
	if (check_body(x, body))
		apply(x, body);
	cJSON_Delete(body);
}
