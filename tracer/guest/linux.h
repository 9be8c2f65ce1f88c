/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An unmodified Linux kernel, 6.1 to 6.12, seen from outside: its memory is read and nothing else.
 * No agent, no vmlinux, no stop; the kernel's own tables say where everything is.
 *
 * A guest that runs changes its lists while they are read. What is counted is checked (a slab names
 * its cache, a list ends where it began) and read again when it does not fit; what does not fit
 * after some tries is marked. No number of the guest is believed beyond its bound.
 *
 * Locks: one thread at a time for each kms_linux.
 */
#ifndef KMS_TRACER_GUEST_LINUX_H
#define KMS_TRACER_GUEST_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/memory.h"

enum kms_linux_bounds {
	KMS_LINUX_CACHE_NAME_BYTES = 64,
	KMS_LINUX_MAX_CACHES = 4096,
	KMS_LINUX_MAX_SITES = 65536,
	KMS_LINUX_MAX_FRAMES = 64, /* of a stack in the depot: CONFIG_STACKDEPOT_MAX_FRAMES */
	KMS_LINUX_MAX_CPUS = 256,
};

struct kms_linux;
struct kms_symbols; /* kallsyms.h */

struct kms_linux_options {
	const char *cache_folder; /* symbols and places by build id; NULL: none are kept */
	bool is_still;            /* saved RAM: no clock goes, so it is not waited for */
	bool old_events; /* events begin with the oldest that the ring still has, not with now */
};

/** What is known of the kernel itself. Strings live as long as the kms_linux. */
struct kms_linux_about {
	const char *release;
	const char *build_id; /* "" none */
	uint64_t kaslr_offset;
	bool is_5_level;
	bool was_cached;  /* symbols and places came from the cache folder */
	uint32_t symbols; /* in the kernel's table */
	bool has_sites;   /* places for live objects by call site are known */
	bool has_depot;   /* with whole stacks */
	bool has_events;
	bool has_kfence;
};

/** A slab cache: the columns of /proc/slabinfo, and what follows from them. */
struct kms_linux_cache {
	char name[KMS_LINUX_CACHE_NAME_BYTES];
	uint64_t address;      /* of its struct kmem_cache */
	uint32_t object_bytes; /* what the owner asked for */
	uint32_t size_bytes;   /* "objsize": with padding and debugging */
	uint32_t objects_per_slab;
	uint32_t pages_per_slab;
	uint64_t active; /* objects */
	uint64_t objects;
	uint64_t slabs;
	uint64_t flags;      /* the kernel's */
	bool has_owners;     /* SLAB_STORE_USER: who allocated each object is known */
	bool is_approximate; /* its lists moved each time they were read */
};

/** Live objects of one cache and one allocation stack. Its place in the array is its own. */
struct kms_linux_site {
	uint32_t cache;         /* index in the caches of the same refresh */
	uint64_t cache_address; /* of it: stays true when they are read again */
	uint32_t handle;        /* of its stack in the depot, 0: only call_site is known */
	uint64_t call_site;     /* return address */
	uint64_t objects;
	uint64_t bytes; /* requested where the kernel keeps it, else the cache's object size */
	uint64_t oldest_jiffies;
	int32_t pid; /* of the youngest */
	uint64_t newest_jiffies;
	uint64_t first_ns;         /* clock of the caller when first seen */
	uint64_t first_bytes;      /* then */
	uint64_t shrunk;           /* times that there were fewer than before */
	double growth_bytes_per_s; /* since first seen */
	uint64_t id;   /* of cache and functions, the same in every boot; 0 beyond the first 512 */
	uint32_t slot; /* the library's own */
};

/** What a refresh of sites saw. */
struct kms_linux_site_stats {
	uint64_t slabs, live, free;
	uint64_t red_zones; /* objects with damage */
	uint64_t unread;    /* slabs that could not be read, or changed meanwhile */
	uint64_t dropped;   /* objects of sites beyond the bound */
	bool is_off;        /* no cache keeps owners: the guest was booted without slub_debug=U */
};

