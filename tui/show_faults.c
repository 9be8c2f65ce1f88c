/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults as text: the reports are the server's, their look is ours. */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "tui/view.h"

/* A line of a report. Paths behind a bracket, as frames have them, are shown from the current folder. */
static void add_line(struct kms_text *text, const char *line, size_t length)
{
	size_t folder = strlen(text->folder);
	const char *end = line + length;
	const char *bracket;

	while (folder && (bracket = memchr(line, '(', (size_t)(end - line)))) {
		bracket++;
		kms_buf_add_printable(&text->buf, line, (size_t)(bracket - line));
		line = bracket;
		if ((size_t)(end - line) > folder && memcmp(line, text->folder, folder) == 0)
			line += folder;
	}
	kms_buf_add_printable(&text->buf, line, (size_t)(end - line));
}

void kms_show_headlines(struct kms_text *text, const cJSON *items, int max)
{
	const cJSON *fault;
	const char *headline;
	int i = 0;

	for (fault = kms_json_first(items); fault; fault = fault->next) {
		if (max && i++ == max)
			break;
		headline = kms_json_text(fault, "headline");
		kms_text_addf(text, "    ");
		add_line(text, headline, strlen(headline));
		kms_text_addf(text, "\n");
	}
}

/* A report: its first line stands out. */
static void add_report(struct kms_text *text, const cJSON *fault)
{
	const char *report = kms_json_text(fault, "report");
	size_t length = strcspn(report, "\n");

	kms_text_on(text, KMS_STYLE_BAD);
	add_line(text, report, length);
	kms_text_off(text);
	for (report += length; *report; report += length) {
		kms_text_addf(text, "\n");
		report++;
		length = strcspn(report, "\n");
		add_line(text, report, length);
	}
}

void kms_show_faults(struct kms_text *text, const cJSON *document,
		     const struct kms_view_values *values)
{
	const cJSON *items = kms_json_member(document, "items");
	const cJSON *fault;
	uint64_t total = kms_json_number(document, "total");
	int shown = cJSON_GetArraySize(items);
	int i = 0;

	(void)values;
	kms_text_style(text, KMS_STYLE_HEAD, "%s fault%s\n",
		       total ? kms_fmt_count(total).text : "no", kms_plural(total));
	for (fault = kms_json_first(items); fault; fault = fault->next) {
		kms_text_style(text, KMS_STYLE_DIM, "\n=== %d of %" PRIu64 " ===\n", ++i, total);
		add_report(text, fault);
	}
	if ((uint64_t)shown < total)
		kms_text_addf(text, "\n%s more: --limit N shows them\n",
			      kms_fmt_count(total - (uint64_t)shown).text);
}

void kms_show_fault(struct kms_text *text, const cJSON *document,
		    const struct kms_view_values *values)
{
	(void)values;
	add_report(text, document);
}
