/* SPDX-License-Identifier: BSD-2-Clause */
/* Text, tables and stacks: see text.h. */
#include "tui/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fmt.h"
#include "base/utf8.h"

enum {
	TEXT_LIMIT_BYTES = 256 << 20,
	CELL_LIMIT_BYTES = 4096,
};

static const char *const styles[] = {
	[KMS_STYLE_PLAIN] = "",
	[KMS_STYLE_HEAD] = "\x1b[1m",
	[KMS_STYLE_BAD] = "\x1b[1;31m",
	[KMS_STYLE_DIM] = "\x1b[2m",
};

void kms_text_init(struct kms_text *text, const struct kms_cli *cli)
{
	kms_buf_init(&text->buf, TEXT_LIMIT_BYTES);
	text->color = cli->color;
	if (!getcwd(text->folder, sizeof(text->folder) - 1) || strcmp(text->folder, "/") == 0)
		text->folder[0] = '\0';
	else
		memcpy(text->folder + strlen(text->folder), "/", 2);
}

void kms_text_deinit(struct kms_text *text)
{
	kms_buf_deinit(&text->buf);
}

void kms_text_print(struct kms_text *text, FILE *to)
{
	kms_cli_write(to, kms_buf_text(&text->buf), text->buf.used_bytes);
	if (kms_buf_status(&text->buf) < 0)
		fputs("... (the rest does not fit into memory)\n", to);
	kms_buf_deinit(&text->buf);
}

void kms_text_addf(struct kms_text *text, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	kms_buf_addv(&text->buf, fmt, args);
	va_end(args);
}

void kms_text_name(struct kms_text *text, const char *name)
{
	if (name)
		kms_buf_add_printable(&text->buf, name, strlen(name));
}

void kms_text_path(struct kms_text *text, const char *path)
{
	size_t n = strlen(text->folder);

	kms_text_name(text, n && strncmp(path, text->folder, n) == 0 ? path + n : path);
}

void kms_text_on(struct kms_text *text, enum kms_style style)
{
	if (text->color)
		kms_buf_add_str(&text->buf, styles[style]);
}

void kms_text_off(struct kms_text *text)
{
	if (text->color)
		kms_buf_add_str(&text->buf, "\x1b[0m");
}

void kms_text_style(struct kms_text *text, enum kms_style style, const char *fmt, ...)
{
	va_list args;

	kms_text_on(text, style);
	va_start(args, fmt);
	kms_buf_addv(&text->buf, fmt, args);
	va_end(args);
	if (style != KMS_STYLE_PLAIN)
		kms_text_off(text);
}

void kms_table_init(struct kms_table *table, const char *const *heads)
{
	memset(table, 0, sizeof(*table));
	for (; heads[table->n_columns] && table->n_columns < KMS_TABLE_COLUMNS;
	     table->n_columns++) {
		table->right[table->n_columns] = heads[table->n_columns][0] == '>';
		table->head[table->n_columns] =
			heads[table->n_columns] + table->right[table->n_columns];
	}
}

void kms_table_cell(struct kms_table *table, const char *fmt, ...)
{
	char **grown = table->cell;
	struct kms_buf raw;
	struct kms_buf cell;
	va_list args;

	if ((table->n_cells & (table->n_cells - 1)) == 0) /* room is the next power of two */
		grown = realloc(table->cell, (table->n_cells * 2 + 1) * sizeof(*grown));
	if (!grown) {
		table->oom = true;
		return;
	}
	table->cell = grown;
	kms_buf_init(&raw, CELL_LIMIT_BYTES);
	kms_buf_init(&cell, CELL_LIMIT_BYTES);
	va_start(args, fmt);
	kms_buf_addv(&raw, fmt, args);
	va_end(args);
	kms_buf_add_printable(&cell, kms_buf_text(&raw), raw.used_bytes);
	table->cell[table->n_cells++] = kms_buf_take(&cell);
	kms_buf_deinit(&raw);
	kms_buf_deinit(&cell);
}

/* Characters of a printable text, taken for one column each. */
static int columns_of(const char *text)
{
	size_t n = strlen(text);
	int columns = 0;
	uint32_t c;

	for (size_t i = 0; i < n; columns++)
		i += kms_utf8_decode(text + i, n - i, &c);
	return columns;
}

static const char *cell_text(const struct kms_table *table, size_t i)
{
	return i < table->n_cells && table->cell[i] ? table->cell[i] : "";
}

static void measure(const struct kms_table *table, int *widths)
{
	int width;

	for (size_t column = 0; column < table->n_columns; column++) {
		widths[column] = columns_of(table->head[column]);
		for (size_t i = column; i < table->n_cells; i += table->n_columns) {
			width = columns_of(cell_text(table, i));
			if (width > widths[column])
				widths[column] = width;
		}
	}
}

/* One cell with its padding; the last column of a line has none behind it. */
static void add_cell(struct kms_text *text, const struct kms_table *table, size_t column,
		     const char *cell, int width)
{
	int padding = width - columns_of(cell);
	bool last = column + 1 == table->n_columns;

	if (column)
		kms_buf_add_str(&text->buf, "  ");
	if (table->right[column])
		kms_text_addf(text, "%*s", padding, "");
	kms_buf_add_str(&text->buf, cell);
	if (!table->right[column] && !last)
		kms_text_addf(text, "%*s", padding, "");
}

