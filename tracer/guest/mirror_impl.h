/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a mirror; private to guest/mirror*.c. */
#ifndef KMS_TRACER_GUEST_MIRROR_IMPL_H
#define KMS_TRACER_GUEST_MIRROR_IMPL_H

#include "tracer/guest/mirror.h"

enum mirror_bounds {
	MIRROR_PIECES = 4096, /* of one read */
	MIRROR_PUTS = 1 << 14,
	MIRROR_STAGE_BYTES = 24 << 20, /* room for a pull's copies; touched as far as needed */
	MIRROR_BLOCKS_AT_ONCE = 512,   /* complete blocks of one pull */
	MIRROR_LOOK_AHEAD = 8,         /* rings and slots behind the last one known */
	MIRROR_HOLES = 1024,           /* unfinished entries remembered, of each table */
	MIRROR_OWN_STRING_BYTES = 16 << 10,
};

#define MIRROR_SLOTS_NS    UINT64_C(1000000)   /* between looks at slots */
#define MIRROR_TABLES_NS   UINT64_C(10000000)  /* between looks at tables without new blocks */
#define MIRROR_PAUSE_NS    UINT64_C(500000000) /* between looks that stop the guest */
#define MIRROR_COUNTERS_NS UINT64_C(50000000)
#define MIRROR_SETTLE_NS   UINT64_C(20000000) /* from the claim of a guest to its first use */

/** Something that was read and is to be put into the copy when the whole pull is good. */
struct mirror_put {
	uint64_t to; /* offset in the copy */
	const void *from;
	size_t bytes;
};

struct mirror_ring {
	uint64_t block; /* the one being filled, as far as it is known; 0: never claimed */
	uint32_t fill;  /* of it in the copy */
	uint32_t claims;
};

/** An append-only table. */
struct mirror_table {
	uint64_t next;  /* entries below are in the copy, ready or as holes */
	uint32_t *hole; /* MIRROR_HOLES, n_holes used */
	uint32_t n_holes;
	uint32_t hits_at; /* faults: where the next look at counts of hits begins */
};

struct kms_guest_mirror {
	struct kms_guest_memory *memory;
	struct kms_guest_region guest; /* the layout there */
	struct kms_region_header head; /* ... and here */
	struct kms_region_section section[KMS_REGION_KINDS];
	int fd;
	uint8_t *map;
	uint64_t bytes;
	bool read_only;
	bool is_saved;
	bool is_blob;
	bool push_is_due; /* of a guest that stands for it */
	bool is_late;
	bool is_claimed; /* our nonce has stood there for a while */
	uint64_t claimed_ns;
	enum kms_guest_mirror_over over;
	uint32_t kernel_string;
	struct mirror_ring *ring; /* head.rings */
	uint32_t n_rings;         /* known */
	uint32_t n_slots;
	struct mirror_table table[KMS_REGION_KINDS];
	uint64_t used[KMS_REGION_KINDS]; /* of the pull under way, or the last good one */
	uint64_t slots_ns, tables_ns, counters_ns, paused_at_ns;
	/* a pull under way */
	struct kms_guest_piece *piece; /* MIRROR_PIECES */
	size_t n_pieces;
	struct mirror_put *put; /* MIRROR_PUTS */
	size_t n_puts;
	uint8_t *stage; /* MIRROR_STAGE_BYTES */
	size_t staged;
	int failed;                    /* first error of a read */
	struct mirror_ring *next_ring; /* head.rings: as they are when it was good */
	/* as last written to the guest */
	struct kms_tracer_page *sent_page;
	struct kms_pair *sent_position;   /* head.rings */
	struct kms_request *sent_request; /* head.slots */
};

/* mirror.c: reading */

/** Room in the stage; NULL: there is none, and the pull has failed. */
void *mirror_room(struct kms_guest_mirror *m, size_t bytes);
/** Has a part of the guest's region read by the next mirror_flush(). */
void mirror_want(struct kms_guest_mirror *m, uint64_t offset, void *to, size_t bytes);
/** Has it read into the stage; NULL as mirror_room(). */
void *mirror_stage(struct kms_guest_mirror *m, uint64_t offset, size_t bytes);
/** Reads what is wanted, in the order in which it was wanted. False: the pull has failed. */
bool mirror_flush(struct kms_guest_mirror *m);
/** Has it put into the copy at the end of the pull. */
void mirror_put_later(struct kms_guest_mirror *m, uint64_t to, const void *from, size_t bytes);

/** Where an entry lies, in the guest's region and in the copy. */
static inline uint64_t mirror_there(const struct kms_guest_mirror *m, unsigned kind, uint64_t index)
{
	return m->guest.section[kind].offset + index * m->guest.section[kind].entry_bytes;
}

static inline uint64_t mirror_here(const struct kms_guest_mirror *m, unsigned kind, uint64_t index)
{
	return m->section[kind].offset + index * m->section[kind].entry_bytes;
}

/**
 * Whether our heart is there as we last wrote it. Where it is not, the guest was put back to an earlier
 * state of itself, which has an older one, or another tracer writes there: the mirror is over then.
 */
bool mirror_is_untouched(struct kms_guest_mirror *m);

/* The steps of a pull; each reads what it needs. False: it has failed, or is over. */

/** mirror_rings.c: new blocks. */
bool mirror_pull_rings(struct kms_guest_mirror *m, struct kms_guest_mirror_news *news);
/** mirror_tables.c: how far the tables are; new entries; counts of hits if @hits. */
bool mirror_pull_tables(struct kms_guest_mirror *m, bool hits);
/** mirror_figures.c */
bool mirror_pull_slots(struct kms_guest_mirror *m, struct kms_guest_mirror_news *news);
bool mirror_pull_counters(struct kms_guest_mirror *m);

/** mirror_make.c: the copy as it is before the first pull. Errors: as kms_guest_mirror_create() */
int mirror_make(struct kms_guest_mirror *m, const struct kms_guest_mirror_config *config,
		struct kms_err *err);

#endif