/** Who allocated or freed an object, as the kernel keeps it (slub_debug=U). */
struct kms_linux_track {
	uint64_t call_site; /* 0: it was not kept */
	uint32_t handle;    /* of the stack in the depot, 0 none */
	int32_t pid;
	uint64_t jiffies;
};

enum kms_linux_zone {
	KMS_LINUX_ZONE_LEFT = 1,    /* before an object */
	KMS_LINUX_ZONE_RIGHT = 2,   /* behind it */
	KMS_LINUX_ZONE_KMALLOC = 3, /* behind what was asked for, in the object */
	KMS_LINUX_ZONE_POISON = 4,  /* a free object itself */
	KMS_LINUX_ZONE_BEFORE = 5,  /* before an object in its page of KFENCE's pool */
	KMS_LINUX_ZONE_BEHIND = 6,  /* behind it there */
};

/** An object with a broken red zone, or a free one that was written to. */
struct kms_linux_damage {
	uint64_t object;
	uint64_t at;     /* the first byte that differs */
	uint32_t length; /* from there to the last one that differs */
	uint32_t cache;  /* index in the caches of the same refresh */
	uint32_t object_bytes;
	uint8_t zone; /* enum kms_linux_zone */
	uint8_t found, expected;
	bool is_free;
	uint32_t times; /* refreshes in a row that saw it: the first may be a change under way */
	struct kms_linux_track alloc, free;
	uint64_t bytes_at; /* address of what follows */
	uint32_t n_bytes;
	uint8_t bytes[64];
};

enum kms_linux_event_kind {
	KMS_LINUX_ALLOC = 1,
	KMS_LINUX_FREE = 2,
	KMS_LINUX_LOST = 3, /* @bytes: about how many events of this CPU nobody will see */
};

enum kms_linux_event_of {
	KMS_LINUX_OF_CACHE = 0,
	KMS_LINUX_OF_KMALLOC = 1,
	KMS_LINUX_OF_PAGES = 2, /* @address is physical; no call site */
};

/** An event of the kernel's trace ring. */
struct kms_linux_event {
	uint64_t time_ns; /* the guest's trace clock */
	uint64_t address;
	uint64_t bytes; /* of an allocation, as asked for; of pages always */
	uint64_t room;  /* what a kmalloc was given; 0 unknown */
	uint64_t call_site;
	int32_t pid;
	uint16_t cpu;
	uint8_t kind; /* enum kms_linux_event_kind */
	uint8_t of;   /* enum kms_linux_event_of */
};

struct kms_linux_event_stats {
	uint64_t events;     /* given to the caller */
	uint64_t others;     /* of other kinds, passed over */
	uint64_t lost_pages; /* overwritten before they were read */
	uint64_t pages;      /* read */
	uint64_t damaged;    /* pages that changed under the reader, or make no sense */
	bool is_on;          /* the guest has one of the kmem events on */
};

enum kms_linux_kfence_state {
	KMS_LINUX_KFENCE_UNUSED = 0,
	KMS_LINUX_KFENCE_LIVE = 1,
	KMS_LINUX_KFENCE_FREED = 2,
};

/** An object in KFENCE's pool. Stacks are innermost first. */
struct kms_linux_kfence_object {
	uint32_t index; /* in the pool */
	enum kms_linux_kfence_state state;
	uint64_t address;
	uint64_t bytes;
	uint64_t cache; /* address of its struct kmem_cache */
	int32_t alloc_pid, free_pid;
	uint32_t alloc_frames, free_frames;
	uint64_t alloc_frame[KMS_LINUX_MAX_FRAMES];
	uint64_t free_frame[KMS_LINUX_MAX_FRAMES];
};

struct kms_linux_kfence {
	bool is_on; /* kfence_enabled */
	uint64_t pool;
	uint64_t sample_interval_ms;
	uint32_t objects; /* the pool has room for */
	uint32_t live, freed;
	bool has_counters; /* the kernel's own, of which follows: */
	uint64_t allocs, frees, bugs, skipped;
};

