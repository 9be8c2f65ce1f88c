/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/slab.h"

#include "allocator/arena.h"
#include "allocator/pattern.h"
#include "allocator/port.h"
#include "allocator/ring.h"

/* What stands before the first block's memory: pattern, and a header if blocks have one. */
static uint32_t first_offset(const struct kms_cache *cache, uint32_t checks)
{
	uint32_t front = checks & KMS_CHECK_REDZONE ? KMS_FRONT_BYTES : 0;
	uint32_t header = checks & KMS_CHECK_HEADER ? KMS_HEADER_BYTES : 0;

	if (!header && front && cache->align_bytes > front)
		front = cache->align_bytes;
	return front + header;
}

static struct kms_slab *slab_struct(struct kms_heap *heap, struct kms_cache *cache, uint32_t blocks)
{
	struct kms_slab *slab = cache->spare;
	uint32_t words = (blocks + 63) / 64;

	if (slab) {
		cache->spare = slab->spare_next;
		return slab;
	}
	slab = kms_meta_alloc(heap, sizeof(*slab) + words * sizeof(uint64_t));
	if (!slab)
		return NULL;
	slab->side = kms_meta_alloc(heap, blocks * sizeof(struct kms_side));
	if (!slab->side)
		return NULL;
	slab->side_limit = blocks;
	slab->words = words;
	return slab;
}

static void slab_list(struct kms_slab **list, struct kms_slab *slab)
{
	slab->prev = NULL;
	slab->next = *list;
	if (*list)
		(*list)->prev = slab;
	*list = slab;
	slab->listed = true;
}

static void slab_unlist(struct kms_cache *cache, struct kms_slab *slab)
{
	if (!slab->listed)
		return;
	if (slab->next)
		slab->next->prev = slab->prev;
	if (slab->prev)
		slab->prev->next = slab->next;
	else if (cache->partial == slab)
		cache->partial = slab->next;
	else
		cache->old = slab->next;
	slab->listed = false;
}

/* Which slab a span belongs to: kept in the span, in private memory. */
static struct kms_slab *slab_of(const struct kms_span *span)
{
	return (struct kms_slab *)(uintptr_t)span->large_bytes;
}

static void side_reset(struct kms_slab *slab, uint32_t count, bool zeroed)
{
	/* A page run used before: its addresses may have events that are still on their way, so the
	 * first record of each block carries its generation. */
	const struct kms_side fresh = {.last_ring = zeroed ? 0 : KMS_SIDE_UNRECORDED};

	for (uint32_t i = 0; i < count; i++)
		slab->side[i] = fresh;
}

static void news_add(struct kms_slab_news *news, const struct kms_span *span, bool grown)
{
	if (news->n == KMS_SLAB_NEWS)
		return;
	news->item[news->n].base = span->base;
	news->item[news->n].pages = span->pages;
	news->item[news->n].first_bytes = span->first_bytes;
	news->item[news->n].stride_bytes = span->stride_bytes;
	news->item[news->n].grown = grown;
	news->n++;
}

static struct kms_slab *slab_create(struct kms_heap *heap, struct kms_cache *cache,
				    struct kms_slab_news *news)
{
	uint32_t checks = cache->checks & cache->checks_mask;
	uint32_t bytes = cache->slab_pages << KMS_PAGE_SHIFT;
	uint32_t header = checks & KMS_CHECK_HEADER ? KMS_HEADER_BYTES : 0;
	uint32_t first = first_offset(cache, checks);
	uint32_t count = (bytes - (first - header)) / cache->stride_bytes;
	struct kms_slab *slab = slab_struct(heap, cache, bytes / cache->stride_bytes);
	struct kms_span *span;
	bool zeroed;

