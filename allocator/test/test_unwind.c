/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules from .eh_frame, compared with what readelf prints of the same tables; and tables that are
 * broken, which must do no harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocator/port/cfi.h"
#include "allocator/test/stack_support.h"

enum {
	LINE_BYTES = 4096,
	MAX_COLUMNS = 40,
	MUTATIONS = 4000,
};

static struct stack_support support;

/* A column of readelf's table of rows: what it says about the register. */
struct table {
	unsigned columns;
	char name[MAX_COLUMNS][16];
	uint64_t checked;
};

static unsigned split(char *line, char *words[], unsigned max)
{
	unsigned n = 0;
	char *rest = NULL;

	for (char *word = strtok_r(line, " \n", &rest); word && n < max;
	     word = strtok_r(NULL, " \n", &rest))
		words[n++] = word;
	return n;
}

static const char *column(const struct table *table, char *words[], const char *name)
{
	for (unsigned i = 0; i < table->columns; i++) {
		if (strcmp(table->name[i], name) == 0)
			return words[i];
	}
	return "u";
}

/* "rsp+16" or "rbp+16"; false for anything else. */
static bool parse_cfa(const char *text, struct kms_rule_wide *rule)
{
	if (strncmp(text, "rsp+", 4) == 0)
		rule->kind = KMS_RULE_SP;
	else if (strncmp(text, "rbp+", 4) == 0)
		rule->kind = KMS_RULE_FP;
	else
		return false;
	rule->cfa_bytes = strtol(text + 4, NULL, 10);
	return true;
}

/* Where rbp is: "u" and "s" in the register, "c-16" in memory, anything else lost. */
static int64_t parse_fp(const char *text)
{
	if (*text == 'u' || *text == 's')
		return 0;
	return *text == 'c' ? strtol(text + 1, NULL, 10) : 1;
}

static struct kms_rule_wide unpack(uint32_t rule)
{
	struct kms_rule_wide wide = {
		.kind = kms_rule_kind(rule),
		.cfa_bytes = 8 * (int64_t)(rule & KMS_RULE_CFA_MASK),
		.fp_bytes = -8 * (int64_t)(rule >> KMS_RULE_FP_SHIFT & KMS_RULE_FP_MASK),
	};

	if (wide.kind == KMS_RULE_WIDE)
		return *kms_unwind_wide(support.unwind, rule & KMS_RULE_CFA_MASK);
	return wide;
}

static void check_row(struct table *table, char *words[], uint64_t bias)
{
	uint64_t location = strtoull(words[0], NULL, 16);
	uint64_t address = location + bias;
	const char *ra = column(table, words, "ra");
	uint32_t rule = kms_unwind_rule(support.unwind, address + 1);
	struct kms_rule_wide wanted = {.fp_bytes = parse_fp(column(table, words, "rbp"))};
	struct kms_rule_wide got = unpack(rule);

	if (location == 0)
		return; /* the row of a CIE */
	if (strcmp(ra, "u") == 0) {
		assert_int_equal(kms_rule_kind(rule), KMS_RULE_END);
	} else if (strcmp(ra, "c-8") == 0 && parse_cfa(words[1], &wanted)) {
		assert_int_equal(got.kind, wanted.kind);
		assert_int_equal(got.cfa_bytes, wanted.cfa_bytes);
		assert_int_equal(got.fp_bytes, wanted.fp_bytes);
	} else {
		return; /* an expression or another register */
	}
	table->checked++;
}

static void check_line(struct table *table, char *line, uint64_t bias)
{
	char *words[MAX_COLUMNS];
	unsigned n = split(line, words, MAX_COLUMNS);

	if (n > 2 && strcmp(words[0], "LOC") == 0) {
		table->columns = n;
		for (unsigned i = 0; i < n; i++)
			snprintf(table->name[i], sizeof(table->name[i]), "%s", words[i]);
	} else if (table->columns && n == table->columns && strlen(words[0]) == 16) {
		check_row(table, words, bias);
	} else {
		table->columns = 0;
	}
}

static uint64_t check_module(const char *path, uint64_t bias)
{
	char command[LINE_BYTES], line[LINE_BYTES];
	struct table table = {0};
	FILE *rows;

	snprintf(command, sizeof(command),
		 "readelf --wide --debug-dump=frames-interp,no-follow-links '%s'", path);
	rows = popen(command, "r");
	assert_non_null(rows);
	while (fgets(line, sizeof(line), rows))
		check_line(&table, line, bias);
	assert_int_equal(pclose(rows), 0);
	return table.checked;
}

static void rules_are_those_of_the_tables(void **state)
{
	struct kms_module_view module;
	char program[LINE_BYTES] = "";

	(void)state;
	assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	assert_true(kms_module_find((uintptr_t)&qsort, &module));
	assert_true(check_module(module.name, module.bias) > 20000);
	assert_true(kms_module_find((uintptr_t)&rules_are_those_of_the_tables, &module));
	assert_true(check_module(program, module.bias) > 300);
}

