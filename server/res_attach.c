/* SPDX-License-Identifier: BSD-2-Clause */
/* POST /api/v1/targets takes a process or a guest that runs already, POST /api/v1/targets/{id}/detach lets one go. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fmt.h"
#include "server/body.h"
#include "server/sum.h"
#include "server/write.h"

/* What a request asks for; the strings are the body's. */
struct wish {
	const char *attach;
	bool stop;
};

/* Takes one member of the body; false: a problem was answered. */
static bool take_member(struct kms_exchange *x, const cJSON *member, struct wish *wish)
{
	char where[64];

	(void)snprintf(where, sizeof(where), "/%.48s", member->string); /* cut if need be */
	if (strcmp(member->string, "attach") == 0 && cJSON_IsString(member))
		wish->attach = member->valuestring;
	else if (strcmp(member->string, "stop") == 0 && cJSON_IsBool(member))
		wish->stop = cJSON_IsTrue(member);
	else
		kms_problem_at(
			x, KMS_PROBLEM_BAD_BODY, where,
			"members are attach, a string such as \"pid:4711\" or \"qemu:pid:4711\", and "
			"stop, true or false");
	return x->out->status == 200;
}

static enum kms_problem problem_of(int error)
{
	static const struct {
		int error;
		enum kms_problem problem;
	} known[] = {
		{-EINVAL,       KMS_PROBLEM_BAD_BODY    },
                {-ERANGE,       KMS_PROBLEM_BAD_BODY    },
		{-ENAMETOOLONG, KMS_PROBLEM_BAD_BODY    },
                {-ESRCH,        KMS_PROBLEM_NO_ITEM     },
		{-ENOENT,       KMS_PROBLEM_NO_ITEM     },
                {-ECONNREFUSED, KMS_PROBLEM_NO_ITEM     },
		{-EPERM,        KMS_PROBLEM_FORBIDDEN   },
                {-EACCES,       KMS_PROBLEM_FORBIDDEN   },
		{-EBUSY,        KMS_PROBLEM_NOT_POSSIBLE},
                {-ENOTSUP,      KMS_PROBLEM_NOT_POSSIBLE},
		{-EPROTO,       KMS_PROBLEM_NOT_POSSIBLE},
                {-ENOEXEC,      KMS_PROBLEM_NOT_POSSIBLE},
		{-ENOSPC,       KMS_PROBLEM_NOT_POSSIBLE},
                {-ENOTUNIQ,     KMS_PROBLEM_NOT_POSSIBLE},
		{-ETIMEDOUT,    KMS_PROBLEM_NOT_POSSIBLE},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].error == error)
			return known[i].problem;
	}
	return KMS_PROBLEM_INTERNAL;
}

static void attach(struct kms_exchange *x, const struct wish *wish)
{
	const struct kms_view *view = x->view;
	struct kms_err err = KMS_ERR_INIT;
	uint32_t target = 0;
	int result;

	result = view->ops->attach(view->ctx, kms_exchange_who(x), wish->attach, wish->stop,
				   &target, &err);
	if (result < 0) {
		kms_problem(x, problem_of(result), "%s", err.text);
		return;
	}
	x->out->status = target ? 201 : 202;
	kms_json_object_begin(&x->json, NULL);
	kms_json_string(&x->json, "attach", wish->attach);
	if (target)
		kms_json_u64(&x->json, "target", target);
	else
		kms_json_null(&x->json, "target");
	kms_json_object_end(&x->json);
}

void kms_res_targets_post(struct kms_exchange *x)
{
	cJSON *body;
	struct wish wish = {0};

	if (!x->view->ops->attach) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED,
			    "processes are attached through `kmemscope daemon`, or by `kmemscope "
			    "attach`");
		return;
	}
	body = kms_body_read(x, "{\"attach\": \"pid:4711\"}");
	for (const cJSON *member = body ? body->child : NULL; member; member = member->next) {
		if (!take_member(x, member, &wish))
			break;
	}
	if (body && x->out->status == 200 && !wish.attach)
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/attach", "is missing");
	else if (body && x->out->status == 200)
		attach(x, &wish);
	cJSON_Delete(body);
}

void kms_res_target_detach(struct kms_exchange *x)
{
	const struct kms_view *view = x->view;
	struct kms_err err = KMS_ERR_INIT;
	uint64_t id;
	int result;

	if (x->snapshot->finished) {
		kms_problem(x, KMS_PROBLEM_NOT_LIVE,
			    "this is a finished trace; there is nothing to be let go");
		return;
	}
	if (!view->ops->detach) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source cannot let its targets go");
		return;
	}
	if (kms_parse_u64(x->arg, &id) < 0 || id < 1 || id > UINT32_MAX) {
		kms_problem(x, KMS_PROBLEM_NO_TARGET, "%s is no target; /api/v1/targets lists them",
			    x->arg);
		return;
	}
	if (!kms_target_is_live(x->snapshot, (uint32_t)id)) {
		kms_problem(x, KMS_PROBLEM_NOT_LIVE,
			    "target %s does not live; /api/v1/targets says so", x->arg);
		return;
	}
	result = view->ops->detach(view->ctx, kms_exchange_who(x), (uint32_t)id, &err);
	if (result < 0) {
		kms_problem(x, result == -ESRCH ? KMS_PROBLEM_NOT_LIVE : KMS_PROBLEM_INTERNAL, "%s",
			    err.text);
		return;
	}
	x->out->status = 202; /* it goes at its next allocator call */
	kms_json_object_begin(&x->json, NULL);
	kms_json_u64(&x->json, "target", id);
	kms_json_object_end(&x->json);
}
