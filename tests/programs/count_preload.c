/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts what a program asks of malloc and free, for comparison with the events of a trace.
 *
 * Preloaded in front of everything else; passes each call on to the next library. Shares nothing
 * with kmemscope. Each process counts into a file of its own in $KMS_COUNT_DIR that it maps, so the
 * counts of a killed process are there too. The rules:
 *
 *	realloc(p, n)    one free and one alloc; alloc_failed and nothing else when it fails
 *	realloc(p, 0)    one free
 *	realloc(NULL, n) one alloc
 *	free(NULL)       nothing
 *	a failed call    one alloc_failed
 *
 * A forked child notices because its copy of a page is empty (MADV_WIPEONFORK); a child of vfork
 * shares its parent's memory and counts for it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
	PAGE_BYTES = 4096,
	EARLY_BYTES = 65536,
	EARLY_ALIGN = 64,
	NAMES_MAX = 10000,
	PROGRAM_BYTES = 256,
};

/* The counting file; read by count.py. */
struct counts {
	_Atomic uint64_t pid;
	_Atomic uint64_t allocs;
	_Atomic uint64_t frees;
	_Atomic uint64_t failed;
	char program[PROGRAM_BYTES]; /* what the image was started from, NUL-terminated */
};

/* The one state of this library: a malloc has no argument to hang it on. */
static struct {
	struct counts *counts;
	_Atomic int *wiped; /* 0 in a new process */
	char folder[256];
	_Atomic int early_used;
	char early[EARLY_BYTES] __attribute__((aligned(EARLY_ALIGN)));
} state;

