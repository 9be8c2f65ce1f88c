/* SPDX-License-Identifier: BSD-2-Clause */
/* Option tables: see options.h. */
#include "tui/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "tui/suggest.h"

/* A command line being read. */
struct reader {
	const struct kms_opt *table;
	char **argv; /* goes forward */
	void *values;
	struct kms_err *err;
};

/* How a person wrote the option: "--name" or "-n". */
struct spelling {
	char text[64];
};

static struct spelling spell(const struct kms_opt *opt)
{
	struct spelling s;

	snprintf(s.text, sizeof(s.text), "--%s", opt->name);
	return s;
}

static void *place(void *values, const struct kms_opt *opt)
{
	return (char *)values + opt->offset;
}

static uint64_t max_of(const struct kms_opt *opt)
{
	return opt->max ? opt->max : UINT64_MAX;
}

/* "--depth needs a number from 0 to 9, not "x"" */
static int bad_number(const struct reader *reader, const struct kms_opt *opt, const char *text)
{
	if (max_of(opt) == UINT64_MAX && opt->min == 0)
		return kms_err_set(reader->err, -EINVAL, "%s needs %s, not \"%.60s\"",
				   spell(opt).text,
				   opt->kind == KMS_OPT_SIZE ? "a size such as 4096 or 64K"
							     : "a number that is not negative",
				   text);
	return kms_err_set(reader->err, -EINVAL,
			   "%s needs a number from %" PRIu64 " to %" PRIu64 ", not \"%.60s\"",
			   spell(opt).text, opt->min, max_of(opt), text);
}

static int read_number(const struct reader *reader, const struct kms_opt *opt, const char *text)
{
	struct kms_opt_number *number = place(reader->values, opt);
	uint64_t value;

	if (kms_parse_u64(text, &value) < 0 || value < opt->min || value > max_of(opt))
		return bad_number(reader, opt, text);
	number->given = true;
	number->value = value;
	return 0;
}

static int read_choice(const struct reader *reader, const struct kms_opt *opt, const char *text)
{
	int *choice = place(reader->values, opt);
	const char *name = opt->value;
	size_t length;

	for (int i = 0; *name; i++) {
		length = strcspn(name, "|");
		if (strlen(text) == length && memcmp(text, name, length) == 0) {
			*choice = i;
			return 0;
		}
		name += length + (name[length] == '|');
	}
	return kms_err_set(reader->err, -EINVAL, "%s must be one of %s, not \"%.60s\"",
			   spell(opt).text, opt->value, text);
}

static int read_list(const struct reader *reader, const struct kms_opt *opt, const char *text)
{
	struct kms_opt_list *list = place(reader->values, opt);
	const char **grown = realloc(list->item, (list->n + 1) * sizeof(*grown));

	if (!grown)
		return kms_err_set(reader->err, -ENOMEM, "no memory for the options");
	list->item = grown;
	list->item[list->n++] = text;
	return 0;
}

static int set_value(const struct reader *reader, const struct kms_opt *opt, const char *text)
{
	switch (opt->kind) {
	case KMS_OPT_TEXT:
		if (!*text)
			return kms_err_set(reader->err, -EINVAL, "%s needs %s, not an empty text",
					   spell(opt).text, opt->value);
		*(const char **)place(reader->values, opt) = text;
		return 0;
	case KMS_OPT_CHOICE:
		return read_choice(reader, opt, text);
	case KMS_OPT_LIST:
		return read_list(reader, opt, text);
	default:
		return read_number(reader, opt, text);
	}
}

/*
 * Applies an option. @attached is the text that came with it ("=value", or the rest behind the
 * letter); without one, the value is the next argument.
 */
static int apply(struct reader *reader, const struct kms_opt *opt, const char *attached)
{
	if (opt->kind == KMS_OPT_LATER)
		return kms_err_set(reader->err, -ENOTSUP, "option %s comes with version %s",
				   spell(opt).text, opt->value);
	if (opt->kind == KMS_OPT_FLAG) {
		if (attached)
			return kms_err_set(reader->err, -EINVAL, "%s takes no value",
					   spell(opt).text);
		*(bool *)place(reader->values, opt) = true;
		return 0;
	}
	if (!attached) {
		attached = reader->argv[0];
		if (!attached || strcmp(attached, "--") == 0)
			return kms_err_set(reader->err, -EINVAL, "%s needs a value: %s %s",
					   spell(opt).text, spell(opt).text, opt->value);
		reader->argv++;
	}
	return set_value(reader, opt, attached);
}

