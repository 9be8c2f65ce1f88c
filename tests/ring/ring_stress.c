/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The producer half of the ring against the consumer half: threads allocate, free and hand blocks to
 * each other through libkmem; a reader takes their rings while they run. At the end every event has
 * come exactly once: sequences without a gap, counts by kind equal to what the threads counted, and
 * of each address as many allocs as frees, or one more while it is live.
 *
 * Usage: ring_stress [SEED]
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "allocator/kmem.h"
#include "tracer/batch.h"
#include "tracer/block.h"
#include "tracer/region.h"
#include "tracer/ring_reader.h"

enum {
	THREADS = 4,
	OPERATIONS = 200000,
	EXCHANGE = 512, /* places where threads leave blocks for each other */
	MAX_BYTES = 3000,
	BATCH_BYTES = 4 << 20,
};

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

struct parcel {
	void *block;
	size_t bytes;
};

struct worker {
	pthread_t thread;
	uint64_t random;
	uint64_t allocs;
	uint64_t frees;
};

static _Atomic(struct parcel *) exchange[EXCHANGE];
static atomic_uint running;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < OPERATIONS; i++) {
		uint64_t r = next_random(&w->random);
		struct parcel *p = malloc(sizeof(*p)), *other;

		CHECK(p);
		p->bytes = 1 + r % MAX_BYTES;
		p->block = kmem_alloc(p->bytes, KM_SLEEP);
		memset(p->block, (int)r, p->bytes);
		w->allocs++;
		other = atomic_exchange(&exchange[(r >> 32) % EXCHANGE], p);
		if (other) {
			kmem_free(other->block, other->bytes);
			w->frees++;
			free(other);
		}
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

/* Everything the reader saw. */
struct seen {
	struct kms_event *event;
	uint32_t *ring;
	size_t n, room;
	uint64_t next_seq[KMS_MAX_RINGS];
};

static void keep(struct seen *seen, const struct kms_batch_block *b)
{
	static struct kms_event events[KMS_SEQ_PER_BLOCK];
	size_t n;

	CHECK(kms_block_decode(&b->block, events, KMS_SEQ_PER_BLOCK, &n) == 0);
	for (size_t i = 0; i < n; i++) {
		if (events[i].offset < b->from_bytes)
			continue;
		CHECK(events[i].ring_seq == seen->next_seq[b->block.ring]);
		seen->next_seq[b->block.ring]++;
		if (seen->n == seen->room) {
			seen->room = seen->room ? 2 * seen->room : 1 << 20;
			seen->event = realloc(seen->event, seen->room * sizeof(*seen->event));
			seen->ring = realloc(seen->ring, seen->room * sizeof(*seen->ring));
			CHECK(seen->event && seen->ring);
		}
		seen->event[seen->n] = events[i];
		seen->ring[seen->n++] = b->block.ring;
	}
}

static void give_position(struct kms_region *region, unsigned ring, uint64_t position)
{
	__atomic_store_n(&region->position[ring].v, position, __ATOMIC_RELEASE);
	__atomic_store_n(&region->position[ring].not_v, ~position, __ATOMIC_RELEASE);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* One look at every ring; true if anything came. */
static bool poll_rings(struct kms_region *region, struct kms_ring_reader *readers,
		       struct seen *seen, bool final)
{
	static uint64_t beat;
	bool news = false;

	beat++;
	region->page->heartbeat = (struct kms_pair){beat, ~beat};
	region->page->tick = (struct kms_pair){beat, ~beat};
	for (unsigned i = 0; i < region->head.rings; i++) {
		const struct kms_ring_ask ask = {
			.now_ns = now_ns(), .batch_bytes = BATCH_BYTES, .is_final = final};
		struct kms_batch *batch = kms_batch_create();
		struct kms_err err = {0};
		int result = kms_ring_read(&readers[i], region, &ask, batch, &err);

		if (result < 0)
			fprintf(stderr, "ring %u: %s\n", i, err.text);
		CHECK(result >= 0);
		for (size_t k = 0; k < batch->n_blocks; k++)
			keep(seen, &batch->block[k]);
		news |= batch->n_blocks > 0;
		give_position(region, i, readers[i].next_block);
		kms_batch_put(batch);
	}
	__atomic_add_fetch(&region->page->wake, 1, __ATOMIC_RELEASE);
	return news;
}

static void open_region(const char *folder, struct kms_region *region)
{
	DIR *dir = opendir(folder);
	struct kms_err err = {0};
	struct dirent *entry;
	int result = -ENOENT;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "img-", 4) == 0)
			result = kms_region_open(dirfd(dir), entry->d_name, region, &err);
	}
	if (result < 0)
		fprintf(stderr, "region: %s\n", err.text);
	CHECK(result == 0);
	closedir(dir);
}

static int by_address(const void *a, const void *b)
{
	const struct kms_event *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

static void check_counts(const struct seen *seen, const struct worker *workers)
{
	uint64_t allocs = 0, frees = 0, seen_allocs = 0, seen_frees = 0, live = 0;

	for (int i = 0; i < THREADS; i++) {
		allocs += workers[i].allocs;
		frees += workers[i].frees;
	}
	for (size_t i = 0; i < seen->n; i++) {
		seen_allocs += seen->event[i].kind == KMS_EVENT_ALLOC;
		seen_frees += seen->event[i].kind == KMS_EVENT_FREE;
		CHECK(seen->event[i].kind != KMS_EVENT_LOST);
	}
	printf("allocs %" PRIu64 " of %" PRIu64 ", frees %" PRIu64 " of %" PRIu64 "\n", seen_allocs,
	       allocs, seen_frees, frees);
	CHECK(seen_allocs == allocs && seen_frees == frees);
	qsort(seen->event, seen->n, sizeof(*seen->event), by_address);
	for (size_t i = 0, end; i < seen->n; i = end) {
		long balance = 0;

		for (end = i; end < seen->n && seen->event[end].address == seen->event[i].address;
		     end++) {
			balance += seen->event[end].kind == KMS_EVENT_ALLOC;
			balance -= seen->event[end].kind == KMS_EVENT_FREE;
		}
		CHECK(balance == 0 || balance == 1);
		live += (uint64_t)balance;
	}
	CHECK(live == allocs - frees);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	char folder[] = "/dev/shm/kms-ring-stress-XXXXXX", path[512];
	struct worker workers[THREADS] = {0};
	struct kms_region region;
	static struct kms_ring_reader readers[KMS_MAX_RINGS];
	struct seen seen = {0};
	DIR *dir;
	struct dirent *entry;

	printf("seed %" PRIu64 "\n", seed);
	if (!mkdtemp(folder))
		return 77;
	CHECK(setenv("KMEMSCOPE_RUN", folder, 1) == 0);
	kmem_free(kmem_alloc(8, KM_SLEEP), 8);
	workers[0].allocs = workers[0].frees = 1; /* the one just now */
	open_region(folder, &region);
	for (unsigned i = 0; i < region.head.rings; i++)
		kms_ring_reader_init(&readers[i], i, 1);
	atomic_store(&running, THREADS);
	for (int i = 0; i < THREADS; i++) {
		workers[i].random = seed * 0x9e3779b97f4a7c15u + (uint64_t)i + 1;
		CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
	}
	while (atomic_load(&running))
		(void)poll_rings(&region, readers, &seen, false);
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	while (poll_rings(&region, readers, &seen, false))
		;
	check_counts(&seen, workers);
	kms_region_close(&region);
	dir = opendir(folder);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		unlink(path);
	}
	closedir(dir);
	rmdir(folder);
	return 0;
}
