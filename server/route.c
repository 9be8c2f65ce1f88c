/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The route table. Each row is described in schema/openapi.json; a test compares the two.
 */
#include "server/exchange.h"

#define TARGET    KMS_PARAM_BIT(KMS_PARAM_TARGET)
#define SUM       KMS_PARAM_BIT(KMS_PARAM_SUM)
#define MIN_BYTES KMS_PARAM_BIT(KMS_PARAM_MIN_BYTES)
#define PAGE      (KMS_PARAM_BIT(KMS_PARAM_LIMIT) | KMS_PARAM_BIT(KMS_PARAM_CURSOR))
#define STREAM                                                                                     \
	(KMS_PARAM_BIT(KMS_PARAM_TOPICS) | KMS_PARAM_BIT(KMS_PARAM_HZ) |                           \
	 KMS_PARAM_BIT(KMS_PARAM_LIMIT))
#define LEAKS                                                                                      \
	(KMS_PARAM_BIT(KMS_PARAM_STATE) | KMS_PARAM_BIT(KMS_PARAM_MIN_BYTES) |                     \
	 KMS_PARAM_BIT(KMS_PARAM_MIN_SCORE))
#define EVENTS                                                                                     \
	(KMS_PARAM_BIT(KMS_PARAM_ADDRESS) | KMS_PARAM_BIT(KMS_PARAM_FROM) |                        \
	 KMS_PARAM_BIT(KMS_PARAM_TO) | KMS_PARAM_BIT(KMS_PARAM_KIND) |                             \
	 KMS_PARAM_BIT(KMS_PARAM_SITE) | KMS_PARAM_BIT(KMS_PARAM_ORDER))

#define SITE (KMS_PARAM_BIT(KMS_PARAM_SITE) | KMS_PARAM_BIT(KMS_PARAM_CACHE))
#define TIMELINE                                                                                   \
	(KMS_PARAM_BIT(KMS_PARAM_FROM) | KMS_PARAM_BIT(KMS_PARAM_TO) |                             \
	 KMS_PARAM_BIT(KMS_PARAM_STEP) | KMS_PARAM_BIT(KMS_PARAM_SERIES))
#define MARKS (KMS_PARAM_BIT(KMS_PARAM_A) | KMS_PARAM_BIT(KMS_PARAM_B))

#define GET(path, params, handle)                                                                  \
	{                                                                                          \
		"GET", path, params, handle, false                                                 \
	}
#define PATCH(path, params, handle)                                                                \
	{                                                                                          \
		"PATCH", path, params, handle, false                                               \
	}

#define POST(path, params, handle)                                                                 \
	{                                                                                          \
		"POST", path, params, handle, false                                                \
	}

const struct kms_route kms_routes[] = {
	GET("/healthz", 0, kms_res_healthz),
	GET("/readyz", 0, kms_res_readyz),
	GET("/metrics", TARGET, kms_res_metrics),
	GET("/openapi.json", 0, kms_res_openapi),
	GET("/api/v1/targets", PAGE, kms_res_targets),
	POST("/api/v1/targets/{id}/stop", 0, kms_res_target_stop),
	POST("/api/v1/targets/{id}/continue", 0, kms_res_target_continue),
	POST("/api/v1/targets", 0, kms_res_targets_post),
	POST("/api/v1/targets/{id}/detach", 0, kms_res_target_detach),
	GET("/api/v1/stats", TARGET, kms_res_stats),
	GET("/api/v1/snapshot", TARGET | KMS_PARAM_BIT(KMS_PARAM_LIMIT), kms_res_snapshot),
	GET("/api/v1/caches", TARGET | PAGE | SUM, kms_res_caches),
	GET("/api/v1/caches/{name}", TARGET, kms_res_cache),
	GET("/api/v1/guard", TARGET, kms_res_guard),
	PATCH("/api/v1/guard", TARGET, kms_res_guard_patch),
	GET("/api/v1/kfence", TARGET | KMS_PARAM_BIT(KMS_PARAM_LIMIT), kms_res_kfence),
	GET("/api/v1/leaks", TARGET | PAGE | LEAKS, kms_res_leaks),
	GET("/api/v1/leaks/{id}", TARGET, kms_res_leak),
	GET("/api/v1/faults", TARGET | PAGE, kms_res_faults),
	GET("/api/v1/faults/{id}", 0, kms_res_fault),
	GET("/api/v1/events", TARGET | PAGE | EVENTS, kms_res_events),
	GET("/api/v1/sites", TARGET | PAGE | MIN_BYTES, kms_res_sites),
	GET("/api/v1/session", 0, kms_res_session),
 /* who logs in has no rights yet */
	{"POST", "/api/v1/session", 0, kms_res_session_post, true},
	GET("/api/v1/loss", TARGET, kms_res_loss),
	GET("/api/v1/stream", TARGET | STREAM, kms_res_stream),
	GET("/api/v1/stacks/{id}", 0, kms_res_stack),
	GET("/api/v1/blocks", TARGET | PAGE | MIN_BYTES | SITE, kms_res_blocks),
	GET("/api/v1/whatis/{address}", TARGET, kms_res_whatis),
	GET("/api/v1/history/{address}", TARGET | PAGE, kms_res_history),
	GET("/api/v1/caches/{name}/slabs", TARGET | PAGE, kms_res_slabs),
	GET("/api/v1/timeline", TARGET | TIMELINE, kms_res_timeline),
	GET("/api/v1/marks", PAGE, kms_res_marks),
	POST("/api/v1/marks", 0, kms_res_marks_post),
	GET("/api/v1/diff", TARGET | PAGE | MARKS, kms_res_diff),
	GET("/api/v1/audit", PAGE, kms_res_audit),
	GET("/api/v1/variables", TARGET, kms_res_variables),
	GET("/api/v1/variables/{name}", TARGET, kms_res_variable),
	PATCH("/api/v1/variables/{name}", TARGET, kms_res_variable_patch),
	{"POST",     "/api/v1/db", TARGET, kms_res_db, true},
	{0 },
};
