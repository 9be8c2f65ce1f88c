/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The modules (program, shared objects, vdso) of this process, as far as stacks led into them: each
 * is registered once in the region's module table, with path and build-id.
 *
 * A registration's map epoch is its table index + 1: unique in the image, forked children included,
 * so a stack node's (pc, epoch) names one module for ever. After dlclose every module must be seen
 * again before its epoch holds; the same module at the same place keeps its epoch.
 *
 * Threads: lookups are lock-free; registering takes a lock that is given up after a bounded wait
 * (a signal handler may have interrupted its holder), then the module is registered once more.
 */
#ifndef KMS_ALLOCATOR_PORT_MODULES_POSIX_H
#define KMS_ALLOCATOR_PORT_MODULES_POSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator/append.h"
#include "allocator/port/eh_frame.h"

enum kms_modules_limits {
	KMS_KNOWN_MODULES = 4096, /* places of the private table; a power of two */
};

/** A module as the dynamic loader shows it. Pointers lie in the module's own memory. */
struct kms_module_view {
	uint64_t start, end; /* mapped, [start, end) */
	uint64_t bias;
	const char *name;      /* "" for the program itself */
	const uint8_t *header; /* .eh_frame_hdr, NULL none */
};

/** What is known of the module that starts at @start. */
struct kms_module_known {
	uint64_t start;    /* 0: free place; atomic, set once */
	uint64_t standing; /* epoch << 32 | generation in which it was last seen; atomic */
	uint64_t identity; /* hash of path, build-id, place; under the lock */
};

struct kms_modules {
	struct kms_append table;   /* KMS_SEC_MODULE */
	struct kms_append strings; /* KMS_SEC_STRING */
	uint32_t slot;             /* process slot that registrations name; 0 until set */
	uint32_t generation;       /* grows at kms_modules_forget; atomic */
	uint32_t lock;             /* tid of its holder, 0 free */
	/* told of each registration, from within a capture; may be NULL */
	void (*registered)(void *arg, uint32_t index);
	void *arg;
	struct kms_module_known known[KMS_KNOWN_MODULES];
	uint32_t seen[KMS_MAX_MODULES + 1]; /* by epoch: generation in which it was last seen */
};

/** Starts with nothing known. @modules is zeroed memory. */
void kms_modules_init(struct kms_modules *modules, struct kms_region_header *region);

/** The module that holds an address. False: none. Safe in signal handlers. */
bool kms_module_find(uint64_t address, struct kms_module_view *view);

/** The segment of the module in which @header lies. False if it lies in none. */
bool kms_module_segment(const struct kms_module_view *view, struct kms_eh_view *segment);

/** Does the address lie in a segment of the module that can be executed? */
bool kms_module_is_code(const struct kms_module_view *view, uint64_t address);

/** Epoch of a module, registered if it is new; 0 when the tables are full. */
uint32_t kms_modules_epoch(struct kms_modules *modules, const struct kms_module_view *view);

static inline bool kms_modules_holds(const struct kms_modules *modules, uint32_t epoch)
{
	return epoch <= KMS_MAX_MODULES &&
	       __atomic_load_n(&modules->seen[epoch], __ATOMIC_RELAXED) ==
		       __atomic_load_n(&modules->generation, __ATOMIC_RELAXED);
}

/** The lock of the private table; false after a bounded wait. */
bool kms_modules_try_lock(struct kms_modules *modules);
void kms_modules_unlock(struct kms_modules *modules);

/** No epoch holds any more until its module was seen again. */
static inline void kms_modules_forget(struct kms_modules *modules)
{
	__atomic_add_fetch(&modules->generation, 1, __ATOMIC_RELEASE);
}

#endif
