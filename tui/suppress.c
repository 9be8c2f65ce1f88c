/* SPDX-License-Identifier: BSD-2-Clause */
#include "tui/suppress.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/text.h"

enum {
	PATTERNS_MAX = 10000,
	PAGE_ROWS = 1000,
	PAGES_MAX = 200, /* the model has at most 100,000 sites */
};

struct kms_suppressions {
	size_t n;
	char **pattern;
};

/* Whether the pattern matches from the begin of the text on; * takes as little as it can first. */
static bool matches_here(const char *text, const char *pattern)
{
	const char *star = NULL, *retry = NULL;

	while (true) {
		if (*pattern == '\0' || (pattern[0] == '$' && !pattern[1] && !*text))
			return true;
		if (*pattern == '*') {
			star = pattern++;
			retry = text;
		} else if (*text && *text == *pattern) {
			text++;
			pattern++;
		} else if (star && *retry) {
			pattern = star + 1;
			text = ++retry;
		} else {
			return false;
		}
	}
}

bool kms_suppressions_has(const char *text, const char *pattern)
{
	if (*pattern == '^')
		return matches_here(text, pattern + 1);
	do {
		if (matches_here(text, pattern))
			return true;
	} while (*text++);
	return false;
}

/* Takes a line apart in place; the pattern, or NULL: a comment or nothing. */
static const char *pattern_of(char *line, const char **kind)
{
	char *end = line + strlen(line);
	char *colon;

	while (end > line && isspace((unsigned char)end[-1]))
		*--end = '\0';
	line += strspn(line, " \t");
	if (*line == '\0' || *line == '#')
		return NULL;
	colon = strchr(line, ':');
	*kind = line;
	if (!colon)
		return "";
	*colon = '\0';
	return colon + 1;
}

static int add_line(struct kms_suppressions *s, char *line, const char *path, unsigned number,
		    struct kms_err *err)
{
	const char *kind = "";
	const char *pattern = pattern_of(line, &kind);
	char **grown;

	if (!pattern)
		return 0;
	if (strcmp(kind, "leak") != 0 || !*pattern)
		return kms_err_set(
			err, -EINVAL,
			"%.128s, line %u: \"%.40s\" is no suppression; one is leak:PATTERN", path,
			number, kind);
	if (s->n == PATTERNS_MAX)
		return kms_err_set(err, -E2BIG, "%.128s has more than %d suppressions", path,
				   PATTERNS_MAX);
	grown = realloc(s->pattern, (s->n + 1) * sizeof(*grown));
	if (!grown)
		return kms_err_set(err, -ENOMEM, "no memory for suppressions");
	s->pattern = grown;
	grown[s->n] = strdup(pattern);
	if (!grown[s->n])
		return kms_err_set(err, -ENOMEM, "no memory for suppressions");
	s->n++;
	return 0;
}

static int read_lines(struct kms_suppressions *s, FILE *file, const char *path, struct kms_err *err)
{
	char *line = NULL;
	size_t room = 0;
	int result = 0;

	for (unsigned number = 1; result == 0 && getline(&line, &room, file) >= 0; number++)
		result = add_line(s, line, path, number, err);
	free(line);
	if (result == 0 && ferror(file))
		result = kms_err_sys(err, -errno, "cannot read suppressions", path);
	return result;
}

int kms_suppressions_load(const char *path, struct kms_suppressions **out, struct kms_err *err)
{
	struct kms_suppressions *s = calloc(1, sizeof(*s));
	FILE *file = s ? fopen(path, "re") : NULL;
	int result;

	if (!s)
		return kms_err_set(err, -ENOMEM, "no memory for suppressions");
	result = file ? read_lines(s, file, path, err)
		      : kms_err_sys(err, -errno, "cannot read suppressions", path);
	if (file)
		(void)fclose(file); /* only read from */
	if (result < 0) {
		kms_suppressions_free(s);
		return result;
	}
	*out = s;
	return 0;
}

void kms_suppressions_free(struct kms_suppressions *suppressions)
{
	if (!suppressions)
		return;
	for (size_t i = 0; i < suppressions->n; i++)
		free(suppressions->pattern[i]);
	free(suppressions->pattern);
	free(suppressions);
}

