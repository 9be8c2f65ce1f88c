/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A prompt over the fixture, for tests: a line in, what it printed and its error out.
 */
#ifndef KMS_SERVER_TEST_DB_LINES_H
#define KMS_SERVER_TEST_DB_LINES_H

#include <stdbool.h>

#include "server/db.h"
#include "server/test/fixture_view.h"

/** One prompt: what it remembers, and the answer to its last line. */
struct prompt {
	struct fixture fixture;
	struct kms_ddb_state state;
	struct kms_ddb db;
	struct kms_buf out;
	bool read_only;
	uint64_t end_ns; /* as struct kms_ddb has it */
};

/** Begins; @live: the fixture runs, else it is a finished trace. */
void prompt_init(struct prompt *prompt, bool live);
void prompt_deinit(struct prompt *prompt);

/** Runs a line; the text it printed, valid until the next one. */
const char *prompt_run(struct prompt *prompt, const char *line);

/** The error of the last line, "" none. */
const char *prompt_error(const struct prompt *prompt);

/** A line, a piece of what it prints (NULL: nothing is printed), the beginning of its error (NULL: none). */
struct prompt_row {
	const char *fact; /* which behaviour it is taken from */
	const char *line;
	const char *output;
	const char *error;
};

/** Runs a row's line. Whether it prints and refuses what the row says. */
bool prompt_holds(struct prompt *prompt, const struct prompt_row *row);

/** Fails the (cmocka) test at the first of an array of rows that does not hold. */
#define PROMPT_CHECK(prompt, rows)                                                                 \
	do {                                                                                       \
		for (size_t row_ = 0; row_ < sizeof(rows) / sizeof((rows)[0]); row_++)             \
			if (!prompt_holds(prompt, &(rows)[row_]))                                  \
				fail_msg("%s: %s printed \"%s\", error \"%s\"", (rows)[row_].fact, \
					 (rows)[row_].line, kms_buf_text(&(prompt)->out),          \
					 prompt_error(prompt));                                    \
	} while (0)

#endif
