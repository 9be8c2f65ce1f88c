/* SPDX-License-Identifier: BSD-2-Clause */
/* The eponymous virtual table `events`: see vtab.h. */
#include "tracer/vtab.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/db.h"
#include "tracer/scan.h"
#include "tracer/store_names.h"
#include "tracer/trace.h"
#include "tracer/vtab_functions.h"

enum column {
	COL_SEQ,
	COL_TIME,
	COL_KIND,
	COL_ADDRESS,
	COL_SIZE,
	COL_CACHE,
	COL_THREAD,
	COL_TARGET,
	COL_STACK,
	COL_FLAGS,
	COL_SITE,
	COL_VALUE,
	COL_RING,
	COL_ROWID = -1,
};

static const char declaration[] =
	"CREATE TABLE events(seq INTEGER, time_ns INTEGER, kind TEXT, address INTEGER, size INTEGER,"
	" cache TEXT, thread INTEGER, target INTEGER, stack_id INTEGER, flags INTEGER,"
	" site INTEGER HIDDEN, value INTEGER HIDDEN, ring INTEGER HIDDEN)";

struct table {
	sqlite3_vtab base; /* first: SQLite's part */
	sqlite3 *db;
	struct kms_trace *trace; /* made by the first query */
};

struct cursor {
	sqlite3_vtab_cursor base;           /* first: SQLite's part */
	struct kms_scan *scan;              /* NULL: nothing can match */
	const struct kms_scan_event *event; /* NULL: end */
};

static int fail(sqlite3_vtab *vtab, int code, const struct kms_err *err)
{
	sqlite3_free(vtab->zErrMsg);
	vtab->zErrMsg = sqlite3_mprintf("%s", err->text[0] ? err->text : "cannot read events");
	switch (code) {
	case -ENOMEM:
		return SQLITE_NOMEM;
	case -EBADMSG:
		return SQLITE_CORRUPT_VTAB;
	case -EBUSY:
		return SQLITE_BUSY;
	case -EINTR:
		return SQLITE_INTERRUPT;
	default:
		return SQLITE_ERROR;
	}
}

static int table_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
			 sqlite3_vtab **out, char **message)
{
	struct table *table;
	int rc = sqlite3_declare_vtab(db, declaration);

	(void)aux;
	(void)argc;
	(void)argv;
	(void)message;
	if (rc != SQLITE_OK)
		return rc;
	table = calloc(1, sizeof(*table));
	if (!table)
		return SQLITE_NOMEM;
	table->db = db;
	*out = &table->base;
	return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *vtab)
{
	struct table *table = (struct table *)vtab;

	kms_trace_destroy(table->trace);
	free(table);
	return SQLITE_OK;
}

/* What can be used of a column; how many rows of 1000 it leaves. */
struct rule {
	int column;
	bool equal, range;
	unsigned leaves;
};

static const struct rule rules[] = {
	{COL_ROWID,   true, true,  300},
        {COL_SEQ,     true, true,  300},
        {COL_TIME,    true, true,  300},
	{COL_KIND,    true, false, 200},
        {COL_ADDRESS, true, false, 1  },
        {COL_STACK,   true, false, 5  },
	{COL_SITE,    true, false, 5  },
        {COL_TARGET,  true, false, 400},
};

static bool is_range(int op)
{
	return op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE ||
	       op == SQLITE_INDEX_CONSTRAINT_LT || op == SQLITE_INDEX_CONSTRAINT_LE;
}

static const struct rule *find_rule(int column, int op)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		const struct rule *rule = &rules[i];

		if (rule->column == column && ((rule->equal && op == SQLITE_INDEX_CONSTRAINT_EQ) ||
					       (rule->range && is_range(op))))
			return rule;
	}
	return NULL;
}

/*
 * The plan: for each constraint used two bytes in idxStr, column and operator, as letters; idxNum 1
 * if the order is descending. SQLite checks all constraints again: ours need only not miss anything.
 */