/**
 * Finds the kernel in a guest's memory, and in it all that is needed.
 *
 * Owner:  memory is borrowed until kms_linux_close().
 * Errors: -EAGAIN: no kernel there yet; -ENOTSUP: one that is not supported, err has the reason;
 *         -EBADMSG: its tables are damaged, or not (any more) those of a living kernel; -ENOMEM; as
 *         kms_guest_read()
 */
int kms_linux_open(struct kms_guest_memory *memory, const struct kms_linux_options *options,
		   struct kms_linux **out, struct kms_err *err);

/** Closes; NULL is nothing. The memory stays open. */
void kms_linux_close(struct kms_linux *lx);

void kms_linux_about(const struct kms_linux *lx, struct kms_linux_about *about);

/**
 * Whether the kernel is still the one that was opened: a reset makes another out of it.
 *
 * Errors: 0: it is; -ESTALE: no longer; as kms_guest_read()
 */
int kms_linux_check(struct kms_linux *lx, struct kms_err *err);

/**
 * Reads all caches anew.
 *
 * Errors: -EBADMSG: the list of caches made no sense three times; as kms_guest_read(). The caches of
 *         before stay then.
 */
int kms_linux_refresh_caches(struct kms_linux *lx, struct kms_err *err);

/** The caches of the last refresh, in the kernel's order. Borrowed until the next. */
const struct kms_linux_cache *kms_linux_caches(const struct kms_linux *lx, size_t *n);

/**
 * Reads all objects of the caches that keep owners, red zones or poison; call kms_linux_refresh_caches() before.
 *
 * Units:  now_ns of any clock of the caller's that only goes forward; growth is measured by it
 * Errors: -ENOTSUP: this kernel has no owners; as kms_guest_read()
 */
int kms_linux_refresh_sites(struct kms_linux *lx, uint64_t now_ns, struct kms_err *err);

/**
 * Whether refreshes of sites look at every page of the guest: full slabs of caches with red zones or poison
 * and without owners are on no list. False at first.
 */
void kms_linux_set_thorough(struct kms_linux *lx, bool is_thorough);

/** The sites of the last refresh, fastest growth first, then by bytes. Borrowed until the next. */
const struct kms_linux_site *kms_linux_sites(const struct kms_linux *lx, size_t *n);

void kms_linux_site_stats(const struct kms_linux *lx, struct kms_linux_site_stats *stats);

/** The first damaged objects of the last refresh. Borrowed until the next. */
const struct kms_linux_damage *kms_linux_damages(const struct kms_linux *lx, size_t *n);

/**
 * Frames of a stack in the depot, innermost first.
 *
 * Errors: frames written, at most KMS_LINUX_MAX_FRAMES; -ENOTSUP: no depot; -ENOENT: no such stack;
 *         -EBADMSG: its record is damaged; as kms_guest_read()
 */
int kms_linux_stack(struct kms_linux *lx, uint32_t handle, uint64_t *frames, struct kms_err *err);

/**
 * Name of the function at an address, in the kernel or in one of its modules.
 *
 * Shape:  *module is NULL for the kernel's own; both live until the next call, or the next refresh.
 * Errors: -ENOENT: no symbol is known there; *module is set if the module is
 */
int kms_linux_name(struct kms_linux *lx, uint64_t address, const char **name, uint64_t *offset,
		   const char **module);

/**
 * Kernel memory at a virtual address, as much as is mapped.
 *
 * Errors: -EFAULT: nothing is there
 */
int kms_linux_memory(struct kms_linux *lx, uint64_t address, void *to, size_t n, size_t *n_read,
		     struct kms_err *err);

/** An object of a slab. */
struct kms_linux_object {
	uint32_t cache; /* index in the caches of the last refresh */
	uint64_t slab;  /* begin of its memory */
	uint64_t slab_pages;
	uint32_t index, objects; /* which of how many in the slab */
	uint64_t address;        /* as its owner has it */
	uint64_t bytes;          /* asked for, where that is kept, else of the cache's objects */
	bool is_free;            /* on a list of free ones, a CPU's too where that can be read */
	bool is_beside;          /* the address asked for lies in its red zone or behind it */
	struct kms_linux_track alloc, free;
	bool is_damaged;
	struct kms_linux_damage damage;
};

