/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit: whatever is asked of a target is noted with who asked and what came of it, here around
 * the view's functions, so that none of them can be forgotten. The notes go to the store's thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tracer/tracer_impl.h"

enum {
	AUDITS_MAX = 4096, /* that wait for the store */
};

/* A note that waits for the store. */
struct tracer_note {
	struct tracer_note *next;
	struct kms_store_audit entry; /* its strings are below */
	char who[64], variable[48], result[128];
};

static uint64_t wall_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static const char *copy(char *to, size_t room, const char *from)
{
	size_t length = from ? strnlen(from, room - 1) : 0;

	memcpy(to, from ? from : "", length);
	to[length] = '\0';
	return to;
}

static struct tracer_note *note_create(const struct kms_store_audit *entry)
{
	struct tracer_note *note = calloc(1, sizeof(*note));

	if (!note)
		return NULL;
	note->entry = *entry;
	note->entry.wall_ns = wall_ns();
	note->entry.who = copy(note->who, sizeof(note->who), entry->who);
	note->entry.variable = copy(note->variable, sizeof(note->variable), entry->variable);
	note->entry.result = copy(note->result, sizeof(note->result), entry->result);
	return note;
}

void tracer_audit(struct kms_tracer *tracer, const struct kms_store_audit *entry)
{
	struct tracer_note *note = note_create(entry);
	bool kept;

	(void)pthread_mutex_lock(&tracer->lock); /* plain mutexes, never locked twice */
	kept = note && tracer->n_notes < AUDITS_MAX;
	if (kept) {
		*tracer->notes_end = note;
		tracer->notes_end = &note->next;
		tracer->n_notes++;
	}
	(void)pthread_mutex_unlock(&tracer->lock);
	if (kept)
		return;
	free(note);
	tracer_say(tracer, "a write of %s is not in the audit: no memory", entry->who);
}

void tracer_store_audits(struct kms_tracer *tracer)
{
	struct tracer_note *note;

	(void)pthread_mutex_lock(&tracer->lock);
	note = tracer->notes;
	tracer->notes = NULL;
	tracer->notes_end = &tracer->notes;
	tracer->n_notes = 0;
	(void)pthread_mutex_unlock(&tracer->lock);
	while (note) {
		struct tracer_note *next = note->next;

		/* a store that cannot keep it has said so of the events */
		(void)kms_store_audit(tracer->store, &note->entry, NULL);
		free(note);
		note = next;
	}
}

/* Notes what was tried; hands the result on. */
static int noted(struct kms_tracer *tracer, struct kms_store_audit entry, int result,
		 const struct kms_err *own, struct kms_err *err)
{
	entry.result = result ? own->text : "ok";
	tracer_audit(tracer, &entry);
	if (result && err)
		*err = *own;
	return result;
}

static int audited_variable_set(void *ctx, const char *who, uint32_t target, unsigned variable,
				uint64_t value, struct kms_err *err)
{
	const struct kms_variable_info *info = kms_variable_info(variable);
	struct kms_tracer *tracer = ctx;
	struct kms_err own = KMS_ERR_INIT;
	int result = tracer->plain.variable_set(ctx, who, target, variable, value, &own);

	return noted(tracer,
		     (struct kms_store_audit){.who = who,
					      .target = target,
					      .variable = info ? info->name : "",
					      .value = value},
		     result, &own, err);
}

/* A function that takes no more than who asks and a target. */
#define AUDITED(name, word)                                                                        \
	static int audited_##name(void *ctx, const char *who, uint32_t target,                     \
				  struct kms_err *err)                                             \
	{                                                                                          \
		struct kms_tracer *tracer = ctx;                                                   \
		struct kms_err own = KMS_ERR_INIT;                                                 \
		int result = tracer->plain.name(ctx, who, target, &own);                           \
                                                                                                   \
		return noted(tracer,                                                               \
			     (struct kms_store_audit){                                             \
				     .who = who, .target = target, .variable = (word)},            \
			     result, &own, err);                                                   \
	}

AUDITED(stop, "stop")
AUDITED(resume, "continue")
AUDITED(detach, "detach")

static int audited_mark(void *ctx, const char *who, const char *name, uint64_t *id,
			struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct kms_err own = KMS_ERR_INIT;
	int result = tracer->plain.mark(ctx, who, name, id, &own);

	return noted(
		tracer,
		(struct kms_store_audit){.who = who, .variable = "mark", .value = result ? 0 : *id},
		result, &own, err);
}

void kms_tracer_attached(struct kms_tracer *tracer, const char *who, pid_t pid,
			 const struct kms_options *options)
{
	struct kms_store_audit entry = {
		.who = who, .variable = "attach", .value = (uint64_t)pid, .result = "ok"};

	tracer_audit(tracer, &entry);
	for (unsigned i = 0; options && i < KMS_VARIABLE_COUNT; i++) {
		const struct kms_variable_info *info = kms_variable_info(i);

		if (!options->is_set[i] || !info)
			continue;
		entry.variable = info->name;
		entry.value = options->value[i];
		tracer_audit(tracer, &entry);
	}
}

static int audited_memory_write(void *ctx, const char *who, const struct kms_memory_write *write,
				struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct kms_err own = KMS_ERR_INIT;
	int result = tracer->plain.memory_write(ctx, who, write, &own);
	char address[24];

	(void)snprintf(address, sizeof(address), "0x%llx", (unsigned long long)write->address);
	return noted(tracer,
		     (struct kms_store_audit){.who = who,
					      .target = write->target,
					      .variable = address,
					      .value = write->value},
		     result, &own, err);
}

void tracer_audit_init(struct kms_tracer *tracer)
{
	struct kms_view_ops *ops = &tracer->ops;

	tracer->notes_end = &tracer->notes;
	tracer->plain = *ops;
	ops->variable_set = ops->variable_set ? audited_variable_set : NULL;
	ops->memory_write = ops->memory_write ? audited_memory_write : NULL;
	ops->mark = audited_mark;
	ops->stop = ops->stop ? audited_stop : NULL;
	ops->resume = ops->resume ? audited_resume : NULL;
	ops->detach = ops->detach ? audited_detach : NULL;
}

void tracer_audit_deinit(struct kms_tracer *tracer)
{
	while (tracer->notes) {
		struct tracer_note *next = tracer->notes->next;

		free(tracer->notes);
		tracer->notes = next;
	}
}
