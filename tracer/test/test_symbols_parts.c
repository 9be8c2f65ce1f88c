/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the symbol resolver that need no process: wire format, cache, ranges, texts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/symbols_cache.h"
#include "tracer/symbols_lookup.h"
#include "tracer/symbols_ranges.h"
#include "tracer/symbols_wire.h"

/* Wire ------------------------------------------------------------------------------------------------------------ */

/* Sends what was put to a receiver, whole, and takes the next message out. */
static struct kms_symbols_wire_message pass(struct kms_symbols_wire_out *out,
					    struct kms_symbols_wire_in *in)
{
	struct kms_symbols_wire_message msg = {0};
	assert_false(out->failed);
	for (size_t at = 0; at < out->used;) {
		uint8_t *room;
		size_t n_room;
		assert_int_equal(kms_symbols_wire_in_room(in, &room, &n_room), 0);
		size_t n = out->used - at < n_room ? out->used - at : n_room;
		memcpy(room, out->data + at, n);
		in->used += n;
		at += n;
	}
	out->used = 0;
	assert_int_equal(kms_symbols_wire_in_next(in, &msg), 1);
	return msg;
}

static void message_comes_out_as_it_was_put(void **data)
{
	(void)data;
	struct kms_symbols_wire_out out = {0};
	struct kms_symbols_wire_in in = {0};
	static const uint8_t build_id[] = {1, 2, 3, 4};
	struct kms_symbols_wire_module module = {.id = 7,
						 .mapped_bytes = 1ULL << 40,
						 .build_id = build_id,
						 .n_build_id = 4,
						 .path = "/lib/x",
						 .n_path = 6};
	struct kms_symbols_wire_module got;
	kms_symbols_wire_put_module(&out, &module);
	struct kms_symbols_wire_message msg = pass(&out, &in);
	assert_int_equal(kms_symbols_wire_get_module(&msg, &got), 0);
	assert_int_equal(got.id, 7);
	assert_int_equal(got.mapped_bytes, 1ULL << 40);
	assert_memory_equal(got.build_id, build_id, 4);
	assert_int_equal(got.n_path, 6);
	assert_memory_equal(got.path, "/lib/x", 6);

	static struct kms_symbols_wire_config config = {.memory_bytes = 5,
							.modules_open_max = 6,
							.allow_debuginfod = true,
							.debug_root = "/d"};
	static struct kms_symbols_wire_config got_config;
	kms_symbols_wire_put_config(&out, &config);
	msg = pass(&out, &in);
	assert_int_equal(kms_symbols_wire_get_config(&msg, &got_config), 0);
	assert_memory_equal(&got_config, &config, sizeof(config));

	static const struct kms_symbols_wire_entry entries[] = {
		{0x1234,     7, true },
                {UINT64_MAX, 8, false}
        };
	static struct kms_symbols_wire_entry got_entries[KMS_SYMBOLS_WIRE_BATCH];
	uint32_t budget_ms;
	size_t n;
	kms_symbols_wire_put_request(&out, 99, 1800, entries, 2);
	msg = pass(&out, &in);
	assert_int_equal(msg.request, 99);
	assert_int_equal(kms_symbols_wire_get_request(&msg, &budget_ms, got_entries, &n), 0);
	assert_int_equal(budget_ms, 1800);
	assert_int_equal(n, 2);
	assert_int_equal(got_entries[0].offset, 0x1234);
	assert_true(got_entries[0].is_return);
	assert_int_equal(got_entries[1].offset, UINT64_MAX);
	assert_false(got_entries[1].is_return);
	kms_symbols_wire_out_deinit(&out);
	kms_symbols_wire_in_deinit(&in);
}

