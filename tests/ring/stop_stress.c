/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Standing still, the target's side against the tracer's writes into its region: one thread stands
 * and answers, the others wait at their next call. No thread is held here, as where the system does
 * not permit it; tests/system/stop.py has the other half.
 *
 * Usage: stop_stress [SEED]
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "allocator/kmem.h"
#include "schema/record.h"
#include "schema/variables.h"
#include "tracer/control.h"
#include "tracer/process.h"
#include "tracer/region.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

enum {
	BLOCK_BYTES = 40,
	BLOCKS = 500,
	THREADS = 4,
	STOPS = 150, /* of the stress, if the time suffices */
};

static const uint64_t deadline_ns = UINT64_C(60000000000);
static const uint64_t stress_ns = UINT64_C(8000000000);

#define CHECK(condition) check(condition, __LINE__, #condition)

static void check(bool holds, int line, const char *text)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: %s\n", __FILE__, line, text);
	abort();
}

/* The tracer: its side of the region. */
struct eye {
	char folder[64];
	struct kms_region region;
	struct kms_control control;
};

static const struct kms_slot *slot_of(const struct eye *e, uint32_t slot)
{
	return kms_region_at(&e->region, KMS_SEC_SLOT, slot);
}

static uint32_t stop_state(const struct eye *e)
{
	return kms_load_acquire_u32(&slot_of(e, 0)->stop_state);
}

static void beat(struct eye *e)
{
	CHECK(kms_control_beat(&e->control, false) == 0);
}

static void moment(void)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	(void)nanosleep(&ms, NULL);
}

/* Beats until the expression holds. */
#define AWAIT(e, condition)                                                                        \
	for (uint64_t end_ = kms_mono_ns() + deadline_ns; !(condition);)                           \
	await_moment(e, end_, __LINE__, #condition)

static void await_moment(struct eye *e, uint64_t end_ns, int line, const char *text)
{
	check(kms_mono_ns() < end_ns, line, text);
	beat(e);
	moment();
}

static uint64_t ask(struct eye *e, uint32_t slot, unsigned variable, uint64_t value)
{
	uint64_t seq;

	beat(e);
	CHECK(kms_control_request(&e->control, slot, variable, value, &seq) == 0);
	return seq;
}

static const struct kms_ack *answer(const struct eye *e, uint32_t slot, unsigned variable)
{
	return &slot_of(e, slot)->ack[variable];
}

static bool is_answered(const struct eye *e, uint32_t slot, unsigned variable, uint64_t seq)
{
	return kms_load_acquire_u32(&answer(e, slot, variable)->seq) == (uint32_t)seq;
}

/* Asks while nobody stands: one more call of ours takes it up. */
static uint64_t ask_running(struct eye *e, unsigned variable, uint64_t value)
{
	uint64_t seq = ask(e, 0, variable, value);

	kmem_free(kmem_alloc(8, KM_SLEEP), 8);
	CHECK(is_answered(e, 0, variable, seq));
	return kms_load_u64_relaxed(&answer(e, 0, variable)->value);
}

static uint64_t ask_standing(struct eye *e, unsigned variable, uint64_t value)
{
	uint64_t seq = ask(e, 0, variable, value);

	AWAIT(e, is_answered(e, 0, variable, seq));
	return kms_load_u64_relaxed(&answer(e, 0, variable)->value);
}

static void open_eye(struct eye *e)
{
	DIR *dir = opendir(e->folder);
	struct kms_err err = {0};
	const struct dirent *entry;
	int result = -1;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "img-", 4) == 0)
			result = kms_region_open(dirfd(dir), entry->d_name, &e->region, &err);
	}
	closedir(dir);
	CHECK(result == 0);
	CHECK(kms_control_init(&e->control, &e->region, 1) == 0);
	CHECK(kms_control_claim(&e->control, kms_mono_ns()) == 0);
	beat(e);
}

static uint64_t faults(const struct eye *e)
{
	return kms_region_used(&e->region, KMS_SEC_FAULT);
}

static const struct kms_fault *fault_at(const struct eye *e, uint64_t index)
{
	CHECK(index < faults(e));
	return kms_region_at(&e->region, KMS_SEC_FAULT, index);
}

