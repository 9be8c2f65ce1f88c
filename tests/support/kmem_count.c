/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A second, trivial kmem(9) for tests: malloc with a header, nothing shared with the real one.
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
};

#define MAGIC_LIVE UINT64_C(0x6c6976656c697665)
#define MAGIC_FREE UINT64_C(0x6672656566726565)

struct head {
	uint64_t size;
	uint64_t reserved[2];
	uint64_t magic; /* right before the block: an underflow breaks it */
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
void kmem_intr_free(void *p, size_t size)
{
	struct head *head = (struct head *)p - 1;

	pthread_mutex_lock(&count.lock);
	/* Damage and a wrong size are found, and the block is freed all the same; a second free is
	 * not carried out. */
	if (head->magic != MAGIC_LIVE || head->size != size ||
	    ((unsigned char *)p)[head->size] != TAIL_BYTE)
		count.refused++;
	if (head->magic != MAGIC_FREE) {
		head->magic = MAGIC_FREE;
		count.frees++;
	}
	pthread_mutex_unlock(&count.lock);
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
