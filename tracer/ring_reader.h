/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reading half of one ring: copies new blocks, and what the open block gained, into a batch, and
 * checks that numbers, fills and sequences only ever go forward.
 *
 * A ring is claimed by one thread after another; a claim's sequence starts at 0 and has no gaps: lost
 * events are a record. It is over when its owner closed it or is dead and every block was read; only
 * then may the position pass the block that was open, which lets the target use the ring again.
 */
#ifndef KMS_TRACER_RING_READER_H
#define KMS_TRACER_RING_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/batch.h"
#include "tracer/region.h"

/** What stands in the ring's description; hostile but for what kms_ring_read() says of it. */
struct kms_ring_view {
	uint32_t state; /* enum kms_ring_state */
	uint32_t slot;
	uint32_t claims;
	uint64_t first_block;
	uint64_t head_block;
	uint64_t next_seq;
	uint64_t lost;
};

/** How far one ring was read. All zero but for @ring and @next_block is a ring never claimed. */
struct kms_ring_reader {
	uint32_t ring;
	uint32_t claim;      /* the claim being read, 0 none yet */
	uint32_t slot;       /* of its owner */
	bool is_over;        /* the claim ended and was read to its end */
	bool is_joined;      /* its begin was read by a former tracer */
	bool has_start;      /* start_seq is known; always but between that and the first block */
	uint64_t start_seq;  /* of the first event that is ours to read */
	uint64_t next_block; /* the first block not wholly taken over: the ring's position */
	uint32_t from_bytes; /* of it that were taken */
	uint64_t first_seq;  /* of it, valid if from_bytes */
	uint64_t next_seq;   /* sequence after the last event read */
	uint64_t lost;       /* of this claim, as its blocks say */
	uint64_t extra_lost; /* lost at its end, after its last block */
	uint64_t
		told_lost; /* of this claim, as its owner says: the last of it is in no block yet */
	uint64_t taken_ns; /* when something was last taken */
	double fill;       /* 0 to 1, before the last read */
};

/** How to read. */
struct kms_ring_ask {
	uint64_t now_ns;
	uint64_t partial_ns; /* take a part of an open block only if so long nothing was taken */
	size_t batch_bytes;  /* stop when the batch holds so much */
	bool is_final;       /* the owner is dead: what is there is all that will come */
};

enum kms_ring_news {
	KMS_RING_IDLE = 0,
	KMS_RING_NEWS = 1, /* something was added to the batch, or the position moved */
	KMS_RING_MORE = 2, /* the batch is full: read again at once */
};

/** Begins at a position: 1, or where a former tracer stopped, perhaps in the middle of a claim. */
void kms_ring_reader_init(struct kms_ring_reader *reader, uint32_t ring, uint64_t position);

/**
 * Takes what is new. Added blocks have their target still unset, and a valid slot < head.slots.
 *
 * Returns enum kms_ring_news.
 * Errors: -EBADMSG: the ring is damaged, err says how; -EFAULT: the file was cut short; -ENOMEM.
 *         Blocks already in the batch are good.
 */
int kms_ring_read(struct kms_ring_reader *reader, struct kms_region *region,
		  const struct kms_ring_ask *ask, struct kms_batch *batch, struct kms_err *err);

/** Events of this claim so far, lost ones included. */
uint64_t kms_ring_produced(const struct kms_ring_reader *reader);

#endif
