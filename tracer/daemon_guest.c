/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests of the daemon. A guest is a run as a process is: one with our allocator has a tracer and a
 * trace, an unmodified Linux is shown and nothing is stored. What `attach` does in its own process the
 * run's thread does here, by the same functions (guest/entry.h).
 *
 * The daemon's death does nothing to a guest. Its run's folder is marked with the emulator's number, so
 * the next daemon finds the note in it, and attaches again.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/daemon_impl.h"
#include "tracer/process.h"

enum {
	STEP_MS = 50,
	LEAVE_MS = 1000,
	ENDING_MS = 300,
};

/* Suits a kernel that was not started by us: it is not to wait for us, and not to stop at damage. */
static const char start_values[] = "on_full=0,panic=0";

static bool is_ending(const struct daemon_run *run)
{
	return atomic_load(&run->daemon->ending);
}

/*
 * By its emulator's number, where there is one: whatever was asked for, that is where it is found again.
 * Others compare with both: see check_same().
 */
static void name_target(struct daemon_run *run)
{
	struct daemon_guest *guest = run->guest;

	(void)pthread_mutex_lock(&run->daemon->lock);
	run->pid = guest->entry.pid;
	if (run->pid)
		snprintf(guest->target, sizeof(guest->target), "qemu:pid:%ld", (long)run->pid);
	(void)pthread_mutex_unlock(&run->daemon->lock);
}

/* Who may have the socket or the file may not yet have the emulator. */
static int check_emulator(const struct daemon_run *run, struct kms_err *err)
{
	const struct kms_guest_opened *opened = &run->guest->entry.opened;
	char what[64];

	if (opened->guest->emulator.pid) {
		snprintf(what, sizeof(what), "process %ld (%.32s)", (long)run->guest->entry.pid,
			 opened->guest->emulator.program);
		return daemon_guest_check_user(opened->guest->emulator.uid, what, err);
	}
	if (opened->guest->gdb)
		return kms_err_set(err, -ENOTSUP,
				   "%.200s: whose guest that is cannot be told; `kmemscope attach` "
				   "takes it",
				   run->guest->target);
	return 0;
}

/* Its folder, marked before anything can end us. */
static int make_folder(struct daemon_run *run, struct kms_err *err)
{
	int result = 0;

	if (!run->run_dir[0])
		result = kms_session_run_folder(&run->daemon->session, run->name, run->pid,
						run->run_dir, err);
	if (result || !run->pid)
		return result;
	kms_session_run_folder_mark(run->run_dir, run->pid, run->started_mono_ns);
	daemon_note_write(run);
	return 0;
}

static int open_guest(struct daemon_run *run, struct kms_err *err)
{
	struct daemon_guest *guest = run->guest;
	const struct kms_guest_entry_config config = {
		.target = guest->target,
		.say = daemon_run_say,
		.say_arg = run,
	};
	int result = kms_guest_entry_open(&guest->entry, &config, KMS_GUEST_ENTRY_YOUNG_MS, err);

	if (!result)
		result = check_emulator(run, err);
	if (result)
		return result;
	if (!run->is_adopted || !run->started_mono_ns) {
		run->started_mono_ns = kms_mono_ns();
		run->started_wall_ns = kms_wall_ns();
	}
	name_target(run);
	snprintf(run->name, sizeof(run->name), "%s", guest->entry.opened.name);
	if (run->pid)
		daemon_attach_read_command(run);
	result = make_folder(run, err);
	return result ? result
		      : kms_guest_entry_prepare(&guest->entry, run->command, run->run_dir, err);
}

/* Whether it makes no sense to wait any longer; after @wait_ms at most. */
static int wait_more(struct daemon_run *run, int wait_ms, struct kms_err *err)
{
	struct pollfd ended = {.fd = run->guest->entry.opened.pidfd, .events = POLLIN};

	if (is_ending(run))
		return kms_err_set(err, -ECANCELED, "the daemon ends");
	if (poll(&ended, 1, wait_ms) > 0)
		return kms_err_set(err, -ESRCH,
				   "%s ended before a kernel with our allocator was in it",
				   run->name);
	return 0;
}

