/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The malloc family for unmodified programs. malloc and free are one function each with the hot
 * path of alloc.h inlined; all others go the slow way.
 *
 * Built with -fno-builtin: the compiler must not turn our own code into calls of itself.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "allocator/large.h"
#include "allocator/port/process.h"
#include "allocator/preload/early.h"

#define EXPORT __attribute__((visibility("default")))
#define SLOW   __attribute__((noinline, cold))

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* Everything but the plain case. @align 0: the front's own. */
static void *allocate(size_t size, size_t align, struct kms_request_info *info)
{
	struct kms_local *t = kms_front_local();
	void *p;

	if (!t)
		return kms_early_alloc(size, align);
	kms_enter(t);
	p = kms_alloc_slow(t, size, align ? align : KMS_MALLOC_ALIGN, info);
	if (!p)
		kms_alloc_failed(t, size, info);
	kms_leave(t);
	return p ? p : no_memory();
}

/*
 * The hot functions pass the frame in registers, so that what they do not do themselves is a tail
 * call and their own path saves nothing.
 */
#define FRAME_ARGS   uint64_t pc, uint64_t sp, uint64_t fp
#define FRAME_VALUES frame.pc, frame.sp, frame.fp

SLOW static void *malloc_slow(size_t size, FRAME_ARGS)
{
	struct kms_request_info info = {
		.frame = {pc, sp, fp}
        };

	return allocate(size, 0, &info);
}

/* A magazine round is there and the gate is open. */
static __attribute__((noinline)) void *malloc_checked(struct kms_local *t, size_t size,
						      unsigned cls, FRAME_ARGS)
{
	const struct kms_frame frame = {pc, sp, fp};
	void *p;

	kms_enter(t);
	if (t->mode == KMS_MODE_TRACED)
		p = kms_bin_take(t, cls, size, kms_capture(t, &frame), t->checks_malloc, 0, true);
	else
		p = kms_bin_take(t, cls, size, 0, t->checks_malloc, 0, false);
	kms_leave(t);
	return p;
}

EXPORT void *malloc(size_t size)
{
	const struct kms_frame frame = kms_frame_caller(__builtin_frame_address(0));
	struct kms_local *t = kms_tls;
	size_t need = size + t->extra_malloc_bytes;
	struct kms_bin *bin;
	unsigned cls;
	void *p;

	need += !need;
	if (KMS_UNLIKELY(kms_gate(t) | (need - 1 >= KMS_MALLOC_MAX_BYTES) | t->slow_malloc))
		return malloc_slow(size, FRAME_VALUES);
	cls = kms_malloc_class(need);
	bin = &t->bin[cls];
	if (KMS_UNLIKELY(bin->top == bin->bottom))
		return malloc_slow(size, FRAME_VALUES);
	if (t->mode)
		return malloc_checked(t, size, cls, FRAME_VALUES);
	kms_enter(t);
	p = (--bin->top)->block;
	t->counter[cls].allocs++;
	kms_leave(t);
	return p;
}

SLOW static void free_slow(void *p, FRAME_ARGS)
{
	struct kms_request_info info = {
		.frame = {pc, sp, fp}
        };
	struct kms_local *t;

	if (kms_early_owns(p))
		return;
	t = kms_front_local();
	if (!t)
		return;
	kms_enter(t);
	kms_free_slow(t, p, &info);
	kms_leave(t);
}

/* The span is a slab of the front with today's checks. */
static __attribute__((noinline)) void free_checked(struct kms_local *t, uint8_t *p,
						   struct kms_span *span, FRAME_ARGS)
{
	struct kms_bin *bin = &t->bin[span->cache];
	const struct kms_frame frame = {pc, sp, fp};
	struct kms_found found;

	if (KMS_UNLIKELY(!kms_found_live(span, (uintptr_t)p, &found) || bin->top == bin->limit ||
			 !kms_zones_whole(span, p, found.side->size_bytes)))
		return free_slow(p, FRAME_VALUES);
	kms_enter(t);
	if (t->mode == KMS_MODE_TRACED)
		kms_bin_give(t, &found, p, kms_capture(t, &frame), 0, true);
	else
		kms_bin_give(t, &found, p, 0, 0, false);
	kms_leave(t);
}

EXPORT void free(void *p)
{
	const struct kms_frame frame = kms_frame_caller(__builtin_frame_address(0));
	struct kms_local *t = kms_tls;
	struct kms_span *span;
	struct kms_bin *bin;

	if (!p)
		return;
	span = kms_span_entry(t, (uintptr_t)p);
	if (KMS_UNLIKELY(kms_gate(t) | t->slow_free | (kms_span_word(span) ^ t->slab_word)))
		return free_slow(p, FRAME_VALUES);
	if (t->mode) {
		/* The redzone lies in the last quarter of the slot: fetch it while the side entry,
		 * which says where exactly, is still on its way. */
		__builtin_prefetch((uint8_t *)p + span->usable_bytes - 3);
		__builtin_prefetch((uint8_t *)p - 1);
		return free_checked(t, p, span, FRAME_VALUES);
	}
	bin = &t->bin[span->cache];
	if (KMS_UNLIKELY(bin->top == bin->limit))
		return free_slow(p, FRAME_VALUES);
	kms_enter(t);
	bin->top++->block = p;
	t->counter[span->cache].frees++;
	kms_leave(t);
}

