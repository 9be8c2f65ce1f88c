/* SPDX-License-Identifier: BSD-2-Clause */
/* pool_cache(9) as kmem.h exports it: each function finds its caller's frame and local. */
#include "allocator/front.h"
#include "allocator/kmem.h"
#include "allocator/pool.h"

/* Which one a pool is given is only a question of what it may say: both lead to the same pages. */
struct pool_allocator {
	int ipl;
};

struct pool_allocator pool_allocator_kmem = {.ipl = IPL_VM};
struct pool_allocator pool_allocator_nointr = {.ipl = IPL_NONE};

/* NOLINTNEXTLINE(readability-function-size): the manual's parameters */
pool_cache_t pool_cache_init(size_t size, unsigned int align, unsigned int align_offset, int flags,
			     const char *name, struct pool_allocator *allocator, int ipl,
			     int (*constructor)(void *, void *, int),
			     void (*destructor)(void *, void *), void *arg)
{
	struct kms_request_info info = {0};
	const struct kms_pool_plan plan = {
		.size = size,
		.align = align,
		.align_offset = align_offset,
		.flags = flags,
		.name = name ? name : "pool",
		.ipl = allocator == &pool_allocator_nointr ? IPL_NONE : ipl,
		.constructor = constructor,
		.destructor = destructor,
		.arg = arg,
	};
	struct kms_local *t = kms_front_enter();
	struct pool_cache *pool;

	KMS_CALLER_FRAME(&info.frame);
	if (!t)
		return NULL;
	pool = kms_pool_create(t, &plan, &info);
	kms_front_leave(t);
	return pool;
}

void pool_cache_destroy(pool_cache_t pc)
{
	struct kms_request_info info = {0};
	struct kms_local *t = kms_front_enter();

	KMS_CALLER_FRAME(&info.frame);
	if (!t)
		return;
	(void)kms_pool_destroy(t, pc, &info);
	kms_front_leave(t);
}

static void *get(pool_cache_t pc, int flags, struct kms_request_info *info)
{
	struct kms_local *t = kms_front_enter();
	void *object;

	if (!t)
		return NULL;
	object = kms_pool_get(t, pc, flags, info);
	kms_front_leave(t);
	return object;
}

static void put(pool_cache_t pc, void *object, bool destruct, struct kms_request_info *info)
{
	struct kms_local *t = kms_front_enter();

	if (!t)
		return;
	kms_pool_put(t, pc, object, destruct, info);
	kms_front_leave(t);
}

void *pool_cache_get(pool_cache_t pc, int flags)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	return get(pc, flags, &info);
}

void *pool_cache_get_paddr(pool_cache_t pc, int flags, paddr_t *paddr)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	if (paddr)
		*paddr = POOL_PADDR_INVALID;
	return get(pc, flags, &info);
}

void pool_cache_put(pool_cache_t pc, void *object)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	put(pc, object, false, &info);
}

void pool_cache_put_paddr(pool_cache_t pc, void *object, paddr_t paddr)
{
	struct kms_request_info info = {0};

	(void)paddr;
	KMS_CALLER_FRAME(&info.frame);
	put(pc, object, false, &info);
}

void pool_cache_destruct_object(pool_cache_t pc, void *object)
{
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	put(pc, object, true, &info);
}

/* A pool that lives, between enter and leave; NULL: neither. */
static struct kms_local *begin(pool_cache_t pc, const struct kms_request_info *info)
{
	struct kms_local *t = kms_front_enter();

	if (!t)
		return NULL;
	if (kms_pool_alive(t, pc, info))
		return t;
	kms_front_leave(t);
	return NULL;
}

void pool_cache_invalidate(pool_cache_t pc)
{
	struct kms_request_info info = {0};
	struct kms_local *t;

	KMS_CALLER_FRAME(&info.frame);
	t = begin(pc, &info);
	if (!t)
		return;
	kms_pool_invalidate(t, pc);
	kms_front_leave(t);
}

int pool_cache_reclaim(pool_cache_t pc)
{
	struct kms_request_info info = {0};
	struct kms_local *t;
	bool any;

	KMS_CALLER_FRAME(&info.frame);
	t = begin(pc, &info);
	if (!t)
		return 0;
	any = kms_pool_reclaim(t, pc);
	kms_front_leave(t);
	return any;
}

static uint32_t at_least_0(int n)
{
	return n < 0 ? 0 : (uint32_t)n;
}

static void set(pool_cache_t pc, kms_pool_set *fn, const struct kms_pool_mark *mark,
		const struct kms_request_info *info)
{
	struct kms_local *t = begin(pc, info);

	if (!t)
		return;
	fn(t, pc, mark);
	kms_front_leave(t);
}

void pool_cache_setlowat(pool_cache_t pc, int n)
{
	const struct kms_pool_mark mark = {.objects = at_least_0(n)};
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	set(pc, kms_pool_set_low, &mark, &info);
}

void pool_cache_sethiwat(pool_cache_t pc, int n)
{
	const struct kms_pool_mark mark = {.objects = at_least_0(n)};
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	set(pc, kms_pool_set_high, &mark, &info);
}

void pool_cache_sethardlimit(pool_cache_t pc, int n, const char *warning, int rate_s)
{
	const struct kms_pool_mark mark = {at_least_0(n), warning, at_least_0(rate_s)};
	struct kms_request_info info = {0};

	KMS_CALLER_FRAME(&info.frame);
	set(pc, kms_pool_set_limit, &mark, &info);
}