	if (!slab)
		return NULL;
	span = kms_arena_alloc(heap, cache->slab_pages, 1, &zeroed);
	if (!span) {
		slab->spare_next = cache->spare;
		cache->spare = slab;
		return NULL;
	}
	span->side_address = (uintptr_t)slab->side;
	span->large_bytes = (uintptr_t)slab;
	span->count = count;
	span->stride_bytes = cache->stride_bytes;
	span->first_bytes = first;
	span->stride_magic =
		(uint32_t)(((UINT64_C(1) << 32) + cache->stride_bytes - 1) / cache->stride_bytes);
	span->cache = (uint16_t)cache->index;
	span->checks = (uint8_t)checks;
	span->epoch = cache->epoch;
	span->usable_bytes = cache->stride_bytes - header;
	span->free_count = count;
	slab->span = span;
	slab->free_count = count;
	slab->first_word = 0;
	for (uint32_t i = 0; i < slab->words; i++)
		slab->free_bits[i] = count >= (i + 1) * 64 ? ~UINT64_C(0)
				     : count <= i * 64     ? 0
							   : (UINT64_C(1) << (count - i * 64)) - 1;
	side_reset(slab, count, zeroed);
	if (checks & KMS_CHECK_REDZONE)
		kms_pattern_fill((void *)(uintptr_t)(span->base + first - header - KMS_FRONT_BYTES),
				 KMS_FRONT_BYTES);
	__atomic_store_n(&span->state, KMS_SPAN_SLAB, __ATOMIC_RELEASE);
	slab_list(&cache->partial, slab);
	cache->stat->slabs++;
	cache->stat->pages += span->pages;
	cache->stat->objects_total += count;
	cache->stat->objects_in_slabs += count;
	news_add(news, span, true);
	return slab;
}

static void slab_release(struct kms_heap *heap, struct kms_cache *cache, struct kms_slab *slab,
			 struct kms_slab_news *news)
{
	struct kms_span *span = slab->span;

	slab_unlist(cache, slab);
	cache->stat->slabs--;
	cache->stat->pages -= span->pages;
	cache->stat->objects_total -= span->count;
	cache->stat->objects_in_slabs -= span->count;
	news_add(news, span, false);
	slab->span = NULL;
	slab->spare_next = cache->spare;
	cache->spare = slab;
	kms_arena_free(heap, span);
}

/* A block leaves the slab layer: what stays true as long as it is in magazines is written now. */
static void block_prepare(const struct kms_span *span, uint8_t *block)
{
	if (span->checks & KMS_CHECK_REDZONE)
		kms_redzone_fill(block + span->usable_bytes - KMS_REDZONE_BYTES);
	if (span->checks & KMS_CHECK_POISON)
		kms_pattern_fill(block, span->usable_bytes - KMS_REDZONE_BYTES);
	if (span->checks & KMS_CHECK_HEADER)
		__builtin_memset(block - KMS_HEADER_BYTES, 0xff, KMS_HEADER_BYTES);
}

static uint32_t take_from(struct kms_slab *slab, struct kms_magazine *m, uint32_t limit)
{
	struct kms_span *span = slab->span;
	uint32_t taken = 0;

	for (uint32_t w = slab->first_word; w < slab->words && m->rounds < limit; w++) {
		while (slab->free_bits[w] && m->rounds < limit) {
			uint32_t bit = (uint32_t)__builtin_ctzll(slab->free_bits[w]);
			uint32_t i = w * 64 + bit;
			uint8_t *block = (uint8_t *)(uintptr_t)span->base + span->first_bytes +
					 (size_t)i * span->stride_bytes;

			slab->free_bits[w] &= slab->free_bits[w] - 1;
			block_prepare(span, block);
			m->round[m->rounds].block = block;
			m->round[m->rounds].side = &slab->side[i];
			m->rounds++;
			taken++;
		}
		if (!slab->free_bits[w])
			slab->first_word = w + 1;
	}
	slab->free_count -= taken;
	span->free_count = slab->free_count;
	return taken;
}

