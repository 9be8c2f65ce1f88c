/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Following the append-only tables of a region: new entries go into the batch once, those that were
 * reserved but not finished (holes) when they are finished, strings when something names them.
 *
 * Read after the blocks of the same batch were copied: an entry is finished before a record names
 * it, so whatever those blocks name is found here.
 */
#ifndef KMS_TRACER_TABLES_H
#define KMS_TRACER_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/batch.h"
#include "tracer/region.h"

enum kms_tables_limits {
	KMS_TABLE_MAX_HOLES = 1 << 18,
	KMS_TABLE_PIECE_BYTES = 1 << 20,
	KMS_TABLE_MAX_STRING = 1 << 17, /* bytes of one string: a command line */
};

/** How far one table was read. */
struct kms_table {
	uint64_t next;  /* entries below were sent, or are holes */
	uint32_t *hole; /* entries that were not finished, in no order */
	uint32_t n_holes;
	uint32_t room_holes;
};

/** The tables of one image. */
struct kms_tables {
	uint32_t image;
	struct kms_table table[KMS_REGION_KINDS];
	uint8_t *string_sent;          /* a bit for each unit of KMS_SEC_STRING; NULL none yet */
	uint32_t hits[KMS_MAX_FAULTS]; /* as last sent: the one field of a fault that changes */
};

/** @image is the caller's to set. */
void kms_tables_init(struct kms_tables *tables);
void kms_tables_deinit(struct kms_tables *tables);

/**
 * Adds every entry that became ready since the last call.
 *
 * Errors: -EBADMSG: an entry is impossible, or a count goes back; err names it. -EFAULT, -ENOMEM.
 */
int kms_tables_read(struct kms_tables *tables, struct kms_region *region, struct kms_batch *batch,
		    struct kms_err *err);

/** Sends faults again whose count of hits grew. Errors as above. */
int kms_tables_read_hits(struct kms_tables *tables, struct kms_region *region,
			 struct kms_batch *batch, struct kms_err *err);

/**
 * Adds the string at this index unless it was sent; KMS_NO_INDEX and 0 are no string.
 * Errors: -EBADMSG: there is none, or it is too long. -EFAULT, -ENOMEM.
 */
int kms_tables_string(struct kms_tables *tables, struct kms_region *region, uint64_t index,
		      struct kms_batch *batch, struct kms_err *err);

/**
 * Copies a string as text, cut at @size - 1 bytes and at its first NUL.
 * Errors: -EBADMSG, -EFAULT: out is ""
 */
int kms_tables_text(struct kms_region *region, uint64_t index, char *out, size_t size);

/** Entries of a table that were handed out as of the last read. */
uint64_t kms_tables_count(const struct kms_tables *tables, unsigned kind);

#endif