void kms_table_print(struct kms_table *table, struct kms_text *text, int indent)
{
	int widths[KMS_TABLE_COLUMNS];

	measure(table, widths);
	kms_text_addf(text, "%*s", indent, "");
	kms_text_on(text, KMS_STYLE_HEAD);
	for (size_t column = 0; column < table->n_columns; column++)
		add_cell(text, table, column, table->head[column], widths[column]);
	kms_text_off(text);
	kms_buf_add_char(&text->buf, '\n');
	for (size_t row = 0; row < table->n_cells; row += table->n_columns) {
		kms_text_addf(text, "%*s", indent, "");
		for (size_t column = 0; column < table->n_columns; column++)
			add_cell(text, table, column, cell_text(table, row + column),
				 widths[column]);
		kms_buf_add_char(&text->buf, '\n');
	}
	if (table->oom)
		kms_buf_add_str(&text->buf, "... (out of memory)\n");
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cell[i]);
	free(table->cell);
}

const cJSON *kms_json_member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

uint64_t kms_json_number(const cJSON *object, const char *name)
{
	const cJSON *member = kms_json_member(object, name);
	uint64_t value = 0;

	if (cJSON_IsNumber(member) && member->valuedouble >= 0 && member->valuedouble < 0x1p64)
		return (uint64_t)member->valuedouble;
	if (cJSON_IsString(member))
		(void)kms_parse_u64(member->valuestring, &value); /* no number is 0 */
	return value;
}

double kms_json_fraction(const cJSON *object, const char *name)
{
	const cJSON *member = kms_json_member(object, name);

	return cJSON_IsNumber(member) ? member->valuedouble : 0;
}

const char *kms_json_text(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(kms_json_member(object, name));

	return text ? text : "";
}

bool kms_json_flag(const cJSON *object, const char *name)
{
	return cJSON_IsTrue(kms_json_member(object, name));
}

const cJSON *kms_json_first(const cJSON *list)
{
	return cJSON_IsArray(list) || cJSON_IsObject(list) ? list->child : NULL;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

void kms_text_frame(struct kms_text *text, const cJSON *frame)
{
	const char *function = kms_json_text(frame, "function");
	const char *file = kms_json_text(frame, "file");
	const char *module = last_part(kms_json_text(frame, "module"));
	bool place = *function && (*file || *module);

	kms_text_name(text, function);
	kms_text_addf(text, "%s", place ? " (" : "");
	if (*function && *file) {
		kms_text_path(text, file);
		if (kms_json_number(frame, "line"))
			kms_text_addf(text, ":%" PRIu64, kms_json_number(frame, "line"));
	} else if (*module) {
		kms_text_name(text, module);
		kms_text_addf(text, "+0x%" PRIx64, kms_json_number(frame, "offset"));
	} else if (!*function) {
		kms_text_name(text, kms_json_text(frame, "address"));
	}
	kms_text_addf(text, "%s", place ? ")" : "");
}

void kms_table_frame(struct kms_table *table, const struct kms_text *text, const cJSON *frame)
{
	struct kms_text cell = *text; /* for its folder */

	kms_buf_init(&cell.buf, CELL_LIMIT_BYTES);
	kms_text_frame(&cell, frame);
	kms_table_cell(table, "%s", kms_buf_text(&cell.buf));
	kms_buf_deinit(&cell.buf);
}

void kms_text_stack(struct kms_text *text, const cJSON *stack, int max, int indent)
{
	const cJSON *frame;
	int total = cJSON_GetArraySize(stack);
	int i = 0;

	if (total == 0)
		kms_text_addf(text, "%*s(no stack)\n", indent, "");
	for (frame = kms_json_first(stack); frame; frame = frame->next) {
		if (max && i == max) {
			kms_text_addf(text, "%*s... %d more\n", indent, "", total - i);
			break;
		}
		kms_text_addf(text, "%*s#%-2d ", indent, "", i++);
		kms_text_frame(text, frame);
		kms_text_addf(text, "%s\n", kms_json_flag(frame, "inlined") ? " [inlined]" : "");
	}
}

const cJSON *kms_stack_caller(const cJSON *stack)
{
	const cJSON *frame;

	for (frame = kms_json_first(stack); frame; frame = frame->next) {
		if (!frame->next ||
		    strncmp(last_part(kms_json_text(frame, "module")), "libkmem", 7) != 0)
			return frame;
	}
	return NULL;
}

const char *kms_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

struct kms_fmt kms_fmt_rate(uint64_t n)
{
	static const char *const units[] = {"k", "M", "G"};
	struct kms_fmt out;
	double value = (double)n;
	int unit = -1;

	for (; value >= 999.95 && unit < 2; unit++)
		value /= 1000;
	if (unit < 0)
		snprintf(out.text, sizeof(out.text), "%" PRIu64, n);
	else
		snprintf(out.text, sizeof(out.text), "%.1f%s", value, units[unit]);
	return out;
}
