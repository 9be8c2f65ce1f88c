/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything that can be asked of a Linux guest, for tests with damaged memory: nothing is compared. */
#ifndef KMS_TRACER_GUEST_TEST_LINUX_ALL_H
#define KMS_TRACER_GUEST_TEST_LINUX_ALL_H

#include "tracer/guest/linux.h"
#include "tracer/guest/test/fake_linux.h"

static inline int linux_all_pass(void *arg, const struct kms_linux_event *event)
{
	(void)event;
	return ++*(unsigned *)arg > 100000;
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
		(void)kms_linux_refresh_caches(kernel, NULL);
		(void)kms_linux_refresh_sites(kernel, i * 1000000000, NULL);
		(void)kms_linux_events(kernel, linux_all_pass, &events, NULL);
	}
	site = kms_linux_sites(kernel, &n);
	for (size_t i = 0; i < n && i < 16; i++) {
		(void)kms_linux_stack(kernel, site[i].handle, frame, NULL);
		(void)kms_linux_name(kernel, site[i].call_site, &name, &offset, &module);
	}
	(void)kms_linux_kfence(kernel, &kfence, NULL, NULL, NULL);
	(void)kms_linux_check(kernel, NULL);
	kms_linux_close(kernel);
	return true;
}

#endif
