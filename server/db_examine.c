/* SPDX-License-Identifier: BSD-2-Clause */
/* x, p and search: memory and values in ddb's formats. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/db.h"
#include "server/db_run.h"

enum {
	MAX_ITEMS = 1 << 16,
	DUMP_BYTES = 16,
	STRING_BYTES = 4096,      /* of one x/s */
	SEARCH_BYTES = 256 << 20, /* without a count */
	STEPS_A_LOOK = 256,       /* at the clock; with the smallest size 16 in a page */
};

/* The format letters with a size, and how wide a column of it is. */
static const struct {
	char letter;
	unsigned int bytes;
	unsigned int width;
} sizes[] = {
	{'b', 1, 4 },
        {'h', 2, 8 },
        {'l', 4, 12},
	{'q', 8, 24},
        {'L', 8, 24},
        {'g', 8, 24}, /* gdb's: giant, and word */
	{'w', 4, 12},
};

/* Where x stands. */
struct examine {
	struct kms_ddb *db;
	uint64_t addr;
	unsigned int bytes;
	unsigned int width;
};

/* The column behind what is printed, tabs at their stops. */
static size_t position(const struct kms_ddb *db)
{
	const char *text = kms_buf_text(db->out);
	size_t begin = db->out->used_bytes;
	size_t stops = db->state->var[KMS_DDB_TABSTOPS];
	size_t column = 0;

	while (begin && text[begin - 1] != '\n')
		begin--;
	for (; text[begin]; begin++)
		column = text[begin] == '\t' ? (column / stops + 1) * stops : column + 1;
	return column;
}

static int64_t sign_extend(uint64_t value, unsigned int bytes)
{
	unsigned int unused = 64 - 8 * bytes;

	return (int64_t)(value << unused) >> unused;
}

/* "-7f" */
static struct kms_ddb_text signed_hex(int64_t value)
{
	struct kms_ddb_text out;
	uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	snprintf(out.text, sizeof(out.text), "%s%" PRIx64, value < 0 ? "-" : "", size);
	return out;
}

/* Signed, in the current radix. */
static struct kms_ddb_text signed_number(const struct kms_ddb *db, int64_t value)
{
	struct kms_ddb_text out;
	struct kms_ddb_text size =
		kms_ddb_number(db, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);

	snprintf(out.text, sizeof(out.text), "%s%.60s", value < 0 ? "-" : "", size.text);
	return out;
}

/* Value as the letter says; false: no such letter. */
static bool format_value(const struct kms_ddb *db, char letter, uint64_t value, unsigned int bytes,
			 struct kms_ddb_text *out)
{
	int64_t number = sign_extend(value, bytes);

	switch (letter) {
	case 'x':
		snprintf(out->text, sizeof(out->text), "%" PRIx64, value);
		return true;
	case 'z':
		*out = signed_hex(number);
		return true;
	case 'd':
		snprintf(out->text, sizeof(out->text), "%" PRId64, number);
		return true;
	case 'u':
		snprintf(out->text, sizeof(out->text), "%" PRIu64, value);
		return true;
	case 'o':
		snprintf(out->text, sizeof(out->text), "%" PRIo64, value);
		return true;
	case 'r':
		*out = signed_number(db, number);
		return true;
	default:
		return false;
	}
}

static void add_character(struct kms_buf *out, uint64_t c)
{
	if (c >= ' ' && c <= '~')
		kms_buf_add_char(out, (char)c);
	else
		kms_buf_addf(out, "\\%03o", (unsigned int)(c & 0xff));
}

/* A line that is full ends here. */
static void wrap(struct examine *x)
{
	if (position(x->db) + x->width >= x->db->state->var[KMS_DDB_MAXWIDTH])
		kms_buf_add_char(x->db->out, '\n');
}

static bool show_string(struct examine *x)
{
	uint64_t c;

	for (unsigned int i = 0; i < STRING_BYTES; i++) {
		if (!kms_ddb_read(x->db, x->addr, 1, &c))
			return false;
		x->addr++;
		if (c == 0)
			break;
		add_character(x->db->out, c);
	}
	kms_buf_add_char(x->db->out, '\n');
	return true;
}

