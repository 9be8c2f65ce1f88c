/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of the regions, as far as the live model needs them. Every index in them is foreign. */
#include <errno.h>
#include <string.h>

#include "tracer/model_internal.h"

/* What the checks add to a block (DESIGN 4). */
enum {
	REDZONE_BYTES = 2,
	HEADER_BYTES = 8,
};

/* What a section's entries must look like; entry_bytes 0: not kept here. */
static const struct {
	uint32_t entry_bytes;
	uint32_t max;
} table_rules[KMS_MODEL_SECTIONS] = {
	[KMS_SEC_NODE] = {sizeof(struct kms_node),        KMS_MAX_NODES           },
	[KMS_SEC_CACHE] = {sizeof(struct kms_cache_entry), KMS_MAX_CACHES          },
	[KMS_SEC_MODULE] = {sizeof(struct kms_module),      KMS_MAX_MODULES         },
	[KMS_SEC_THREAD] = {sizeof(struct kms_thread),      KMS_MAX_THREADS         },
	[KMS_SEC_STRING] = {8,                              KMS_MAX_STRING_BYTES / 8},
	[KMS_SEC_FORK_CUT] = {sizeof(struct kms_fork_cut),    KMS_MAX_FORK_CUTS       },
};

struct kms_model_image *kms_model_image_find(const struct kms_model *model, uint32_t id)
{
	return id < model->image_room ? model->image[id] : NULL;
}

struct kms_model_image *kms_model_image_get(struct kms_model *model, uint32_t id)
{
	struct kms_model_image *image = kms_model_image_find(model, id);

	if (image || !id || id >= KMS_MODEL_MAX_IMAGES)
		return image;
	if (kms_memory_reserve(&model->memory, &model->image, &model->image_room, (size_t)id + 1,
			       sizeof(struct kms_model_image *)))
		return NULL;
	image = kms_memory_alloc(&model->memory, sizeof(*image));
	if (!image)
		return NULL;
	image->id = id;
	model->image[id] = image;
	if (id > model->top_image)
		model->top_image = id;
	return image;
}

static void table_free(struct kms_model *model, struct kms_model_image *image, uint32_t section)
{
	struct kms_model_table *table = &image->table[section];

	kms_memory_free(&model->memory, table->data,
			table->room * table_rules[section].entry_bytes);
	*table = (struct kms_model_table){0};
}

void kms_model_image_destroy(struct kms_model *model, struct kms_model_image *image)
{
	if (!image)
		return;
	for (uint32_t section = 0; section < KMS_MODEL_SECTIONS; section++)
		table_free(model, image, section);
	kms_model_modules_drop(model, image);
	kms_memory_free(&model->memory, image->ring, image->ring_room * sizeof(*image->ring));
	kms_memory_free(&model->memory, image, sizeof(*image));
}

void kms_model_image_drop_tables(struct kms_model *model, struct kms_model_image *image)
{
	table_free(model, image, KMS_SEC_NODE);
	table_free(model, image, KMS_SEC_MODULE);
	table_free(model, image, KMS_SEC_STRING);
	kms_model_modules_drop(model, image);
	image->tables_dropped = true;
}

int kms_model_image_add(struct kms_model *model, const struct kms_batch_table *news)
{
	struct kms_model_image *image = kms_model_image_get(model, news->image);
	struct kms_model_table *table;
	uint32_t bytes;
	size_t end = (size_t)news->first + news->count;

	if (!image)
		return -ENOMEM;
	if (news->section >= KMS_MODEL_SECTIONS || !table_rules[news->section].entry_bytes)
		return 0;
	bytes = table_rules[news->section].entry_bytes;
	if (news->entry_bytes != bytes || end > table_rules[news->section].max)
		return -EINVAL;
	table = &image->table[news->section];
	if (kms_memory_reserve(&model->memory, &table->data, &table->room, end, bytes))
		return -ENOMEM;
	if (news->count)
		memcpy(table->data + (size_t)news->first * bytes, news->data,
		       (size_t)news->count * bytes);
	if (end > table->used)
		table->used = end;
	image->modules_stale |= news->section == KMS_SEC_MODULE;
	return 0;
}

