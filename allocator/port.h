/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the allocator core asks of the place it runs in: a process (port/posix.c), a bare guest
 * kernel (guest/port.c). Nothing else is called by the core but memcpy, memmove,
 * memset, memcmp.
 */
#ifndef KMS_ALLOCATOR_PORT_H
#define KMS_ALLOCATOR_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Reserves @bytes of address space, inaccessible, aligned to @align (a power of two >= a page).
 * NULL if there is none; the caller then tries less.
 */
void *kms_port_reserve(size_t bytes, size_t align);

/** How much address space the arena may take: less where the process has a limit of it. */
size_t kms_port_arena_reserve_bytes(void);

/** The same for a table that reads as zero until it is opened. */
void *kms_port_reserve_readable(size_t bytes);

/** Makes part of a reservation readable and writable. 0 or a negative error. May be repeated. */
int kms_port_open(void *start, size_t bytes);

/**
 * Advice: much of this part of a reservation will be used, pages of 2 MiB would do. Spares TLB misses,
 * which the side entries and redzones of checked blocks make more of. Nothing happens where the system
 * is told not to.
 */
void kms_port_advise_huge(void *start, size_t bytes);

/** Gives the memory of an opened part back; it reads as zero afterwards. */
void kms_port_discard(void *start, size_t bytes);

/** Zeroed memory for the allocator's own tables; never given back. NULL without memory. */
void *kms_port_meta(size_t bytes);

/**
 * Makes sure that pages of the shared region have memory behind them, so that a store into them
 * cannot fail. Negative if the file system is full.
 */
int kms_port_populate(void *start, size_t bytes);

/** A file of memory that other address spaces can map. */
struct kms_shared_file {
	int fd;
	bool is_open;
	bool is_ended; /* nothing more is put into it, and nothing taken out */
	uint64_t device, inode;
	uint64_t used_bytes; /* of one for many: where the next piece begins */
	uint64_t max_bytes;
	uint32_t live; /* pieces */
};

enum kms_shared_limits {
	KMS_SHARED_FILES = 32,
};

/** The files of a heap; begins as zeros. Guarded by the caller's lock. */
struct kms_shared_files {
	uint32_t n_own;                                  /* files of one piece */
	struct kms_shared_file common[KMS_SHARED_FILES]; /* of many */
};

/** What the port keeps of a piece of such memory. Stays where it is; begins as zeros. */
struct kms_shared {
	struct kms_shared_file *file; /* @own, or a common one; NULL: not shared */
	struct kms_shared_file own;
	uint64_t offset;
	bool is_exported;
};

/**
 * Lays zeroed memory that can be mapped elsewhere over pages of an opened reservation. Negative
 * where that is not possible: the pages are as they were then. Needs the lock of @files.
 */
int kms_port_share(struct kms_shared_files *files, void *start, size_t bytes,
		   struct kms_shared *shared);

/**
 * Takes it away again: the pages are private and zero. Mappings elsewhere keep what they have. Needs
 * the lock of @files.
 */
void kms_port_unshare(struct kms_shared_files *files, void *start, size_t bytes,
		      struct kms_shared *shared);

/** A way for others to map it: a new descriptor, close-on-exec, the caller's; or a negative error. */
int kms_port_shared_fd(struct kms_shared *shared, bool writable);

/** Keeps pages in physical memory; returns for how many bytes from @start the system allowed it. */
size_t kms_port_pin(void *start, size_t bytes);
void kms_port_unpin(void *start, size_t bytes);

/** Makes pages of an opened reservation inaccessible, or readable and writable again. */
int kms_port_close_pages(void *start, size_t bytes);
int kms_port_open_pages(void *start, size_t bytes);

/** Accesses to closed pages are told to kms_umem_trap from now on; negative if that cannot be. */
int kms_port_catch_traps(void);

/** Monotonic time in ns. */
uint64_t kms_port_now_ns(void);

/** Mutual exclusion; *word is 0 when free. Not recursive. May sleep. */
void kms_port_lock(uint32_t *word);
void kms_port_unlock(uint32_t *word);

/** Takes the lock if that needs no waiting. */
bool kms_port_trylock(uint32_t *word);

/** Sleeps while *word == expected, at most timeout_ns; may return early. */
void kms_port_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void kms_port_wake(uint32_t *word);

uint32_t kms_port_tid(void);
void kms_port_thread_name(char name[16]);
uint32_t kms_port_pid(void);

/** Is this thread (or CPU) still there? Used to recycle what it owned. */
bool kms_port_alive(uint32_t tid);

bool kms_port_process_alive(uint32_t pid);

/** Writes a line where a person sees it. */
void kms_port_print(const char *text);

/**
 * For a thread that stands still: signals wait, but those that end the program as it is, and those
 * of memory faults. @saved is for kms_port_signals_release.
 */
void kms_port_signals_hold(uint64_t *saved);
void kms_port_signals_release(const uint64_t *saved);

/** Lets this process (the tracer's) hold our threads, where the system asks us for that. */
void kms_port_allow_tracer(uint32_t pid);

/** Has the tracer look at our slot now, not at its next poll. */
void kms_port_tell_tracer(void);

/**
 * Has everybody else stand still (a guest: the other CPUs), until they are released. False: the tracer
 * does that, if anybody, and says so.
 */
bool kms_port_hold_others(void);
void kms_port_release_others(void);

struct kms_heap;
struct kms_fault;

/** A fault was published. Where no tracer reads it, this is the place to tell a person. */
void kms_port_fault(struct kms_heap *heap, const struct kms_fault *fault);

/** Ends the program or kernel after a fault with policy panic. */
_Noreturn void kms_port_panic(const char *text);

#endif
