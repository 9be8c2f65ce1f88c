/* SPDX-License-Identifier: BSD-2-Clause */
/* The real helper: killed, stopped, orphaned; what it inherits, what it may do, what it keeps open. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/test/unit.h"
#include "tracer/symbols.h"
#include "tracer/symbols_link.h"
#include "tracer/symbols_sandbox.h"
#include "tracer/test/symbols_fixture.h"

enum {
	PATIENCE_MS = 60000,
	IMPATIENCE_MS = 500,
};

static struct kms_symbols *create(const struct kms_symbols_config *cfg)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_symbols *sym = kms_symbols_create(cfg, &err);
	if (!sym)
		fail_msg("%s: %s", err.subject, err.text);
	return sym;
}

static struct kms_symbols *create_patient(void)
{
	struct kms_symbols_config cfg = {.deadline_ms = PATIENCE_MS};
	return create(&cfg);
}

static struct kms_symbol_answer resolve(struct kms_symbols *sym, const char *name,
					const char *symbol)
{
	char path[FIXTURE_PATH_BYTES];
	uint32_t module = fixture_module(sym, fixture_path(path, name));
	return fixture_resolve(sym, module, fixture_address(name, symbol));
}

static void assert_function(const struct kms_symbol_answer *answer, const char *function)
{
	assert_int_equal(answer->reason, KMS_SYMBOL_OK);
	assert_string_equal(answer->frames[answer->n_frames - 1].function, function);
}

static struct kms_symbols_stats stats_of(struct kms_symbols *sym)
{
	struct kms_symbols_stats stats;
	kms_symbols_stats(sym, &stats);
	return stats;
}

static void killed_helper_is_replaced_without_blame(void **data)
{
	(void)data;
	struct kms_symbols *sym = create_patient();
	static const char *const symbols[] = {"mark_outer", "mark_plain_static", "mark_evil"};
	static const char *const functions[] = {"outer", "plain_static", "evil_name_evil"};
	for (size_t i = 0; i < 3; i++) {
		pid_t pid = kms_symbols_helper_pid(sym);
		assert_true(pid > 0);
		struct kms_symbol_answer answer = resolve(sym, "inline", symbols[i]);
		assert_function(&answer, functions[i]);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_true(fixture_wait_ended(pid));
		/* What is cached needs no helper. */
		answer = resolve(sym, "inline", symbols[i]);
		assert_function(&answer, functions[i]);
		answer = resolve(sym, "libshared.so",
				 i == 0 ? "mark_exported" : "exported_function");
		assert_function(&answer, "exported_function");
		if (i == 2)
			break;
		answer = resolve(sym, "inline_dwarf4", symbols[i]);
		assert_function(&answer, functions[i]);
		assert_int_not_equal(kms_symbols_helper_pid(sym), pid);
	}
	struct kms_symbols_stats stats = stats_of(sym);
	assert_int_equal(stats.n_helper_deaths, 0); /* it died of nothing that was asked */
	assert_int_equal(stats.n_helper_starts, 3);
	assert_int_equal(stats.n_blacklisted, 0);
	kms_symbols_destroy(sym);
}

static void stopped_helper_is_given_up_at_the_deadline_and_replaced(void **data)
{
	(void)data;
	struct kms_symbols_config cfg = {.deadline_ms = IMPATIENCE_MS};
	struct kms_symbols *sym = create(&cfg);
	pid_t pid = kms_symbols_helper_pid(sym);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	struct kms_symbol_answer answer = resolve(sym, "inline", "mark_outer");
	assert_int_equal(answer.reason, KMS_SYMBOL_TIMEOUT);
	assert_true(fixture_wait_ended(pid));
	assert_int_equal(stats_of(sym).n_helper_hangs, 1);
	kms_symbols_destroy(sym);

	sym = create_patient();
	pid = kms_symbols_helper_pid(sym);
	answer = resolve(sym, "inline", "mark_outer");
	assert_function(&answer, "outer");
	kms_symbols_destroy(sym);
	assert_true(fixture_wait_ended(pid));
}

