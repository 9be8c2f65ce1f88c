/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables behind the lists: see views.h. Widths are chosen so that 80 columns hold all that is
 * needed to compare rows; what is behind comes on wider screens.
 */
#include "tui/views.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct kms_column cache_columns[] = {
	{"CACHE",     "name",            KMS_COLUMN_TEXT,  12, 0,  true,  'n'},
	{"OBJSZ",     "object_size",     KMS_COLUMN_COUNT, 5,  2,  false, 'o'},
	{"INUSE",     "objects_live",    KMS_COLUMN_COUNT, 6,  0,  false, 'a'},
	{"TOTAL",     "objects_total",   KMS_COLUMN_COUNT, 6,  2,  false, 't'},
	{"USE%",      "",                KMS_COLUMN_USE,   4,  1,  false, 'u'},
	{"SLABS",     "slabs",           KMS_COLUMN_COUNT, 6,  3,  false, 's'},
	{"WASTE",     "waste_bytes",     KMS_COLUMN_BYTES, 7,  2,  false, 'w'},
	{"ALLOC/s",   "alloc_rate",      KMS_COLUMN_RATE,  8,  1,  false, 'r'},
	{"FREE/s",    "free_rate",       KMS_COLUMN_RATE,  7,  1,  false, 'f'},
	{"TARGET",    "target",          KMS_COLUMN_ID,    6,  4,  false, 'T'},
	{"LIVE",      "live_bytes",      KMS_COLUMN_BYTES, 7,  6,  false, 'b'},
	{"GUARDED",   "objects_guarded", KMS_COLUMN_COUNT, 7,  7,  false, 'g'},
	{"CACHED",    "objects_cached",  KMS_COLUMN_COUNT, 7,  8,  false, 'c'},
	{"FAILED",    "failed",          KMS_COLUMN_COUNT, 6,  9,  false, 'F'},
	{"PAGES",     "pages",           KMS_COLUMN_COUNT, 6,  10, false, 'p'},
	{"OCCUPANCY", "",                KMS_COLUMN_BAR,   9,  5,  false, 'O'},
};

static const struct kms_column site_columns[] = {
	{"SITE",   "stack",        KMS_COLUMN_CALLER, 24, 0, true,  'n'},
	{"LIVE",   "live_bytes",   KMS_COLUMN_BYTES,  8,  0, false, 'b'},
	{"BLOCKS", "live_objects", KMS_COLUMN_COUNT,  8,  0, false, 'c'},
	{"ALLOCS", "allocs",       KMS_COLUMN_COUNT,  9,  1, false, 'a'},
	{"FREES",  "frees",        KMS_COLUMN_COUNT,  9,  2, false, 'f'},
	{"TARGET", "target",       KMS_COLUMN_ID,     6,  3, false, 'T'},
	{"STACK",  "stack_id",     KMS_COLUMN_ID,     11, 4, false, 'i'},
};

static const struct kms_column leak_columns[] = {
	{"SITE",     "stack",              KMS_COLUMN_CALLER, 22, 0, true,  'n'},
	{"SCORE",    "score",              KMS_COLUMN_SCORE,  6,  0, false, 's'},
	{"BYTES",    "bytes",              KMS_COLUMN_BYTES,  8,  0, false, 'b'},
	{"COUNT",    "count",              KMS_COLUMN_COUNT,  7,  0, false, 'c'},
	{"AGE",      "age_p50_us",         KMS_COLUMN_AGE,    7,  1, false, 'a'},
	{"GROWTH/s", "growth_bytes_per_s", KMS_COLUMN_GROWTH, 8,  2, false, 'g'},
	{"CACHE",    "cache",              KMS_COLUMN_TEXT,   12, 3, false, 'k'},
	{"TARGET",   "target",             KMS_COLUMN_ID,     6,  4, false, 'T'},
	{"STATE",    "state",              KMS_COLUMN_TEXT,   10, 5, false, 't'},
	{"ID",       "id",                 KMS_COLUMN_TEXT,   16, 7, false, 'i'},
};

