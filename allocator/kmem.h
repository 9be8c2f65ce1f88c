/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public interface of libkmem: kmem(9) as its manual page promises, with the checks of its
 * options KMEM_SIZE, KMEM_REDZONE and KMEM_GUARD; pool_cache(9); ddi_umem_alloc(9F).
 * libkmem_malloc.so exports the same functions.
 *
 * All functions are safe in threads. Misuse (size 0, NULL free, wrong size, wrong context, ...) is
 * one fault report; the policy variables say whether the program then goes on. After a report the
 * call returns safely: an allocation of size 0 gives NULL, any other memory as asked; a free of a
 * live block is carried out, of anything else not.
 */
#ifndef KMEM_H
#define KMEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KMEM_API __attribute__((visibility("default")))

typedef unsigned int km_flag_t;

/** Exactly one of the two must be given. */
#define KM_SLEEP   0x00000001u /* never fails: waits for memory */
#define KM_NOSLEEP 0x00000002u /* may return NULL */

/**
 * Memory of at least @size bytes, contents undefined, aligned to 8 bytes at least.
 *
 * Locks:  KM_SLEEP may block; not from interrupt, soft interrupt or callout context
 * Errors: NULL with KM_NOSLEEP when there is no memory; size 0, bad flags, wrong context: a fault
 * Source: kmem(9)
 */
KMEM_API void *kmem_alloc(size_t size, km_flag_t flags);

/** As kmem_alloc, with exactly @size bytes set to zero. Source: kmem(9). */
KMEM_API void *kmem_zalloc(size_t size, km_flag_t flags);

/**
 * Gives @p back. @size must be the size it was allocated with.
 *
 * Locks:  may block; not from interrupt context
 * Errors: NULL, size 0, a wrong size, a pointer that is no block, a block freed before: a fault
 * Source: kmem(9)
 */
KMEM_API void kmem_free(void *p, size_t size);

/** As kmem_alloc, legal in interrupt context (with KM_NOSLEEP). Source: kmem(9). */
KMEM_API void *kmem_intr_alloc(size_t size, km_flag_t flags);
KMEM_API void *kmem_intr_zalloc(size_t size, km_flag_t flags);
KMEM_API void kmem_intr_free(void *p, size_t size);

/** Formatted string in a block of its length + 1; free with kmem_strfree. Never fails. */
KMEM_API char *kmem_asprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * Copy of @string. *@size (may be NULL) is set to its length + 1, the size to give to kmem_free.
 * NULL with KM_NOSLEEP when there is no memory; *size is untouched then.
 */
KMEM_API char *kmem_strdupsize(const char *string, size_t *size, km_flag_t flags);

/** Copy of at most @max characters; the block has the copied length + 1. @max 0: a fault. */
KMEM_API char *kmem_strndup(const char *string, size_t max, km_flag_t flags);

/* NOLINTNEXTLINE(readability-identifier-naming): called as a function, as the manual says */
#define kmem_strdup(string, flags) kmem_strdupsize((string), NULL, (flags))

/** Frees a string of the functions above: strlen + 1 bytes. NULL is allowed. */
KMEM_API void kmem_strfree(char *string);

/** @size rounded up to the allocator's quantum of 8 bytes. */
KMEM_API size_t kmem_roundup_size(size_t size);

/*
 * pool_cache(9): caches of objects of one size that stay constructed between two uses. A cache has a
 * row of its own under its name wherever caches are shown.
 *
 * Constructors and destructors may call anything of this file; they run in the context of the call
 * that needs them. Objects are parked with the thread that put them, in groups, and in a depot.
 */

/** A cache. Made by pool_cache_init, gone with pool_cache_destroy. */
typedef struct pool_cache *pool_cache_t;

/** Flags of pool_cache_get and pool_cache_init; values of NetBSD's sys/pool.h. */
#define PR_WAITOK     0x00000001 /* waits for memory and for the hard limit; same as KM_SLEEP */
#define PR_NOWAIT     0x00000002 /* may return NULL; same as KM_NOSLEEP */
#define PR_LIMITFAIL  0x00000100 /* with PR_WAITOK: NULL at the hard limit all the same */
#define PR_NOTOUCH    0x00000400 /* accepted: free objects are never written to, but by POISON */
#define PR_NOALIGN    0x00000800 /* accepted */
#define PR_LARGECACHE 0x00001000 /* pool_cache_init: groups of 63 objects, not 15 */

