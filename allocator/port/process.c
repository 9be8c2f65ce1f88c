/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Start of the heap in a process, the locals of its threads, fork and exit.
 *
 * The first call may come before main, even before libc is ready to answer getenv: until then
 * kms_process_local gives NULL and the front serves early memory.
 */
#include "allocator/port/process.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocator/control.h"
#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/kmem.h"
#include "allocator/port.h"
#include "allocator/port/attach.h"
#include "allocator/port/fronts.h"
#include "allocator/port/join.h"
#include "allocator/port/maps.h"
#include "allocator/port/modules_posix.h"
#include "allocator/port/region_file.h"
#include "allocator/region.h"
#include "allocator/stop.h"
#include "allocator/text.h"
#include "allocator/umem.h"

extern char **environ;

enum start_state {
	START_NOT = 0,
	START_RUNS = 1,
	START_DONE = 2,
	START_FAILED = 3,
};

/* The process-wide front forces these. */
static struct kms_heap the_heap;
static uint32_t start_state;
static uint32_t start_lock;
static pthread_key_t thread_key;

static const uint32_t closed_word;
static struct kms_span no_span;
static struct kms_local closed_local = {
	.span = &no_span,
	.attention = &closed_word,
	.epoch = &closed_word,
	.attention_seen = 1,
};

_Thread_local struct kms_local *kms_tls __attribute__((tls_model("initial-exec"))) = &closed_local;

struct kms_heap *kms_process_heap(void)
{
	return &the_heap;
}

static void complain(const char *item, size_t length, const char *reason)
{
	struct kms_text text = {0};

	kms_text_add(&text, KMS_LIBRARY_NAME ": KMEM_OPTIONS: '");
	for (size_t i = 0; i < length && i < 64; i++) {
		bool is_printable = item[i] >= ' ' && item[i] < 127;
		const char c[2] = {(char)(is_printable ? item[i] : '?'), '\0'};

		kms_text_add(&text, c);
	}
	kms_text_add(&text, "': ");
	kms_text_add(&text, reason);
	kms_text_add(&text, "; its default is used\n");
	kms_port_print(text.buffer);
}

/* A word that reads 0 in a child made without our knowledge. */
static bool epoch_word_make(struct kms_heap *heap)
{
	uint32_t *page = mmap(NULL, KMS_PAGE_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return false;
	(void)madvise(page, KMS_PAGE_BYTES, MADV_WIPEONFORK);
	heap->epoch = page;
	heap->last_epoch = 1;
	*page = 1;
	return true;
}

static bool heap_start(struct kms_heap *heap)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): in the first call, as a rule before any thread */
	const char *options = getenv("KMEM_OPTIONS");
	struct kms_join join;

	if (!epoch_word_make(heap))
		return false;
	kms_control_defaults(heap);
	kms_join_find(&join);
	/* A library used alone stops the program at damage, as the original would; under a tracer
	 * the report is what is wanted (DESIGN 4). */
	if (join.folder[0])
		heap->variable[KMS_VAR_PANIC] = 0;
	if (options)
		kms_control_parse(heap, options, complain);
	if (!kms_region_file_make(heap, kms_attach_is_asked() ? "" : join.folder))
		return false;
	heap->region->stalled = join.is_unread;
	if (!kms_heap_init(heap) || !kms_stack_start(heap))
		return false;
	kms_maps_start(heap);
	kms_guard_configure(heap);
	kms_control_publish(heap); /* with the depth that is in effect */
	__atomic_store_n(&heap->slot->state, KMS_SLOT_LIVE, __ATOMIC_RELEASE);
	kms_region_publish(heap);
	kms_attach_start(heap);
	heap->ready = 1;
	return true;
}

void kms_process_lock_all(void)
{
	kms_heap_lock_all(&the_heap, UINT64_MAX);
}

void kms_process_unlock_all(void)
{
	kms_heap_unlock_all(&the_heap);
}

static void forked_child(void)
{
	struct kms_local *t = kms_tls;

	kms_maps_forget();
	kms_heap_after_fork(&the_heap, t == &closed_local ? NULL : t);
	kms_attach_forked(&the_heap);
}

static void fork_prepare(void)
{
	kms_process_lock_all();
	kms_umem_before_fork(&the_heap);
}

static void fork_child(void)
{
	kms_process_unlock_all();
	forked_child();
}

