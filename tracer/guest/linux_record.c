/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/batch_build.h"
#include "tracer/guest/linux_record_impl.h"
#include "tracer/process.h"
#include "tracer/stack_id.h"

enum {
	BLOCKS_MAX = 1 << 20, /* addresses whose size and generation are remembered */
	GENERATION_BITS = 8,
	FIRST_ALLOC = 1, /* generations of an address that was not heard of */
	FIRST_FREE = 2,
	SESSION = 1,
	RING_CLAIM = 1,
	STRING_UNITS = 2,
};

static const char kernel_name[8] = "vmlinux";

struct kms_linux_recorder *
kms_linux_recorder_create(int (*feed)(void *arg, struct kms_batch *batch), void *arg)
{
	struct kms_linux_recorder *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->feed = feed;
	r->arg = arg;
	(void)pthread_mutex_init(&r->lock, NULL); /* cannot fail without attributes */
	r->held = malloc(RECORDER_HELD_MAX * sizeof(*r->held));
	r->new_thread = calloc(KMS_MAX_THREADS, sizeof(*r->new_thread));
	r->fault = calloc(KMS_MAX_FAULTS, sizeof(*r->fault));
	if (r->held && r->new_thread && r->fault)
		return r;
	kms_linux_recorder_destroy(r);
	return NULL;
}

/* What belongs to one boot only. */
static void boot_clear(struct kms_linux_recorder *r)
{
	for (int i = 0; i < KMS_LINUX_MAX_CPUS; i++) {
		free(r->stream[i]);
		r->stream[i] = NULL;
	}
	kms_u64map_deinit(&r->block);
	kms_u64map_deinit(&r->thread);
	r->block = r->thread = (struct kms_u64map){0};
	kms_lx_owners_destroy(r->owners);
	r->owners = NULL;
	r->n_held = 0;
	r->newest_ns = r->before_ns = 0;
	r->n_threads = r->threads_fed = r->n_faults = r->faults_fed = 0;
	r->is_begun = false;
}

void kms_linux_recorder_destroy(struct kms_linux_recorder *r)
{
	if (!r)
		return;
	boot_clear(r);
	for (uint32_t i = 0; i < r->n_boots && i < RECORDER_BOOTS_MAX; i++)
		kms_linux_names_destroy(r->boot[i].names);
	free(r->held);
	free(r->new_thread);
	free(r->fault);
	(void)pthread_mutex_destroy(&r->lock); /* nobody holds it */
	free(r);
}

static struct kms_linux_names *names_of(struct kms_linux_recorder *r, uint32_t image)
{
	struct kms_linux_names *names = NULL;

	(void)pthread_mutex_lock(&r->lock); /* plain, never locked twice */
	for (uint32_t i = 0; i < r->n_boots; i++)
		if (r->boot[i].image == image)
			names = r->boot[i].names;
	(void)pthread_mutex_unlock(&r->lock);
	return names;
}

/* Hands a batch on; it is gone then. */
static int send(struct kms_linux_recorder *r, struct kms_batch *batch)
{
	int result;

	batch->time_ns = kms_mono_ns();
	for (size_t i = 0; i < batch->n_blocks; i++)
		batch->block[i].image = batch->block[i].target = r->target.id;
	result = r->feed(r->arg, batch);
	if (result)
		result = r->feed(r->arg, batch);
	kms_batch_put(batch);
	return result;
}

/* The kernel as the one module of its image: names that are not in the file are at least its offsets. */
static bool add_module(const struct kms_linux *lx, uint32_t image, struct kms_batch *batch)
{
	struct kms_batch_table *text, *table;
	const struct kms_string_head head = {.ready = sizeof(kernel_name)};
	const uint64_t end = kms_symbols_find(&lx->symbols, "_end");
	const struct kms_module module = {
		.start = lx->info.stext,
		.end = end ? end : UINT64_MAX,
		.load_bias = 0,
		.path_string = 1,
		.ready = 1,
	};

	text = kms_batch_add_table(batch, KMS_SEC_STRING, 1, STRING_UNITS, sizeof(head));
	if (!text)
		return false;
	text->image = image;
	memcpy(text->data, &head, sizeof(head));
	memcpy(text->data + sizeof(head), kernel_name, sizeof(kernel_name));
	table = kms_batch_add_table(batch, KMS_SEC_MODULE, 0, 1, sizeof(module));
	if (!table)
		return false;
	table->image = image;
	memcpy(table->data, &module, sizeof(module));
	return true;
}

