/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which module an address was in, and with that the names by which leaks go: the same in every run
 * of a program, wherever its modules are loaded.
 */
#include <stdlib.h>
#include <string.h>

#include "tracer/leaks.h"
#include "tracer/model_internal.h"

enum {
	OVERLAPS_MAX = 16, /* modules that were at one place one after the other, looked at */
};

void kms_model_modules_drop(struct kms_model *model, struct kms_model_image *image)
{
	kms_memory_free(&model->memory, image->module, image->n_modules * sizeof(*image->module));
	image->module = NULL;
	image->n_modules = 0;
}

static int by_start(const void *a, const void *b)
{
	const struct kms_model_module *x = a;
	const struct kms_model_module *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->epoch > y->epoch) - (x->epoch < y->epoch);
}

/* The part of a path behind its last slash; its length in *bytes. "" unknown. */
static const char *string_base(const struct kms_model_image *image, uint32_t index, size_t *bytes)
{
	const struct kms_model_table *table = &image->table[KMS_SEC_STRING];
	const struct kms_string_head *head = kms_model_entry(image, KMS_SEC_STRING, index);
	const char *text;
	const char *slash;
	size_t room;

	*bytes = 0;
	if (!head || !head->ready)
		return "";
	room = (table->used - index - 1) * 8;
	*bytes = head->ready - 1;
	if (*bytes > room)
		*bytes = room;
	text = (const char *)(head + 1);
	slash = memrchr(text, '/', *bytes);
	if (slash) {
		*bytes -= (size_t)(slash + 1 - text);
		text = slash + 1;
	}
	return text;
}

/* Sorts the modules that are ready; without memory there are none. */
static void modules_index(struct kms_model *model, struct kms_model_image *image)
{
	size_t room = image->table[KMS_SEC_MODULE].used;
	struct kms_model_module *out;

	kms_model_modules_drop(model, image);
	image->modules_stale = false;
	out = room ? kms_memory_alloc(&model->memory, room * sizeof(*out)) : NULL;
	if (!out)
		return;
	image->module = out;
	image->n_modules = room; /* holes stay at the end, empty */
	for (uint32_t i = 0; i < room; i++) {
		const struct kms_module *module = kms_model_entry(image, KMS_SEC_MODULE, i);

		if (!module->ready)
			continue;
		out->start = module->start;
		out->end = module->end;
		out->load_bias = module->load_bias;
		out->epoch = module->epoch;
		out->name = string_base(image, module->path_string, &out->name_bytes);
		out++;
	}
	for (; out < image->module + room; out++)
		out->start = UINT64_MAX;
	qsort(image->module, room, sizeof(*image->module), by_start);
}

/* Module that held @pc in map epoch @epoch: of those that began no later, the latest. */
static const struct kms_model_module *module_of(const struct kms_model_image *image, uint64_t pc,
						uint32_t epoch)
{
	const struct kms_model_module *best = NULL;
	size_t low = 0;
	size_t high = image->n_modules;

	while (low < high) { /* the first that begins behind pc */
		size_t middle = low + (high - low) / 2;

		if (image->module[middle].start <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	for (unsigned i = 0; i < OVERLAPS_MAX && low > i; i++) {
		const struct kms_model_module *module = &image->module[low - 1 - i];

		if (pc < module->end && module->epoch <= epoch &&
		    (!best || module->epoch > best->epoch))
			best = module;
	}
	return best;
}

uint64_t kms_model_leak_id(struct kms_model *model, struct kms_model_image *image, uint32_t node,
			   uint16_t cache, bool *whole)
{
	/* blocks of one stack may be of several caches, and of others in the next run */
	const struct kms_cache_entry *entry = node ? NULL : kms_model_cache_entry(image, cache);
	struct kms_leak_hash hash;

	if (image->modules_stale)
		modules_index(model, image);
	*whole = node || entry;
	kms_leak_hash_init(&hash, entry ? entry->name : "", entry ? sizeof(entry->name) : 0);
	for (unsigned depth = 0; node && depth < KMS_LEAK_FRAMES; depth++) {
		const struct kms_node *frame = kms_model_node(image, node);
		struct kms_leak_frame view = {0};
		const struct kms_model_module *module;

		if (!frame) {
			*whole = false;
			break;
		}
		module = module_of(image, frame->pc, frame->epoch_ready >> 2);
		*whole &= module != NULL;
		if (module) {
			view.module = module->name;
			view.module_bytes = module->name_bytes;
			view.offset = frame->pc - module->load_bias;
		}
		kms_leak_hash_frame(&hash, &view);
		node = frame->parent;
	}
	return kms_leak_hash_end(&hash);
}
