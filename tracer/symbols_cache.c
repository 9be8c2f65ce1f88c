/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of the symbol resolver: two hash tables over memory that never moves. */
#include "tracer/symbols_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"

enum {
	TABLE_SIZE_MIN = 1024,
	BLOCK_BYTES = 65536,
};

struct kms_symbols_cache_block {
	struct kms_symbols_cache_block *next;
	size_t used;
	size_t size;
	_Alignas(16) uint8_t bytes[];
};

void kms_symbols_cache_init(struct kms_symbols_cache *cache, uint64_t max_bytes)
{
	*cache = (struct kms_symbols_cache){.max_bytes = max_bytes};
	if (getrandom(&cache->seed, sizeof(cache->seed), GRND_NONBLOCK) != sizeof(cache->seed))
		cache->seed = (uintptr_t)cache; /* early boot: the address has to do */
}

void kms_symbols_cache_deinit(struct kms_symbols_cache *cache)
{
	while (cache->blocks) {
		struct kms_symbols_cache_block *block = cache->blocks;
		cache->blocks = block->next;
		free(block);
	}
	free(cache->entries);
	free(cache->names);
	*cache = (struct kms_symbols_cache){0};
}

/* Memory ---------------------------------------------------------------------------------------------------------- */

static bool charge(struct kms_symbols_cache *cache, uint64_t n_bytes)
{
	if (n_bytes > cache->max_bytes - cache->used_bytes)
		return false;
	cache->used_bytes += n_bytes;
	return true;
}

static void *take(struct kms_symbols_cache *cache, size_t n_bytes, size_t align)
{
	struct kms_symbols_cache_block *block = cache->blocks;
	size_t at = block ? (block->used + align - 1) & ~(align - 1) : 0;
	if (!block || at > block->size || block->size - at < n_bytes) {
		size_t size = n_bytes > BLOCK_BYTES ? n_bytes : BLOCK_BYTES;
		if (!charge(cache, sizeof(*block) + size))
			return NULL;
		block = malloc(sizeof(*block) + size);
		if (!block) {
			cache->used_bytes -= sizeof(*block) + size;
			return NULL;
		}
		*block = (struct kms_symbols_cache_block){.next = cache->blocks, .size = size};
		cache->blocks = block;
		at = 0;
	}
	block->used = at + n_bytes;
	return block->bytes + at;
}

/* Replaces a table by one of twice its size; NULL if that is not allowed. The old one is still the caller's. */
static void *bigger_table(struct kms_symbols_cache *cache, size_t old_size, size_t element_bytes)
{
	size_t new_size = old_size ? old_size * 2 : TABLE_SIZE_MIN;
	if (!charge(cache, (new_size - old_size) * element_bytes))
		return NULL;
	void *table = calloc(new_size, element_bytes);
	if (!table)
		cache->used_bytes -= (new_size - old_size) * element_bytes;
	return table;
}

static bool is_crowded(size_t n, size_t size)
{
	return n + 1 > size / 4 * 3;
}

/* Names ----------------------------------------------------------------------------------------------------------- */

/* The place of a name in a table: its own, or the empty one where it would go. */
static size_t name_place(const struct kms_symbols_cache_name *names, size_t size,
			 const struct kms_symbols_cache_name *wanted)
{
	size_t i = wanted->hash & (size - 1);
	while (names[i].text &&
	       (names[i].hash != wanted->hash || names[i].length != wanted->length ||
		memcmp(names[i].text, wanted->text, wanted->length) != 0))
		i = (i + 1) & (size - 1);
	return i;
}

static bool grow_names(struct kms_symbols_cache *cache)
{
	struct kms_symbols_cache_name *names =
		bigger_table(cache, cache->names_size, sizeof(*names));
	if (!names)
		return false;
	size_t size = cache->names_size ? cache->names_size * 2 : TABLE_SIZE_MIN;
	for (size_t i = 0; i < cache->names_size; i++) {
		if (cache->names[i].text)
			names[name_place(names, size, &cache->names[i])] = cache->names[i];
	}
	free(cache->names);
	cache->names = names;
	cache->names_size = size;
	return true;
}

