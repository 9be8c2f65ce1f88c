/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The producer's side of the shared region: laying it out, claiming a process slot, appending to
 * its tables. Where its memory comes from (a file, guest RAM, private memory when nobody traces)
 * is the port's business.
 */
#ifndef KMS_ALLOCATOR_REGION_H
#define KMS_ALLOCATOR_REGION_H

#include "allocator/impl.h"

/** How large a region is to be. */
struct kms_region_plan {
	uint32_t rings;
	uint32_t blocks_per_ring; /* power of two */
	uint32_t slots;
	uint32_t nodes;
	uint32_t modules;
	uint32_t threads;
	uint32_t string_bytes;
	uint32_t faults;
	uint32_t fork_cuts;
};

/** The plan of a process: rings of 512 KiB, 256 MiB of them, a million stack nodes. */
void kms_region_plan_process(struct kms_region_plan *plan, uint64_t ring_bytes);

/** Bytes that a region of this plan takes; pages never written cost nothing. */
uint64_t kms_region_bytes(const struct kms_region_plan *plan);

/** The same without the blocks of the rings, which come last: where nothing is recorded. */
uint64_t kms_region_unread_bytes(const struct kms_region_plan *plan);

/**
 * Lays out a zeroed region at @memory and makes it the heap's. The caller then fills in the
 * header's identity fields and calls kms_region_publish.
 */
void kms_region_init(struct kms_heap *heap, void *memory, const struct kms_region_plan *plan);

/** Stores the magic: from now on a tracer believes the header. */
void kms_region_publish(struct kms_heap *heap);

/**
 * Memory for what every reader and writer takes to be there, and for the first slot. From here on
 * what comes later asks for its own: a store into a part that the file system has no room for would
 * be a deadly signal. For a fresh region that lies in a file.
 *
 * Errors: false: the file system is full
 */
bool kms_region_back(struct kms_heap *heap);

/** The same for entries of a table, at any time; counted in header.no_memory if there is none. */
bool kms_region_back_entries(struct kms_heap *heap, enum kms_section_kind kind, uint64_t first,
			     uint64_t count);

/**
 * Claims a process slot and makes it the heap's. False if none is free, or has memory (then nothing
 * is shared).
 */
bool kms_region_claim_slot(struct kms_heap *heap, uint32_t pid, uint32_t parent_slot);

/** Says goodbye: the slot's state becomes EXITED. */
void kms_region_exit_slot(struct kms_heap *heap);

/** Start of a section in the target's memory. */
static inline void *kms_section_base(const struct kms_heap *heap, enum kms_section_kind kind)
{
	return (uint8_t *)heap->region + heap->section[kind].offset;
}

/**
 * Takes the next entry of an append-only table: where it is, its number in *index. NULL if the table,
 * or the file system, is full. The region may become another one meanwhile: then it is one of the old region.
 */
void *kms_table_take_entry(struct kms_heap *heap, enum kms_section_kind kind, uint32_t *index);

/**
 * Takes the next @count entries of an append-only table.
 * Returns the first index, or KMS_NO_INDEX if the table, or the file system, is full (counted in
 * lost_tables).
 */
uint32_t kms_table_take(struct kms_heap *heap, enum kms_section_kind kind, uint32_t count);

/** Appends a string; returns its index or KMS_NO_INDEX. At most @max_bytes are kept. */
uint32_t kms_string_add(struct kms_heap *heap, const char *text, size_t max_bytes);

#endif
