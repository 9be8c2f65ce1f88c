/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the members of a Linux kernel's structures lie in one build of it.
 *
 * Nothing is assumed: each place comes from the kernel's own BTF. What a build does not have is
 * marked so, and what needs it is not offered. Names alone are not enough (there are several structs
 * trace_buffer): each struct is told from its namesakes by a member.
 */
#ifndef KMS_TRACER_GUEST_LINUX_LAYOUT_H
#define KMS_TRACER_GUEST_LINUX_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/btf.h"

/** What is offered, each if the build has all that it needs. */
enum kms_linux_feature {
	KMS_LX_FOR_CACHES, /* required */
	KMS_LX_FOR_SITES,
	KMS_LX_FOR_DEPOT,
	KMS_LX_FOR_EVENTS,
	KMS_LX_FOR_KFENCE,
	KMS_LX_FOR_MODULES,
	KMS_LX_OPTIONAL, /* missing in some builds without harm */
	KMS_LX_FEATURES,
};

/* X(symbol, name, a member that its namesakes do not have) */
#define KMS_LX_STRUCTS(X)                                                                          \
	X(CACHE, "kmem_cache", "object_size")                                                      \
	X(CACHE_CPU, "kmem_cache_cpu", "freelist")                                                 \
	X(NODE, "kmem_cache_node", "nr_partial")                                                   \
	X(SLAB, "slab", "slab_list")                                                               \
	X(PG, "page", "compound_head")                                                             \
	X(TRACK, "track", "when")                                                                  \
	X(HANDLE, "handle_parts", "offset")                                                        \
	X(RECORD, "stack_record", "entries")                                                       \
	X(TRACE_ARRAY, "trace_array", "array_buffer")                                              \
	X(TRACE_BUFFER, "trace_buffer", "buffers")                                                 \
	X(TRACEPOINT, "tracepoint", "key")                                                         \
	X(RING_CPU, "ring_buffer_per_cpu", "commit_page")                                          \
	X(RING_PAGE, "buffer_page", "page")                                                        \
	X(RING_DATA, "buffer_data_page", "commit")                                                 \
	X(EVENT_CALL, "trace_event_call", "event")                                                 \
	X(EV_KMALLOC, "trace_event_raw_kmalloc", "call_site")                                      \
	X(EV_KFREE, "trace_event_raw_kfree", "call_site")                                          \
	X(EV_CACHE_ALLOC, "trace_event_raw_kmem_cache_alloc", "call_site")                         \
	X(EV_CACHE_FREE, "trace_event_raw_kmem_cache_free", "call_site")                           \
	X(EV_PAGE_ALLOC, "trace_event_raw_mm_page_alloc", "pfn")                                   \
	X(EV_PAGE_FREE, "trace_event_raw_mm_page_free", "pfn")                                     \
	X(KFENCE_META, "kfence_metadata", "alloc_track")                                           \
	X(KFENCE_TRACK, "kfence_track", "num_stack_entries")                                       \
	X(MODULE, "module", "kallsyms")                                                            \
	X(MODULE_SYMBOLS, "mod_kallsyms", "symtab")

