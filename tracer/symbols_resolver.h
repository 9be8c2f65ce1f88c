/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parent side of the symbol resolver from inside: what symbols.c (modules, cache, threads) and symbols_batch.c
 * (one batch with the helper) share.
 *
 * There is one lock, and it is never held while something may block. The helper is used by one thread at a time: the
 * one that has set is_link_taken.
 */
#ifndef KMS_TRACER_SYMBOLS_RESOLVER_H
#define KMS_TRACER_SYMBOLS_RESOLVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/symbols.h"
#include "tracer/symbols_cache.h"
#include "tracer/symbols_link.h"

enum {
	KMS_SYMBOLS_STRIKES =
		2, /* a module over which the helper was lost this often is not asked again */
};

/** A module as the parent knows it. */
struct kms_symbols_known_module {
	char *path;
	uint64_t hash;         /* of all that makes it the same module again */
	uint64_t mapped_bytes; /* as registered */
	uint8_t build_id[KMS_SYMBOLS_BUILD_ID_BYTES];
	uint8_t n_build_id;
	uint8_t n_strikes; /* for the holder of the link: helpers lost over it */
	uint8_t verdict; /* enum kms_symbol_reason; lock: not OK: the answer for each of its addresses */
	uint32_t sent_to; /* for the holder of the link: number of the helper that knows it */
};

struct kms_symbols {
	/* Fixed after create. */
	struct kms_symbols_wire_config wire_config;
	char *helper_exec;
	uint64_t deadline_ns;

	/* For the holder of the link: the helper. */
	struct kms_symbols_link link;
	uint32_t helper; /* number of the helper that runs now; counts from 1 */
	uint32_t request;

	/* Under the lock. A module, once there, does not move. */
	pthread_mutex_t lock;
	pthread_cond_t link_is_free; /* on CLOCK_MONOTONIC */
	bool is_link_taken;
	struct kms_symbols_cache cache;
	struct kms_symbols_known_module **modules;
	size_t n_modules, modules_size;
	struct kms_symbols_stats stats;
	pid_t helper_pid; /* copy of link.pid for those who do not hold the link */
};

/** One address of a batch, each address once. */
struct kms_symbols_item {
	struct kms_symbols_wire_entry address;
	struct kms_symbols_known_module *module;
	struct kms_symbol_answer answer;
	bool is_done;
};

/** Order of two struct kms_symbols_item by module, offset and is_return, for qsort and bsearch. */
int kms_symbols_compare_addresses(const void *a, const void *b);

/** Starts the helper unless there is one. For the holder of the link. Errors: as kms_symbols_create. */
int kms_symbols_start_helper(struct kms_symbols *sym, uint64_t deadline_ns, struct kms_err *err);

/**
 * Gets an answer for each item that is not done, whatever the helper does.
 *
 * Shape:  items are reordered. Final answers go to the cache as well.
 * Locks:  for the holder of the link; takes the lock for moments. Returns at deadline_ns.
 */
void kms_symbols_run_batch(struct kms_symbols *sym, struct kms_symbols_item *items, size_t n,
			   uint64_t deadline_ns);

/** Answers an item from the cache or by its module's verdict, if it can. Holds the lock. */
bool kms_symbols_answer_known(const struct kms_symbols *sym, struct kms_symbols_item *item);

#endif
