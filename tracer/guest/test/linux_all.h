/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything that can be asked of a Linux guest, for tests with damaged memory: nothing is compared. */
#ifndef KMS_TRACER_GUEST_TEST_LINUX_ALL_H
#define KMS_TRACER_GUEST_TEST_LINUX_ALL_H

#include <stdlib.h>

#include "tracer/block.h"
#include "tracer/guest/linux.h"
#include "tracer/guest/linux_record.h"
#include "tracer/guest/test/fake_linux.h"

static inline int linux_all_pass(void *arg, const struct kms_linux_event *event)
{
	(void)event;
	return ++*(unsigned *)arg > 100000;
}

/* What a damaged guest is made into must still be well formed: aborts if it is not. */
static inline int linux_all_feed(void *arg, struct kms_batch *batch)
{
	static struct kms_event event[KMS_SEQ_PER_BLOCK];
	size_t n;

	(void)arg;
	for (size_t i = 0; i < batch->n_blocks; i++)
		if (kms_block_decode(&batch->block[i].block, event, KMS_SEQ_PER_BLOCK, &n))
			abort();
	return 0;
}

static inline int linux_all_object(void *arg, const struct kms_linux_kfence_object *object)
{
	(void)object;
	return ++*(unsigned *)arg > 100000;
}

static inline int linux_all_slab(void *arg, const struct kms_linux_slab *slab)
{
	if (slab->live > slab->objects || !slab->bitmap)
		abort();
	return ++*(unsigned *)arg > 10000;
}

/* Events on their way into a trace, and findings. */
static inline void linux_all_record(struct kms_linux *kernel)
{
	struct kms_linux_recorder *recorder = kms_linux_recorder_create(linux_all_feed, NULL);
	const struct kms_batch_target target = {.id = 1, .name = "Linux", .command = "qemu"};
	const struct kms_linux_damage *damage;
	size_t n;

	if (!recorder)
		return;
	damage = kms_linux_damages(kernel, &n);
	if (!kms_linux_recorder_begin(recorder, kernel, &target, NULL)) {
		for (size_t i = 0; i < n; i++)
			(void)kms_linux_recorder_fault(recorder, kernel, &damage[i], NULL, 0);
		for (int i = 0; i < 3; i++)
			(void)kms_linux_recorder_poll(recorder, kernel, NULL);
		kms_linux_recorder_end(recorder, kernel, 3, 1);
	}
	kms_linux_recorder_destroy(recorder);
}

/* Single objects: of each cache the first slabs, and what is beside the linear map. */
static inline void linux_all_objects(struct fake_linux *fake, struct kms_linux *kernel)
{
	struct kms_linux_object object;
	char line[2][KMS_LINUX_REPORT_BYTES];
	unsigned slabs = 0;
	size_t n;

	(void)kms_linux_caches(kernel, &n);
	for (uint32_t i = 0; i <= n && i < 8; i++)
		(void)kms_linux_each_slab(kernel, i, linux_all_slab, &slabs, NULL);
	for (uint64_t at = 0; at < FAKE_RAM_BYTES + 8192; at += 31 * 4096 + 72)
		(void)kms_linux_object_at(kernel, fake->linear + at, &object, NULL);
	(void)kms_linux_object_at(kernel, 0, &object, NULL);
	(void)kms_linux_object_at(kernel, UINT64_MAX, &object, NULL);
	(void)kms_linux_reports(kernel, "BUG: ", line, 2);
}

/** Opens a kernel and asks it all; whether it could be opened. */
static inline bool linux_all(struct fake_linux *fake)
{
	struct kms_linux_options options = {.is_still = true, .old_events = true};
	const struct kms_linux_site *site;
	struct kms_linux_kfence kfence;
	struct kms_linux *kernel = NULL;
	uint64_t frame[KMS_LINUX_MAX_FRAMES], offset;
	const char *name, *module;
	unsigned events = 0;
	size_t n;

	if (kms_linux_open(fake->ram.memory, &options, &kernel, NULL))
		return false;
	for (uint64_t i = 1; i <= 2; i++) {
		kms_linux_set_thorough(kernel, i == 2);
		(void)kms_linux_refresh_caches(kernel, NULL);
		(void)kms_linux_refresh_sites(kernel, i * 1000000000, NULL);
		(void)kms_linux_events(kernel, linux_all_pass, &events, NULL);
	}
	site = kms_linux_sites(kernel, &n);
	for (size_t i = 0; i < n && i < 16; i++) {
		(void)kms_linux_stack(kernel, site[i].handle, frame, NULL);
		(void)kms_linux_name(kernel, site[i].call_site, &name, &offset, &module);
	}
	linux_all_objects(fake, kernel);
	linux_all_record(kernel);
	(void)kms_linux_kfence(kernel, &kfence, linux_all_object, &events, NULL);
	(void)kms_linux_check(kernel, NULL);
	kms_linux_close(kernel);
	return true;
}

#endif
