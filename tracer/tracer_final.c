/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a run: the last picture goes to the file, with names for the stacks that a reader of
 * the file will ask for first. Bounded in number and time: the rest stays module and offset.
 */
#include <errno.h>

#include "base/hash.h"
#include "tracer/owners.h"
#include "tracer/process.h"
#include "tracer/tracer_impl.h"

enum {
	STACKS_MAX = 2000,
	STACKS_MAX_ORIGIN = 1 << 16,
	SEEN_SLOTS = 8192, /* a power of two, more than twice STACKS_MAX */
};

static const uint64_t names_ns = 2000000000;
static const uint64_t owners_ns = 2000000000;

/* Stacks already written, and when to stop. */
struct names {
	struct kms_tracer *tracer;
	struct kms_symbols *symbols;
	uint64_t until_ns;
	uint32_t n;
	uint64_t seen[SEEN_SLOTS];
};

static bool is_new(struct names *names, uint64_t stack_id)
{
	uint64_t at = kms_hash_u64(stack_id);

	for (;; at++) {
		uint64_t *slot = &names->seen[at % SEEN_SLOTS];

		if (*slot == stack_id)
			return false;
		if (!*slot) {
			*slot = stack_id;
			return true;
		}
	}
}

static int add_stack(struct names *names, uint64_t stack_id, struct kms_err *err)
{
	struct kms_tracer *tracer = names->tracer;
	struct kms_view_stack stack;
	int result;

	if (!stack_id || names->n == STACKS_MAX || !is_new(names, stack_id))
		return 0;
	names->n++;
	if (kms_mono_ns() > names->until_ns)
		names->symbols = NULL; /* what follows is module and offset */
	if (kms_stack_book_frames(tracer->stacks, names->symbols, stack_id, &stack, NULL))
		return 0; /* not known: the file has no more than its number */
	result = kms_store_stack_symbols(tracer->store, stack_id, &stack, err);
	kms_stack_book_free(&stack);
	return result;
}

static int add_fault(struct names *names, const struct kms_view_fault *fault, struct kms_err *err)
{
	int result = add_stack(names, fault->stack_id, err);

	if (!result)
		result = add_stack(names, fault->alloc_stack_id, err);
	if (!result)
		result = add_stack(names, fault->free_stack_id, err);
	for (size_t i = 0; !result && i < fault->n_owners; i++) {
		result = add_stack(names, fault->owner[i].alloc_stack_id, err);
		if (!result)
			result = add_stack(names, fault->owner[i].free_stack_id, err);
	}
	return result;
}

static int add_names(struct kms_tracer *tracer, const struct kms_snapshot *snapshot,
		     struct kms_err *err)
{
	struct names names = {.tracer = tracer, .until_ns = kms_mono_ns() + names_ns};
	int result = 0;

	if (!snapshot->n_faults && !snapshot->n_leaks)
		return 0;
	names.symbols = tracer_symbols(tracer);
	for (size_t i = 0; !result && i < snapshot->n_faults; i++)
		result = add_fault(&names, &snapshot->fault[i], err);
	for (size_t i = 0; !result && i < snapshot->n_leaks; i++)
		result = add_stack(&names, snapshot->leak[i].stack_id, err);
	return result;
}

/* Owners of findings' addresses from the events that were stored: what there is is better than none. */
static void add_owners(struct kms_tracer *tracer)
{
	struct kms_model_owners_gap gap;
	struct kms_file *file;
	struct kms_view view;

	if (!kms_model_owners_gap(tracer->model, &(size_t){0}, &gap) ||
	    kms_store_commit(tracer->store, true, NULL) ||
	    kms_file_open(tracer->output, &file, NULL))
		return;
	view = kms_file_view(file);
	(void)kms_owners_complete(tracer->model, &view, kms_mono_ns() + owners_ns, NULL);
	kms_file_close(file);
}

int tracer_final(struct kms_tracer *tracer, struct kms_err *err)
{
	const struct kms_snapshot *snapshot;
	int result, later;

	add_owners(tracer);
	kms_model_publish(tracer->model, true);
	tracer_origin_names(tracer, STACKS_MAX_ORIGIN);
	snapshot = tracer_picture(tracer);
	result = add_names(tracer, snapshot, err);
	later = kms_store_finish(tracer->store, snapshot, result ? NULL : err);
	tracer_picture_release(tracer, snapshot);
	return result ? result : later;
}
