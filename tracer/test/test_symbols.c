/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses of known programs to functions, files and lines. The fixtures: fixtures/symbols/build.sh. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/symbols.h"
#include "tracer/test/symbols_fixture.h"

enum {
	PATIENCE_MS = 60000, /* of tests that are not about time */
};

struct state {
	struct kms_symbols *sym;
	char debug_root[FIXTURE_PATH_BYTES];
};

static int set_up(void **data)
{
	struct state *state = calloc(1, sizeof(*state));
	assert_non_null(state);
	struct kms_symbols_config cfg = {
		.debug_root = fixture_path(state->debug_root, "debug"),
		.deadline_ms = PATIENCE_MS,
	};
	struct kms_err err = KMS_ERR_INIT;
	state->sym = kms_symbols_create(&cfg, &err);
	if (!state->sym)
		fail_msg("%s: %s", err.subject, err.text);
	*data = state;
	return 0;
}

static int tear_down(void **data)
{
	struct state *state = *data;
	kms_symbols_destroy(state->sym);
	free(state);
	return 0;
}

/* Resolves a mark of a fixture; full is the fixture with the same code and its symbol table. */
static struct kms_symbol_answer resolve_mark(const struct state *state, const char *name,
					     const char *full, const char *mark)
{
	char path[FIXTURE_PATH_BYTES];
	uint32_t module = fixture_module(state->sym, fixture_path(path, name));
	return fixture_resolve(state->sym, module, fixture_address(full, mark));
}

static void assert_frame(const struct kms_symbol_answer *answer, uint32_t idx, const char *function,
			 const char *line, bool inlined)
{
	assert_int_equal(answer->reason, KMS_SYMBOL_OK);
	assert_in_range(idx, 0, answer->n_frames - 1);
	const struct kms_symbol_frame *frame = &answer->frames[idx];
	assert_non_null(frame->function);
	assert_string_equal(frame->function, function);
	assert_int_equal(frame->inlined, inlined);
	if (!line) {
		assert_null(frame->file);
		assert_int_equal(frame->line, 0);
		return;
	}
	assert_non_null(frame->file);
	size_t n = strlen(frame->file);
	assert_true(n > 9 && strcmp(frame->file + n - 9, "/inline.c") == 0);
	assert_int_equal(frame->line, fixture_line("inline.c", line));
}

static void assert_inlined_chain(const struct kms_symbol_answer *answer)
{
	assert_int_equal(answer->n_frames, 3);
	assert_frame(answer, 0, "innermost", "innermost", true);
	assert_frame(answer, 1, "middle", "call of innermost", true);
	assert_frame(answer, 2, "outer", "call of middle", false);
	assert_int_equal(answer->frames[0].function_offset, 0);
	assert_int_equal(answer->frames[1].function_offset, 0);
}

static void inlined_chain_has_call_lines_in_outer_frames(void **data)
{
	static const char *const variants[] = {"inline", "inline_dwarf4", "inline_clang",
					       "inline_zlib", "inline_split"};
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		if (!fixture_exists(variants[i]))
			continue;
		struct kms_symbol_answer answer =
			resolve_mark(*data, variants[i], variants[i], "mark_innermost");
		assert_inlined_chain(&answer);
		uint64_t expected = fixture_address(variants[i], "mark_innermost") -
				    fixture_address(variants[i], "outer");
		assert_int_equal(answer.frames[2].function_offset, expected);
	}
}

static void code_beside_an_inlined_call_has_one_frame(void **data)
{
	struct kms_symbol_answer answer = resolve_mark(*data, "inline", "inline", "mark_outer");
	assert_int_equal(answer.n_frames, 1);
	assert_frame(&answer, 0, "outer", "outer", false);
}

static void static_function_is_found(void **data)
{
	struct kms_symbol_answer answer =
		resolve_mark(*data, "inline", "inline", "mark_plain_static");
	assert_int_equal(answer.n_frames, 1);
	assert_frame(&answer, 0, "plain_static", "plain_static", false);
}

static void function_within_a_function_is_found(void **data)
{
#ifdef __clang__
	skip(); /* the compiler of the fixtures has no such functions */
#endif
	struct kms_symbol_answer answer = resolve_mark(*data, "inline", "inline", "mark_nested");
	assert_frame(&answer, 0, "nested", "nested", false);
}

