/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Query parameters: decoded, checked against the ones a route takes, bounded, defaulted.
 */
#ifndef KMS_SERVER_QUERY_H
#define KMS_SERVER_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "server/cursor.h"

enum kms_param {
	KMS_PARAM_TARGET,
	KMS_PARAM_LIMIT,
	KMS_PARAM_CURSOR,
	KMS_PARAM_ADDRESS,
	KMS_PARAM_FROM,
	KMS_PARAM_TO,
	KMS_PARAM_KIND,
	KMS_PARAM_SITE,
	KMS_PARAM_STATE,
	KMS_PARAM_MIN_BYTES,
	KMS_PARAM_MIN_SCORE,
	KMS_PARAM_SUM,
	KMS_PARAM_CACHE,
	KMS_PARAM_STEP,
	KMS_PARAM_SERIES,
	KMS_PARAM_A,
	KMS_PARAM_B,
	KMS_PARAM_TOPICS,
	KMS_PARAM_HZ,
	KMS_PARAM_ORDER,
	KMS_PARAMS,
};

/** Bit of a parameter in a route's set. */
#define KMS_PARAM_BIT(param) (1u << (param))

enum kms_query_limits {
	KMS_LIMIT_DEFAULT = 100,
	KMS_LIMIT_MAX = 1000,
	KMS_QUERY_NAME_BYTES = 128, /* of a cache or mark in a parameter, with its NUL */
};

/** Bits of kms_query.states, in the order of the names open, suppressed, expected, fixed. */
enum kms_leak_state_bits {
	KMS_LEAK_STATES = 4,
	KMS_LEAK_STATE_ANY = (1 << KMS_LEAK_STATES) - 1,
};

/** Bits of kms_query.series: figures that a timeline has. */
enum kms_series {
	KMS_SERIES_LIVE_BYTES,
	KMS_SERIES_LIVE_OBJECTS,
	KMS_SERIES_ALLOCS,
	KMS_SERIES_FREES,
	KMS_SERIES_ALLOC_RATE,
	KMS_SERIES_FREE_RATE,
	KMS_SERIES_FAULTS,
	KMS_SERIES_LOST,
	KMS_SERIES_GUARD_USED,
	KMS_SERIES_GUARD_DEPTH,
	KMS_SERIES_COUNT,
};

/** Name of a series; static. */
const char *kms_series_name(enum kms_series series);

/** What a request asks for. What was not given has its default: no filter. */
struct kms_query {
	uint32_t given;   /* KMS_PARAM_BIT of each parameter that was there */
	uint32_t target;  /* 0 any */
	uint32_t kinds;   /* bits of enum kms_event_kind, 0 any */
	uint32_t states;  /* kms_leak_state_bits */
	size_t limit;     /* 1 to KMS_LIMIT_MAX */
	uint64_t address; /* 0 any */
	uint64_t from_ns; /* run time, inclusive */
	uint64_t to_ns;   /* run time, inclusive; UINT64_MAX no end */
	uint64_t site;    /* stack id, 0 any */
	uint64_t min_bytes;
	uint64_t min_score; /* 0 to 100 */
	bool sum;
	bool newest_first;                 /* order=desc */
	uint64_t step_ns;                  /* 0: not given */
	uint32_t series;                   /* bits of enum kms_series, 0 all */
	char cache[KMS_QUERY_NAME_BYTES];  /* "" any */
	char mark_a[KMS_QUERY_NAME_BYTES]; /* id or name, "" none */
	char mark_b[KMS_QUERY_NAME_BYTES];
	uint32_t topics;          /* bits of enum kms_topic */
	uint32_t period_ms;       /* 1000 / hz */
	struct kms_cursor cursor; /* if KMS_PARAM_CURSOR was given */
};

/**
 * Reads the part of a request behind "?".
 *
 * Shape:  text may be NULL or ""; allowed is a set of KMS_PARAM_BIT
 * Errors: -EINVAL: unknown parameter, given twice, or a value that is none; err->text says what is
 *         wrong and what would be right, err->subject is the parameter. *query may be half filled.
 */
int kms_query_parse(const char *text, uint32_t allowed, struct kms_query *query,
		    struct kms_err *err);

/** Hash of everything but limit and cursor, joined to @seed: what a cursor is good for. */
uint64_t kms_query_filter(const struct kms_query *query, uint64_t seed);

/** Name of a parameter; static. */
const char *kms_param_name(enum kms_param param);

/**
 * Decodes %XX (and + to a blank, if @plus) from n bytes of a URL into @out, NUL-terminated.
 *
 * Errors: -EINVAL: a broken or NUL escape; -ENAMETOOLONG: longer than out
 */
int kms_url_decode(const char *text, size_t n, bool plus, char *out, size_t out_bytes);

#endif
