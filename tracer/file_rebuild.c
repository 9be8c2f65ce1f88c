/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The picture of a trace whose tracer was lost: the model is fed with everything that reached the
 * file, which is more than the tables show.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tracer/file_impl.h"
#include "tracer/owners.h"
#include "tracer/process.h"

static const uint64_t owners_ns = 2000000000;

struct rebuild {
	struct kms_model *model;
	struct kms_err *err;
};

static int feed(void *arg, const struct kms_batch *batch)
{
	struct rebuild *r = arg;

	return kms_model_feed(r->model, batch, r->err);
}

/* A process whose tracer is gone may live on: we cannot know. */
static int mark_lost(struct file_snapshot *out)
{
	struct kms_snapshot *s = &out->s;
	struct kms_view_target *targets =
		file_arena_alloc(&out->arena, (s->n_targets + 1) * sizeof(*targets));

	if (!targets)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_targets; i++) {
		targets[i] = s->target[i];
		if (targets[i].state == KMS_STATE_RUNNING || targets[i].state == KMS_STATE_STOPPED)
			targets[i].state = KMS_STATE_LOST;
	}
	s->target = targets;
	return 0;
}

static int take_picture(struct kms_file *file, const struct file_meta *meta,
			struct file_snapshot *out)
{
	struct stat st;

	kms_model_publish(out->model, true);
	out->from = kms_model_acquire(out->model);
	out->s = *out->from;
	out->s.finished = false;
	out->s.file = file->path;
	out->s.tracer_lost = file_lost_text(&out->arena, meta);
	/* what was produced after the last commit is not in the file */
	out->s.incomplete = true;
	if (stat(file->path, &st) == 0)
		out->s.stats.db_bytes = (uint64_t)st.st_size;
	return mark_lost(out);
}

/* What the model has forgotten of the addresses of findings; without it they have fewer owners. */
static void complete_owners(struct kms_file *file, struct kms_model *model)
{
	struct kms_view view = kms_file_view(file);

	(void)kms_owners_complete(model, &view, kms_mono_ns() + owners_ns, NULL);
}

int file_rebuild(struct kms_file *file, const struct file_meta *meta, struct file_snapshot **out,
		 struct kms_err *err)
{
	struct kms_model_config config = {.file = file->path, .park_ns = UINT64_MAX};
	struct file_snapshot *made = calloc(1, sizeof(*made));
	struct rebuild r = {.err = err};
	int result;

	if (!made)
		return kms_err_set(err, -ENOMEM, "out of memory");
	atomic_init(&made->refs, 1);
	made->model = r.model = kms_model_create(&config);
	result = made->model ? kms_file_replay(file, feed, &r, err)
			     : kms_err_set(err, -ENOMEM, "out of memory");
	if (!result)
		complete_owners(file, made->model);
	if (!result && take_picture(file, meta, made) < 0)
		result = kms_err_set(err, -ENOMEM, "out of memory");
	if (result < 0) {
		file_snapshot_put(made);
		return result;
	}
	*out = made;
	return 0;
}
