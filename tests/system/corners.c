/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Corners of the malloc family: sizes that cannot be, overflowing products, odd alignments, and what
 * malloc_usable_size says. Prints what does not hold; 0 if everything does.
 *
 * usage: corners exact|room   usable size is the requested one, or at least that
 */
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FILL = 0x5a,
	ODD_BYTES = 100,
};

static unsigned failed;
static bool exact;

/* The compiler knows that such sizes are too large, and says so. */
static volatile size_t huge[] = {
	SIZE_MAX,           SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1,
	(size_t)PTRDIFF_MAX};

enum { HUGES = sizeof(huge) / sizeof(*huge) };

static void check(bool holds, const char *what, const char *condition, size_t number)
{
	if (holds)
		return;
	failed++;
	printf("not ok: %s (%zx): %s, errno %d\n", what, number, condition, errno);
}

static void check_none(void *got, int error, const char *call, size_t number)
{
	check(got == NULL && errno == error, call, "fails", number);
	free(got);
}

#define CHECK(condition, what, number) check(condition, what, #condition, (size_t)(number))

#define CHECK_NONE(call, error, number)                                                            \
	(errno = 0, check_none(call, error, #call, (size_t)(number)))

static void sizes_that_cannot_be(void)
{
	void *out = &out;

	for (unsigned i = 0; i < HUGES; i++) {
		size_t size = huge[i];

		CHECK_NONE(malloc(size), ENOMEM, size);
		CHECK_NONE(calloc(1, size), ENOMEM, size);
		CHECK_NONE(calloc(size, 1), ENOMEM, size);
		CHECK_NONE(realloc(NULL, size), ENOMEM, size);
		CHECK_NONE(reallocarray(NULL, 1, size), ENOMEM, size);
		CHECK_NONE(aligned_alloc(64, size), ENOMEM, size);
		CHECK_NONE(aligned_alloc(1 << 21, size), ENOMEM, size);
		CHECK_NONE(memalign(8, size), ENOMEM, size);
		CHECK_NONE(valloc(size), ENOMEM, size);
		CHECK_NONE(pvalloc(size), ENOMEM, size);
		errno = E2BIG;
		CHECK(posix_memalign(&out, 64, size) == ENOMEM, "posix_memalign", size);
		CHECK(out == &out && errno == E2BIG, "posix_memalign changes nothing", size);
	}
}

static void products_that_overflow(void)
{
	static volatile size_t half = SIZE_MAX / 2 + 1, root = (size_t)1 << 32;

	CHECK_NONE(calloc(half, 2), ENOMEM, half);
	CHECK_NONE(calloc(2, half), ENOMEM, half);
	CHECK_NONE(calloc(root, root), ENOMEM, root); /* is 0 */
	CHECK_NONE(calloc(root + 1, root), ENOMEM, root);
	CHECK_NONE(reallocarray(NULL, half, 2), ENOMEM, half);
	CHECK_NONE(reallocarray(NULL, root, root), ENOMEM, root);
}

/* A block that cannot grow stays what it was. */
static void blocks_that_cannot_grow(void)
{
	static const size_t sizes[] = {0, 1, ODD_BYTES, 5000, 1 << 20};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		unsigned char *p = malloc(sizes[i]);
		size_t wrong = 0;
		void *moved;

		CHECK(p != NULL, "malloc", sizes[i]);
		if (!p)
			continue;
		memset(p, FILL, sizes[i]);
		for (unsigned h = 0; h < HUGES; h++) {
			void *grown = realloc(p, huge[h]);

			CHECK(!grown && errno == ENOMEM, "realloc", huge[h]);
		}
		moved = reallocarray(p, SIZE_MAX / 2, 3);
		CHECK(!moved && errno == ENOMEM, "reallocarray", 3);
		for (size_t b = 0; b < sizes[i]; b++)
			wrong += p[b] != FILL;
		CHECK(wrong == 0, "a block that could not grow", sizes[i]);
		free(p);
	}
}

static void odd_alignments(void)
{
	static volatile size_t odd[] = {0, 3, 24, 4095, SIZE_MAX};
	static volatile size_t beyond[] = {(size_t)1 << 47, (size_t)1 << 62, SIZE_MAX / 2 + 1};
	void *out = &out;

	for (unsigned i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		CHECK(posix_memalign(&out, odd[i], ODD_BYTES) == EINVAL, "posix_memalign", odd[i]);
	}
	CHECK(posix_memalign(&out, 4, ODD_BYTES) == EINVAL, "posix_memalign", 4);
	CHECK(out == &out, "posix_memalign leaves what it points to", 0);
	for (unsigned i = 0; i < sizeof(beyond) / sizeof(*beyond); i++) {
		CHECK_NONE(aligned_alloc(beyond[i], ODD_BYTES), ENOMEM, beyond[i]);
		CHECK_NONE(memalign(beyond[i] - 1, ODD_BYTES), ENOMEM, beyond[i]);
		CHECK(posix_memalign(&out, beyond[i], 1) == ENOMEM, "posix_memalign", beyond[i]);
	}
	CHECK_NONE(memalign(SIZE_MAX, ODD_BYTES), EINVAL, SIZE_MAX);
	CHECK_NONE(aligned_alloc(SIZE_MAX, ODD_BYTES), EINVAL, SIZE_MAX);
}

/* What the owner may use, and can. */
static void check_usable(unsigned char *p, size_t size, size_t align, const char *what)
{
	size_t usable = malloc_usable_size(p);

	CHECK(p && (uintptr_t)p % align == 0, what, size);
	if (!p)
		return;
	CHECK(exact ? usable == size : usable >= size, what, usable);
	memset(p, FILL, usable);
	free(p);
}

static void usable_sizes(void)
{
	static const size_t sizes[] = {0,    1,    8,     15,    16,    17,     100,    1007,
				       1008, 4094, 65533, 65534, 65536, 100000, 1 << 20};

	CHECK(malloc_usable_size(NULL) == 0, "malloc_usable_size", 0);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t size = sizes[i];
		unsigned char *p = malloc(size);

		check_usable(p, size, 16, "malloc");
		check_usable(calloc(1, size), size, 16, "calloc");
		for (size_t align = 1; align <= 1 << 21; align *= 8)
			check_usable(aligned_alloc(align, size), size, align, "aligned_alloc");
		check_usable(memalign(48, size), size, 64, "memalign");
		check_usable(aligned_alloc(24, size), size, 32,
			     "aligned_alloc of an odd alignment");
		check_usable(valloc(size), size, 4096, "valloc");
		p = malloc(size);
		if (size)
			check_usable(realloc(p, size / 2 + 1), size / 2 + 1, 16, "realloc");
		else
			free(p);
	}
	check_usable(pvalloc(1), 4096, 4096, "pvalloc");
	check_usable(reallocarray(NULL, 7, 9), 63, 16, "reallocarray");
}

static void nothing_is_a_block_of_its_own(void)
{
	void *a = malloc(0), *b = malloc(0), *c = calloc(0, 8), *d = aligned_alloc(4096, 0);
	void *moved;

	CHECK(a && b && c && d && a != b && b != c && c != d, "malloc(0)", 0);
	free(b);
	free(c);
	free(d);
	errno = E2BIG;
	moved = realloc(a, 0);
	CHECK(moved == NULL, "realloc to nothing", 0);
	free(NULL);
	CHECK(errno == E2BIG, "free leaves errno", 0);
}

int main(int argc, char **argv)
{
	exact = argc > 1 && strcmp(argv[1], "exact") == 0;
	sizes_that_cannot_be();
	products_that_overflow();
	blocks_that_cannot_grow();
	odd_alignments();
	usable_sizes();
	nothing_is_a_block_of_its_own();
	printf("%u failed\n", failed);
	return failed != 0;
}
