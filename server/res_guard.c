/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/guard, GET and PATCH */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/body.h"
#include "server/variable.h"
#include "server/write.h"

/* Members that PATCH takes. */
static const struct setting {
	const char *member;
	unsigned int variable;
} settings[] = {
	{"depth",   KMS_VAR_GUARD_DEPTH  },
        {"bytes",   KMS_VAR_GUARD_BYTES  },
	{"sample",  KMS_VAR_GUARD_SAMPLE },
        {"minsize", KMS_VAR_GUARD_MINSIZE},
	{"maxsize", KMS_VAR_GUARD_MAXSIZE},
        {"align",   KMS_VAR_GUARD_ALIGN  },
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
	const struct kms_variable_row *row = setting ? &kms_variable_rows[setting->variable] : NULL;
	uint64_t value = 0;
	char pointer[64];

	snprintf(pointer, sizeof(pointer), "/%.40s", member->string);
	if (!setting)
		kms_problem_at(
			x, KMS_PROBLEM_BAD_BODY, pointer,
			"unknown member; depth, bytes, sample, minsize, maxsize and align can "
			"be set");
	else if (!kms_body_u64(member, &value) || value < row->min || value > row->max)
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, pointer,
			       "must be a whole number from %" PRIu64 " to %" PRIu64, row->min,
			       row->max);
	else
		return true;
	return false;
}

static bool check_body(struct kms_exchange *x, const cJSON *body)
{
	for (const cJSON *member = body->child; member; member = member->next)
		if (!check_member(x, member))
			return false;
	return true;
}

/* What the target made of one setting, or that it is not known yet. */
static void note_setting(const struct kms_exchange *x, const struct setting *setting,
			 struct kms_guard_sum *sum)
{
	struct kms_variable_state state;

	kms_variable_read(x, setting->variable, &state);
	sum->pending |= !state.known || state.pending;
	if (setting->variable != KMS_VAR_GUARD_DEPTH || !state.known)
		return;
	sum->s.depth_requested = state.requested;
	sum->s.depth = state.effective;
}

/* Writes the variables, then answers with the figures as they are now. */
static void apply(struct kms_exchange *x, const cJSON *body)
{
	const struct setting *setting;
	struct kms_guard_sum sum;
	const cJSON *member;
	char pointer[64];
	uint64_t value;

	for (member = body->child; member; member = member->next) {
		snprintf(pointer, sizeof(pointer), "/%.40s", member->string);
		setting = find_setting(member->string);
		if (kms_body_u64(member, &value) &&
		    !kms_variable_write(x, pointer, setting->variable, value))
			return;
	}
	kms_sum_guard(x->snapshot, x->query.target, &sum);
	sum.pending = false; /* of what was written, not of what the picture shows */
	for (member = body->child; member; member = member->next)
		note_setting(x, find_setting(member->string), &sum);
	x->out->status = sum.pending ? 202 : 200;
	write_document(x, &sum);
}

void kms_res_guard_patch(struct kms_exchange *x)
{
	cJSON *body = kms_body_read(x, "{\"depth\": 30000}");

	if (!body)
		return;
	if (kms_variable_is_writable(x) && check_body(x, body))
		apply(x, body);
	cJSON_Delete(body);
}
