/*
 * Clock, list, hash and scope-exit tools: the headers that are mostly inline.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/test/unit.h"

static void system_clock_moves_forward_only(void **state)
{
	const struct kms_clock *clock = kms_clock_system();
	uint64_t start = kms_clock_now(clock);
	uint64_t last = start;

	(void)state;
	assert_true(start > 0);
	while (last == start) {
		uint64_t now = kms_clock_now(clock);

		assert_true(now >= last);
		last = now;
	}
}

static void fake_clock_stands_until_moved(void **state)
{
	struct kms_clock_fake fake;

	(void)state;
	kms_clock_fake_init(&fake, 100);
	assert_int_equal(kms_clock_now(&fake.clock), 100);
	assert_int_equal(kms_clock_now(&fake.clock), 100);
	kms_clock_fake_advance(&fake, 50);
	assert_int_equal(kms_clock_now(&fake.clock), 150);
}

struct item {
	int number;
	struct kms_list link;
};

static struct item *item_of(struct kms_list *link)
{
	return KMS_CONTAINER_OF(link, struct item, link);
}

/* Compares a list's numbers, both ways, with those expected. */
static void expect_numbers(const struct kms_list *head, const int *numbers, size_t n)
{
	size_t i = 0;
	const struct kms_list *back = head;

	for (struct kms_list *it = kms_list_first(head); it; it = kms_list_next(head, it)) {
		assert_true(i < n);
		assert_int_equal(item_of(it)->number, numbers[i++]);
		assert_ptr_equal(it->next->prev, it);
	}
	assert_int_equal(i, n);
	for (i = 0; i < n; i++)
		back = back->prev;
	assert_ptr_equal(back->prev, head);
}

static void list_keeps_order(void **state)
{
	struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
	struct kms_list head;

	(void)state;
	kms_list_init(&head);
	assert_true(kms_list_is_empty(&head));
	assert_null(kms_list_first(&head));
	assert_null(kms_list_last(&head));
	assert_null(kms_list_pop_front(&head));
	kms_list_push_back(&head, &items[1].link);
	kms_list_push_back(&head, &items[3].link);
	kms_list_push_front(&head, &items[0].link);
	kms_list_insert_after(&items[1].link, &items[2].link);
	expect_numbers(&head, (const int[]){0, 1, 2, 3}, 4);
	assert_ptr_equal(kms_list_last(&head), &items[3].link);
	kms_list_remove(&items[2].link);
	assert_true(kms_list_is_empty(&items[2].link));
	kms_list_remove(&items[2].link); /* once more does nothing */
	expect_numbers(&head, (const int[]){0, 1, 3}, 3);
	assert_int_equal(item_of(kms_list_pop_front(&head))->number, 0);
	expect_numbers(&head, (const int[]){1, 3}, 2);
}

static void lists_join(void **state)
{
	struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
	struct kms_list to;
	struct kms_list from;

	(void)state;
	kms_list_init(&to);
	kms_list_init(&from);
	kms_list_append_all(&to, &from);
	assert_true(kms_list_is_empty(&to));
	kms_list_push_back(&from, &items[0].link);
	kms_list_push_back(&from, &items[1].link);
	kms_list_append_all(&to, &from);
	expect_numbers(&to, (const int[]){0, 1}, 2);
	assert_true(kms_list_is_empty(&from));
	kms_list_push_back(&from, &items[2].link);
	kms_list_push_back(&from, &items[3].link);
	kms_list_append_all(&to, &from);
	expect_numbers(&to, (const int[]){0, 1, 2, 3}, 4);
}