static const struct kms_column guard_columns[] = {
	{"TARGET",    "target",          KMS_COLUMN_ID,    6,  0, false, 'T'},
	{"ASKED",     "depth_requested", KMS_COLUMN_COUNT, 8,  0, false, 'a'},
	{"DEPTH",     "depth",           KMS_COLUMN_COUNT, 8,  0, false, 'd'},
	{"USED",      "used",            KMS_COLUMN_COUNT, 8,  0, false, 'u'},
	{"BYTES",     "bytes",           KMS_COLUMN_BYTES, 8,  1, false, 'b'},
	{"WINDOW",    "window_frees",    KMS_COLUMN_COUNT, 8,  1, false, 'w'},
	{"OLDEST",    "oldest_age_us",   KMS_COLUMN_AGE,   8,  2, false, 'o'},
	{"EVICTED",   "evictions",       KMS_COLUMN_COUNT, 8,  3, false, 'e'},
	{"LIMIT",     "limited_by",      KMS_COLUMN_TEXT,  7,  3, false, 'l'},
	{"UNGUARDED", "unguarded",       KMS_COLUMN_COUNT, 9,  4, false, 'n'},
	{"LIVE",      "live",            KMS_COLUMN_COUNT, 8,  5, false, 'v'},
	{"PENDING",   "pending",         KMS_COLUMN_FLAG,  7,  6, false, 'p'},
	{"BACKEND",   "backend",         KMS_COLUMN_TEXT,  12, 7, true,  'k'},
};

static const struct kms_column fault_columns[] = {
	{"KIND",    "kind",    KMS_COLUMN_TEXT,    19, 0, false, 'k'},
	{"SITE",    "stack",   KMS_COLUMN_CALLER,  24, 0, true,  'n'},
	{"TIME/s",  "time_ns", KMS_COLUMN_SECONDS, 11, 1, false, 't'},
	{"SIZE",    "size",    KMS_COLUMN_COUNT,   6,  2, false, 's'},
	{"ADDRESS", "address", KMS_COLUMN_HEX,     14, 2, false, 'a'},
	{"TARGET",  "target",  KMS_COLUMN_ID,      6,  3, false, 'T'},
	{"N",       "id",      KMS_COLUMN_ID,      4,  4, false, 'i'},
	{"HITS",    "hits",    KMS_COLUMN_COUNT,   6,  5, false, 'h'},
	{"CACHE",   "cache",   KMS_COLUMN_TEXT,    14, 6, false, 'c'},
	{"POLICY",  "policy",  KMS_COLUMN_TEXT,    7,  7, false, 'p'},
};

static const struct kms_column event_columns[] = {
	{"SEQ",     "seq",      KMS_COLUMN_ID,      10, 2, false, 'q'},
	{"TIME/s",  "time_ns",  KMS_COLUMN_SECONDS, 13, 0, false, 't'},
	{"KIND",    "kind",     KMS_COLUMN_TEXT,    12, 0, false, 'k'},
	{"ADDRESS", "address",  KMS_COLUMN_HEX,     14, 0, false, 'a'},
	{"SIZE",    "size",     KMS_COLUMN_COUNT,   7,  1, false, 's'},
	{"CACHE",   "cache",    KMS_COLUMN_TEXT,    12, 1, true,  'c'},
	{"TARGET",  "target",   KMS_COLUMN_ID,      6,  4, false, 'T'},
	{"THREAD",  "thread",   KMS_COLUMN_ID,      8,  5, false, 'h'},
	{"STACK",   "stack_id", KMS_COLUMN_ID,      11, 6, false, 'i'},
	{"FLAGS",   "flags",    KMS_COLUMN_WORDS,   24, 7, false, 'f'},
};

static const struct kms_column target_columns[] = {
	{"NAME",    "name",         KMS_COLUMN_TEXT,  16, 0, false, 'n'},
	{"ID",      "id",           KMS_COLUMN_ID,    4,  0, false, 'i'},
	{"PID",     "pid",          KMS_COLUMN_ID,    8,  0, false, 'p'},
	{"STATE",   "state",        KMS_COLUMN_TEXT,  12, 0, false, 's'},
	{"LIVE",    "live_bytes",   KMS_COLUMN_BYTES, 8,  0, false, 'b'},
	{"PEAK",    "peak_bytes",   KMS_COLUMN_BYTES, 8,  2, false, 'k'},
	{"BLOCKS",  "live_objects", KMS_COLUMN_COUNT, 8,  3, false, 'o'},
	{"COMMAND", "command",      KMS_COLUMN_TEXT,  20, 1, true,  'c'},
	{"STARTED", "started",      KMS_COLUMN_TEXT,  23, 4, false, 't'},
};

