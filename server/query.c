/* SPDX-License-Identifier: BSD-2-Clause */
/* Query parameters: see query.h. */
#include "server/query.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fmt.h"
#include "base/hash.h"
#include "schema/record.h"
#include "server/stream_message.h"

enum {
	PARAM_TEXT_BYTES = 256,
};

static const char *const event_names[KMS_EVENT_KINDS] = {KMS_EVENT_NAMES};
static const char *const topic_names[KMS_TOPICS] = {KMS_TOPIC_NAMES};
static const char *const state_names[KMS_LEAK_STATES] = {"open", "suppressed", "expected", "fixed"};

static const char *const series_names[KMS_SERIES_COUNT] = {
	[KMS_SERIES_LIVE_BYTES] = "live_bytes", [KMS_SERIES_LIVE_OBJECTS] = "live_objects",
	[KMS_SERIES_ALLOCS] = "allocs",         [KMS_SERIES_FREES] = "frees",
	[KMS_SERIES_ALLOC_RATE] = "alloc_rate", [KMS_SERIES_FREE_RATE] = "free_rate",
	[KMS_SERIES_FAULTS] = "faults",         [KMS_SERIES_LOST] = "lost",
	[KMS_SERIES_GUARD_USED] = "guard_used", [KMS_SERIES_GUARD_DEPTH] = "guard_depth",
};

const char *kms_series_name(enum kms_series series)
{
	return series_names[series];
}

/* A parameter: how to read its value, and what to tell who got it wrong. */
struct param {
	const char *name;
	int (*read)(const char *value, struct kms_query *query);
	const char *expected;
};

/* Digits only: a suffix such as K would be a guess here. */
static int read_digits(const char *value, uint64_t *number)
{
	if (value[strspn(value, "0123456789")] != '\0')
		return -EINVAL;
	return kms_parse_u64(value, number);
}

static int read_target(const char *value, struct kms_query *query)
{
	uint64_t number;

	if (read_digits(value, &number) < 0 || number < 1 || number > UINT32_MAX)
		return -EINVAL;
	query->target = (uint32_t)number;
	return 0;
}

static int read_limit(const char *value, struct kms_query *query)
{
	uint64_t number;

	if (read_digits(value, &number) < 0 || number < 1 || number > KMS_LIMIT_MAX)
		return -EINVAL;
	query->limit = (size_t)number;
	return 0;
}

static int read_cursor(const char *value, struct kms_query *query)
{
	return kms_cursor_read(value, &query->cursor);
}

static int read_address(const char *value, struct kms_query *query)
{
	return kms_parse_addr(value, &query->address);
}

/* Nanoseconds since the run began, as in column time_ns, or with a unit. */
static int read_time(const char *value, uint64_t *ns)
{
	return read_digits(value, ns) == 0 ? 0 : kms_parse_ns(value, ns);
}

static int read_from(const char *value, struct kms_query *query)
{
	return read_time(value, &query->from_ns);
}

static int read_to(const char *value, struct kms_query *query)
{
	return read_time(value, &query->to_ns);
}

static int read_site(const char *value, struct kms_query *query)
{
	int ret = kms_parse_u64(value, &query->site);

	return ret == 0 && query->site == 0 ? -EINVAL : ret;
}

static int read_min_bytes(const char *value, struct kms_query *query)
{
	return kms_parse_u64(value, &query->min_bytes);
}

static int read_min_score(const char *value, struct kms_query *query)
{
	return read_digits(value, &query->min_score) == 0 && query->min_score <= 100 ? 0 : -EINVAL;
}

static int read_sum(const char *value, struct kms_query *query)
{
	query->sum = strcmp(value, "1") == 0;
	return query->sum || strcmp(value, "0") == 0 ? 0 : -EINVAL;
}

/* A comma list of names as a set of bits; bit i stands for names[i]. */
static int read_set(const char *value, const char *const *names, size_t n_names, uint32_t *set)
{
	size_t length;
	size_t i;

	*set = 0;
	for (;;) {
		length = strcspn(value, ",");
		for (i = 0; i < n_names; i++)
			if (strlen(names[i]) == length && memcmp(names[i], value, length) == 0)
				break;
		if (i == n_names)
			return -EINVAL;
		*set |= 1u << i;
		if (value[length] == '\0')
			return 0;
		value += length + 1;
	}
}

static int read_kind(const char *value, struct kms_query *query)
{
	int ret = read_set(value, event_names, KMS_EVENT_KINDS, &query->kinds);

	return ret == 0 && query->kinds & 1 ? -EINVAL : ret; /* "none" is not a kind */
}

static int read_state(const char *value, struct kms_query *query)
{
	return read_set(value, state_names, KMS_LEAK_STATES, &query->states);
}