#ifndef IPL_NONE
/** Interrupt priority levels, for pool_cache_init: IPL_NONE, or from which level it is used. */
#define IPL_NONE      0
#define IPL_SOFTCLOCK 2
#define IPL_SOFTBIO   3
#define IPL_SOFTNET   4
#define IPL_VM        6
#define IPL_SCHED     7
#define IPL_HIGH      8
#endif

/** Physical addresses, which a process does not know. */
typedef uint64_t paddr_t;
#define POOL_PADDR_INVALID ((paddr_t)-1)

/** Where a pool's pages come from: always the heap. With pool_allocator_nointr, ipl is IPL_NONE. */
struct pool_allocator;
KMEM_API extern struct pool_allocator pool_allocator_kmem;
KMEM_API extern struct pool_allocator pool_allocator_nointr;

/**
 * Makes a cache of objects of @size bytes (up to 16 MiB), aligned to @align (a power of two up to
 * 32 KiB; 0: 8).
 *
 * Shape:       @name is copied, its first 39 bytes are used; @align_offset must be 0; @flags:
 *              PR_LARGECACHE; @allocator: NULL or one of the two above
 * Constructor: (@arg, object, flags of the get): 0, or not 0: the get gives NULL, even with
 *              PR_WAITOK. NULL: none
 * Destructor:  (@arg, object), before an object's memory leaves the cache. NULL: none
 * Ownership:   the cache's; destroy it with pool_cache_destroy
 * Errors:      NULL without memory, or when the 256 places for caches (size classes included) are
 *              taken, which is printed; a destroyed cache's place serves another of the same name,
 *              size and alignment. Size 0 and wrong arguments: a fault and NULL
 * Source:      pool_cache(9)
 */
KMEM_API pool_cache_t pool_cache_init(size_t size, unsigned int align, unsigned int align_offset,
				      int flags, const char *name, struct pool_allocator *allocator,
				      int ipl,
				      int (*constructor)(void *arg, void *object, int flags),
				      void (*destructor)(void *arg, void *object), void *arg);

/**
 * Destructs all parked objects and gives the memory back. No other call on the cache may run
 * meanwhile. A cache with live objects stays as it is: a fault, with their number.
 */
KMEM_API void pool_cache_destroy(pool_cache_t pc);

/**
 * A constructed object. Under guard it is constructed here and destructed by the put, so that its
 * memory can be closed in between.
 *
 * Locks:  PR_WAITOK may block; not from interrupt context, nor with a lock held. No call of an
 *         IPL_NONE cache from interrupt context
 * Errors: NULL with PR_NOWAIT without memory or at the hard limit, and when the constructor fails;
 *         neither or both of PR_WAITOK and PR_NOWAIT, a destroyed cache: a fault
 * Source: pool_cache(9)
 */
KMEM_API void *pool_cache_get(pool_cache_t pc, int flags);

/** As pool_cache_get; *@paddr (may be NULL) becomes POOL_PADDR_INVALID. */
KMEM_API void *pool_cache_get_paddr(pool_cache_t pc, int flags, paddr_t *paddr);

/**
 * Gives @object back in its constructed state. An object of another cache is a fault that names
 * both caches, and goes back to its own.
 *
 * Errors: NULL, an object put before, a pointer that is no object: a fault
 * Source: pool_cache(9)
 */
KMEM_API void pool_cache_put(pool_cache_t pc, void *object);
KMEM_API void pool_cache_put_paddr(pool_cache_t pc, void *object, paddr_t paddr);

/** As pool_cache_put, but the object is destructed now and not parked. */
KMEM_API void pool_cache_destruct_object(pool_cache_t pc, void *object);

/** Destructs every parked object, with whatever thread it is. Live ones are not concerned. */
KMEM_API void pool_cache_invalidate(pool_cache_t pc);

/**
 * The same, and slabs that were empty for 10 s give their pages back, but for the low water mark.
 * Returns 1 if any pages went.
 */
KMEM_API int pool_cache_reclaim(pool_cache_t pc);

/** Keeps memory for @n objects beyond the live ones; made now as far as there is memory. */
KMEM_API void pool_cache_setlowat(pool_cache_t pc, int n);

/** An empty slab is given back at once while the cache has pages for more than @n objects. */
KMEM_API void pool_cache_sethiwat(pool_cache_t pc, int n);

/**
 * At most @n objects, parked ones included (they are used first). @warning (kept, may be NULL) is
 * printed when the limit is met, at most once in @rate_s seconds.
 */
KMEM_API void pool_cache_sethardlimit(pool_cache_t pc, int n, const char *warning, int rate_s);