static void fill_longest(struct kms_symbols_wire_answer *answer, const char *name)
{
	answer->reason = KMS_SYMBOL_OK;
	answer->n_frames = KMS_SYMBOLS_FRAMES;
	for (uint32_t i = 0; i < KMS_SYMBOLS_FRAMES; i++)
		answer->frames[i] = (struct kms_symbols_wire_frame){
			.function = {name, KMS_SYMBOLS_NAME_BYTES + 10},
			.file = {name, KMS_SYMBOLS_NAME_BYTES     },
			.line = i,
			.inlined = i + 1 < KMS_SYMBOLS_FRAMES,
		};
}

static void longest_answer_fits_into_a_message(void **data)
{
	(void)data;
	static struct kms_symbols_wire_answer answer, got;
	static char name[KMS_SYMBOLS_NAME_BYTES + 10];
	struct kms_symbols_wire_out out = {0};
	struct kms_symbols_wire_in in = {0};
	struct kms_symbols_wire_reader reader;
	uint32_t first;
	memset(name, 'n', sizeof(name));
	fill_longest(&answer, name);
	kms_symbols_wire_begin_answers(&out, 3, 17);
	kms_symbols_wire_put_answer(&out, &answer);
	kms_symbols_wire_end(&out);
	struct kms_symbols_wire_message msg = pass(&out, &in);
	assert_int_equal(kms_symbols_wire_get_answers(&msg, &reader, &first), 0);
	assert_int_equal(first, 17);
	assert_int_equal(kms_symbols_wire_next_answer(&reader, &got), 1);
	assert_int_equal(got.n_frames, KMS_SYMBOLS_FRAMES);
	assert_int_equal(got.frames[63].function.n, KMS_SYMBOLS_NAME_BYTES);
	assert_int_equal(got.frames[63].line, 63);
	assert_int_equal(kms_symbols_wire_next_answer(&reader, &got), 0);
	kms_symbols_wire_out_deinit(&out);
	kms_symbols_wire_in_deinit(&in);
}

static void overlong_message_fails_to_be_put(void **data)
{
	(void)data;
	static struct kms_symbols_wire_answer answer;
	static char name[KMS_SYMBOLS_NAME_BYTES + 10];
	struct kms_symbols_wire_out out = {0};
	memset(name, 'n', sizeof(name));
	fill_longest(&answer, name);
	kms_symbols_wire_begin_answers(&out, 0, 0);
	for (int i = 0; i < 3; i++)
		kms_symbols_wire_put_answer(&out, &answer);
	kms_symbols_wire_end(&out);
	assert_true(out.failed);
	kms_symbols_wire_out_deinit(&out);
}

/* Puts one answer, changes one byte of it, and says whether it is still accepted. */
static bool is_accepted(const struct kms_symbols_wire_answer *answer, size_t at, uint8_t value)
{
	static struct kms_symbols_wire_answer got;
	struct kms_symbols_wire_out out = {0};
	struct kms_symbols_wire_in in = {0};
	struct kms_symbols_wire_reader reader;
	uint32_t first;
	kms_symbols_wire_begin_answers(&out, 1, 0);
	kms_symbols_wire_put_answer(&out, answer);
	kms_symbols_wire_end(&out);
	assert_in_range(at, 0, out.used - KMS_SYMBOLS_WIRE_HEADER_BYTES - 1);
	out.data[KMS_SYMBOLS_WIRE_HEADER_BYTES + at] = value;
	struct kms_symbols_wire_message msg = pass(&out, &in);
	bool accepted = kms_symbols_wire_get_answers(&msg, &reader, &first) == 0 &&
			kms_symbols_wire_next_answer(&reader, &got) == 1 &&
			kms_symbols_wire_next_answer(&reader, &got) == 0;
	kms_symbols_wire_out_deinit(&out);
	kms_symbols_wire_in_deinit(&in);
	return accepted;
}

