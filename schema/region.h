/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared region: what a target publishes and a tracer reads.
 *
 * One layout for a process (a 0600 file in the run's tmpfs folder, mapped by the target) and for a
 * guest kernel (physically contiguous guest RAM, found by magic or symbol). It holds no pointers
 * that a reader must follow: only offsets from the start of the region. Both sides include this
 * header and share no code. See schema/README.md for who writes what, and for the memory order.
 *
 * A reader treats everything here as hostile: each size is read once, each index is masked or
 * compared, each field range-checked.
 *
 * Freestanding: needs <stdint.h> only. Every 64-bit member is aligned to 8 on 32-bit targets too.
 */
#ifndef KMS_SCHEMA_REGION_H
#define KMS_SCHEMA_REGION_H

#include <stdint.h>

/** A 64-bit word that has the same alignment on every target. */
typedef uint64_t __attribute__((aligned(8))) kms_u64;

/** "KMSCOPE1" read as a little-endian word; stored last, after every other header field. */
#define KMS_REGION_MAGIC   UINT64_C(0x3145504f43534d4b)
#define KMS_REGION_VERSION 1u
#define KMS_PAGE_BYTES     4096u
#define KMS_NO_INDEX       UINT32_MAX

/** Upper limits that a reader enforces, whatever the header says. */
enum kms_region_limits {
	KMS_MAX_SECTIONS = 16,
	KMS_MAX_SLOTS = 256,
	KMS_MAX_RINGS = 1024,
	KMS_MAX_CACHES = 256,
	KMS_MAX_NODES = 1 << 22,
	KMS_MAX_MODULES = 1 << 14,
	KMS_MAX_THREADS = 1 << 16,
	KMS_MAX_FAULTS = 1 << 10,
	KMS_MAX_FORK_CUTS = 1 << 16,
	KMS_MAX_STRING_BYTES = 1 << 22,
	KMS_SLOTS_AHEAD = 8, /* slots that a reader may look at behind the last one claimed */
};

enum kms_section_kind {
	KMS_SEC_TRACER = 1, /* struct kms_tracer_page, then struct kms_pair[rings]; tracer writes.
			     * entry_bytes = sizeof(struct kms_pair), entries = 256 + rings */
	KMS_SEC_REQUEST,    /* struct kms_request[slots], a page each; tracer writes */
	KMS_SEC_SLOT,       /* struct kms_slot[slots], a page each; target writes */
	KMS_SEC_RING_DESC,  /* struct kms_ring_desc[rings] */
	KMS_SEC_RING,       /* struct kms_block[rings * blocks_per_ring] */
	KMS_SEC_NODE,       /* struct kms_node: the stack trie */
	KMS_SEC_CACHE,      /* struct kms_cache_entry */
	KMS_SEC_CACHE_STAT, /* struct kms_cache_stat[slots * KMS_MAX_CACHES], row = slot */
	KMS_SEC_COUNTER,    /* struct kms_counter[(rings + slots) * KMS_MAX_CACHES], row = ring */
	KMS_SEC_MODULE,     /* struct kms_module */
	KMS_SEC_THREAD,     /* struct kms_thread */
	KMS_SEC_STRING,     /* struct kms_string_head + bytes, entries of 8 bytes */
	KMS_SEC_FAULT,      /* struct kms_fault */
	KMS_SEC_FORK_CUT,   /* struct kms_fork_cut */
};

/**
 * One section. @used counts the entries handed out so far in an append-only table; a reader does not
 * trust it to stay within @entries. Tables that are not append-only leave it 0.
 */
struct kms_section {
	uint32_t kind;
	uint32_t entry_bytes;
	kms_u64 offset;
	kms_u64 entries;
	kms_u64 used;
};

enum kms_target_kind {
	KMS_TARGET_PROCESS = 1,
	KMS_TARGET_GUEST = 2,
};

/** First page of the region. Constant after @magic is set, but for the sections' @used. */
struct kms_region_header {
	kms_u64 magic;
	uint32_t version;
	uint32_t header_bytes;
	kms_u64 region_bytes;
	kms_u64 self_address;     /* where the target sees this header */
	kms_u64 image_id[2];      /* random, or boot id; never repeats */
	kms_u64 start_mono_ns;    /* the region's time 0 on the target's monotonic clock */
	kms_u64 start_wall_ns;    /* the same moment since 1970; 0 unknown */
	uint32_t target_kind;     /* enum kms_target_kind */
	uint32_t pid;             /* process that made the region; 0 in a guest */
	uint32_t word_bytes;      /* 4 or 8 */
	uint32_t blocks_per_ring; /* power of two */
	uint32_t rings;
	uint32_t slots;
	uint32_t sections;
	uint32_t stalled;   /* 1: producers drop and count until the heartbeat moves */
	kms_u64 arena_base; /* reserved address range of the heap */
	kms_u64 arena_bytes;
	kms_u64 guard_base; /* reserved range of guarded blocks, 0 none */
	kms_u64 guard_bytes;
	kms_u64 page_table_root; /* guest: physical address of the kernel's root table */
	kms_u64 symbols_address; /* guest: address of its ELF symbol blob, 0 none */
	kms_u64 symbols_bytes;
	uint32_t program_string;   /* KMS_SEC_STRING index of the program's path */
	uint32_t command_string;   /* ... of its command line */
	uint32_t parent_image_pid; /* pid that executed this image's program, 0 unknown */
	uint32_t lost_tables;      /* entries that found a table full, or no memory for it */
	struct kms_section section[KMS_MAX_SECTIONS];
	uint32_t no_memory; /* parts of the region that the file system had no room for */
	uint32_t reserved;
};

/**
 * A value from outside: a reader ignores it while not_v != ~v, because a write into a guest or by
 * process_vm_writev is not atomic.
 */
struct kms_pair {
	kms_u64 v;
	kms_u64 not_v;
};

/** First page of KMS_SEC_TRACER. Written by the owning tracer, read-only in the target. */
struct kms_tracer_page {
	struct kms_pair owner;     /* nonce of the tracer that writes here */
	struct kms_pair heartbeat; /* grows at least every 50 ms */
	struct kms_pair tick;      /* grows at each poll while busy: time to stamp a record */
	uint32_t wake;             /* futex word: changes whenever positions moved */
	uint32_t pid;              /* process of the tracer: a target lets it stop its threads */
	kms_u64 pad[(KMS_PAGE_BYTES - 3 * 16 - 8) / 8];
	/* struct kms_pair position[rings] follows in the next page: number of the first block of
	 * each ring that the tracer has not yet taken over */
};

enum kms_request_limits {
	KMS_REQUEST_ITEMS = 96,
	KMS_COMMAND_SEQ_SHIFT = 32, /* in the item of a command: above it the sequence */
};

/**
 * Requests of the tracer to one process. Order of writing: item, then seq, then attention, which is
 * a futex word: a target that stands still waits at it. Read-only in the target.
 *
 * The items of the commands (verify, mark, continue) carry the low half of the request's sequence in
 * their upper half, so that each write is a new one; what was asked for is the lower half. A command
 * is done when its answer has that sequence.
 */
struct kms_request {
	uint32_t attention; /* any change makes the target look; no meaning of its own */
	uint32_t
		held; /* stop_nr of the stop for which the other threads stand, or cannot be held */
	struct kms_pair seq;
	struct kms_pair item[KMS_REQUEST_ITEMS]; /* index: enum kms_variable */
	kms_u64 pad[(KMS_PAGE_BYTES - 8 - 16 - 16 * KMS_REQUEST_ITEMS) / 8];
};

enum kms_slot_state {
	KMS_SLOT_FREE = 0,
	KMS_SLOT_CLAIMED = 1, /* being filled */
	KMS_SLOT_LIVE = 2,
	KMS_SLOT_EXITED =
		3,         /* said goodbye; a killed process stays LIVE. A slot is claimed again by
			    * the target when its process is dead and its rings are drained */
	KMS_SLOT_LEFT = 4, /* the process lives and goes on without us: nothing more will come */
};

enum kms_ack_status {
	KMS_ACK_NONE = 0,
	KMS_ACK_OK = 1,
	KMS_ACK_ADJUSTED = 2,    /* rounded; the value in effect is in @value */
	KMS_ACK_RANGE = 3,       /* refused: out of range */
	KMS_ACK_UNSUPPORTED = 4, /* refused: not possible in this target */
};

struct kms_ack {
	kms_u64 value;   /* in effect */
	uint32_t status; /* enum kms_ack_status */
	uint32_t seq;    /* low half of the request's sequence this answers */
};

enum kms_limited_by {
	KMS_LIMITED_NONE = 0,
	KMS_LIMITED_DEPTH = 1,
	KMS_LIMITED_BYTES = 2,
	KMS_LIMITED_MAPS = 3,
	KMS_LIMITED_MEMORY = 4,
};

enum kms_guard_backend {
	KMS_GUARD_AUTO = 0,
	KMS_GUARD_UFFD = 1,
	KMS_GUARD_MARKER = 2,
	KMS_GUARD_MPROTECT = 3,
	KMS_GUARD_PAGE_TABLE = 4, /* guest */
};

/** Guard FIFO figures; one writer: the holder of the guard lock. */
struct kms_guard_stat {
	kms_u64 depth_requested;
	kms_u64 depth; /* in effect, a multiple of 512 */
	kms_u64 used;  /* blocks in the FIFO */
	kms_u64 bytes; /* address space they hold */
	kms_u64 pages;
	kms_u64 live;  /* guarded blocks allocated now */
	kms_u64 frees; /* guarded frees since start */
	kms_u64 evictions;
	kms_u64 oldest_free_ns; /* region time at which the oldest entry was freed, 0 empty */
	kms_u64 oldest_free_nr; /* its number among @frees */
	kms_u64 unguarded;      /* allocations that should have been guarded and were not */
	kms_u64 maps_used;
	kms_u64 maps_max;
	uint32_t limited_by; /* enum kms_limited_by */
	uint32_t backend;    /* enum kms_guard_backend in use */
};

/** Why a target stands still. */
enum kms_stop_reason {
	KMS_STOP_NONE = 0,
	KMS_STOP_FAULT = 1,   /* policy `stop` */
	KMS_STOP_START = 2,   /* run -d: before its main function */
	KMS_STOP_REQUEST = 3, /* attach -d, or somebody asked; the tracer holds all threads */
};

/** Names of enum kms_stop_reason. */
#define KMS_STOP_NAMES "none", "fault", "start", "request"

/** Files of this beginning in the run's folder tell the tracer that a target stands, or goes on. */
#define KMS_STOP_PREFIX "stop-"

/** A process of the image (or the one guest). A page each, written by the target. */
struct kms_slot {
	uint32_t state;  /* enum kms_slot_state; claimed by compare-and-swap */
	uint32_t claims; /* how often this slot was claimed */
	uint32_t pid;
	uint32_t parent_slot; /* KMS_NO_INDEX for the first */
	kms_u64 claim_ns;
	uint32_t fork_cut_first; /* entries of KMS_SEC_FORK_CUT */
	uint32_t fork_cut_count;
	kms_u64 fork_ns;
	kms_u64 acked_seq;          /* low to high: acks first, then this */
	kms_u64 span_table_address; /* in the target's memory, see schema/spans.h */
	kms_u64 span_table_entries;
	kms_u64 lost_unringed; /* events with no ring to write to */
	kms_u64 lost_faults;
	kms_u64 dropped_stalled; /* part of the rings' lost that fell to a stalled tracer */
	kms_u64 waits;           /* times a producer waited for the tracer */
	kms_u64 waited_ns;
	kms_u64 arena_used_bytes;
	kms_u64 locked_short_bytes; /* ddi_umem: locked memory that could not be locked */
	kms_u64 lost_children;      /* forked ones that found no slot: not traced */
	struct kms_guard_stat guard;
	/* One thread stands still by itself and answers requests; the tracer holds the others.
	 * Order: fault, thread and number, then the state. */
	uint32_t stop_state; /* enum kms_stop_reason: FAULT or START; 0 runs */
	uint32_t stop_fault; /* index in KMS_SEC_FAULT plus 1, 0 none */
	uint32_t stop_tid;   /* the thread that waits */
	uint32_t stop_nr;    /* counts the stops of this process */
	struct kms_ack ack[KMS_REQUEST_ITEMS];
	uint32_t session;       /* of recording, schema/record.h; 0 since the process began */
	uint32_t first_session; /* of this region: stacks of older ones are not in its trie */
	uint32_t exit_status;   /* KMS_EXIT_STATUS of what it ended with, 0 unknown */
	uint8_t pad[KMS_PAGE_BYTES - 268 - sizeof(struct kms_ack) * KMS_REQUEST_ITEMS];
};

/** The status that a parent sees, never 0. */
#define KMS_EXIT_STATUS(status) (((uint32_t)(status)&0xffu) | 0x100u)

enum kms_ring_state {
	KMS_RING_FREE = 0,
	KMS_RING_OWNED = 1,
	KMS_RING_CLOSED = 2, /* owner gone; free again once drained */
};

/** Written by the ring's owner. */
struct kms_ring_desc {
	uint32_t state; /* enum kms_ring_state, compare-and-swap */
	uint32_t slot;
	uint32_t thread; /* KMS_SEC_THREAD index */
	uint32_t tid;
	uint32_t claims;
	uint32_t level;      /* context level this ring serves */
	kms_u64 first_block; /* number of the first block of this claim */
	kms_u64 head_block;  /* block being filled; block n lies at index n & (blocks_per_ring-1) */
	kms_u64 next_seq;    /* events produced by this claim, lost ones included, at block ends */
	kms_u64 lost;
	kms_u64 pad[9];
};

/**
 * 4 KiB of records. Block numbers of a ring start at 1 and never repeat. To open a block the
 * producer stores number = 0, then the other fields and fill = 0, then number (release). Each
 * record is published by a release store of fill. A reader loads number, fill (acquire), copies,
 * and loads number again.
 */
struct kms_block {
	kms_u64 number;
	kms_u64 first_seq;    /* sequence of the block's first event */
	kms_u64 base_time_ns; /* region time */
	kms_u64 base_address; /* the first address delta is against this */
	uint32_t fill;        /* bytes of @record in use */
	uint32_t slot;
	uint32_t thread;
	uint16_t ring;
	uint8_t level;  /* enum kms_level */
	uint8_t checks; /* KMS_CHECK_* in force until a KMS_REC_CHECKS */
	kms_u64 reserved[2];
	uint8_t record[KMS_PAGE_BYTES - 64];
};

/**
 * Stack trie. @ready: 0 hole; else the low bits are KMS_NODE_READY plus flags. A stack id is the
 * index of its innermost node; index 0 is the empty stack. parent < own index.
 */
struct kms_node {
	kms_u64 pc; /* return address; written before ready */
	uint32_t parent;
	uint32_t epoch_ready; /* (map epoch << 2) | KMS_NODE_CUT | KMS_NODE_READY */
};

enum kms_node_flags {
	KMS_NODE_READY = 1,
	KMS_NODE_CUT = 2, /* frames outside of this one are missing */
};

enum kms_cache_kind {
	KMS_CACHE_MALLOC = 1, /* malloc front */
	KMS_CACHE_KMEM = 2,   /* kmem(9) size class */
	KMS_CACHE_POOL = 3,   /* pool_cache(9) */
	KMS_CACHE_LARGE = 4,  /* pages */
};

struct kms_cache_entry {
	char name[40];
	uint32_t object_bytes;
	uint32_t stride_bytes; /* with every check */
	uint32_t align_bytes;
	uint32_t kind;
	uint32_t ready;
	uint32_t reserved[3];
};

/** Written under the cache's lock. */
struct kms_cache_stat {
	kms_u64 slabs;
	kms_u64 pages;
	kms_u64 objects_total;
	kms_u64 objects_in_slabs; /* free and not cached in a magazine or the depot */
	kms_u64 failed;
	kms_u64 object_bytes_total;
	kms_u64 guarded_allocs;
	kms_u64 guarded_frees;
};

/** One writer: the ring's owner (rows past the rings: a slot's ring-less events, atomic adds). */
struct kms_counter {
	kms_u64 allocs;
	kms_u64 frees;
	kms_u64 alloc_bytes; /* requested */
	kms_u64 free_bytes;
};

struct kms_module {
	kms_u64 start;
	kms_u64 end;
	kms_u64 load_bias;
	uint32_t path_string;
	uint32_t epoch; /* first map epoch in which it holds */
	uint32_t slot;  /* process that saw it */
	uint32_t build_id_bytes;
	uint8_t build_id[32];
	uint32_t ready;
	uint32_t reserved;
};

struct kms_thread {
	uint32_t slot;
	uint32_t tid;
	char name[16];
	uint32_t ready;
	uint32_t reserved;
};

/** Head of a string in KMS_SEC_STRING; @bytes follow, padded to 8. An index counts 8-byte units. */
struct kms_string_head {
	uint32_t ready; /* length + 1, stored last */
	uint32_t reserved;
};

struct kms_fork_cut {
	uint32_t ring;
	uint32_t ready;
	kms_u64 seq; /* next sequence of that ring in the child's copy of its memory */
};

enum kms_fault_access {
	KMS_ACCESS_NONE = 0,
	KMS_ACCESS_READ = 1,
	KMS_ACCESS_WRITE = 2,
	KMS_ACCESS_FREE = 3,
	KMS_ACCESS_ALLOC = 4,
	KMS_ACCESS_CHECK = 5, /* found by verify or at reuse */
};

/** One finding, as the target saw it. Counted in lost_faults when the table is full. */
struct kms_fault {
	uint32_t ready; /* stored last */
	uint32_t slot;
	uint32_t kind;   /* enum kms_fault_kind */
	uint32_t access; /* enum kms_fault_access */
	kms_u64 time_ns;
	kms_u64 address;        /* the byte accessed, or the pointer given */
	kms_u64 block;          /* start of the block it belongs to, 0 unknown */
	kms_u64 block_bytes;    /* requested size */
	kms_u64 argument_bytes; /* size given to free */
	kms_u64 expected;
	kms_u64 found;
	uint32_t cache;          /* KMS_NO_INDEX unknown */
	uint32_t argument_cache; /* cache the caller named */
	uint32_t thread;
	uint32_t level;
	uint32_t stack;
	uint32_t alloc_stack;
	uint32_t free_stack;
	uint32_t block_state; /* enum kms_block_state */
	uint32_t policy;      /* 0 report, 1 stop, 2 panic */
	uint32_t hits;        /* further accesses to the same spent block */
	uint32_t ring;        /* ring and sequence of its fault event, KMS_NO_INDEX none */
	uint32_t bytes_count;
	kms_u64 ring_seq;
	kms_u64 neighbour[2]; /* block before, block after; 0 none */
	kms_u64 neighbour_bytes[2];
	uint32_t neighbour_state[2];
	kms_u64 bytes_address;
	uint8_t bytes[128]; /* memory around the address */
	char text[192];     /* the original's message, NUL-terminated */
	uint8_t pad[144];
};

#endif
