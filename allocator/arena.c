/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/arena.h"

#include "allocator/port.h"

enum {
	ARENA_EXTENT_BYTES = 64 << 20,
	ARENA_MIN_BYTES = 4 << 20,
	ARENA_DISCARD_PAGES = 64, /* runs from here on go back to the system when freed */
	META_CHUNK_BYTES = 256 << 10,
	ARENA_SMALL_BYTES = 16 << 20, /* what lies behind them is advised to be huge pages */
	SPAN_STEP_BYTES = 1 << 20,    /* the span table is opened so much at a time */
};

/* Free runs: binned by power of two; within a bin first fit. The list goes through side_address. */
static unsigned bin_of(size_t pages)
{
	return 63u - (unsigned)__builtin_clzll(pages);
}

static struct kms_span *span_at(struct kms_arena *a, uint32_t index)
{
	return index ? &a->span[index] : NULL;
}

static uint32_t index_of(struct kms_arena *a, const struct kms_span *span)
{
	return (uint32_t)(span - a->span);
}

static size_t page_of(const struct kms_arena *a, uintptr_t address)
{
	return (address - a->base) >> KMS_PAGE_SHIFT;
}

static bool span_table_grow(struct kms_arena *a)
{
	const uint32_t step = SPAN_STEP_BYTES / sizeof(struct kms_span);

	if (a->span_open + step > a->span_limit)
		return false;
	if (kms_port_open(a->span + a->span_open, SPAN_STEP_BYTES) < 0)
		return false;
	a->span_open += step;
	return true;
}

static struct kms_span *span_entry(struct kms_arena *a)
{
	uint32_t index = a->free_span;

	if (index) {
		a->free_span = a->span[index].count;
	} else {
		if (a->span_count == a->span_open && !span_table_grow(a))
			return NULL;
		index = a->span_count++;
	}
	__builtin_memset(&a->span[index], 0, sizeof(a->span[index]));
	return &a->span[index];
}

static void span_entry_free(struct kms_arena *a, struct kms_span *span)
{
	span->state = KMS_SPAN_FREE;
	span->pages = 0;
	span->count = a->free_span;
	a->free_span = index_of(a, span);
}

/* A free run: side_address holds the next, large_bytes the previous of its bin (as indices);
 * reserved says that its memory was never used and reads as zero. */
static void bin_insert(struct kms_arena *a, struct kms_span *run)
{
	unsigned bin = bin_of(run->pages);
	struct kms_span *head = span_at(a, a->bins[bin]);

	run->state = KMS_SPAN_FREE;
	run->side_address = a->bins[bin];
	run->large_bytes = 0;
	if (head)
		head->large_bytes = index_of(a, run);
	a->bins[bin] = index_of(a, run);
	a->bin_map |= UINT64_C(1) << bin;
	a->page_span[page_of(a, run->base)] = index_of(a, run);
	a->page_span[page_of(a, run->base) + run->pages - 1] = index_of(a, run);
}

static void bin_remove(struct kms_arena *a, struct kms_span *run)
{
	unsigned bin = bin_of(run->pages);
	struct kms_span *next = span_at(a, (uint32_t)run->side_address);
	struct kms_span *prev = span_at(a, (uint32_t)run->large_bytes);

	if (next)
		next->large_bytes = run->large_bytes;
	if (prev)
		prev->side_address = run->side_address;
	else
		a->bins[bin] = (uint32_t)run->side_address;
	if (!a->bins[bin])
		a->bin_map &= ~(UINT64_C(1) << bin);
}

/* No page of a free run but its first and last has an entry: none is of another span. */
static void run_unmap(struct kms_arena *a, const struct kms_span *run)
{
	a->page_span[page_of(a, run->base)] = 0;
	a->page_span[page_of(a, run->base) + run->pages - 1] = 0;
}

/* A free run. Who makes a slab of one that it took writes its state meanwhile, never to free. */
static bool is_free(const struct kms_span *span)
{
	return span && __atomic_load_n(&span->state, __ATOMIC_RELAXED) == KMS_SPAN_FREE &&
	       span->pages;
}

/* Joins @run with free neighbours and puts it into its bin. */
static void run_insert(struct kms_arena *a, struct kms_span *run)
{
	size_t first = page_of(a, run->base);
	size_t end = first + run->pages;
	struct kms_span *other;

	if (first > 0) {
		other = span_at(a, a->page_span[first - 1]);
		if (is_free(other)) {
			bin_remove(a, other);
			run_unmap(a, other);
			run->base = other->base;
			run->pages += other->pages;
			run->reserved &= other->reserved;
			span_entry_free(a, other);
		}
	}
	if (end < a->opened_bytes >> KMS_PAGE_SHIFT) {
		other = span_at(a, a->page_span[end]);
		if (is_free(other)) {
			bin_remove(a, other);
			run_unmap(a, other);
			run->pages += other->pages;
			run->reserved &= other->reserved;
			span_entry_free(a, other);
		}
	}
	bin_insert(a, run);
}