bool kms_suppressions_match(const struct kms_suppressions *s, const cJSON *stack)
{
	static const char *const members[] = {"function", "file", "module"};
	const cJSON *frame;

	for (frame = kms_json_first(stack); frame; frame = frame->next) {
		for (size_t m = 0; m < sizeof(members) / sizeof(*members); m++) {
			const char *text = kms_json_text(frame, members[m]);

			for (size_t i = 0; *text && i < s->n; i++) {
				if (kms_suppressions_has(text, s->pattern[i]))
					return true;
			}
		}
	}
	return false;
}

/* One page more at the end of the document's items. *next: the request of the one after it, or "". */
static int add_page(struct kms_client *client, const char *request, cJSON **document,
		    char next[512], struct kms_err *err)
{
	struct kms_reply reply = {0};
	int result = kms_client_get(client, request, NULL, &reply, err);
	cJSON *page, *items, *item;

	if (result < 0)
		return result;
	page = cJSON_ParseWithLength(reply.body, reply.body_bytes);
	free(reply.body);
	memcpy(next, reply.next, sizeof(reply.next));
	if (!page)
		return kms_err_set(err, -EBADMSG, "the answer is not JSON");
	if (!*document) {
		*document = page;
		return 0;
	}
	items = cJSON_GetObjectItemCaseSensitive(page, "items");
	while ((item = cJSON_DetachItemFromArray(items, 0)))
		cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(*document, "items"), item);
	cJSON_Delete(page);
	return 0;
}

/* Suspects come first: behind a page that ends with another site there are none. */
static bool ends_with_suspect(const cJSON *document)
{
	const cJSON *items = cJSON_GetObjectItemCaseSensitive(document, "items");
	int n = cJSON_GetArraySize(items);

	return n > 0 && kms_json_flag(cJSON_GetArrayItem(items, n - 1), "suspect");
}

static void lower(cJSON *document, const char *name, uint64_t by)
{
	cJSON *number = cJSON_GetObjectItemCaseSensitive(document, name);
	uint64_t value = kms_json_number(document, name);

	if (cJSON_IsNumber(number)) /* above 2^53 it is a text, and stays */
		(void)cJSON_SetNumberHelper(number, (double)(value > by ? value - by : 0));
}

static void take_out(const struct kms_suppressions *s, cJSON *document, uint64_t limit, bool keep)
{
	cJSON *items = cJSON_GetObjectItemCaseSensitive(document, "items");
	uint64_t rows = 0, bytes = 0, shown = 0;
	cJSON *next;

	for (cJSON *leak = items ? items->child : NULL; leak; leak = next) {
		bool out = kms_json_flag(leak, "suspect") &&
			   kms_suppressions_match(s, kms_json_member(leak, "stack"));

		next = leak->next;
		if (out) {
			rows++;
			bytes += kms_json_number(leak, "bytes");
			lower(document, "suspects", 1);
			lower(document, "suspect_bytes", kms_json_number(leak, "bytes"));
			lower(document, "suspect_count", kms_json_number(leak, "count"));
			cJSON_ReplaceItemInObjectCaseSensitive(leak, "suspect",
							       cJSON_CreateFalse());
			cJSON_ReplaceItemInObjectCaseSensitive(leak, "state",
							       cJSON_CreateString("suppressed"));
		}
		if ((out && !keep) || shown == limit)
			cJSON_Delete(cJSON_DetachItemViaPointer(items, leak));
		else
			shown++;
	}
	cJSON_AddNumberToObject(document, "suppressed", (double)rows);
	cJSON_AddNumberToObject(document, "suppressed_bytes", (double)bytes);
}

int kms_suppressions_leaks(const struct kms_suppressions *suppressions, struct kms_client *client,
			   const struct kms_suppressions_ask *ask, cJSON **document,
			   struct kms_err *err)
{
	char next[512] = "";
	char *first;
	int result;

	*document = NULL;
	if (asprintf(&first, "%s%climit=%d", ask->request, strchr(ask->request, '?') ? '&' : '?',
		     PAGE_ROWS) < 0)
		return kms_err_set(err, -ENOMEM, "out of memory");
	result = add_page(client, first, document, next, err);
	for (int i = 1; result == 0 && i < PAGES_MAX && next[0] && ends_with_suspect(*document);
	     i++) {
		char request_next[sizeof(next)];

		memcpy(request_next, next, sizeof(next));
		result = add_page(client, request_next, document, next, err);
	}
	free(first);
	if (result < 0) {
		cJSON_Delete(*document);
		*document = NULL;
		return result;
	}
	take_out(suppressions, *document, ask->limit, ask->keep);
	return 0;
}