/* How often each output bit flips with each input bit, over many inputs: near half the times. */
static void hash_spreads_each_bit(void **state)
{
	enum { N_INPUTS = 4096 };

	uint64_t x = 1;
	static unsigned int flips[64][64];

	(void)state;
	memset(flips, 0, sizeof(flips));
	for (int i = 0; i < N_INPUTS; i++) {
		/* small, regular numbers are what tables get: addresses, indices */
		x = (uint64_t)i * 16;
		for (int in = 0; in < 64; in++) {
			uint64_t diff = kms_hash_u64(x) ^ kms_hash_u64(x ^ UINT64_C(1) << in);

			for (int out = 0; out < 64; out++)
				flips[in][out] += (unsigned int)(diff >> out & 1);
		}
	}
	/* standard deviation is 32: eight of them are far from any chance */
	for (int in = 0; in < 64; in++)
		for (int out = 0; out < 64; out++)
			assert_in_range(flips[in][out], N_INPUTS / 2 - 256, N_INPUTS / 2 + 256);
}

static void hash_of_bytes_sees_every_byte(void **state)
{
	unsigned char bytes[40] = {0};

	(void)state;
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		uint64_t hash = kms_hash_bytes(bytes, n, 1);

		assert_int_equal(kms_hash_bytes(bytes, n, 1), hash);
		assert_int_not_equal(kms_hash_bytes(bytes, n, 2), hash);
		if (n > 0)
			assert_int_not_equal(kms_hash_bytes(bytes, n - 1, 1), hash);
		for (size_t i = 0; i < n; i++) {
			bytes[i] ^= 1;
			assert_int_not_equal(kms_hash_bytes(bytes, n, 1), hash);
			bytes[i] ^= 1;
		}
	}
	assert_int_equal(kms_hash_bytes(NULL, 0, 1), kms_hash_bytes(bytes, 0, 1));
}

static void hash_join_minds_the_order(void **state)
{
	(void)state;
	assert_int_not_equal(kms_hash_join(kms_hash_join(0, 1), 2),
			     kms_hash_join(kms_hash_join(0, 2), 1));
	assert_int_not_equal(kms_hash_join(0, 0), 0);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void descriptor_closes_with_its_scope(void **state)
{
	int closed;
	int taken;

	(void)state;
	{
		KMS_AUTO_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		KMS_AUTO_CLOSE int kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
		KMS_AUTO_CLOSE int none = -1;

		assert_true(is_open(fd));
		closed = fd;
		taken = kms_take_fd(&kept);
		assert_int_equal(kept, -1);
		(void)none;
		errno = EXDEV;
	}
	assert_int_equal(errno, EXDEV);
	assert_false(is_open(closed));
	assert_true(is_open(taken));
	(void)close(taken); /* only read from */
}

static void file_and_folder_close_with_their_scope(void **state)
{
	int fd_file;
	int fd_dir;

	(void)state;
	{
		KMS_AUTO_FCLOSE FILE *file = fopen("/dev/null", "re");
		KMS_AUTO_CLOSEDIR DIR *dir = opendir("/");
		KMS_AUTO_FCLOSE FILE *no_file = NULL;
		KMS_AUTO_CLOSEDIR DIR *no_dir = NULL;

		fd_file = fileno(file);
		fd_dir = dirfd(dir);
		assert_true(is_open(fd_file));
		assert_true(is_open(fd_dir));
		(void)no_file;
		(void)no_dir;
	}
	assert_false(is_open(fd_file));
	assert_false(is_open(fd_dir));
}

static void taken_pointer_outlives_its_scope(void **state)
{
	char *outside;

	(void)state;
	{
		KMS_AUTO_FREE char *text = strdup("text");
		KMS_AUTO_FREE char *freed = strdup("freed here, or the leak sanitizer tells");

		assert_non_null(freed);
		outside = kms_take_ptr(&text);
		assert_null(text);
	}
	assert_string_equal(outside, "text");
	free(outside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(system_clock_moves_forward_only),
		cmocka_unit_test(fake_clock_stands_until_moved),
		cmocka_unit_test(list_keeps_order),
		cmocka_unit_test(lists_join),
		cmocka_unit_test(hash_spreads_each_bit),
		cmocka_unit_test(hash_of_bytes_sees_every_byte),
		cmocka_unit_test(hash_join_minds_the_order),
		cmocka_unit_test(descriptor_closes_with_its_scope),
		cmocka_unit_test(file_and_folder_close_with_their_scope),
		cmocka_unit_test(taken_pointer_outlives_its_scope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
