/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The poll loop: see reader.h.
 *
 * Pace: a poll costs the program cache misses and the machine a wake-up, so it is done as seldom as
 * the rings allow. A ring may be a quarter full when we come; if it was fuller, the time to the next
 * poll is halved, if it was nearly empty it grows. A producer that nevertheless meets a full ring
 * waits at most one interval. Without events the interval grows to 20 ms.
 */
#include "tracer/reader.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/batch_build.h"
#include "tracer/process.h"

enum {
	BATCH_BYTES = 2 << 20,
	HELD_BYTES = 64 << 20,
	MAX_FREE = 4,      /* emptied batches kept for reuse: their memory is warm */
	MAX_OUT = 1 << 14, /* batches that may be out at once */
};

static const uint64_t poll_min_ns = 200000;
static const uint64_t poll_busy_ns = 4000000; /* ticks stay within 5 ms */
static const uint64_t poll_idle_ns = 20000000;
static const uint64_t partial_ns = 5000000;
static const uint64_t clock_ns = 100000000; /* an empty batch tells the time */

struct kms_reader {
	struct kms_reader_config config;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint_fast64_t sync_asked;
	atomic_uint_fast64_t holds;
	/* of the thread */
	uint64_t sync_done;
	uint64_t interval_ns;
	uint64_t emitted_ns;
	bool is_holding;
	struct kms_images_state told;
	struct kms_batch
		*out[MAX_OUT]; /* n_out sent and perhaps still in use; ours is one reference */
	size_t n_out;
	size_t out_bytes;
	struct kms_batch *free[MAX_FREE];
	size_t n_free;
};

/* Takes back what all consumers have given back. */
static void collect(struct kms_reader *reader)
{
	size_t keep = 0;

	reader->out_bytes = 0;
	for (size_t i = 0; i < reader->n_out; i++) {
		struct kms_batch *batch = reader->out[i];

		/* pairs with the release in kms_batch_put(): its holders are done with it */
		if (atomic_load_explicit(&batch->refs, memory_order_acquire) > 1) {
			reader->out_bytes += batch->bytes;
			reader->out[keep++] = batch;
		} else if (reader->n_free < MAX_FREE) {
			reader->free[reader->n_free++] = batch;
		} else {
			kms_batch_put(batch);
		}
	}
	reader->n_out = keep;
}

static struct kms_batch *new_batch(struct kms_reader *reader)
{
	if (!reader->n_free)
		return kms_batch_create();
	kms_batch_reset(reader->free[--reader->n_free]);
	return reader->free[reader->n_free];
}

static bool may_copy(struct kms_reader *reader)
{
	collect(reader);
	if (reader->out_bytes < reader->config.held_bytes && reader->n_out < MAX_OUT - 2) {
		reader->is_holding = false;
		return true;
	}
	if (!reader->is_holding)
		atomic_fetch_add(&reader->holds, 1);
	reader->is_holding = true;
	return false;
}

/* Sends a batch and remembers it; consumers without memory are asked again: nothing is left out. */
static void emit(struct kms_reader *reader, struct kms_batch *batch, enum kms_batch_what what,
		 uint64_t now_ns)
{
	batch->what = what;
	batch->time_ns = now_ns;
	while (reader->config.emit(reader->config.emit_arg, batch) == -ENOMEM)
		kms_images_wait(reader->config.images, poll_idle_ns);
	reader->emitted_ns = now_ns;
	reader->out[reader->n_out++] = batch;
	reader->out_bytes += batch->bytes;
}

static void emit_data(struct kms_reader *reader, struct kms_batch *batch, uint64_t now_ns)
{
	emit(reader, batch,
	     batch->n_blocks || !batch->n_targets ? KMS_BATCH_DATA : KMS_BATCH_TARGET, now_ns);
}

/* An empty batch of its own kind. */
static void emit_mark(struct kms_reader *reader, enum kms_batch_what what)
{
	struct kms_batch *batch;

	while ((batch = new_batch(reader)) == NULL)
		kms_images_wait(reader->config.images, poll_idle_ns);
	emit(reader, batch, what, kms_mono_ns());
}

static void adapt(struct kms_reader *reader, const struct kms_images_news *news)
{
	uint64_t ns = reader->interval_ns;

	if (!news->any) {
		ns += ns / 2;
		reader->interval_ns = ns < poll_idle_ns ? ns : poll_idle_ns;
		return;
	}
	if (ns > poll_busy_ns)
		ns = poll_busy_ns;
	if (news->fill > 0.25)
		ns /= news->fill > 0.5 ? 4 : 2;
	else if (news->fill < 0.12)
		ns += ns / 4;
	ns = ns < poll_min_ns ? poll_min_ns : ns;
	reader->interval_ns = ns < poll_busy_ns ? ns : poll_busy_ns;
}

