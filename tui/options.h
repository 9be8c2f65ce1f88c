/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options of a command line, by table: one row says how an option is read, where its value goes, and
 * what help prints. Pure: prints nothing, knows no command.
 */
#ifndef KMS_TUI_OPTIONS_H
#define KMS_TUI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum kms_opt_kind {
	KMS_OPT_FLAG,   /* bool */
	KMS_OPT_TEXT,   /* const char *, borrowed from argv */
	KMS_OPT_NUMBER, /* struct kms_opt_number, min to max */
	KMS_OPT_SIZE,   /* the same; written 64K, 1G, ... */
	KMS_OPT_CHOICE, /* int: index in value "a|b|c", -1 not given */
	KMS_OPT_LIST,   /* struct kms_opt_list: may be given several times */
	KMS_OPT_LATER,  /* takes no place: answers that it comes with a later version */
};

struct kms_opt_number {
	bool given;
	uint64_t value;
};

struct kms_opt_list {
	const char **item; /* items borrowed from argv; freed by kms_opt_deinit() */
	size_t n;
};

/** A row. The table ends with a row without name. */
struct kms_opt {
	const char *name; /* without -- */
	char letter;      /* without -; 0 none */
	enum kms_opt_kind kind;
	size_t offset;     /* of the value in the command's struct */
	const char *value; /* what help calls it: "N", "FILE", "wait|drop"; NULL of a flag */
	const char *help;  /* NULL: left out of help */
	uint64_t min, max; /* of numbers; max 0: UINT64_MAX */
};

/* Rows, each with what its kind needs. */
#define KMS_ROW_FLAG(name, letter, at, help)                                                       \
	{                                                                                          \
		name, letter, KMS_OPT_FLAG, at, NULL, help, 0, 0                                   \
	}
#define KMS_ROW_TEXT(name, letter, at, value, help)                                                \
	{                                                                                          \
		name, letter, KMS_OPT_TEXT, at, value, help, 0, 0                                  \
	}
#define KMS_ROW_NUMBER(name, letter, at, value, min, max, help)                                    \
	{                                                                                          \
		name, letter, KMS_OPT_NUMBER, at, value, help, min, max                            \
	}
#define KMS_ROW_SIZE(name, letter, at, value, help)                                                \
	{                                                                                          \
		name, letter, KMS_OPT_SIZE, at, value, help, 0, 0                                  \
	}
#define KMS_ROW_CHOICE(name, letter, at, choices, help)                                            \
	{                                                                                          \
		name, letter, KMS_OPT_CHOICE, at, choices, help, 0, 0                              \
	}
#define KMS_ROW_LIST(name, letter, at, value, help)                                                \
	{                                                                                          \
		name, letter, KMS_OPT_LIST, at, value, help, 0, 0                                  \
	}
#define KMS_ROW_LATER(name, letter, version)                                                       \
	{                                                                                          \
		name, letter, KMS_OPT_LATER, 0, version, NULL, 0, 0                                \
	}
#define KMS_ROW_END                                                                                \
	{                                                                                          \
		NULL, 0, KMS_OPT_FLAG, 0, NULL, NULL, 0, 0                                         \
	}

/** A parsed command line. */
struct kms_parsed {
	char **args; /* what is no option, in order; borrowed from argv, which was reordered */
	int n_args;
	bool help; /* --help or -h was given; the rest was not read */
};

/**
 * Reads argv (without the command's name) into @values, the struct of the table.
 *
 * Options and arguments may be mixed; "--" ends the options, and so does the first argument if
 * @stop_at_argument. Values not given stay as they are: zero it before, but for choices.
 *
 * Errors: -EINVAL: err says what is wrong with which option, and what would be right; -ENOTSUP: an
 *         option of a later version; -ENOMEM. Lists filled so far are to be freed all the same.
 */
int kms_opt_parse(const struct kms_opt *table, bool stop_at_argument, char **argv, void *values,
		  struct kms_parsed *parsed, struct kms_err *err);

/** Sets every value of @values (struct_bytes) to "not given". */
void kms_opt_init(const struct kms_opt *table, void *values, size_t struct_bytes);

/** Frees the lists in @values. */
void kms_opt_deinit(const struct kms_opt *table, void *values);

#endif
