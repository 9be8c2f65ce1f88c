/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that are not what they should be: missing, no files at all, cut, damaged, enormous. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test/unit.h"
#include "tracer/symbols.h"
#include "tracer/test/symbols_fixture.h"

enum {
	PATIENCE_MS = 60000,
	DEADLINE_MS = 2000,
	SLACK_NS = 2000000000, /* a busy machine's, behind a deadline */
	MUTATIONS = 500,
	PATH_BYTES = FIXTURE_PATH_BYTES + 64,
};

struct state {
	struct kms_symbols *sym;
	char folder[FIXTURE_PATH_BYTES];
	char path[PATH_BYTES]; /* in the folder */
};

static int set_up(void **data)
{
	struct state *state = calloc(1, sizeof(*state));
	assert_non_null(state);
	struct kms_symbols_config cfg = {.deadline_ms = PATIENCE_MS};
	struct kms_err err = KMS_ERR_INIT;
	state->sym = kms_symbols_create(&cfg, &err);
	if (!state->sym)
		fail_msg("%s: %s", err.subject, err.text);
	fixture_scratch_create(state->folder);
	(void)snprintf(state->path, sizeof(state->path), "%s/file", state->folder);
	*data = state;
	return 0;
}

static int tear_down(void **data)
{
	struct state *state = *data;
	kms_symbols_destroy(state->sym);
	fixture_scratch_remove(state->folder);
	free(state);
	return 0;
}

static enum kms_symbol_reason reason_of(const struct state *state, const char *path)
{
	return fixture_resolve(state->sym, fixture_module(state->sym, path), 0x1000).reason;
}

static void assert_helper_is_well(const struct state *state)
{
	struct kms_symbols_stats stats;
	kms_symbols_stats(state->sym, &stats);
	assert_int_equal(stats.n_helper_starts, 1);
	assert_int_equal(stats.n_helper_deaths + stats.n_helper_hangs, 0);
}

static void what_is_no_regular_file_is_no_file(void **data)
{
	struct state *state = *data;
	assert_int_equal(mkfifo(state->path, 0600), 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int n_path =
		snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/socket", state->folder);
	assert_true((size_t)n_path == strlen(state->folder) + 7);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(reason_of(state, state->path), KMS_SYMBOL_NO_FILE);
	assert_int_equal(reason_of(state, address.sun_path), KMS_SYMBOL_NO_FILE);
	assert_int_equal(reason_of(state, state->folder), KMS_SYMBOL_NO_FILE);
	assert_int_equal(reason_of(state, "/dev/zero"), KMS_SYMBOL_NO_FILE);
	assert_int_equal(reason_of(state, "/dev/tty"), KMS_SYMBOL_NO_FILE);
	assert_int_equal(reason_of(state, "/no/such/file"), KMS_SYMBOL_NO_FILE);
	assert_int_equal(reason_of(state, "[vdso]"), KMS_SYMBOL_NO_FILE);
	assert_helper_is_well(state);
	close(fd);
}

static void what_is_no_elf_file_is_bad_elf(void **data)
{
	struct state *state = *data;
	static const char *const contents[] = {"", "\177ELF", "#!/bin/sh\n", "!<arch>\n"};
	for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
		char path[PATH_BYTES + 16];
		(void)snprintf(path, sizeof(path), "%s%zu", state->path, i);
		fixture_write(path, contents[i], strlen(contents[i]));
		assert_int_equal(reason_of(state, path), KMS_SYMBOL_BAD_ELF);
	}
	assert_int_equal(reason_of(state, "/proc/self/status"), KMS_SYMBOL_BAD_ELF);
	assert_helper_is_well(state);
}

