/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of a program before it runs. The programs are made here, byte by byte: none of them
 * is ever executed.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/launch.h"
#include "tracer/run.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): a program of one thread */

enum {
	NOBODY = 65534,
};

/* A folder of this test; its files go with it. */
struct bench {
	char dir[64];
	char path[PATH_MAX]; /* of the last file made */
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	strcpy(b->dir, "/tmp/test_launch.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	assert_int_equal(chmod(b->dir, 0755), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", b->dir);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a fixed command */
	unsetenv("KMEMSCOPE_LIBRARY");
	free(b);
	return 0;
}

static const char *make_file(struct bench *b, const char *name, const void *bytes, size_t n,
			     mode_t mode)
{
	int fd;

	snprintf(b->path, sizeof(b->path), "%s/%s", b->dir, name);
	fd = open(b->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return b->path;
}

/* An ELF program as far as anyone looks before it runs. */
struct program {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[2];
};

static struct program program(bool is_dynamic)
{
	struct program p = {
		.ehdr = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				     EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_phoff = offsetof(struct program, phdr),
			 .e_ehsize = sizeof(Elf64_Ehdr),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 2},
		.phdr = {{.p_type = PT_LOAD},               {.p_type = is_dynamic ? PT_INTERP : PT_NOTE}},
	};

	return p;
}

static const char *make_program(struct bench *b, const char *name, const struct program *p,
				mode_t mode)
{
	return make_file(b, name, p, sizeof(*p), mode);
}

/* The answer must be this status and its text hold both words. */
static void expect(const char *name, int status, const char *word, const char *other)
{
	struct kms_err err = KMS_ERR_INIT;
	char path[PATH_MAX] = "";

	assert_int_equal(kms_launch_check(name, path, &err), status);
	if (status == 0) {
		assert_string_equal(err.text, "");
		return;
	}
	if (!strstr(err.text, word) || !strstr(err.text, other))
		fail_msg("'%s' names not both '%s' and '%s'", err.text, word, other);
	assert_true(err.code < 0);
}

static void dynamic_program_is_accepted(void **state)
{
	struct bench *b = *state;
	struct program p = program(true);

	expect("/proc/self/exe", 0, "", "");
	expect(make_program(b, "dynamic", &p, 0755), 0, "", "");
}

static void static_program_is_refused(void **state)
{
	struct bench *b = *state;
	struct program p = program(false);

	expect(make_program(b, "static", &p, 0755), KMS_RUN_FAILED,
	       "/static: ", "link it dynamically");
	p.ehdr.e_phnum = 0;
	expect(make_program(b, "empty", &p, 0755), KMS_RUN_FAILED, "/empty: ", "statically");
}

static void the_loader_is_accepted_though_it_is_static(void **state)
{
	(void)state;
	if (access("/lib64/ld-linux-x86-64.so.2", X_OK) < 0)
		skip();
	expect("/lib64/ld-linux-x86-64.so.2", 0, "", "");
}

static void other_class_and_machine_are_refused(void **state)
{
	struct bench *b = *state;
	struct program p = program(true);
	Elf32_Ehdr small = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB,
			    EV_CURRENT},
		.e_machine = EM_386
        };

	expect(make_file(b, "small", &small, sizeof(small), 0755), KMS_RUN_FAILED,
	       "/small: ", "not a 64-bit program");
	p.ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
	expect(make_program(b, "big", &p, 0755), KMS_RUN_FAILED, "/big: ", "not a 64-bit program");
	p = program(true);
	p.ehdr.e_machine = EM_AARCH64;
	expect(make_program(b, "arm", &p, 0755), KMS_RUN_FAILED, "/arm: ", "another processor");
}

static void damaged_program_is_refused(void **state)
{
	struct bench *b = *state;
	struct program p = program(true);

	expect(make_file(b, "cut", &p, sizeof(Elf64_Ehdr) - 1, 0755), KMS_RUN_FAILED,
	       "/cut: ", "cut short");
	expect(make_file(b, "cut", &p, sizeof(p) - 1, 0755), KMS_RUN_FAILED, "/cut: ", "headers");
	p.ehdr.e_phoff = UINT64_MAX - 8;
	expect(make_program(b, "far", &p, 0755), KMS_RUN_FAILED, "/far: ", "headers");
	p = program(true);
	p.ehdr.e_phnum = UINT16_MAX;
	expect(make_program(b, "many", &p, 0755), KMS_RUN_FAILED, "/many: ", "headers");
	p = program(true);
	p.ehdr.e_phentsize = 1;
	expect(make_program(b, "odd", &p, 0755), KMS_RUN_FAILED, "/odd: ", "headers");
}