/* X(symbol, struct, path, feature) */
#define KMS_LX_MEMBERS(X)                                                                          \
	X(CACHE_NAME, CACHE, "name", FOR_CACHES)                                                   \
	X(CACHE_LIST, CACHE, "list.next", FOR_CACHES)                                              \
	X(CACHE_FLAGS, CACHE, "flags", FOR_CACHES)                                                 \
	X(CACHE_SIZE, CACHE, "size", FOR_CACHES)                                                   \
	X(CACHE_OBJECT_SIZE, CACHE, "object_size", FOR_CACHES)                                     \
	X(CACHE_OO, CACHE, "oo.x", FOR_CACHES)                                                     \
	X(CACHE_NODES, CACHE, "node", FOR_CACHES)                                                  \
	X(CACHE_OFFSET, CACHE, "offset", FOR_SITES)                                                \
	X(CACHE_INUSE, CACHE, "inuse", FOR_SITES)                                                  \
	X(CACHE_RED_LEFT_PAD, CACHE, "red_left_pad", FOR_SITES)                                    \
	X(CACHE_RANDOM, CACHE, "random", OPTIONAL)                                                 \
	X(CACHE_CPU_SLAB, CACHE, "cpu_slab", OPTIONAL)                                             \
	X(CACHE_CPU_FREELIST, CACHE_CPU, "freelist", OPTIONAL)                                     \
	X(CACHE_CPU_OF, CACHE_CPU, "slab", OPTIONAL)                                               \
	X(NODE_NR_PARTIAL, NODE, "nr_partial", FOR_CACHES)                                         \
	X(NODE_PARTIAL, NODE, "partial.next", FOR_CACHES)                                          \
	X(NODE_NR_SLABS, NODE, "nr_slabs.counter", FOR_CACHES)                                     \
	X(NODE_OBJECTS, NODE, "total_objects.counter", FOR_CACHES)                                 \
	X(NODE_FULL, NODE, "full.next", FOR_SITES)                                                 \
	X(SLAB_LIST, SLAB, "slab_list.next", FOR_CACHES)                                           \
	X(SLAB_CACHE, SLAB, "slab_cache", FOR_CACHES)                                              \
	X(SLAB_INUSE, SLAB, "inuse", FOR_CACHES)                                                   \
	X(SLAB_OBJECTS, SLAB, "objects", FOR_CACHES)                                               \
	X(SLAB_FREELIST, SLAB, "freelist", FOR_SITES)                                              \
	X(PG_HEAD, PG, "compound_head", OPTIONAL)                                                  \
	X(TRACK_ADDRESS, TRACK, "addr", FOR_SITES)                                                 \
	X(TRACK_PID, TRACK, "pid", FOR_SITES)                                                      \
	X(TRACK_WHEN, TRACK, "when", FOR_SITES)                                                    \
	X(TRACK_HANDLE, TRACK, "handle", FOR_DEPOT)                                                \
	X(HANDLE_OFFSET, HANDLE, "offset", FOR_DEPOT)                                              \
	X(HANDLE_POOL, HANDLE, "pool_index", OPTIONAL)                                             \
	X(HANDLE_POOL_1, HANDLE, "pool_index_plus_1", OPTIONAL)                                    \
	X(HANDLE_SLAB, HANDLE, "slabindex", OPTIONAL)                                              \
	X(HANDLE_EXTRA, HANDLE, "extra", OPTIONAL)                                                 \
	X(RECORD_SIZE, RECORD, "size", FOR_DEPOT)                                                  \
	X(RECORD_HANDLE, RECORD, "handle.handle", FOR_DEPOT)                                       \
	X(RECORD_ENTRIES, RECORD, "entries", FOR_DEPOT)                                            \
	X(TRACE_ARRAY_BUFFER, TRACE_ARRAY, "array_buffer.buffer", FOR_EVENTS)                      \
	X(TRACE_BUFFER_CPUS, TRACE_BUFFER, "cpus", OPTIONAL)                                       \
	X(TRACE_BUFFER_ORDER, TRACE_BUFFER, "subbuf_order", OPTIONAL)                              \
	X(TRACE_BUFFER_BUFFERS, TRACE_BUFFER, "buffers", FOR_EVENTS)                               \
	X(RING_CPU_PAGES, RING_CPU, "nr_pages", FOR_EVENTS)                                        \
	X(RING_CPU_COMMIT, RING_CPU, "commit_page", FOR_EVENTS)                                    \
	X(RING_CPU_TOUCHED, RING_CPU, "pages_touched.a.counter", FOR_EVENTS)                       \
	X(RING_PAGE_LIST, RING_PAGE, "list.next", FOR_EVENTS)                                      \
	X(RING_PAGE_DATA, RING_PAGE, "page", FOR_EVENTS)                                           \
	X(RING_DATA_TIME, RING_DATA, "time_stamp", FOR_EVENTS)                                     \
	X(RING_DATA_COMMIT, RING_DATA, "commit.a.counter", FOR_EVENTS)                             \
	X(RING_DATA_DATA, RING_DATA, "data", FOR_EVENTS)                                           \
	X(EVENT_CALL_TYPE, EVENT_CALL, "event.type", FOR_EVENTS)                                   \
	X(TRACEPOINT_ENABLED, TRACEPOINT, "key.enabled.counter", OPTIONAL)                         \
	X(EVENT_TYPE, EV_KMALLOC, "ent.type", FOR_EVENTS)                                          \
	X(EVENT_PID, EV_KMALLOC, "ent.pid", FOR_EVENTS)                                            \
	X(EV_KMALLOC_SITE, EV_KMALLOC, "call_site", FOR_EVENTS)                                    \
	X(EV_KMALLOC_PTR, EV_KMALLOC, "ptr", FOR_EVENTS)                                           \
	X(EV_KMALLOC_BYTES, EV_KMALLOC, "bytes_req", FOR_EVENTS)                                   \
	X(EV_KMALLOC_ROOM, EV_KMALLOC, "bytes_alloc", OPTIONAL)                                    \
	X(EV_KFREE_SITE, EV_KFREE, "call_site", FOR_EVENTS)                                        \
	X(EV_KFREE_PTR, EV_KFREE, "ptr", FOR_EVENTS)                                               \
	X(EV_CACHE_ALLOC_SITE, EV_CACHE_ALLOC, "call_site", OPTIONAL)                              \
	X(EV_CACHE_ALLOC_PTR, EV_CACHE_ALLOC, "ptr", OPTIONAL)                                     \
	X(EV_CACHE_ALLOC_BYTES, EV_CACHE_ALLOC, "bytes_req", OPTIONAL)                             \
	X(EV_CACHE_FREE_SITE, EV_CACHE_FREE, "call_site", OPTIONAL)                                \
	X(EV_CACHE_FREE_PTR, EV_CACHE_FREE, "ptr", OPTIONAL)                                       \
	X(EV_PAGE_ALLOC_PFN, EV_PAGE_ALLOC, "pfn", OPTIONAL)                                       \
	X(EV_PAGE_ALLOC_ORDER, EV_PAGE_ALLOC, "order", OPTIONAL)                                   \
	X(EV_PAGE_FREE_PFN, EV_PAGE_FREE, "pfn", OPTIONAL)                                         \
	X(EV_PAGE_FREE_ORDER, EV_PAGE_FREE, "order", OPTIONAL)                                     \
	X(KFENCE_STATE, KFENCE_META, "state", FOR_KFENCE)                                          \
	X(KFENCE_ADDRESS, KFENCE_META, "addr", FOR_KFENCE)                                         \
	X(KFENCE_SIZE, KFENCE_META, "size", FOR_KFENCE)                                            \
	X(KFENCE_CACHE, KFENCE_META, "cache", FOR_KFENCE)                                          \
	X(KFENCE_ALLOC, KFENCE_META, "alloc_track", FOR_KFENCE)                                    \
	X(KFENCE_FREE, KFENCE_META, "free_track", FOR_KFENCE)                                      \
	X(KFENCE_TRACK_PID, KFENCE_TRACK, "pid", FOR_KFENCE)                                       \
	X(KFENCE_TRACK_TIME, KFENCE_TRACK, "ts_nsec", OPTIONAL)                                    \
	X(KFENCE_TRACK_COUNT, KFENCE_TRACK, "num_stack_entries", FOR_KFENCE)                       \
	X(KFENCE_TRACK_ENTRIES, KFENCE_TRACK, "stack_entries", FOR_KFENCE)                         \
	X(MODULE_LIST, MODULE, "list.next", FOR_MODULES)                                           \
	X(MODULE_NAME, MODULE, "name", FOR_MODULES)                                                \
	X(MODULE_KALLSYMS, MODULE, "kallsyms", FOR_MODULES)                                        \
	X(MODULE_BASE, MODULE, "core_layout.base", OPTIONAL)                                       \
	X(MODULE_SIZE, MODULE, "core_layout.size", OPTIONAL)                                       \
	X(MODULE_MEMORY, MODULE, "mem", OPTIONAL)                                                  \
	X(MODULE_SYMTAB, MODULE_SYMBOLS, "symtab", FOR_MODULES)                                    \
	X(MODULE_COUNT, MODULE_SYMBOLS, "num_symtab", FOR_MODULES)                                 \
	X(MODULE_STRTAB, MODULE_SYMBOLS, "strtab", FOR_MODULES)