/* The lowest address is handed out first: the top of the magazine. */
static void reverse(struct kms_magazine *m)
{
	for (uint32_t i = 0, j = m->rounds; i + 1 < j; i++) {
		struct kms_round t = m->round[i];

		m->round[i] = m->round[--j];
		m->round[j] = t;
	}
}

void kms_slab_fill(struct kms_heap *heap, struct kms_cache *cache, struct kms_magazine *magazine,
		   struct kms_slab_news *news)
{
	uint32_t limit = cache->magazine_rounds;

	while (magazine->rounds < limit) {
		struct kms_slab *slab = cache->partial;

		if (!slab && (magazine->rounds || !(slab = slab_create(heap, cache, news))))
			break;
		cache->stat->objects_in_slabs -= take_from(slab, magazine, limit);
		if (!slab->free_count)
			slab_unlist(cache, slab);
	}
	if (!magazine->rounds)
		cache->stat->failed++;
	reverse(magazine);
}

uint32_t kms_slab_index(const struct kms_span *span, uintptr_t p)
{
	uint64_t offset = p - (uintptr_t)span->base - span->first_bytes;

	if (!span->stride_bytes || offset >= (uint64_t)span->count * span->stride_bytes)
		return KMS_NO_INDEX;
	return (uint32_t)(offset / span->stride_bytes);
}

bool kms_slab_holds(const struct kms_span *span, const void *block)
{
	uint32_t i = kms_slab_index(span, (uintptr_t)block);

	return slab_of(span)->free_bits[i / 64] >> i % 64 & 1;
}

void kms_slab_put(struct kms_heap *heap, struct kms_cache *cache, void *block,
		  struct kms_slab_news *news)
{
	struct kms_span *span = kms_span_of(heap, (uintptr_t)block);
	struct kms_slab *slab = slab_of(span);
	uint32_t i = kms_slab_index(span, (uintptr_t)block);

	slab->free_bits[i / 64] |= UINT64_C(1) << (i % 64);
	if (i / 64 < slab->first_word)
		slab->first_word = i / 64;
	slab->free_count++;
	span->free_count = slab->free_count;
	cache->stat->objects_in_slabs++;
	if (!slab->listed)
		slab_list(span->epoch == cache->epoch ? &cache->partial : &cache->old, slab);
	/* Keep one free slab; more news than fit would hide an event, so wait for the next call. */
	if (slab->free_count == span->count && news->n < KMS_SLAB_NEWS &&
	    (span->epoch != cache->epoch || slab->next || slab->prev))
		slab_release(heap, cache, slab, news);
}

struct kms_slab *kms_slab_retire_epoch(struct kms_cache *cache)
{
	struct kms_slab *slab, *unused = NULL;

	while ((slab = cache->partial)) {
		slab_unlist(cache, slab);
		if (slab->free_count < slab->span->count) {
			slab_list(&cache->old, slab);
		} else {
			slab->next = unused;
			unused = slab;
		}
	}
	return unused;
}

void kms_slab_release(struct kms_heap *heap, struct kms_cache *cache, struct kms_slab *slab,
		      struct kms_slab_news *news)
{
	slab_release(heap, cache, slab, news);
}

void kms_slab_tell(struct kms_local *local, const struct kms_cache *cache,
		   const struct kms_slab_news *news)
{
	if (KMS_LIKELY(!news->n) || !local->trace)
		return;
	for (unsigned i = 0; i < news->n; i++) {
		const uint64_t numbers[5] = {
			news->item[i].base >> KMS_PAGE_SHIFT,
			news->item[i].pages,
			cache->index,
			news->item[i].first_bytes,
			news->item[i].stride_bytes,
		};

		if (news->item[i].grown)
			kms_ring_emit_code(local, KMS_REC_SLAB_GROW, 5, numbers);
		else
			kms_ring_emit_code(local, KMS_REC_SLAB_RELEASE, 3, numbers);
	}
}
