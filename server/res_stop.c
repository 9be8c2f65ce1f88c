/* SPDX-License-Identifier: BSD-2-Clause */
/* POST /api/v1/targets/{id}/stop and /continue */
#include <errno.h>
#include <string.h>

#include "base/fmt.h"
#include "server/exchange.h"
#include "server/write.h"

/* Which targets the path names: a number, or all of them. False: a problem was answered. */
static bool named_target(struct kms_exchange *x, uint32_t *target)
{
	uint64_t id;

	*target = 0;
	if (strcmp(x->arg, "all") == 0)
		return true;
	if (kms_parse_u64(x->arg, &id) < 0 || id < 1 || id > UINT32_MAX ||
	    !kms_target_exists(x->snapshot, (uint32_t)id)) {
		kms_problem(x, KMS_PROBLEM_NO_TARGET,
			    "the run has no target %s; /api/v1/targets lists them, and all is all",
			    x->arg);
		return false;
	}
	*target = (uint32_t)id;
	return true;
}

static enum kms_problem problem_of(int error)
{
	switch (error) {
	case -EALREADY:
		return KMS_PROBLEM_ALREADY;
	case -ESRCH:
	case -ENOTCONN:
		return KMS_PROBLEM_NOT_LIVE;
	default:
		return KMS_PROBLEM_INTERNAL;
	}
}

static void answer(struct kms_exchange *x,
		   int (*change)(void *ctx, const char *who, uint32_t target, struct kms_err *err),
		   enum kms_target_state state)
{
	struct kms_err err = KMS_ERR_INIT;
	uint32_t target;
	int result;

	if (x->snapshot->finished) {
		kms_problem(x, KMS_PROBLEM_NOT_LIVE,
			    "this is a finished trace; programs can be stopped while they run");
		return;
	}
	if (!change) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source cannot stop its targets");
		return;
	}
	if (!named_target(x, &target))
		return;
	result = change(x->view->ctx, kms_exchange_who(x), target, &err);
	if (result < 0) {
		kms_problem(x, problem_of(result), "%s", err.text);
		return;
	}
	kms_json_object_begin(&x->json, NULL);
	if (target)
		kms_json_u64(&x->json, "target", target);
	else
		kms_json_null(&x->json, "target");
	kms_json_string(&x->json, "state", kms_state_name(state));
	kms_json_object_end(&x->json);
}

void kms_res_target_stop(struct kms_exchange *x)
{
	answer(x, x->view->ops->stop, KMS_STATE_STOPPED);
}

void kms_res_target_continue(struct kms_exchange *x)
{
	answer(x, x->view->ops->resume, KMS_STATE_RUNNING);
}
