/* SPDX-License-Identifier: BSD-2-Clause */
/* Leak suspects as text. */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "tui/view.h"

/* A paragraph broken at blanks, each line behind @indent blanks. */
static void add_paragraph(struct kms_text *text, const char *words, size_t indent, size_t width)
{
	size_t used = indent;
	size_t length;

	for (; *words; words += strspn(words, " ")) {
		length = strcspn(words, " ");
		if (used > indent && used + 1 + length > width) {
			kms_text_addf(text, "\n%*s", (int)indent, "");
			used = indent;
		} else if (used > indent) {
			kms_text_addf(text, " ");
			used++;
		}
		kms_buf_add_printable(&text->buf, words, length);
		used += length;
		words += length;
	}
	kms_text_addf(text, "\n");
}

static void add_suspect(struct kms_text *text, const cJSON *leak, int number,
			const struct kms_suspects *how)
{
	uint64_t count = kms_json_number(leak, "count");
	const char *words = kms_json_text(kms_json_member(leak, "evidence"), "words");
	const char *state = kms_json_text(leak, "state");
	const cJSON *age = kms_json_member(leak, "age_p50_us");
	int others = cJSON_GetArraySize(kms_json_member(leak, "caches")) - 1;

	kms_text_addf(text, "%*s", how->indent, "");
	if (number)
		kms_text_style(text, KMS_STYLE_DIM, "%d. ", number);
	kms_text_style(text, KMS_STYLE_BAD, "%s",
		       kms_fmt_bytes(kms_json_number(leak, "bytes")).text);
	kms_text_style(text, KMS_STYLE_HEAD, " in %s block%s", kms_fmt_count(count).text,
		       kms_plural(count));
	kms_text_addf(text, " of ");
	kms_text_name(text, kms_json_text(leak, "cache"));
	if (others > 0)
		kms_text_addf(text, " and %d other cache%s", others, kms_plural((uint64_t)others));
	kms_text_addf(text, ", score %.0f", kms_json_fraction(leak, "score"));
	if (*state && strcmp(state, "open") != 0)
		kms_text_addf(text, ", %s", state);
	kms_text_style(text, KMS_STYLE_DIM, "  id ");
	kms_text_name(text, kms_json_text(leak, "id"));
	kms_text_style(text, KMS_STYLE_DIM, "  target %" PRIu64, kms_json_number(leak, "target"));
	kms_text_addf(text, "\n%*s", how->indent + 3, "");
	if (*words)
		add_paragraph(text, words, (size_t)how->indent + 3, 100);
	else
		kms_text_addf(text, "median age %s\n",
			      cJSON_IsNumber(age)
				      ? kms_fmt_ns(kms_json_number(leak, "age_p50_us") * 1000).text
				      : "-");
	kms_text_stack(text, kms_json_member(leak, "stack"), how->frames, how->indent + 3);
}

int kms_show_suspects(struct kms_text *text, const cJSON *items, const struct kms_suspects *how)
{
	const cJSON *leak;
	int shown = 0;

	for (leak = kms_json_first(items); leak; leak = leak->next) {
		if (how->max && shown == how->max)
			break;
		if (!how->all && !kms_json_flag(leak, "suspect"))
			continue;
		if (shown++ && !how->frames)
			kms_text_addf(text, "\n");
		add_suspect(text, leak, shown, how);
	}
	return shown;
}

void kms_show_leak_totals(struct kms_text *text, const cJSON *document)
{
	uint64_t suspects = kms_json_number(document, "suspects");
	uint64_t blocks = kms_json_number(document, "suspect_count");
	uint64_t known = kms_json_number(document, "suppressed");
	uint64_t others = kms_json_number(document, "total") - suspects - known;

	if (suspects)
		kms_text_style(text, KMS_STYLE_BAD, "%s leak suspect%s",
			       kms_fmt_count(suspects).text, kms_plural(suspects));
	else
		kms_text_style(text, KMS_STYLE_HEAD, "no leak suspects");
	if (suspects)
		kms_text_addf(text, ": %s in %s block%s",
			      kms_fmt_bytes(kms_json_number(document, "suspect_bytes")).text,
			      kms_fmt_count(blocks).text, kms_plural(blocks));
	if (others)
		kms_text_addf(text, "; %s other site%s hold%s %s", kms_fmt_count(others).text,
			      kms_plural(others), others == 1 ? "s" : "",
			      kms_fmt_bytes(kms_json_number(document, "total_bytes") -
					    kms_json_number(document, "suspect_bytes") -
					    kms_json_number(document, "suppressed_bytes"))
				      .text);
	if (known)
		kms_text_addf(text, "; %s suppressed: %s", kms_fmt_count(known).text,
			      kms_fmt_bytes(kms_json_number(document, "suppressed_bytes")).text);
	kms_text_addf(text, "%s\n",
		      kms_json_flag(document, "incomplete") ? " (incomplete: events are missing)"
							    : "");
}

void kms_show_leaks(struct kms_text *text, const cJSON *document,
		    const struct kms_view_values *values)
{
	const cJSON *items = kms_json_member(document, "items");
	uint64_t wanted = kms_json_number(document, values->all ? "total" : "suspects");
	const struct kms_suspects how = {.all = values->all};
	uint64_t shown;

	kms_show_leak_totals(text, document);
	if (wanted)
		kms_text_addf(text, "\n");
	shown = (uint64_t)kms_show_suspects(text, items, &how);
	if (shown < wanted)
		kms_text_addf(text, "\n%s more: --limit N shows them\n",
			      kms_fmt_count(wanted - shown).text);
}

void kms_show_leak(struct kms_text *text, const cJSON *document,
		   const struct kms_view_values *values)
{
	(void)values;
	add_suspect(text, document, 0, &(struct kms_suspects){0});
}
