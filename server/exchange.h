/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the server: one request on its way through a route's handler.
 */
#ifndef KMS_SERVER_EXCHANGE_H
#define KMS_SERVER_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "server/json.h"
#include "server/query.h"
#include "server/server.h"
#include "server/stacks.h"

struct kms_ddb_sessions;

struct kms_server {
	const struct kms_view *view;
	struct kms_ddb_sessions *sessions; /* prompts that remember */
	char version[32];
	char *web_root; /* NULL: the page in the program */
};

/**
 * What a handler works on. It writes the body by json (or body itself) and leaves out->status at 200,
 * or calls kms_problem() and returns.
 */
struct kms_exchange {
	const struct kms_server *server;
	const struct kms_view *view;
	const struct kms_request_in *in;
	const struct kms_route *route;
	const struct kms_snapshot *snapshot; /* borrowed for the whole exchange */
	struct kms_stacks stacks;
	struct kms_query query;
	char arg[256]; /* the {part} of the path, decoded */
	struct kms_buf body;
	struct kms_json json;
	struct kms_response *out;
};

typedef void kms_handler_fn(struct kms_exchange *x);

/** A resource and method. The pattern has one {part} at most, a whole segment. */
struct kms_route {
	const char *method;
	const char *pattern;
	uint32_t params; /* KMS_PARAM_BIT set; others are refused */
	kms_handler_fn *handle;
	bool reads_too; /* not a GET, but may read only: the handler looks at in->read_only */
};

/** The table; ends with a row of NULLs. */
extern const struct kms_route kms_routes[];

/* What can go wrong, each with its own type URI and status. */
enum kms_problem {
	KMS_PROBLEM_BAD_REQUEST,
	KMS_PROBLEM_BAD_PARAMETER,
	KMS_PROBLEM_BAD_CURSOR,
	KMS_PROBLEM_BAD_BODY,
	KMS_PROBLEM_UNAUTHORIZED,
	KMS_PROBLEM_FORBIDDEN,
	KMS_PROBLEM_READ_ONLY,
	KMS_PROBLEM_FOREIGN_HOST,
	KMS_PROBLEM_CROSS_SITE,
	KMS_PROBLEM_NO_RESOURCE,
	KMS_PROBLEM_NO_TARGET,
	KMS_PROBLEM_NO_ITEM,
	KMS_PROBLEM_METHOD,
	KMS_PROBLEM_NOT_ACCEPTABLE,
	KMS_PROBLEM_NOT_LIVE,
	KMS_PROBLEM_ALREADY,
	KMS_PROBLEM_NOT_POSSIBLE,
	KMS_PROBLEM_CURSOR_EXPIRED,
	KMS_PROBLEM_BODY_TOO_LARGE,
	KMS_PROBLEM_MEDIA_TYPE,
	KMS_PROBLEM_INTERNAL,
	KMS_PROBLEM_NOT_OFFERED,
	KMS_PROBLEM_NOT_READY,
	KMS_PROBLEM_TOO_MANY,
	KMS_PROBLEMS,
};

/** Makes the response a problem document; what the handler wrote before is dropped. */
void kms_problem(struct kms_exchange *x, enum kms_problem problem, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** The same, naming the place: a query parameter ("limit") or a JSON pointer ("/depth"). */
void kms_problem_at(struct kms_exchange *x, enum kms_problem problem, const char *where,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** A problem document without a route: for what the HTTP front itself refuses. */
void kms_server_refuse(const struct kms_request_in *in, enum kms_problem problem,
		       const char *detail, struct kms_response *out);

/**
 * Writes what a GET of @target would answer as member @key: of the same snapshot, whatever has happened since.
 *
 * Errors: false: it cannot be had; the problem is then x's own answer.
 */
bool kms_exchange_part(struct kms_exchange *x, const char *key, const char *target);

/** Answers with a file of the web page, if the path is one. False: it is none, nothing was done. */
bool kms_serve_page(struct kms_exchange *x, size_t path_bytes);

/** Who asks, for the audit; never NULL. */
static inline const char *kms_exchange_who(const struct kms_exchange *x)
{
	return x->in->who ? x->in->who : "this process";
}

/** Whether the run has this target. */
bool kms_target_exists(const struct kms_snapshot *snapshot, uint32_t id);

/* Handlers, one resource per file. */
kms_handler_fn kms_res_healthz, kms_res_readyz, kms_res_openapi;
kms_handler_fn kms_res_targets_post, kms_res_target_detach;
kms_handler_fn kms_res_targets, kms_res_stats, kms_res_snapshot;
kms_handler_fn kms_res_target_stop, kms_res_target_continue;
kms_handler_fn kms_res_caches, kms_res_cache;
kms_handler_fn kms_res_guard, kms_res_guard_patch;
kms_handler_fn kms_res_kfence;
kms_handler_fn kms_res_leaks, kms_res_leak;
kms_handler_fn kms_res_faults, kms_res_fault;
kms_handler_fn kms_res_events;
kms_handler_fn kms_res_sites, kms_res_stack;
kms_handler_fn kms_res_blocks, kms_res_whatis, kms_res_history, kms_res_slabs;
kms_handler_fn kms_res_timeline, kms_res_marks, kms_res_marks_post, kms_res_diff, kms_res_audit;
kms_handler_fn kms_res_variables, kms_res_variable, kms_res_variable_patch;
kms_handler_fn kms_res_loss, kms_res_stream;
kms_handler_fn kms_res_db;
kms_handler_fn kms_res_session, kms_res_session_post, kms_res_metrics;

#endif