static void script_is_judged_by_its_interpreter(void **state)
{
	struct bench *b = *state;
	struct program p = program(false);
	char text[PATH_MAX + 16];
	int n = snprintf(text, sizeof(text), "#! \t%s -x y\n", make_program(b, "i", &p, 0755));

	make_file(b, "script", text, (size_t)n, 0755);
	expect(b->path, KMS_RUN_FAILED, "/i: ", "statically");
	n = snprintf(text, sizeof(text), "#!%s", b->path);
	make_file(b, "script of a script", text, (size_t)n, 0755);
	expect(b->path, KMS_RUN_FAILED, "/i: ", "statically");
	make_file(b, "shell", "#!/bin/sh\n", 10, 0755);
	expect(b->path, 0, "", "");
	make_file(b, "no shebang", "echo\n", 5, 0755);
	expect(b->path, 0, "", "");
	make_file(b, "nothing", "", 0, 0755);
	expect(b->path, 0, "", "");
	make_file(b, "no name", "#! \n", 4, 0755);
	expect(b->path, 0, "", "");
}

static void script_without_its_interpreter_is_not_found(void **state)
{
	struct bench *b = *state;

	make_file(b, "script", "#!/no/such/python\n", 18, 0755);
	expect(b->path, KMS_RUN_NOT_FOUND, "/script: ", "'/no/such/python' is not found");
	make_file(b, "dos", "#!/bin/sh\r\n", 11, 0755);
	expect(b->path, KMS_RUN_NOT_FOUND, "/dos: ", "'/bin/sh\r'");
}

static void script_that_interprets_itself_ends(void **state)
{
	struct bench *b = *state;
	char text[PATH_MAX];
	int n = snprintf(text, sizeof(text), "#!%s/self\n", b->dir);

	make_file(b, "self", text, (size_t)n, 0755);
	expect(b->path, 0, "", ""); /* the kernel will say ELOOP */
}

static void missing_program_is_not_found(void **state)
{
	struct bench *b = *state;
	char path[PATH_MAX];

	expect("no-such-program", KMS_RUN_NOT_FOUND, "'no-such-program'", "PATH");
	expect("", KMS_RUN_NOT_FOUND, "''", "not found");
	snprintf(path, sizeof(path), "%s/none", b->dir);
	expect(path, KMS_RUN_NOT_FOUND, "/none", "not found");
	expect("/dev/null/x", KMS_RUN_NOT_FOUND, "/dev/null/x", "not found");
}

static void what_cannot_be_executed_says_why(void **state)
{
	struct bench *b = *state;
	struct program p = program(true);
	char longest[PATH_MAX + 2];

	expect(make_program(b, "plain", &p, 0644), KMS_RUN_NOT_EXEC, "/plain: ", "chmod +x");
	expect(b->dir, KMS_RUN_NOT_EXEC, b->dir, "folder");
	memset(longest, '/', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	expect(longest, KMS_RUN_NOT_EXEC, "cannot execute", "too long");
}

static void path_is_searched_as_execvp_does(void **state)
{
	struct bench *b = *state;
	struct program p = program(true);
	const char *before = getenv("PATH");
	char *saved = strdup(before ? before : ""), path[PATH_MAX], list[256];
	struct kms_err err = KMS_ERR_INIT;

	make_program(b, "a-program", &p, 0644);
	snprintf(list, sizeof(list), "/nonexistent:%s", b->dir);
	setenv("PATH", list, 1);
	assert_int_equal(kms_launch_check("a-program", path, &err), KMS_RUN_NOT_EXEC);
	assert_int_equal(chmod(b->path, 0755), 0);
	assert_int_equal(kms_launch_check("a-program", path, &err), 0);
	assert_string_equal(path, b->path);
	assert_int_equal(chdir(b->dir), 0);
	setenv("PATH", "/nonexistent:", 1); /* an empty item is the current folder */
	assert_int_equal(kms_launch_check("a-program", path, &err), 0);
	assert_string_equal(path, "./a-program");
	setenv("PATH", saved, 1);
	free(saved);
	assert_int_equal(chdir("/"), 0);
}

/* As an unprivileged user, in a child: the status must be this. */
static void expect_as_nobody(const char *path, int status, const char *word, bool no_new_privs)
{
	struct kms_err err = KMS_ERR_INIT;
	char found[PATH_MAX];
	int wait_status, got;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			_exit(100);
		if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(101);
		got = kms_launch_check(path, found, &err);
		_exit(got != status ? 102 : got && !strstr(err.text, word) ? 103 : 0);
	}
	assert_int_equal(waitpid(pid, &wait_status, 0), pid);
	assert_int_equal(wait_status, 0);
}

