/* SPDX-License-Identifier: BSD-2-Clause */
/* What a terminal can show, as far as its environment says it. See term.h. */
#include <errno.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/term.h"

enum kms_glyphs kms_term_glyphs(void)
{
	/* A line of blocks has eight heights, one of braille four; fonts have blocks more often. */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes the locale later */
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? KMS_GLYPHS_BLOCK : KMS_GLYPHS_ASCII;
}

bool kms_term_wants_color(enum kms_color_choice choice)
{
	const char *no = getenv("NO_COLOR");        /* NOLINT(concurrency-mt-unsafe) */
	const char *yes = getenv("CLICOLOR_FORCE"); /* NOLINT(concurrency-mt-unsafe) */

	if (choice != KMS_COLOR_AUTO)
		return choice == KMS_COLOR_ALWAYS;
	if (no && *no)
		return false;
	return (yes && strcmp(yes, "0") != 0) || isatty(STDOUT_FILENO);
}

int kms_term_check(struct kms_err *err)
{
	const char *name = getenv("TERM"); /* NOLINT(concurrency-mt-unsafe) */

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return kms_err_set(err, -ENOTTY,
				   "standard input and output must be a terminal; `kmemscope top "
				   "--once` prints one screen as text");
	if (!name || !*name || strcmp(name, "dumb") == 0)
		return kms_err_set(err, -ENOTSUP,
				   "this terminal (TERM) cannot show a screen; `kmemscope top "
				   "--once` prints one as text");
	return 0;
}