static void *overflow(void *arg)
{
	char *volatile p = kmem_alloc(BLOCK_BYTES, KM_SLEEP);

	(void)arg;
	p[BLOCK_BYTES] ^= 1;
	kmem_free(p, BLOCK_BYTES);
	return NULL;
}

static pthread_t begin(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, run, arg) == 0);
	return thread;
}

static void *call_once(void *arg)
{
	atomic_uint *begun = arg;

	atomic_fetch_add(begun, 1);
	kmem_free(kmem_alloc(100, KM_SLEEP), 100);
	atomic_fetch_add(begun, 1);
	return NULL;
}

static void a_first_request_of_zero_counts(struct eye *e)
{
	CHECK(kms_load_u64_relaxed(&answer(e, 0, KMS_VAR_REDZONE)->value) == 1);
	CHECK(ask_running(e, KMS_VAR_REDZONE, 0) == 0);
	CHECK(answer(e, 0, KMS_VAR_REDZONE)->status == KMS_ACK_OK);
	CHECK(ask_running(e, KMS_VAR_REDZONE, 1) == 1);
	CHECK(ask_running(e, KMS_VAR_PANIC, 7) == 0);
	CHECK(answer(e, 0, KMS_VAR_PANIC)->status == KMS_ACK_RANGE);
	CHECK(ask_running(e, KMS_VAR_RING_BYTES, 1 << 20) == 512 << 10);
	CHECK(answer(e, 0, KMS_VAR_RING_BYTES)->status == KMS_ACK_UNSUPPORTED);
}

static void who_stands_answers_and_the_others_wait(struct eye *e)
{
	uint64_t n = faults(e);
	atomic_uint calls = 0;
	pthread_t thread, other;

	CHECK(ask_running(e, KMS_VAR_PANIC, 1) == 1);
	thread = begin(overflow, NULL);
	AWAIT(e, stop_state(e) == KMS_STOP_FAULT);
	CHECK(slot_of(e, 0)->stop_fault == n + 1);
	CHECK(fault_at(e, n)->kind == KMS_FAULT_OVERFLOW && fault_at(e, n)->policy == 1);
	CHECK(ask_standing(e, KMS_VAR_POISON, 1) == 1);
	CHECK(ask_standing(e, KMS_VAR_MARK, 7) == 7);
	other = begin(call_once, &calls);
	AWAIT(e, atomic_load(&calls) == 1);
	/* three more answers: time enough for a call that nobody stops */
	for (unsigned i = 0; i < 3; i++)
		CHECK(ask_standing(e, KMS_VAR_STACK_DEPTH, 8 + i) == 8 + i);
	CHECK(atomic_load(&calls) == 1 && stop_state(e) == KMS_STOP_FAULT);
	ask(e, 0, KMS_VAR_CONTINUE, 0);
	AWAIT(e, stop_state(e) == KMS_STOP_NONE && atomic_load(&calls) == 2);
	pthread_join(thread, NULL);
	pthread_join(other, NULL);
	CHECK(faults(e) == n + 1);
	CHECK(ask_running(e, KMS_VAR_POISON, 0) == 0);
}

static void two_stand_one_after_the_other(struct eye *e)
{
	uint32_t before = slot_of(e, 0)->stop_nr, tid;
	pthread_t thread[2] = {begin(overflow, NULL), begin(overflow, NULL)};

	AWAIT(e, stop_state(e) == KMS_STOP_FAULT);
	CHECK(slot_of(e, 0)->stop_nr == before + 1);
	tid = slot_of(e, 0)->stop_tid;
	ask(e, 0, KMS_VAR_CONTINUE, 0);
	AWAIT(e, kms_load_u32_relaxed(&slot_of(e, 0)->stop_nr) == before + 2 &&
			 stop_state(e) == KMS_STOP_FAULT);
	CHECK(slot_of(e, 0)->stop_tid != tid);
	ask(e, 0, KMS_VAR_CONTINUE, 0);
	for (int i = 0; i < 2; i++) {
		AWAIT(e, stop_state(e) == KMS_STOP_NONE);
		pthread_join(thread[i], NULL);
	}
}