/* Sixteen bytes, in hexadecimal and as text. */
static bool show_dump(struct examine *x)
{
	char text[DUMP_BYTES + 1] = "";
	uint64_t c;

	for (unsigned int i = 0; i < DUMP_BYTES; i++) {
		if (!kms_ddb_read(x->db, x->addr, 1, &c))
			return false;
		x->addr++;
		kms_buf_addf(x->db->out, "%02x%s", (unsigned int)c, i % 4 == 3 ? "  " : " ");
		text[i] = (char)(c >= ' ' && c <= '~' ? c : '.');
	}
	kms_buf_addf(x->db->out, "%s\n", text);
	return true;
}

static bool show_value(struct examine *x, char letter)
{
	struct kms_ddb_text text;
	uint64_t value;

	if (!format_value(x->db, letter, 0, x->bytes, &text)) {
		kms_ddb_fail(
			x->db,
			"Bad modifier: x has no format %c; b h l q for sizes, a x z d u o r c s m",
			letter);
		return false;
	}
	if (!kms_ddb_read(x->db, x->addr, x->bytes, &value))
		return false;
	x->addr += x->bytes;
	(void)format_value(x->db, letter, value, x->bytes, &text);
	kms_buf_addf(x->db->out, "%-*s", (int)x->width, text.text);
	wrap(x);
	return true;
}

static bool show_character(struct examine *x)
{
	uint64_t c;

	if (!kms_ddb_read(x->db, x->addr, 1, &c))
		return false;
	x->addr++;
	add_character(x->db->out, c);
	wrap(x);
	return true;
}

/* One letter of a format. False: an error. */
static bool show_letter(struct examine *x, char letter)
{
	struct kms_ddb *db = x->db;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (sizes[i].letter != letter)
			continue;
		x->bytes = sizes[i].bytes;
		x->width = sizes[i].width;
		return true;
	}
	if (letter == 'a') {
		kms_buf_addf(db->out, "= %s\n", kms_ddb_place(db, x->addr).text);
		return true;
	}
	if (position(db) == 0)
		kms_buf_addf(db->out, "%s:\t", kms_ddb_place(db, x->addr).text);
	db->state->prev = x->addr;
	switch (letter) {
	case 'c':
		return show_character(x);
	case 's':
		return show_string(x);
	case 'm':
		return show_dump(x);
	case 'i':
	case 'I':
		kms_ddb_fail(db, "x/%c: there is no disassembler here; a debugger has one", letter);
		return false;
	default:
		return show_value(x, letter);
	}
}

/* A format that only sets a size shows in hexadecimal, as `x/b` must. */
static bool shows_something(const char *format)
{
	return format[strspn(format, "bhlqLgw")] != '\0';
}

static void set_format(struct kms_ddb *db)
{
	char *format = db->state->examine;
	size_t n = strlen(db->modif);

	if (n == 0)
		return;
	if (n + 2 > sizeof(db->state->examine)) {
		kms_ddb_fail(db, "Bad modifier: at most %zu letters",
			     sizeof(db->state->examine) - 2);
		return;
	}
	memcpy(format, db->modif, n + 1);
	if (!shows_something(format))
		memcpy(format + n, "x", 2);
}

void kms_ddb_cmd_examine(struct kms_ddb *db)
{
	struct examine x = {.db = db, .addr = db->addr};
	int64_t count = db->count == -1 ? 1 : db->count;

	set_format(db);
	if (count < 0 || count > MAX_ITEMS)
		kms_ddb_fail(db, "x: a count of 0t%" PRId64 " is out of range: at most 0t%d", count,
			     MAX_ITEMS);
	while (count-- > 0 && !kms_ddb_failed(db) && kms_buf_status(db->out) == 0) {
		x.bytes = 4;
		x.width = 12;
		for (const char *letter = db->state->examine; *letter; letter++)
			if (!show_letter(&x, *letter))
				break;
		db->state->next = x.addr;
	}
	db->keeps_next = true;
}