static void cplusplus_and_rust_names_are_demangled(void **data)
{
	static const char *const files[] = {"inline", "symtab_only"};
	for (size_t i = 0; i < 2; i++) {
		struct kms_symbol_answer answer =
			resolve_mark(*data, files[i], "inline", "mark_cplusplus");
		assert_frame(&answer, 0, "space::methods(int)", i == 0 ? "cplusplus" : NULL, false);
		answer = resolve_mark(*data, files[i], "inline", "mark_rust");
		assert_frame(&answer, 0, "core::fmt::<T>::fmt", i == 0 ? "rust" : NULL, false);
	}
}

static void return_address_behind_the_last_call_belongs_to_the_caller(void **data)
{
	struct state *state = *data;
	char path[FIXTURE_PATH_BYTES];
	uint32_t module = fixture_module(state->sym, fixture_path(path, "inline"));
	uint64_t start = fixture_address("inline", "calls_last");
	struct kms_symbol_request req = {.offset = start, .module = module, .is_return = true};
	struct kms_symbol_answer answer, before;
	/* The first address behind the function that is not in it any more is its end. */
	do {
		req.offset++;
		answer = fixture_resolve(state->sym, module, req.offset);
	} while (answer.n_frames > 0 && answer.frames[0].function &&
		 strcmp(answer.frames[0].function, "calls_last") == 0);
	assert_int_equal(kms_symbols_resolve(state->sym, &req, 1, &before), 0);
	assert_frame(&before, 0, "calls_last", "call at the end", false);
	assert_int_equal(before.frames[0].function_offset, req.offset - start);
}

static void debug_file_is_found_by_build_id(void **data)
{
	struct kms_symbol_answer answer =
		resolve_mark(*data, "stripped", "stripped.full", "mark_innermost");
	assert_inlined_chain(&answer);
}

static void debug_file_is_found_by_link_beside_and_below_and_under_the_root(void **data)
{
	static const char *const folders[] = {"link_beside", "link_hidden", "link_root"};
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		char name[64];
		(void)snprintf(name, sizeof(name), "%s/prog", folders[i]);
		struct kms_symbol_answer answer =
			resolve_mark(*data, name, "stripped.full", "mark_innermost");
		assert_inlined_chain(&answer);
	}
}

static void debug_file_with_another_checksum_is_not_used(void **data)
{
	struct kms_symbol_answer answer =
		resolve_mark(*data, "link_wrong/prog", "stripped.full", "mark_innermost");
	assert_int_equal(answer.reason, KMS_SYMBOL_NO_SYMBOL);
	assert_int_equal(answer.n_frames, 0);
}

static void dwz_file_is_used(void **data)
{
	if (!fixture_exists("dwz_a") || !fixture_exists("dwz_relative/a"))
		skip();
	struct kms_symbol_answer answer = resolve_mark(*data, "dwz_a", "dwz_a", "mark_innermost");
	assert_inlined_chain(&answer);
	answer = resolve_mark(*data, "dwz_b", "dwz_b", "mark_innermost");
	assert_frame(&answer, 0, "innermost", "innermost", true);
	answer = resolve_mark(*data, "dwz_relative/a", "dwz_relative/a", "mark_innermost");
	assert_inlined_chain(&answer);
}

static void symbol_table_gives_function_and_offset_without_line(void **data)
{
	struct kms_symbol_answer answer =
		resolve_mark(*data, "symtab_only", "inline", "mark_innermost");
	assert_int_equal(answer.n_frames, 1);
	assert_frame(&answer, 0, "outer", NULL, false);
	assert_int_equal(answer.frames[0].function_offset,
			 fixture_address("inline", "mark_innermost") -
				 fixture_address("inline", "outer"));
}

static void stripped_library_has_its_exported_functions_only(void **data)
{
	struct kms_symbol_answer answer =
		resolve_mark(*data, "libshared_stripped.so", "libshared.so", "mark_exported");
	assert_frame(&answer, 0, "exported_function", NULL, false);
	answer = resolve_mark(*data, "libshared_stripped.so", "libshared.so", "mark_inlined_part");
	assert_int_equal(answer.reason, KMS_SYMBOL_NO_SYMBOL);
}

