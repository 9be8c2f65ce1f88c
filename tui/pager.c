/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers by pages: see pager.h. */
#include "tui/pager.h"

#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/utf8.h"
#include "tui/tty_mode.h"

static const char more[] = "--db_more--";

/* Keys come as they are pressed and are not shown, from before the question until its answer. */
static bool read_keys(void)
{
	struct termios before;
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return false;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* signals stay: ^C still ends us */
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	return kms_tty_mode_begin(&before, &raw) == 0;
}

/* One key; 0: there is no more to read. */
static char read_key(void)
{
	char key = 0;

	return (char)(read(STDIN_FILENO, &key, 1) == 1 ? key : 0);
}

/* How many lines may follow; 0: no more are wanted. */
static int ask(FILE *to, int page)
{
	char key;

	if (!read_keys())
		return 0;
	fputs(more, to);
	(void)fflush(to); /* what cannot be shown cannot be asked */
	do
		key = read_key();
	while (key && !strchr(" \r\nqQ", key));
	kms_tty_mode_end();
	fprintf(to, "\r%*s\r", (int)strlen(more), "");
	if (key == ' ')
		return page;
	return key == '\n' || key == '\r' ? 1 : 0;
}

static void write_line(FILE *to, const char *line, size_t n)
{
	uint32_t c;
	size_t used;

	for (size_t i = 0; i < n; i += used) {
		used = kms_utf8_decode(line + i, n - i, &c);
		if (c == KMS_UTF8_INVALID || (kms_utf8_is_unsafe(c) && c != '\t'))
			fputc('?', to);
		else
			fwrite(line + i, 1, used, to);
	}
	fputc('\n', to);
}

void kms_page(FILE *to, const char *output, const char *error, int lines)
{
	int page = lines > 1 ? lines - 1 : lines;
	int left = page;
	size_t n;

	for (; *output; output += n + (output[n] == '\n')) {
		n = strcspn(output, "\n");
		if (lines > 0 && left == 0) {
			left = ask(to, page);
			if (left == 0)
				break;
		}
		write_line(to, output, n);
		left--;
	}
	if (error)
		write_line(to, error, strlen(error));
}
