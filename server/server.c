/* SPDX-License-Identifier: BSD-2-Clause */
/* From a request to a route's handler and back: see server.h. */
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "server/asset.h"
#include "server/db_session.h"
#include "server/exchange.h"

int kms_server_create(const struct kms_view *view, const char *version, struct kms_server **out,
		      struct kms_err *err)
{
	struct kms_server *server = calloc(1, sizeof(*server));

	if (server)
		server->sessions = malloc(sizeof(*server->sessions));
	if (!server || !server->sessions) {
		free(server);
		return kms_err_set(err, -ENOMEM, "no memory for the server");
	}
	kms_ddb_sessions_init(server->sessions);
	server->view = view;
	snprintf(server->version, sizeof(server->version), "%s", version);
	*out = server;
	return 0;
}

void kms_server_destroy(struct kms_server *server)
{
	if (server) {
		kms_ddb_sessions_deinit(server->sessions);
		free(server->sessions);
		free(server->web_root);
	}
	free(server);
}

int kms_server_set_web_root(struct kms_server *server, const char *folder, struct kms_err *err)
{
	struct stat st;

	if (stat(folder, &st) < 0)
		return kms_err_sys(err, -errno, "cannot serve the page from", folder);
	if (!S_ISDIR(st.st_mode))
		return kms_err_sys(err, -ENOTDIR, "cannot serve the page from", folder);
	server->web_root = realpath(folder, NULL);
	return server->web_root ? 0
				: kms_err_sys(err, -errno, "cannot serve the page from", folder);
}

bool kms_server_route(size_t index, const char **method, const char **pattern)
{
	for (size_t i = 0; i <= index; i++)
		if (!kms_routes[i].method)
			return false;
	*method = kms_routes[index].method;
	*pattern = kms_routes[index].pattern;
	return true;
}

/*
 * Whether a path matches a pattern. A {part} takes one whole segment, decoded into arg; a segment
 * that does not decode matches nothing.
 */
static bool match_path(const char *pattern, const char *path, size_t n, char *arg, size_t arg_bytes)
{
	const char *brace = strchr(pattern, '{');
	const char *rest = brace ? strchr(brace, '}') + 1 : "";
	size_t fixed = brace ? (size_t)(brace - pattern) : strlen(pattern);
	size_t part;

	arg[0] = '\0';
	if (n < fixed || memcmp(pattern, path, fixed) != 0)
		return false;
	if (!brace)
		return n == fixed;
	if (n <= fixed + strlen(rest) || memcmp(path + n - strlen(rest), rest, strlen(rest)) != 0)
		return false;
	part = n - fixed - strlen(rest);
	if (memchr(path + fixed, '/', part))
		return false;
	return kms_url_decode(path + fixed, part, false, arg, arg_bytes) == 0;
}

bool kms_server_is_page(const struct kms_server *server, const struct kms_request_in *in)
{
	size_t path_bytes = strcspn(in->target, "?");
	char arg[256];

	if (strcmp(in->method, "GET") != 0 && strcmp(in->method, "HEAD") != 0)
		return false;
	for (const struct kms_route *route = kms_routes; route->method; route++)
		if (match_path(route->pattern, in->target, path_bytes, arg, sizeof(arg)))
			return false;
	return server->web_root || kms_asset_find(in->target, path_bytes);
}

/* Finds the route; a path that exists for other methods only is 405 with their names. */
static const struct kms_route *find_route(struct kms_exchange *x, size_t path_bytes)
{
	const char *path = x->in->target;
	const char *method = strcmp(x->in->method, "HEAD") == 0 ? "GET" : x->in->method;
	char *allow = x->out->allow;
	size_t used = 0;

	for (const struct kms_route *route = kms_routes; route->method; route++) {
		if (!match_path(route->pattern, path, path_bytes, x->arg, sizeof(x->arg)))
			continue;
		if (strcmp(route->method, method) == 0) {
			allow[0] = '\0';
			return route;
		}
		used += (size_t)snprintf(allow + used, sizeof(x->out->allow) - used, "%s%s",
					 used ? ", " : "", route->method);
	}
	if (used)
		kms_problem(x, KMS_PROBLEM_METHOD, "%s takes %s, not %s", path, allow,
			    x->in->method);
	else if (!kms_serve_page(x, path_bytes))
		kms_problem(x, KMS_PROBLEM_NO_RESOURCE,
			    "nothing is at %s; /openapi.json lists what there is", path);
	return NULL;
}

bool kms_target_exists(const struct kms_snapshot *snapshot, uint32_t id)
{
	for (size_t i = 0; i < snapshot->n_targets; i++)
		if (snapshot->target[i].id == id)
			return true;
	return false;
}

/* Checks what all lists share: the target that was named, the cursor that was sent. */
static bool check_query(struct kms_exchange *x)
{
	const struct kms_query *query = &x->query;
	uint64_t filter = kms_query_filter(
		query, kms_hash_bytes(x->route->pattern, strlen(x->route->pattern), 0));

	if (query->target && !kms_target_exists(x->snapshot, query->target)) {
		kms_problem_at(x, KMS_PROBLEM_NO_TARGET, "target",
			       "the run has no target %" PRIu32 "; /api/v1/targets lists them",
			       query->target);
		return false;
	}
	if (!(query->given & KMS_PARAM_BIT(KMS_PARAM_CURSOR))) {
		x->query.cursor.run = x->snapshot->wall_ns;
		x->query.cursor.filter = filter;
		return true;
	}
	if (query->cursor.run != x->snapshot->wall_ns)
		kms_problem_at(x, KMS_PROBLEM_CURSOR_EXPIRED, "cursor",
			       "the cursor is of another run; begin again without it");
	else if (query->cursor.filter != filter)
		kms_problem_at(x, KMS_PROBLEM_BAD_CURSOR, "cursor",
			       "the cursor was made for other filters; send the same ones, or "
			       "begin again without it");
	else
		return true;
	return false;
}

