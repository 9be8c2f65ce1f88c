/*
 * Files and descriptors, in a folder of the test's own. read, pread and write are wrapped: they can
 * be interrupted and can do less than asked, as signals and pipes make them do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/test/unit.h"

/* What the wrapped calls do. */
static struct {
	bool clumsy;   /* every other call is interrupted, the others move 3 bytes at most */
	int fail_with; /* errno of the next call, 0: none */
	unsigned int calls;
	bool no_memory;
} wrapped;

ssize_t __real_read(int fd, void *bytes, size_t n);
ssize_t __real_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __real_write(int fd, const void *bytes, size_t n);
void *__real_realloc(void *ptr, size_t n);
ssize_t __wrap_read(int fd, void *bytes, size_t n);
ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
void *__wrap_realloc(void *ptr, size_t n);

/* How many of n bytes this call may move; -1 and errno if it fails. */
static ssize_t share(size_t n)
{
	if (wrapped.fail_with) {
		errno = wrapped.fail_with;
		wrapped.fail_with = 0;
		return -1;
	}
	if (!wrapped.clumsy)
		return (ssize_t)n;
	if (wrapped.calls++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	return n < 3 ? (ssize_t)n : 3;
}

ssize_t __wrap_read(int fd, void *bytes, size_t n)
{
	ssize_t part = share(n);

	return part < 0 ? -1 : __real_read(fd, bytes, (size_t)part);
}

ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset)
{
	ssize_t part = share(n);

	return part < 0 ? -1 : __real_pread(fd, bytes, (size_t)part, offset);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
	ssize_t part = share(n);

	return part < 0 ? -1 : __real_write(fd, bytes, (size_t)part);
}

void *__wrap_realloc(void *ptr, size_t n)
{
	return wrapped.no_memory ? NULL : __real_realloc(ptr, n);
}

/* The test's folder, and a path in it. */
struct place {
	char dir[64];
	char path[128];
};

static int enter(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		return -1;
	(void)snprintf(place->dir, sizeof(place->dir), "/tmp/kms-test-io.XXXXXX"); /* fits */
	if (!mkdtemp(place->dir)) {
		free(place);
		return -1;
	}
	(void)snprintf(place->path, sizeof(place->path), "%s/x", place->dir); /* fits */
	memset(&wrapped, 0, sizeof(wrapped));
	*state = place;
	return 0;
}

static int leave(void **state)
{
	struct place *place = *state;

	(void)unlink(place->path); /* a file, a folder, or not there */
	(void)rmdir(place->path);
	if (rmdir(place->dir))
		return -1;
	free(place);
	return 0;
}

