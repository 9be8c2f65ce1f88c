/* SPDX-License-Identifier: BSD-2-Clause */
/* Problem documents (RFC 9457): see exchange.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"

/* Type URIs are stable: clients compare them. */
static const struct {
	int status;
	const char *type;
	const char *title;
} problems[KMS_PROBLEMS] = {
	[KMS_PROBLEM_BAD_REQUEST] = {400, "bad-request",        "The request cannot be read"             },
	[KMS_PROBLEM_BAD_PARAMETER] = {400, "bad-parameter",      "A query parameter is wrong"             },
	[KMS_PROBLEM_BAD_CURSOR] = {400, "bad-cursor",         "The cursor does not belong to this list"},
	[KMS_PROBLEM_BAD_BODY] = {400, "bad-body",           "The request body is wrong"              },
	[KMS_PROBLEM_UNAUTHORIZED] = {401, "unauthorized",       "Say who you are"                        },
	[KMS_PROBLEM_READ_ONLY] = {403, "read-only",          "Who asks may read only"                 },
	[KMS_PROBLEM_FOREIGN_HOST] = {403, "foreign-host",       "The request names another host"         },
	[KMS_PROBLEM_CROSS_SITE] = {403, "cross-site",         "Another site's page sent the request"   },
	[KMS_PROBLEM_TOO_MANY] = {503, "too-many",           "Too many are there already"             },
	[KMS_PROBLEM_FORBIDDEN] = {403, "forbidden",          "Who asks may not do this"               },
	[KMS_PROBLEM_NO_RESOURCE] = {404, "no-such-resource",   "There is no such resource"              },
	[KMS_PROBLEM_NO_TARGET] = {404, "no-such-target",     "There is no such target in this run"    },
	[KMS_PROBLEM_NO_ITEM] = {404, "no-such-item",       "There is no such item"                  },
	[KMS_PROBLEM_METHOD] = {405, "method-not-allowed",
				     "The resource does not take this method"                            },
	[KMS_PROBLEM_NOT_ACCEPTABLE] = {406, "not-acceptable",
                                     "No format that was asked for is there"                             },
	[KMS_PROBLEM_NOT_LIVE] = {409, "not-live",           "A finished run cannot be changed"       },
	[KMS_PROBLEM_ALREADY] = {409, "already",            "It is so already"                       },
	[KMS_PROBLEM_NOT_POSSIBLE] = {409, "not-possible",       "This process cannot be taken"           },
	[KMS_PROBLEM_CURSOR_EXPIRED] = {410, "cursor-expired",     "The cursor is of another run"           },
	[KMS_PROBLEM_BODY_TOO_LARGE] = {413, "body-too-large",     "The request body is too large"          },
	[KMS_PROBLEM_MEDIA_TYPE] = {415, "media-type",         "The request body must be JSON"          },
	[KMS_PROBLEM_INTERNAL] = {500, "internal",           "The request could not be answered"      },
	[KMS_PROBLEM_NOT_OFFERED] = {501, "not-offered",        "This source does not have it"           },
	[KMS_PROBLEM_NOT_READY] = {503, "not-ready",          "The tracer is not ready"                },
};

static void write_problem(struct kms_exchange *x, enum kms_problem problem, const char *where,
			  const char *detail)
{
	char type[64];

	snprintf(type, sizeof(type), "/problems/%s", problems[problem].type);
	kms_buf_reset(&x->body);
	kms_json_init(&x->json, &x->body);
	kms_json_object_begin(&x->json, NULL);
	kms_json_string(&x->json, "type", type);
	kms_json_string(&x->json, "title", problems[problem].title);
	kms_json_i64(&x->json, "status", problems[problem].status);
	kms_json_string(&x->json, "detail", detail);
	kms_json_string(&x->json, "instance", x->in->target);
	if (where) {
		kms_json_array_begin(&x->json, "errors");
		kms_json_object_begin(&x->json, NULL);
		kms_json_string(&x->json, where[0] == '/' ? "pointer" : "parameter", where);
		kms_json_string(&x->json, "detail", detail);
		kms_json_object_end(&x->json);
		kms_json_array_end(&x->json);
	}
	kms_json_object_end(&x->json);
	x->out->status = problems[problem].status;
	x->out->content_type = "application/problem+json";
}

static void problem_v(struct kms_exchange *x, enum kms_problem problem, const char *where,
		      const char *fmt, va_list args) __attribute__((format(printf, 4, 0)));

static void problem_v(struct kms_exchange *x, enum kms_problem problem, const char *where,
		      const char *fmt, va_list args)
{
	struct kms_buf detail;

	kms_buf_init(&detail, 4096);
	kms_buf_addv(&detail, fmt, args);
	write_problem(x, problem, where, kms_buf_text(&detail));
	kms_buf_deinit(&detail);
}

void kms_problem(struct kms_exchange *x, enum kms_problem problem, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	problem_v(x, problem, NULL, fmt, args);
	va_end(args);
}

void kms_problem_at(struct kms_exchange *x, enum kms_problem problem, const char *where,
		    const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	problem_v(x, problem, where, fmt, args);
	va_end(args);
}
