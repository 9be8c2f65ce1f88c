/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/entry.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "schema/variables.h"
#include "tracer/guest/kernel_front.h"
#include "tracer/process.h"
#include "tracer/tracer.h"

enum {
	FIRST_MS = 3000, /* a region that was found is read within a moment */
	AGAIN_MS = 5,    /* between tries to open an emulator that starts */
	TORN_MS = 1000,  /* between looks at memory that may still be coming */
};

static const uint64_t patience_ns = 10000000000; /* for that, where nobody says that it does */

static const uint64_t linux_pause_ns =
	500000000; /* while waiting for a kernel: it takes a search of its own */
static const uint64_t linux_pause_share =
	10; /* or so many times as long as that took, where a guest stands for it */

static const uint64_t linux_first_ns =
	5000000000; /* and such a one is given so long to boot ours */

/* The file that the user names, or the one that the emulator was given: that may be no ELF file. */
static int find_kernel_file(struct kms_guest_entry *entry, struct kms_err *err)
{
	const char *given = entry->opened.guest->kernel;

	if (entry->config.kernel)
		return kms_kernel_file_look(entry->config.kernel, &entry->kernel, err);
	if (given[0] && kms_kernel_file_look(given, &entry->kernel, NULL))
		memset(&entry->kernel, 0, sizeof(entry->kernel));
	return 0;
}

int kms_guest_entry_open(struct kms_guest_entry *entry, const struct kms_guest_entry_config *config,
			 uint64_t patience_ms, struct kms_err *err)
{
	uint64_t end_ns = kms_mono_ns() + patience_ms * UINT64_C(1000000);
	int result;

	entry->config = *config;
	entry->opened.say = config->say;
	entry->opened.say_arg = config->say_arg;
	entry->opened.allow_write = config->allow_write;
	for (;;) {
		result = kms_guest_opened_open(config->target, &entry->opened, err);
		if (!result || result == -ESRCH || kms_mono_ns() >= end_ns ||
		    (result != -ENOENT && patience_ms <= KMS_GUEST_ENTRY_YOUNG_MS))
			break;
		kms_err_clear(err);
		(void)poll(NULL, 0, AGAIN_MS);
	}
	if (result)
		return result;
	if (entry->opened.guest->memory->pauses)
		entry->linux_ns = kms_mono_ns() + linux_first_ns;
	entry->pid = entry->opened.guest->emulator.pid;
	return find_kernel_file(entry, err);
}

int kms_guest_entry_prepare(struct kms_guest_entry *entry, const char *command, const char *folder,
			    struct kms_err *err)
{
	struct kms_guest_link_config config = {
		.program = entry->kernel.path,
		.command = command,
		.folder = folder,
		.allow_write = entry->config.allow_write,
		.say = entry->config.say,
		.say_arg = entry->config.say_arg,
	};
	int result;

	entry->command = command;
	config.build_id = entry->kernel.build_id;
	config.build_id_bytes = entry->kernel.build_id_bytes;
	kms_guest_opened_describe(&entry->opened, &config);
	result = kms_guest_link_create(&config, &entry->link, err);
	if (!result)
		kms_guest_link_set_paused(entry->link, entry->opened.guest->is_paused);
	return result;
}

/* Errors: as kms_linux_view_start() */
static int start_linux(struct kms_guest_entry *entry, struct kms_err *err)
{
	char folder[PATH_MAX];
	struct kms_linux_view_config config = {
		.linux_options = {.cache_folder = kms_kernel_front_folder(folder),
				  .is_still = entry->opened.is_saved},
		.command = entry->command,
		.pid = entry->pid,
		.allow_write = entry->config.allow_write && !entry->opened.is_saved,
		.say = entry->config.say,
		.say_arg = entry->config.say_arg,
	};

	kms_guest_opened_describe_linux(&entry->opened, &config);
	return kms_linux_view_start(&config, &entry->linux_view, err);
}

/*
 * Nobody's kernel of ours: maybe a Linux. 1: it is one; 0: none (yet).
 * Errors: -ENOTSUP: it is one that is not known
 */
static int look_for_linux(struct kms_guest_entry *entry, struct kms_err *err)
{
	struct kms_err own = KMS_ERR_INIT;
	uint64_t began_ns = kms_mono_ns(), pause_ns;
	int result;

	if (entry->config.kernel || entry->config.ours_only)
		return 0; /* the user means a kernel with our allocator */
	if (began_ns < entry->linux_ns)
		return 0;
	result = start_linux(entry, &own);
	pause_ns = entry->opened.guest->memory->pauses
			   ? (kms_mono_ns() - began_ns) * linux_pause_share
			   : 0;
	entry->linux_ns = kms_mono_ns() + (pause_ns > linux_pause_ns ? pause_ns : linux_pause_ns);
	if (result == -ENOTSUP && err)
		*err = own;
	if (result == -ENOTSUP)
		return result;
	return !result;
}