/* Looks for the kernel as long as it takes; who asked for it is not kept waiting for that. */
static int await_kernel(struct daemon_run *run, struct kms_err *err)
{
	struct kms_guest_entry *entry = &run->guest->entry;
	bool said = false;
	int result;

	for (;;) {
		result = kms_guest_entry_look(entry, err);
		if (result == 1)
			return 0;
		/* an emulator that is ending loses its memory first: that it ends says more */
		if (result < 0 && (result != -ENOENT || entry->opened.is_saved))
			return wait_more(run, ENDING_MS, err) ? err->code : result;
		if (result == -ENOENT && !said) {
			char line[KMS_ERR_TEXT_BYTES + 64];

			said = true;
			snprintf(line, sizeof(line), "%s yet: waiting for it", err->text);
			daemon_run_say(run, line);
			daemon_attach_done(run, NULL);
		}
		kms_err_clear(err);
		result = wait_more(run, result ? KMS_GUEST_ENTRY_LOOK_MS : 0, err);
		if (result)
			return result;
	}
}

int daemon_guest_find(struct daemon_run *run, struct kms_err *err)
{
	int result = open_guest(run, err);

	if (!result)
		result = await_kernel(run, err);
	if (!result && !run->guest->entry.linux_view)
		result = kms_guest_entry_check_owner(&run->guest->entry, err);
	return result;
}

int daemon_guest_begin(struct daemon_run *run, struct kms_err *err)
{
	struct kms_options options = {0};
	int result = kms_options_parse(&options, start_values, err);

	if (!result)
		result = kms_guest_entry_begin(&run->guest->entry, run->tracer, &options, err);
	if (!result && run->ask)
		kms_tracer_attached(run->tracer, run->ask->who, run->pid, &options);
	if (!result && run->ask && run->ask->stop)
		result = daemon_attach_stop(run, err);
	return result;
}

void daemon_guest_leave(struct daemon_run *run)
{
	uint64_t end_ns = kms_mono_ns() + LEAVE_MS * UINT64_C(1000000);

	if (kms_tracer_leave(run->tracer, 0, NULL))
		return; /* nobody is there any more */
	while (kms_mono_ns() < end_ns && kms_tracer_wait(run->tracer, STEP_MS) != KMS_TRACER_OVER)
		continue;
}

/* Until its emulator ends, its memory is gone, somebody lets it go, or the daemon ends. */
static void stay_with_linux(struct daemon_run *run)
{
	struct kms_guest_entry *entry = &run->guest->entry;
	struct pollfd ended = {.fd = entry->opened.pidfd, .events = POLLIN};

	while (!is_ending(run) && !kms_linux_view_is_over(entry->linux_view)) {
		if (poll(&ended, 1, STEP_MS) > 0)
			kms_linux_view_end(entry->linux_view);
	}
}

void daemon_guest_show_linux(struct daemon_run *run)
{
	struct kms_linux_view *view = run->guest->entry.linux_view;
	struct kms_fleet_source source = {.view = kms_linux_view_ops(view), .is_live = true};
	struct kms_err err = KMS_ERR_INIT;
	int result = kms_fleet_add(run->daemon->fleet, &source, &run->number, &err);

	if (!result && run->ask && run->ask->stop)
		result = source.view.ops->stop(source.view.ctx, run->ask->who, 0, &err);
	if (result == -EALREADY)
		result = 0;
	daemon_attach_done(run, result ? &err : NULL);
	if (!result) {
		daemon_run_say(run, "a Linux is in the guest: it is shown, nothing is stored");
		stay_with_linux(run);
		source.is_live = false;
		result = kms_fleet_replace(run->daemon->fleet, run->number, &source, &err);
	}
	if (!result)
		return;
	daemon_run_say(run, err.text);
	if (run->number)
		kms_fleet_remove(run->daemon->fleet, run->number);
	kms_guest_entry_close(&run->guest->entry);
}

/* Whether the next daemon is to look for it: the guest lives, and it is we who go. */
static bool is_to_be_found(const struct daemon_run *run)
{
	const struct kms_guest_entry *entry = &run->guest->entry;

	return is_ending(run) && entry->opened.pidfd >= 0 &&
	       !kms_process_has_ended(entry->opened.pidfd);
}

void daemon_guest_close(struct daemon_run *run)
{
	if (run->run_dir[0] && run->pid && !is_to_be_found(run))
		kms_session_run_folder_unmark(run->run_dir, run->pid, run->started_mono_ns);
	if (!run->guest->entry.linux_view)
		kms_guest_entry_close(&run->guest->entry);
	else if (kms_linux_view_is_over(run->guest->entry.linux_view))
		/* the last picture is shown on; others may have the emulator, its QMP socket first of all */
		kms_guest_opened_close(&run->guest->entry.opened);
}

void daemon_guest_free(struct daemon_guest *guest)
{
	if (!guest)
		return;
	kms_guest_entry_close(&guest->entry);
	free(guest);
}
