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
#define HOT    __attribute__((noinline))

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
 * What the hot functions do not do themselves is a tail call (the build sees to it that it is one),
 * so their own path saves no register, and the callee finds its caller's frame where they had it.
 */
SLOW static void *malloc_slow(size_t size)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	return allocate(size, 0, &info);
}

/* Class of a request. False: no class has so much. */
static inline bool find_class(const struct kms_local *t, size_t size, size_t *cls)
{
	if (KMS_LIKELY(size <= KMS_MALLOC_SMALL_BYTES)) {
		*cls = t->small_class[(size + t->extra_malloc_bytes + KMS_MALLOC_ALIGN - 1) /
				      KMS_MALLOC_ALIGN];
		return true;
	}
	if (size > KMS_MALLOC_MAX_BYTES - KMS_REDZONE_BYTES)
		return false;
	*cls = kms_malloc_class(size + t->extra_malloc_bytes);
	return true;
}

/* Leaves for the slow way. */
static inline void *malloc_leave(struct kms_local *t, size_t size)
{
	kms_leave(t);
	return malloc_slow(size);
}

/*
 * From here on a bin is looked at between enter and leave only: a signal handler that allocates
 * would take the same round else.
 */

/* The gate is open. */
static HOT void *malloc_traced(size_t size)
{
	const struct kms_frame frame = kms_frame_caller(__builtin_frame_address(0));
	struct kms_local *t = kms_tls;
	struct kms_counter *counter;
	const struct kms_round *top;
	uint32_t node;
	size_t cls;
	uint8_t *p;

	if (KMS_UNLIKELY(!find_class(t, size, &cls)))
		return malloc_slow(size);
	kms_enter(t);
	if (KMS_UNLIKELY(t->bin[cls].top == t->bin[cls].bottom))
		return malloc_leave(t, size);
	top = --t->bin[cls].top;
	p = top->block;
	/* What is written below is on its way while the stack is found. */
	__builtin_prefetch(top->side, 1);
	__builtin_prefetch(p + size, 1);
	node = kms_capture(t, &frame);
	if (t->checks_malloc & KMS_CHECK_REDZONE)
		kms_redzone_fill(p + size);
	kms_side_alloc_traced(t, top->side, (uintptr_t)p, size, node, t->checks_malloc);
	counter = &t->counter[cls];
	counter->allocs++;
	counter->alloc_bytes += size;
	kms_leave(t);
	return p;
}

EXPORT void *malloc(size_t size)
{
	struct kms_local *t = kms_tls;
	uint32_t gate = kms_gate(t), detour = t->detour_malloc;
	struct kms_counter *counter;
	struct kms_round *top;
	size_t cls;
	uint8_t *p;

	if (gate | detour)
		return !gate && detour == KMS_DETOUR_TRACED ? malloc_traced(size)
							    : malloc_slow(size);
	if (KMS_UNLIKELY(!find_class(t, size, &cls)))
		return malloc_slow(size);
	kms_enter(t);
	top = t->bin[cls].top;
	if (KMS_UNLIKELY(top == t->bin[cls].bottom))
		return malloc_leave(t, size);
	t->bin[cls].top = --top;
	p = top->block;
	counter = &t->counter[cls];
	counter->allocs++;
	if (t->checks_malloc) {
		/* the redzone first: whoever finds the block live finds it whole (verify.c) */
		if (KMS_LIKELY(t->checks_malloc & KMS_CHECK_REDZONE))
			kms_redzone_fill(p + size);
		kms_side_alloc_untraced(top->side, size);
		counter->alloc_bytes += size;
	}
	kms_leave(t);
	return p;
}

static void release(void *p, struct kms_request_info *info)
{
	struct kms_local *t;

	if (kms_early_owns(p))
		return;
	t = kms_front_local();
	if (!t)
		return;
	kms_enter(t);
	kms_free_slow(t, p, info);
	kms_leave(t);
}

SLOW static void free_slow(void *p)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	if (p)
		release(p, &info);
}

/* Leaves for the slow way. */
static inline void free_leave(struct kms_local *t, void *p)
{
	kms_leave(t);
	free_slow(p);
}

/* The bin that a block of this span goes back to; NULL if it has no room, or the span is no slab of
 * the front with today's checks. */
static inline struct kms_bin *find_bin(struct kms_local *t, const struct kms_span *span)
{
	size_t cls = span->cache;

	if (KMS_UNLIKELY(kms_span_word(span) != t->slab_word) ||
	    KMS_UNLIKELY(t->bin[cls].top == t->bin[cls].limit))
		return NULL;
	return &t->bin[cls];
}