static int table_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
	double rows = 1e8;
	char *plan = sqlite3_malloc(2 * info->nConstraint + 1);
	size_t used = 0;

	(void)vtab;
	if (!plan)
		return SQLITE_NOMEM;
	for (int i = 0; i < info->nConstraint; i++) {
		int column = info->aConstraint[i].iColumn, op = info->aConstraint[i].op;
		const struct rule *rule = find_rule(column, op);

		if (!info->aConstraint[i].usable || !rule)
			continue;
		plan[2 * used] = (char)('b' + column); /* rowid, -1, is 'a' */
		plan[2 * used + 1] = (char)op;
		info->aConstraintUsage[i].argvIndex = (int)++used;
		rows = rows * rule->leaves / 1000;
	}
	plan[2 * used] = '\0';
	info->idxStr = plan;
	info->needToFreeIdxStr = 1;
	if (info->nOrderBy == 1 &&
	    (info->aOrderBy[0].iColumn == COL_SEQ || info->aOrderBy[0].iColumn == COL_ROWID)) {
		info->orderByConsumed = 1;
		info->idxNum = info->aOrderBy[0].desc != 0;
	}
	info->estimatedRows = (sqlite3_int64)(rows < 1 ? 1 : rows);
	info->estimatedCost = rows < 1 ? 1 : rows;
	return SQLITE_OK;
}

static int table_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
	struct cursor *cursor = calloc(1, sizeof(*cursor));

	(void)vtab;
	if (!cursor)
		return SQLITE_NOMEM;
	*out = &cursor->base;
	return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *base)
{
	struct cursor *cursor = (struct cursor *)base;

	kms_scan_close(cursor->scan);
	free(cursor);
	return SQLITE_OK;
}

/* An integer range around what a value may equal; false: it is no number and tells nothing. */
static bool value_range(sqlite3_value *value, int64_t *low, int64_t *high)
{
	double real;

	switch (sqlite3_value_numeric_type(value)) {
	case SQLITE_INTEGER:
		*low = *high = sqlite3_value_int64(value);
		return true;
	case SQLITE_FLOAT:
		real = sqlite3_value_double(value);
		if (!(real > -9e18 && real < 9e18))
			return false;
		*low = (int64_t)floor(real);
		*high = (int64_t)ceil(real);
		return true;
	default:
		return false;
	}
}

/* seq and time_ns are never negative. */
static bool limit_range(uint64_t *min, uint64_t *max, int op, int64_t low, int64_t high)
{
	bool from = op != SQLITE_INDEX_CONSTRAINT_LT && op != SQLITE_INDEX_CONSTRAINT_LE;
	bool to = op != SQLITE_INDEX_CONSTRAINT_GT && op != SQLITE_INDEX_CONSTRAINT_GE;

	if (from && low > 0 && (uint64_t)low > *min)
		*min = (uint64_t)low;
	if (to && high < 0)
		return false;
	if (to && (uint64_t)high < *max)
		*max = (uint64_t)high;
	return true;
}

static bool want(uint64_t *member, bool *has, uint64_t value)
{
	if (*has && *member != value)
		return false;
	*member = value;
	*has = true;
	return true;
}

/* Adds one constraint to the query; false: nothing can match. */
static bool constrain(struct kms_scan_query *q, int column, int op, sqlite3_value *value)
{
	int64_t low = 0, high = 0;
	const char *text;

	if (sqlite3_value_type(value) == SQLITE_NULL)
		return false;
	if (column == COL_KIND) {
		text = (const char *)sqlite3_value_text(value);
		q->kinds &= UINT32_C(1) << kms_name_value(KMS_NAMES_EVENT, text) & ~UINT32_C(1);
		return q->kinds != 0;
	}
	if (!value_range(value, &low, &high))
		return true;
	switch (column) {
	case COL_TIME:
		return limit_range(&q->time_min, &q->time_max, op, low, high);
	case COL_ADDRESS:
		return low == high && want(&q->address, &q->has_address, (uint64_t)low);
	case COL_STACK:
	case COL_SITE:
		return low == high && want(&q->site, &q->has_site, (uint64_t)low);
	case COL_TARGET:
		if (low != high || low < 1 || low > UINT32_MAX ||
		    (q->target && q->target != (uint32_t)low))
			return false;
		q->target = (uint32_t)low;
		return true;
	default: /* COL_SEQ, COL_ROWID */
		return limit_range(&q->seq_min, &q->seq_max, op, low, high);
	}
}

