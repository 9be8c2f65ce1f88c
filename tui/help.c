/* SPDX-License-Identifier: BSD-2-Clause */
/* Help, made from the tables of commands and options. */
#include <string.h>

#include "tui/cli.h"

enum {
	NAME_COLUMNS = 26,
};

void kms_cli_overview(const struct kms_cli *cli, FILE *to)
{
	fprintf(to,
		"kmemscope %s: finds memory bugs and leaks while the program runs\n\n"
		"usage: kmemscope COMMAND [OPTIONS] [ARGUMENTS]\n\n",
		cli->hooks->version);
	for (const struct kms_command *const *row = kms_commands; *row; row++)
		if ((*row)->summary)
			fprintf(to, "  %-10s %s\n", (*row)->name, (*row)->summary);
	fprintf(to,
		"\n"
		"  kmemscope run -- ./program ARGS     trace a program, no rebuild needed\n"
		"  kmemscope leaks                     of the live session, else the newest .kms here\n"
		"  kmemscope help COMMAND              options of a command\n");
}

static void print_option(const struct kms_opt *opt, FILE *to)
{
	char text[80];
	int used = 0;

	if (opt->letter)
		used = snprintf(text, sizeof(text), "-%c, ", opt->letter);
	snprintf(text + used, sizeof(text) - (size_t)used, "--%s%s%s", opt->name,
		 opt->value ? " " : "", opt->value ? opt->value : "");
	if (strlen(text) < NAME_COLUMNS)
		fprintf(to, "  %-*s %s\n", NAME_COLUMNS, text, opt->help);
	else
		fprintf(to, "  %s\n  %-*s %s\n", text, NAME_COLUMNS, "", opt->help);
}

void kms_cli_usage(const struct kms_cli *cli, const struct kms_command *command, FILE *to)
{
	(void)cli;
	fprintf(to, "usage: kmemscope %s [OPTIONS]%s%s\n\n%s\n", command->name,
		*command->args ? " " : "", command->args,
		command->summary ? command->summary : "Not for people: part of another command.");
	if (command->options && command->options->name)
		fputs("\n", to);
	for (const struct kms_opt *opt = command->options; opt && opt->name; opt++)
		if (opt->help)
			print_option(opt, to);
	if (command->more)
		fprintf(to, "\n%s", command->more);
}