static void dispatch(struct kms_exchange *x)
{
	const char *target = x->in->target;
	size_t path_bytes = strcspn(target, "?");
	struct kms_err err = KMS_ERR_INIT;

	if (target[0] != '/' || strlen(target) > KMS_REQUEST_TARGET_BYTES) {
		kms_problem(x, KMS_PROBLEM_BAD_REQUEST, "the request needs a path of 1 to %d bytes",
			    KMS_REQUEST_TARGET_BYTES);
		return;
	}
	x->route = find_route(x, path_bytes);
	if (!x->route)
		return;
	if (kms_query_parse(target + path_bytes + (target[path_bytes] == '?'), x->route->params,
			    &x->query, &err) < 0) {
		kms_problem_at(x, KMS_PROBLEM_BAD_PARAMETER, err.subject[0] ? err.subject : NULL,
			       "%s", err.text);
		return;
	}
	if (!check_query(x))
		return;
	if (x->in->read_only && strcmp(x->route->method, "GET") != 0 && !x->route->reads_too)
		kms_problem(x, KMS_PROBLEM_READ_ONLY, "%s may read only", kms_exchange_who(x));
	else
		x->route->handle(x);
}

bool kms_exchange_part(struct kms_exchange *x, const char *key, const char *target)
{
	const struct kms_request_in in = {.method = "GET",
					  .target = target,
					  .who = x->in->who,
					  .read_only = x->in->read_only};
	struct kms_response out = {.status = 200};
	struct kms_exchange part = {.server = x->server,
				    .view = x->view,
				    .in = &in,
				    .snapshot = x->snapshot,
				    .stacks = x->stacks,
				    .out = &out};

	kms_buf_init(&part.body, KMS_RESPONSE_BODY_BYTES);
	kms_json_init(&part.json, &part.body);
	dispatch(&part);
	x->stacks = part.stacks;
	if (out.status == 200 && kms_buf_status(&part.body) == 0)
		kms_json_raw(&x->json, key, kms_buf_text(&part.body), part.body.used_bytes);
	else
		kms_problem(x, KMS_PROBLEM_INTERNAL, "%s cannot be had: %.200s", target,
			    kms_buf_text(&part.body));
	kms_buf_deinit(&part.body);
	return x->out->status == 200;
}

/* The ETag is a hash of the body: right even where an answer changes without a new event. */
static void set_etag(struct kms_exchange *x)
{
	struct kms_response *out = x->out;

	if (out->status != 200 || out->stream.period_ms || (!out->page && !x->route) ||
	    (x->route && strcmp(x->route->method, "GET") != 0))
		return;
	if (!out->etag[0])
		snprintf(out->etag, sizeof(out->etag), "\"%016" PRIx64 "\"",
			 kms_hash_bytes(out->body, out->body_bytes, 0));
	if (!x->in->if_none_match || strcmp(x->in->if_none_match, out->etag) != 0)
		return;
	out->status = 304;
	out->body[0] = '\0';
	out->body_bytes = 0;
}

/* A failure for which there may be no memory left: a body that is a constant. */
static void out_of_memory(struct kms_response *out)
{
	out->status = 500;
	out->content_type = "application/problem+json";
	out->body = strdup("{\"type\":\"/problems/internal\",\"title\":\"The request could not be "
			   "answered\",\"status\":500,\"detail\":\"out of memory\"}");
	out->body_bytes = out->body ? strlen(out->body) : 0;
}

/* Hands the body over, or says why there is none. Documents end in a line feed, for those who read them with cat. */
static void finish(struct kms_exchange *x)
{
	if (!x->out->page && x->body.used_bytes && x->body.text[x->body.used_bytes - 1] != '\n')
		kms_buf_add_char(&x->body, '\n');
	if (kms_buf_status(&x->body) == -E2BIG)
		kms_problem(x, KMS_PROBLEM_INTERNAL,
			    "the answer is larger than %d MiB; ask for less with limit=",
			    KMS_RESPONSE_BODY_BYTES >> 20);
	if (kms_buf_status(&x->body) == 0) {
		x->out->body_bytes = x->body.used_bytes;
		x->out->body = kms_buf_take(&x->body);
	}
	if (x->out->body)
		set_etag(x);
	else
		out_of_memory(x->out);
	kms_buf_deinit(&x->body);
}

void kms_server_handle(const struct kms_server *server, const struct kms_request_in *in,
		       struct kms_response *out)
{
	struct kms_exchange x = {.server = server, .view = server->view, .in = in, .out = out};

	memset(out, 0, sizeof(*out));
	out->status = 200;
	out->content_type = "application/json";
	kms_buf_init(&x.body, KMS_RESPONSE_BODY_BYTES);
	kms_json_init(&x.json, &x.body);
	kms_stacks_init(&x.stacks, x.view);
	x.snapshot = x.view->ops->acquire(x.view->ctx);
	dispatch(&x);
	kms_stacks_deinit(&x.stacks);
	x.view->ops->release(x.view->ctx, x.snapshot);
	finish(&x);
}

void kms_server_refuse(const struct kms_request_in *in, enum kms_problem problem,
		       const char *detail, struct kms_response *out)
{
	struct kms_exchange x = {.in = in, .out = out};

	memset(out, 0, sizeof(*out));
	kms_buf_init(&x.body, KMS_RESPONSE_BODY_BYTES);
	kms_problem(&x, problem, "%s", detail);
	finish(&x);
}

void kms_response_deinit(struct kms_response *response)
{
	free(response->body);
	memset(response, 0, sizeof(*response));
}