/*
 * The arena is used from its begin on, so a process that gets behind the small part is no small one:
 * it gains from huge pages, and the most that they waste, one of them, is little beside what it has.
 */
static void arena_advise(const struct kms_arena *a, size_t open_bytes)
{
	size_t begin = a->opened_bytes > ARENA_SMALL_BYTES ? a->opened_bytes : ARENA_SMALL_BYTES;
	size_t end = a->opened_bytes + open_bytes;

	if (begin < end)
		kms_port_advise_huge((void *)(a->base + begin), end - begin);
}

/* Opens the next extent that can hold @pages more. */
static bool arena_grow(struct kms_arena *a, size_t pages)
{
	size_t bytes = pages << KMS_PAGE_SHIFT;
	size_t open_bytes = (bytes + ARENA_EXTENT_BYTES - 1) & ~(size_t)(ARENA_EXTENT_BYTES - 1);
	size_t rest = a->bytes - a->opened_bytes;
	size_t map_bytes;
	struct kms_span *run;

	if (bytes > rest)
		return false;
	if (open_bytes > rest)
		open_bytes = rest;
	run = span_entry(a);
	if (!run)
		return false;
	if (kms_port_open((void *)(a->base + a->opened_bytes), open_bytes) < 0) {
		/* Little memory or a limit: try exactly what is needed. */
		open_bytes = bytes;
		if (kms_port_open((void *)(a->base + a->opened_bytes), open_bytes) < 0) {
			span_entry_free(a, run);
			return false;
		}
	}
	map_bytes = (open_bytes >> KMS_PAGE_SHIFT) * sizeof(uint32_t);
	if (kms_port_open((uint8_t *)a->page_span +
				  (a->opened_bytes >> KMS_PAGE_SHIFT) * sizeof(uint32_t),
			  map_bytes) < 0) {
		span_entry_free(a, run);
		return false;
	}
	arena_advise(a, open_bytes);
	run->base = a->base + a->opened_bytes;
	run->pages = (uint32_t)(open_bytes >> KMS_PAGE_SHIFT);
	run->reserved = 1;
	a->opened_bytes += open_bytes;
	run_insert(a, run);
	return true;
}

/* Pages to skip at the start of @run so that an aligned piece of @pages fits; SIZE_MAX: none. */
static size_t fit_skip(const struct kms_arena *a, const struct kms_span *run, size_t pages,
		       size_t align_pages)
{
	size_t first = run->base >> KMS_PAGE_SHIFT;
	size_t skip = (align_pages - (first & (align_pages - 1))) & (align_pages - 1);

	(void)a;
	return skip + pages <= run->pages ? skip : SIZE_MAX;
}

static struct kms_span *run_find(struct kms_arena *a, size_t pages, size_t align_pages,
				 size_t *skip)
{
	uint64_t map = a->bin_map & ~((UINT64_C(1) << bin_of(pages)) - 1);

	while (map) {
		unsigned bin = (unsigned)__builtin_ctzll(map);
		struct kms_span *run = span_at(a, a->bins[bin]);

		for (; run; run = span_at(a, (uint32_t)run->side_address)) {
			*skip = fit_skip(a, run, pages, align_pages);
			if (*skip != SIZE_MAX)
				return run;
		}
		map &= map - 1;
	}
	return NULL;
}

/* Cuts [skip, skip + pages) out of a free run; the rest stays free. NULL without span entries. */
static struct kms_span *run_cut(struct kms_arena *a, struct kms_span *run, size_t skip,
				size_t pages)
{
	struct kms_span *tail = NULL, *head = NULL;
	size_t rest = run->pages - skip - pages;

	if (skip && !(head = span_entry(a)))
		return NULL;
	if (rest && !(tail = span_entry(a))) {
		if (head)
			span_entry_free(a, head);
		return NULL;
	}
	bin_remove(a, run);
	if (head) {
		head->base = run->base;
		head->pages = (uint32_t)skip;
		head->reserved = run->reserved;
		bin_insert(a, head);
	}
	if (tail) {
		tail->base = run->base + ((skip + pages) << KMS_PAGE_SHIFT);
		tail->pages = (uint32_t)rest;
		tail->reserved = run->reserved;
		bin_insert(a, tail);
	}
	run->base += skip << KMS_PAGE_SHIFT;
	run->pages = (uint32_t)pages;
	return run;
}

