/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames of a stack: with symbols where the tracer kept them, else with those of the modules' files,
 * else from the trie and the modules alone.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tracer/file_impl.h"
#include "tracer/stack_id.h"

enum {
	FRAMES_MAX = 1024,
};

/* A stack being built; strings are one allocation each. */
struct build {
	struct kms_view_stack *out;
	size_t room;
	bool no_memory;
};

static char *copy(struct build *b, const char *text)
{
	char *copied = text ? strdup(text) : NULL;

	b->no_memory |= text && !copied;
	return copied;
}

static struct kms_view_frame *add_frame(struct build *b)
{
	struct kms_view_stack *out = b->out;
	struct kms_view_frame *frames;
	size_t room = b->room ? b->room * 2 : 32;

	if (out->n_frames == b->room) {
		frames = realloc(out->frame, room * sizeof(*frames));
		if (!frames) {
			b->no_memory = true;
			return NULL;
		}
		out->frame = frames;
		b->room = room;
	}
	memset(&out->frame[out->n_frames], 0, sizeof(*out->frame));
	return &out->frame[out->n_frames++];
}

void file_stack_free(void *ctx, struct kms_view_stack *stack)
{
	(void)ctx;
	for (size_t i = 0; i < stack->n_frames; i++) {
		/* strings of our own making, though const to everybody else */
		kms_cleanup_free(&stack->frame[i].module);
		kms_cleanup_free(&stack->frame[i].function);
		kms_cleanup_free(&stack->frame[i].file);
	}
	free(stack->frame);
	memset(stack, 0, sizeof(*stack));
}

static void take_row(struct build *b, sqlite3_stmt *row)
{
	struct kms_view_frame *f = add_frame(b);

	if (!f)
		return;
	f->address = (uint64_t)sqlite3_column_int64(row, 0);
	f->module = copy(b, (const char *)sqlite3_column_text(row, 1));
	f->offset = (uint64_t)sqlite3_column_int64(row, 2);
	f->function = copy(b, (const char *)sqlite3_column_text(row, 3));
	f->file = copy(b, (const char *)sqlite3_column_text(row, 4));
	f->line = (uint32_t)sqlite3_column_int64(row, 5);
	f->inlined = sqlite3_column_int(row, 6) != 0;
}

/* Whether the tracer kept this stack, which may have no frames. */
static bool find_stack(struct build *b, sqlite3 *db, uint64_t stack_id)
{
	sqlite3_stmt *stmt = NULL;
	bool found = false;

	if (sqlite3_prepare_v2(db, "SELECT cut FROM stacks WHERE id = ?1", -1, &stmt, NULL) !=
	    SQLITE_OK)
		return false;
	if (sqlite3_bind_int64(stmt, 1, (sqlite3_int64)stack_id) == SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW) {
		found = true;
		b->out->cut = sqlite3_column_int(stmt, 0) != 0;
	}
	(void)sqlite3_finalize(stmt); /* what cannot be read is not there */
	return found;
}

/*
 * Frames that the tracer resolved; *found tells whether it kept this stack. The view is asked alone:
 * beside an outer join SQLite would first make all of its rows.
 */
static void from_symbols(struct build *b, sqlite3 *db, uint64_t stack_id, bool *found)
{
	static const char sql[] =
		"SELECT address, module, \"offset\", function, file, line, inlined "
		"FROM frames WHERE stack_id = ?1 ORDER BY depth";
	sqlite3_stmt *stmt = NULL;

	*found = find_stack(b, db, stack_id);
	if (!*found || sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return;
	if (sqlite3_bind_int64(stmt, 1, (sqlite3_int64)stack_id) == SQLITE_OK)
		while (b->out->n_frames < FRAMES_MAX && sqlite3_step(stmt) == SQLITE_ROW)
			take_row(b, stmt);
	(void)sqlite3_finalize(stmt); /* what cannot be read has no symbols */
}

/* The module that holds an address; the newest one where several did. */
static void find_module(struct build *b, sqlite3 *db, uint32_t image, struct kms_view_frame *frame)
{
	static const char sql[] =
		"SELECT path, \"start\", load_bias FROM modules WHERE image = ?1 AND \"start\" <= ?2 "
		"AND \"end\" > ?2 ORDER BY epoch DESC, idx DESC LIMIT 1";
	sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return;
	if (sqlite3_bind_int64(stmt, 1, image) == SQLITE_OK &&
	    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)frame->address) == SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW) {
		frame->module = copy(b, (const char *)sqlite3_column_text(stmt, 0));
		frame->offset = frame->address - (uint64_t)sqlite3_column_int64(stmt, 2);
	}
	(void)sqlite3_finalize(stmt); /* what cannot be read has no module */
}

/* What the modules' files say. The strings are the resolver's: each frame gets its own. */
static bool from_files(struct build *b, struct kms_file *file, sqlite3 *db, uint64_t stack_id)
{
	struct kms_view_stack named;

	if (file_named_stack(file, stack_id, &named) < 0)
		return false;
	b->out->cut = named.cut;
	for (size_t i = 0; i < named.n_frames && !b->no_memory; i++) {
		struct kms_view_frame *f = add_frame(b);

		if (!f)
			break;
		*f = named.frame[i];
		f->module = copy(b, named.frame[i].module);
		f->function = copy(b, named.frame[i].function);
		f->file = copy(b, named.frame[i].file);
		if (!f->module)
			find_module(b, db, kms_stack_image(stack_id), f);
	}
	file_named_stack_end(file, &named);
	return true;
}

/* Innermost first: a node's parent is the frame that called it, and has a lower index. */
static void from_nodes(struct build *b, struct kms_trace *trace, uint64_t stack_id)
{
	uint32_t image = kms_stack_image(stack_id), at = kms_stack_node(stack_id);

	while (at && b->out->n_frames < FRAMES_MAX && !b->no_memory) {
		const void *entry = kms_trace_entry(trace, image, KMS_SEC_NODE, at);
		struct kms_view_frame *frame;
		struct kms_node node;

		if (!entry)
			break;
		memcpy(&node, entry, sizeof(node));
		if (!(node.epoch_ready & KMS_NODE_READY) || node.parent >= at)
			break;
		b->out->cut |= (node.epoch_ready & KMS_NODE_CUT) != 0;
		frame = add_frame(b);
		if (frame) {
			frame->address = node.pc;
			find_module(b, kms_trace_db(trace), image, frame);
		}
		at = node.parent;
	}
	b->out->cut |= at != 0;
}

int file_stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err)
{
	struct kms_file *file = ctx;
	struct build b = {.out = out};
	struct file_conn *conn;
	bool found;
	int result = file_conn_begin(file, &conn, err);

	memset(out, 0, sizeof(*out));
	if (result < 0)
		return result;
	from_symbols(&b, conn->db, stack_id, &found);
	if (!found)
		found = from_files(&b, file, conn->db, stack_id);
	if (!found)
		from_nodes(&b, conn->trace, stack_id);
	file_conn_end(file, conn);
	if (b.no_memory) {
		file_stack_free(NULL, out);
		return kms_err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}
