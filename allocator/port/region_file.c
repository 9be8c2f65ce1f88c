/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port/region_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "allocator/port.h"
#include "allocator/port/process.h"
#include "allocator/region.h"
#include "allocator/text.h"

enum {
	COMMAND_BYTES = 1024,
	PATH_BYTES = 1024,
	REGION_PART = 8, /* of RLIMIT_AS */
	RINGS_MIN = 8,
	NODES_MIN = 1 << 16,
};

/* The folder of our region, "" none: a process has one heap. */
static char the_folder[PATH_BYTES];

/* "FOLDER/PREFIX PID-RANDOM.kmr"; false if it is too long. */
static bool file_path(const char *folder, const char *prefix, uint64_t random,
		      char path[PATH_BYTES])
{
	struct kms_text name = {0};
	size_t length = strlen(folder);

	kms_text_add(&name, "/");
	kms_text_add(&name, prefix);
	kms_text_number(&name, kms_port_pid(), 10, 1);
	kms_text_add(&name, "-");
	kms_text_number(&name, random, 16, 16);
	kms_text_add(&name, ".kmr");
	if (length + name.length + 1 > PATH_BYTES)
		return false;
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): the name behind it is */
	memcpy(path, folder, length);
	memcpy(path + length, name.buffer, name.length + 1);
	return true;
}

/* A file of @bytes for a region in the run's folder, @path: NULL with errno set if that is not possible. */
static void *map_file(const char *path, uint64_t bytes)
{
	void *p = MAP_FAILED;
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW,
		      0600); /* for us alone */

	if (fd < 0)
		return NULL;
	if (ftruncate(fd, (off_t)bytes) == 0)
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		return p;
	unlink(path); /* else the tracer would wait for it to become a region */
	return NULL;
}

/* Undoes map_file. */
static void unmap_file(const char *path, void *memory, uint64_t bytes)
{
	(void)munmap(memory, bytes);
	unlink(path);
}

/* A file that comes and goes where the tracer sees what appears. Without memory of the folder, or
 * where it cannot be reached any more, the tracer's next look has to do. */
void kms_port_tell_tracer(void)
{
	char path[PATH_BYTES];
	int saved_errno = errno;
	int fd;

	if (!the_folder[0] || !file_path(the_folder, KMS_STOP_PREFIX, kms_port_now_ns(), path))
		return;
	/* not by libc's open, which is a point at which a thread may be cancelled */
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC,
			  0600);
	if (fd >= 0) {
		syscall(SYS_close, fd);
		syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	}
	errno = saved_errno;
}

/* What the process's limits leave for the region. Beyond RLIMIT_FSIZE a file does not only fail to
 * grow: the attempt is a deadly signal. */
static uint64_t budget(void)
{
	struct rlimit limit;
	uint64_t bytes = UINT64_MAX;

	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		bytes = limit.rlim_cur / REGION_PART;
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes)
		bytes = limit.rlim_cur;
	return bytes;
}

/* With less room fewer rings and fewer stacks will do. False: there is too little. */
static bool plan_within(struct kms_region_plan *plan, uint64_t bytes)
{
	while (kms_region_bytes(plan) > bytes && plan->rings > RINGS_MIN)
		plan->rings /= 2;
	while (kms_region_bytes(plan) > bytes && plan->nodes > NODES_MIN)
		plan->nodes /= 2;
	return kms_region_bytes(plan) <= bytes;
}

/* What the tracer writes is read-only for the program: a stray store must not look like a
 * request. */
static void protect_tracer_pages(struct kms_heap *heap)
{
	static const enum kms_section_kind kinds[] = {KMS_SEC_TRACER, KMS_SEC_REQUEST};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct kms_section *s = &heap->section[kinds[i]];
		uint64_t bytes = (s->entries * s->entry_bytes + KMS_PAGE_BYTES - 1) &
				 ~(uint64_t)(KMS_PAGE_BYTES - 1);

		(void)mprotect((uint8_t *)heap->region + s->offset, bytes, PROT_READ);
	}
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The command line as the kernel has it, blanks for its NULs. */
static uint32_t command_string(struct kms_heap *heap)
{
	char text[COMMAND_BYTES];
	ssize_t n = 0;
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (n <= 0)
		return 0;
	if (text[n - 1] == '\0')
		n--;
	for (ssize_t i = 0; i < n; i++) {
		if (text[i] == '\0')
			text[i] = ' ';
	}
	text[n] = '\0';
	return kms_string_add(heap, text, sizeof(text));
}