static void thread_exit(void *value)
{
	struct kms_local *t = value;

	/* Other destructors may free after us: stay until the last round. */
	if (++t->exit_rounds < PTHREAD_DESTRUCTOR_ITERATIONS - 1) {
		pthread_setspecific(thread_key, t);
		return;
	}
	kms_tls = &closed_local;
	kms_local_put(t);
}

static void start_hooks(void)
{
	(void)pthread_key_create(&thread_key, thread_exit);
	(void)pthread_atfork(fork_prepare, kms_process_unlock_all, fork_child);
}

static bool process_start(void)
{
	uint32_t state = __atomic_load_n(&start_state, __ATOMIC_ACQUIRE);
	bool first = false;

	if (state == START_DONE)
		return true;
	/* Our own start allocates nothing; a call from within it, or before libc has an
	 * environment, gets early memory. */
	if (state == START_FAILED || !environ)
		return false;
	kms_port_lock(&start_lock);
	state = start_state;
	if (state == START_NOT) {
		first = true;
		state = heap_start(&the_heap) ? START_DONE : START_FAILED;
		if (state == START_FAILED)
			kms_port_print(KMS_LIBRARY_NAME ": no memory for the heap\n");
		__atomic_store_n(&start_state, state, __ATOMIC_RELEASE);
	}
	kms_port_unlock(&start_lock);
	if (first && state == START_DONE)
		start_hooks();
	return state == START_DONE;
}

/* A thread that has no local yet. pthread_setspecific may allocate: the local is in place then. */
static struct kms_local *thread_start(void)
{
	struct kms_local *t = kms_local_get(&the_heap, KMS_LOCAL_USED);

	if (!t)
		return NULL;
	t->exit_rounds = 0;
	kms_tls = t;
	(void)pthread_setspecific(thread_key, t);
	return t;
}

struct kms_local *kms_process_local(void)
{
	struct kms_local *t = kms_tls;

	if (!process_start())
		return NULL;
	if (t == &closed_local) {
		t = thread_start();
		if (!t)
			return NULL;
	}
	/* A child of a clone that ran no fork handlers. */
	if (KMS_UNLIKELY(!__atomic_load_n(the_heap.epoch, __ATOMIC_RELAXED)))
		forked_child();
	while (t->busy) {
		if (!t->nested)
			t->nested = kms_local_get(&the_heap, KMS_LOCAL_NESTED);
		if (!t->nested)
			return NULL;
		t = t->nested;
	}
	kms_local_look(t, kms_attach_poll);
	if (t->state == KMS_LOCAL_USED)
		kms_maps_tell(t);
	return t;
}

/* Is the heap of this copy of the library the one that programs call? */
static bool is_the_front(void)
{
	struct kms_module_view ours, called;

	return kms_module_find((uintptr_t)&the_heap, &ours) &&
	       kms_module_find((uintptr_t)kmem_alloc, &called) && ours.start == called.start;
}

/*
 * `run -d`: KMEMSCOPE_STOP names the process that is to stand before its main function. What it
 * executes or forks later is not meant.
 */
__attribute__((constructor)) static void process_begin(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before main, as a rule before any thread */
	const char *wanted = getenv("KMEMSCOPE_STOP");
	struct kms_local *t;
	bool is_meant;

	if (!wanted || !is_the_front())
		return;
	is_meant = strtoul(wanted, NULL, 10) == kms_port_pid();
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): as above */
	(void)unsetenv("KMEMSCOPE_STOP"); /* cannot fail for such a name */
	t = is_meant ? kms_process_local() : NULL;
	if (!t)
		return;
	kms_enter(t);
	(void)kms_stop_stand(t, KMS_STOP_START, 0); /* without a tracer it goes on */
	kms_leave(t);
}

void kms_process_exit_status(int status)
{
	struct kms_slot *slot;

	if (__atomic_load_n(&start_state, __ATOMIC_ACQUIRE) != START_DONE || !the_heap.shared)
		return;
	slot = the_heap.slot;
	/* a child of vfork has its parent's memory, and its slot */
	if (slot && slot->pid == kms_port_pid())
		__atomic_store_n(&slot->exit_status, KMS_EXIT_STATUS(status), __ATOMIC_RELAXED);
}

__attribute__((destructor)) static void process_exit(void)
{
	if (__atomic_load_n(&start_state, __ATOMIC_ACQUIRE) != START_DONE || !the_heap.shared)
		return;
	/* modules of the very last calls */
	if (kms_tls != &closed_local && !kms_tls->busy && *the_heap.epoch)
		kms_maps_tell(kms_tls);
	kms_region_exit_slot(&the_heap);
}
