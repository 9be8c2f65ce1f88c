/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The views of the command line: a request to the API, then its body as it is (--json) or as text.
 */
#ifndef KMS_TUI_VIEW_H
#define KMS_TUI_VIEW_H

#include "tui/cli.h"
#include "tui/client.h"
#include "tui/text.h"

/** Options of all views; each view's table shows some of them. */
struct kms_view_values {
	bool json;
	bool no_color;
	bool strict;
	bool all;
	const char *id;
	const char *address, *from, *to, *kind, *site;
	const char *suppressions;
	int format; /* index of table|json|ndjson|csv; -1 not given */
	int order;  /* index of asc|desc; -1 not given */
	struct kms_opt_number target;
	struct kms_opt_number limit;
	struct kms_opt_number min_bytes;
	struct kms_opt_number leak_threshold;
	struct kms_opt_number error_exitcode;
};

/** Rows of options that every view has. */
#define KMS_VIEW_OPTIONS                                                                           \
	KMS_ROW_FLAG("json", 0, offsetof(struct kms_view_values, json),                            \
		     "the API's JSON, unchanged"),                                                 \
		KMS_ROW_FLAG("no-color", 0, offsetof(struct kms_view_values, no_color),            \
			     "no colours (NO_COLOR does the same)"),                               \
		KMS_ROW_FLAG("strict", 0, offsetof(struct kms_view_values, strict),                \
			     "exit 5 if events were lost, 4 if the target or tracer was")

#define KMS_VIEW_TARGET                                                                            \
	KMS_ROW_NUMBER("target", 0, offsetof(struct kms_view_values, target), "N", 1, UINT32_MAX,  \
		       "only target N (see `kmemscope targets`)")

#define KMS_VIEW_LIMIT                                                                             \
	KMS_ROW_NUMBER("limit", 'n', offsetof(struct kms_view_values, limit), "N", 1, 1000,        \
		       "at most N rows, 1 to 1000")

/** Writes a document as text. */
typedef void kms_show_fn(struct kms_text *text, const cJSON *document,
			 const struct kms_view_values *values);

kms_show_fn kms_show_leaks, kms_show_leak, kms_show_faults, kms_show_fault;
kms_show_fn kms_show_caches, kms_show_targets, kms_show_sites, kms_show_stack;
kms_show_fn kms_show_stats, kms_show_guard;
kms_show_fn kms_show_whatis, kms_show_history, kms_show_mark, kms_show_diff;

/** How suspects are shown; all zero: all of them, whole. */
struct kms_suspects {
	int max;    /* at most so many, 0 all */
	int frames; /* of a stack, 0 all; else there is no blank line between suspects */
	int indent; /* blanks before each line */
	bool all;   /* every row, suspect or not */
};

/** The suspects of a list as blocks of lines. Returns how many were shown. */
int kms_show_suspects(struct kms_text *text, const cJSON *items, const struct kms_suspects *how);

/** "3 leak suspects: 48 KiB in 1,000 blocks; 120 other sites hold 1.2 MiB" */
void kms_show_leak_totals(struct kms_text *text, const cJSON *document);

/** Headlines of the faults of a list, at most @max. */
void kms_show_headlines(struct kms_text *text, const cJSON *items, int max);

/**
 * Builds a request: path, then each parameter that is set. A value is encoded as a URL asks.
 *
 * Shape:  pairs are name, value, name, value, ..., NULL; a NULL value leaves its pair out
 * Owner:  the caller frees. NULL: out of memory.
 */
char *kms_view_target(const char *path, const char *const *pairs);

/** Opens the source that a command's arguments name, or says why not. Returns 0 or an exit status. */
int kms_view_open(struct kms_cli *cli, char **args, int n_args, struct kms_client **client);

/** The value of an option as a parameter; NULL if it was not given. */
const char *kms_opt_text(const struct kms_opt_number *number, char text[24]);

/** Prints an answer: its body with --json, else by @show, with what else must be known on stderr. */
void kms_view_print(struct kms_cli *cli, const struct kms_view_values *values,
		    const struct kms_reply *reply, const cJSON *document, kms_show_fn *show);

/** A request and how its answer is shown. */
struct kms_view_request {
	const char *method, *target;
	const char *body; /* JSON, NULL none */
	kms_show_fn *show;
};

/** Asks and prints, or says what went wrong. Returns an exit status. */
int kms_view_ask(struct kms_cli *cli, const struct kms_view_values *values,
		 struct kms_client *client, const struct kms_view_request *request);

/** The exit status for a failed request. */
int kms_view_status(const struct kms_err *err);

/** The exit status that --strict asks for, from a document's "snapshot". */
int kms_view_strict(const struct kms_view_values *values, const cJSON *document);

#endif