/* X(symbol, the enum's constant, its value as a flag's bit number?, what older kernels #define) */
#define KMS_LX_CONSTANTS(X)                                                                        \
	X(STORE_USER, "_SLAB_STORE_USER", true, 0x10000)                                           \
	X(RED_ZONE, "_SLAB_RED_ZONE", true, 0x400)                                                 \
	X(POISON, "_SLAB_POISON", true, 0x800)                                                     \
	X(KMALLOC, "_SLAB_KMALLOC", true, 0x1000)                                                  \
	X(OBJECT_POISON, "_SLAB_OBJECT_POISON", true, 0x80000000)                                  \
	X(COUNT_ALLOCATED, "KFENCE_COUNTER_ALLOCATED", false, 0)                                   \
	X(COUNT_ALLOCS, "KFENCE_COUNTER_ALLOCS", false, 1)                                         \
	X(COUNT_FREES, "KFENCE_COUNTER_FREES", false, 2)                                           \
	X(COUNT_BUGS, "KFENCE_COUNTER_BUGS", false, 4)                                             \
	X(COUNT_SKIPPED, "KFENCE_COUNTER_SKIP_INCOMPAT", false, 5)                                 \
	X(COUNTS, "KFENCE_COUNTER_COUNT", false, 8)                                                \
	X(KFENCE_ALLOCATED, "KFENCE_OBJECT_ALLOCATED", false, 1)                                   \
	X(KFENCE_FREED, "KFENCE_OBJECT_FREED", false, 2)