static void need_root_and_set_id(const struct bench *b)
{
	struct statvfs fs;

	assert_int_equal(statvfs(b->dir, &fs), 0);
	if (getuid() != 0 || fs.f_flag & ST_NOSUID)
		skip();
}

static void set_id_that_takes_effect_is_refused(void **state)
{
	struct bench *b = *state;
	struct program p = program(true);

	need_root_and_set_id(b);
	make_program(b, "setuid", &p, 04755);
	expect(b->path, 0, "", ""); /* root becomes root: nothing is gained */
	expect_as_nobody(b->path, KMS_RUN_FAILED, "set-id", false);
	expect_as_nobody(b->path, 0, "", true);
	make_program(b, "unreadable", &p, 04711);
	expect_as_nobody(b->path, KMS_RUN_FAILED, "set-id", false);
	make_program(b, "setgid", &p, 02755);
	expect_as_nobody(b->path, KMS_RUN_FAILED, "set-id", false);
	make_program(b, "lock", &p, 02745); /* set-gid without x for the group is no set-gid */
	expect_as_nobody(b->path, 0, "", false);
	make_program(b, "own", &p, 0755);
	assert_int_equal(chown(b->path, NOBODY, NOBODY), 0);
	assert_int_equal(chmod(b->path, 06755), 0);
	expect_as_nobody(b->path, 0, "", false);
	expect(b->path, KMS_RUN_FAILED, "set-id", "owner");
}

static void set_id_bit_of_a_script_means_nothing(void **state)
{
	struct bench *b = *state;

	need_root_and_set_id(b);
	make_file(b, "script", "#!/bin/sh\n", 10, 06755);
	expect_as_nobody(b->path, 0, "", false);
}

static void unprivileged_user_gets_the_refusals_that_root_passes(void **state)
{
	struct bench *b = *state;
	struct program p = program(true);

	need_root_and_set_id(b);
	make_program(b, "private", &p, 0700);
	expect(b->path, 0, "", "");
	expect_as_nobody(b->path, KMS_RUN_NOT_EXEC, "chmod +x", false);
	make_program(b, "only x", &p, 0711); /* cannot be looked at: will show when it runs */
	expect_as_nobody(b->path, 0, "", false);
	assert_int_equal(chmod(b->dir, 0700), 0);
	expect_as_nobody(b->path, KMS_RUN_NOT_EXEC, "folders open", false);
}

