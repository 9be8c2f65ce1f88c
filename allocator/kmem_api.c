/* SPDX-License-Identifier: BSD-2-Clause */
/* The exported functions of kmem.h: each finds its caller's frame and local. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "allocator/control.h"
#include "allocator/front.h"
#include "allocator/heap.h"
#include "allocator/kmem.h"
#include "allocator/kmem_front.h"
#include "allocator/region.h"
#include "allocator/umem.h"
#include "allocator/verify.h"

static void *get(size_t size, km_flag_t flags, bool intr, struct kms_request_info *info)
{
	struct kms_local *t = kms_front_enter();
	void *p;

	if (!t)
		return NULL;
	p = kms_kmem_alloc(t, size, flags, intr, info);
	kms_front_leave(t);
	return p;
}

static void put(void *p, size_t size, bool intr, struct kms_request_info *info)
{
	struct kms_local *t = kms_front_enter();

	if (!t)
		return;
	kms_kmem_free(t, p, size, intr, info);
	kms_front_leave(t);
}

void *kmem_alloc(size_t size, km_flag_t flags)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	return get(size, flags, false, &info);
}

void *kmem_zalloc(size_t size, km_flag_t flags)
{
	struct kms_request_info info = {.attrs = KMS_ATTR_ZERO};

	KMS_CALLER_FRAME(&info.frame);
	return get(size, flags, false, &info);
}

void kmem_free(void *p, size_t size)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	put(p, size, false, &info);
}

void *kmem_intr_alloc(size_t size, km_flag_t flags)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	return get(size, flags, true, &info);
}

void *kmem_intr_zalloc(size_t size, km_flag_t flags)
{
	struct kms_request_info info = {.attrs = KMS_ATTR_ZERO};

	KMS_CALLER_FRAME(&info.frame);
	return get(size, flags, true, &info);
}

void kmem_intr_free(void *p, size_t size)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	put(p, size, true, &info);
}

char *kmem_asprintf(const char *format, ...)
{
	struct kms_request_info info = {0};
	va_list args;
	int length;
	char *string;

	KMS_CALLER_FRAME(&info.frame);
	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		return NULL;
	string = get((size_t)length + 1, KM_SLEEP, false, &info);
	va_start(args, format);
	if (string)
		/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): likewise */
		(void)vsnprintf(string, (size_t)length + 1, format, args);
	va_end(args);
	return string;
}

char *kmem_strdupsize(const char *string, size_t *size, km_flag_t flags)
{
	struct kms_request_info info = {0};
	size_t bytes = strlen(string) + 1;
	char *copy;

	KMS_CALLER_FRAME(&info.frame);
	copy = get(bytes, flags, false, &info);
	if (!copy)
		return NULL;
	if (size)
		*size = bytes;
	return memcpy(copy, string, bytes);
}

char *kmem_strndup(const char *string, size_t max, km_flag_t flags)
{
	struct kms_request_info info = {0};
	size_t length = max ? strnlen(string, max) : 0;
	char *copy;

	KMS_CALLER_FRAME(&info.frame);
	/* The original asserts maxlen != 0; a request of size 0 is the fault it stands for. */
	copy = get(max ? length + 1 : 0, flags, false, &info);
	if (!copy)
		return NULL;
	memcpy(copy, string, length);
	copy[length] = '\0';
	return copy;
}

void kmem_strfree(char *string)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	if (string)
		put(string, strlen(string) + 1, false, &info);
}

size_t kmem_roundup_size(size_t size)
{
	return (size + KMS_KMEM_ALIGN - 1) & ~(size_t)(KMS_KMEM_ALIGN - 1);
}

/* From here on this thread's events are of another level. */
static void set_level(struct kms_local *t, uint32_t level)
{
	const uint64_t numbers[5] = {t->thread_index, level};
	uint32_t previous = t->level;

	t->level = level;
	kms_umem_level(t->heap, previous, level);
	if (t->trace)
		kms_ring_emit_code(t, KMS_REC_CONTEXT, 2, numbers);
}

int kmem_context_enter(int level)
{
	struct kms_local *t = kms_front_enter();
	int previous = KMEM_CONTEXT_TASK;

	if (!t)
		return previous;
	if (level >= 0 && level < KMS_LEVELS) {
		previous = (int)t->level;
		set_level(t, (uint32_t)level);
	}
	kms_front_leave(t);
	return previous;
}

void kmem_context_leave(int previous_level)
{
	struct kms_local *t = kms_front_enter();

	if (!t)
		return;
	if (previous_level >= 0 && previous_level < KMS_LEVELS)
		set_level(t, (uint32_t)previous_level);
	kms_front_leave(t);
}

void kmem_lock_hold(const void *lock)
{
	struct kms_local *t = kms_front_enter();

	(void)lock;
	if (!t)
		return;
	t->locks_held++;
	kms_front_leave(t);
}

void kmem_lock_drop(const void *lock)
{
	struct kms_local *t = kms_front_enter();

	(void)lock;
	if (!t)
		return;
	if (t->locks_held)
		t->locks_held--;
	kms_front_leave(t);
}

void kmem_mark(const char *name)
{
	struct kms_local *t = kms_front_enter();
	uint64_t numbers[5] = {0};

	if (!t)
		return;
	if (t->trace) {
		numbers[0] = kms_string_add(t->heap, name, 256);
		if (numbers[0] != KMS_NO_INDEX)
			kms_ring_emit_code(t, KMS_REC_MARK, 1, numbers);
	}
	kms_front_leave(t);
}

size_t kmem_verify(void)
{
	struct kms_request_info info = {0};
	struct kms_local *t = kms_front_enter();
	size_t damaged;

	KMS_CALLER_FRAME(&info.frame);
	if (!t)
		return 0;
	damaged = kms_verify(t, &info.frame);
	kms_front_leave(t);
	return damaged;
}

int kmem_variable_get(const char *name, uint64_t *value)
{
	unsigned variable = kms_control_find(name, strlen(name));
	struct kms_local *t;

	if (variable == KMS_VARIABLE_COUNT)
		return -ENOENT;
	t = kms_front_enter();
	if (!t)
		return -ENOTSUP;
	*value = kms_variable(t->heap, variable);
	kms_front_leave(t);
	return 0;
}

int kmem_variable_set(const char *name, uint64_t value)
{
	unsigned variable = kms_control_find(name, strlen(name));
	struct kms_local *t;
	uint32_t status;

	if (variable == KMS_VARIABLE_COUNT)
		return -ENOENT;
	t = kms_front_enter();
	if (!t)
		return -ENOTSUP;
	status = kms_control_set(t->heap, variable, value);
	kms_front_leave(t);
	switch (status) {
	case KMS_ACK_RANGE:
		return -ERANGE;
	case KMS_ACK_UNSUPPORTED:
		return -ENOTSUP;
	default:
		return 0;
	}
}
