/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What KMEM_GUARD asks of the place it runs in: ways to make pages accessible and inaccessible.
 * A process has three (port/guard_posix.c), a guest kernel its page tables, a test a fake.
 */
#ifndef KMS_ALLOCATOR_GUARD_PORT_H
#define KMS_ALLOCATOR_GUARD_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Results that the guard tells apart; any other negative number is "no memory". */
enum kms_guard_error {
	KMS_GUARD_NO_MAPS = -2,   /* the budget of map entries is used up */
	KMS_GUARD_WAS_CLOSED = 1, /* no error: see open */
};

/**
 * One way to close pages. All functions work on whole pages of the guard's reservation, leave errno
 * alone, and may be called by several threads at once for different pages.
 */
struct kms_guard_ops {
	uint32_t id; /* enum kms_guard_backend */
	bool missing_traps; /* an open page whose memory was given back (madvise) traps like a closed one */

	/** The reservation is taken in by so much at a time: a power of two, at most 64 MiB. */
	size_t step_bytes;

	/** Can it work here? Prepares what it needs. 0, or a negative error and nothing changed. */
	int (*start)(void);

	/** Takes in the next part of the reservation: closed from now on. 0 or a negative error. */
	int (*extend)(void *start, size_t bytes);

	/**
	 * Makes closed pages readable, writable and zero; pages already open keep what they hold.
	 * 0, KMS_GUARD_WAS_CLOSED if one of them was closed for certain, or a negative error, after
	 * which none of those that were closed is open.
	 */
	int (*open)(void *start, size_t bytes);

	/** Makes pages inaccessible and gives their memory back. Closed ones may be among them. */
	int (*close)(void *start, size_t bytes);

	/**
	 * In a forked child: everything closed in the parent is closed here. @start, @bytes: all that
	 * was taken in. A negative error: closed pages may read as zero now.
	 */
	int (*after_fork)(void *start, size_t bytes);

	/** Map entries of the whole process, and how many it may have; 0 if that is no limit here. */
	void (*maps)(uint64_t *used, uint64_t *max);
};

/** The back ends of this port, best first; NULL from the first index that has none. */
const struct kms_guard_ops *kms_port_guard_backend(unsigned index);

/** Bytes of address space that the guard may reserve, given the limits of this process. */
size_t kms_port_guard_reserve_bytes(void);

#endif
