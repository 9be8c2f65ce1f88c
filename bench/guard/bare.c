/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/guard/bare.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

enum {
	BACKEND_UFFD = 1,
	BACKEND_MARKERS = 2,
	BACKEND_MPROTECT = 3,
	PAGE_BYTES = 4096,
	SLOT_BYTES = 2 * PAGE_BYTES, /* the block's page and the one behind it */
	SLOTS = 30208,
};

/* A quarter faster than UFFDIO_ZEROPAGE, whose first write costs a page fault. */
static const char zeros[PAGE_BYTES] __attribute__((aligned(4096)));

static const char *const names[] = {"auto", "uffd", "markers", "mprotect"};

const char *bare_name(unsigned backend)
{
	return backend < sizeof(names) / sizeof(names[0]) ? names[backend] : "unknown";
}

static int open_uffd(struct bare *bare)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_SIGBUS};
	struct uffdio_register area = {
		.range = {.start = (uintptr_t)bare->base, .len = bare->slots * SLOT_BYTES},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	bare->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (bare->fd < 0 || ioctl(bare->fd, UFFDIO_API, &api))
		return -1;
	return ioctl(bare->fd, UFFDIO_REGISTER, &area);
}

int bare_init(struct bare *bare, unsigned backend)
{
	int protection = backend == BACKEND_MPROTECT ? PROT_NONE : PROT_READ | PROT_WRITE;

	*bare = (struct bare){.backend = backend, .slots = SLOTS, .fd = -1};
	bare->base = mmap(NULL, bare->slots * SLOT_BYTES, protection,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bare->base == MAP_FAILED)
		return -1;
	if (backend == BACKEND_UFFD)
		return open_uffd(bare);
	if (backend == BACKEND_MARKERS)
		return madvise(bare->base, bare->slots * SLOT_BYTES, MADV_GUARD_INSTALL);
	return backend == BACKEND_MPROTECT ? 0 : -1;
}

void bare_deinit(struct bare *bare)
{
	if (bare->fd >= 0)
		close(bare->fd);
	munmap(bare->base, bare->slots * SLOT_BYTES);
}

static char *slot(const struct bare *bare, uint64_t i)
{
	return bare->base + i % bare->slots * SLOT_BYTES;
}

/* A call that fails would make the measurement worthless. */
static void must(int rc)
{
	if (rc)
		abort();
}

char *bare_open(struct bare *bare, uint64_t i)
{
	char *page = slot(bare, i);
	struct uffdio_copy copy = {
		.dst = (uintptr_t)page,
		.src = (uintptr_t)zeros,
		.len = PAGE_BYTES,
	};

	switch (bare->backend) {
	case BACKEND_UFFD:
		must(ioctl(bare->fd, UFFDIO_COPY, &copy));
		break;
	case BACKEND_MARKERS:
		must(madvise(page, PAGE_BYTES, MADV_GUARD_REMOVE));
		break;
	default:
		must(mprotect(page, PAGE_BYTES, PROT_READ | PROT_WRITE));
	}
	return page;
}

void bare_shut(struct bare *bare, uint64_t i)
{
	char *page = slot(bare, i);

	switch (bare->backend) {
	case BACKEND_UFFD:
		must(madvise(page, PAGE_BYTES, MADV_DONTNEED));
		break;
	case BACKEND_MARKERS:
		must(madvise(page, PAGE_BYTES, MADV_GUARD_INSTALL));
		break;
	default:
		/* In this order the page is flushed from the TLB only once. */
		must(madvise(page, PAGE_BYTES, MADV_DONTNEED));
		must(mprotect(page, PAGE_BYTES, PROT_NONE));
	}
}
