/* SPDX-License-Identifier: BSD-2-Clause */
/* Completion in the prompt: commands, variables, caches. See top.h. */
#include <string.h>

#include "schema/variables.h"
#include "tui/top.h"

/* First words; the prompt's own list is its `help`. */
static const char *const commands[] = {
	"audit",     "bufctl", "continue", "detach", "diff",   "examine",
	"findleaks", "help",   "history",  "mark",   "print",  "set",
	"show",      "stop",   "trace",    "verify", "whatis", "write",
};

static const char *const shows[] = {
	"all pools", "events", "faults", "guard", "kmastat", "leaks", "pool", "variables",
};

enum {
	MATCHES = 64,
	WORD_BYTES = 128,
};

struct matches {
	const char *word[MATCHES];
	size_t n;
	const char *begin;
	size_t bytes;
};

static void offer(struct matches *matches, const char *word)
{
	if (matches->n < MATCHES && *word && strncmp(word, matches->begin, matches->bytes) == 0)
		matches->word[matches->n++] = word;
}

static void offer_variables(struct matches *matches)
{
#define KMS_OFFER(id, name, value, least, most, help) name,
	static const char *const names[] = {KMS_VARIABLES(KMS_OFFER)};
#undef KMS_OFFER

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		offer(matches, names[i]);
}

static void offer_caches(struct matches *matches, const struct kms_top *top)
{
	const struct kms_doc *doc = top->doc[KMS_FEED_CACHES];
	const cJSON *item = kms_json_first(kms_json_member(doc ? doc->json : NULL, "items"));

	for (; item; item = item->next)
		offer(matches, kms_json_text(item, "name"));
}

/* What all matches begin with. */
static size_t common_bytes(const struct matches *matches)
{
	size_t n = strlen(matches->word[0]);
	size_t same;

	for (size_t i = 1; i < matches->n; i++) {
		for (same = 0; same < n && matches->word[i][same] == matches->word[0][same]; same++)
			;
		n = same;
	}
	return n;
}

static void insert(struct kms_line *line, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		kms_line_insert(line, (unsigned char)text[i]);
}

static void list_matches(struct kms_top *top, const struct matches *matches)
{
	struct kms_buf words;

	kms_buf_init(&words, sizeof(top->message) - 1);
	for (size_t i = 0; i < matches->n; i++)
		kms_buf_addf(&words, "%s%s", i ? "  " : "", matches->word[i]);
	kms_top_say(top, "%s", kms_buf_text(&words));
	kms_buf_deinit(&words);
}

void kms_top_complete(struct kms_top *top)
{
	struct kms_line *line = &top->line;
	struct matches matches = {0};
	char text[KMS_LINE_BYTES];
	char *word;
	size_t n;

	if (line->cursor != line->n)
		return;
	kms_line_text(line, text);
	word = strrchr(text, ' ');
	word = word ? word + 1 : text;
	matches.begin = word;
	matches.bytes = strlen(word);
	if (word == text) {
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			offer(&matches, commands[i]);
	} else if (strncmp(text, "sh", 2) == 0) {
		for (size_t i = 0; i < sizeof(shows) / sizeof(shows[0]); i++)
			offer(&matches, shows[i]);
		offer_caches(&matches, top);
	} else {
		offer_variables(&matches);
		offer_caches(&matches, top);
	}
	if (matches.n == 0)
		return;
	n = common_bytes(&matches);
	insert(line, matches.word[0] + matches.bytes, n - matches.bytes);
	if (matches.n == 1)
		kms_line_insert(line, ' ');
	else if (n == matches.bytes)
		list_matches(top, &matches);
}