static void helper_ends_with_its_resolver(void **data)
{
	(void)data;
	int ends[2];
	pid_t helper = 0;
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		struct kms_symbols *sym = kms_symbols_create(NULL, NULL);
		pid_t pid = sym ? kms_symbols_helper_pid(sym) : 0;
		(void)!write(ends[1], &pid, sizeof(pid));
		(void)raise(SIGKILL);
	}
	assert_int_equal(read(ends[0], &helper, sizeof(helper)), sizeof(helper));
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(helper > 0);
	assert_true(fixture_wait_ended(helper));
	close(ends[0]);
	close(ends[1]);
}

/* Whether a descriptor of the helper is open, and what it is. */
static bool descriptor_of(pid_t pid, int fd, char *target, size_t size)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	ssize_t n = readlink(path, target, size - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return true;
}

static void helper_inherits_nothing_but_its_socket(void **data)
{
	(void)data;
	char target[256];
	/* Not close-on-exec, and high: what a traced program's front may hold. */
	int fd = fcntl(STDERR_FILENO, F_DUPFD, 200);
	assert_true(fd >= 200);
	struct kms_symbols *sym = create_patient();
	pid_t pid = kms_symbols_helper_pid(sym);
	for (int i = 0; i < 300; i++) {
		bool is_open = descriptor_of(pid, i, target, sizeof(target));
		assert_int_equal(is_open, i <= 3);
		if (is_open && i < 3)
			assert_string_equal(target, "/dev/null");
		if (is_open && i == 3)
			assert_int_equal(strncmp(target, "socket:", 7), 0);
	}
	kms_symbols_destroy(sym);
	close(fd);
}

static void environment_of_the_helper_is_cleaned(void **data)
{
	(void)data;
	static char *const given[] = {"PATH=/bin",
				      "LD_PRELOAD=/x.so",
				      "KMEM_GUARD_DEPTH=5",
				      "KMS_SOAK=1",
				      "LD_AUDIT=/y.so",
				      "MALLOC_PERTURB_=1",
				      "DEBUGINFOD_URLS=http",
				      "LD_LIBRARY_PATH=/l",
				      NULL};
	char **kept = kms_symbols_link_environment(given, false);
	assert_non_null(kept);
	assert_string_equal(kept[0], "PATH=/bin");
	assert_string_equal(kept[1], "LD_LIBRARY_PATH=/l");
	assert_string_equal(kept[2], "KMEMSCOPE_SYMBOL_HELPER=1");
	assert_null(kept[3]);
	free(kept);
	kept = kms_symbols_link_environment(given, true);
	assert_non_null(kept);
	assert_string_equal(kept[1], "DEBUGINFOD_URLS=http");
	assert_string_equal(kept[2], "LD_LIBRARY_PATH=/l");
	assert_null(kept[4]);
	free(kept);
}

/* A program that links the library but does not know the helper's argument would go on for ever. */
static void helper_starts_no_helper(void **data)
{
	(void)data;
	static struct kms_symbols_wire_config wire = {
		.memory_bytes = 1 << 30, .modules_open_max = 1, .debug_root = "/nonexistent"};
	struct kms_symbols_link_config cfg = {.helper_exec = "/proc/self/exe", .wire = &wire};
	struct kms_symbols_link link;
	uint64_t end_ns = kms_clock_now(kms_clock_system()) + PATIENCE_MS * 1000000ULL;
	kms_symbols_link_init(&link);
	assert_int_equal(setenv("KMEMSCOPE_SYMBOL_HELPER", "1", 1), 0);
	assert_int_equal(kms_symbols_link_open(&link, &cfg, end_ns, NULL), -ELOOP);
	assert_int_equal(unsetenv("KMEMSCOPE_SYMBOL_HELPER"), 0);
	assert_int_equal(kms_symbols_link_open(&link, &cfg, end_ns, NULL), 0);
	kms_symbols_link_deinit(&link);
}

