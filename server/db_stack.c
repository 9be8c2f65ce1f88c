/* SPDX-License-Identifier: BSD-2-Clause */
/* Stacks and faults: trace, show faults. */
#include <inttypes.h>
#include <string.h>

#include "server/db.h"
#include "server/db_run.h"
#include "server/report.h"

enum {
	REPORT_OWNERS = 16,
};

static void add_name(struct kms_buf *out, const char *name)
{
	kms_buf_add_printable(out, name, strlen(name));
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* "consume() at leaky+0x2234 (uaf.c:31)" */
static void add_frame(struct kms_buf *out, const struct kms_view_frame *frame)
{
	add_name(out, frame->function ? frame->function : "?");
	kms_buf_add_str(out, "() at ");
	if (frame->module) {
		add_name(out, last_part(frame->module));
		kms_buf_addf(out, "+0x%" PRIx64, frame->offset);
	} else {
		kms_buf_addf(out, "%" PRIx64, frame->address);
	}
	if (frame->file) {
		kms_buf_add_str(out, " (");
		add_name(out, frame->file);
		kms_buf_addf(out, ":%" PRIu32 ")", frame->line);
	}
	kms_buf_add_char(out, '\n');
}

void kms_ddb_add_stack(struct kms_ddb *db, uint64_t stack_id, int64_t max)
{
	const char *error = NULL;
	const struct kms_view_stack *stack = kms_stacks_get(db->stacks, stack_id, &error);
	char shown[KMS_ERR_TEXT_BYTES];

	for (size_t i = 0; i < stack->n_frames && (int64_t)i < max; i++)
		add_frame(db->out, &stack->frame[i]);
	if (stack->n_frames)
		return;
	if (error)
		kms_buf_addf(db->out, "kmem: the stack is not available: %s\n",
			     kms_ddb_printable(error, shown, sizeof(shown)));
	else
		kms_buf_add_str(db->out, "kmem: no stack was recorded\n");
}

void kms_ddb_add_caller(struct kms_ddb *db, uint64_t stack_id)
{
	size_t before = db->out->used_bytes;

	kms_report_caller(db->out, db->stacks, stack_id, "");
	if (db->out->used_bytes == before)
		kms_buf_add_char(db->out, '-');
}

const struct kms_view_fault *kms_ddb_fault(struct kms_ddb *db, uint64_t id)
{
	const struct kms_snapshot *s = db->snapshot;

	for (size_t i = 0; i < s->n_faults; i++)
		if (s->fault[i].id == id)
			return &s->fault[i];
	kms_ddb_fail(db,
		     "there is no fault %" PRIu64 "; `show faults` lists them (0t12 is decimal)",
		     id);
	return NULL;
}

/* The fault at which the target stands. */
static const struct kms_view_fault *stopped_at(struct kms_ddb *db)
{
	const struct kms_view_target *target;
	uint32_t id;

	if (!kms_ddb_one_target(db, &id))
		return NULL;
	target = kms_ddb_target(db, id);
	if (target->state == KMS_STATE_STOPPED && target->stop_fault)
		return kms_ddb_fault(db, target->stop_fault);
	kms_ddb_fail(db,
		     "target %" PRIu32 " stands at no fault; trace/f N shows the stack of fault N, "
		     "`show faults` lists them",
		     id);
	return NULL;
}

void kms_ddb_cmd_trace(struct kms_ddb *db)
{
	const struct kms_view_fault *fault;

	if (db->modif[0] && strcmp(db->modif, "f") != 0)
		kms_ddb_fail(db, "Bad modifier: trace takes f, with the number of a fault");
	else if (db->modif[0] && !db->have_addr)
		kms_ddb_fail(db, "trace/f needs the number of a fault; `show faults` lists them");
	if (kms_ddb_failed(db))
		return;
	fault = db->modif[0] ? kms_ddb_fault(db, db->addr) : stopped_at(db);
	if (!fault)
		return;
	kms_report_headline(db->out, db->stacks, fault);
	kms_buf_add_char(db->out, '\n');
	kms_ddb_add_stack(db, fault->stack_id, db->count >= 0 ? db->count : INT64_MAX);
}

void kms_ddb_show_faults(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	const struct kms_view_fault *fault;
	int64_t left = db->count >= 0 ? db->count : KMS_DDB_ROWS;
	size_t more = 0;

	if (db->have_addr) {
		fault = kms_ddb_fault(db, db->addr);
		if (fault)
			kms_report_fault(db->out, db->stacks, fault, REPORT_OWNERS);
		return;
	}
	for (size_t i = s->n_faults; i > 0; i--) { /* newest first */
		fault = &s->fault[i - 1];
		if (!kms_ddb_is_meant(db, fault->target))
			continue;
		if (left-- <= 0) {
			more++;
			continue;
		}
		kms_buf_addf(db->out, "fault %" PRIu32 ", target %" PRIu32 ": ", fault->id,
			     fault->target);
		kms_report_headline(db->out, db->stacks, fault);
		kms_buf_add_char(db->out, '\n');
	}
	if (more)
		kms_buf_addf(db->out, "kmem: %zu older ones: show faults,0t%zu\n", more,
			     s->n_faults);
	else if (!s->n_faults)
		kms_buf_add_str(db->out, "kmem: no faults\n");
}
