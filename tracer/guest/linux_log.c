/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's log, searched as bytes: its records lie in one buffer, each text in one piece. What is
 * overwritten is gone, and a line may be cut where the buffer ends.
 */
#include <string.h>

#include "tracer/guest/linux_impl.h"

enum {
	MAX_LOG_BYTES = 64 << 20,
	STEP_BYTES = 32 << 10,
};

static bool is_text(char c)
{
	return c >= ' ' && c <= '~';
}

/* What is searched for, and what was found. */
struct search {
	const char *text;
	char (*line)[KMS_LINUX_REPORT_BYTES];
	uint32_t n, max;
};

/* Copies a line as far as it is text. */
static void keep(struct search *s, const char *at, size_t bytes)
{
	size_t used = 0;

	if (s->n++ >= s->max)
		return;
	for (; used + 1 < KMS_LINUX_REPORT_BYTES && used < bytes && is_text(at[used]); used++)
		s->line[s->n - 1][used] = at[used];
	s->line[s->n - 1][used] = '\0';
}

/* Searches a piece; found lines begin in its first @step bytes. */
static void search(struct search *s, const char *piece, size_t bytes, size_t step)
{
	size_t length = strlen(s->text);

	for (const char *at = piece;; at += length) {
		at = memmem(at, bytes - (size_t)(at - piece), s->text, length);
		if (!at || (size_t)(at - piece) >= step)
			return;
		keep(s, at, bytes - (size_t)(at - piece));
	}
}

uint32_t kms_linux_reports(struct kms_linux *lx, const char *text,
			   char (*line)[KMS_LINUX_REPORT_BYTES], uint32_t max)
{
	char piece[STEP_BYTES + KMS_LINUX_REPORT_BYTES];
	struct search s = {.text = text, .line = line, .max = max};
	uint64_t log = 0, bytes = 0;

	if (kms_lx_read_variable(lx, "log_buf", sizeof(log), &log, NULL) ||
	    kms_lx_read_variable(lx, "log_buf_len", sizeof(uint32_t), &bytes, NULL) ||
	    bytes > MAX_LOG_BYTES)
		return 0;
	for (uint64_t at = 0; at < bytes; at += STEP_BYTES) {
		uint64_t left = bytes - at;
		size_t take = left < sizeof(piece) ? (size_t)left : sizeof(piece);

		if (kms_lx_read(lx, log + at, piece, take, NULL))
			break;
		search(&s, piece, take, STEP_BYTES);
	}
	return s.n;
}
