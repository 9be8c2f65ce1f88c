/* SPDX-License-Identifier: BSD-2-Clause */
/* Edited lines from a terminal: see tty_line.h. */
#include "tui/tty_line.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/utf8.h"
#include "tui/tty_mode.h"

enum {
	CTRL_C = 3,
	CTRL_D = 4,
	CTRL_R = 18,
	ESCAPE = 27,
	DELETE_LEFT = 127,
	COLUMNS = 80,      /* of a terminal that does not say */
	GONE = -1,         /* no byte: the terminal has gone */
	PROMPT_BYTES = 64, /* a longer one is cut */
};

/* What a byte does as it is, behind Escape, and at the end of Escape [ or Escape O. */
struct key_row {
	int byte;
	enum kms_line_key key;
};

static const struct key_row controls[] = {
	{1,   KMS_LINE_HOME           },
        {2,   KMS_LINE_LEFT           },
        {4,   KMS_LINE_DELETE         },
	{5,   KMS_LINE_END            },
        {6,   KMS_LINE_RIGHT          },
        {8,   KMS_LINE_BACKSPACE      },
	{11,  KMS_LINE_KILL_END       },
        {14,  KMS_LINE_NEWER          },
        {16,  KMS_LINE_OLDER          },
	{20,  KMS_LINE_SWAP           },
        {21,  KMS_LINE_KILL_BEGIN     },
        {23,  KMS_LINE_KILL_BLANK_LEFT},
	{25,  KMS_LINE_YANK           },
        {127, KMS_LINE_BACKSPACE      },
};

static const struct key_row escaped[] = {
	{'b', KMS_LINE_WORD_LEFT     },
	{'f', KMS_LINE_WORD_RIGHT    },
	{'d', KMS_LINE_KILL_WORD     },
	{127, KMS_LINE_KILL_WORD_LEFT},
};

static const struct key_row arrows[] = {
	{'A', KMS_LINE_OLDER },
        {'B', KMS_LINE_NEWER },
        {'C', KMS_LINE_RIGHT },
        {'D', KMS_LINE_LEFT  },
	{'H', KMS_LINE_HOME  },
        {'F', KMS_LINE_END   },
        {'~', KMS_LINE_DELETE},
};

/* Does what a row of the table says; false: it has none for this byte. */
static bool apply(struct kms_line *line, const struct key_row *table, size_t n, int byte)
{
	for (size_t i = 0; i < n; i++) {
		if (table[i].byte != byte)
			continue;
		kms_line_edit(line, table[i].key);
		return true;
	}
	return false;
}

#define APPLY(line, table, byte) apply(line, table, sizeof(table) / sizeof((table)[0]), byte)

