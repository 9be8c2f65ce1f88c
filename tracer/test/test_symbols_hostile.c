/* SPDX-License-Identifier: BSD-2-Clause */
/* The resolver against helpers that die, hang and lie: symbols_hostile_helper.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/test/unit.h"
#include "tracer/symbols.h"
#include "tracer/test/symbols_fixture.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): a program of one thread */

enum {
	PATIENCE_MS = 60000,
	IMPATIENCE_MS = 300,   /* where a hang is what is tested */
	SLACK_NS = 2000000000, /* a busy machine's; the deadline itself is not measured here */
	SEEDS = 200,
};

static const char *helper_path(char *path)
{
	(void)snprintf(path, FIXTURE_PATH_BYTES, "%s/test/symbols_hostile_helper",
		       getenv("KMS_BUILD_DIR") ? getenv("KMS_BUILD_DIR") : ".");
	return path;
}

static struct kms_symbols *create_with(const char *mode, uint32_t deadline_ms,
				       const struct kms_symbols_config *extra, struct kms_err *err)
{
	char path[FIXTURE_PATH_BYTES];
	struct kms_symbols_config cfg = extra ? *extra : (struct kms_symbols_config){0};
	cfg.helper_exec = helper_path(path);
	cfg.deadline_ms = deadline_ms;
	assert_int_equal(setenv("HOSTILE_MODE", mode, 1), 0);
	return kms_symbols_create(&cfg, err);
}

static struct kms_symbols *create(const char *mode, uint32_t deadline_ms)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_symbols *sym = create_with(mode, deadline_ms, NULL, &err);
	if (!sym)
		fail_msg("%s: %s: %s", mode, err.subject, err.text);
	return sym;
}

static struct kms_symbols_stats stats_of(struct kms_symbols *sym)
{
	struct kms_symbols_stats stats;
	kms_symbols_stats(sym, &stats);
	return stats;
}

static void program_that_is_no_helper_is_found_at_create(void **data)
{
	(void)data;

	static const struct {
		const char *exec;
		int code;
	} cases[] = {
		{"/nonexistent/helper", -ENOENT},
		{"/etc/passwd",         -EACCES},
		{"/bin/true",           -ECHILD},
		{"/bin/cat",            -ECHILD},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kms_symbols_config cfg = {.helper_exec = cases[i].exec,
						 .deadline_ms = PATIENCE_MS};
		struct kms_err err = KMS_ERR_INIT;
		assert_null(kms_symbols_create(&cfg, &err));
		assert_int_equal(err.code, cases[i].code);
		assert_string_equal(err.subject, cases[i].exec);
		assert_true(err.text[0] != '\0');
	}
}

static void helper_that_does_not_greet_is_found_at_create(void **data)
{
	(void)data;
	struct kms_err err = KMS_ERR_INIT;
	assert_null(create_with("exit", PATIENCE_MS, NULL, &err));
	assert_int_equal(err.code, -ECHILD);
	assert_null(create_with("rude", PATIENCE_MS, NULL, &err));
	assert_int_equal(err.code, -ECHILD);
	assert_null(create_with("mute", IMPATIENCE_MS, NULL, &err));
	assert_int_equal(err.code, -ETIMEDOUT);
}

static void module_that_kills_the_helper_twice_is_not_asked_again(void **data)
{
	(void)data;
	struct kms_symbols *sym = create("die", PATIENCE_MS);
	uint32_t module = fixture_module(sym, "/x");
	struct kms_symbol_answer answer = fixture_resolve(sym, module, 0x1000);
	assert_int_equal(answer.reason, KMS_SYMBOL_HELPER_DIED);
	struct kms_symbols_stats stats = stats_of(sym);
	assert_int_equal(stats.n_helper_deaths, 2);
	assert_int_equal(stats.n_helper_starts, 2);
	assert_int_equal(stats.n_blacklisted, 1);
	answer = fixture_resolve(sym, module, 0x2000);
	assert_int_equal(answer.reason, KMS_SYMBOL_HELPER_DIED);
	assert_int_equal(stats_of(sym).n_helper_starts, 2);
	kms_symbols_destroy(sym);
}