/* A line of a file of /proc/PID; the caller frees. */
static char *read_proc(pid_t pid, const char *name)
{
	char path[64];
	char *text;
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	assert_int_equal(kms_read_file(path, 65536, &text, NULL, NULL), 0);
	return text;
}

static void helper_has_given_up_its_rights(void **data)
{
	(void)data;
	struct kms_symbols_config cfg = {.deadline_ms = PATIENCE_MS,
					 .helper_memory_bytes = 512 << 20};
	struct kms_symbols *sym = create(&cfg);
	pid_t pid = kms_symbols_helper_pid(sym);
	char *status = read_proc(pid, "status");
	char *limits = read_proc(pid, "limits");
	assert_non_null(strstr(status, "NoNewPrivs:\t1"));
	assert_non_null(strstr(limits, "Max core file size        0                    0 "));
	assert_non_null(strstr(limits, "Max open files            256                  256 "));
#ifndef KMS_SYMBOLS_INSTRUMENTED
	assert_non_null(
		strstr(limits, "Max address space         536870912            536870912 "));
#ifdef __x86_64__
	assert_non_null(strstr(status, "Seccomp:\t2"));
#endif
#endif
	free(status);
	free(limits);
	assert_int_not_equal(getpgid(pid), getpgid(0)); /* ^C is not for it */
	kms_symbols_destroy(sym);
}

/* Registers a fixture with a helper, under a number. */
static void put_module(struct kms_symbols_wire_out *out, uint32_t id, const char *name)
{
	char path[FIXTURE_PATH_BYTES];
	struct kms_symbols_wire_module module = {.id = id, .path = fixture_path(path, name)};
	module.n_path = strlen(path);
	kms_symbols_wire_put_module(out, &module);
}

/* Counts the answers of a message; *first is the entry that the first of them belongs to. */
static uint32_t count_answers(const struct kms_symbols_wire_message *msg, uint32_t *first)
{
	static struct kms_symbols_wire_answer answer;
	struct kms_symbols_wire_reader reader;
	uint32_t n = 0;
	assert_int_equal(kms_symbols_wire_get_answers(msg, &reader, first), 0);
	while (kms_symbols_wire_next_answer(&reader, &answer) == 1)
		n++;
	return n;
}

/* This is what the blame for a lost helper rests on. */
static void helper_sends_what_it_has_before_it_begins_another_module(void **data)
{
	(void)data;

	enum { N = 4 };
	static struct kms_symbols_wire_config wire = {
		.memory_bytes = 1 << 30, .modules_open_max = 4, .debug_root = "/nonexistent"};
	static const struct kms_symbols_wire_entry entries[N] = {
		{0x1100, 0, false},
                {0x1101, 0, false},
                {0x1100, 1, false},
                {0x1100, 0, false}
        };
	struct kms_symbols_link_config cfg = {.helper_exec = "/proc/self/exe", .wire = &wire};
	struct kms_symbols_link link;
	struct kms_symbols_wire_out out = {0};
	uint64_t end_ns = kms_clock_now(kms_clock_system()) + PATIENCE_MS * 1000000ULL;
	kms_symbols_link_init(&link);
	assert_int_equal(kms_symbols_link_open(&link, &cfg, end_ns, NULL), 0);
	put_module(&out, 0, "inline");
	put_module(&out, 1, "libshared.so");
	kms_symbols_wire_put_request(&out, 5, PATIENCE_MS, entries, N);
	assert_int_equal(kms_symbols_link_send(&link, &out, end_ns), 0);
	for (uint32_t n_answered = 0; n_answered < N;) {
		struct kms_symbols_wire_message msg;
		uint32_t first;
		assert_int_equal(kms_symbols_link_receive(&link, &msg, end_ns), 0);
		assert_int_equal(msg.request, 5);
		uint32_t n = count_answers(&msg, &first);
		assert_int_equal(first, n_answered);
		assert_in_range(n, 1, N - first);
		for (uint32_t i = first; i < first + n; i++)
			assert_int_equal(entries[i].module, entries[first].module);
		n_answered += n;
	}
	kms_symbols_wire_out_deinit(&out);
	kms_symbols_link_deinit(&link);
}

