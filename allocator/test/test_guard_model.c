/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guard against a model of it: random allocations, frees, changes of depth and budget, with
 * pages that cannot be opened now and then. The seed is printed; KT_SEED=N repeats a run.
 *
 * The model is a queue of {address, bytes} and the two limits. After each step every figure must be
 * the model's, every page must be as open as its block is alive, and no address may be given out
 * that the model has in its queue.
 */
#include "allocator/guard_impl.h"
#include "allocator/test/guard_support.h"
#include "tests/support/kt.h"

enum {
	STEPS = 300000,
	BLOCKS = 300,
	QUEUE = 1 << 16,
	DRAIN = 32,
	MAX_BYTES = 5 * GUARD_PAGE_BYTES,
	PAGES = 1 << 20, /* of the reservation */
};

struct entry {
	uintptr_t address;
	uint64_t bytes;
};

struct block {
	unsigned char *p;
	size_t size;
	bool guarded;
};

struct model {
	struct entry queue[QUEUE]; /* [first, end), modulo QUEUE */
	uint64_t first, end, bytes;
	uint64_t depth, byte_limit;
	uint64_t evictions, frees, live, unguarded;
	struct block block[BLOCKS];
	uint64_t random;
};

static struct model model;

/* The back end in use, with a fault that can be ordered and a record of which pages are open. */
static const struct kms_guard_ops *real;
static uint64_t open_pages[PAGES / 64];
static bool fail_next;

static void note(void *start, size_t bytes, bool open)
{
	size_t first = ((uintptr_t)start - kms_process_heap()->guard->base) / GUARD_PAGE_BYTES;

	KT_CHECK(first + bytes / GUARD_PAGE_BYTES <= PAGES, "PAGES is too small");
	for (size_t i = first; i < first + bytes / GUARD_PAGE_BYTES; i++) {
		if (open)
			open_pages[i / 64] |= UINT64_C(1) << i % 64;
		else
			open_pages[i / 64] &= ~(UINT64_C(1) << i % 64);
	}
}

static int noted_open(void *start, size_t bytes)
{
	if (fail_next) {
		fail_next = false;
		return -1;
	}
	note(start, bytes, true);
	return real->open(start, bytes);
}

static int noted_close(void *start, size_t bytes)
{
	note(start, bytes, false);
	return real->close(start, bytes);
}

static void wrap_back_end(void)
{
	static struct kms_guard_ops ops;
	struct kms_guard *g = kms_process_heap()->guard;

	real = g->ops;
	ops = *real;
	ops.open = noted_open;
	ops.close = noted_close;
	g->ops = &ops;
}

static uint64_t below(uint64_t limit)
{
	return kt_random(&model.random) % limit;
}

static uint64_t used(void)
{
	return model.end - model.first;
}

static bool over(void)
{
	return used() > model.depth || model.bytes > model.byte_limit;
}

static void evict(void)
{
	for (int i = 0; i < DRAIN && over(); i++) {
		model.bytes -= model.queue[model.first % QUEUE].bytes;
		model.first++;
		model.evictions++;
	}
}

static void push(uintptr_t address, uint64_t bytes)
{
	KT_CHECK(used() < QUEUE, "queue of the model too small");
	model.queue[model.end % QUEUE] = (struct entry){address, bytes};
	model.end++;
	model.bytes += bytes;
	model.frees++;
}

static bool queued(uintptr_t address)
{
	for (uint64_t i = model.first; i < model.end; i++) {
		if (model.queue[i % QUEUE].address == address)
			return true;
	}
	return false;
}

/* Header, block and closed page; one to six pages need no rounding. */
static uint64_t slot_bytes(size_t size)
{
	uint64_t bytes = kmem_roundup_size(size) + KMS_HEADER_BYTES;

	bytes = (bytes + GUARD_PAGE_BYTES - 1) & ~(uint64_t)(GUARD_PAGE_BYTES - 1);
	return bytes + GUARD_PAGE_BYTES;
}