static void answer_that_breaks_a_rule_is_refused(void **data)
{
	(void)data;
	static struct kms_symbols_wire_answer answer = {.reason = KMS_SYMBOL_OK, .n_frames = 1};
	answer.frames[0] = (struct kms_symbols_wire_frame){
		.function = {"name", 4},
                  .line = 3
        };
	/* first u32; reason, n_frames, inlined u8; line u32; offset u64; length u16; name */
	assert_true(is_accepted(&answer, 7, 4));
	assert_false(is_accepted(&answer, 4, KMS_SYMBOL_N_REASONS));
	assert_false(is_accepted(&answer, 4, KMS_SYMBOL_NO_FILE)); /* a reason and frames */
	assert_false(is_accepted(&answer, 5, 0));                  /* neither */
	assert_false(is_accepted(&answer, 5, KMS_SYMBOLS_FRAMES + 1));
	assert_false(is_accepted(&answer, 6, 1));  /* the last frame inlined */
	assert_false(is_accepted(&answer, 6, 2));  /* no truth value */
	assert_false(is_accepted(&answer, 19, 5)); /* a name that is too long, */
	assert_false(is_accepted(&answer, 20, 1)); /* much too long, */
	assert_false(is_accepted(&answer, 19, 3)); /* too short, */
	assert_false(is_accepted(&answer, 21, 0)); /* with a NUL */
}

/* Its length takes in the next field, behind which a well-formed one follows: nothing but the limit is broken. */
static void name_two_bytes_too_long_is_refused(void **data)
{
	(void)data;
	static struct kms_symbols_wire_answer answer = {.reason = KMS_SYMBOL_OK, .n_frames = 1};
	static char name[KMS_SYMBOLS_NAME_BYTES], file[257];
	memset(name, 'n', sizeof(name));
	memset(file, 'f', sizeof(file));
	file[0] = (char)(sizeof(file) - 2);
	file[1] = '\0';
	answer.frames[0].function = (struct kms_symbols_wire_text){name, 0xffc};
	answer.frames[0].file = (struct kms_symbols_wire_text){file, sizeof(file)};
	assert_true(is_accepted(&answer, 19, 0xfe)); /* 4092 becomes 4094 */
	answer.frames[0].function.n = sizeof(name);
	assert_false(is_accepted(&answer, 19, 0x02)); /* 4096 becomes 4098 */
}

static void bytes_that_are_no_message_are_refused(void **data)
{
	(void)data;
	struct kms_symbols_wire_out out = {0};

	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {
		{0, 'X'			},
                {7, 0                          },
                {7, KMS_SYMBOLS_WIRE_ANSWER + 1},
                {6, 0xff                       }
        };

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct kms_symbols_wire_message msg;
		struct kms_symbols_wire_in in = {0};
		uint8_t *room;
		size_t n_room;
		out.used = 0;
		kms_symbols_wire_begin(&out, KMS_SYMBOLS_WIRE_READY, 0);
		kms_symbols_wire_end(&out);
		out.data[changes[i].at] = changes[i].value;
		assert_int_equal(kms_symbols_wire_in_room(&in, &room, &n_room), 0);
		memcpy(room, out.data, out.used);
		in.used = out.used - 1;
		assert_int_equal(kms_symbols_wire_in_next(&in, &msg), 0);
		in.used++;
		assert_int_equal(kms_symbols_wire_in_next(&in, &msg), -EPROTO);
		kms_symbols_wire_in_deinit(&in);
	}
	kms_symbols_wire_out_deinit(&out);
}

/* Cache ----------------------------------------------------------------------------------------------------------- */