static int read_series(const char *value, struct kms_query *query)
{
	return read_set(value, series_names, KMS_SERIES_COUNT, &query->series);
}

static int read_step(const char *value, struct kms_query *query)
{
	return read_time(value, &query->step_ns) == 0 && query->step_ns ? 0 : -EINVAL;
}

static int read_order(const char *value, struct kms_query *query)
{
	query->newest_first = strcmp(value, "desc") == 0;
	return query->newest_first || strcmp(value, "asc") == 0 ? 0 : -EINVAL;
}

static int copy_name(const char *value, char name[KMS_QUERY_NAME_BYTES])
{
	size_t length = strlen(value);

	if (length == 0 || length >= KMS_QUERY_NAME_BYTES)
		return -EINVAL;
	memcpy(name, value, length + 1);
	return 0;
}

static int read_cache(const char *value, struct kms_query *query)
{
	return copy_name(value, query->cache);
}

static int read_a(const char *value, struct kms_query *query)
{
	return copy_name(value, query->mark_a);
}

static int read_b(const char *value, struct kms_query *query)
{
	return copy_name(value, query->mark_b);
}

static int read_topics(const char *value, struct kms_query *query)
{
	return read_set(value, topic_names, KMS_TOPICS, &query->topics);
}

/* 0.1 to 10, with one digit behind the point at most: as tenths. */
static int read_hz(const char *value, struct kms_query *query)
{
	size_t whole = strspn(value, "0123456789");
	size_t fraction = value[whole] == '.' ? strspn(value + whole + 1, "0123456789") : 0;
	uint64_t tenths = 0;

	if (whole == 0 || whole > 2 || fraction > 1 ||
	    value[whole + (value[whole] == '.') + fraction] != '\0' ||
	    (value[whole] == '.' && !fraction))
		return -EINVAL;
	for (size_t i = 0; i < whole; i++)
		tenths = tenths * 10 + (uint64_t)(value[i] - '0');
	tenths = tenths * 10 + (fraction ? (uint64_t)(value[whole + 1] - '0') : 0);
	if (tenths < 1 || tenths > 100)
		return -EINVAL;
	query->period_ms = (uint32_t)(10000 / tenths);
	return 0;
}

static const struct param params[KMS_PARAMS] = {
	[KMS_PARAM_TARGET] = {"target",    read_target,    "an id of /api/v1/targets, from 1"            },
	[KMS_PARAM_LIMIT] = {"limit",     read_limit,     "a number from 1 to 1000"                     },
	[KMS_PARAM_CURSOR] = {"cursor",    read_cursor,    "a next_cursor as it was answered"            },
	[KMS_PARAM_ADDRESS] = {"address",   read_address,   "a hexadecimal address"                       },
	[KMS_PARAM_FROM] = {"from",      read_from,      "run time in ns, or with a unit: 1500ms, 2s"  },
	[KMS_PARAM_TO] = {"to",        read_to,        "run time in ns, or with a unit: 1500ms, 2s"  },
	[KMS_PARAM_KIND] = {"kind",      read_kind,      "event kinds joined by commas: alloc,free"    },
	[KMS_PARAM_SITE] = {"site",      read_site,      "the stack_id of an allocation"               },
	[KMS_PARAM_STATE] = {"state",     read_state,     "open, suppressed, expected, fixed, or a list"},
	[KMS_PARAM_MIN_BYTES] = {"min_bytes", read_min_bytes, "a size such as 4096 or 64K"                  },
	[KMS_PARAM_MIN_SCORE] = {"min_score", read_min_score, "a number from 0 to 100"                      },
	[KMS_PARAM_SUM] = {"sum",       read_sum,       "0 or 1"                                      },
	[KMS_PARAM_CACHE] = {"cache",     read_cache,     "the name of a cache"                         },
	[KMS_PARAM_STEP] = {"step",      read_step,      "a time in ns, or with a unit: 100ms, 1s"     },
	[KMS_PARAM_SERIES] = {"series",    read_series,    "names joined by commas: live_bytes,faults"   },
	[KMS_PARAM_A] = {"a",         read_a,         "id or name of a mark of /api/v1/marks"       },
	[KMS_PARAM_B] = {"b",         read_b,         "id or name of a mark of /api/v1/marks"       },
	[KMS_PARAM_TOPICS] = {"topics",    read_topics,
			      "stats, caches, leaks, guard, faults, targets, loss, or a list"            },
	[KMS_PARAM_HZ] = {"hz",        read_hz,
			      "a number from 0.1 to 10 with at most one digit behind the point"          },
	[KMS_PARAM_ORDER] = {"order",     read_order,     "asc or desc"                                 },
};

const char *kms_param_name(enum kms_param param)
{
	return params[param].name;
}