static void relative_source_is_joined_to_its_folder(void **data)
{
	char expected[FIXTURE_PATH_BYTES];
	struct kms_symbol_answer answer =
		resolve_mark(*data, "libshared.so", "libshared.so", "mark_inlined_part");
	(void)snprintf(expected, sizeof(expected), "%s/shared.c", fixture_source_folder());
	assert_int_equal(answer.n_frames, 2);
	assert_string_equal(answer.frames[0].file, expected);
	assert_int_equal(answer.frames[0].line, fixture_line("shared.c", "inlined_part"));
	assert_int_equal(answer.frames[1].line, fixture_line("shared.c", "call of inlined_part"));
	assert_string_equal(answer.frames[1].function, "hidden_function");
}

static void labels_without_size_reach_to_the_next_function(void **data)
{
	struct state *state = *data;
	char path[FIXTURE_PATH_BYTES];
	uint32_t module = fixture_module(state->sym, fixture_path(path, "liblabels.so"));
	uint64_t first = fixture_address("liblabels.so", "first_label");
	uint64_t sized = fixture_address("liblabels.so", "sized_function");
	uint64_t global = fixture_address("liblabels.so", "the_global_name");
	struct kms_symbol_answer answer = fixture_resolve(state->sym, module, first + 2);
	assert_frame(&answer, 0, "first_label", NULL, false);
	assert_int_equal(answer.frames[0].function_offset, 2);
	answer = fixture_resolve(state->sym, module, sized + 1);
	assert_frame(&answer, 0, "sized_function", NULL, false);
	answer = fixture_resolve(state->sym, module, sized + 3);
	assert_int_equal(answer.reason, KMS_SYMBOL_NO_SYMBOL);
	answer = fixture_resolve(state->sym, module, global);
	assert_frame(&answer, 0, "the_global_name", NULL, false);
}

static void file_with_another_build_id_is_refused(void **data)
{
	struct state *state = *data;
	char path[FIXTURE_PATH_BYTES];
	uint8_t build_id[KMS_SYMBOLS_BUILD_ID_BYTES];
	struct kms_symbols_module module = {
		.path = fixture_path(path, "inline"),
		.build_id = build_id,
		.n_build_id = fixture_build_id("inline", build_id),
	};
	uint32_t right, wrong;
	assert_int_equal(kms_symbols_module(state->sym, &module, &right, NULL), 0);
	build_id[0] ^= 1;
	assert_int_equal(kms_symbols_module(state->sym, &module, &wrong, NULL), 0);
	assert_int_not_equal(right, wrong);
	uint64_t offset = fixture_address("inline", "mark_innermost");
	struct kms_symbol_answer answer = fixture_resolve(state->sym, right, offset);
	assert_inlined_chain(&answer);
	answer = fixture_resolve(state->sym, wrong, offset);
	assert_int_equal(answer.reason, KMS_SYMBOL_BUILD_ID_MISMATCH);
	assert_int_equal(answer.n_frames, 0);
}

static void file_shorter_than_what_was_mapped_is_refused(void **data)
{
	struct state *state = *data;
	char path[FIXTURE_PATH_BYTES];
	struct kms_symbols_module module = {
		.path = fixture_path(path, "inline"),
		.mapped_bytes = 1 << 30,
	};
	uint32_t id;
	assert_int_equal(kms_symbols_module(state->sym, &module, &id, NULL), 0);
	struct kms_symbol_answer answer = fixture_resolve(state->sym, id, 0x1100);
	assert_int_equal(answer.reason, KMS_SYMBOL_BUILD_ID_MISMATCH);
}

