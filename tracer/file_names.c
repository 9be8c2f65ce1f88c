/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names for stacks that the tracer gave none (it names those of leaks and findings): from the files of
 * the modules, as they are on this machine, by the helper that the tracer uses. What a trace says of
 * modules is hostile; the helper is made for that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/file_impl.h"

enum {
	BLOCKS_BEGIN = 1, /* the tables were before the first block */
};

static int feed(void *arg, const struct kms_batch *batch)
{
	if (batch->n_blocks || batch->what == KMS_BATCH_END)
		return BLOCKS_BEGIN;
	(void)kms_stack_book_feed(arg, batch); /* of too many stacks some have no names */
	return 0;
}

/* The book of the trace's tables; the lock is held. */
static void fill_book(struct kms_file *file)
{
	struct file_stack_names *names = &file->stack_names;
	int64_t version = atomic_load(&file->version);
	struct kms_stack_book *book = kms_stack_book_create(0);

	names->version = version;
	if (!book || kms_file_replay(file, feed, book, NULL) < 0) {
		kms_stack_book_destroy(book);
		return;
	}
	kms_stack_book_destroy(names->book);
	names->book = book;
}

static bool frames(struct kms_file *file, uint64_t stack_id, struct kms_view_stack *out)
{
	const struct file_stack_names *names = &file->stack_names;

	return names->book &&
	       kms_stack_book_frames(names->book, names->symbols, stack_id, out, NULL) == 0;
}

int file_named_stack(struct kms_file *file, uint64_t stack_id, struct kms_view_stack *out)
{
	struct file_stack_names *names = &file->stack_names;
	bool found;

	if (!names->wanted)
		return -ENOENT;
	(void)pthread_mutex_lock(&names->lock); /* cannot fail on a plain mutex */
	if (!names->symbols && !names->failed) {
		names->symbols = kms_symbols_create(NULL, NULL);
		names->failed = !names->symbols;
		fill_book(file);
	}
	found = frames(file, stack_id, out);
	if (!found && names->version != atomic_load(&file->version)) {
		fill_book(file);
		found = frames(file, stack_id, out);
	}
	if (found)
		return 0;
	(void)pthread_mutex_unlock(&names->lock);
	return -ENOENT;
}

void file_named_stack_end(struct kms_file *file, struct kms_view_stack *stack)
{
	kms_stack_book_free(stack);
	(void)pthread_mutex_unlock(&file->stack_names.lock);
}

void kms_file_name_stacks(struct kms_file *file)
{
	file->stack_names.wanted = true;
}

void file_stack_names_init(struct kms_file *file)
{
	(void)pthread_mutex_init(&file->stack_names.lock,
				 NULL); /* cannot fail without attributes */
}

void file_stack_names_deinit(struct kms_file *file)
{
	kms_stack_book_destroy(file->stack_names.book);
	kms_symbols_destroy(file->stack_names.symbols);
	(void)pthread_mutex_destroy(&file->stack_names.lock); /* nobody holds it */
}