static int send_target(struct kms_linux_recorder *r, const struct kms_linux *first)
{
	struct kms_batch *batch = kms_batch_create();
	struct kms_batch_target *target = batch ? kms_batch_add_target(batch) : NULL;

	if (!target || (first && !add_module(first, r->target.image, batch))) {
		kms_batch_put(batch);
		return -ENOMEM;
	}
	batch->what = KMS_BATCH_TARGET;
	*target = r->target;
	return send(r, batch);
}

static int hold(void *arg, const struct kms_linux_event *event)
{
	struct kms_linux_recorder *r = arg;

	if (!r->is_begun) /* what was on the ring's page before we came */
		return 0;
	r->held[r->n_held++] = (struct recorder_held){*event, r->order++};
	if (event->time_ns > r->newest_ns)
		r->newest_ns = event->time_ns;
	return r->n_held == RECORDER_HELD_MAX;
}

int kms_linux_recorder_begin(struct kms_linux_recorder *r, struct kms_linux *kernel,
			     const struct kms_batch_target *target, struct kms_err *err)
{
	uint64_t now_ns = kms_linux_guest_now(kernel), wall_ns = kms_wall_ns();
	struct kms_linux_names *names = kms_linux_names_create();

	boot_clear(r);
	r->owners = kms_lx_owners_create();
	if (!names || !r->owners || r->n_boots == RECORDER_BOOTS_MAX) {
		kms_linux_names_destroy(names);
		return kms_err_set(err, -ENOMEM, "no room for another boot of the guest");
	}
	(void)pthread_mutex_lock(&r->lock);
	r->boot[r->n_boots++] = (struct recorder_boot){.image = target->id, .names = names};
	(void)pthread_mutex_unlock(&r->lock);
	r->names = names;
	r->target = *target;
	r->target.image = target->id;
	r->target.slot = 0;
	r->target.kind = KMS_TARGET_GUEST;
	r->target.state = KMS_STATE_RUNNING;
	r->target.exit_status = -1;
	r->target.session = SESSION;
	r->target.joined_ns = now_ns ? now_ns : 1;
	r->target.region_start_wall_ns = now_ns < wall_ns ? wall_ns - now_ns : wall_ns;
	r->is_on = send_target(r, kernel) == 0;
	(void)kms_linux_events(kernel, hold, r,
			       NULL); /* takes the ring up; the next one says why not */
	r->is_begun = true;
	return r->is_on ? 0 : kms_err_set(err, -ENOMEM, "no memory for a guest");
}

