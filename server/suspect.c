/* SPDX-License-Identifier: BSD-2-Clause */
/* What makes a site a suspect, and its evidence in words: see suspect.h. */
#include "server/suspect.h"

#include <stdarg.h>
#include <string.h>

#include "base/fmt.h"

enum {
	SUSPECT_SCORE = 50, /* half of what the evidence can say */
};

bool kms_is_suspect(const struct kms_view_leak *leak)
{
	return leak->score >= SUSPECT_SCORE && (!leak->state || strcmp(leak->state, "open") == 0);
}

/* Adds one clause of the evidence in words. */
static void add_clause(struct kms_buf *text, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void add_clause(struct kms_buf *text, const char *fmt, ...)
{
	va_list args;

	if (text->used_bytes)
		kms_buf_add_str(text, "; ");
	va_start(args, fmt);
	kms_buf_addv(text, fmt, args);
	va_end(args);
}

void kms_suspect_words(struct kms_buf *text, const struct kms_view_leak *leak)
{
	const struct kms_view_evidence *e = &leak->evidence;

	if (e->at_exit)
		add_clause(text, "still live when the program ended");
	if (e->never_freed)
		add_clause(text, "no block from here was ever freed");
	else if (e->freed)
		add_clause(text, "%s of %s blocks from here were freed",
			   kms_fmt_count(e->freed).text, kms_fmt_count(leak->allocs).text);
	if (e->growth_bytes_per_s >= 1)
		add_clause(text, "grows by %s/s",
			   kms_fmt_bytes((uint64_t)e->growth_bytes_per_s).text);
	if (e->age_over_lifetime >= 1)
		add_clause(text,
			   "median age is %.3g times the 99th percentile of its past lifetimes",
			   e->age_over_lifetime);
}
