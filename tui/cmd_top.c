/* SPDX-License-Identifier: BSD-2-Clause */
/* top: the screen; one frame of it as text; its data. */
#include <stdlib.h>
#include <string.h>

#include "tui/cmd.h"
#include "tui/source.h"
#include "tui/top_run.h"

struct top_values {
	bool once, json;
	bool ascii, no_mouse;
	int color;  /* index of auto|never|always */
	int glyphs; /* index of ascii|block|braille */
	struct kms_opt_number interval, target, view;
	const char *size;
};

#define AT(member) offsetof(struct top_values, member)

static const struct kms_opt options[] = {
	KMS_ROW_FLAG("once", 0, AT(once), "print one frame as text"),
	KMS_ROW_FLAG("json", 0, AT(json), "print the data behind the screen, of one moment"),
	KMS_ROW_NUMBER("view", 0, AT(view), "N", 1, KMS_TABS, "begin with view N (1: Slabs)"),
	KMS_ROW_NUMBER("target", 0, AT(target), "N", 1, UINT32_MAX, "only target N"),
	KMS_ROW_NUMBER("interval", 0, AT(interval), "MS", 100, 10000,
		       "a new picture every MS milliseconds (200)"),
	KMS_ROW_CHOICE("color", 0, AT(color), "auto|never|always",
		       "colours; auto: on terminals, unless NO_COLOR is set"),
	KMS_ROW_CHOICE("glyphs", 0, AT(glyphs), KMS_GLYPHS_CHOICES,
		       "characters of graphs (block, where the locale is UTF-8)"),
	KMS_ROW_FLAG("ascii", 0, AT(ascii), "nothing but ASCII"),
	KMS_ROW_FLAG("no-mouse", 'M', AT(no_mouse), "leave the mouse to the terminal"),
	KMS_ROW_TEXT("size", 0, AT(size), "WxH", "of --once (80x24)"),
	KMS_ROW_END,
};

static int read_size(const struct kms_cli *cli, const char *size, struct kms_top_config *config)
{
	char *end;

	if (!size)
		return 0;
	config->width = (int)strtol(size, &end, 10);
	if (*end == 'x')
		config->height = (int)strtol(end + 1, &end, 10);
	if (*end == '\0' && config->width > 0 && config->width <= 1000 && config->height > 0 &&
	    config->height <= 1000)
		return 0;
	kms_cli_error(cli, "--size needs WxH such as 140x45, not \"%s\"", size);
	return KMS_EXIT_USAGE;
}

static int run_top(struct kms_cli *cli, void *v, char **args, int n_args)
{
	static const enum kms_color_choice colors[] = {KMS_COLOR_AUTO, KMS_COLOR_NEVER,
						       KMS_COLOR_ALWAYS};
	const struct top_values *values = v;
	struct kms_top_config config = kms_top_defaults();
	struct kms_err err = KMS_ERR_INIT;
	struct kms_source source;

	config.color = values->color >= 0 ? colors[values->color] : KMS_COLOR_AUTO;
	config.glyphs = values->glyphs;
	config.ascii = values->ascii;
	config.mouse = !values->no_mouse;
	config.target = (uint32_t)values->target.value;
	if (values->interval.given)
		config.interval_ms = (unsigned)values->interval.value;
	if (values->view.given)
		config.tab = (enum kms_tab)(values->view.value - 1);
	if (read_size(cli, values->size, &config))
		return KMS_EXIT_USAGE;
	if (kms_source_pick(cli->hooks, n_args ? args[0] : NULL, &source, &err) < 0)
		return kms_cli_fail(cli, &err, KMS_EXIT_FAILED);
	if (values->json)
		return kms_top_json(cli, &source, &config);
	if (values->once)
		return kms_top_once(cli, &source, &config);
	return kms_top_run(cli, &source, &config);
}

static const char help[] =
	"Views by number: 1 Slabs 2 Sites 3 Leaks 4 Guard 5 Faults 6 Events; : is the db> prompt,\n"
	"? lists the keys. In tmux, `set -sg escape-time 10` makes Esc quick.\n"
	"Without SESSION or FILE: the only live session, else the newest *.kms here.\n"
	"URL: http://HOST:PORT of `run --http`; its token, or the path of the file with it, is taken\n"
	"from KMEMSCOPE_TOKEN.\n"
	"Examples:\n"
	"  kmemscope top\n"
	"  kmemscope top --once --view 3 --size 120x50 run.kms\n";

const struct kms_command kms_command_top = {
	.name = "top",
	.summary = "the live screen: slabs, sites, leaks, guard, faults, events, db> prompt",
	.args = "[SESSION|FILE.kms|URL]",
	.more = help,
	.min_args = 0,
	.max_args = 1,
	.stop_at_argument = false,
	.usage_status = KMS_EXIT_USAGE,
	.options = options,
	.values_bytes = sizeof(struct top_values),
	.run = run_top,
};
