/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/ram.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tracer/guest/back_ends.h"

static void require(int is_true, const char *what)
{
	if (is_true)
		return;
	perror(what);
	exit(1);
}

static void make(struct test_ram *ram, const struct kms_guest_layout *layout, size_t size)
{
	int fd = memfd_create("kmemscope-test-ram", MFD_CLOEXEC);

	require(fd >= 0 && ftruncate(fd, (off_t)size) == 0, "memfd");
	ram->fd = dup(fd);
	require(ram->fd >= 0, "dup");
	ram->size = size;
	ram->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(ram->bytes != MAP_FAILED, "mmap");
	require(kms_guest_memory_open_file(fd, layout, &ram->memory, NULL) == 0, "open");
}

void test_ram_make(struct test_ram *ram, size_t size)
{
	struct kms_guest_layout layout = {.segments = 1};

	layout.segment[0].bytes = size;
	make(ram, &layout, size);
}

void test_ram_make_parted(struct test_ram *ram, size_t size)
{
	struct kms_guest_layout layout = {.segments = 2};

	layout.segment[0].bytes = TEST_RAM_HOLE;
	layout.segment[1].address = TEST_RAM_HIGH;
	layout.segment[1].bytes = size - TEST_RAM_HOLE;
	layout.segment[1].place = TEST_RAM_HOLE;
	make(ram, &layout, size);
}

void test_ram_drop(struct test_ram *ram)
{
	kms_guest_memory_close(ram->memory);
	(void)munmap(ram->bytes, ram->size); /* it is one */
	(void)close(ram->fd);                /* only in memory */
}
