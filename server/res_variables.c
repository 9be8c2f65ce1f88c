/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/variables and /api/v1/variables/{name}, GET and PATCH */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/body.h"
#include "server/variable.h"
#include "server/write.h"

#define PREFIX "kmem_"

#define ROW(id, name_, def_, min_, max_, help_) {name_, def_, min_, max_, help_},

const struct kms_variable_row kms_variable_rows[KMS_VARIABLE_COUNT] = {KMS_VARIABLES(ROW)};

void kms_variable_read(const struct kms_exchange *x, unsigned variable,
		       struct kms_variable_state *state)
{
	const struct kms_view *view = x->view;

	*state = (struct kms_variable_state){0};
	if (!view->ops->variable_get)
		return;
	state->known =
		view->ops->variable_get(view->ctx, x->query.target, variable, &state->requested,
					&state->effective, &state->pending, NULL) == 0;
}

bool kms_variable_is_writable(struct kms_exchange *x)
{
	if (x->snapshot->finished)
		kms_problem(x, KMS_PROBLEM_NOT_LIVE,
			    "this is a finished trace; variables can be written while it runs");
	else if (!x->view->ops->variable_set || !x->view->ops->variable_get)
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED,
			    "this source has no variables: it is only looked at");
	return x->out->status == 200;
}

static enum kms_problem problem_of(int code)
{
	switch (code) {
	case -ENOTCONN:
	case -ESRCH:
		return KMS_PROBLEM_NOT_LIVE;
	case -ERANGE:
	case -EINVAL:
		return KMS_PROBLEM_BAD_BODY;
	default:
		return KMS_PROBLEM_INTERNAL;
	}
}

bool kms_variable_write(struct kms_exchange *x, const char *where, unsigned variable,
			uint64_t value)
{
	const struct kms_variable_row *row = &kms_variable_rows[variable];
	const struct kms_view *view = x->view;
	struct kms_err err = KMS_ERR_INIT;

	if (value < row->min || value > row->max) {
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, where,
			       "%s must be a whole number from %" PRIu64 " to %" PRIu64, row->name,
			       row->min, row->max);
		return false;
	}
	if (view->ops->variable_set(view->ctx, kms_exchange_who(x), x->query.target, variable,
				    value, &err) == 0)
		return true;
	kms_problem_at(x, problem_of(err.code), where, "%s: %s", row->name, err.text);
	return false;
}

/* With or without kmem_. */
static const struct kms_variable_row *find_row(const char *name)
{
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		const char *full = kms_variable_rows[i].name;

		if (strcmp(full, name) == 0 || strcmp(full + strlen(PREFIX), name) == 0)
			return &kms_variable_rows[i];
	}
	return NULL;
}

static void write_members(struct kms_json *json, const struct kms_variable_row *row,
			  const struct kms_variable_state *state)
{
	kms_json_string(json, "name", row->name);
	if (state->known) {
		kms_json_u64(json, "effective", state->effective);
		kms_json_u64(json, "requested", state->requested);
	} else {
		kms_json_null(json, "effective");
		kms_json_null(json, "requested");
	}
	kms_json_bool(json, "pending", state->pending);
	kms_json_u64(json, "default", row->def);
	kms_json_u64(json, "min", row->min);
	kms_json_u64(json, "max", row->max);
	kms_json_string(json, "help", row->help);
}

static void write_target(struct kms_exchange *x)
{
	if (x->query.target)
		kms_json_u64(&x->json, "target", x->query.target);
	else
		kms_json_null(&x->json, "target");
}

void kms_res_variables(struct kms_exchange *x)
{
	struct kms_json *json = &x->json;
	struct kms_variable_state state;

	kms_json_object_begin(json, NULL);
	kms_write_snapshot(x);
	write_target(x);
	kms_json_array_begin(json, "items");
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		kms_variable_read(x, i, &state);
		kms_json_object_begin(json, NULL);
		write_members(json, &kms_variable_rows[i], &state);
		kms_json_object_end(json);
	}
	kms_write_list_end(x, KMS_VARIABLE_COUNT, false, NULL);
}

/* The row that the path names; NULL: a problem was answered. */
static const struct kms_variable_row *asked_row(struct kms_exchange *x)
{
	const struct kms_variable_row *row = find_row(x->arg);

	if (!row)
		kms_problem(x, KMS_PROBLEM_NO_ITEM,
			    "no variable is named %s; /api/v1/variables lists them", x->arg);
	return row;
}

static void write_document(struct kms_exchange *x, const struct kms_variable_row *row,
			   const struct kms_variable_state *state)
{
	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	write_target(x);
	write_members(&x->json, row, state);
	kms_json_object_end(&x->json);
}

void kms_res_variable(struct kms_exchange *x)
{
	const struct kms_variable_row *row = asked_row(x);
	struct kms_variable_state state;

	if (!row)
		return;
	kms_variable_read(x, (unsigned)(row - kms_variable_rows), &state);
	write_document(x, row, &state);
}

static void apply(struct kms_exchange *x, const struct kms_variable_row *row, const cJSON *body)
{
	unsigned variable = (unsigned)(row - kms_variable_rows);
	struct kms_variable_state state;
	const cJSON *member = body->child;
	uint64_t value;

	if (member->next || strcmp(member->string, "value") != 0)
		kms_problem(x, KMS_PROBLEM_BAD_BODY, "the body has the one member value");
	else if (!kms_body_u64(member, &value))
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/value",
			       "must be a whole number, or a string such as \"0x10\" or \"64K\"");
	else if (kms_variable_write(x, "/value", variable, value)) {
		kms_variable_read(x, variable, &state);
		/* written; what the target made of it may not be known yet */
		state.pending |= !state.known;
		x->out->status = state.pending ? 202 : 200;
		write_document(x, row, &state);
	}
}

void kms_res_variable_patch(struct kms_exchange *x)
{
	const struct kms_variable_row *row = asked_row(x);
	cJSON *body;

	if (!row)
		return;
	body = kms_body_read(x, "{\"value\": 30000}");
	if (!body)
		return;
	if (kms_variable_is_writable(x))
		apply(x, row, body);
	cJSON_Delete(body);
}