static const struct kms_column block_columns[] = {
	{"ADDRESS", "address", KMS_COLUMN_HEX,     16, 0, false, 'a'},
	{"SIZE",    "size",    KMS_COLUMN_COUNT,   9,  0, false, 's'},
	{"AGE",     "age_us",  KMS_COLUMN_AGE,     8,  1, false, 'g'},
	{"STATE",   "state",   KMS_COLUMN_TEXT,    10, 2, false, 't'},
	{"CACHE",   "cache",   KMS_COLUMN_TEXT,    12, 2, true,  'c'},
	{"TARGET",  "target",  KMS_COLUMN_ID,      6,  3, false, 'T'},
	{"THREAD",  "thread",  KMS_COLUMN_ID,      8,  4, false, 'h'},
	{"TIME/s",  "time_ns", KMS_COLUMN_SECONDS, 13, 5, false, 'w'},
};

const struct kms_list_kind kms_tab_lists[KMS_TABS] = {
	[KMS_TAB_SLABS] = {.name = "Slabs",
			   .columns = cache_columns,
			   .n_columns = COUNT(cache_columns),
			   .items = "items",
			   .key = {"name", "target"},
			   .group = "name",
			   .sort = 7,         /* ALLOC/s: what happens */
			   .second = 10, /* LIVE, where nothing does */
			   .empty = "no cache has been used yet"},
	[KMS_TAB_SITES] = {.name = "Sites",
			   .columns = site_columns,
			   .n_columns = COUNT(site_columns),
			   .items = "items",
			   .key = {"stack_id", "target"},
			   .group = "stack",
			   .sort = 1,  /* LIVE */
			   .empty = "no site has live blocks"                                        },
	[KMS_TAB_LEAKS] = {.name = "Leaks",
			   .columns = leak_columns,
			   .n_columns = COUNT(leak_columns),
			   .items = "items",
			   .key = {"id", "target", "stack_id"},
			   .group = "stack",
			   .sort = 1,  /* SCORE */
			   .attention = "suspect",
			   .empty = "no site has live blocks"},
	[KMS_TAB_GUARD] = {.name = "Guard",
			   .columns = guard_columns,
			   .n_columns = COUNT(guard_columns),
			   .items = "items",
			   .key = {"target"},
			   .sort = 0,
			   .ascending = true,
			   .empty = "no target yet"                                        },
	[KMS_TAB_FAULTS] = {.name = "Faults",
                           .columns = fault_columns,
                           .n_columns = COUNT(fault_columns),
                           .items = "items",
                           .key = {"id"},
                           .sort = 6,                    /* N: the newest first */
			    .empty = "no fault was found"    },
	[KMS_TAB_EVENTS] = {.name = "Events",
                           .columns = event_columns,
                           .n_columns = COUNT(event_columns),
                           .items = "items",
                           .key = {"seq"},
                           .sort = 0,
                           .tail = true,
                           .empty = "no event yet"                                        },
};

const struct kms_list_kind kms_list_targets = {
	.name = "Targets",
	.columns = target_columns,
	.n_columns = COUNT(target_columns),
	.items = "items",
	.key = {"id"},
	.sort = 4, /* LIVE: the largest first */
	.empty = "no target yet",
};

const struct kms_list_kind kms_list_evictions = {
	.name = "Evictions",
	.columns = event_columns,
	.n_columns = COUNT(event_columns),
	.items = "items",
	.key = {"seq"},
	.sort = 1, /* TIME: the last first */
	.empty = "nothing has left the FIFO yet",
};

const struct kms_list_kind kms_list_blocks = {
	.name = "Blocks",
	.columns = block_columns,
	.n_columns = COUNT(block_columns),
	.items = "items",
	.key = {"address", "target"},
	.sort = 1,
	.empty = "no live block",
};
