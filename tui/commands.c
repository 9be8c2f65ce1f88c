/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of commands. A new command is a row here, a function declared in cmd.h, and a file.
 */
#include "tui/cli.h"
#include "tui/cmd.h"
#include "tui/view.h"

#define AT(member) offsetof(struct kms_view_values, member)

static const struct kms_opt no_options[] = {KMS_ROW_END};

static const struct kms_opt plain_options[] = {KMS_VIEW_OPTIONS, KMS_ROW_END};

static const struct kms_opt target_options[] = {KMS_VIEW_OPTIONS, KMS_VIEW_TARGET, KMS_ROW_END};

static const struct kms_opt list_options[] = {KMS_VIEW_OPTIONS, KMS_VIEW_LIMIT, KMS_ROW_END};

static const struct kms_opt site_options[] = {
	KMS_VIEW_OPTIONS,
	KMS_VIEW_TARGET,
	KMS_VIEW_LIMIT,
	KMS_ROW_SIZE("min-bytes", 0, AT(min_bytes), "BYTES", "only sites with so many live bytes"),
	KMS_ROW_END,
};

static const struct kms_opt cache_options[] = {
	KMS_VIEW_OPTIONS, KMS_VIEW_TARGET,
	KMS_VIEW_LIMIT,   KMS_ROW_FLAG("all", 0, AT(all), "unused caches too"),
	KMS_ROW_END,
};

static const struct kms_opt leak_options[] = {
	KMS_VIEW_OPTIONS,
	KMS_VIEW_TARGET,
	KMS_VIEW_LIMIT,
	KMS_ROW_SIZE("min-bytes", 0, AT(min_bytes), "BYTES", "only suspects with so many bytes"),
	KMS_ROW_FLAG("all", 0, AT(all), "every site with live blocks, not suspects only"),
	KMS_ROW_TEXT("id", 0, AT(id), "ID", "only this suspect"),
	KMS_ROW_SIZE("leak-threshold", 0, AT(leak_threshold), "BYTES",
		     "exit 3 if suspects hold more bytes together"),
	KMS_ROW_NUMBER("error-exitcode", 0, AT(error_exitcode), "N", 1, 255,
		       "exit with N instead; alone: for any suspect"),
	KMS_ROW_TEXT("suppressions", 0, AT(suppressions), "FILE",
		     "known leaks, no suspects: lines leak:PATTERN as of LeakSanitizer"),
	KMS_ROW_END,
};

static const struct kms_opt fault_options[] = {
	KMS_VIEW_OPTIONS,
	KMS_VIEW_TARGET,
	KMS_VIEW_LIMIT,
	KMS_ROW_TEXT("id", 0, AT(id), "N", "only fault N, with every owner of its address"),
	KMS_ROW_NUMBER("error-exitcode", 0, AT(error_exitcode), "N", 1, 255,
		       "exit with N if there is a fault"),
	KMS_ROW_END,
};

static const struct kms_opt event_options[] = {
	KMS_ROW_FLAG("json", 0, AT(json), "the API's JSON, unchanged"),
	KMS_ROW_CHOICE("format", 0, AT(format), "table|json|ndjson|csv", "another format"),
	KMS_ROW_NUMBER("limit", 'n', AT(limit), "N", 1, 0, "at most N events (100)"),
	KMS_ROW_CHOICE("order", 0, AT(order), "asc|desc", "desc: the newest first (asc)"),
	KMS_VIEW_TARGET,
	KMS_ROW_TEXT("address", 0, AT(address), "HEX", "only of this address"),
	KMS_ROW_TEXT("from", 0, AT(from), "TIME", "from this run time on: 1500ms, 2s, or ns"),
	KMS_ROW_TEXT("to", 0, AT(to), "TIME", "up to this run time"),
	KMS_ROW_TEXT("kind", 0, AT(kind), "KINDS", "only these kinds: alloc,free,fault,..."),
	KMS_ROW_TEXT("site", 0, AT(site), "STACK", "only of this stack id"),
	KMS_ROW_FLAG("no-color", 0, AT(no_color), "no colours (NO_COLOR does the same)"),
	KMS_ROW_END,
};

static const struct kms_opt history_options[] = {KMS_VIEW_OPTIONS, KMS_VIEW_TARGET, KMS_VIEW_LIMIT,
						 KMS_ROW_END};