static int read_byte(void)
{
	unsigned char byte;
	ssize_t n;

	do
		n = read(STDIN_FILENO, &byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? byte : GONE;
}

/* Behind Escape: a letter, or [ and O with parameters up to a letter or ~. */
static void take_escape(struct kms_line *line)
{
	int byte = read_byte();

	if (byte != '[' && byte != 'O') {
		(void)APPLY(line, escaped, byte);
		return;
	}
	do
		byte = read_byte();
	while ((byte >= '0' && byte <= '9') || byte == ';');
	(void)APPLY(line, arrows, byte);
}

/* A character of which the first byte is read. */
static uint32_t take_character(int first)
{
	char bytes[4] = {(char)first};
	uint32_t c = KMS_UTF8_INVALID;
	size_t n = 1;

	while (kms_utf8_decode(bytes, n, &c) == 1 && c == KMS_UTF8_INVALID && n < sizeof(bytes) &&
	       first >= 0xc2 &&
	       n < (size_t)(first >= 0xf0   ? 4
			    : first >= 0xe0 ? 3
					    : 2))
		bytes[n++] = (char)read_byte();
	return c;
}

/* A key while a line of the history is searched for; false: it ends the search and is to be done too. */
static bool take_search(struct kms_line *line, int byte)
{
	if (byte == CTRL_R)
		kms_line_search(line);
	else if (byte == DELETE_LEFT || byte == 8)
		kms_line_search_add(line, 0);
	else if (byte >= ' ')
		kms_line_search_add(line, take_character(byte));
	else
		kms_line_search_end(line);
	return line->searching;
}

static void take_key(struct kms_line *line, int byte)
{
	if (line->searching && take_search(line, byte))
		return;
	if (byte == ESCAPE)
		take_escape(line);
	else if (byte == CTRL_R)
		kms_line_search(line);
	else if (!APPLY(line, controls, byte) && byte >= ' ')
		kms_line_insert(line, take_character(byte));
}

static int columns(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return COLUMNS;
	return size.ws_col;
}

/* The line anew: as much of it around the cursor as fits behind the prompt. */
static void draw(struct kms_tty *tty, const char *prompt)
{
	struct kms_line part = tty->line;
	char text[KMS_LINE_BYTES];
	int room = columns() - (int)strlen(prompt) - 1;
	int first = room > 0 && part.cursor > room ? part.cursor - room : 0;

	if (tty->line.searching) {
		kms_line_text(&tty->line, text);
		fprintf(tty->to, "\r\033[K(search) %s: %.60s", tty->line.pattern, text);
		(void)fflush(tty->to);
		return;
	}
	part.n -= first;
	if (room > 0 && part.n > room)
		part.n = room;
	memmove(part.c, part.c + first, (size_t)part.n * sizeof(part.c[0]));
	kms_line_text(&part, text);
	fprintf(tty->to, "\r\033[K%s%s\r\033[%dC", prompt, text,
		(int)strlen(prompt) + tty->line.cursor - first);
	(void)fflush(tty->to);
}

/* Keys until the line is entered. 0, or -ENODATA. */
static int edit(struct kms_tty *tty, const char *prompt)
{
	int byte;

	kms_line_begin(&tty->line, &tty->history, "");
	for (;;) {
		draw(tty, prompt);
		byte = read_byte();
		if (byte == GONE || (byte == CTRL_D && tty->line.n == 0))
			return -ENODATA;
		if (byte == '\r' || byte == '\n')
			return 0;
		if (byte == CTRL_C) {
			fputs("^C\n", tty->to);
			kms_line_begin(&tty->line, &tty->history, "");
		} else {
			take_key(&tty->line, byte);
		}
	}
}

/* A server's text, of which as many columns as bytes are seen. */
static void make_plain(const char *prompt, char plain[PROMPT_BYTES])
{
	size_t n = 0;

	for (; n < PROMPT_BYTES - 1 && prompt[n]; n++)
		plain[n] = (char)(prompt[n] >= ' ' && prompt[n] <= '~' ? prompt[n] : '?');
	plain[n] = '\0';
}

void kms_tty_init(struct kms_tty *tty, FILE *to)
{
	memset(tty, 0, sizeof(*tty));
	tty->to = to;
	if (kms_line_history_path(tty->path, sizeof(tty->path), NULL) < 0)
		tty->path[0] = '\0';
	else
		(void)kms_line_history_load(&tty->history, tty->path, NULL); /* none is as good */
}

void kms_tty_deinit(struct kms_tty *tty)
{
	if (tty->path[0])
		(void)kms_line_history_save(&tty->history, tty->path, NULL); /* nobody to tell */
	kms_line_history_deinit(&tty->history);
}

int kms_tty_read(struct kms_tty *tty, const char *prompt, char text[KMS_LINE_BYTES])
{
	struct termios before;
	struct termios raw;
	char plain[PROMPT_BYTES];
	int ret;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return -ENODATA;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	(void)kms_tty_mode_begin(&before, &raw); /* without it the terminal edits too */
	make_plain(prompt, plain);
	ret = edit(tty, plain);
	kms_tty_mode_end();
	kms_line_search_end(&tty->line);
	kms_line_text(&tty->line, text);
	if (ret == 0)
		kms_line_history_add(&tty->history, text);
	fputc('\n', tty->to);
	return ret;
}