static int by_time(const void *a, const void *b)
{
	const struct recorder_held *x = a, *y = b;

	if (x->event.time_ns != y->event.time_ns)
		return x->event.time_ns < y->event.time_ns ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

struct kms_linux_stream *kms_linux_recorder_stream(struct kms_linux_recorder *r, uint32_t cpu)
{
	struct kms_linux_stream **stream = &r->stream[cpu];

	if (!*stream) {
		*stream = calloc(1, sizeof(**stream));
		if (*stream)
			(*stream)->ring = (uint16_t)cpu;
	}
	return *stream;
}

static uint32_t thread_of(struct kms_linux_recorder *r, int32_t pid)
{
	const uint64_t *found = kms_u64map_find(&r->thread, (uint32_t)pid);
	struct kms_thread *thread;

	if (found)
		return (uint32_t)*found;
	if (r->n_threads == KMS_MAX_THREADS ||
	    kms_u64map_set(&r->thread, (uint32_t)pid, r->n_threads) < 0)
		return 0;
	thread = &r->new_thread[r->n_threads];
	*thread = (struct kms_thread){.tid = (uint32_t)pid, .ready = 1};
	if (!pid)
		memcpy(thread->name, "idle", sizeof("idle"));
	return r->n_threads++;
}

/* Size and generation from what happened at the address before. */
static void follow_block(struct kms_linux_recorder *r, const struct kms_linux_event *event,
			 struct kms_linux_write *out)
{
	uint64_t *known = kms_u64map_find(&r->block, event->address);
	bool is_alloc = event->kind == KMS_LINUX_ALLOC;
	uint8_t generation = is_alloc ? FIRST_ALLOC : FIRST_FREE;

	if (known)
		generation = (uint8_t)(*known + 1);
	if (!is_alloc && !event->bytes) {
		out->bytes = known ? *known >> GENERATION_BITS
				   : kms_lx_owner_bytes(r->owners, out->cache);
		out->is_foreign = !known;
	}
	out->generation = generation;
	if (known)
		*known = out->bytes << GENERATION_BITS | generation;
	out->has_generation =
		known || (r->block.count < BLOCKS_MAX &&
			  kms_u64map_set(&r->block, event->address,
					 out->bytes << GENERATION_BITS | generation) >= 0);
}

static int write_event(struct kms_linux_recorder *r, struct kms_linux *lx, struct kms_batch *batch,
		       const struct kms_linux_event *event)
{
	struct kms_linux_stream *stream = kms_linux_recorder_stream(r, event->cpu);
	struct kms_linux_write out = {
		.time_ns = event->time_ns,
		.address = event->address,
		.bytes = event->bytes,
		.cache = KMS_NO_INDEX,
		.kind = KMS_EVENT_LOST,
	};

	if (!stream)
		return -ENOMEM;
	if (event->kind == KMS_LINUX_LOST) {
		out.bytes = event->bytes ? event->bytes : 1;
		return kms_linux_stream_put(stream, batch, &out);
	}
	if (!event->address || event->bytes > KMS_LX_IMAGE_BYTES)
		return 0; /* a kmalloc that failed, kfree(NULL), nonsense */
	out.kind = event->kind == KMS_LINUX_ALLOC ? KMS_EVENT_ALLOC : KMS_EVENT_FREE;
	out.thread = thread_of(r, event->pid);
	out.cache = kms_lx_owner_of(r->owners, lx, event);
	if (event->call_site)
		out.node = kms_linux_names_node(r->names, lx, &event->call_site, 1);
	follow_block(r, event, &out);
	return kms_linux_stream_put(stream, batch, &out);
}

/* Events up to a time, in order. What there is no memory for is counted as lost. */
static void write_until(struct kms_linux_recorder *r, struct kms_linux *lx, struct kms_batch *batch,
			uint64_t until_ns)
{
	size_t n = 0;

	qsort(r->held, r->n_held, sizeof(*r->held), by_time);
	for (; n < r->n_held && r->held[n].event.time_ns <= until_ns; n++)
		r->unwritten += write_event(r, lx, batch, &r->held[n].event) != 0;
	memmove(r->held, r->held + n, (r->n_held - n) * sizeof(*r->held));
	r->n_held -= n;
}

/* A table of fixed entries, fed as far as is told. */
struct own_table {
	uint32_t section, bytes;
	const void *entry;
	uint32_t *fed, n;
};

static int feed_table(uint32_t image, struct kms_batch *batch, const struct own_table *own)
{
	struct kms_batch_table *table;
	uint32_t count = own->n - *own->fed;

	if (!count)
		return 0;
	table = kms_batch_add_table(batch, own->section, *own->fed, count, own->bytes);
	if (!table)
		return -ENOMEM;
	table->image = image;
	memcpy(table->data, (const uint8_t *)own->entry + (size_t)*own->fed * own->bytes,
	       (size_t)count * own->bytes);
	*own->fed = own->n;
	return 0;
}

static int feed_tables(struct kms_linux_recorder *r, struct kms_batch *batch)
{
	const struct own_table own[] = {
		{KMS_SEC_THREAD, sizeof(*r->new_thread), r->new_thread, &r->threads_fed,
		 r->n_threads								       },
		{KMS_SEC_FAULT,  sizeof(*r->fault),      r->fault,      &r->faults_fed,  r->n_faults},
	};
	uint32_t image = r->target.image;
	int result = kms_linux_names_feed(r->names, image, batch);

	if (!result)
		result = kms_lx_owners_feed(r->owners, image, batch);
	for (size_t i = 0; !result && i < sizeof(own) / sizeof(own[0]); i++)
		result = feed_table(image, batch, &own[i]);
	return result;
}

static int flush(struct kms_linux_recorder *r, struct kms_batch *batch)
{
	int result = kms_linux_recorder_write_faults(r, batch);

	for (int i = 0; !result && i < KMS_LINUX_MAX_CPUS; i++) {
		struct kms_batch_ring *ring;

		if (!r->stream[i])
			continue;
		result = kms_linux_stream_flush(r->stream[i], batch);
		ring = result ? NULL : kms_batch_add_ring(batch);
		if (!ring)
			return -ENOMEM;
		ring->target = ring->image = r->target.id;
		ring->ring = (uint32_t)i;
		ring->claim = RING_CLAIM;
		ring->produced = r->stream[i]->seq;
		ring->lost = r->stream[i]->lost;
	}
	return result ? result : feed_tables(r, batch);
}

/* Events up to a time go on, and what the tables gained. */
static int pass_on(struct kms_linux_recorder *r, struct kms_linux *kernel, uint64_t until_ns,
		   struct kms_err *err)
{
	struct kms_batch *batch = kms_batch_create();
	int result = -ENOMEM;

	if (batch) {
		write_until(r, kernel, batch, until_ns);
		result = flush(r, batch);
		/* even an empty one: it moves the clock on */
		result = result ? (kms_batch_put(batch), result) : send(r, batch);
	}
	return result ? kms_err_set(err, result, "no memory for a guest's events") : 0;
}

int kms_linux_recorder_poll(struct kms_linux_recorder *r, struct kms_linux *kernel,
			    struct kms_err *err)
{
	bool full;
	int result;

	if (!r->is_on)
		return 0;
	kms_lx_owners_renew(r->owners, kernel);
	do {
		result = kms_linux_events(kernel, hold, r, err);
		full = r->n_held == RECORDER_HELD_MAX;
		if (!result || result == -ENOTSUP)
			result = pass_on(r, kernel, full ? UINT64_MAX : r->before_ns, err);
		r->before_ns = r->newest_ns;
	} while (!result && full);
	return result;
}

void kms_linux_recorder_end(struct kms_linux_recorder *r, struct kms_linux *kernel, uint32_t state,
			    uint64_t wall_ns)
{
	if (!r->is_on)
		return;
	(void)pass_on(r, kernel, UINT64_MAX, NULL); /* as far as there is memory */
	r->target.state = state;
	r->target.end_wall_ns = wall_ns;
	(void)send_target(r, NULL);
	r->is_on = false;
}

uint64_t kms_linux_recorder_stack_id(struct kms_linux_recorder *r, struct kms_linux *kernel,
				     const uint64_t *frame, int n)
{
	return r->names ? kms_stack_id(r->target.image,
				       kms_linux_names_node(r->names, kernel, frame, n))
			: 0;
}

uint64_t kms_linux_recorder_track_id(struct kms_linux_recorder *r, struct kms_linux *kernel,
				     const struct kms_linux_track *track)
{
	return r->names ? kms_stack_id(r->target.image, kms_linux_recorder_track(r, kernel, track))
			: 0;
}

int kms_linux_recorder_stack(struct kms_linux_recorder *r, uint64_t stack_id,
			     struct kms_view_stack *out, struct kms_err *err)
{
	struct kms_linux_names *names = names_of(r, kms_stack_image(stack_id));

	if (!names)
		return kms_err_set(err, -ENOENT, "no such stack");
	return kms_linux_names_stack(names, kms_stack_node(stack_id), out, err);
}

bool kms_linux_recorder_next(struct kms_linux_recorder *r, uint64_t *stack_id)
{
	uint32_t image = kms_stack_image(*stack_id), node = kms_stack_node(*stack_id);
	struct recorder_boot boot[RECORDER_BOOTS_MAX];
	uint32_t n;

	(void)pthread_mutex_lock(&r->lock);
	n = r->n_boots;
	memcpy(boot, r->boot, n * sizeof(*boot));
	(void)pthread_mutex_unlock(&r->lock);
	for (uint32_t i = 0; i < n; i++) {
		if (boot[i].image < image)
			continue;
		if (boot[i].image > image)
			node = 0;
		if (kms_linux_names_next(boot[i].names, &node)) {
			*stack_id = kms_stack_id(boot[i].image, node);
			return true;
		}
	}
	return false;
}