/* Gone from the headers, not from old programs. */
EXPORT void cfree(void *p);

EXPORT void cfree(void *p)
{
	struct kms_frame frame;

	KMS_CALLER_FRAME(&frame);
	if (p)
		free_slow(p, FRAME_VALUES);
}

EXPORT void *calloc(size_t count, size_t size)
{
	struct kms_request_info info = {.attrs = KMS_ATTR_ZERO};
	struct kms_local *t;
	size_t bytes;
	void *p;

	KMS_CALLER_FRAME(&info.frame);
	if (__builtin_mul_overflow(count, size, &bytes))
		bytes = SIZE_MAX;
	p = allocate(bytes, 0, &info);
	t = kms_tls;
	/* Large blocks are zeroed where they come from, if they need it. */
	if (p && (bytes + KMS_REDZONE_BYTES <= KMS_MALLOC_MAX_BYTES || t->guard_active))
		memset(p, 0, bytes);
	return p;
}

/* A block of early memory moves into the heap when it is resized. */
static void *realloc_early(void *p, size_t size, struct kms_request_info *info)
{
	size_t old = kms_early_size(p);
	void *fresh = allocate(size, 0, info);

	if (fresh)
		memcpy(fresh, p, old < size ? old : size);
	return fresh;
}

static void *reallocate(void *p, size_t size, struct kms_request_info *info)
{
	struct kms_local *t;
	void *fresh;

	if (!p)
		return allocate(size, 0, info);
	if (kms_early_owns(p))
		return realloc_early(p, size, info);
	if (!size) {
		free_slow(p, info->frame.pc, info->frame.sp, info->frame.fp);
		return NULL;
	}
	t = kms_front_local();
	if (!t)
		return no_memory();
	kms_enter(t);
	fresh = kms_realloc(t, p, size, info);
	if (!fresh)
		kms_alloc_failed(t, size, info);
	kms_leave(t);
	return fresh ? fresh : no_memory();
}

EXPORT void *realloc(void *p, size_t size)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	return reallocate(p, size, &info);
}

EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
	struct kms_request_info info = {0};
	size_t bytes;

	KMS_CALLER_FRAME(&info.frame);
	if (__builtin_mul_overflow(count, size, &bytes))
		bytes = SIZE_MAX;
	return reallocate(p, bytes, &info);
}

static bool power_of_two(size_t v)
{
	return v && !(v & (v - 1));
}

static void *aligned(size_t align, size_t size, struct kms_request_info *info)
{
	info->attrs = KMS_ATTR_ALIGNED;
	/* No such alignment can be had: fails like a size that cannot, and is recorded like it. */
	if (align > (size_t)1 << 40)
		size = SIZE_MAX;
	return allocate(size, align < KMS_MALLOC_ALIGN ? KMS_MALLOC_ALIGN : align, info);
}

EXPORT void *memalign(size_t align, size_t size)
{
	struct kms_request_info info = {0};
	size_t power = KMS_MALLOC_ALIGN;

	KMS_CALLER_FRAME(&info.frame);
	/* glibc rounds an odd alignment up. */
	while (power < align && power << 1)
		power <<= 1;
	return aligned(power, size, &info);
}

/* A call refused for its arguments is a failed call too. */
static int refuse(size_t size, struct kms_request_info *info)
{
	struct kms_local *t = kms_front_local();

	if (!t)
		return EINVAL;
	kms_enter(t);
	info->node = kms_capture(t, &info->frame);
	kms_alloc_failed(t, size, info);
	kms_leave(t);
	return EINVAL;
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	if (!power_of_two(align)) {
		errno = refuse(size, &info);
		return NULL;
	}
	return aligned(align, size, &info);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	struct kms_request_info info = {0};
	int saved_errno = errno;
	void *p;

	KMS_CALLER_FRAME(&info.frame);
	if (!power_of_two(align) || align % sizeof(void *))
		return refuse(size, &info);
	p = aligned(align, size, &info);
	errno = saved_errno;
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

EXPORT void *valloc(size_t size)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	return aligned(KMS_PAGE_BYTES, size, &info);
}

EXPORT void *pvalloc(size_t size)
{
	struct kms_request_info info = {0};
	size_t rounded = (size + KMS_PAGE_BYTES - 1) & ~(size_t)(KMS_PAGE_BYTES - 1);

	KMS_CALLER_FRAME(&info.frame);
	if (rounded < size)
		return no_memory();
	return aligned(KMS_PAGE_BYTES, rounded, &info);
}

EXPORT size_t malloc_usable_size(void *p)
{
	struct kms_local *t;
	size_t bytes;

	if (!p)
		return 0;
	if (kms_early_owns(p))
		return kms_early_size(p);
	t = kms_front_local();
	if (!t)
		return 0;
	kms_enter(t);
	bytes = kms_block_usable(t, p);
	kms_leave(t);
	return bytes;
}
