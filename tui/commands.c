/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of commands. A new command is a row here, a function declared in cmd.h, and a file.
 */
#include "tui/cli.h"
#include "tui/cmd.h"
#include "tui/view.h"

#define AT(member) offsetof(struct kms_view_values, member)

static const struct kms_opt no_options[] = {{0}};

static const struct kms_opt plain_options[] = {KMS_VIEW_OPTIONS, {0}};

static const struct kms_opt target_options[] = {KMS_VIEW_OPTIONS, KMS_VIEW_TARGET, {0}};

static const struct kms_opt list_options[] = {KMS_VIEW_OPTIONS, KMS_VIEW_LIMIT, {0}};

static const struct kms_opt site_options[] = {
	KMS_VIEW_OPTIONS,
	KMS_VIEW_TARGET,
	KMS_VIEW_LIMIT,
	{"min-bytes",   0, KMS_OPT_SIZE, AT(min_bytes), "BYTES", "only sites with so many live bytes",
	  0, 0},
	{0},
};

static const struct kms_opt cache_options[] = {
	KMS_VIEW_OPTIONS,
	KMS_VIEW_TARGET,
	KMS_VIEW_LIMIT,
	{"all",         0, KMS_OPT_FLAG, AT(all), NULL, "unused caches too", 0, 0},
	{0},
};

static const struct kms_opt leak_options[] = {
	KMS_VIEW_OPTIONS,
	KMS_VIEW_TARGET,
	KMS_VIEW_LIMIT,
	{"min-bytes",   0, KMS_OPT_SIZE, AT(min_bytes), "BYTES", "only suspects with so many bytes",
	  0, 0},
	{"all", 0, KMS_OPT_FLAG, AT(all), NULL, "every site with live blocks, not suspects only", 0,
	  0},
	{"id",      0, KMS_OPT_TEXT, AT(id), "ID", "only this suspect", 0, 0},
	{"leak-threshold",             0, KMS_OPT_SIZE, AT(leak_threshold), "BYTES",
	  "exit 3 if suspects hold more bytes together", 0, 0},
	{"error-exitcode",             0, KMS_OPT_NUMBER, AT(error_exitcode), "N",
	  "exit with N instead; alone: for any suspect", 1, 255},
	{"suppressions",            0, KMS_OPT_LATER, 0, "FILE", NULL, 0, 0},
	{0     },
};

static const struct kms_opt fault_options[] = {
	KMS_VIEW_OPTIONS,
	KMS_VIEW_TARGET,
	KMS_VIEW_LIMIT,
	{"id",          0, KMS_OPT_TEXT, AT(id), "N", "only fault N, with every owner of its address", 0, 0},
	{"error-exitcode", 0, KMS_OPT_NUMBER, AT(error_exitcode), "N",
	  "exit with N if there is a fault", 1, 255},
	{0         },
};

static const struct kms_opt event_options[] = {
	{"json",            0, KMS_OPT_FLAG, AT(json), NULL, "the API's JSON, unchanged", 0, 0},
	{"format",     0, KMS_OPT_CHOICE, AT(format), "table|json|ndjson|csv", "another format", 0, 0},
	{"limit",             'n', KMS_OPT_NUMBER, AT(limit), "N", "at most N events (100)", 1, 0},
	KMS_VIEW_TARGET,
	{"address",                0, KMS_OPT_TEXT, AT(address), "HEX", "only of this address", 0, 0},
	{"from",		 0, KMS_OPT_TEXT, AT(from), "TIME", "from this run time on: 1500ms, 2s, or ns", 0,
	 0},
	{"to",            0, KMS_OPT_TEXT, AT(to), "TIME", "up to this run time", 0, 0},
	{"kind",       0, KMS_OPT_TEXT, AT(kind), "KINDS", "only these kinds: alloc,free,fault,...", 0,
	 0},
	{"site", 0, KMS_OPT_TEXT, AT(site), "STACK", "only of this stack id", 0, 0},
	{"no-color",                0, KMS_OPT_FLAG, AT(no_color), NULL, "no colours (NO_COLOR does the same)", 0,
	 0},
	{0	  },
};

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

/* Names that are promised: they say so, instead of being unknown. */
#define LATER(name)                                                                                \
	&(const struct kms_command)                                                                \
	{                                                                                          \
		name, NULL, "", NULL, 0, -1, true, KMS_EXIT_USAGE, NULL, 0, kms_cmd_later          \
	}

const struct kms_command *const kms_commands[] = {
	&kms_command_run,
	VIEW("leaks", "leak suspects: size, evidence, stack", leak_options, kms_cmd_leaks),
	VIEW("faults", "reports of memory bugs", fault_options, kms_cmd_faults),
	VIEW("caches", "slab caches and their occupancy", cache_options, kms_cmd_caches),
	VIEW("guard", "the guard FIFO: what it holds, how far back it catches", target_options,
	     kms_cmd_guard),
	VIEW("stats", "figures of the run", target_options, kms_cmd_stats),
	VIEW("targets", "processes of the run", list_options, kms_cmd_targets),
	VIEW("sites", "where live memory was allocated", site_options, kms_cmd_sites),
	VIEW("events", "single allocations, frees and checks", event_options, kms_cmd_events),
	&(const struct kms_command){"stacks",  "the frames of a stack id",               "ID [SESSION|FILE.kms]",
				    source_help,									1, 2, false, KMS_EXIT_USAGE, plain_options,
				    sizeof(struct kms_view_values),																 kms_cmd_stacks},
	&kms_command_sql,
	&kms_command_demo,
	&(const struct kms_command){"status",  "live sessions and what each traces",     "",                      NULL, 0, 0,
				    false,											   KMS_EXIT_USAGE, plain_options,
				    sizeof(struct kms_view_values),																 kms_cmd_status},
	&(const struct kms_command){"version", "version, library, features",             "",                      NULL, 0, 0, false,
				    KMS_EXIT_USAGE,												  plain_options, sizeof(struct kms_view_values),
				    kms_cmd_version																			       },
	&(const struct kms_command){"help",    "this list, or the options of a command", "[COMMAND]",
				    NULL,									       0, 1, false, KMS_EXIT_USAGE, no_options,    0,                              kms_cmd_help  },
	LATER("attach"),
	LATER("daemon"),
	LATER("top"),
	LATER("db"),
	LATER("whatis"),
	LATER("history"),
	LATER("report"),
	LATER("diff"),
	LATER("mark"),
	LATER("export"),
	LATER("replay"),
	LATER("doctor"),
	LATER("completion"),
	NULL,
};
