/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A second, trivial kmem(9), pool_cache(9) and ddi_umem_alloc(9F) for tests: malloc with a header,
 * nothing shared with the real one.
 *
 * It counts what a program asks for, and finds the same faults as libkmem does, so that "how many
 * allocations and frees must the trace hold" has an answer that does not come from the tracer. The
 * counts are written as JSON to the file named by KMEM_COUNT_FILE when the program ends.
 * One lock; not for speed.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocator/kmem.h"

enum {
	TAIL_BYTE = 0xa7,
	PAGE_BYTES = 4096,
};

#define MAGIC_LIVE UINT64_C(0x6c6976656c697665)
#define MAGIC_FREE UINT64_C(0x6672656566726565)

struct head {
	uint64_t size;
	const struct pool_cache *pool; /* NULL: of kmem(9) */
	uint64_t reserved;
	uint64_t magic; /* right before the block: an underflow breaks it */
};

struct pool_cache {
	size_t size;
	int (*constructor)(void *arg, void *object, int flags);
	void (*destructor)(void *arg, void *object);
	void *arg;
};

/** A buffer of ddi_umem_alloc: a page more than asked for, filled, to see what is written there. */
struct umem {
	unsigned char *start;
	size_t bytes;
};

static struct {
	pthread_mutex_t lock;
	uint64_t allocs, frees, refused;
} count = {.lock = PTHREAD_MUTEX_INITIALIZER};

static __attribute__((destructor)) void write_counts(void)
{
	const char *path = getenv("KMEM_COUNT_FILE");
	FILE *file = path ? fopen(path, "we") : NULL;

	if (!file)
		return;
	fprintf(file, "{\"alloc\": %llu, \"free\": %llu, \"refused\": %llu}\n",
		(unsigned long long)count.allocs, (unsigned long long)count.frees,
		(unsigned long long)count.refused);
	(void)fclose(file); /* the reader finds a short file broken */
}

void *kmem_intr_alloc(size_t size, km_flag_t flags)
{
	struct head *head = malloc(sizeof(*head) + size + 1);

	(void)flags;
	if (!head)
		abort();
	*head = (struct head){.size = size, .magic = MAGIC_LIVE};
	((unsigned char *)(head + 1))[size] = TAIL_BYTE;
	pthread_mutex_lock(&count.lock);
	count.allocs++;
	pthread_mutex_unlock(&count.lock);
	return head + 1;
}

/* A freed block stays in memory: what is read through a stale pointer harms nobody. */
static void give_back(void *p, size_t size, const struct pool_cache *pool)
{
	struct head *head = (struct head *)p - 1;

	pthread_mutex_lock(&count.lock);
	/* Damage, a wrong size and a wrong pool are found, and the block is freed all the same; a
	 * second free is not carried out. */
	if (head->magic != MAGIC_LIVE || head->size != size || head->pool != pool ||
	    ((unsigned char *)p)[head->size] != TAIL_BYTE)
		count.refused++;
	if (head->magic != MAGIC_FREE) {
		head->magic = MAGIC_FREE;
		count.frees++;
	}
	pthread_mutex_unlock(&count.lock);
}

void kmem_intr_free(void *p, size_t size)
{
	give_back(p, size, NULL);
}

void *kmem_intr_zalloc(size_t size, km_flag_t flags)
{
	return memset(kmem_intr_alloc(size, flags), 0, size);
}

void *kmem_alloc(size_t size, km_flag_t flags)
{
	return kmem_intr_alloc(size, flags);
}

void *kmem_zalloc(size_t size, km_flag_t flags)
{
	return kmem_intr_zalloc(size, flags);
}

void kmem_free(void *p, size_t size)
{
	kmem_intr_free(p, size);
}

char *kmem_strdupsize(const char *string, size_t *size, km_flag_t flags)
{
	size_t bytes = strlen(string) + 1;

	if (size)
		*size = bytes;
	return memcpy(kmem_alloc(bytes, flags), string, bytes);
}

char *kmem_strndup(const char *string, size_t max, km_flag_t flags)
{
	size_t length = strnlen(string, max);
	char *copy = kmem_alloc(length + 1, flags);

	memcpy(copy, string, length);
	copy[length] = 0;
	return copy;
}

char *kmem_asprintf(const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	text = kmem_alloc((size_t)length + 1, KM_SLEEP);
	va_start(arguments, format);
	vsnprintf(text, (size_t)length + 1, format, arguments);
	va_end(arguments);
	return text;
}

void kmem_strfree(char *string)
{
	if (string)
		kmem_free(string, strlen(string) + 1);
}

/* NOLINTNEXTLINE(readability-function-size): the manual's parameters */
pool_cache_t pool_cache_init(size_t size, unsigned int align, unsigned int align_offset, int flags,
			     const char *name, struct pool_allocator *allocator, int ipl,
			     int (*constructor)(void *, void *, int),
			     void (*destructor)(void *, void *), void *arg)
{
	struct pool_cache *pool = malloc(sizeof(*pool));

	(void)align, (void)align_offset, (void)flags, (void)name, (void)allocator, (void)ipl;
	if (!pool)
		abort();
	*pool = (struct pool_cache){size, constructor, destructor, arg};
	return pool;
}

/* Nothing is parked: each object is constructed when it is taken. */
void *pool_cache_get(pool_cache_t pc, int flags)
{
	void *object = kmem_intr_alloc(pc->size, KM_SLEEP);

	((struct head *)object - 1)->pool = pc;
	if (pc->constructor && pc->constructor(pc->arg, object, flags))
		abort();
	return object;
}

void pool_cache_put(pool_cache_t pc, void *object)
{
	const struct pool_cache *own = ((struct head *)object - 1)->pool;

	if (own && own->destructor)
		own->destructor(own->arg, object);
	give_back(object, own ? own->size : pc->size, pc);
}

void pool_cache_destroy(pool_cache_t pc)
{
	free(pc);
}

void *ddi_umem_alloc(size_t size, int flags, ddi_umem_cookie_t *cookiep)
{
	struct umem *umem;

	(void)flags;
	if (!cookiep)
		return NULL;
	umem = malloc(sizeof(*umem));
	if (!umem)
		abort();
	umem->bytes = (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	umem->start = aligned_alloc(PAGE_BYTES, umem->bytes + PAGE_BYTES);
	if (!umem->start)
		abort();
	memset(umem->start, 0, umem->bytes);
	memset(umem->start + umem->bytes, TAIL_BYTE, PAGE_BYTES);
	pthread_mutex_lock(&count.lock);
	count.allocs++;
	pthread_mutex_unlock(&count.lock);
	*cookiep = umem;
	return umem->start;
}

void ddi_umem_free(ddi_umem_cookie_t cookie)
{
	struct umem *umem = cookie;

	pthread_mutex_lock(&count.lock);
	for (size_t i = 0; i < PAGE_BYTES; i++) {
		if (umem->start[umem->bytes + i] != TAIL_BYTE) {
			count.refused++;
			break;
		}
	}
	count.frees++;
	pthread_mutex_unlock(&count.lock);
	free(umem->start);
	free(umem);
}

int kmem_context_enter(int level)
{
	(void)level;
	return 0;
}

void kmem_context_leave(int previous_level)
{
	(void)previous_level;
}

void kmem_lock_hold(const void *lock)
{
	(void)lock;
}

void kmem_lock_drop(const void *lock)
{
	(void)lock;
}

int kmem_variable_set(const char *name, uint64_t value)
{
	(void)name;
	(void)value;
	return 0;
}