/* One poll of all images; *more: there is more to copy at once. Errors: -ENOMEM */
static int poll_once(struct kms_reader *reader, uint64_t part_ns, struct kms_images_news *news)
{
	struct kms_images_ask ask = {
		.now_ns = kms_mono_ns(), .partial_ns = part_ns, .batch_bytes = BATCH_BYTES};
	struct kms_batch *batch = new_batch(reader);
	int result;

	if (!batch)
		return -ENOMEM;
	result = kms_images_poll(reader->config.images, &ask, batch, news);
	if (news->any || ask.now_ns - reader->emitted_ns >= clock_ns)
		emit_data(reader, batch, ask.now_ns);
	else if (reader->n_free < MAX_FREE)
		reader->free[reader->n_free++] = batch;
	else
		kms_batch_put(batch);
	return result;
}

/* Polls until there is nothing more; at the memory limit only hearts beat. */
static void poll_all(struct kms_reader *reader, uint64_t part_ns, struct kms_images_news *sum)
{
	struct kms_images_news news;

	*sum = (struct kms_images_news){0};
	do {
		if (!may_copy(reader)) {
			kms_images_beat(reader->config.images);
			reader->interval_ns = poll_min_ns * 5;
			return;
		}
		if (poll_once(reader, part_ns, &news))
			return;
		sum->any |= news.any;
		sum->fill = news.fill > sum->fill ? news.fill : sum->fill;
	} while (news.more);
}

/* Everything that is there, also when memory is short: waits for consumers. */
static void poll_to_the_end(struct kms_reader *reader)
{
	struct kms_images_news news;

	do {
		poll_all(reader, 0, &news);
		if (reader->is_holding)
			kms_images_wait(reader->config.images, poll_min_ns * 5);
	} while (reader->is_holding);
}

static void answer_sync(struct kms_reader *reader)
{
	uint64_t asked = atomic_load(&reader->sync_asked);

	if (asked == reader->sync_done)
		return;
	poll_to_the_end(reader);
	while (reader->sync_done < asked) {
		emit_mark(reader, KMS_BATCH_SYNC);
		reader->sync_done++;
	}
}

static void tell_changes(struct kms_reader *reader)
{
	struct kms_images_state now;

	if (!reader->config.changed)
		return;
	kms_images_state(reader->config.images, &now);
	if (now.open == reader->told.open && now.live == reader->told.live &&
	    now.unfinished == reader->told.unfinished && now.in_flight == reader->told.in_flight &&
	    now.changed_ns == reader->told.changed_ns &&
	    now.first_seen == reader->told.first_seen &&
	    now.first_allocates == reader->told.first_allocates)
		return;
	reader->told = now;
	reader->config.changed(reader->config.emit_arg);
}

static void *run(void *arg)
{
	struct kms_reader *reader = arg;
	struct kms_images_news news;

	while (!atomic_load(&reader->stop)) {
		poll_all(reader, partial_ns, &news);
		if (!reader->is_holding)
			adapt(reader, &news);
		answer_sync(reader);
		tell_changes(reader);
		kms_images_wait(reader->config.images, reader->interval_ns);
	}
	poll_to_the_end(reader);
	emit_mark(reader, KMS_BATCH_END);
	return NULL;
}

struct kms_reader *kms_reader_start(const struct kms_reader_config *config, struct kms_err *err)
{
	struct kms_reader *reader = calloc(1, sizeof(*reader));
	int result;

	if (!reader) {
		(void)kms_err_set(err, -ENOMEM, "no memory for the reader"); /* caller sees NULL */
		return NULL;
	}
	reader->config = *config;
	if (!reader->config.held_bytes)
		reader->config.held_bytes = HELD_BYTES;
	reader->interval_ns = poll_min_ns;
	result = pthread_create(&reader->thread, NULL, run, reader);
	if (result) {
		(void)kms_err_sys(err, -result, "start the reader", NULL); /* as above */
		free(reader);
		return NULL;
	}
	(void)pthread_setname_np(reader->thread, "kms-reader"); /* cosmetic */
	return reader;
}

void kms_reader_end(struct kms_reader *reader)
{
	if (!reader)
		return;
	atomic_store(&reader->stop, true);
	kms_images_wake(reader->config.images);
	(void)pthread_join(reader->thread, NULL); /* joined once */
}

void kms_reader_free(struct kms_reader *reader)
{
	if (!reader)
		return;
	for (size_t i = 0; i < reader->n_out; i++)
		kms_batch_put(reader->out[i]);
	for (size_t i = 0; i < reader->n_free; i++)
		kms_batch_put(reader->free[i]);
	free(reader);
}

uint64_t kms_reader_sync(struct kms_reader *reader)
{
	uint64_t number = atomic_fetch_add(&reader->sync_asked, 1) + 1;

	kms_images_wake(reader->config.images);
	return number;
}

uint64_t kms_reader_holds(struct kms_reader *reader)
{
	return atomic_load(&reader->holds);
}
