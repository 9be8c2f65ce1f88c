/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The producer half of the ring against the consumer half: threads allocate, free and hand blocks to
 * each other through libkmem; a reader takes their rings while they run. At the end every event has
 * come exactly once: sequences without a gap, counts by kind equal to what the threads counted, and
 * of each address as many allocs as frees, or one more while it is live.
 *
 * A producer gives a reader up that shows no life for half a second. On a machine that is busy with
 * other things this reader can be that late: events are lost then, and said to be. Such a round proves
 * only that, and another one follows.
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
	ROUNDS = 5, /* at most */
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
	uint64_t lost;
	uint64_t next_seq[KMS_MAX_RINGS];
};

static void grow(struct seen *seen)
{
	seen->room = seen->room ? 2 * seen->room : 1 << 20;
	seen->event = realloc(seen->event, seen->room * sizeof(*seen->event));
	seen->ring = realloc(seen->ring, seen->room * sizeof(*seen->ring));
	CHECK(seen->event && seen->ring);
}

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
		if (events[i].kind == KMS_EVENT_LOST) { /* it has the first of the sequences lost */
			seen->lost += events[i].value;
			seen->next_seq[b->block.ring] += events[i].value - 1;
		}
		if (seen->n == seen->room)
			grow(seen);
		seen->event[seen->n] = events[i];
		seen->ring[seen->n++] = b->block.ring;
	}
}

static void give(struct kms_pair *pair, uint64_t value)
{
	__atomic_store_n(&pair->v, value, __ATOMIC_RELEASE);
	__atomic_store_n(&pair->not_v, ~value, __ATOMIC_RELEASE);
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

	for (unsigned i = 0; i < region->head.rings; i++) {
		const struct kms_ring_ask ask = {
			.now_ns = now_ns(), .batch_bytes = BATCH_BYTES, .is_final = final};
		struct kms_batch *batch = kms_batch_create();
		struct kms_err err = {0};
		int result;

		give(&region->page->heartbeat, ++beat);
		give(&region->page->tick, beat);
		result = kms_ring_read(&readers[i], region, &ask, batch, &err);
		if (result < 0)
			fprintf(stderr, "ring %u: %s\n", i, err.text);
		CHECK(result >= 0);
		for (size_t k = 0; k < batch->n_blocks; k++)
			keep(seen, &batch->block[k]);
		news |= batch->n_blocks > 0;
		give(&region->position[i], readers[i].next_block);
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

/* Whether producers gave the reader up. Nothing else may lose an event. */
static bool was_late(const struct kms_region *region, const struct seen *seen)
{
	uint64_t given_up = 0;

	for (uint64_t i = 0; i < region->section[KMS_SEC_SLOT].entries; i++) {
		const struct kms_slot *slot = kms_region_at(region, KMS_SEC_SLOT, i);

		given_up += __atomic_load_n(&slot->dropped_stalled, __ATOMIC_RELAXED);
	}
	CHECK(seen->lost <= given_up);
	return given_up > 0;
}

static void remove_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[512];

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		unlink(path);
	}
	closedir(dir);
	rmdir(folder);
}

/* Starts the program anew, since its heap knows its region once and for all. */
static void one_more_round(char **argv, const char *seed)
{
	const char *before = getenv("RING_STRESS_ROUND");
	long round = before ? strtol(before, NULL, 10) + 1 : 1;
	char text[24];

	printf("the reader was late: another round\n");
	(void)fflush(stdout);
	CHECK(round < ROUNDS);
	snprintf(text, sizeof(text), "%ld", round);
	CHECK(setenv("RING_STRESS_ROUND", text, 1) == 0);
	execl("/proc/self/exe", argv[0], seed, (char *)NULL);
	perror("exec");
	exit(1);
}

int main(int argc, char **argv)
{
	const char *seed_text = argc > 1 ? argv[1] : "1";
	uint64_t seed = strtoull(seed_text, NULL, 0);
	char folder[] = "/dev/shm/kms-ring-stress-XXXXXX";
	struct worker workers[THREADS] = {0};
	struct kms_region region;
	static struct kms_ring_reader readers[KMS_MAX_RINGS];
	struct seen seen = {0};
	bool late;

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
	late = was_late(&region, &seen);
	if (!late)
		check_counts(&seen, workers);
	free(seen.event);
	free(seen.ring);
	kms_region_close(&region);
	remove_folder(folder);
	if (late)
		one_more_round(argv, seed_text);
	return 0;
}