static void debug_file_is_enough_when_the_file_is_gone_or_replaced(void **data)
{
	struct state *state = *data;
	static const char *const now_there[] = {"no/such/file", "inline_dwarf4"};
	uint8_t build_id[KMS_SYMBOLS_BUILD_ID_BYTES];
	size_t n = fixture_build_id("stripped", build_id);
	for (size_t i = 0; i < 2; i++) {
		char path[FIXTURE_PATH_BYTES];
		struct kms_symbols_module module = {
			.path = fixture_path(path, now_there[i]),
			.build_id = build_id,
			.n_build_id = n,
		};
		uint32_t id;
		assert_int_equal(kms_symbols_module(state->sym, &module, &id, NULL), 0);
		struct kms_symbol_answer answer = fixture_resolve(
			state->sym, id, fixture_address("stripped.full", "mark_innermost"));
		assert_inlined_chain(&answer);
	}
}

static void address_outside_of_any_code_has_no_symbol(void **data)
{
	struct state *state = *data;
	static const uint64_t outside[] = {0, 1, 0x7fffffff, UINT64_MAX};
	char path[FIXTURE_PATH_BYTES];
	uint32_t module = fixture_module(state->sym, fixture_path(path, "inline"));
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		struct kms_symbol_answer answer = fixture_resolve(state->sym, module, outside[i]);
		assert_int_equal(answer.reason, KMS_SYMBOL_NO_SYMBOL);
		assert_null(answer.frames);
	}
}

static void overlong_name_is_cut(void **data)
{
	struct state *state = *data;
	char path[FIXTURE_PATH_BYTES];
	char name[5001];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	struct kms_symbol_answer answer = fixture_resolve(
		state->sym, fixture_module(state->sym, fixture_path(path, "long_name")),
		fixture_address("long_name", name));
	assert_int_equal(answer.n_frames, 1);
	assert_int_equal(strlen(answer.frames[0].function), KMS_SYMBOLS_NAME_BYTES);
}

static void name_with_terminal_controls_is_passed_through(void **data)
{
	struct state *state = *data;
	static const char good[] = "evil_name_evil", evil[] = "\033[2J\"<\\\xff\x01\r\n&'x";
	_Static_assert(sizeof(good) == sizeof(evil), "one replaces the other");
	size_t n;
	uint8_t *elf = fixture_read("inline", &n);
	for (uint8_t *at = elf; (at = memmem(at, n - (size_t)(at - elf), good, sizeof(good)));)
		memcpy(at, evil, sizeof(evil));
	char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES + 16];
	fixture_scratch_create(folder);
	(void)snprintf(path, sizeof(path), "%s/evil", folder);
	fixture_write(path, elf, n);
	free(elf);
	struct kms_symbol_answer answer =
		fixture_resolve(state->sym, fixture_module(state->sym, path),
				fixture_address("inline", "mark_evil"));
	fixture_scratch_remove(folder);
	assert_frame(&answer, 0, evil, "evil", false);
}

static void batch_of_several_modules_is_answered_in_the_order_of_the_requests(void **data)
{
	struct state *state = *data;
	static const char *const files[] = {"inline", "libshared.so", "inline_dwarf4"};
	static const char *const marks[] = {"mark_outer", "mark_exported", "mark_outer"};
	static const char *const functions[] = {"outer", "exported_function", "outer"};

	enum { N = 3000 };
	struct kms_symbol_request reqs[N];
	struct kms_symbol_answer answers[N];
	char path[FIXTURE_PATH_BYTES];
	for (size_t i = 0; i < N; i++) {
		if (i >= 3) {
			reqs[i] = reqs[i - 3];
			continue;
		}
		reqs[i] = (struct kms_symbol_request){
			.module = fixture_module(state->sym, fixture_path(path, files[i])),
			.offset = fixture_address(files[i], marks[i]),
		};
	}
	reqs[7].module = 999; /* never registered */
	reqs[8].offset = 3;   /* no code */
	assert_int_equal(kms_symbols_resolve(state->sym, reqs, N, answers), 0);
	for (size_t i = 0; i < N; i++) {
		if (i == 7 || i == 8) {
			assert_int_equal(answers[i].reason,
					 i == 7 ? KMS_SYMBOL_NO_FILE : KMS_SYMBOL_NO_SYMBOL);
			continue;
		}
		assert_string_equal(answers[i].frames[0].function, functions[i % 3]);
	}
}