enum kms_lx_struct {

#define X(symbol, name, member) KMS_LX_##symbol,
	KMS_LX_STRUCTS(X)
#undef X
		KMS_LX_STRUCT_COUNT,
};

enum kms_lx_member {

#define X(symbol, type, path, feature) KMS_LX_##symbol##_AT,
	KMS_LX_MEMBERS(X)
#undef X
		KMS_LX_MEMBER_COUNT,
};

enum kms_lx_constant {

#define X(symbol, name, is_flag, otherwise) KMS_LX_IS_##symbol,
	KMS_LX_CONSTANTS(X)
#undef X
		KMS_LX_CONSTANT_COUNT,
};

enum kms_linux_layout_bounds {
	KMS_LX_MAX_STRUCT_BYTES = 1 << 16, /* trace_array, kmem_cache: 8 KiB */
};

/** A member's place; bits 0: this build does not have it. */
struct kms_linux_place {
	uint32_t byte;
	uint16_t shift; /* from the lowest bit of that byte */
	uint16_t bits;  /* 65,535: that many or more */
};

/** All places of one build. Nothing in it depends on where the kernel was loaded. */
struct kms_linux_layout {
	uint32_t bytes[KMS_LX_STRUCT_COUNT]; /* of the structs; 0: not there */
	uint32_t features;                   /* bits of enum kms_linux_feature */
	struct kms_linux_place place[KMS_LX_MEMBER_COUNT];
	uint64_t constant[KMS_LX_CONSTANT_COUNT];
};

/**
 * Looks all members up.
 *
 * Errors: -ENOTSUP: a member that nothing works without is missing: err names it
 */
int kms_linux_layout_probe(struct kms_linux_layout *layout, const struct kms_btf *btf,
			   struct kms_err *err);

/** Checks a layout that was kept in a file. Errors: -EBADMSG */
int kms_linux_layout_check(const struct kms_linux_layout *layout, struct kms_err *err);

/** A number that changes with the tables above. */
uint64_t kms_linux_layout_version(void);

static inline bool kms_linux_layout_has(const struct kms_linux_layout *layout,
					enum kms_linux_feature feature)
{
	return layout->features >> feature & 1;
}

/** Value at a place, given its first byte; 0 where the build has none, or it has more than 64 bits. */
uint64_t kms_linux_value(const struct kms_linux_place *place, const void *at);

/** Value of a member of at most 64 bits in a copy of its struct; 0 where the build has none. */
uint64_t kms_linux_member(const struct kms_linux_layout *layout, enum kms_lx_member member,
			  const void *copy);

/** Where a member lies behind the begin of its struct. */
static inline uint32_t kms_linux_offset(const struct kms_linux_layout *layout,
					enum kms_lx_member member)
{
	return layout->place[member].byte;
}

/** Bytes of a struct's copy that holds all numbers from one member to another of the table. */
uint32_t kms_linux_reach(const struct kms_linux_layout *layout, enum kms_lx_member first,
			 enum kms_lx_member last);

static inline bool kms_linux_has_member(const struct kms_linux_layout *layout,
					enum kms_lx_member member)
{
	return layout->place[member].bits != 0;
}

#endif
