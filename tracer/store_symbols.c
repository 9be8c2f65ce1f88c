/* SPDX-License-Identifier: BSD-2-Clause */
/* Stacks and their symbols: each symbol once, each stack a list of symbol numbers. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "tracer/store_impl.h"

enum {
	STACK_TEXT_BYTES = 1 << 20,
	FUNCTION_BYTES = 4096,
};

static uint64_t hash_text(uint64_t hash, const char *text)
{
	return text ? kms_hash_bytes(text, strlen(text), hash) : kms_hash_join(hash, 1);
}

/* Equal hashes are taken for equal symbols: 64 bits for some ten thousand of them. */
static uint64_t hash_frame(const struct kms_view_frame *frame)
{
	uint64_t hash = kms_hash_join(frame->address, frame->offset);

	hash = kms_hash_join(hash, (uint64_t)frame->line << 1 | frame->inlined);
	hash = hash_text(hash, frame->module);
	hash = hash_text(hash, frame->function);
	return hash_text(hash, frame->file);
}

/* Names come from files that the target chose; the schema's JSON escapes quotes only. */
static const char *printable(const char *text, char *copy, size_t room)
{
	size_t i;

	if (!text)
		return NULL;
	for (i = 0; i < room - 1 && text[i]; i++) {
		copy[i] = text[i];
		if ((unsigned char)copy[i] < ' ')
			copy[i] = '?';
	}
	copy[i] = '\0';
	return copy;
}

static int add_symbol(struct kms_store *store, const struct kms_view_frame *frame)
{
	char module[PATH_MAX], function[FUNCTION_BYTES], file[PATH_MAX];

	return STORE_ROW(
		&store->rows, STORE_SYMBOL, KMS_INT(store->next_symbol), KMS_INT(frame->address),
		KMS_TEXT(printable(frame->module, module, sizeof(module))), KMS_INT(frame->offset),
		KMS_TEXT(printable(frame->function, function, sizeof(function))),
		KMS_TEXT(printable(frame->file, file, sizeof(file))), KMS_INT(frame->line),
		KMS_INT(frame->inlined));
}

static int symbol_id(struct kms_store *store, const struct kms_view_frame *frame, uint64_t *id)
{
	uint64_t hash = hash_frame(frame);
	const uint64_t *known = kms_u64map_find(&store->symbols, hash);
	int result;

	if (known) {
		*id = *known;
		return 0;
	}
	result = add_symbol(store, frame);
	if (!result)
		result = kms_u64map_set(&store->symbols, hash, (uint64_t)store->next_symbol);
	*id = (uint64_t)store->next_symbol++;
	return result;
}

static int add_stack(struct kms_store *store, uint64_t stack_id, const struct kms_view_stack *stack,
		     struct kms_buf *list)
{
	int result = 0;

	kms_buf_add_char(list, '[');
	for (size_t i = 0; !result && i < stack->n_frames; i++) {
		uint64_t id;

		result = symbol_id(store, &stack->frame[i], &id);
		kms_buf_addf(list, "%s%llu", i ? "," : "", (unsigned long long)id);
	}
	kms_buf_add_char(list, ']');
	if (!result)
		result = kms_buf_status(list);
	if (!result)
		result = STORE_ROW(&store->rows, STORE_STACK, KMS_INT(stack_id),
				   KMS_INT(stack->cut), KMS_TEXT(kms_buf_text(list)));
	if (!result)
		result = kms_u64map_set(&store->stacks, stack_id, 1);
	return result;
}

int kms_store_stack_symbols(struct kms_store *store, uint64_t stack_id,
			    const struct kms_view_stack *stack, struct kms_err *err)
{
	struct kms_buf list;
	int result;

	if (!stack_id || kms_u64map_find(&store->stacks, stack_id))
		return 0;
	kms_buf_init(&list, STACK_TEXT_BYTES);
	result = add_stack(store, stack_id, stack, &list);
	kms_buf_deinit(&list);
	store->changed = true;
	return result < 0 ? kms_err_set(err, result, "cannot keep the symbols of a stack") : 0;
}
