/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/session: who asks, and what he may do; a browser's login */
#include <string.h>

#include "server/access.h"
#include "server/body.h"
#include "server/exchange.h"

static const char *const scope_names[] = {KMS_SCOPE_NAMES};

static void write_session(struct kms_exchange *x, const char *who, enum kms_scope scope)
{
	kms_json_object_begin(&x->json, NULL);
	kms_json_string(&x->json, "who", who);
	kms_json_string(&x->json, "scope", scope_names[scope]);
	kms_json_object_end(&x->json);
}

void kms_res_session(struct kms_exchange *x)
{
	write_session(x, kms_exchange_who(x), x->in->read_only ? KMS_SCOPE_READ : KMS_SCOPE_WRITE);
}

/* The only member. */
static const char *read_token(struct kms_exchange *x, const cJSON *body)
{
	const cJSON *member = body->child;

	if (strcmp(member->string, "token") == 0 && cJSON_IsString(member) && !member->next)
		return member->valuestring;
	kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/token", "a token, and nothing else, is needed");
	return NULL;
}

static void log_in(struct kms_exchange *x, const char *token)
{
	enum kms_scope scope =
		kms_access_login(x->in->access, token, x->out->cookie, sizeof(x->out->cookie));

	if (scope != KMS_SCOPE_NONE) {
		write_session(x, "browser", scope);
		return;
	}
	x->out->cookie[0] = '\0';
	kms_problem(x, KMS_PROBLEM_UNAUTHORIZED,
		    "the token is wrong, or it was used already: the one in the address is good "
		    "once, those in the session's folder always are");
}

void kms_res_session_post(struct kms_exchange *x)
{
	cJSON *body = kms_body_read(x, "{\"token\": \"...\"}");
	const char *token = body ? read_token(x, body) : NULL;

	if (token && x->in->access)
		log_in(x, token);
	else if (token)
		kms_problem(x, KMS_PROBLEM_BAD_REQUEST,
			    "nobody logs in here: on a Unix socket the kernel says who asks");
	cJSON_Delete(body);
}
