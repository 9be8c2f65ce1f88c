/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes that come and go, for tests: see fixture_view.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "server/test/fixture_view.h"

/* Processes are what their numbers say. */
static int attach(void *ctx, const char *who, const char *what, bool stopped, uint32_t *target,
		  struct kms_err *err)
{
	static const struct {
		const char *what;
		int result;
		uint32_t target;
	} known[] = {
		{"pid:4242", 0,      3},
                {"pid:1",    0,      0},
                {"pid:2",    -EBUSY, 0},
		{"pid:3",    -ESRCH, 0},
                {"pid:5",    -EPERM, 0},
	};
	struct fixture *f = ctx;

	(void)stopped;
	snprintf(f->who, sizeof(f->who), "%s", who);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(what, known[i].what) != 0)
			continue;
		*target = known[i].target;
		return known[i].result ? kms_err_set(err, known[i].result, "no") : 0;
	}
	return kms_err_set(err, -EINVAL, "%s is no process", what);
}

static int detach(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	struct fixture *f = ctx;

	(void)target, (void)err;
	snprintf(f->who, sizeof(f->who), "%s", who);
	return 0;
}

void fixture_attach_init(struct fixture *f)
{
	f->ops.attach = attach;
	f->ops.detach = detach;
}
