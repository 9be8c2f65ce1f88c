/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Questions to the model that no snapshot answers. All of them are asked in the thread that feeds
 * it, or when nobody does; lists are made in slices of time, between which it may be fed.
 */
#ifndef KMS_TRACER_MODEL_QUERY_H
#define KMS_TRACER_MODEL_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/region.h"
#include "schema/snapshot.h"
#include "tracer/model.h"

/** A block, with the name of its cache in place. */
struct kms_model_row {
	struct kms_view_block
		block; /* its cache points to @cache, or is NULL: kms_model_row_block() */
	char cache[sizeof(((struct kms_cache_entry *)0)->name) + 1];
};

/** The row's block, its strings borrowed from the row. */
struct kms_view_block kms_model_row_block(const struct kms_model_row *row);

/**
 * The block of a target that holds an address or held it last, as the live set knows it: of one that
 * is free neither its times nor its free stack are known.
 *
 * Shape:  out->block.address 0: nothing is known of the address
 * Errors: -ESRCH: no such target
 */
int kms_model_whatis(const struct kms_model *model, uint32_t target, uint64_t address,
		     struct kms_model_row *out);

/** A list of live blocks while it is made. Blocks that a child inherited are its parent's. */
struct kms_model_block_list {
	const struct kms_block_query *query;
	struct kms_model_row *row; /* query.limit at most */
	size_t n, room;
	bool no_memory;
	uint32_t target; /* that is walked over; 0 not begun */
	uint64_t from;
};

/** Goes on until CLOCK_MONOTONIC is @until_ns; true: the list is complete. */
bool kms_model_blocks(const struct kms_model *model, struct kms_model_block_list *list,
		      uint64_t until_ns);

/** Gives out what is in the list, until @emit returns non-zero. Errors: -ENOMEM: it is not complete */
int kms_model_block_list_emit(const struct kms_model_block_list *list,
			      int (*emit)(void *arg, const struct kms_view_block *block), void *arg,
			      struct kms_err *err);

void kms_model_block_list_deinit(struct kms_model_block_list *list);

/** A slab of a list; its bitmap is at @bits in the list's bytes. */
struct kms_model_slab {
	struct kms_view_slab slab;
	size_t bits;
};

/** The slabs of a cache, by name, while the list is made. */
struct kms_model_slab_list {
	uint32_t only;     /* target, 0 any */
	const char *cache; /* name */
	struct kms_model_slab *slab;
	size_t n, room;
	uint8_t *bytes;
	size_t n_bytes, bytes_room;
	bool no_memory;
	uint32_t target; /* as above */
	uint64_t from;
};

/** As kms_model_blocks(). Runs of guard slots are no slabs: they are not listed. */
bool kms_model_slabs(const struct kms_model *model, struct kms_model_slab_list *list,
		     uint64_t until_ns);

/** As kms_model_block_list_emit(). */
int kms_model_slab_list_emit(const struct kms_model_slab_list *list,
			     int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
			     struct kms_err *err);

void kms_model_slab_list_deinit(struct kms_model_slab_list *list);

#endif