static struct {
	void *(*malloc)(size_t);
	void (*free)(void *);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*reallocarray)(void *, size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	void *(*memalign)(size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
} next;

static void find(const char *name, void *function)
{
	void *found = dlsym(RTLD_NEXT, name);

	memcpy(function, &found, sizeof(found));
}

static bool resolve(void)
{
	static _Atomic int resolving;

	if (next.pvalloc)
		return true;
	if (atomic_exchange(&resolving, 1))
		return next.pvalloc != NULL; /* dlsym itself wants memory */
	find("free", &next.free);
	find("calloc", &next.calloc);
	find("realloc", &next.realloc);
	find("reallocarray", &next.reallocarray);
	find("posix_memalign", &next.posix_memalign);
	find("aligned_alloc", &next.aligned_alloc);
	find("memalign", &next.memalign);
	find("valloc", &next.valloc);
	find("malloc", &next.malloc);
	find("pvalloc", &next.pvalloc);
	return true;
}

/* Memory for calls that come while the next library is looked up: not counted, never freed. */
static void *early_alloc(size_t bytes)
{
	int need = (int)((bytes + EARLY_ALIGN - 1) / EARLY_ALIGN * EARLY_ALIGN);
	int at = atomic_fetch_add(&state.early_used, need);

	return at + need <= EARLY_BYTES ? state.early + at : NULL;
}

static bool is_early(const void *p)
{
	return (const char *)p >= state.early && (const char *)p < state.early + EARLY_BYTES;
}

/* The folder from the environment the program was started with: environ may not be set yet. */
static void find_folder(void)
{
	static char text[131072];
	static const char name[] = "KMS_COUNT_DIR=";
	int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
	ssize_t n, used = 0;

	if (fd < 0)
		return;
	while (used < (ssize_t)sizeof(text) - 1 &&
	       (n = read(fd, text + used, sizeof(text) - 1 - (size_t)used)) > 0)
		used += n;
	close(fd);
	for (const char *at = text; at < text + used; at += strlen(at) + 1) {
		if (!strncmp(at, name, sizeof(name) - 1))
			snprintf(state.folder, sizeof(state.folder), "%s", at + sizeof(name) - 1);
	}
}

/* A new file of this process; an image that it executes later gets the next number. */
static int open_counts(void)
{
	char path[320];

	for (int i = 0; i < NAMES_MAX; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/%d.%d", state.folder, getpid(), i);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

static void *map(int fd, int flags)
{
	void *p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void attach(void)
{
	int fd;

	if (!state.wiped) {
		find_folder();
		state.wiped = map(-1, MAP_PRIVATE | MAP_ANONYMOUS);
		if (!state.wiped || madvise(state.wiped, PAGE_BYTES, MADV_WIPEONFORK))
			_exit(99);
	}
	fd = open_counts();
	if (fd < 0 || ftruncate(fd, PAGE_BYTES))
		_exit(99);
	state.counts = map(fd, MAP_SHARED);
	if (!state.counts)
		_exit(99);
	close(fd);
	if (readlink("/proc/self/exe", state.counts->program, PROGRAM_BYTES - 1) < 0)
		_exit(99);
	atomic_store(&state.counts->pid, (uint64_t)getpid());
	atomic_store(state.wiped, 1);
}

static struct counts *counts(void)
{
	if (!state.wiped || !atomic_load(state.wiped)) {
		int saved = errno;

		attach();
		errno = saved;
	}
	return state.counts;
}

static void *count_alloc(void *p)
{
	struct counts *c = counts();

	atomic_fetch_add(p ? &c->allocs : &c->failed, 1);
	return p;
}

static __attribute__((constructor)) void count_from_the_start(void)
{
	resolve();
	counts();
}

EXPORT void *malloc(size_t bytes)
{
	return resolve() ? count_alloc(next.malloc(bytes)) : early_alloc(bytes);
}

EXPORT void free(void *p)
{
	if (!p || is_early(p) || !resolve())
		return;
	atomic_fetch_add(&counts()->frees, 1);
	next.free(p);
}

EXPORT void *calloc(size_t n, size_t bytes)
{
	return resolve() ? count_alloc(next.calloc(n, bytes)) : early_alloc(n * bytes);
}

static void *early_realloc(const void *p, size_t bytes)
{
	void *fresh = count_alloc(next.malloc(bytes));

	size_t most = (size_t)(state.early + EARLY_BYTES - (const char *)p);

	if (fresh)
		memcpy(fresh, p, bytes < most ? bytes : most);
	return fresh;
}

/* Counts a realloc whose two halves are known from its arguments and its result. */
static void *count_realloc(const void *old, size_t bytes, void *result)
{
	struct counts *c = counts();

	if (old && bytes == 0) {
		atomic_fetch_add(&c->frees, 1);
		return result;
	}
	if (old && result)
		atomic_fetch_add(&c->frees, 1);
	return count_alloc(result);
}

EXPORT void *realloc(void *p, size_t bytes)
{
	if (!resolve())
		return early_alloc(bytes);
	if (is_early(p))
		return early_realloc(p, bytes);
	return count_realloc(p, bytes, next.realloc(p, bytes));
}

EXPORT void *reallocarray(void *p, size_t n, size_t bytes)
{
	size_t total;

	if (!resolve())
		return early_alloc(n * bytes);
	if (__builtin_mul_overflow(n, bytes, &total))
		total = SIZE_MAX;
	if (is_early(p))
		return early_realloc(p, total);
	return count_realloc(p, total, next.reallocarray(p, n, bytes));
}

EXPORT int posix_memalign(void **p, size_t align, size_t bytes)
{
	int rc;

	resolve();
	rc = next.posix_memalign(p, align, bytes);
	count_alloc(rc ? NULL : *p);
	return rc;
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
	resolve();
	return count_alloc(next.aligned_alloc(align, bytes));
}

EXPORT void *memalign(size_t align, size_t bytes)
{
	resolve();
	return count_alloc(next.memalign(align, bytes));
}

EXPORT void *valloc(size_t bytes)
{
	resolve();
	return count_alloc(next.valloc(bytes));
}

EXPORT void *pvalloc(size_t bytes)
{
	resolve();
	return count_alloc(next.pvalloc(bytes));
}