static void put_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void transfers_are_whole_in_spite_of_signals(void **state)
{
	const struct place *place = *state;
	const char text[] = "a text of more than three bytes";
	char back[64] = "";
	int fd = open(place->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	wrapped.clumsy = true;
	assert_int_equal(kms_write_full(fd, text, sizeof(text)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(kms_read_full(fd, back, sizeof(text)), sizeof(text));
	assert_string_equal(back, text);
	memset(back, 0, sizeof(back));
	assert_int_equal(kms_pread_full(fd, back, 4, 2), 4);
	assert_string_equal(back, "text");
	/* more than there is: what there is */
	assert_int_equal(kms_pread_full(fd, back, sizeof(back), 2), sizeof(text) - 2);
	assert_int_equal(kms_pread_full(fd, back, 4, 1000), 0);
	assert_int_equal(kms_read_full(fd, back, sizeof(back)), 0);
	assert_int_equal(kms_write_full(fd, text, 0), 0);
	assert_int_equal(close(fd), 0);
}

static void failed_transfers_say_why(void **state)
{
	const struct place *place = *state;
	char byte;
	int fd = open(place->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	wrapped.fail_with = EIO;
	assert_int_equal(kms_read_full(fd, &byte, 1), -EIO);
	wrapped.fail_with = EIO;
	assert_int_equal(kms_pread_full(fd, &byte, 1, 0), -EIO);
	wrapped.fail_with = ENOSPC;
	assert_int_equal(kms_write_full(fd, "x", 1), -ENOSPC);
	assert_int_equal(kms_pread_full(fd, &byte, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(kms_pread_full(fd, &byte, 1, INT64_MAX), -EINVAL);
	assert_int_equal(close(fd), 0);
	assert_int_equal(kms_read_full(fd, &byte, 1), -EBADF);
	assert_int_equal(kms_write_full(fd, "x", 1), -EBADF);
}

static void file_is_read_whole(void **state)
{
	const struct place *place = *state;
	struct kms_err err = KMS_ERR_INIT;
	char *text = NULL;
	size_t n = 0;

	put_file(place->path, "content");
	assert_int_equal(kms_read_file(place->path, 100, &text, &n, &err), 0);
	assert_string_equal(text, "content");
	assert_int_equal(n, 7);
	free(text);
	assert_int_equal(kms_read_file(place->path, SIZE_MAX, &text, NULL, NULL), 0);
	assert_string_equal(text, "content");
	free(text);
	put_file(place->path, "");
	assert_int_equal(kms_read_file(place->path, 0, &text, &n, &err), 0);
	assert_string_equal(text, "");
	assert_int_equal(n, 0);
	free(text);
}

static void file_of_many_pieces_is_read_whole(void **state)
{
	const struct place *place = *state;
	static const size_t sizes[] = {4095, 4096, 4097, 8192, 100000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *text = calloc(1, sizes[i] + 1);
		char *back = NULL;
		size_t n = 0;

		assert_non_null(text);
		for (size_t k = 0; k < sizes[i]; k++)
			text[k] = (char)('a' + k % 23);
		put_file(place->path, text);
		assert_int_equal(kms_read_file(place->path, sizes[i], &back, &n, NULL), 0);
		assert_int_equal(n, sizes[i]);
		assert_string_equal(back, text);
		free(back);
		assert_int_equal(kms_read_file(place->path, sizes[i] - 1, &back, &n, NULL), -EFBIG);
		free(text);
	}
}

static void file_without_a_size_is_read_whole(void **state)
{
	char *text = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(kms_read_file("/proc/self/maps", 1 << 20, &text, &n, NULL), 0);
	assert_true(n > 0);
	assert_non_null(strstr(text, "[stack]"));
	free(text);
}

static void file_over_the_limit_is_refused(void **state)
{
	const struct place *place = *state;
	struct kms_err err = KMS_ERR_INIT;
	char *text = NULL;

	put_file(place->path, "12345");
	assert_int_equal(kms_read_file(place->path, 4, &text, NULL, &err), -EFBIG);
	assert_null(text);
	assert_string_equal(err.text, "longer than 4 bytes");
	assert_string_equal(err.subject, place->path);
	assert_int_equal(kms_read_file(place->path, 5, &text, NULL, &err), 0);
	free(text);
}

static void what_is_no_file_is_refused(void **state)
{
	const struct place *place = *state;
	struct kms_err err = KMS_ERR_INIT;
	char *text = NULL;

	assert_int_equal(kms_read_file(place->path, 9, &text, NULL, &err), -ENOENT);
	assert_string_equal(err.text, "cannot open: No such file or directory");
	assert_int_equal(kms_read_file(place->dir, 9, &text, NULL, &err), -EISDIR);
	assert_int_equal(kms_read_file("/dev/zero", 9, &text, NULL, &err), -EINVAL);
	assert_string_equal(err.subject, "/dev/zero");
	/* would wait for a writer for ever */
	assert_int_equal(mkfifo(place->path, 0600), 0);
	assert_int_equal(kms_read_file(place->path, 9, &text, NULL, &err), -EINVAL);
	assert_null(text);
}

static void failing_read_or_memory_is_reported(void **state)
{
	const struct place *place = *state;
	struct kms_err err = KMS_ERR_INIT;
	char *text = NULL;

	put_file(place->path, "12345");
	wrapped.fail_with = EIO;
	assert_int_equal(kms_read_file(place->path, 9, &text, NULL, &err), -EIO);
	assert_string_equal(err.text, "cannot read: Input/output error");
	wrapped.no_memory = true;
	assert_int_equal(kms_read_file(place->path, 9, &text, NULL, &err), -ENOMEM);
	wrapped.no_memory = false;
	assert_null(text);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void file_is_replaced_whole_or_not_at_all(void **state)
{
	struct place *place = *state;
	struct kms_err err = KMS_ERR_INIT;
	char *text;
	size_t n;

	assert_int_equal(kms_replace_file(place->path, "one", 3, &err), 0);
	assert_int_equal(kms_replace_file(place->path, "second", 6, &err), 0);
	wrapped.fail_with = ENOSPC;
	assert_int_equal(kms_replace_file(place->path, "third", 5, &err), -ENOSPC);
	assert_int_equal(kms_read_file(place->path, 100, &text, &n, &err), 0);
	assert_int_equal(n, 6);
	assert_string_equal(text, "second");
	free(text);
	assert_int_equal(kms_replace_file("/nowhere/kept", "x", 1, &err), -ENOENT);
}

static void private_folder_is_made_and_found_again(void **state)
{
	const struct place *place = *state;
	struct kms_err err = KMS_ERR_INIT;
	mode_t mask = umask(0777);
	int ret = kms_mkdir_private(place->path, &err);

	(void)umask(mask);
	assert_int_equal(ret, 0);
	assert_int_equal(mode_of(place->path), 0700);
	assert_int_equal(kms_mkdir_private(place->path, &err), 0);
	assert_int_equal(err.code, 0);
}

static void folder_open_to_others_is_refused(void **state)
{
	const struct place *place = *state;
	static const mode_t modes[] = {0755, 0710, 0701};
	struct kms_err err = KMS_ERR_INIT;

	assert_int_equal(mkdir(place->path, 0700), 0);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(place->path, modes[i]), 0);
		assert_int_equal(kms_mkdir_private(place->path, &err), -EACCES);
		assert_int_equal(mode_of(place->path), modes[i]);
	}
	assert_string_equal(err.text, "open to other users (mode 701); chmod 700 it");
	assert_string_equal(err.subject, place->path);
}

static void folder_of_another_user_is_refused(void **state)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	if (geteuid() == 0) {
		const struct place *place = *state;

		assert_int_equal(mkdir(place->path, 0700), 0);
		assert_int_equal(chown(place->path, 65534, 65534), 0);
		assert_int_equal(kms_mkdir_private(place->path, &err), -EPERM);
		assert_string_equal(err.text, "belongs to user 65534, not to user 0");
	} else {
		assert_int_equal(kms_mkdir_private("/", &err), -EPERM);
	}
}

static void link_or_file_in_its_place_is_refused(void **state)
{
	const struct place *place = *state;
	struct kms_err err = KMS_ERR_INIT;

	assert_int_equal(symlink(place->dir, place->path), 0);
	assert_int_equal(kms_mkdir_private(place->path, &err), -ENOTDIR);
	assert_int_equal(unlink(place->path), 0);
	put_file(place->path, "");
	assert_int_equal(kms_mkdir_private(place->path, &err), -ENOTDIR);
	assert_int_equal(kms_mkdir_private("/no/such/parent", &err), -ENOENT);
	assert_string_equal(err.subject, "/no/such/parent");
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_PLACE(transfers_are_whole_in_spite_of_signals),
		IN_PLACE(failed_transfers_say_why),
		IN_PLACE(file_is_read_whole),
		IN_PLACE(file_of_many_pieces_is_read_whole),
		IN_PLACE(file_without_a_size_is_read_whole),
		IN_PLACE(file_over_the_limit_is_refused),
		IN_PLACE(what_is_no_file_is_refused),
		IN_PLACE(failing_read_or_memory_is_reported),
		IN_PLACE(file_is_replaced_whole_or_not_at_all),
		IN_PLACE(private_folder_is_made_and_found_again),
		IN_PLACE(folder_open_to_others_is_refused),
		IN_PLACE(folder_of_another_user_is_refused),
		IN_PLACE(link_or_file_in_its_place_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