/*
 * ddi_umem_alloc(9F): page-aligned, zeroed memory behind a cookie, in whole pages, that another
 * address space can map.
 */

/** Stands for a buffer; a valid one is never NULL. */
typedef void *ddi_umem_cookie_t;

/** Flags of ddi_umem_alloc; values of illumos' sys/sunddi.h. */
#define DDI_UMEM_SLEEP    0x0 /* waits for memory; with PAGEABLE it may fail all the same */
#define DDI_UMEM_NOSLEEP  0x1 /* may return NULL */
#define DDI_UMEM_PAGEABLE 0x2 /* not locked in physical memory */

/**
 * Zeroed memory of @size bytes rounded up to whole pages, all of which may be used. *@cookiep is set
 * to NULL first, and to the buffer's cookie on success. Without DDI_UMEM_PAGEABLE the memory is
 * locked as far as the process may lock memory; what is short is a figure of the process. A forked
 * child shares the memory with its parent, and locks it again.
 *
 * Locks:  DDI_UMEM_SLEEP may block; not from interrupt context, nor with a lock held, nor between
 *         kmem_suspend_enter and kmem_suspend_leave
 * Errors: NULL for size 0 and for a size that cannot be rounded, with any flags; without memory
 *         with NOSLEEP or PAGEABLE. Unknown flags, wrong context: a fault
 * Source: ddi_umem_alloc(9F)
 */
KMEM_API void *ddi_umem_alloc(size_t size, int flags, ddi_umem_cookie_t *cookiep);

/**
 * Gives the whole buffer back. Who has mapped it elsewhere keeps what was in it. NULL is allowed;
 * from any context.
 *
 * Errors: a cookie freed before, the buffer's address, anything else: a fault
 * Source: ddi_umem_alloc(9F)
 */
KMEM_API void ddi_umem_free(ddi_umem_cookie_t cookie);

/** How another process maps a buffer: mmap(NULL, bytes, ..., MAP_SHARED, fd, offset). */
struct ddi_umem_map {
	int fd; /* the caller's to pass on and to close; close-on-exec */
	uint64_t offset;
	size_t bytes;
};

/**
 * What devmap_umem_setup(9F) is for: *@map says how to map the buffer of @cookie, at its offset. The
 * descriptor reaches this buffer and no other, as long as no more are live than a quarter of the
 * descriptors that the process may have; those beyond share a file.
 *
 * Shape:  @protection: PROT_READ, or PROT_READ | PROT_WRITE: what it can be mapped for
 * Errors: -EINVAL wrong protection, no such cookie (a fault, too); -ENODEV: no descriptor was left
 *         when the buffer was made, or the program has closed it; else as open
 */
KMEM_API int ddi_umem_export(ddi_umem_cookie_t cookie, int protection, struct ddi_umem_map *map);

/**
 * Marks of a suspend and its resume (DDI_SUSPEND, DDI_RESUME) on this thread: ddi_umem_alloc between
 * them is a fault. They nest.
 */
KMEM_API void kmem_suspend_enter(void);
KMEM_API void kmem_suspend_leave(void);

/** Context levels, for kmem_context_enter; same values as enum kms_level of schema/record.h. */
enum kmem_context {
	KMEM_CONTEXT_TASK = 0,
	KMEM_CONTEXT_SOFTINT = 1,
	KMEM_CONTEXT_CALLOUT = 2,
	KMEM_CONTEXT_HARDINT = 3,
};

/**
 * Tells the allocator that this thread (CPU) now runs at @level: an emulated kernel calls it where
 * its interrupt, soft interrupt or callout begins. Returns the level before, for
 * kmem_context_leave. Nests.
 */
KMEM_API int kmem_context_enter(int level);
KMEM_API void kmem_context_leave(int previous_level);

/** Tells that this thread holds one more (one less) lock with which it must not sleep. */
KMEM_API void kmem_lock_hold(const void *lock);
KMEM_API void kmem_lock_drop(const void *lock);

/** Puts a named mark into the event stream. */
KMEM_API void kmem_mark(const char *name);

/** Checks every block of every cache now; returns the number of damaged blocks (each one a fault). */
KMEM_API size_t kmem_verify(void);

/**
 * Reads or sets a variable of DESIGN 5 by name ("kmem_guard_depth" or "guard_depth").
 * Errors: -ENOENT unknown name, -ERANGE out of range, -ENOTSUP not possible here
 */
KMEM_API int kmem_variable_get(const char *name, uint64_t *value);
KMEM_API int kmem_variable_set(const char *name, uint64_t value);

#ifdef __cplusplus
}
#endif

#endif
