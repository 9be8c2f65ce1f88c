/* SPDX-License-Identifier: BSD-2-Clause */
/* Session folders: where they lie, who may have them, what dead tracers leave, two at a time. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/test/unit.h"
#include "tracer/session.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): a program of one thread */

enum {
	NOBODY = 65534,
	RACERS = 8,
	ROUNDS = 20,
	LOOK_MS = 5,
};

/* A runtime folder of this test, in XDG_RUNTIME_DIR. */
struct bench {
	char dir[128];
	char root[160];
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	strcpy(b->dir, "/tmp/test_session.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->root, sizeof(b->root), "%s/kmemscope", b->dir);
	setenv("XDG_RUNTIME_DIR", b->dir, 1);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", b->dir);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a fixed command */
	free(b);
	return 0;
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void touch(const char *folder, const char *name)
{
	char path[PATH_MAX];
	int fd;

	assert_true(snprintf(path, sizeof(path), "%s/%s", folder, name) < PATH_MAX);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void root_is_the_runtime_folder_if_it_is_ours(void **state)
{
	struct bench *b = *state;
	char path[PATH_MAX];

	assert_int_equal(kms_session_root(path, 0, NULL), -ENOENT);
	assert_false(exists(b->root));
	assert_int_equal(kms_session_root(path, 1, NULL), 0);
	assert_string_equal(path, b->root);
	assert_int_equal(kms_session_root(path, 0, NULL), 0);
	setenv("XDG_RUNTIME_DIR", "/no/such/folder", 1);
	(void)kms_session_root(path, 0, NULL);
	assert_null(strstr(path, "/no/such"));
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	(void)kms_session_root(path, 0, NULL);
	assert_int_equal(path[0], '/');
	if (getuid() != 0)
		return;
	assert_int_equal(chown(b->dir, NOBODY, NOBODY), 0);
	setenv("XDG_RUNTIME_DIR", b->dir, 1);
	(void)kms_session_root(path, 0, NULL);
	assert_null(strstr(path, b->dir));
}

static void root_open_to_others_is_refused(void **state)
{
	struct bench *b = *state;
	struct kms_err err = KMS_ERR_INIT;
	char path[PATH_MAX];

	assert_int_equal(mkdir(b->root, 0700), 0);
	assert_int_equal(chmod(b->root, 0755), 0);
	assert_int_equal(kms_session_root(path, 1, &err), -EACCES);
	assert_non_null(strstr(err.text, b->root));
	assert_non_null(strstr(err.text, "chmod 700"));
	assert_int_equal(kms_session_root(path, 0, NULL), -EACCES);
}

static void root_of_another_user_is_refused(void **state)
{
	struct bench *b = *state;
	struct kms_session session;
	struct kms_err err = KMS_ERR_INIT;
	char path[PATH_MAX];

	if (getuid() != 0)
		skip();
	assert_int_equal(mkdir(b->root, 0700), 0);
	assert_int_equal(chown(b->root, NOBODY, NOBODY), 0);
	assert_int_equal(kms_session_root(path, 0, &err), -EPERM);
	assert_non_null(strstr(err.text, b->root));
	assert_int_equal(kms_session_create(&session, "p", getpid(), &err), -EPERM);
}

static void root_that_is_a_link_or_a_file_is_refused(void **state)
{
	struct bench *b = *state;
	char path[PATH_MAX];

	assert_int_equal(symlink("/tmp", b->root), 0);
	assert_int_equal(kms_session_root(path, 1, NULL), -ENOTDIR);
	assert_int_equal(unlink(b->root), 0);
	touch(b->dir, "kmemscope");
	assert_int_equal(kms_session_root(path, 1, NULL), -ENOTDIR);
}

static void session_comes_and_goes_with_all_that_is_in_it(void **state)
{
	struct bench *b = *state;
	struct kms_session session;
	struct stat st;
	char want[PATH_MAX];

	assert_int_equal(kms_session_create(&session, "/usr/bin/prog", 4711, NULL), 0);
	snprintf(want, sizeof(want), "%s/prog.4711", b->root);
	assert_string_equal(session.dir, want);
	snprintf(want, sizeof(want), "%s/prog.4711/api.sock", b->root);
	assert_string_equal(session.socket, want);
	assert_int_equal(stat(session.dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(session.run_dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_true(fcntl(session.dir_fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(session.run_fd, F_GETFD) & FD_CLOEXEC);
	touch(session.dir, "api.sock");
	touch(session.run_dir, "img-0-1.kmr");
	kms_session_destroy(&session);
	assert_false(exists(session.dir));
	assert_false(exists(session.run_dir));
	assert_int_equal(session.dir_fd, -1);
}

static void name_is_one_harmless_folder_name(void **state)
{
	static const struct {
		const char *program, *name;
	} rows[] = {
		{"",                   "_.1"             },
		{"..",                 "_..1"            },
		{"/",                  "_.1"             },
		{"-rf",                "_rf.1"           },
		{"a b\n\x1b[31m;$(x)", "a_b___31m___x_.1"},
		{"\xc3\xa4rger",       "__rger.1"        },
		{"g++-12",             "g++-12.1"        },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_session session;

		assert_int_equal(kms_session_create(&session, rows[i].program, 1, NULL), 0);
		assert_string_equal(strrchr(session.dir, '/') + 1, rows[i].name);
		kms_session_destroy(&session);
	}
}

static void long_program_name_leaves_room_for_the_socket(void **state)
{
	const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	struct bench *b = *state;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_session session;
	char program[300], longer[128];

	memset(program, 'p', sizeof(program));
	program[sizeof(program) - 1] = '\0';
	assert_int_equal(kms_session_create(&session, program, 1234567, NULL), 0);
	assert_true(strlen(session.socket) < room);
	kms_session_destroy(&session);

	snprintf(longer, sizeof(longer), "%.40s/%s", b->dir,
		 "a-folder-name-so-long-that-no-path-of-a-socket-fits-into-it");
	assert_int_equal(mkdir(longer, 0700), 0);
	setenv("XDG_RUNTIME_DIR", longer, 1);
	assert_int_equal(kms_session_create(&session, "p", 1234567, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "XDG_RUNTIME_DIR"));
}

static void what_a_dead_tracer_left_is_removed(void **state)
{
	struct bench *b = *state;
	struct kms_session session;
	char dead[PATH_MAX], run[PATH_MAX];

	assert_int_equal(mkdir(b->root, 0700), 0);
	snprintf(dead, sizeof(dead), "%s/dead.99", b->root);
	assert_int_equal(mkdir(dead, 0700), 0);
	touch(dead, "api.sock");
	touch(dead, "session.json");
	snprintf(run, sizeof(run), "%s/dead.99/run", b->root);
	assert_int_equal(mkdir(run, 0700), 0);
	touch(run, "img-0-77.kmr");
	assert_int_equal(kms_session_create(&session, "p", 1, NULL), 0);
	assert_false(exists(dead));
	kms_session_destroy(&session);
}

static void region_of_a_living_process_outlives_its_tracer(void **state)
{
	struct bench *b = *state;
	struct kms_session session;
	char dead[PATH_MAX], name[64], region[PATH_MAX + 70];
	int fd;

	assert_int_equal(mkdir(b->root, 0700), 0);
	snprintf(dead, sizeof(dead), "%s/dead.99", b->root);
	assert_int_equal(mkdir(dead, 0700), 0);
	/* its maker is gone, a child of it has it */
	snprintf(name, sizeof(name), "img-99999999-abc.kmr");
	snprintf(region, sizeof(region), "%s/%s", dead, name);
	touch(dead, name);
	fd = open(region, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	/* a process of the maker's pid lives, nobody has it */
	snprintf(name, sizeof(name), "img-%ld-def.kmr", (long)getpid());
	touch(dead, name);
	touch(dead, "img--1-abc.kmr");
	assert_int_equal(kms_session_create(&session, "p", 1, NULL), 0);
	assert_true(exists(region));
	assert_true(rmdir(dead) < 0 && errno == ENOTEMPTY);
	close(fd);
	assert_int_equal(unlink(region), 0);
	assert_int_equal(rmdir(dead), 0); /* nothing else was left */
	kms_session_destroy(&session);
}

static void live_session_is_left_alone(void **state)
{
	struct kms_session first, second, again;
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	assert_int_equal(kms_session_create(&first, "p", 1, NULL), 0);
	touch(first.dir, "api.sock");
	assert_int_equal(kms_session_create(&second, "p", 2, NULL), 0);
	assert_true(exists(first.socket));
	assert_int_equal(kms_session_create(&again, "p", 1, &err), -EBUSY);
	assert_non_null(strstr(err.text, "in use"));
	assert_true(exists(first.socket));
	kms_session_destroy(&second);
	kms_session_destroy(&first);
}

static void description_is_json_whatever_the_names_are(void **state)
{
	struct kms_session session;
	const struct kms_session_info info = {.pid = 1,
					      .program_pid = 2,
					      .program = "a\"b\n",
					      .command = "x \x1b\xff",
					      .started_wall_ns = UINT64_MAX};
	char path[PATH_MAX + 16], want[PATH_MAX + 256];
	char *text;

	(void)state;
	assert_int_equal(kms_session_create(&session, "p", 2, NULL), 0);
	assert_int_equal(kms_session_publish(&session, &info, NULL), 0);
	snprintf(path, sizeof(path), "%s/session.json", session.dir);
	assert_int_equal(kms_read_file(path, 1 << 16, &text, NULL, NULL), 0);
	snprintf(want, sizeof(want),
		 "{\"pid\":1,\"program_pid\":2,\"started_ns\":\"18446744073709551615\","
		 "\"program\":\"a\\\"b\\n\",\"command\":\"x \\u001b\xef\xbf\xbd\",\"file\":\"\","
		 "\"socket\":\"%s\"}\n",
		 session.socket);
	assert_string_equal(text, want);
	free(text);
	snprintf(path, sizeof(path), "%s/session.tmp", session.dir);
	assert_false(exists(path));
	kms_session_destroy(&session);
}

static void description_that_cannot_be_written_is_told(void **state)
{
	struct kms_session session;
	const struct kms_session_info info = {.pid = 1};
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	assert_int_equal(kms_session_create(&session, "p", 2, NULL), 0);
	assert_int_equal(rmdir(session.dir), 0);
	assert_int_equal(kms_session_publish(&session, &info, &err), -ENOENT);
	assert_non_null(strstr(err.text, session.dir));
	kms_session_destroy(&session);
}

/* One process that starts sessions while others clean up; its exit status is its failures. */
static void race(int number)
{
	int failures = 0;

	for (int i = 0; i < ROUNDS; i++) {
		struct kms_session session;

		if (kms_session_create(&session, "racer", number * 1000 + i, NULL) < 0) {
			failures++;
			continue;
		}
		failures += !exists(session.dir) || !exists(session.run_dir);
		if (i % 2)
			kms_session_destroy(&session);
		else {
			close(session.dir_fd); /* as one that was killed */
			close(session.run_fd);
		}
	}
	_exit(failures);
}

static void sessions_that_start_at_once_do_not_clean_each_other_away(void **state)
{
	struct bench *b = *state;
	struct kms_session last;
	pid_t pids[RACERS];
	int status;

	for (int i = 0; i < RACERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			race(i + 1);
	}
	for (int i = 0; i < RACERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(kms_session_create(&last, "last", 1, NULL), 0);
	kms_session_destroy(&last);
	assert_int_equal(rmdir(b->root), 0); /* the last one cleaned up after all */
}

/* Has a folder's lock as somebody who looks at it has: for a moment. */
static pid_t look_at(const char *path)
{
	int told[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe(told), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (flock(fd, LOCK_SH | LOCK_NB) == 0 && write(told[1], &byte, 1) == 1)
			(void)poll(NULL, 0, LOOK_MS);
		_exit(0);
	}
	close(told[1]);
	assert_int_equal(read(told[0], &byte, 1), 1);
	close(told[0]);
	return pid;
}

static void folder_of_a_run_is_locked_also_while_somebody_looks(void **state)
{
	struct kms_session session;
	char path[PATH_MAX];
	int fd;
	pid_t pid;

	(void)state;
	assert_int_equal(kms_session_create(&session, "prog", 4711, NULL), 0);
	assert_int_equal(kms_session_run_folder(&session, "prog", 4712, path, NULL), 0);
	pid = look_at(path);
	fd = kms_session_run_folder_lock(path);
	assert_true(fd >= 0);
	/* one that stays locked is another's */
	assert_int_equal(kms_session_run_folder_lock(path), -EWOULDBLOCK);
	close(fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	kms_session_destroy(&session);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(root_is_the_runtime_folder_if_it_is_ours),
		TEST(root_open_to_others_is_refused),
		TEST(root_of_another_user_is_refused),
		TEST(root_that_is_a_link_or_a_file_is_refused),
		TEST(session_comes_and_goes_with_all_that_is_in_it),
		TEST(name_is_one_harmless_folder_name),
		TEST(long_program_name_leaves_room_for_the_socket),
		TEST(what_a_dead_tracer_left_is_removed),
		TEST(region_of_a_living_process_outlives_its_tracer),
		TEST(live_session_is_left_alone),
		TEST(description_is_json_whatever_the_names_are),
		TEST(description_that_cannot_be_written_is_told),
		TEST(sessions_that_start_at_once_do_not_clean_each_other_away),
		TEST(folder_of_a_run_is_locked_also_while_somebody_looks),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}

/* NOLINTEND(concurrency-mt-unsafe) */