static int unknown_name(const struct reader *reader, const char *name, size_t length)
{
	struct kms_suggest suggest;
	char word[64];

	snprintf(word, sizeof(word), "%.*s", (int)length, name);
	kms_suggest_init(&suggest, word);
	for (const struct kms_opt *opt = reader->table; opt->name; opt++)
		kms_suggest_try(&suggest, opt->name);
	kms_suggest_try(&suggest, "help");
	if (suggest.best)
		return kms_err_set(reader->err, -EINVAL, "unknown option --%s; did you mean --%s?",
				   word, suggest.best);
	return kms_err_set(reader->err, -EINVAL, "unknown option --%s; --help lists them", word);
}

/* "--name" or "--name=value"; text is behind the dashes. */
static int long_option(struct reader *reader, const char *text)
{
	size_t length = strcspn(text, "=");

	for (const struct kms_opt *opt = reader->table; opt->name; opt++)
		if (strlen(opt->name) == length && memcmp(opt->name, text, length) == 0)
			return apply(reader, opt, text[length] ? text + length + 1 : NULL);
	return unknown_name(reader, text, length);
}

static const struct kms_opt *find_letter(const struct kms_opt *table, char letter)
{
	for (; table->name; table++)
		if (table->letter && table->letter == letter)
			return table;
	return NULL;
}

/* "-q", "-qd", "-o FILE", "-oFILE"; text is behind the dash. */
static int short_options(struct reader *reader, const char *text)
{
	const struct kms_opt *opt;
	int ret;

	for (; *text; text++) {
		opt = find_letter(reader->table, *text);
		if (!opt)
			return kms_err_set(reader->err, -EINVAL,
					   (unsigned char)*text > ' ' && *text != 0x7f
						   ? "unknown option -%c; --help lists them"
						   : "unknown option in \"-%c\"; --help lists them",
					   (unsigned char)*text > ' ' ? *text : '?');
		if (opt->kind != KMS_OPT_FLAG)
			return apply(reader, opt, text[1] ? text + 1 : NULL);
		ret = apply(reader, opt, NULL);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static bool is_help(const char *text)
{
	return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0;
}

int kms_opt_parse(const struct kms_opt *table, bool stop_at_argument, char **argv, void *values,
		  struct kms_parsed *parsed, struct kms_err *err)
{
	struct reader reader = {table, argv, values, err};
	char **kept = argv; /* arguments move to the front: what was there has been read */
	const char *text;
	int ret = 0;

	memset(parsed, 0, sizeof(*parsed));
	parsed->args = argv;
	while (*reader.argv && ret == 0) {
		text = *reader.argv;
		if (strcmp(text, "--") == 0) {
			reader.argv++;
			break;
		}
		if (text[0] != '-' || text[1] == '\0') {
			if (stop_at_argument)
				break;
			*kept++ = *reader.argv++;
			continue;
		}
		if (is_help(text)) {
			parsed->help = true;
			return 0;
		}
		reader.argv++;
		ret = text[1] == '-' ? long_option(&reader, text + 2)
				     : short_options(&reader, text + 1);
	}
	while (ret == 0 && *reader.argv)
		*kept++ = *reader.argv++;
	if (ret == 0)
		*kept = NULL;
	parsed->n_args = (int)(kept - argv);
	return ret;
}

void kms_opt_init(const struct kms_opt *table, void *values, size_t struct_bytes)
{
	memset(values, 0, struct_bytes);
	for (; table->name; table++)
		if (table->kind == KMS_OPT_CHOICE)
			*(int *)place(values, table) = -1;
}

void kms_opt_deinit(const struct kms_opt *table, void *values)
{
	struct kms_opt_list *list;

	for (; table->name; table++) {
		if (table->kind != KMS_OPT_LIST)
			continue;
		list = place(values, table);
		free(list->item);
		list->item = NULL;
		list->n = 0;
	}
}
