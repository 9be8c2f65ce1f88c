/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Leak suspects: what makes a site one, how much, and by what name it goes. Pure functions; the
 * weights in leaks.c say what a score is made of.
 */
#ifndef KMS_TRACER_LEAKS_H
#define KMS_TRACER_LEAKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/snapshot.h"

enum kms_leak_limits {
	KMS_LEAK_FRAMES = 64, /* that an id depends on, from the innermost */
	KMS_LEAK_MIN_EPOCHS = 4,
};

/** What is known of a site. Times in ns, on one clock. */
struct kms_leak_facts {
	uint64_t count; /* live blocks */
	uint64_t bytes;
	uint64_t allocs;
	uint64_t frees;
	uint64_t median_age_ns;   /* of its live blocks */
	uint64_t lifetime_p99_ns; /* 99 of 100 freed blocks lived no longer; 0 none was freed */
	uint64_t total_bytes;     /* live in the target, all sites */
	double growth_bytes_per_s;
	double window_s; /* over which the growth was measured */
	uint32_t grown;  /* bit i: more live blocks at the end of epoch i than at its begin */
	uint32_t epochs; /* equal parts of the target's allocations so far, 1 to 32 */
	bool at_exit;    /* the program has ended */
};

/** 0 to 100; evidence that goes into it is left in *evidence. */
double kms_leak_score(const struct kms_leak_facts *facts, struct kms_view_evidence *evidence);

/** Least squares: bytes per second. 0 for fewer than two times. */
double kms_leak_slope(const uint64_t *time_ns, const float *bytes, size_t n);

/** Age below which a share of @percent of the counted lifetimes lies: end of its bucket. 0 none. */
uint64_t kms_leak_lifetime(const uint32_t *bucket, size_t n_buckets, unsigned first_shift,
			   unsigned percent);

/** Orders rows: the first suspect first. For qsort of struct kms_view_leak. */
int kms_leak_compare(const void *a, const void *b);

/** A frame by what is the same in every run: module by name, place in it. */
struct kms_leak_frame {
	const char *module; /* base name, not terminated; NULL unknown */
	size_t module_bytes;
	uint64_t offset;      /* address - load bias */
	const char *function; /* instead of module and offset if not NULL: survives a rebuild */
	uint64_t function_offset;
};

struct kms_leak_hash {
	uint64_t value;
	bool outside; /* a frame outside of the allocator was seen */
};

/**
 * Id of a leak: begin, each frame from the innermost, end.
 *
 * Shape:  @cache: fixed field, NUL-padded; "" where there is a stack, because sizes, and so caches,
 *         of one leak differ from run to run
 */
void kms_leak_hash_init(struct kms_leak_hash *hash, const char *cache, size_t cache_bytes);
void kms_leak_hash_frame(struct kms_leak_hash *hash, const struct kms_leak_frame *frame);
uint64_t kms_leak_hash_end(const struct kms_leak_hash *hash);

/** Writes an id as 16 hexadecimal digits and a NUL. */
void kms_leak_id_text(uint64_t id, char text[17]);

#endif