static void second_question_is_answered_from_the_cache_with_the_same_pointers(void **data)
{
	struct state *state = *data;
	struct kms_symbols_stats before, after;
	struct kms_symbol_answer first = resolve_mark(state, "inline", "inline", "mark_innermost");
	kms_symbols_stats(state->sym, &before);
	struct kms_symbol_answer second = resolve_mark(state, "inline", "inline", "mark_innermost");
	kms_symbols_stats(state->sym, &after);
	assert_ptr_equal(first.frames, second.frames);
	assert_int_equal(after.n_requests, before.n_requests + 1);
	assert_int_equal(after.n_cache_hits, before.n_cache_hits + 1);
	assert_int_equal(after.cache_entries, before.cache_entries);
	assert_int_equal(after.n_helper_starts, 1);
}

static void module_registered_again_is_the_same_one(void **data)
{
	struct state *state = *data;
	static const uint8_t build_id[] = {1, 2, 3};
	struct kms_symbols_module module = {.path = "/a/b", .build_id = build_id, .n_build_id = 3};
	uint32_t ids[4];
	assert_int_equal(kms_symbols_module(state->sym, &module, &ids[0], NULL), 0);
	assert_int_equal(kms_symbols_module(state->sym, &module, &ids[1], NULL), 0);
	module.n_build_id = 2;
	assert_int_equal(kms_symbols_module(state->sym, &module, &ids[2], NULL), 0);
	module.mapped_bytes = 5;
	assert_int_equal(kms_symbols_module(state->sym, &module, &ids[3], NULL), 0);
	assert_int_equal(ids[0], ids[1]);
	assert_int_not_equal(ids[0], ids[2]);
	assert_int_not_equal(ids[2], ids[3]);
}

static void module_out_of_limits_is_refused(void **data)
{
	struct state *state = *data;
	struct kms_err err = KMS_ERR_INIT;
	char path[KMS_SYMBOLS_PATH_BYTES + 2];
	uint32_t id = 77;
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	struct kms_symbols_module module = {.path = ""};
	assert_int_equal(kms_symbols_module(state->sym, &module, &id, &err), -EINVAL);
	module.path = path;
	assert_int_equal(kms_symbols_module(state->sym, &module, &id, &err), -EINVAL);
	module.path = "/x";
	module.n_build_id = KMS_SYMBOLS_BUILD_ID_BYTES + 1;
	assert_int_equal(kms_symbols_module(state->sym, &module, &id, &err), -EINVAL);
	assert_int_equal(id, 77);
	module.n_build_id = 0;
	int rc = 0;
	for (uint64_t i = 0; rc == 0 && i <= KMS_SYMBOLS_MODULES; i++) {
		module.mapped_bytes = i;
		rc = kms_symbols_module(state->sym, &module, &id, &err);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(id, KMS_SYMBOLS_MODULES - 1);
}

int main(int argc, char *argv[])
{
	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(inlined_chain_has_call_lines_in_outer_frames),
		TEST(code_beside_an_inlined_call_has_one_frame),
		TEST(static_function_is_found),
		TEST(function_within_a_function_is_found),
		TEST(cplusplus_and_rust_names_are_demangled),
		TEST(return_address_behind_the_last_call_belongs_to_the_caller),
		TEST(debug_file_is_found_by_build_id),
		TEST(debug_file_is_found_by_link_beside_and_below_and_under_the_root),
		TEST(debug_file_with_another_checksum_is_not_used),
		TEST(dwz_file_is_used),
		TEST(symbol_table_gives_function_and_offset_without_line),
		TEST(stripped_library_has_its_exported_functions_only),
		TEST(relative_source_is_joined_to_its_folder),
		TEST(labels_without_size_reach_to_the_next_function),
		TEST(file_with_another_build_id_is_refused),
		TEST(file_shorter_than_what_was_mapped_is_refused),
		TEST(debug_file_is_enough_when_the_file_is_gone_or_replaced),
		TEST(address_outside_of_any_code_has_no_symbol),
		TEST(overlong_name_is_cut),
		TEST(name_with_terminal_controls_is_passed_through),
		TEST(batch_of_several_modules_is_answered_in_the_order_of_the_requests),
		TEST(second_question_is_answered_from_the_cache_with_the_same_pointers),
		TEST(module_registered_again_is_the_same_one),
		TEST(module_out_of_limits_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
