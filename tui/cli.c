/* SPDX-License-Identifier: BSD-2-Clause */
/* From argv to a command: see cli.h. */
#include "tui/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "tui/suggest.h"

static void say(const struct kms_cli *cli, const char *text)
{
	struct kms_buf line;

	kms_buf_init(&line, 1 << 16);
	kms_buf_add_str(&line, "kmemscope");
	if (cli->command)
		kms_buf_addf(&line, " %s", cli->command->name);
	kms_buf_add_str(&line, ": ");
	kms_buf_add_printable(&line, text, strlen(text));
	kms_buf_add_char(&line, '\n');
	fputs(kms_buf_text(&line), cli->err);
	kms_buf_deinit(&line);
}

void kms_cli_error(const struct kms_cli *cli, const char *fmt, ...)
{
	struct kms_buf text;
	va_list args;

	kms_buf_init(&text, 1 << 16);
	va_start(args, fmt);
	kms_buf_addv(&text, fmt, args);
	va_end(args);
	say(cli, kms_buf_text(&text));
	kms_buf_deinit(&text);
}

int kms_cli_fail(const struct kms_cli *cli, const struct kms_err *err, int status)
{
	char line[KMS_ERR_TEXT_BYTES + KMS_ERR_SUBJECT_BYTES + 2];

	/* The thing comes first, unless the text names it already. */
	if (err->subject[0] && !strstr(err->text, err->subject)) {
		snprintf(line, sizeof(line), "%s: %s", err->subject, err->text);
		say(cli, line);
	} else {
		say(cli, err->text[0] ? err->text : "failed");
	}
	return status;
}

void kms_cli_write(FILE *to, const char *bytes, size_t n)
{
	(void)fwrite(bytes, 1, n, to); /* ferror() at the end says what happened */
}

const struct kms_command *kms_cli_find(const char *name)
{
	for (const struct kms_command *const *row = kms_commands; *row; row++)
		if (strcmp((*row)->name, name) == 0)
			return *row;
	return NULL;
}

static int unknown_command(const struct kms_cli *cli, const char *name)
{
	struct kms_suggest suggest;

	kms_suggest_init(&suggest, name);
	for (const struct kms_command *const *row = kms_commands; *row; row++)
		if ((*row)->summary)
			kms_suggest_try(&suggest, (*row)->name);
	if (suggest.best)
		kms_cli_error(cli, "unknown command %s; did you mean %s?", name, suggest.best);
	else
		kms_cli_error(cli, "unknown command %s; `kmemscope help` lists them", name);
	return KMS_EXIT_USAGE;
}

/* Colours where they are wanted and can be shown: https://no-color.org */
static bool wants_color(bool out_is_terminal)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the one thread, before any other begins */
	const char *no_color = getenv("NO_COLOR");
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): as above */
	const char *term = getenv("TERM");

	return out_is_terminal && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

static int check_args(const struct kms_cli *cli, const struct kms_parsed *parsed)
{
	const struct kms_command *command = cli->command;

	if (parsed->n_args < command->min_args)
		kms_cli_error(cli, "needs %s; usage: kmemscope %s %s",
			      parsed->n_args ? "more" : "an argument", command->name,
			      command->args);
	else if (command->max_args >= 0 && parsed->n_args > command->max_args)
		kms_cli_error(cli, "does not take \"%s\"; usage: kmemscope %s [OPTIONS]%s%s",
			      parsed->args[command->max_args], command->name,
			      *command->args ? " " : "", command->args);
	else
		return 0;
	return -EINVAL;
}

static int run_command(struct kms_cli *cli, char **argv)
{
	const struct kms_command *command = cli->command;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_parsed parsed;
	void *values = malloc(command->values_bytes + 1);
	int status = command->usage_status;

	if (!values) {
		kms_cli_error(cli, "out of memory");
		return KMS_EXIT_FAILED;
	}
	if (!command->options) {
		free(values);
		for (parsed.n_args = 0; argv[parsed.n_args]; parsed.n_args++)
			;
		return command->run(cli, NULL, argv, parsed.n_args);
	}
	kms_opt_init(command->options, values, command->values_bytes);
	if (kms_opt_parse(command->options, command->stop_at_argument, argv, values, &parsed,
			  &err) < 0) {
		say(cli, err.text);
	} else if (parsed.help) {
		kms_cli_usage(cli, command, cli->out);
		status = KMS_EXIT_OK;
	} else if (check_args(cli, &parsed) == 0) {
		status = command->run(cli, values, parsed.args, parsed.n_args);
	}
	kms_opt_deinit(command->options, values);
	free(values);
	return status;
}

/* Output that could not be written is a failure, whatever the command thought. */
static int flush_output(struct kms_cli *cli, int status)
{
	if (fflush(cli->out) == 0 && !ferror(cli->out))
		return status;
	kms_cli_error(cli, "cannot write the output: %m");
	return status == KMS_EXIT_OK ? KMS_EXIT_FAILED : status;
}

int kms_cli_main(const struct kms_hooks *hooks, int argc, char **argv)
{
	struct kms_cli cli = {.hooks = hooks, .out = stdout, .err = stderr};
	int status;

	cli.out_is_terminal = isatty(STDOUT_FILENO);
	cli.color = wants_color(cli.out_is_terminal);
	if (argc < 2) {
		kms_cli_overview(&cli, cli.err);
		return KMS_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		argv[1] = "help";
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		argv[1] = "version";
	cli.command = kms_cli_find(argv[1]);
	if (!cli.command)
		return unknown_command(&cli, argv[1]);
	status = run_command(&cli, argv + 2);
	return flush_output(&cli, status);
}