static void helper_killed_from_outside_is_started_once_more_and_no_module_blamed(void **data)
{
	(void)data;
	struct kms_symbols *sym = create("killed", PATIENCE_MS);
	uint32_t module = fixture_module(sym, "/x");
	for (uint64_t round = 1; round <= 3; round++) {
		struct kms_symbol_answer answer = fixture_resolve(sym, module, 0x1000);
		assert_int_equal(answer.reason, KMS_SYMBOL_HELPER_DIED);
		struct kms_symbols_stats stats = stats_of(sym);
		assert_int_equal(stats.n_helper_deaths, 2 * round);
		assert_int_equal(stats.n_helper_starts, 2 * round);
		assert_int_equal(stats.n_blacklisted, 0);
	}
	kms_symbols_destroy(sym);
}

static void module_that_hangs_the_helper_twice_is_not_asked_again(void **data)
{
	(void)data;
	struct kms_symbols *sym = create("silent", IMPATIENCE_MS);
	uint32_t module = fixture_module(sym, "/x");
	for (int i = 0; i < 2; i++) {
		uint64_t start_ns = kms_clock_now(kms_clock_system());
		struct kms_symbol_answer answer = fixture_resolve(sym, module, 0x1000);
		uint64_t passed_ns = kms_clock_now(kms_clock_system()) - start_ns;
		assert_int_equal(answer.reason, KMS_SYMBOL_TIMEOUT);
		assert_true(passed_ns >= IMPATIENCE_MS * 1000000ULL);
		assert_true(passed_ns < IMPATIENCE_MS * 1000000ULL + SLACK_NS);
		assert_int_equal(kms_symbols_helper_pid(sym), 0);
	}
	struct kms_symbols_stats stats = stats_of(sym);
	assert_int_equal(stats.n_helper_hangs, 2);
	assert_int_equal(stats.n_blacklisted, 1);
	struct kms_symbol_answer answer = fixture_resolve(sym, module, 0x2000);
	assert_int_equal(answer.reason, KMS_SYMBOL_TIMEOUT);
	assert_int_equal(stats_of(sym).n_helper_starts, stats.n_helper_starts);
	kms_symbols_destroy(sym);
}

/* Two good modules around one evil one, many addresses each. */
static void assert_only_evil_suffers(const char *mode, uint32_t deadline_ms,
				     enum kms_symbol_reason reason)
{
	enum { N = 2400 };
	static struct kms_symbol_request reqs[N];
	static struct kms_symbol_answer answers[N];
	struct kms_symbols *sym = create(mode, deadline_ms);
	uint32_t modules[3] = {fixture_module(sym, "/good/1"), fixture_module(sym, "/evil"),
			       fixture_module(sym, "/good/2")};
	for (size_t i = 0; i < N; i++)
		reqs[i] =
			(struct kms_symbol_request){.module = modules[i % 3], .offset = 0x1000 + i};
	assert_int_equal(kms_symbols_resolve(sym, reqs, N, answers), 0);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(answers[i].reason, i % 3 == 1 ? reason : KMS_SYMBOL_NO_SYMBOL);
	assert_int_equal(stats_of(sym).n_blacklisted, 1);
	kms_symbols_destroy(sym);
}

static void deadly_module_costs_its_own_addresses_only(void **data)
{
	(void)data;
	assert_only_evil_suffers("die_of_evil", PATIENCE_MS, KMS_SYMBOL_HELPER_DIED);
}

static void hanging_module_costs_its_own_addresses_only(void **data)
{
	(void)data;
	assert_only_evil_suffers("hang_of_evil", 2000, KMS_SYMBOL_TIMEOUT);
}

static void answers_out_of_turn_are_refused(void **data)
{
	(void)data;
	static const char *const modes[] = {"too_many", "wrong_place", "wrong_request",
					    "empty_messages", "noise"};
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct kms_symbols *sym = create(modes[i], PATIENCE_MS);
		struct kms_symbol_answer answer =
			fixture_resolve(sym, fixture_module(sym, "/x"), 0x1000);
		/* "too many" begins with an answer that is in order. */
		assert_int_equal(answer.reason,
				 i == 0 ? KMS_SYMBOL_NO_SYMBOL : KMS_SYMBOL_HELPER_DIED);
		assert_true(stats_of(sym).n_helper_deaths > 0);
		kms_symbols_destroy(sym);
	}
}