/* With sanitizers a leak in the helper is an exit status, too. */
static void helper_that_sees_the_end_of_the_socket_exits_cleanly(void **data)
{
	(void)data;
	static struct kms_symbols_wire_config wire = {
		.memory_bytes = 1 << 30, .modules_open_max = 1, .debug_root = "/nonexistent"};
	static const char *const files[] = {"inline", "inline_zlib", "symtab_only", "no_such_file"};
	struct kms_symbols_link_config cfg = {.helper_exec = "/proc/self/exe", .wire = &wire};
	struct kms_symbols_link link;
	struct kms_symbols_wire_out out = {0};
	struct kms_symbols_wire_message msg;
	struct kms_symbols_wire_entry entry = {.offset = fixture_address("inline", "mark_rust")};
	uint64_t end_ns = kms_clock_now(kms_clock_system()) + PATIENCE_MS * 1000000ULL;
	int status = -1;
	kms_symbols_link_init(&link);
	assert_int_equal(kms_symbols_link_open(&link, &cfg, end_ns, NULL), 0);
	for (uint32_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		out.used = 0;
		put_module(&out, i, files[i]);
		entry.module = i;
		kms_symbols_wire_put_request(&out, i, PATIENCE_MS, &entry, 1);
		assert_int_equal(kms_symbols_link_send(&link, &out, end_ns), 0);
		assert_int_equal(kms_symbols_link_receive(&link, &msg, end_ns), 0);
	}
	assert_int_equal(shutdown(link.fd, SHUT_WR), 0);
	assert_int_equal(waitpid(link.pid, &status, 0), link.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	kms_symbols_wire_out_deinit(&out);
	kms_symbols_link_deinit(&link);
}

/* Whether a descriptor could not be had for want of rights. */
static bool is_refused(int fd)
{
	bool refused = fd < 0 && errno == EPERM;
	if (fd >= 0)
		close(fd);
	return refused;
}

/* Tries what the filter must refuse and what it must let through. Returns the number of what went wrong, 0 if all is well. */
static int try_filter(const char *path)
{
	struct stat st;
	if (kms_symbols_sandbox_filter() != 0)
		return 1;
	if (!is_refused(open(path, O_WRONLY | O_CLOEXEC)) ||
	    !is_refused(open(path, O_RDONLY | O_TRUNC | O_CLOEXEC)))
		return 2;
	if (unlink(path) == 0 || rename(path, path) == 0)
		return 3;
	if (!is_refused(socket(AF_UNIX, SOCK_STREAM, 0)))
		return 4;
	if (fork() >= 0 || kill(getppid(), 0) == 0 || execl("/bin/true", "true", NULL) == 0)
		return 5;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		return 6;
	void *mapped = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	return mapped == MAP_FAILED || munmap(mapped, 1) != 0 ? 7 : 0;
}

static void filter_allows_reading_and_nothing_else(void **data)
{
	(void)data;
#if !defined(__x86_64__) || defined(KMS_SYMBOLS_INSTRUMENTED)
	skip();
#endif
	char path[FIXTURE_PATH_BYTES];
	int status;
	fixture_path(path, "inline");
	pid_t child = fork();
	if (child == 0)
		_exit(try_filter(path));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void watchdog_ends_a_process_that_works_for_ever(void **data)
{
	(void)data;
	int status;
	pid_t child = fork();
	if (child == 0) {
		(void)signal(SIGALRM, SIG_DFL);
		kms_symbols_sandbox_watchdog(20);
		for (volatile int i = 0;; i = i + 1)
			;
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGALRM);
}

static void assert_fetched(const char *root, bool allowed)
{
	struct kms_symbols_config cfg = {
		.debug_root = root,
		.deadline_ms = PATIENCE_MS,
		.allow_debuginfod = allowed,
	};
	struct kms_symbols *sym = create(&cfg);
	char path[FIXTURE_PATH_BYTES];
	struct kms_symbol_answer answer =
		fixture_resolve(sym, fixture_module(sym, fixture_path(path, "stripped")),
				fixture_address("stripped.full", "mark_innermost"));
	assert_int_equal(answer.reason, allowed ? KMS_SYMBOL_OK : KMS_SYMBOL_NO_SYMBOL);
	assert_int_equal(answer.n_frames, allowed ? 3 : 0);
	kms_symbols_destroy(sym);
}

/* A server that is a folder: buildid/HEX/debuginfo. */
static void debuginfod_is_asked_only_if_that_is_allowed(void **data)
{
	(void)data;
	void *library = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		skip(); /* not installed here */
		return;
	}
	(void)dlclose(library); /* it was only a question */
	char folder[FIXTURE_PATH_BYTES], path[4 * FIXTURE_PATH_BYTES];
	uint8_t build_id[KMS_SYMBOLS_BUILD_ID_BYTES];
	size_t n_bytes;
	fixture_scratch_create(folder);
	int n = snprintf(path, sizeof(path), "%s/buildid", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	path[n++] = '/';
	size_t n_build_id = fixture_build_id("stripped", build_id);
	for (size_t i = 0; i < n_build_id; i++)
		n += snprintf(path + n, 3, "%02x", build_id[i]);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path + n, sizeof(path) - (size_t)n, "/debuginfo");
	uint8_t *elf = fixture_read("stripped.full", &n_bytes);
	fixture_write(path, elf, n_bytes);
	free(elf);
	(void)snprintf(path, sizeof(path), "file://%s", folder);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): no second thread */
	assert_int_equal(setenv("DEBUGINFOD_URLS", path, 1), 0);
	(void)snprintf(path, sizeof(path), "%s/cache", folder);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): no second thread */
	assert_int_equal(setenv("DEBUGINFOD_CACHE_PATH", path, 1), 0);
	assert_fetched(folder, false);
	assert_fetched(folder, true);
	fixture_scratch_remove(folder);
}