static inline void give(struct kms_bin *bin, uint8_t *p, struct kms_side *side)
{
	bin->top->block = p;
	bin->top->side = side;
	bin->top++;
}

/* The gate is open. */
static HOT void free_traced(uint8_t *p)
{
	const struct kms_frame frame = kms_frame_caller(__builtin_frame_address(0));
	struct kms_local *t = kms_tls;
	struct kms_span *span = kms_span_entry(t, (uintptr_t)p);
	struct kms_counter *counter = &t->counter[span->cache];
	struct kms_side *side;
	struct kms_bin *bin;
	uint32_t size, node;

	kms_enter(t);
	bin = find_bin(t, span);
	if (KMS_UNLIKELY(!bin || !kms_span_side(span, (uintptr_t)p, &side)))
		return free_leave(t, p);
	/* Likewise. The redzone lies in the last quarter of the slot: where, says the side entry. */
	__builtin_prefetch(side, 1);
	__builtin_prefetch(p + span->usable_bytes - 3);
	__builtin_prefetch(p - 1);
	node = kms_capture(t, &frame);
	size = side->size_bytes;
	if (KMS_UNLIKELY(side->state != KMS_BLOCK_LIVE || !kms_zones_whole(span, p, size)))
		return free_leave(t, p);
	counter->frees++;
	counter->free_bytes += size;
	kms_side_free_traced(t, side, (uintptr_t)p, node, t->checks_malloc);
	give(bin, p, side);
	kms_leave(t);
}

EXPORT void free(void *p)
{
	struct kms_local *t = kms_tls;
	uint32_t gate = kms_gate(t), detour = t->detour_free, size;
	struct kms_side *side = NULL;
	struct kms_counter *counter;
	struct kms_span *span;
	struct kms_bin *bin;

	if (gate | detour)
		return !gate && detour == KMS_DETOUR_TRACED ? free_traced(p) : free_slow(p);
	span = kms_span_entry(t, (uintptr_t)p);
	kms_enter(t);
	bin = find_bin(t, span);
	if (KMS_UNLIKELY(!bin))
		return free_leave(t, p);
	counter = &t->counter[span->cache];
	if (t->checks_malloc) {
		if (KMS_UNLIKELY(!kms_span_side(span, (uintptr_t)p, &side) ||
				 kms_side_mark(side) != (KMS_BLOCK_LIVE | KMS_MARK_NO_RING)))
			return free_leave(t, p);
		size = side->size_bytes;
		if (KMS_LIKELY(t->checks_malloc & KMS_CHECK_REDZONE) &&
		    KMS_UNLIKELY(!kms_redzone_whole((uint8_t *)p + size) ||
				 !kms_pattern_at((uint8_t *)p - 1)))
			return free_leave(t, p);
		counter->free_bytes += size;
		kms_side_free_untraced(side);
	}
	counter->frees++;
	give(bin, p, side);
	kms_leave(t);
}

/* Gone from the headers, not from old programs. */
EXPORT void cfree(void *p);

EXPORT void cfree(void *p)
{
	free_slow(p);
}

EXPORT void *calloc(size_t count, size_t size)
{
	struct kms_request_info info = {.attrs = KMS_ATTR_ZERO};
	size_t bytes;

	KMS_CALLER_FRAME(&info.frame);
	if (__builtin_mul_overflow(count, size, &bytes))
		bytes = SIZE_MAX;
	/* Zeroed where it comes from: early memory has no second owner. */
	return allocate(bytes, 0, &info);
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
		release(p, info);
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

/* glibc rounds an odd alignment up, if there is a power of two above it. */
static void *aligned_any(size_t align, size_t size, struct kms_request_info *info)
{
	size_t power = KMS_MALLOC_ALIGN;

	while (power < align && power << 1)
		power <<= 1;
	if (power < align) {
		errno = refuse(size, info);
		return NULL;
	}
	return aligned(power, size, info);
}

EXPORT void *memalign(size_t align, size_t size)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	return aligned_any(align, size, &info);
}

/* The same function in glibc before 2.38, which refuses what is no power of two. */
EXPORT void *aligned_alloc(size_t align, size_t size)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	return aligned_any(align, size, &info);
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
		rounded = SIZE_MAX; /* fails, and is recorded */
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