static void allocate(struct block *b)
{
	bool fails = below(50) == 0;

	b->size = 1 + below(below(4) ? 200 : MAX_BYTES);
	evict(); /* what a change of limits left over */
	fail_next = fails && model.depth;
	b->p = kmem_alloc(b->size, KM_NOSLEEP);
	KT_CHECK(b->p, "no memory");
	b->guarded = guard_owns(b->p);
	KT_CHECK(b->guarded == (model.depth && !fails), "guarded %d, depth %llu", b->guarded,
		 (unsigned long long)model.depth);
	model.unguarded += model.depth && fails;
	model.live += b->guarded;
	KT_CHECK(!b->guarded || !queued((uintptr_t)b->p), "%p is in the queue", (void *)b->p);
	memset(b->p, (int)(b->size & 0xff), b->size);
}

static void release(struct block *b)
{
	for (size_t i = 0; i < b->size; i++)
		KT_CHECK(b->p[i] == (b->size & 0xff), "%p of %zu bytes changed at %zu",
			 (void *)b->p, b->size, i);
	kmem_free(b->p, b->size);
	if (b->guarded) {
		push((uintptr_t)b->p, slot_bytes(b->size));
		evict();
		model.live--;
	}
	b->p = NULL;
}

static void change_limits(void)
{
	uint64_t depth = below(5) ? below(6) * 400 : 0;

	if (below(2)) {
		guard_set("kmem_guard_depth", depth);
		model.depth = kms_guard_round_depth(depth);
	} else {
		model.byte_limit = below(3) ? UINT64_C(1) << 30 : below(1000) * GUARD_PAGE_BYTES;
		guard_set("kmem_guard_bytes", model.byte_limit);
	}
}

static void compare(uint64_t step)
{
	const struct kms_guard_stat *f = guard_figures();
	uint64_t oldest = used() ? model.frees - used() + 1 : 0;

	KT_CHECK(f->used == used(), "step %llu: used %llu, model %llu", (unsigned long long)step,
		 (unsigned long long)f->used, (unsigned long long)used());
	KT_CHECK(f->bytes == model.bytes, "step %llu: bytes %llu, model %llu",
		 (unsigned long long)step, (unsigned long long)f->bytes,
		 (unsigned long long)model.bytes);
	KT_CHECK(f->depth == model.depth, "step %llu: depth", (unsigned long long)step);
	KT_CHECK(f->evictions == model.evictions, "step %llu: evictions %llu, model %llu",
		 (unsigned long long)step, (unsigned long long)f->evictions,
		 (unsigned long long)model.evictions);
	KT_CHECK(f->frees == model.frees, "step %llu: frees", (unsigned long long)step);
	KT_CHECK(f->live == model.live, "step %llu: live", (unsigned long long)step);
	KT_CHECK(f->unguarded == model.unguarded, "step %llu: unguarded", (unsigned long long)step);
	KT_CHECK(f->oldest_free_nr == oldest, "step %llu: oldest %llu, model %llu",
		 (unsigned long long)step, (unsigned long long)f->oldest_free_nr,
		 (unsigned long long)oldest);
}

static void check_pages(void)
{
	uint64_t expected = 0, open = 0;

	for (int i = 0; i < BLOCKS; i++) {
		if (model.block[i].p && model.block[i].guarded)
			expected += slot_bytes(model.block[i].size) / GUARD_PAGE_BYTES - 1;
	}
	for (int i = 0; i < PAGES / 64; i++)
		open += (uint64_t)__builtin_popcountll(open_pages[i]);
	KT_CHECK(open == expected, "%llu pages open, %llu needed", (unsigned long long)open,
		 (unsigned long long)expected);
}

int main(int argc, char **argv)
{
	model.random = kt_seed(argc > 2 ? argv[2] : NULL);
	guard_set("kmem_panic", 2); /* any finding ends the test */
	if (!guard_begin(argc > 1 ? strtoull(argv[1], NULL, 0) : 1, 512))
		kt_skip("this system has no such back end");
	model.depth = 512;
	model.byte_limit = UINT64_C(1) << 30;
	wrap_back_end();
	for (uint64_t step = 0; step < STEPS; step++) {
		struct block *b = &model.block[below(BLOCKS)];

		if (below(400) == 0)
			change_limits();
		else if (b->p)
			release(b);
		else
			allocate(b);
		compare(step);
	}
	check_pages();
	printf("%llu frees, %llu evictions, %llu unguarded\n", (unsigned long long)model.frees,
	       (unsigned long long)model.evictions, (unsigned long long)model.unguarded);
	KT_CHECK(model.frees > STEPS / 10 && model.evictions > STEPS / 100 && model.unguarded > 0,
		 "too little was tried");
	return KT_PASS;
}