static void the_outermost_frame_and_a_handlers_return_are_known(void **state)
{
	(void)state;
	/* Nothing calls from the middle of nowhere. */
	assert_int_equal(kms_rule_kind(kms_unwind_rule(support.unwind, 0x1000)), KMS_RULE_BAD);
	assert_int_equal(kms_rule_kind(kms_unwind_rule(support.unwind, ~UINT64_C(0))),
			 KMS_RULE_BAD);
	assert_int_equal(kms_rule_kind(kms_unwind_rule(support.unwind, 0)), KMS_RULE_BAD);
	/* A handler returns here, whoever wrote it: mov $15, %rax; syscall. */
	static const uint8_t code[] = {0xcc, 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
	assert_int_equal(kms_rule_kind(kms_unwind_rule(support.unwind, (uintptr_t)code + 1)),
			 KMS_RULE_SIGNAL);
}

/* --- broken tables --- */

/* A copy of a module's table segment between pages that cannot be touched. */
struct copy {
	uint8_t *start;
	size_t bytes;
	const uint8_t *header;
	uint64_t shift; /* of code addresses, as the tables count from themselves */
	uint64_t code_start, code_end;
};

static void make_copy(struct copy *copy)
{
	struct kms_module_view module;
	struct kms_eh_view segment;
	size_t room;
	uint8_t *pages;

	assert_true(kms_module_find((uintptr_t)&qsort, &module));
	assert_true(kms_module_segment(&module, &segment));
	copy->bytes = (size_t)(segment.end - segment.start);
	room = (copy->bytes + 4095) & ~(size_t)4095;
	pages = mmap(NULL, room + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + 4096, room, PROT_READ | PROT_WRITE), 0);
	copy->start = pages + 4096 + room - copy->bytes; /* right up to the closed page */
	memcpy(copy->start, segment.start, copy->bytes);
	copy->header = copy->start + (module.header - segment.start);
	copy->shift = (uintptr_t)copy->start - (uintptr_t)segment.start;
	copy->code_start = module.start;
	copy->code_end = module.end;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 11;
}

static unsigned look_up(const struct copy *copy, const struct kms_eh_view *view, uint64_t *seed,
			unsigned lookups)
{
	unsigned rows = 0;

	for (unsigned i = 0; i < lookups; i++) {
		uint64_t address = copy->code_start +
				   next_random(seed) % (copy->code_end - copy->code_start) +
				   copy->shift;
		struct kms_fde fde;
		struct kms_cfi_row row;

		rows += kms_eh_find(view, copy->header, address, &fde) &&
			kms_cfi_row(&fde, address, &row);
	}
	return rows;
}

static void broken_tables_do_no_harm(void **state)
{
	struct copy copy;
	struct kms_eh_view view;
	uint64_t seed = 42;
	uint8_t *whole;

	(void)state;
	make_copy(&copy);
	view = (struct kms_eh_view){copy.start, copy.start + copy.bytes};
	assert_true(look_up(&copy, &view, &seed, 1000) > 500); /* whole, it works */
	whole = malloc(copy.bytes);
	assert_non_null(whole);
	memcpy(whole, copy.start, copy.bytes);
	for (unsigned i = 0; i < MUTATIONS; i++) {
		for (unsigned n = 1 + i % 50; n > 0; n--)
			copy.start[next_random(&seed) % copy.bytes] = (uint8_t)next_random(&seed);
		/* The header and its search table are what is read most. */
		if (i % 4 == 0)
			copy.start[(size_t)(copy.header - copy.start) + next_random(&seed) % 16] =
				(uint8_t)next_random(&seed);
		(void)look_up(&copy, &view, &seed, 20);
		if (i % 8 == 7)
			memcpy(copy.start, whole, copy.bytes);
	}
	free(whole);
}

/* Wherever the bytes end, nothing is read past that. */
static void tables_cut_short_do_no_harm(void **state)
{
	struct copy copy;
	uint64_t seed = 43;

	(void)state;
	make_copy(&copy);
	for (unsigned i = 0; i < 300; i++) {
		size_t left = next_random(&seed) % copy.bytes;
		struct kms_eh_view view;
		struct copy moved = copy;

		/* The first @left bytes, moved up to the closed page. */
		moved.start = copy.start + (copy.bytes - left);
		memmove(moved.start, copy.start, left);
		moved.header += copy.bytes - left;
		moved.shift += copy.bytes - left;
		view = (struct kms_eh_view){moved.start, moved.start + left};
		(void)look_up(&moved, &view, &seed, 50);
		make_copy(&copy);
	}
}

static void random_programs_do_no_harm(void **state)
{
	uint8_t *pages = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = 44;
	unsigned good = 0;

	(void)state;
	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages, 4096, PROT_READ | PROT_WRITE), 0);
	for (unsigned i = 0; i < 200000; i++) {
		size_t bytes = next_random(&seed) % 40;
		uint8_t *start = pages + 4096 - bytes;
		struct kms_fde fde = {
			.start = 0x1000,
			.end = 0x2000,
			.code_align = 1,
			.data_align = -8,
			.return_register = 16,
			.encoding = 0x1b,
			.program = {start, pages + 4096, false},
		};
		struct kms_cfi_row row;

		for (size_t n = 0; n < bytes; n++)
			start[n] = (uint8_t)next_random(&seed);
		good += kms_cfi_row(&fde, 0x1800, &row);
	}
	assert_true(good > 1000);
}

static int set_up(void **state)
{
	(void)state;
	stack_support_init(&support, 1000);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_are_those_of_the_tables),
		cmocka_unit_test(the_outermost_frame_and_a_handlers_return_are_known),
		cmocka_unit_test(broken_tables_do_no_harm),
		cmocka_unit_test(tables_cut_short_do_no_harm),
		cmocka_unit_test(random_programs_do_no_harm),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