static uint32_t program_string(struct kms_heap *heap)
{
	char path[COMMAND_BYTES];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return 0;
	path[n] = '\0';
	return kms_string_add(heap, path, sizeof(path));
}

static void random_words(uint64_t random[2])
{
	random[1] = 0;
	if (getrandom(random, 2 * sizeof(*random), GRND_NONBLOCK) != 2 * (ssize_t)sizeof(*random))
		random[0] = kms_port_now_ns();
}

void kms_region_file_identify(struct kms_heap *heap)
{
	struct kms_region_header *r = heap->region;
	uint64_t random[2];

	random_words(random);
	heap->start_mono_ns = kms_port_now_ns();
	r->image_id[0] = random[0];
	r->image_id[1] = random[1];
	r->start_mono_ns = heap->start_mono_ns;
	r->start_wall_ns = wall_ns();
	r->target_kind = KMS_TARGET_PROCESS;
	r->pid = kms_port_pid();
	r->parent_image_pid = (uint32_t)getppid();
	r->program_string = program_string(heap);
	r->command_string = command_string(heap);
	protect_tracer_pages(heap);
}

void *kms_region_file_map(const struct kms_heap *heap, const char *folder)
{
	uint64_t bytes = heap->region->region_bytes;
	char path[PATH_BYTES];
	struct rlimit limit;
	uint64_t random[2];
	void *memory;

	/* the layout is given, so there is nothing to make smaller as at the start (budget()) */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes) {
		errno = EFBIG;
		return NULL;
	}
	random_words(random);
	if (!file_path(folder, "img-", random[0], path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	memory = map_file(path, bytes);
	/* All but the stacks and rings, which ask for theirs: what other threads have in hand may be
	 * any entry of the region before. */
	if (memory && kms_port_populate(memory, heap->section[KMS_SEC_NODE].offset) < 0) {
		unmap_file(path, memory, bytes);
		memory = NULL;
		errno = ENOSPC;
	}
	if (memory)
		memcpy(the_folder, folder, strlen(folder) + 1); /* file_path() saw that it fits */
	return memory;
}

/* Lays out a region in a file; false if the folder has no room for it. */
static bool make_shared(struct kms_heap *heap, const char *path, const struct kms_region_plan *plan)
{
	uint64_t bytes = kms_region_bytes(plan);
	void *memory = map_file(path, bytes);

	if (!memory)
		return false;
	if (kms_port_populate(memory, KMS_PAGE_BYTES) == 0) {
		kms_region_init(heap, memory, plan);
		if (kms_region_back(heap))
			return true;
	}
	unmap_file(path, memory, bytes);
	return false;
}

/* For reports on stderr, and as the pattern of the one that a tracer who comes late gets; nobody
 * writes a record. */
static bool make_private(struct kms_heap *heap, struct kms_region_plan *plan)
{
	void *memory;

	if (plan->rings < RINGS_MIN)
		plan->rings = RINGS_MIN;
	memory = mmap(NULL, kms_region_unread_bytes(plan), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	kms_region_init(heap, memory, plan);
	return true;
}

bool kms_region_file_make(struct kms_heap *heap, const char *folder)
{
	struct kms_region_plan plan;
	char path[PATH_BYTES];
	uint64_t random[2];
	int saved_errno = errno;
	bool made = false;

	random_words(random);
	kms_region_plan_process(&plan, heap->variable[KMS_VAR_RING_BYTES]);
	if (!plan_within(&plan, budget()))
		folder = "";
	while (*folder && !made && plan.rings >= RINGS_MIN &&
	       file_path(folder, "img-", random[0], path)) {
		made = make_shared(heap, path, &plan);
		random[0]++;
		if (!made)
			plan.rings /= 2;
	}
	if (made)
		memcpy(the_folder, folder, strlen(folder) + 1); /* file_path() saw that it fits */
	heap->shared = made;
	if (!made && !make_private(heap, &plan))
		return false;
	kms_region_file_identify(heap);
	errno = saved_errno;
	return kms_region_claim_slot(heap, kms_port_pid(), KMS_NO_INDEX);
}