static void check_text(const char *text)
{
	if (text)
		assert_in_range(strlen(text), 1, KMS_SYMBOLS_NAME_BYTES);
}

static void check_answer(const struct kms_symbol_answer *answer)
{
	assert_in_range(answer->reason, 0, KMS_SYMBOL_N_REASONS - 1);
	assert_in_range(answer->n_frames, 0, KMS_SYMBOLS_FRAMES);
	assert_int_equal(answer->n_frames > 0, answer->reason == KMS_SYMBOL_OK);
	for (uint32_t i = 0; i < answer->n_frames; i++) {
		check_text(answer->frames[i].function);
		check_text(answer->frames[i].file);
		assert_int_equal(answer->frames[i].inlined, i + 1 < answer->n_frames);
	}
}

static void changed_answers_never_break_the_resolver(void **data)
{
	(void)data;

	enum { N = 40 };
	struct kms_symbol_request reqs[N];
	struct kms_symbol_answer answers[N];
	for (int seed = 1; seed <= SEEDS; seed++) {
		char text[16];
		(void)snprintf(text, sizeof(text), "%d", seed);
		assert_int_equal(setenv("HOSTILE_SEED", text, 1), 0);
		struct kms_symbols *sym = create("mutated", 100);
		uint32_t module = fixture_module(sym, "/x");
		for (size_t i = 0; i < N; i++)
			reqs[i] = (struct kms_symbol_request){.module = module, .offset = i};
		assert_int_equal(kms_symbols_resolve(sym, reqs, N, answers), 0);
		for (size_t i = 0; i < N; i++)
			check_answer(&answers[i]);
		kms_symbols_destroy(sym);
	}
}

static void cache_stays_within_its_limit(void **data)
{
	(void)data;

	enum { N = 1000, CACHE_BYTES = 1 << 20 };
	static struct kms_symbol_request reqs[N];
	static struct kms_symbol_answer answers[N];
	struct kms_symbols_config extra = {.cache_bytes = CACHE_BYTES};
	struct kms_symbols *sym = create_with("long_names", PATIENCE_MS, &extra, NULL);
	assert_non_null(sym);
	uint32_t module = fixture_module(sym, "/x");
	for (size_t i = 0; i < N; i++)
		reqs[i] = (struct kms_symbol_request){.module = module, .offset = i};
	assert_int_equal(kms_symbols_resolve(sym, reqs, N, answers), 0);
	size_t n_ok = 0;
	for (size_t i = 0; i < N; i++) {
		check_answer(&answers[i]);
		n_ok += answers[i].reason == KMS_SYMBOL_OK;
		assert_true(answers[i].reason == KMS_SYMBOL_OK ||
			    answers[i].reason == KMS_SYMBOL_CACHE_FULL);
	}
	assert_in_range(n_ok, 150, 256); /* names of 4096 bytes in 1 MiB, less the tables */
	struct kms_symbols_stats stats = stats_of(sym);
	assert_true(stats.cache_bytes <= CACHE_BYTES);
	assert_int_equal(stats.cache_entries, n_ok);
	assert_int_equal(stats.n_cache_full, N - n_ok);
	kms_symbols_destroy(sym);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_that_is_no_helper_is_found_at_create),
		cmocka_unit_test(helper_that_does_not_greet_is_found_at_create),
		cmocka_unit_test(module_that_kills_the_helper_twice_is_not_asked_again),
		cmocka_unit_test(
			helper_killed_from_outside_is_started_once_more_and_no_module_blamed),
		cmocka_unit_test(module_that_hangs_the_helper_twice_is_not_asked_again),
		cmocka_unit_test(deadly_module_costs_its_own_addresses_only),
		cmocka_unit_test(hanging_module_costs_its_own_addresses_only),
		cmocka_unit_test(answers_out_of_turn_are_refused),
		cmocka_unit_test(changed_answers_never_break_the_resolver),
		cmocka_unit_test(cache_stays_within_its_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* NOLINTEND(concurrency-mt-unsafe) */
