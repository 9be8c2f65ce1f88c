/* SPDX-License-Identifier: BSD-2-Clause */
/* POST /api/v1/db: a line of the prompt. */
#include <string.h>

#include "server/body.h"
#include "server/db.h"
#include "server/db_session.h"
#include "server/exchange.h"

/* What a body asks for; strings are borrowed from it. */
struct ask {
	const char *line;
	const char *session; /* NULL: nothing is remembered */
};

static bool is_session(const char *id)
{
	size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n > 0 && n < KMS_DDB_SESSION_BYTES && id[n] == '\0';
}

static bool take_member(struct kms_exchange *x, const cJSON *member, struct ask *ask)
{
	const char *text = cJSON_GetStringValue(member);

	if (strcmp(member->string, "line") == 0 && !ask->line && text)
		ask->line = text;
	else if (strcmp(member->string, "session") == 0 && !ask->session && text &&
		 is_session(text))
		ask->session = text;
	else if (strcmp(member->string, "session") == 0)
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/session",
			       "must be 1 to %d letters, digits, dots, dashes and underscores",
			       KMS_DDB_SESSION_BYTES - 1);
	else if (strcmp(member->string, "line") == 0)
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/line", "must be one text");
	else
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/",
			       "unknown member; line and session can be sent");
	return x->out->status == 200;
}

static bool read_members(struct kms_exchange *x, const cJSON *body, struct ask *ask)
{
	const cJSON *member;

	for (member = body->child; member; member = member->next)
		if (!take_member(x, member, ask))
			return false;
	if (ask->line)
		return true;
	kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/line", "line is missing");
	return false;
}

static void answer(struct kms_exchange *x, const struct kms_ddb *db)
{
	char prompt[KMS_DDB_PROMPT_BYTES];

	kms_ddb_prompt(db->state, prompt);
	kms_json_object_begin(&x->json, NULL);
	kms_json_string(&x->json, "output", kms_buf_text(db->out));
	kms_json_string(&x->json, "error", db->lex.error[0] ? db->lex.error : NULL);
	kms_json_string(&x->json, "prompt", prompt);
	kms_json_u64(&x->json, "lines", db->state->var[KMS_DDB_LINES]);
	kms_json_bool(&x->json, "stop", db->leave);
	kms_json_object_end(&x->json);
}

static void run(struct kms_exchange *x, const struct ask *ask)
{
	struct kms_ddb_sessions *sessions = x->server->sessions;
	struct kms_ddb_state state;
	struct kms_buf out;
	struct kms_ddb db = {.view = x->view,
			     .snapshot = x->snapshot,
			     .stacks = &x->stacks,
			     .state = &state,
			     .who = kms_exchange_who(x),
			     .read_only = x->in->read_only,
			     .target = x->query.target,
			     .out = &out};

	kms_buf_init(&out, KMS_DDB_OUTPUT_BYTES);
	kms_ddb_state_init(&state);
	if (ask->session)
		kms_ddb_sessions_load(sessions, ask->session, db.read_only, &state);
	(void)kms_ddb_run(&db, ask->line); /* the error is in db */
	if (ask->session)
		kms_ddb_sessions_store(sessions, ask->session, db.read_only, &state);
	answer(x, &db);
	kms_buf_deinit(&out);
}

/* Whether a line may run now: some take long, and the other resources want workers too. */
static bool begin(struct kms_exchange *x)
{
	if (kms_ddb_sessions_begin(x->server->sessions))
		return true;
	kms_problem(x, KMS_PROBLEM_TOO_MANY,
		    "%d lines of the prompt are running, and no more are run at once; try again "
		    "in a moment",
		    KMS_DDB_AT_ONCE);
	return false;
}

void kms_res_db(struct kms_exchange *x)
{
	struct ask ask = {0};
	cJSON *body = kms_body_read(x, "{\"line\": \"show guard\"}");

	if (!body)
		return;
	if (read_members(x, body, &ask) && begin(x)) {
		run(x, &ask);
		kms_ddb_sessions_end(x->server->sessions);
	}
	cJSON_Delete(body);
}