/* One that was taken up, and one that nobody took up so far. */
static void a_word_to_go_on_is_not_for_the_next_stop(struct eye *e)
{
	pthread_t thread;

	CHECK(ask_running(e, KMS_VAR_CONTINUE, 0) == 0);
	ask(e, 0, KMS_VAR_CONTINUE, 0);
	thread = begin(overflow, NULL);
	AWAIT(e, stop_state(e) == KMS_STOP_FAULT);
	CHECK(ask_standing(e, KMS_VAR_STACK_DEPTH, 16) == 16);
	CHECK(stop_state(e) == KMS_STOP_FAULT);
	ask(e, 0, KMS_VAR_CONTINUE, 0);
	AWAIT(e, stop_state(e) == KMS_STOP_NONE);
	pthread_join(thread, NULL);
}

static void without_a_heart_it_goes_on(struct eye *e)
{
	uint64_t begun_ns;
	uint32_t nr;

	beat(e);
	begun_ns = kms_mono_ns();
	overflow(NULL); /* in this thread, so that nothing beats */
	CHECK(kms_mono_ns() - begun_ns >= UINT64_C(500000000));
	CHECK(stop_state(e) == KMS_STOP_NONE);
	nr = slot_of(e, 0)->stop_nr;
	overflow(NULL); /* nobody is there still: no second wait */
	CHECK(slot_of(e, 0)->stop_nr == nr);
}

/* Verify finds each damaged block once, live and free ones, wherever they are. */
static void verify_finds_each_once(struct eye *e)
{
	static char *block[BLOCKS];
	uint64_t n;

	CHECK(ask_running(e, KMS_VAR_PANIC, 0) == 0);
	CHECK(ask_running(e, KMS_VAR_POISON, 1) == 1);
	CHECK(ask_running(e, KMS_VAR_VERIFY, 1) == 0);
	for (int i = 0; i < BLOCKS; i++)
		block[i] = kmem_alloc(BLOCK_BYTES, KM_SLEEP);
	n = faults(e);
	for (int i = 0; i < 10; i++)
		block[i * 7][BLOCK_BYTES] ^= 1;
	CHECK(ask_running(e, KMS_VAR_VERIFY, 1) == 10);
	CHECK(faults(e) == n + 10 && fault_at(e, n)->kind == KMS_FAULT_OVERFLOW);
	CHECK(ask_running(e, KMS_VAR_VERIFY, 1) == 0);
	for (int i = 0; i < BLOCKS; i++)
		kmem_free(block[i], BLOCK_BYTES);
	CHECK(faults(e) == n + 10);
	for (int i = 0; i < BLOCKS; i++)
		block[i][3] ^= 1; /* in magazines, the depot and slabs */
	CHECK(ask_running(e, KMS_VAR_VERIFY, 1) == BLOCKS);
	CHECK(fault_at(e, n + 10)->kind == KMS_FAULT_MODIFIED_AFTER_FREE);
	CHECK(ask_running(e, KMS_VAR_VERIFY, 1) == 0);
	for (int i = 0; i < BLOCKS; i++)
		block[i] = kmem_alloc(BLOCK_BYTES, KM_SLEEP);
	CHECK(faults(e) == n + 10 + BLOCKS);
	for (int i = 0; i < BLOCKS; i++)
		kmem_free(block[i], BLOCK_BYTES);
	CHECK(ask_running(e, KMS_VAR_POISON, 0) == 0);
}

/* A child takes up what is asked of it, and not what was asked of its slot's process before. */
static void a_child_begins_with_its_parents_values(struct eye *e)
{
	int go[2];
	pid_t child;
	uint64_t seq = ask(e, 1, KMS_VAR_POISON, 1); /* of whoever had slot 1 */

	CHECK(ask_running(e, KMS_VAR_STACK_DEPTH, 33) == 33);
	CHECK(pipe(go) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		char byte;

		close(go[1]);
		while (read(go[0], &byte, 1) == 1)
			kmem_free(kmem_alloc(8, KM_SLEEP), 8);
		_exit(0);
	}
	close(go[0]);
	CHECK(write(go[1], "x", 1) == 1);
	AWAIT(e, kms_load_acquire_u32(&slot_of(e, 1)->state) == KMS_SLOT_LIVE);
	CHECK(answer(e, 1, KMS_VAR_STACK_DEPTH)->value == 33);
	CHECK(answer(e, 1, KMS_VAR_POISON)->value == 0);
	CHECK(kms_load_u64_relaxed(&slot_of(e, 1)->acked_seq) == seq);
	seq = ask(e, 1, KMS_VAR_POISON, 0);
	CHECK(write(go[1], "x", 1) == 1);
	AWAIT(e, is_answered(e, 1, KMS_VAR_POISON, seq));
	close(go[1]);
	CHECK(waitpid(child, NULL, 0) == child);
}