void kms_ddb_cmd_print(struct kms_ddb *db)
{
	static const struct {
		char letter;
		int width;
	} widths[] = {
		{'x', 16},
                {'z', 8 },
                {'d', 11},
                {'u', 11},
                {'o', 15},
                {'r', 11},
	};

	char letter = db->state->print;
	struct kms_ddb_text text;

	if (db->modif[0])
		letter = db->modif[0];
	if (letter == 'a')
		kms_buf_addf(db->out, "%s\n", kms_ddb_place(db, db->addr).text);
	else if (letter == 'c')
		add_character(db->out, db->addr & 0xff);
	else if (!format_value(db, letter, db->addr, sizeof(db->addr), &text))
		kms_ddb_fail(db, "Bad modifier: p has no format %c; a x z d u o r c", letter);
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
		if (widths[i].letter == letter)
			kms_buf_addf(db->out, "%*s\n", widths[i].width, text.text);
	if (!kms_ddb_failed(db))
		db->state->print = letter;
}

/* Size of one item from the modifier; 0: an error. */
static unsigned int search_size(struct kms_ddb *db)
{
	char letter = (char)(db->modif[0] ? db->modif[0] : 'l');

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (sizes[i].letter == letter && letter != 'L')
			return sizes[i].bytes;
	kms_ddb_fail(db, "Bad modifier: search has no size %c; b h l q", letter);
	return 0;
}

/* What is being looked for. */
struct wanted {
	uint64_t value, mask;
	unsigned int size;
};

/* The time is over before the memory: where, and the line that goes on from there. */
static void end_late(struct kms_ddb *db, const struct wanted *wanted, uint64_t addr, uint64_t steps)
{
	char letter = (char)(db->modif[0] ? db->modif[0] : 'l');
	struct kms_ddb_text at = kms_ddb_number(db, addr);
	char count[80] = "";
	char mask[80] = "";

	if (db->count >= 0)
		snprintf(count, sizeof(count), ",%s", kms_ddb_number(db, steps).text);
	if (wanted->mask != UINT64_MAX >> (64 - 8 * wanted->size))
		snprintf(mask, sizeof(mask), " %s", kms_ddb_number(db, wanted->mask).text);
	kms_ddb_fail(
		db,
		"search: not found before %s, and the time is over; go on with: search/%c %s %s%s%s",
		kms_ddb_place(db, addr).text, letter, at.text,
		kms_ddb_number(db, wanted->value & wanted->mask).text, mask, count);
}

static void search(struct kms_ddb *db, uint64_t addr, const struct wanted *wanted)
{
	unsigned int size = wanted->size;
	uint64_t steps = db->count >= 0 ? (uint64_t)db->count : SEARCH_BYTES / size;
	uint64_t seen;

	if (steps > SEARCH_BYTES / size)
		steps = SEARCH_BYTES / size;
	for (uint64_t i = 0; i < steps; i++, addr += size) {
		if (i && i % STEPS_A_LOOK == 0 && kms_ddb_is_late(db)) {
			end_late(db, wanted, addr, steps - i);
			return;
		}
		if (!kms_ddb_read(db, addr, size, &seen))
			return;
		db->state->prev = db->state->dot = addr;
		db->state->next = addr + size;
		if ((seen & wanted->mask) != (wanted->value & wanted->mask))
			continue;
		kms_buf_addf(db->out, "%s:\t%s\n", kms_ddb_place(db, addr).text,
			     kms_ddb_number(db, seen).text);
		return;
	}
	kms_buf_addf(db->out, "kmem: not found before %s\n", kms_ddb_place(db, addr).text);
}

void kms_ddb_cmd_search(struct kms_ddb *db)
{
	uint64_t addr = 0;
	struct wanted wanted = {0};

	kms_ddb_modifier(db);
	wanted.size = search_size(db);
	if (wanted.size == 0)
		return;
	db->keeps_next = true;
	if (!kms_ddb_expression(db, &addr))
		kms_ddb_fail(db, "Address missing: search[/bhlq] ADDRESS VALUE [MASK] [,COUNT]");
	else if (!kms_ddb_expression(db, &wanted.value))
		kms_ddb_fail(db, "Value missing: search[/bhlq] ADDRESS VALUE [MASK] [,COUNT]");
	else if (!kms_ddb_expression(db, &wanted.mask))
		wanted.mask = UINT64_MAX;
	kms_ddb_count(db);
	wanted.mask &= UINT64_MAX >> (64 - 8 * wanted.size);
	if (!kms_ddb_failed(db))
		search(db, addr, &wanted);
}
