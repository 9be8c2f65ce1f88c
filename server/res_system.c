/* SPDX-License-Identifier: BSD-2-Clause */
/* /healthz, /readyz, /openapi.json */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "server/exchange.h"

/* schema/openapi.json, embedded at build time */
extern const char kms_openapi_json[];
extern const unsigned long kms_openapi_json_len;

enum {
	READY_LAG_US = 5000000, /* a tracer this far behind cannot be asked about now */
};

void kms_res_healthz(struct kms_exchange *x)
{
	x->out->content_type = "text/plain; charset=utf-8";
	kms_buf_add_str(&x->body, "ok\n");
}

void kms_res_readyz(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;

	if (s->tracer_lost)
		kms_problem(x, KMS_PROBLEM_NOT_READY, "the tracer is gone: %s", s->tracer_lost);
	else if (s->stats.lag_us > READY_LAG_US)
		kms_problem(x, KMS_PROBLEM_NOT_READY, "the model is %s behind the target",
			    kms_fmt_ns(s->stats.lag_us * 1000).text);
	else if (s->stats.lost)
		kms_problem(x, KMS_PROBLEM_NOT_READY, "%" PRIu64 " events are lost", s->stats.lost);
	else {
		x->out->content_type = "text/plain; charset=utf-8";
		kms_buf_add_str(&x->body, "ready\n");
	}
}

void kms_res_openapi(struct kms_exchange *x)
{
	kms_buf_add(&x->body, kms_openapi_json, kms_openapi_json_len);
}