static void cache_finds_what_was_put_and_stores_a_name_once(void **data)
{
	(void)data;

	enum { N = 20000 };
	struct kms_symbols_cache cache;
	static struct kms_symbols_wire_answer answer = {.reason = KMS_SYMBOL_OK, .n_frames = 1};
	kms_symbols_cache_init(&cache, 64 << 20);
	for (uint64_t i = 0; i < N; i++) {
		char name[32];
		int n = snprintf(name, sizeof(name), "function_%d", (int)(i % 100));
		struct kms_symbols_wire_entry address = {i / 4, i % 2, i / 2 % 2};
		answer.frames[0].function = (struct kms_symbols_wire_text){name, (size_t)n};
		answer.frames[0].line = (uint32_t)i;
		assert_null(kms_symbols_cache_find(&cache, address.module, address.offset,
						   address.is_return));
		assert_non_null(kms_symbols_cache_put(&cache, &address, &answer));
	}
	assert_int_equal(cache.n_names, 100);
	for (uint64_t i = 0; i < N; i++) {
		const struct kms_symbols_cache_entry *entry =
			kms_symbols_cache_find(&cache, i % 2, i / 4, i / 2 % 2);
		assert_non_null(entry);
		assert_int_equal(entry->frames[0].line, i);
		assert_int_equal(strtoul(entry->frames[0].function + 9, NULL, 10), i % 100);
	}
	assert_null(kms_symbols_cache_find(&cache, 2, 0, false));
	kms_symbols_cache_deinit(&cache);
}

static void full_cache_refuses_and_keeps_what_it_has(void **data)
{
	(void)data;
	struct kms_symbols_cache cache;
	static struct kms_symbols_wire_answer answer = {.reason = KMS_SYMBOL_OK, .n_frames = 1};
	kms_symbols_cache_init(&cache, 300000);
	answer.frames[0].function = (struct kms_symbols_wire_text){"name", 4};
	uint64_t n = 0;
	struct kms_symbols_wire_entry address = {0};
	while (n < 100000 && kms_symbols_cache_put(&cache, &address, &answer))
		address.offset = ++n;
	assert_in_range(n, 1000, 10000);
	assert_true(cache.used_bytes <= cache.max_bytes);
	assert_null(kms_symbols_cache_put(&cache, &address, &answer));
	for (uint64_t i = 0; i < n; i++)
		assert_non_null(kms_symbols_cache_find(&cache, 0, i, false));
	assert_null(kms_symbols_cache_find(&cache, 0, n, false));
	kms_symbols_cache_deinit(&cache);
}

/* Ranges ---------------------------------------------------------------------------------------------------------- */

static void innermost_range_is_found_as_by_looking_at_all(void **data)
{
	(void)data;

	enum { N = 400, SPACE = 2000 };

	uint64_t rng = 12345, starts[N], ends[N];
	struct kms_symbols_ranges set = {0};
	for (size_t i = 0; i < N; i++) {
		rng = rng * 6364136223846793005U + 1442695040888963407U;
		starts[i] = rng >> 40 & 1023;
		ends[i] = starts[i] + (rng >> 52 & 127);
		assert_true(kms_symbols_ranges_add(&set, starts[i], ends[i], i));
	}
	kms_symbols_ranges_sort(&set);
	for (uint64_t address = 0; address < SPACE; address++) {
		size_t best = N;
		for (size_t i = 0; i < N; i++) {
			if (starts[i] == 0 || address < starts[i] || address >= ends[i])
				continue;
			if (best == N || starts[i] > starts[best] ||
			    (starts[i] == starts[best] && ends[i] <= ends[best]))
				best = i;
		}
		const struct kms_symbols_range *found = kms_symbols_ranges_find(&set, address);
		assert_int_equal(found ? found->ref : N, best);
	}
	kms_symbols_ranges_deinit(&set);
}

static void last_start_is_that_of_any_range_before(void **data)
{
	(void)data;
	struct kms_symbols_ranges set = {0};
	assert_int_equal(kms_symbols_ranges_last_start(&set, 5), 0);
	assert_true(kms_symbols_ranges_add(&set, 10, 20, 0));
	assert_true(kms_symbols_ranges_add(&set, 30, 31, 0));
	assert_true(kms_symbols_ranges_add(&set, 40, 40, 0)); /* empty */
	kms_symbols_ranges_sort(&set);
	assert_int_equal(kms_symbols_ranges_last_start(&set, 9), 0);
	assert_int_equal(kms_symbols_ranges_last_start(&set, 25), 10);
	assert_int_equal(kms_symbols_ranges_last_start(&set, 30), 30);
	assert_int_equal(kms_symbols_ranges_last_start(&set, UINT64_MAX), 30);
	kms_symbols_ranges_deinit(&set);
}