static const char *intern(struct kms_symbols_cache *cache, struct kms_symbols_wire_text text)
{
	if (is_crowded(cache->n_names, cache->names_size) && !grow_names(cache))
		return NULL;
	struct kms_symbols_cache_name name = {
		.text = text.text,
		.hash = (uint32_t)kms_hash_bytes(text.text, text.n, cache->seed),
		.length = (uint32_t)text.n,
	};
	size_t place = name_place(cache->names, cache->names_size, &name);
	if (cache->names[place].text)
		return cache->names[place].text;
	char *copy = take(cache, text.n + 1, 1);
	if (!copy)
		return NULL;
	memcpy(copy, text.text, text.n);
	copy[text.n] = '\0';
	name.text = copy;
	cache->names[place] = name;
	cache->n_names++;
	return copy;
}

/* Entries --------------------------------------------------------------------------------------------------------- */

static size_t entry_place(const struct kms_symbols_cache *cache,
			  const struct kms_symbols_cache_entry *wanted)
{
	uint64_t hash = kms_hash_join(cache->seed ^ wanted->module, wanted->offset);
	size_t i = (size_t)kms_hash_join(hash, wanted->is_return) & (cache->entries_size - 1);
	for (;;) {
		const struct kms_symbols_cache_entry *entry = &cache->entries[i];
		if (entry->module == 0 ||
		    (entry->offset == wanted->offset && entry->module == wanted->module &&
		     entry->is_return == wanted->is_return))
			return i;
		i = (i + 1) & (cache->entries_size - 1);
	}
}

static bool grow_entries(struct kms_symbols_cache *cache)
{
	struct kms_symbols_cache_entry *entries =
		bigger_table(cache, cache->entries_size, sizeof(*entries));
	if (!entries)
		return false;
	struct kms_symbols_cache_entry *old = cache->entries;
	size_t old_size = cache->entries_size;
	cache->entries = entries;
	cache->entries_size = old_size ? old_size * 2 : TABLE_SIZE_MIN;
	for (size_t i = 0; i < old_size; i++) {
		if (old[i].module != 0)
			entries[entry_place(cache, &old[i])] = old[i];
	}
	free(old);
	return true;
}

const struct kms_symbols_cache_entry *kms_symbols_cache_find(const struct kms_symbols_cache *cache,
							     uint32_t module, uint64_t offset,
							     bool is_return)
{
	if (cache->entries_size == 0)
		return NULL;
	struct kms_symbols_cache_entry wanted = {
		.module = module + 1,
		.offset = offset,
		.is_return = is_return,
	};
	const struct kms_symbols_cache_entry *entry = &cache->entries[entry_place(cache, &wanted)];
	return entry->module ? entry : NULL;
}

static bool copy_frame(struct kms_symbols_cache *cache, const struct kms_symbols_wire_frame *from,
		       struct kms_symbol_frame *to)
{
	*to = (struct kms_symbol_frame){
		.function_offset = from->function_offset,
		.line = from->line,
		.inlined = from->inlined,
	};
	if (from->function.text) {
		to->function = intern(cache, from->function);
		if (!to->function)
			return false;
	}
	if (from->file.text) {
		to->file = intern(cache, from->file);
		if (!to->file)
			return false;
	}
	return true;
}

const struct kms_symbols_cache_entry *
kms_symbols_cache_put(struct kms_symbols_cache *cache, const struct kms_symbols_wire_entry *address,
		      const struct kms_symbols_wire_answer *answer)
{
	if (is_crowded(cache->n_entries, cache->entries_size) && !grow_entries(cache))
		return NULL;
	struct kms_symbol_frame *frames = NULL;
	if (answer->n_frames > 0) {
		frames = take(cache, answer->n_frames * sizeof(*frames),
			      _Alignof(struct kms_symbol_frame));
		if (!frames)
			return NULL;
	}
	for (uint32_t i = 0; i < answer->n_frames; i++) {
		if (!copy_frame(cache, &answer->frames[i], &frames[i]))
			return NULL;
	}
	struct kms_symbols_cache_entry entry = {
		.frames = frames,
		.offset = address->offset,
		.module = address->module + 1,
		.is_return = address->is_return,
		.reason = (uint8_t)answer->reason,
		.n_frames = (uint8_t)answer->n_frames,
	};
	size_t place = entry_place(cache, &entry);
	assert(cache->entries[place].module == 0);
	cache->entries[place] = entry;
	cache->n_entries++;
	return &cache->entries[place];
}
