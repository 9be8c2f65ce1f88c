/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A writer of blocks (schema/record.h) for events that another kernel has recorded in a format of its
 * own. One stream is one of its CPUs. Every event has its time, its generation and, if known, its cache.
 */
#ifndef KMS_TRACER_GUEST_LINUX_ENCODE_H
#define KMS_TRACER_GUEST_LINUX_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/record.h"
#include "schema/region.h"
#include "tracer/batch.h"

/** A stream. All zero but for ring is its beginning. */
struct kms_linux_stream {
	struct kms_block block; /* the one being filled; number 0: none */
	uint32_t sent;          /* bytes of it that are in earlier batches */
	uint64_t seq;           /* of the next event */
	uint64_t lost;
	uint64_t last_number;
	uint64_t time_ns;
	uint64_t address; /* of the last event */
	uint32_t thread;
	uint16_t ring;

	struct {
		uint64_t bytes;
		uint32_t node;
	} site[KMS_SITE_CACHE_ENTRIES];
};

/** An event to write. */
struct kms_linux_write {
	uint64_t time_ns; /* earlier ones than the stream's last become as late as that */
	uint64_t address;
	uint64_t bytes;
	uint32_t node;
	uint32_t thread;
	uint32_t cache; /* KMS_NO_INDEX unknown */
	uint8_t kind; /* KMS_EVENT_ALLOC, _FREE, _FAULT (node: its index), _LOST (bytes: how many) */
	uint8_t generation;
	bool has_generation, is_foreign;
};

/**
 * Appends an event; a full block goes into the batch and another one is begun.
 * Errors: -ENOMEM: it is not written
 */
int kms_linux_stream_put(struct kms_linux_stream *stream, struct kms_batch *batch,
			 const struct kms_linux_write *event);

/** Puts into the batch what the open block has gained. Errors: -ENOMEM */
int kms_linux_stream_flush(struct kms_linux_stream *stream, struct kms_batch *batch);

#endif