static void library_is_named_by_a_path_that_the_loader_takes(void **state)
{
	struct bench *b = *state;
	struct kms_err err = KMS_ERR_INIT;
	char path[PATH_MAX], want[PATH_MAX];

	make_file(b, "lib.so", "", 0, 0644);
	assert_non_null(realpath(b->path, want));
	assert_int_equal(chdir(b->dir), 0);
	setenv("KMEMSCOPE_LIBRARY", "./lib.so", 1);
	assert_int_equal(kms_launch_library(path, &err), 0);
	assert_string_equal(path, want);
	assert_int_equal(chdir("/"), 0);
	setenv("KMEMSCOPE_LIBRARY", "/no/such/lib.so", 1);
	assert_int_equal(kms_launch_library(path, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/no/such/lib.so"));
	assert_non_null(strstr(err.text, "KMEMSCOPE_LIBRARY"));
}

static void library_with_a_blank_in_its_path_is_linked_to(void **state)
{
	struct bench *b = *state;
	struct kms_err err = KMS_ERR_INIT;
	char path[PATH_MAX], seen[PATH_MAX], want[PATH_MAX];
	ssize_t n;

	assert_int_equal(kms_launch_preload("/a/lib.so", b->dir, path), 0);
	assert_string_equal(path, "/a/lib.so");
	assert_int_equal(kms_launch_link("/a/lib.so", b->dir, &err), 0);
	snprintf(want, sizeof(want), "%s/libkmem_malloc.so", b->dir);
	assert_int_equal(access(want, F_OK), -1);
	for (const char *const *library =
		     (const char *const[]){"/a b/l.so", "/a:b/l.so", "/$LIB/l.so", NULL};
	     *library; library++) {
		assert_int_equal(kms_launch_preload(*library, b->dir, path), 0);
		assert_string_equal(path, want);
		assert_int_equal(kms_launch_link(*library, b->dir, &err), 0);
		n = readlink(want, seen, sizeof(seen) - 1);
		assert_true(n > 0);
		seen[n] = '\0';
		assert_string_equal(seen, *library);
		assert_int_equal(unlink(want), 0);
	}
	assert_int_equal(kms_launch_link("/a b/l.so", "/run dir", &err), -EINVAL);
	assert_non_null(strstr(err.text, "/a b/l.so"));
}

/* The value of the only entry of this name; NULL if there is none. */
static const char *value_of(char **environment, const char *name)
{
	const char *found = NULL;
	size_t n = strlen(name);

	for (size_t i = 0; environment[i]; i++) {
		if (strncmp(environment[i], name, n) != 0 || environment[i][n] != '=')
			continue;
		assert_null(found);
		found = environment[i] + n + 1;
	}
	return found;
}

static void environment_is_ours_and_the_library_comes_last(void **state)
{
	struct kms_options options = {0};
	char **environment;

	(void)state;
	assert_int_equal(kms_options_parse(&options, "trace=1,guard_depth=512", NULL), 0);
	setenv("LD_PRELOAD", "", 1);
	setenv("KMEM_OPTIONS", "trace=0", 1);
	setenv("KMS_TEST_WORD", "a=b", 1);
	setenv("KMEMSCOPE_STOP", "1", 1);
	environment = kms_launch_environment("/l.so", "/run/folder", &options, false);
	assert_non_null(environment);
	assert_null(value_of(environment, "KMEMSCOPE_STOP"));
	assert_string_equal(value_of(environment, "LD_PRELOAD"), "/l.so");
	assert_string_equal(value_of(environment, "KMEM_OPTIONS"), "guard_depth=512,trace=1");
	assert_string_equal(value_of(environment, "KMEMSCOPE_RUN"), "/run/folder");
	assert_string_equal(value_of(environment, "KMS_TEST_WORD"), "a=b");
	kms_launch_environment_free(environment);
	setenv("LD_PRELOAD", "/counting.so", 1);
	environment = kms_launch_environment("/l.so", "/run/folder", &options, true);
	assert_non_null(environment);
	assert_int_equal(atoi(value_of(environment, "KMEMSCOPE_STOP")), getpid());
	assert_string_equal(value_of(environment, "LD_PRELOAD"), "/counting.so:/l.so");
	kms_launch_environment_free(environment);
	kms_launch_environment_free(NULL);
	unsetenv("LD_PRELOAD");
	unsetenv("KMEM_OPTIONS");
	unsetenv("KMEMSCOPE_STOP");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(dynamic_program_is_accepted),
		TEST(static_program_is_refused),
		TEST(the_loader_is_accepted_though_it_is_static),
		TEST(other_class_and_machine_are_refused),
		TEST(damaged_program_is_refused),
		TEST(script_is_judged_by_its_interpreter),
		TEST(script_without_its_interpreter_is_not_found),
		TEST(script_that_interprets_itself_ends),
		TEST(missing_program_is_not_found),
		TEST(what_cannot_be_executed_says_why),
		TEST(path_is_searched_as_execvp_does),
		TEST(set_id_that_takes_effect_is_refused),
		TEST(set_id_bit_of_a_script_means_nothing),
		TEST(unprivileged_user_gets_the_refusals_that_root_passes),
		TEST(library_is_named_by_a_path_that_the_loader_takes),
		TEST(library_with_a_blank_in_its_path_is_linked_to),
		TEST(environment_is_ours_and_the_library_comes_last),
	};

	return cmocka_run_group_tests_name("launch", tests, NULL, NULL);
}

/* NOLINTEND(concurrency-mt-unsafe) */