/**
 * The object of a slab that an address lies in, now.
 *
 * Errors: -ENOENT: no slab is there; -EAGAIN: it changes all the time, or it is damaged; -ENOTSUP: this
 *         kernel's slabs cannot be read; -ENOMEM; as kms_guest_read()
 */
int kms_linux_object_at(struct kms_linux *lx, uint64_t address, struct kms_linux_object *out,
			struct kms_err *err);

/** A slab with its objects, live ones as set bits. */
struct kms_linux_slab {
	uint64_t memory, pages;
	uint32_t objects, live;
	const uint8_t *bitmap; /* object i is bit i & 7 of byte i / 8; valid for the call */
};

/**
 * Looks at every page of the guest for slabs of a cache: those that are on no list, too. Some that change
 * all the time are left out.
 *
 * Shape:  emit returns non-zero to end it
 * Errors: -EINVAL: no such cache; -ENOTSUP; -ENOMEM; as kms_guest_read()
 */
int kms_linux_each_slab(struct kms_linux *lx, uint32_t cache,
			int (*emit)(void *arg, const struct kms_linux_slab *slab), void *arg,
			struct kms_err *err);

/**
 * Writes memory where it still holds what is expected, and reads it back.
 *
 * Shape:  as kms_guest_poke()
 * Errors: -EFAULT: nothing is mapped there; as kms_guest_poke()
 */
int kms_linux_memory_write(struct kms_linux *lx, uint64_t address, const void *expected,
			   const void *value, size_t n, struct kms_err *err);

/** The kernel's symbols. Borrowed until kms_linux_close(). */
const struct kms_symbols *kms_linux_symbols(const struct kms_linux *lx);

/** Address of a symbol of the kernel, as loaded; 0: none. */
uint64_t kms_linux_symbol(const struct kms_linux *lx, const char *name);

/**
 * Gives each new event of the kernel's trace ring to emit, CPU by CPU, in order of each CPU. Nothing
 * in the guest is changed: its own readers see the same events.
 *
 * The first call takes up where the ring is now, or at its oldest page (kms_linux_options.old_events).
 * emit returns non-zero to end the call; the rest of
 * its page comes with the next.
 *
 * Errors: -ENOTSUP: this kernel has no such ring; as kms_guest_read()
 */
int kms_linux_events(struct kms_linux *lx,
		     int (*emit)(void *arg, const struct kms_linux_event *event), void *arg,
		     struct kms_err *err);

void kms_linux_event_stats(const struct kms_linux *lx, struct kms_linux_event_stats *stats);

/**
 * State of KFENCE, and each of its objects that is or was in use.
 *
 * Shape:  emit may be NULL: only sums.
 * Errors: -ENOTSUP: this kernel has none; -EBADMSG; as kms_guest_read()
 */
int kms_linux_kfence(struct kms_linux *lx, struct kms_linux_kfence *state,
		     int (*emit)(void *arg, const struct kms_linux_kfence_object *object),
		     void *arg, struct kms_err *err);

/**
 * Looks at the bytes around the live objects of KFENCE's pool, which hold a pattern until they are freed:
 * damage that the kernel will report then.
 *
 * Shape:  emit gets each object with damage, cache as in the last refresh, KMS_LINUX_MAX_CACHES unknown;
 *         its stack is that of the object
 * Errors: as kms_linux_kfence()
 */
int kms_linux_kfence_damage(struct kms_linux *lx,
			    int (*emit)(void *arg, const struct kms_linux_damage *damage,
					const struct kms_linux_kfence_object *object),
			    void *arg, struct kms_err *err);

enum {
	KMS_LINUX_REPORT_BYTES = 160,
};

/** Lines of the kernel's log with a text in them, from there on: their number, and the first of them. */
uint32_t kms_linux_reports(struct kms_linux *lx, const char *text,
			   char (*line)[KMS_LINUX_REPORT_BYTES], uint32_t max);

#endif
