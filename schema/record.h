/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records inside a block (struct kms_block), and the names of what they say.
 *
 * A record begins with a tag byte; its two low bits are the form.
 *
 *   form 1 alloc, 2 free (the hot ones)
 *     tag:  bit 2    HIT   the site cache entry holds this stack
 *           bit 3    SAME  the size is the one in the site cache entry
 *           bits 4-5 address bytes: 1, 2, 4, 8
 *           bits 6-7 size bytes: 1, 2, 4, 8 (absent when SAME; SAME implies HIT)
 *     then: u8  site cache index
 *           u24 stack node            (when not HIT)
 *           address                   (see below)
 *           size, little-endian       (when not SAME)
 *     Address of 1, 2 or 4 bytes: two's complement delta to the previous address of this block
 *     (first: base_address), both rounded down to 8, in units of 8 bytes: the event's address is
 *     (previous & ~7) + delta * 8. 8 bytes: the address itself. Only forms 1 and 2 count.
 *     After the record the site cache entry holds {node, size}.
 *
 *   form 0: the upper six bits are an enum kms_record_code; numbers are LEB128 varints unless said.
 *   form 3: reserved, malformed.
 *
 * The site cache has 256 entries, all {0, 0} at the start of each block, so a block can be read
 * alone. A record never crosses a block. Prefix records change the next event only and have no
 * sequence of their own; neither have TIME, CHECKS and RESUME.
 *
 * Recording may be switched off and on again (kmem_trace). What happens in between has no record, so
 * each time it is switched on a new session begins: number 0 from the start of the process, one more
 * at each switch from off to on, modulo 256; a forked child goes on with its parent's. A block begins
 * in session 0; RESUME says another one, before the first record of each block that has one, and
 * again, after a TIME, where a later session begins within a block. Nothing is known at the begin of
 * a session: neither blocks nor generations nor slabs. So in each session but the first one the first
 * record of an address carries the generation, whatever that is by then, also in a new slab, and so
 * does each allocation of a guarded block.
 *
 * Events between two TIME records lie evenly between the two times; those after the last TIME have
 * its time. Freestanding: needs <stdint.h> only.
 */
#ifndef KMS_SCHEMA_RECORD_H
#define KMS_SCHEMA_RECORD_H

#include <stdint.h>

enum kms_record_layout {
	KMS_REC_FORM_MASK = 3,
	KMS_REC_FORM_CODE = 0,
	KMS_REC_FORM_ALLOC = 1,
	KMS_REC_FORM_FREE = 2,
	KMS_REC_HIT = 1 << 2,
	KMS_REC_SAME = 1 << 3,
	KMS_REC_ADDR_SHIFT = 4,
	KMS_REC_SIZE_SHIFT = 6,
	KMS_REC_CODE_SHIFT = 2,
	KMS_SITE_CACHE_ENTRIES = 256,
	KMS_ADDR_UNIT_BYTES = 8,
	KMS_REC_MAX_BYTES = 64, /* of one event with its prefixes */
	KMS_REC_MIN_BYTES = 3,  /* of a hot record */
	KMS_TIME_EVERY_RECORDS = 64,
	KMS_SEQ_PER_BLOCK = 2048, /* seq = store ordinal of the block * this + index */
};

/** Form 0. Codes from KMS_REC_ALLOC_FAILED on are events and consume a sequence number. */
enum kms_record_code {
	KMS_REC_INVALID = 0,
	KMS_REC_TIME = 1,   /* varint: ns since the last time of this block */
	KMS_REC_GEN = 2,    /* prefix; u8: generation of the address after this event */
	KMS_REC_FLAGS = 3,  /* prefix; u8: attributes of the next event, KMS_ATTR_* >> 8 */
	KMS_REC_CHECKS = 4, /* u8: KMS_CHECK_* from here on */
	KMS_REC_RESUME = 5, /* u8: session from here on */
	KMS_REC_CACHE = 6,  /* prefix; u8: cache of the next event's block, which is told so where
				    * neither its slab nor its size says it for certain */
	KMS_REC_ALLOC_FAILED = 8,  /* size, node */
	KMS_REC_CHECK = 9,         /* address, size, node: a verify pass over one block */
	KMS_REC_EVICT = 10,        /* address, size: left the guard FIFO */
	KMS_REC_SLAB_GROW = 11,    /* base >> 12, pages, cache, first object offset, stride */
	KMS_REC_SLAB_RELEASE = 12, /* base >> 12, pages, cache */
	KMS_REC_FAULT = 13,        /* index in KMS_SEC_FAULT */
	KMS_REC_MAP = 14,          /* index in KMS_SEC_MODULE */
	KMS_REC_THREAD = 15,       /* index in KMS_SEC_THREAD; a thread's first record */
	KMS_REC_FORK = 16,         /* slot of the child; written by the child, its first record */
	KMS_REC_EXEC = 17,    /* index in KMS_SEC_STRING: the program by which this image began;
				    * its first record */
	KMS_REC_MARK = 18,    /* index in KMS_SEC_STRING: name of the mark */
	KMS_REC_CONTEXT = 19, /* thread, level: of the following events */
	KMS_REC_LOST = 20,    /* count of events lost here; consumes that many sequences */
	KMS_REC_CODES = 21,
};

