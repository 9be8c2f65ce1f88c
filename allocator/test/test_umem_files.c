/* SPDX-License-Identifier: BSD-2-Clause */
/* Files behind ddi_umem buffers: many buffers, few descriptors; export, free and fork with both kinds. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator/kmem.h"
#include "allocator/test/fault_log.h"
#include "allocator/umem.h"
#include "base/test/unit.h"

#define PAGE ((size_t)4096)

enum {
	THOUSAND = 1000,
	FEW_FILES = 64,
	DEADLINE_S = 20,
};

static void all_bytes_are_zero(const unsigned char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(p[i], 0);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < FEW_FILES; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static struct rlimit limit_files(rlim_t n)
{
	struct rlimit before, limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return before;
}

/* Somebody else's view of a buffer: one byte of it is read, and another one written. */
static int exchange(ddi_umem_cookie_t cookie, int write)
{
	struct ddi_umem_map map;
	unsigned char *q;
	int seen;

	assert_int_equal(ddi_umem_export(cookie, PROT_READ | PROT_WRITE, &map), 0);
	assert_int_equal(map.bytes, PAGE);
	q = mmap(NULL, map.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, (off_t)map.offset);
	assert_true(q != MAP_FAILED);
	close(map.fd);
	seen = q[0];
	q[1] = (unsigned char)write;
	munmap(q, PAGE);
	return seen;
}

static void a_thousand_buffers_leave_the_program_its_descriptors(void **state)
{
	struct rlimit before = limit_files(FEW_FILES);
	static ddi_umem_cookie_t cookie[THOUSAND];
	static unsigned char *p[THOUSAND];
	unsigned used = open_descriptors();

	(void)state;
	for (int i = 0; i < THOUSAND; i++) {
		p[i] = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie[i]);
		assert_non_null(p[i]);
		all_bytes_are_zero(p[i], PAGE);
		p[i][0] = (unsigned char)i;
	}
	assert_true(open_descriptors() <= used + FEW_FILES / 4 + 1);
	for (int twice = 1; twice <= 2; twice++) {
		for (int i = 0; i < THOUSAND; i++) {
			assert_int_equal(exchange(cookie[i], i * twice % 256), i % 256);
			assert_int_equal(p[i][1], i * twice % 256);
		}
	}
	for (int i = 0; i < THOUSAND; i++)
		ddi_umem_free(cookie[i]);
	for (int i = 0; i < FEW_FILES; i++) {
		p[i] = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie[i]);
		all_bytes_are_zero(p[i], PAGE);
	}
	for (int i = 0; i < FEW_FILES; i++)
		ddi_umem_free(cookie[i]);
	assert_true(open_descriptors() <= used + 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	fault_log_expect_none();
}

/* Bytes of memory behind the file of a buffer. */
static uint64_t file_memory(const struct kms_umem *umem)
{
	struct stat now;

	assert_int_equal(fstat(umem->shared.file->fd, &now), 0);
	return (uint64_t)now.st_blocks * 512;
}

static bool has_own_file(const struct kms_umem *umem)
{
	return umem->shared.file == &umem->shared.own;
}

static void
a_freed_piece_of_a_common_file_gives_its_memory_back_unless_it_was_exported(void **state)
{
	struct rlimit before = limit_files(3 + open_descriptors());
	ddi_umem_cookie_t own[FEW_FILES], kept, cookie, exported;
	uint64_t memory;
	int n = 0;

	(void)state;
	/* beyond a quarter of so few */
	while (ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &kept) && has_own_file(kept))
		own[n++] = kept;
	memset(ddi_umem_alloc(16 * PAGE, DDI_UMEM_SLEEP, &cookie), 1, 16 * PAGE);
	memset(ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &exported), 1, PAGE);
	(void)exchange(exported, 1);
	memory = file_memory(kept);
	ddi_umem_free(exported);
	assert_int_equal(file_memory(kept), memory);
	ddi_umem_free(cookie);
	assert_int_equal(file_memory(kept), memory - 16 * PAGE);
	ddi_umem_free(kept);
	while (n > 0)
		ddi_umem_free(own[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	fault_log_expect_none();
}

/* Inherited buffers are shared, new ones are not: whichever file they are in. */
static int new_ones_after_fork(const unsigned char *inherited, unsigned char *shared)
{
	ddi_umem_cookie_t cookie;

	for (int i = 0; i < FEW_FILES; i++) {
		unsigned char *p = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie);

		if (!p || p[0])
			return 1;
		memset(p, 0xcc, PAGE);
	}
	shared[1] = 1;
	while (__atomic_load_n(&shared[2], __ATOMIC_ACQUIRE) == 0)
		sched_yield();
	return inherited[0] == 0x11 && exchange(cookie, 0) == 0xcc ? 0 : 2;
}

static void buffers_made_after_a_fork_are_not_shared_with_it(void **state)
{
	struct rlimit before = limit_files(FEW_FILES);
	static ddi_umem_cookie_t cookie[FEW_FILES], later[FEW_FILES];
	static unsigned char *p[FEW_FILES];
	int status;
	pid_t pid;

	(void)state;
	for (int i = 0; i < FEW_FILES; i++) {
		p[i] = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie[i]);
		memset(p[i], 0x11, PAGE);
	}
	p[FEW_FILES - 1][2] = 0;
	pid = fork();
	if (pid == 0) {
		alarm(DEADLINE_S);
		_exit(new_ones_after_fork(p[FEW_FILES - 2], p[FEW_FILES - 1]));
	}
	/* freed here, what the child inherited stays */
	ddi_umem_free(cookie[FEW_FILES - 2]);
	for (int i = 0; i < FEW_FILES; i++) {
		unsigned char *q = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &later[i]);

		all_bytes_are_zero(q, PAGE);
		memset(q, 0xdd, PAGE);
	}
	__atomic_store_n(&p[FEW_FILES - 1][2], 1, __ATOMIC_RELEASE);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(p[FEW_FILES - 1][1], 1);
	for (int i = 0; i < FEW_FILES; i++) {
		assert_int_equal(exchange(later[i], 0), 0xdd);
		ddi_umem_free(later[i]);
		if (i != FEW_FILES - 2)
			ddi_umem_free(cookie[i]);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	fault_log_expect_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thousand_buffers_leave_the_program_its_descriptors),
		cmocka_unit_test(
			a_freed_piece_of_a_common_file_gives_its_memory_back_unless_it_was_exported),
		cmocka_unit_test(buffers_made_after_a_fork_are_not_shared_with_it),
	};

	return cmocka_run_group_tests(tests, fault_log_setup, NULL);
}