int kms_guest_entry_look(struct kms_guest_entry *entry, struct kms_err *err)
{
	int result, other;

	if (kms_guest_is_coming(entry->opened.guest))
		return kms_err_set(err, -ENOENT, "the guest is not all there");
	result = kms_guest_link_search(entry->link, err);
	other = result == -ENOENT ? look_for_linux(entry, err) : 0;

	if (other > 0)
		kms_err_clear(err);
	return other ? other : result;
}

int kms_guest_entry_check_owner(struct kms_guest_entry *entry, struct kms_err *err)
{
	int result = kms_guest_link_is_owned(entry->link, err);

	if (result == 1)
		return kms_err_set(err, -EBUSY,
				   "the guest of pid %d is traced already, by process %u: "
				   "`kmemscope status` names the session",
				   (int)entry->pid, kms_guest_link_owner_pid(entry->link));
	return result;
}

/* Whether the kernel was read, and what was read makes no sense. */
static bool is_torn(const struct kms_view *view)
{
	const struct kms_snapshot *snapshot = view->ops->acquire(view->ctx);
	bool torn = false;

	for (size_t i = 0; i < snapshot->n_targets; i++)
		torn |= snapshot->target[i].state == KMS_STATE_CORRUPT;
	view->ops->release(view->ctx, snapshot);
	return torn;
}

/*
 * Until its slot has been seen: what is asked of all is asked of it from then on.
 * Errors: -EAGAIN: it makes no sense
 */
static int await_target(const struct kms_view *view, uint64_t end_ns, struct kms_err *err)
{
	uint64_t requested, effective;
	bool pending;

	while (view->ops->variable_get(view->ctx, 0, KMS_VAR_TRACE, &requested, &effective,
				       &pending, NULL) == -ESRCH &&
	       kms_mono_ns() < end_ns) {
		if (is_torn(view))
			return kms_err_set(err, -EAGAIN,
					   "what is in the guest's memory makes no sense");
		(void)poll(NULL, 0, 1); /* the reader is about to */
	}
	return 0;
}

/* A beginning from which all is known, where the guest was recording before; and our values. */
static int begin_late(struct kms_tracer *tracer, const struct kms_options *options, uint64_t end_ns,
		      struct kms_err *err)
{
	int result = -ESRCH;

	while (result == -ESRCH && kms_mono_ns() < end_ns) {
		kms_err_clear(err);
		result = kms_tracer_resync(tracer, options, err);
		if (result)
			(void)poll(NULL, 0, 1);
	}
	return result;
}

int kms_guest_entry_begin(struct kms_guest_entry *entry, struct kms_tracer *tracer,
			  const struct kms_options *options, struct kms_err *err)
{
	uint64_t end_ns = kms_mono_ns() + FIRST_MS * UINT64_C(1000000);
	const struct kms_view view = kms_tracer_view(tracer);
	int result = 0;

	if (entry->opened.is_saved)
		return 0;
	result = await_target(&view, end_ns, err);
	if (!result && kms_guest_link_is_late(entry->link))
		result = begin_late(tracer, options, end_ns, err);
	if (result == -ESRCH && is_torn(&view))
		result = kms_err_set(err, -EAGAIN, "what is in the guest's memory makes no sense");
	entry->boots = kms_guest_link_boots(entry->link);
	for (unsigned i = 0; !result && i < KMS_VARIABLE_COUNT; i++) {
		if (options->is_set[i])
			kms_tracer_want(tracer, i, options->value[i]);
	}
	return result;
}

bool kms_guest_entry_is_again(struct kms_guest_entry *entry, int result)
{
	struct pollfd ended = {.fd = entry->opened.pidfd, .events = POLLIN};
	uint64_t now = kms_mono_ns();

	if (!entry->again_ns)
		entry->again_ns = now + patience_ns;
	if (result != -EAGAIN || now >= entry->again_ns || poll(&ended, 1, TORN_MS) > 0)
		return false;
	kms_guest_entry_close(entry);
	*entry = (struct kms_guest_entry){.again_ns = entry->again_ns};
	return true;
}

void kms_guest_entry_turn(struct kms_guest_entry *entry, struct kms_tracer *tracer)
{
	unsigned boots = kms_guest_link_boots(entry->link);

	if (boots == entry->boots || entry->opened.is_saved)
		return;
	/* -ESRCH: its slot was not seen yet; the next turn asks again */
	if (!kms_guest_link_is_late(entry->link) ||
	    kms_tracer_resync(tracer, &(struct kms_options){0}, NULL) != -ESRCH)
		entry->boots = boots;
}

void kms_guest_entry_close(struct kms_guest_entry *entry)
{
	kms_linux_view_stop(entry->linux_view);
	kms_guest_link_destroy(entry->link);
	if (entry->opened.guest)
		kms_guest_opened_close(&entry->opened);
	entry->linux_view = NULL;
	entry->link = NULL;
}
