/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blind KIND: mistakes that are documented as not caught (docs/detection.md). The program ends with
 * 0 and nothing is reported; when one of them is caught one day, the table changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/detect/front.h"

enum {
	BYTES = 100,
};

/* Without guard a read leaves no trace. */
static NAMED int read_overflow(void)
{
	volatile char *p = FRONT_ALLOC(BYTES);

	(void)p[BYTES];
	FRONT_FREE((void *)p, BYTES);
	return 0;
}

/* Jumps over the two bytes of the redzone, and stays within the block's slot. */
static NAMED int overflow_beyond_redzone(void)
{
	volatile char *p = FRONT_ALLOC(BYTES);

	p[BYTES + 2] = 0;
	FRONT_FREE((void *)p, BYTES);
	return 0;
}

/* Without guard the memory of a freed block can still be read. */
static NAMED int read_after_free(void)
{
	volatile char *p = FRONT_ALLOC(BYTES);

	FRONT_FREE((void *)p, BYTES);
	(void)p[0];
	return 0;
}

/* Right behind the block but before the page's end: the padding is checked at free, for writes. */
static NAMED int read_padding(void)
{
	volatile char *p = FRONT_ALLOC(BYTES + 1);

	(void)p[BYTES + 1];
	FRONT_FREE((void *)p, BYTES + 1);
	return 0;
}

/* The kernel does not fault as a program does: the call says EFAULT. */
static NAMED int system_call(void)
{
	char *p = FRONT_ALLOC(BYTES);
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	FRONT_FREE(p, BYTES);
	n = read(fd, hidden(p), BYTES);
	close(fd);
	return n == -1 && errno == EFAULT ? 0 : 1;
}

static const struct {
	const char *name;
	int (*run)(void);
} kinds[] = {
	{"read_overflow",           read_overflow          },
        {"overflow_beyond_redzone", overflow_beyond_redzone},
	{"read_after_free",         read_after_free        },
        {"read_padding",            read_padding           },
	{"system_call",             system_call            },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(kinds[i].name, argv[1])) {
			puts("{}");
			return kinds[i].run();
		}
	}
	return 2;
}