struct kms_model_ring *kms_model_image_ring(struct kms_model *model, struct kms_model_image *image,
					    uint32_t ring)
{
	if (ring >= KMS_MAX_RINGS ||
	    kms_memory_reserve(&model->memory, &image->ring, &image->ring_room, (size_t)ring + 1,
			       sizeof(*image->ring)))
		return NULL;
	return &image->ring[ring];
}

const void *kms_model_entry(const struct kms_model_image *image, uint32_t section, uint32_t index)
{
	const struct kms_model_table *table = &image->table[section];

	return index < table->used ? table->data + (size_t)index * table_rules[section].entry_bytes
				   : NULL;
}

const struct kms_node *kms_model_node(const struct kms_model_image *image, uint32_t index)
{
	const struct kms_node *node = kms_model_entry(image, KMS_SEC_NODE, index);

	return node && index && node->epoch_ready & KMS_NODE_READY && node->parent < index ? node
											   : NULL;
}

const struct kms_cache_entry *kms_model_cache_entry(const struct kms_model_image *image,
						    uint32_t index)
{
	const struct kms_cache_entry *entry = kms_model_entry(image, KMS_SEC_CACHE, index);

	return entry && entry->ready ? entry : NULL;
}

const struct kms_thread *kms_model_thread(const struct kms_model_image *image, uint32_t index)
{
	const struct kms_thread *thread = kms_model_entry(image, KMS_SEC_THREAD, index);

	return thread && thread->ready ? thread : NULL;
}

const struct kms_fork_cut *kms_model_cut(const struct kms_model_image *image, uint32_t index)
{
	const struct kms_fork_cut *cut = kms_model_entry(image, KMS_SEC_FORK_CUT, index);

	return cut && cut->ready ? cut : NULL;
}

uint32_t kms_model_node_parent(const void *tree, uint32_t node)
{
	const struct kms_node *entry = kms_model_node(tree, node);

	return entry ? entry->parent : 0;
}

/* Is this a cache of the front that serves such blocks? Both have one for large blocks. */
static bool cache_serves(const struct kms_cache_entry *entry, bool is_kmem)
{
	if (entry->kind == KMS_CACHE_LARGE)
		return (strncmp(entry->name, "kmem", 4) == 0) == is_kmem;
	return entry->kind == (is_kmem ? KMS_CACHE_KMEM : KMS_CACHE_MALLOC);
}

static uint64_t cache_bytes(const struct kms_cache_entry *entry)
{
	return entry->kind == KMS_CACHE_LARGE ? UINT64_MAX : entry->object_bytes;
}

uint16_t kms_model_cache_guess(const struct kms_model_image *image, uint64_t bytes, uint32_t flags)
{
	bool is_kmem = flags & (KMS_CHECK_HEADER | KMS_ATTR_INTR | KMS_ATTR_NOSLEEP);
	uint64_t need = bytes + (flags & KMS_CHECK_REDZONE ? REDZONE_BYTES : 0) +
			(flags & KMS_CHECK_HEADER ? HEADER_BYTES : 0);
	uint64_t best_bytes = 0;
	uint16_t best = KMS_LIVE_NO_CACHE;

	for (uint32_t i = 0; i < image->table[KMS_SEC_CACHE].used; i++) {
		const struct kms_cache_entry *entry = kms_model_cache_entry(image, i);

		if (!entry || !cache_serves(entry, is_kmem) || cache_bytes(entry) < need)
			continue;
		if (best == KMS_LIVE_NO_CACHE || cache_bytes(entry) < best_bytes) {
			best = (uint16_t)i;
			best_bytes = cache_bytes(entry);
		}
	}
	return best;
}