struct kms_span *kms_arena_alloc(struct kms_heap *heap, size_t pages, size_t align_pages,
				 bool *zeroed)
{
	struct kms_arena *a = &heap->arena;
	uint64_t limit = kms_variable(heap, KMS_VAR_ARENA_LIMIT);
	struct kms_span *run = NULL;
	size_t skip = 0, i, first;
	uint32_t index;

	if (pages == 0 || pages > a->bytes >> KMS_PAGE_SHIFT)
		return NULL;
	kms_port_lock(&heap->arena_lock);
	if (limit && (a->used_pages + pages) << KMS_PAGE_SHIFT > limit)
		goto out;
	run = run_find(a, pages, align_pages, &skip);
	if (!run && arena_grow(a, pages + align_pages - 1))
		run = run_find(a, pages, align_pages, &skip);
	if (run)
		run = run_cut(a, run, skip, pages);
	if (!run)
		goto out;
	*zeroed = run->reserved != 0;
	__atomic_store_n(&run->state, KMS_SPAN_SLAB, __ATOMIC_RELAXED);
	run->side_address = 0;
	run->large_bytes = 0;
	run->reserved = 0;
	index = index_of(a, run);
	first = page_of(a, run->base);
	for (i = 0; i < pages; i++)
		a->page_span[first + i] = index;
	a->used_pages += pages;
	if (heap->slot)
		heap->slot->arena_used_bytes = (uint64_t)a->used_pages << KMS_PAGE_SHIFT;
out:
	kms_port_unlock(&heap->arena_lock);
	return run;
}

void kms_arena_free(struct kms_heap *heap, struct kms_span *span)
{
	struct kms_arena *a = &heap->arena;
	size_t first = page_of(a, span->base);
	size_t pages = span->pages;
	bool discard = pages >= ARENA_DISCARD_PAGES;

	/* Outside of the lock: nobody else knows this run yet. */
	if (discard)
		kms_port_discard((void *)(uintptr_t)span->base, pages << KMS_PAGE_SHIFT);
	kms_port_lock(&heap->arena_lock);
	for (size_t i = 0; i < pages; i++)
		a->page_span[first + i] = 0;
	a->used_pages -= pages;
	if (heap->slot)
		heap->slot->arena_used_bytes = (uint64_t)a->used_pages << KMS_PAGE_SHIFT;
	__atomic_store_n(&span->state, KMS_SPAN_FREE, __ATOMIC_RELAXED);
	span->reserved = discard;
	run_insert(a, span);
	kms_port_unlock(&heap->arena_lock);
	__atomic_add_fetch(&heap->memory_word, 1, __ATOMIC_RELEASE);
	if (__atomic_load_n(&heap->arena_waiters, __ATOMIC_RELAXED))
		kms_port_wake(&heap->memory_word);
}

struct kms_span *kms_arena_span_get(struct kms_heap *heap)
{
	struct kms_span *span;

	kms_port_lock(&heap->arena_lock);
	span = span_entry(&heap->arena);
	kms_port_unlock(&heap->arena_lock);
	return span;
}

void kms_arena_span_put(struct kms_heap *heap, struct kms_span *span)
{
	kms_port_lock(&heap->arena_lock);
	span_entry_free(&heap->arena, span);
	kms_port_unlock(&heap->arena_lock);
}

bool kms_arena_init(struct kms_heap *heap)
{
	struct kms_arena *a = &heap->arena;
	size_t bytes = kms_port_arena_reserve_bytes(); /* halved until address space is found */
	size_t map_bytes, span_bytes;

	for (; bytes >= ARENA_MIN_BYTES; bytes /= 2) {
		bytes &= ~(size_t)(ARENA_MIN_BYTES - 1);
		a->base = (uintptr_t)kms_port_reserve(
			bytes, bytes < ARENA_EXTENT_BYTES ? KMS_PAGE_BYTES : ARENA_EXTENT_BYTES);
		if (a->base)
			break;
	}
	if (!a->base)
		return false;
	a->bytes = bytes;
	map_bytes = (bytes >> KMS_PAGE_SHIFT) * sizeof(uint32_t);
	/* A span holds a page at least; an eighth of the pages covers slabs and large blocks, and
	 * what it costs is address space. */
	span_bytes = ((bytes >> KMS_PAGE_SHIFT) / 8 * sizeof(struct kms_span) + SPAN_STEP_BYTES) &
		     ~(size_t)(SPAN_STEP_BYTES - 1);
	a->span_limit = (uint32_t)(span_bytes / sizeof(struct kms_span));
	/* Readable as a whole, so that the hot path need not know how much is opened. */
	a->page_span = kms_port_reserve_readable(map_bytes);
	a->span = kms_port_reserve(span_bytes, KMS_PAGE_BYTES);
	if (!a->page_span || !a->span || !span_table_grow(a))
		return false;
	a->span_count = 1;
	return true;
}

void *kms_meta_alloc(struct kms_heap *heap, size_t bytes)
{
	uint8_t *p = NULL;

	bytes = (bytes + 15) & ~(size_t)15;
	kms_port_lock(&heap->meta_lock);
	if (bytes > (size_t)(heap->meta_end - heap->meta_cursor)) {
		size_t chunk = bytes > META_CHUNK_BYTES / 4 ? bytes : META_CHUNK_BYTES;
		uint8_t *fresh =
			kms_port_meta((chunk + KMS_PAGE_BYTES - 1) & ~(size_t)(KMS_PAGE_BYTES - 1));

		if (!fresh || chunk == bytes) {
			p = fresh;
			goto out;
		}
		heap->meta_cursor = fresh;
		heap->meta_end = fresh + chunk;
	}
	p = heap->meta_cursor;
	heap->meta_cursor += bytes;
out:
	kms_port_unlock(&heap->meta_lock);
	return p;
}