static const char source_args[] = "[SESSION|FILE.kms]";

static const char source_help[] =
	"Without SESSION or FILE: the only live session, else the newest *.kms here.\n"
	"A session goes by its name or the pid in it; `kmemscope status` lists them.\n";

#define VIEW(name, summary, options, function)                                                     \
	&(const struct kms_command)                                                                \
	{                                                                                          \
		name, summary, source_args, source_help, 0, 1, false, KMS_EXIT_USAGE, options,     \
			sizeof(struct kms_view_values), function                                   \
	}

static const char diff_help[] =
	"A and B are marks, by number or name (see `kmemscope mark`); A may be the word begin, B the\n"
	"word now, and is now if it is left out. Without SESSION or FILE: the only live session, else the newest *.kms here.\n";

/* A view that takes other arguments before its source. */
#define VIEW_OF(name, summary, arguments, n, help, options, function)                              \
	&(const struct kms_command)                                                                \
	{                                                                                          \
		name, summary, arguments, help, n, (n) + 1, false, KMS_EXIT_USAGE, options,        \
			sizeof(struct kms_view_values), function                                   \
	}

/* Names that are promised: they say so, instead of being unknown. */
#define LATER(name)                                                                                \
	&(const struct kms_command)                                                                \
	{                                                                                          \
		name, NULL, "", NULL, 0, -1, true, KMS_EXIT_USAGE, NULL, 0, kms_cmd_later          \
	}

const struct kms_command *const kms_commands[] = {
	&kms_command_run,
	&kms_command_attach,
	&kms_command_top,
	VIEW("leaks", "leak suspects: size, evidence, stack", leak_options, kms_cmd_leaks),
	VIEW("faults", "reports of memory bugs", fault_options, kms_cmd_faults),
	VIEW("caches", "slab caches and their occupancy", cache_options, kms_cmd_caches),
	VIEW("guard", "the guard FIFO: what it holds, how far back it catches", target_options,
	     kms_cmd_guard),
	VIEW("stats", "figures of the run", target_options, kms_cmd_stats),
	VIEW("targets", "processes of the run", list_options, kms_cmd_targets),
	VIEW("sites", "where live memory was allocated", site_options, kms_cmd_sites),
	VIEW("events", "single allocations, frees and checks", event_options, kms_cmd_events),
	&(const struct kms_command){"stacks",  "the frames of a stack id",                              "ID [SESSION|FILE.kms]",
				    source_help,											    1, 2, false, KMS_EXIT_USAGE, plain_options,
				    sizeof(struct kms_view_values),																		       kms_cmd_stacks},
	VIEW_OF("whatis", "the block that an address lies in, or lay in", "ADDR [SESSION|FILE.kms]",
		1, source_help, target_options, kms_cmd_whatis),
	VIEW_OF("history", "every owner that an address had", "ADDR [SESSION|FILE.kms]", 1,
		source_help, history_options, kms_cmd_history),
	VIEW_OF("mark", "mark this moment of a live session", "NAME [SESSION]", 1, source_help,
		plain_options, kms_cmd_mark),
	&(const struct kms_command){"diff",    "what each site gained between two marks, or since one",
				    "A [B] [SESSION|FILE.kms]",								  diff_help, 1, 3, false,
				    KMS_EXIT_USAGE,														      history_options, sizeof(struct kms_view_values),
				    kms_cmd_diff																							},
	&kms_command_sql,
	&kms_command_daemon,
	&kms_command_db,
	&kms_command_demo,
	&(const struct kms_command){"status",  "live sessions and what each traces",                    "",                      NULL,      0, 0,
				    false,													       KMS_EXIT_USAGE, plain_options,
				    sizeof(struct kms_view_values),																		       kms_cmd_status},
	&(const struct kms_command){"version", "version, library, features",                            "",                      NULL,      0, 0, false,
				    KMS_EXIT_USAGE,														      plain_options,   sizeof(struct kms_view_values),
				    kms_cmd_version																						     },
	&(const struct kms_command){"help",    "this list, or the options of a command",                "[COMMAND]",
				    NULL,												   0, 1, false, KMS_EXIT_USAGE, no_options,      0,                              kms_cmd_help  },
	LATER("report"),
	LATER("export"),
	LATER("replay"),
	LATER("doctor"),
	LATER("completion"),
	NULL,
};