/* Threads that allocate, and now and then make a bug, while everything is asked of them. */
struct worker {
	pthread_t thread;
	uint64_t random;
	atomic_bool *stop;
	unsigned bugs;
};

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

	while (!atomic_load(w->stop)) {
		uint64_t r = next_random(&w->random);
		void *p = kmem_alloc(1 + r % 3000, KM_SLEEP);

		memset(p, 1, 1 + r % 3000);
		kmem_free(p, 1 + r % 3000);
		if ((r >> 40) % 5000 == 0) {
			overflow(NULL);
			w->bugs++;
		}
	}
	return NULL;
}

static void ask_something(struct eye *e, uint64_t random)
{
	static const unsigned variables[] = {KMS_VAR_POISON, KMS_VAR_SIZE,   KMS_VAR_TRACE,
					     KMS_VAR_MARK,   KMS_VAR_VERIFY, KMS_VAR_STACK_DEPTH};
	unsigned variable = variables[random % (sizeof(variables) / sizeof(variables[0]))];

	/* it reads what others write, by design */
	if (variable == KMS_VAR_VERIFY && UNDER_TSAN)
		return;
	ask(e, 0, variable, (random >> 32) & 1);
}

static void stress(struct eye *e, uint64_t seed)
{
	struct worker worker[THREADS];
	atomic_bool stop = false;
	uint32_t before = slot_of(e, 0)->stop_nr;
	uint64_t random = seed * 0x9e3779b97f4a7c15u + 1, end_ns = kms_mono_ns() + stress_ns;
	uint64_t found = faults(e), bugs = 0;

	ask_running(e, KMS_VAR_PANIC, 1);
	for (int i = 0; i < THREADS; i++) {
		worker[i].random = next_random(&random);
		worker[i].stop = &stop;
		worker[i].bugs = 0;
		worker[i].thread = begin(work, &worker[i]);
	}
	while (kms_mono_ns() < end_ns && slot_of(e, 0)->stop_nr - before < STOPS) {
		ask_something(e, next_random(&random));
		if (stop_state(e) != KMS_STOP_NONE)
			ask(e, 0, KMS_VAR_CONTINUE, 0);
		moment();
	}
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++) {
		while (pthread_tryjoin_np(worker[i].thread, NULL)) {
			if (stop_state(e) != KMS_STOP_NONE)
				ask(e, 0, KMS_VAR_CONTINUE, 0);
			beat(e);
			moment();
		}
		bugs += worker[i].bugs;
	}
	/* verify and the free of a damaged block come for it at the same time: one of them finds it */
	CHECK(faults(e) - found == bugs);
	printf("%" PRIu32 " stops\n", slot_of(e, 0)->stop_nr - before);
	CHECK(slot_of(e, 0)->stop_nr > before && stop_state(e) == KMS_STOP_NONE);
}

static void remove_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	char path[512];

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		unlink(path);
	}
	closedir(dir);
	CHECK(rmdir(folder) == 0); /* nothing else is left in it */
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	struct eye e = {.folder = "/dev/shm/kms-stop-stress-XXXXXX"};

	printf("seed %" PRIu64 "\n", seed);
	if (!mkdtemp(e.folder))
		return 77;
	CHECK(setenv("KMEMSCOPE_RUN", e.folder, 1) == 0);
	/* nobody reads the rings here */
	CHECK(setenv("KMEM_OPTIONS", "on_full=0,panic=0", 1) == 0);
	kmem_free(kmem_alloc(8, KM_SLEEP), 8);
	open_eye(&e);
	a_first_request_of_zero_counts(&e);
	who_stands_answers_and_the_others_wait(&e);
	two_stand_one_after_the_other(&e);
	a_word_to_go_on_is_not_for_the_next_stop(&e);
	without_a_heart_it_goes_on(&e);
	verify_finds_each_once(&e);
	a_child_begins_with_its_parents_values(&e);
	stress(&e, seed);
	kms_region_close(&e.region);
	remove_folder(e.folder);
	return 0;
}
