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

/* Where a block may begin, from one to the next. A pool's follows its checks: its size is given. */
static uint32_t stride_of(const struct kms_cache *cache, uint32_t checks)
{
	uint32_t bytes = cache->object_bytes;

	if (!cache->pool)
		return cache->stride_bytes;
	bytes += checks & KMS_CHECK_REDZONE ? KMS_REDZONE_BYTES : 0;
	return (bytes + cache->align_bytes - 1) & ~(cache->align_bytes - 1);
}

/* Slabs of a pool begin their blocks at different cache lines, as far as the rest of pages goes. */
static uint32_t next_colour(struct kms_cache *cache, uint32_t first, uint32_t rest_bytes)
{
	uint32_t colour = cache->colour;

	if (!cache->pool)
		return 0;
	/* a record has no more room for it */
	if (colour > rest_bytes || first + colour > UINT16_MAX)
		colour = 0;
	cache->colour = colour + cache->align_bytes;
	return colour;
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

static size_t align_pages(const struct kms_cache *cache)
{
	return cache->align_bytes > KMS_PAGE_BYTES ? cache->align_bytes >> KMS_PAGE_SHIFT : 1;
}

static struct kms_slab *slab_create(struct kms_heap *heap, struct kms_cache *cache,
				    struct kms_slab_news *news)
{
	uint32_t checks = cache->checks & cache->checks_mask;
	uint32_t bytes = cache->slab_pages << KMS_PAGE_SHIFT;
	uint32_t header = checks & KMS_CHECK_HEADER ? KMS_HEADER_BYTES : 0;
	uint32_t first = first_offset(cache, checks);
	uint32_t stride = stride_of(cache, checks);
	uint32_t count = (bytes - (first - header)) / stride;
	struct kms_slab *slab = slab_struct(heap, cache, bytes / stride_of(cache, 0));
	struct kms_span *span;
	bool zeroed;

	if (!slab)
		return NULL;
	first += next_colour(cache, first, bytes - (first - header) - count * stride);
	span = kms_arena_alloc(heap, cache->slab_pages, align_pages(cache), &zeroed);
	if (!span) {
		slab->spare_next = cache->spare;
		cache->spare = slab;
		return NULL;
	}
	span->side_address = (uintptr_t)slab->side;
	span->large_bytes = (uintptr_t)slab;
	span->count = count;
	span->stride_bytes = stride;
	span->first_bytes = first;
	span->stride_magic = (uint32_t)(((UINT64_C(1) << 32) + stride - 1) / stride);
	span->cache = (uint16_t)cache->index;
	span->checks = (uint8_t)(checks | (cache->pool ? KMS_SPAN_OWN_CALLS : 0));
	span->epoch = cache->epoch;
	span->usable_bytes = stride - header;
	span->free_count = count;
	slab->span = span;
	slab->free_count = count;
	slab->first_word = 0;
	for (uint32_t i = 0; i < slab->words; i++)
		slab->free_bits[i] = count >= (i + 1) * 64 ? ~UINT64_C(0)
				     : count <= i * 64     ? 0
							   : (UINT64_C(1) << (count - i * 64)) - 1;
	side_reset(slab, count, zeroed);
	if (cache->pool && checks & KMS_CHECK_POISON && !slab->sum)
		slab->sum = kms_meta_alloc(heap, slab->side_limit * sizeof(*slab->sum));
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

/* A pool fills its blocks when they come back, so that they can be checked when they leave again. */
static bool is_poisoned(const struct kms_span *span, const struct kms_side *side)
{
	return span->checks & KMS_SPAN_OWN_CALLS && side->state == KMS_BLOCK_FREE;
}

/* A block leaves the slab layer: what stays true as long as it is in magazines is written now. */
static void block_prepare(const struct kms_span *span, uint8_t *block, const struct kms_side *side)
{
	uint8_t *end = block + span->usable_bytes - KMS_REDZONE_BYTES;

	/* Not written again without need: the neighbour's owner may look at it now. */
	if (span->checks & KMS_CHECK_REDZONE && !kms_redzone_whole(end))
		kms_redzone_fill(end);
	if (span->checks & KMS_CHECK_POISON && !is_poisoned(span, side))
		kms_pattern_fill(block, span->usable_bytes - KMS_REDZONE_BYTES);
	if (span->checks & KMS_CHECK_HEADER)
		__builtin_memset(block - KMS_HEADER_BYTES, 0xff, KMS_HEADER_BYTES);
}

/* Up to @limit free blocks. */
static uint32_t take_from(struct kms_slab *slab, struct kms_round *round, uint32_t limit)
{
	struct kms_span *span = slab->span;
	uint32_t taken = 0;

	for (uint32_t w = slab->first_word; w < slab->words && taken < limit; w++) {
		while (slab->free_bits[w] && taken < limit) {
			uint32_t bit = (uint32_t)__builtin_ctzll(slab->free_bits[w]);
			uint32_t i = w * 64 + bit;
			uint8_t *block = (uint8_t *)(uintptr_t)span->base + span->first_bytes +
					 (size_t)i * span->stride_bytes;

			slab->free_bits[w] &= slab->free_bits[w] - 1;
			block_prepare(span, block, &slab->side[i]);
			round[taken].block = block;
			round[taken].side = &slab->side[i];
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
		uint32_t taken;

		if (!slab && (magazine->rounds || !(slab = slab_create(heap, cache, news))))
			break;
		taken = take_from(slab, magazine->round + magazine->rounds,
				  limit - magazine->rounds);
		magazine->rounds += taken;
		cache->stat->objects_in_slabs -= taken;
		if (!slab->free_count)
			slab_unlist(cache, slab);
	}
	if (!magazine->rounds)
		cache->stat->failed++;
	reverse(magazine);
}

bool kms_slab_take(struct kms_heap *heap, struct kms_cache *cache, struct kms_round *round,
		   struct kms_slab_news *news)
{
	struct kms_slab *slab = cache->partial;

	if (!slab)
		slab = slab_create(heap, cache, news);
	if (!slab)
		return false;
	(void)take_from(slab, round, 1);
	cache->stat->objects_in_slabs--;
	if (!slab->free_count)
		slab_unlist(cache, slab);
	return true;
}

void kms_slab_stock(struct kms_heap *heap, struct kms_cache *cache, struct kms_slab_news *news)
{
	while (cache->stat->objects_in_slabs < cache->low_blocks && news->n < KMS_SLAB_NEWS &&
	       slab_create(heap, cache, news))
		;
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

/* Would the others have the free blocks that the cache must keep? */
static bool leaves_enough(const struct kms_cache *cache, const struct kms_slab *slab)
{
	return cache->stat->objects_in_slabs - slab->span->count >= cache->low_blocks;
}

/* May an all-free slab go? One stays, if it is of today's checks and not above the high water. */
static bool is_surplus(const struct kms_cache *cache, const struct kms_slab *slab)
{
	if (slab->span->epoch != cache->epoch)
		return true;
	return (slab->next || slab->prev || cache->stat->slabs > cache->high_slabs) &&
	       leaves_enough(cache, slab);
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
	if (slab->free_count < span->count)
		return;
	if (cache->pool)
		slab->idle_ns = kms_port_now_ns();
	/* More news than fit would hide an event, so wait for the next call. */
	if (news->n < KMS_SLAB_NEWS && is_surplus(cache, slab))
		slab_release(heap, cache, slab, news);
}

void kms_slab_trim(struct kms_heap *heap, struct kms_cache *cache, uint64_t before_ns,
		   struct kms_slab_news *news)
{
	struct kms_slab *next;

	for (struct kms_slab *slab = cache->partial; slab && news->n < KMS_SLAB_NEWS; slab = next) {
		next = slab->next;
		if (slab->free_count == slab->span->count && slab->idle_ns < before_ns &&
		    leaves_enough(cache, slab))
			slab_release(heap, cache, slab, news);
	}
}

uint32_t *kms_slab_sum(const struct kms_span *span, const void *block)
{
	const struct kms_slab *slab = slab_of(span);

	return slab->sum ? &slab->sum[kms_slab_index(span, (uintptr_t)block)] : NULL;
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