static void enormous_empty_file_is_bad_elf(void **data)
{
	struct state *state = *data;
	int fd = open(state->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	if (ftruncate(fd, (off_t)1 << 42) != 0)
		skip(); /* not on this file system */
	close(fd);
	assert_int_equal(reason_of(state, state->path), KMS_SYMBOL_BAD_ELF);
	assert_helper_is_well(state);
}

static void enormous_file_with_an_elf_head_still_has_its_symbols(void **data)
{
	struct state *state = *data;
	size_t n;
	uint8_t *elf = fixture_read("inline", &n);
	fixture_write(state->path, elf, n);
	free(elf);
	if (truncate(state->path, (off_t)1 << 42) != 0)
		skip();
	struct kms_symbol_answer answer =
		fixture_resolve(state->sym, fixture_module(state->sym, state->path),
				fixture_address("inline", "mark_outer"));
	/* It cannot be mapped into the helper's memory; an answer, whichever, is what counts. */
	assert_in_range(answer.reason, 0, KMS_SYMBOL_N_REASONS - 1);
	if (answer.reason == KMS_SYMBOL_OK)
		assert_string_equal(answer.frames[answer.n_frames - 1].function, "outer");
	assert_helper_is_well(state);
}

/* Asks for some addresses of a file; every one must be answered, and in time. */
static void ask_damaged(struct kms_symbols *sym, const char *path, uint64_t first)
{
	enum { N = 24 };
	struct kms_symbol_request reqs[N];
	struct kms_symbol_answer answers[N];
	uint32_t module = fixture_module(sym, path);
	for (size_t i = 0; i < N; i++)
		reqs[i] = (struct kms_symbol_request){
			.module = module, .offset = first + 3 * i, .is_return = i % 2};
	uint64_t start_ns = kms_clock_now(kms_clock_system());
	assert_int_equal(kms_symbols_resolve(sym, reqs, N, answers), 0);
	uint64_t passed_ns = kms_clock_now(kms_clock_system()) - start_ns;
	assert_true(passed_ns < DEADLINE_MS * 1000000ULL + SLACK_NS);
	for (size_t i = 0; i < N; i++) {
		assert_in_range(answers[i].reason, 0, KMS_SYMBOL_N_REASONS - 1);
		assert_int_equal(answers[i].n_frames > 0, answers[i].reason == KMS_SYMBOL_OK);
	}
}

static struct kms_symbols *create_for_damage(void)
{
	struct kms_symbols_config cfg = {.deadline_ms = DEADLINE_MS};
	struct kms_symbols *sym = kms_symbols_create(&cfg, NULL);
	assert_non_null(sym);
	return sym;
}

/* After all that, a good file is read as ever. */
static void assert_still_works(struct kms_symbols *sym)
{
	char path[FIXTURE_PATH_BYTES];
	struct kms_symbol_answer answer =
		fixture_resolve(sym, fixture_module(sym, fixture_path(path, "inline")),
				fixture_address("inline", "mark_innermost"));
	assert_int_equal(answer.n_frames, 3);
	assert_string_equal(answer.frames[0].function, "innermost");
}

static void file_cut_anywhere_is_answered(void **data)
{
	struct state *state = *data;
	struct kms_symbols *sym = create_for_damage();
	size_t n;
	uint8_t *elf = fixture_read("libshared.so", &n);
	uint64_t first = fixture_address("libshared.so", "hidden_function");
	for (size_t cut = 1; cut < n; cut += n / 97) {
		char path[PATH_BYTES + 32];
		(void)snprintf(path, sizeof(path), "%s.%zu", state->path, cut);
		fixture_write(path, elf, cut);
		ask_damaged(sym, path, first);
	}
	free(elf);
	assert_still_works(sym);
	kms_symbols_destroy(sym);
}

static uint32_t next_random(uint64_t *rng)
{
	*rng = *rng * 6364136223846793005U + 1442695040888963407U; /* Knuth's MMIX generator */
	return (uint32_t)(*rng >> 32);
}

/* A copy of a file with some bits changed, most of them in bytes that say something. */
static void damage(uint8_t *bytes, size_t n, uint64_t seed)
{
	uint64_t rng = seed;
	for (uint32_t n_flips = 1 + next_random(&rng) % 16; n_flips > 0; n_flips--) {
		size_t at = next_random(&rng) % n;
		while (bytes[at] == 0 && next_random(&rng) % 64 != 0)
			at = (at + 1) % n;
		bytes[at] ^= (uint8_t)(1 << next_random(&rng) % 8);
	}
}

static void file_with_changed_bytes_is_answered(void **data)
{
	struct state *state = *data;
	struct kms_symbols *sym = create_for_damage();
	size_t n;
	uint8_t *elf = fixture_read("libshared.so", &n);
	uint8_t *damaged = malloc(n);
	assert_non_null(damaged);
	uint64_t first = fixture_address("libshared.so", "hidden_function");
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): no second thread */
	uint64_t seeds = getenv("KMS_SOAK") ? 100 * MUTATIONS : MUTATIONS;
	if (seeds > KMS_SYMBOLS_MODULES / 2)
		seeds = KMS_SYMBOLS_MODULES / 2;
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		char path[PATH_BYTES + 32];
		memcpy(damaged, elf, n);
		damage(damaged, n, seed);
		(void)snprintf(path, sizeof(path), "%s.%d", state->path, (int)seed);
		fixture_write(path, damaged, n);
		ask_damaged(sym, path, first);
		(void)unlink(path);
	}
	free(elf);
	free(damaged);
	assert_still_works(sym);
	struct kms_symbols_stats stats;
	kms_symbols_stats(sym, &stats);
	print_message("%d damaged files: helper started %d times, died %d, hung %d\n", (int)seeds,
		      (int)stats.n_helper_starts, (int)stats.n_helper_deaths,
		      (int)stats.n_helper_hangs);
	kms_symbols_destroy(sym);
}

static void file_that_shrinks_while_it_is_open_is_survived(void **data)
{
	struct state *state = *data;
	struct kms_symbols_stats stats;
	size_t n;
	uint8_t *elf = fixture_read("inline", &n);
	fixture_write(state->path, elf, n);
	free(elf);
	uint32_t module = fixture_module(state->sym, state->path);
	/* Opens it, and reads nothing of what is further behind. */
	struct kms_symbol_answer answer = fixture_resolve(state->sym, module, 3);
	assert_int_equal(answer.reason, KMS_SYMBOL_NO_SYMBOL);
	/* What the helper has mapped is not there any more: touching it is SIGBUS. */
	assert_int_equal(truncate(state->path, 64), 0);
	uint64_t offset = fixture_address("inline", "mark_cplusplus");
	answer = fixture_resolve(state->sym, module, offset);
	assert_int_equal(answer.n_frames, 0);
	kms_symbols_stats(state->sym, &stats);
	assert_int_equal(stats.n_helper_deaths, 1);
	assert_int_equal(stats.n_helper_starts, 2);
	assert_still_works(state->sym);
}

int main(int argc, char *argv[])
{
	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_no_regular_file_is_no_file),
		TEST(what_is_no_elf_file_is_bad_elf),
		TEST(enormous_empty_file_is_bad_elf),
		TEST(enormous_file_with_an_elf_head_still_has_its_symbols),
		TEST(file_cut_anywhere_is_answered),
		TEST(file_with_changed_bytes_is_answered),
		TEST(file_that_shrinks_while_it_is_open_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