/* Decodes the escape at text, of which n bytes are there; -1 if it is none. */
static int decode_escape(const char *text, size_t n)
{
	int high = n >= 3 ? kms_hex_digit(text[1]) : KMS_NO_DIGIT;
	int low = n >= 3 ? kms_hex_digit(text[2]) : KMS_NO_DIGIT;

	if (high == KMS_NO_DIGIT || low == KMS_NO_DIGIT)
		return -1;
	return high << 4 | low;
}

int kms_url_decode(const char *text, size_t n, bool plus, char *out, size_t out_bytes)
{
	size_t used = 0;
	int c;

	for (size_t i = 0; i < n; i++) {
		c = (unsigned char)text[i];
		if (c == '%') {
			c = decode_escape(text + i, n - i);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (c <= 0)
			return -EINVAL;
		if (used + 1 >= out_bytes)
			return -ENAMETOOLONG;
		out[used++] = (char)c;
	}
	out[used] = '\0';
	return 0;
}

/* Every parameter of a set, for an error text: "limit, target". */
static void list_params(uint32_t allowed, char *text, size_t text_bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < KMS_PARAMS; i++) {
		if (!(allowed & KMS_PARAM_BIT(i)) || used + strlen(params[i].name) + 3 > text_bytes)
			continue;
		used += (size_t)snprintf(text + used, text_bytes - used, "%s%s", used ? ", " : "",
					 params[i].name);
	}
}

static int unknown_param(const char *name, uint32_t allowed, struct kms_err *err)
{
	char list[128];

	list_params(allowed, list, sizeof(list));
	if (allowed)
		kms_err_set(err, -EINVAL, "unknown parameter %s; this resource takes: %s", name,
			    list);
	else
		kms_err_set(err, -EINVAL, "unknown parameter %s; this resource takes none", name);
	kms_err_subject(err, name);
	return -EINVAL;
}

static int apply_param(const char *name, const char *value, uint32_t allowed,
		       struct kms_query *query, struct kms_err *err)
{
	unsigned int i = 0;

	while (i < KMS_PARAMS &&
	       (!(allowed & KMS_PARAM_BIT(i)) || strcmp(params[i].name, name) != 0))
		i++;
	if (i == KMS_PARAMS)
		return unknown_param(name, allowed, err);
	if (query->given & KMS_PARAM_BIT(i))
		kms_err_set(err, -EINVAL, "parameter %s is given twice", name);
	else if (params[i].read(value, query) < 0)
		kms_err_set(err, -EINVAL, "parameter %s must be %s, not \"%.100s\"", name,
			    params[i].expected, value);
	else {
		query->given |= KMS_PARAM_BIT(i);
		return 0;
	}
	kms_err_subject(err, name);
	return -EINVAL;
}

/* One "name=value" of n bytes. */
static int parse_pair(const char *text, size_t n, uint32_t allowed, struct kms_query *query,
		      struct kms_err *err)
{
	char name[PARAM_TEXT_BYTES];
	char value[PARAM_TEXT_BYTES];
	const char *equals = memchr(text, '=', n);
	size_t name_bytes = equals ? (size_t)(equals - text) : n;
	size_t value_at = equals ? name_bytes + 1 : n;

	if (kms_url_decode(text, name_bytes, true, name, sizeof(name)) < 0 ||
	    kms_url_decode(text + value_at, n - value_at, true, value, sizeof(value)) < 0)
		return kms_err_set(err, -EINVAL,
				   "the query is too long or has a broken %%XX escape");
	return apply_param(name, value, allowed, query, err);
}

int kms_query_parse(const char *text, uint32_t allowed, struct kms_query *query,
		    struct kms_err *err)
{
	size_t length;
	int ret;

	memset(query, 0, sizeof(*query));
	query->limit = KMS_LIMIT_DEFAULT;
	query->to_ns = UINT64_MAX;
	query->states = KMS_LEAK_STATE_ANY;
	query->topics = (1u << KMS_TOPICS) - 1;
	query->period_ms = 1000;
	while (text && *text) {
		length = strcspn(text, "&");
		if (length > 0) {
			ret = parse_pair(text, length, allowed, query, err);
			if (ret < 0)
				return ret;
		}
		text += length + (text[length] == '&');
	}
	return 0;
}

uint64_t kms_query_filter(const struct kms_query *query, uint64_t seed)
{
	const uint64_t parts[] = {
		query->target,  query->kinds,  query->states,      query->address,   query->from_ns,
		query->to_ns,   query->site,   query->min_bytes,   query->min_score, query->sum,
		query->step_ns, query->series, query->newest_first};
	const char *const names[] = {query->cache, query->mark_a, query->mark_b};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		seed = kms_hash_join(seed, parts[i]);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		seed = kms_hash_join(seed, kms_hash_bytes(names[i], strlen(names[i]), i));
	return seed;
}