/* How many files the helper has open or mapped that are fixtures. */
static size_t count_open(pid_t pid)
{
	char target[FIXTURE_PATH_BYTES];
	size_t n = 0;
	for (int fd = 4; fd < 256; fd++)
		n += descriptor_of(pid, fd, target, sizeof(target));
	return n;
}

static void helper_keeps_only_so_many_modules_open(void **data)
{
	(void)data;
	struct kms_symbols_config cfg = {.deadline_ms = PATIENCE_MS, .modules_open_max = 2};
	static const char *const files[] = {"inline", "inline_dwarf4", "inline_zlib",
					    "stripped.full", "symtab_only"};
	static const char *const symbols[] = {"mark_outer", "mark_innermost"};
	struct kms_symbols *sym = create(&cfg);
	for (size_t round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
			struct kms_symbol_answer answer = resolve(sym, files[i], symbols[round]);
			assert_function(&answer, "outer");
			size_t n_open = count_open(kms_symbols_helper_pid(sym));
			assert_in_range(n_open, 1, 2);
		}
	}
	assert_int_equal(stats_of(sym).n_helper_starts, 1);
	kms_symbols_destroy(sym);
}

int main(int argc, char *argv[])
{
	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_helper_is_replaced_without_blame),
		cmocka_unit_test(stopped_helper_is_given_up_at_the_deadline_and_replaced),
		cmocka_unit_test(helper_ends_with_its_resolver),
		cmocka_unit_test(helper_inherits_nothing_but_its_socket),
		cmocka_unit_test(environment_of_the_helper_is_cleaned),
		cmocka_unit_test(helper_starts_no_helper),
		cmocka_unit_test(helper_has_given_up_its_rights),
		cmocka_unit_test(helper_sends_what_it_has_before_it_begins_another_module),
		cmocka_unit_test(helper_that_sees_the_end_of_the_socket_exits_cleanly),
		cmocka_unit_test(filter_allows_reading_and_nothing_else),
		cmocka_unit_test(watchdog_ends_a_process_that_works_for_ever),
		cmocka_unit_test(debuginfod_is_asked_only_if_that_is_allowed),
		cmocka_unit_test(helper_keeps_only_so_many_modules_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