/* Texts ----------------------------------------------------------------------------------------------------------- */

static void source_path_is_joined_and_tidied(void **data)
{
	(void)data;

	static const struct {
		const char *folder, *file, *path;
	} cases[] = {
		{"/src",    "a.c",        "/src/a.c"        },
                {"/src/",   "./a.c",      "/src/a.c"        },
		{"/src",    "/other/a.c", "/other/a.c"      },
                {NULL,      "a.c",        "a.c"             },
		{"",        "./x/./a.c",  "x/a.c"           },
                {"./posix", "../sys/a.c", "posix/../sys/a.c"},
		{"/a/./b",  "c//d.c",     "/a/b/c/d.c"      },
                {"/src",    ".hidden",    "/src/.hidden"    },
		{"/src",    "../a.c",     "/src/../a.c"     },
                {"/src",    "//a.c",      "/a.c"            },
	};
	static struct kms_symbols_lookup lookup;
	struct kms_symbols_wire_entry entry = {0};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kms_symbols_lookup_begin(&lookup, &entry);
		struct kms_symbols_wire_text path =
			kms_symbols_source_path(&lookup, cases[i].folder, cases[i].file);
		assert_string_equal(path.text, cases[i].path);
		assert_int_equal(path.n, strlen(cases[i].path));
	}
	assert_null(kms_symbols_source_path(&lookup, "/src", NULL).text);
	assert_null(kms_symbols_source_path(&lookup, "/src", "").text);
	kms_symbols_lookup_deinit(&lookup);
}

static void mangled_names_become_readable_and_others_stay(void **data)
{
	(void)data;

	static const struct {
		const char *mangled, *readable;
	} cases[] = {
		{"_ZN5space7methodsEi",               "space::methods(int)"                          },
		{"_ZNSt6vectorIiSaIiEE9push_backEOi",
		 "std::vector<int, std::allocator<int> >::push_back(int&&)"                          },
		{"_ZN3foo17h0123456789abcdefE",       "foo"                                          },
		{"_ZN60_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..Drop$GT$4drop17h0123456789"
		 "abcdefE",          "<alloc::vec::Vec<T> as core::ops::Drop>::drop"},
		{"_Zgarbage",                         "_Zgarbage"                                    },
		{"main",			      "main"					 },
		{"_Z",				"_Z"					   },
	};
	static struct kms_symbols_lookup lookup;
	struct kms_symbols_wire_entry entry = {0};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kms_symbols_lookup_begin(&lookup, &entry);
		lookup.answer.n_frames = 1;
		lookup.answer.frames[0].function = kms_symbols_text(cases[i].mangled);
		kms_symbols_lookup_demangle(&lookup);
		if (!lookup.demangler.demangle)
			skip(); /* no libstdc++ on this machine */
		assert_string_equal(lookup.answer.frames[0].function.text, cases[i].readable);
	}
	kms_symbols_lookup_deinit(&lookup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_comes_out_as_it_was_put),
		cmocka_unit_test(longest_answer_fits_into_a_message),
		cmocka_unit_test(overlong_message_fails_to_be_put),
		cmocka_unit_test(answer_that_breaks_a_rule_is_refused),
		cmocka_unit_test(name_two_bytes_too_long_is_refused),
		cmocka_unit_test(bytes_that_are_no_message_are_refused),
		cmocka_unit_test(cache_finds_what_was_put_and_stores_a_name_once),
		cmocka_unit_test(full_cache_refuses_and_keeps_what_it_has),
		cmocka_unit_test(innermost_range_is_found_as_by_looking_at_all),
		cmocka_unit_test(last_start_is_that_of_any_range_before),
		cmocka_unit_test(source_path_is_joined_and_tidied),
		cmocka_unit_test(mangled_names_become_readable_and_others_stay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
