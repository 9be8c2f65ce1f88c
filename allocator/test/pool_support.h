/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool whose constructor counts, for the tests of pool_cache(9). */
#ifndef KMS_ALLOCATOR_TEST_POOL_SUPPORT_H
#define KMS_ALLOCATOR_TEST_POOL_SUPPORT_H

#include <errno.h>
#include <string.h>

#include "allocator/kmem.h"
#include "allocator/pool.h"
#include "base/test/unit.h"

enum {
	BYTES = 100,   /* of an object of pool_make */
	OBJECTS = 200, /* more than magazines hold */
};

/** What constructors and destructors of a test have done. */
static struct {
	unsigned constructed, destructed;
	int last_flags;
	bool fail;
	void *argument;
} seen;

static inline int construct(void *argument, void *object, int flags)
{
	seen.argument = argument;
	seen.last_flags = flags;
	if (seen.fail)
		return ENOMEM;
	seen.constructed++;
	memset(object, 0x11, BYTES);
	return 0;
}

static inline void destruct(void *argument, void *object)
{
	assert_ptr_equal(argument, seen.argument);
	assert_int_equal(*(unsigned char *)object, 0x11);
	seen.destructed++;
}

static inline pool_cache_t pool_make(const char *name)
{
	memset(&seen, 0, sizeof(seen));
	seen.argument = &seen;
	return pool_cache_init(BYTES, 0, 0, 0, name, NULL, IPL_VM, construct, destruct, &seen);
}

static inline pool_cache_t plain_make(const char *name, size_t size, unsigned align)
{
	return pool_cache_init(size, align, 0, 0, name, NULL, IPL_NONE, NULL, NULL, NULL);
}

#endif