static int cursor_next(sqlite3_vtab_cursor *base)
{
	struct cursor *cursor = (struct cursor *)base;
	struct kms_err err = KMS_ERR_INIT;
	int result;

	if (!cursor->scan) {
		cursor->event = NULL;
		return SQLITE_OK;
	}
	result = kms_scan_next(cursor->scan, &cursor->event, &err);
	return result < 0 ? fail(base->pVtab, result, &err) : SQLITE_OK;
}

static int start_scan(struct cursor *cursor, const struct kms_scan_query *query,
		      struct kms_err *err)
{
	struct table *table = (struct table *)cursor->base.pVtab;
	int result = 0;

	if (!table->trace)
		result = kms_trace_create(table->db, &table->trace, err);
	if (!result)
		result = kms_trace_refresh(table->trace, err);
	if (!result)
		result = kms_scan_open(table->trace, query, &cursor->scan, err);
	return result;
}

static int cursor_filter(sqlite3_vtab_cursor *base, int descending, const char *plan, int argc,
			 sqlite3_value **argv)
{
	struct cursor *cursor = (struct cursor *)base;
	struct kms_scan_query query = KMS_SCAN_ALL;
	struct kms_err err = KMS_ERR_INIT;
	bool possible = true;
	int result;

	kms_scan_close(cursor->scan);
	cursor->scan = NULL;
	query.descending = descending != 0;
	for (int i = 0; i < argc; i++) {
		const char *pair = plan + 2 * (size_t)i;

		possible = constrain(&query, pair[0] - 'b', pair[1], argv[i]) && possible;
	}
	result = possible ? start_scan(cursor, &query, &err) : 0;
	return result < 0 ? fail(base->pVtab, result, &err) : cursor_next(base);
}

static int cursor_eof(sqlite3_vtab_cursor *base)
{
	return !((struct cursor *)base)->event;
}

static int cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
	*out = (sqlite3_int64)((struct cursor *)base)->event->event.seq;
	return SQLITE_OK;
}

static void result_if(sqlite3_context *context, bool has, uint64_t value)
{
	if (has)
		sqlite3_result_int64(context, (sqlite3_int64)value);
	else
		sqlite3_result_null(context);
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	struct cursor *cursor = (struct cursor *)base;
	const struct kms_scan_event *e = cursor->event;
	const char *text;

	switch (column) {
	case COL_SEQ:
		result_if(context, true, e->event.seq);
		break;
	case COL_TIME:
		result_if(context, true, e->event.time_ns);
		break;
	case COL_KIND:
		sqlite3_result_text(context, kms_name_of(KMS_NAMES_EVENT, e->event.kind), -1,
				    SQLITE_STATIC);
		break;
	case COL_ADDRESS:
		result_if(context, e->has_address, e->event.address);
		break;
	case COL_SIZE:
		result_if(context, e->has_size, e->event.size);
		break;
	case COL_CACHE:
		text = kms_scan_cache(cursor->scan);
		sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT); /* NULL becomes NULL */
		break;
	case COL_THREAD:
		result_if(context, e->event.tid != 0, e->event.tid);
		break;
	case COL_TARGET:
		result_if(context, true, e->event.target);
		break;
	case COL_FLAGS:
		result_if(context, true, e->event.flags);
		break;
	case COL_VALUE:
		result_if(context, true, e->value);
		break;
	case COL_RING:
		result_if(context, true, e->event.ring);
		break;
	default: /* COL_STACK, COL_SITE */
		result_if(context, e->event.stack_id != 0, e->event.stack_id);
		break;
	}
	return SQLITE_OK;
}

/* No xCreate: the table is there by its name alone. */
static const sqlite3_module module = {
	.iVersion = 0,
	.xConnect = table_connect,
	.xBestIndex = table_best_index,
	.xDisconnect = table_disconnect,
	.xOpen = table_open,
	.xClose = cursor_close,
	.xFilter = cursor_filter,
	.xNext = cursor_next,
	.xEof = cursor_eof,
	.xColumn = cursor_column,
	.xRowid = cursor_rowid,
};

int kms_vtab_register(sqlite3 *db)
{
	int rc = sqlite3_create_module_v2(db, "events", &module, NULL, NULL);

	return rc == SQLITE_OK ? kms_vtab_functions(db) : rc;
}