/** Values of events.kind; their names are KMS_EVENT_NAMES. */
enum kms_event_kind {
	KMS_EVENT_ALLOC = 1,
	KMS_EVENT_FREE = 2,
	KMS_EVENT_ALLOC_FAILED = 3,
	KMS_EVENT_CHECK = 4,
	KMS_EVENT_EVICT = 5,
	KMS_EVENT_SLAB_GROW = 6,
	KMS_EVENT_SLAB_RELEASE = 7,
	KMS_EVENT_FAULT = 8,
	KMS_EVENT_MAP = 9,
	KMS_EVENT_THREAD = 10,
	KMS_EVENT_FORK = 11,
	KMS_EVENT_EXEC = 12,
	KMS_EVENT_MARK = 13,
	KMS_EVENT_CONTEXT = 14,
	KMS_EVENT_LOST = 15,
	KMS_EVENT_KINDS = 16,
};

/** Names by enum kms_event_kind, for `const char *names[KMS_EVENT_KINDS] = {KMS_EVENT_NAMES}`. */
#define KMS_EVENT_NAMES                                                                            \
	"none", "alloc", "free", "alloc_failed", "check", "evict", "slab_grow", "slab_release",    \
		"fault", "map", "thread", "fork", "exec", "mark", "context", "lost"

/** Low byte of an event's flags: on a free the checks that ran and passed, on an alloc the
 * checks that the block carries. */
enum kms_check_bits {
	KMS_CHECK_SIZE = 1,
	KMS_CHECK_REDZONE = 2,
	KMS_CHECK_POISON = 4,
	KMS_CHECK_GUARD = 8,
	KMS_CHECK_HEADER = 16, /* the manual's 8-byte header of kmem(9) */
};

/** High byte of an event's flags. */
enum kms_attr_bits {
	KMS_ATTR_ZERO = 1 << 8,     /* calloc, kmem_zalloc */
	KMS_ATTR_REALLOC = 1 << 9,  /* one half of a realloc */
	KMS_ATTR_ALIGNED = 1 << 10, /* memalign family */
	KMS_ATTR_INTR = 1 << 11,    /* kmem_intr_* */
	KMS_ATTR_NOSLEEP = 1 << 12,
	KMS_ATTR_FOREIGN = 1 << 13, /* size unknown: block from before the trace */
	KMS_ATTR_GUARDED = 1 << 14,
	KMS_ATTR_KMEM =
		1 << 15, /* kmem(9) block in pages of its own or guarded; a block of a slab has
				  * the front of its slab */
	KMS_ATTR_SHIFT = 8,
};

enum kms_level {
	KMS_LEVEL_TASK = 0,
	KMS_LEVEL_SOFTINT = 1,
	KMS_LEVEL_CALLOUT = 2,
	KMS_LEVEL_HARDINT = 3,
	KMS_LEVELS = 4,
};

enum kms_fault_kind {
	KMS_FAULT_NONE = 0,
	KMS_FAULT_OVERFLOW = 1,
	KMS_FAULT_UNDERFLOW = 2,
	KMS_FAULT_USE_AFTER_FREE = 3,
	KMS_FAULT_DOUBLE_FREE = 4,
	KMS_FAULT_INVALID_FREE = 5,
	KMS_FAULT_SIZE_MISMATCH = 6,
	KMS_FAULT_WRONG_CACHE = 7,
	KMS_FAULT_MODIFIED_AFTER_FREE = 8,
	KMS_FAULT_BAD_FLAGS = 9,
	KMS_FAULT_ZERO_SIZE = 10,
	KMS_FAULT_NULL_FREE = 11,
	KMS_FAULT_WRONG_CONTEXT = 12,
	KMS_FAULT_SLEEP_WITH_LOCK = 13,
	KMS_FAULT_RING_CORRUPT = 14,
	KMS_FAULT_KINDS = 15,
};

#define KMS_FAULT_NAMES                                                                            \
	"none", "overflow", "underflow", "use_after_free", "double_free", "invalid_free",          \
		"size_mismatch", "wrong_cache", "modified_after_free", "bad_flags", "zero_size",   \
		"null_free", "wrong_context", "sleep_with_lock", "ring_corrupt"

#endif
