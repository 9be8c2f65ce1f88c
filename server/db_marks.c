/* SPDX-License-Identifier: BSD-2-Clause */
/* Marks and what changed between two of them. */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "server/db.h"
#include "server/db_run.h"

enum {
	MARK_NAME_BYTES = 65,
};

static int say_mark(void *arg, const struct kms_view_mark *mark)
{
	struct kms_ddb *db = arg;

	kms_buf_addf(db->out, "%4" PRIu64 " %" PRIu64 ".%06" PRIu64 " s ", mark->id,
		     mark->time_ns / 1000000000, mark->time_ns / 1000 % 1000000);
	kms_ddb_add_name(db, mark->name, 0);
	kms_buf_add_char(db->out, '\n');
	return 0;
}

static void list_marks(struct kms_ddb *db)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;

	if (!view->ops->marks)
		kms_ddb_fail(db, "mark: this source keeps no marks");
	else if (view->ops->marks(view->ctx, say_mark, db, &err) < 0)
		kms_ddb_fail_err(db, "mark", &err);
}

/* Putting one needs the right to write, listing them does not. */
static bool may_mark(struct kms_ddb *db)
{
	if (db->read_only)
		kms_ddb_fail(
			db, "mark: this connection may read only; it takes a token that may write");
	else if (db->snapshot->finished)
		kms_ddb_fail(
			db, "mark: this is a finished trace; marks are put while the program runs");
	else if (!db->view->ops->mark)
		kms_ddb_fail(db, "mark: this source keeps no marks");
	return !kms_ddb_failed(db);
}

void kms_ddb_cmd_mark(struct kms_ddb *db)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;
	char name[MARK_NAME_BYTES];
	uint64_t id = 0;

	if (kms_ddb_lex_at_end(&db->lex)) {
		list_marks(db);
		return;
	}
	if (!kms_ddb_lex_word(&db->lex, name, sizeof(name)))
		kms_ddb_fail(db, "mark: a name must follow, without blanks and commas");
	else if (name[strspn(name, "0123456789")] == '\0')
		kms_ddb_fail(db, "mark: a name of digits only is a number; begin it with a letter");
	if (kms_ddb_failed(db) || !may_mark(db))
		return;
	if (view->ops->mark(view->ctx, db->who, name, &id, &err) < 0)
		kms_ddb_fail_err(db, "mark", &err);
	else
		kms_buf_addf(db->out, "kmem: mark %" PRIu64 "\n", id);
}

/* A mark by name; the newest of that name. */
struct search {
	const char *name;
	uint64_t id;
};

static int compare_mark(void *arg, const struct kms_view_mark *mark)
{
	struct search *search = arg;

	if (mark->name && strcmp(mark->name, search->name) == 0)
		search->id = mark->id;
	return 0;
}

/* A name, or a number: marks are found by name first. */
static bool read_mark(struct kms_ddb *db, uint64_t *id)
{
	const struct kms_view *view = db->view;
	char name[MARK_NAME_BYTES];
	char shown[MARK_NAME_BYTES];
	struct search search = {.name = name};
	struct kms_err err = KMS_ERR_INIT;

	if (!kms_ddb_lex_word(&db->lex, name, sizeof(name))) {
		kms_ddb_fail(
			db,
			"diff: diff A B compares two marks, diff A with now; `mark` lists them");
		return false;
	}
	if (view->ops->marks(view->ctx, compare_mark, &search, &err) < 0) {
		kms_ddb_fail_err(db, "diff", &err);
		return false;
	}
	*id = search.id;
	if (*id || (kms_parse_u64(name, id) == 0 && *id))
		return true;
	kms_ddb_fail(db, "there is no mark %s; `mark` lists them",
		     kms_ddb_printable(name, shown, sizeof(shown)));
	return false;
}

/* Rows of a comparison, as many as there is room for. */
struct rows {
	struct kms_ddb *db;
	size_t left;
	size_t more;
};

static int say_row(void *arg, const struct kms_view_diff *row)
{
	struct rows *rows = arg;
	struct kms_ddb *db = rows->db;

	if (!kms_ddb_is_meant(db, row->target))
		return 0;
	if (rows->left == 0) {
		rows->more++;
		return 0;
	}
	rows->left--;
	kms_buf_addf(db->out, "%+12" PRId64 " bytes %+8" PRId64 " ", row->bytes, row->count);
	kms_ddb_add_name(db, row->cache, 0);
	if (row->n_caches > 1)
		kms_buf_addf(db->out, " and %zu other cache%s", row->n_caches - 1,
			     row->n_caches == 2 ? "" : "s");
	kms_buf_add_str(db->out, " in ");
	kms_ddb_add_caller(db, row->stack_id);
	kms_buf_add_char(db->out, '\n');
	return 0;
}

void kms_ddb_cmd_diff(struct kms_ddb *db)
{
	const struct kms_view *view = db->view;
	struct rows rows = {.db = db, .left = KMS_DDB_ROWS};
	struct kms_err err = KMS_ERR_INIT;
	uint64_t from = 0;
	uint64_t to = 0;

	if (!view->ops->diff || !view->ops->marks) {
		kms_ddb_fail(db, "diff: this source keeps no marks");
		return;
	}
	if (!read_mark(db, &from) || (!kms_ddb_lex_at_end(&db->lex) && !read_mark(db, &to)))
		return;
	if (view->ops->diff(view->ctx, from, to, say_row, &rows, &err) < 0)
		kms_ddb_fail_err(db, "diff", &err);
	else if (rows.left == KMS_DDB_ROWS)
		kms_buf_add_str(db->out, "kmem: nothing changed\n");
	if (rows.more)
		kms_buf_addf(db->out, "kmem: %zu more rows\n", rows.more);
}
