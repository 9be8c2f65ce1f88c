/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way into a guest: its emulator is opened, a kernel is looked for in its memory, and the tracer
 * that was started on it is given a beginning. The same for `attach` and for the daemon, which wait
 * each in their own way.
 */
#ifndef KMS_TRACER_GUEST_ENTRY_H
#define KMS_TRACER_GUEST_ENTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/guest/kernel_file.h"
#include "tracer/guest/link.h"
#include "tracer/guest/linux_view.h"
#include "tracer/guest/opened.h"
#include "tracer/options.h"

enum kms_guest_entry_times {
	KMS_GUEST_ENTRY_LOOK_MS = 20, /* between looks for a kernel that boots */
	KMS_GUEST_ENTRY_YOUNG_MS =
		1000, /* an emulator that starts has no memory so long, at most */
};

struct kms_tracer;

/** Shape: everything is borrowed for as long as the entry is; texts may be NULL, say too. */
struct kms_guest_entry_config {
	const char *target; /* "qemu:pid:N", "qemu:SOCKET", "ram:FILE[+OFFSET]", "gdb:ADDRESS" */
	const char
		*kernel; /* its file, with symbols; NULL: the one the emulator was given, or none */
	bool ours_only;  /* a Linux is not looked for */
	bool allow_write; /* memory of the guest that is no variable of ours, too */
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/** One guest on its way. All zero before kms_guest_entry_open(). Its user's alone. */
struct kms_guest_entry {
	struct kms_guest_entry_config config;
	struct kms_guest_opened opened;
	struct kms_kernel_file kernel;
	const char *command;         /* of the emulator; borrowed from kms_guest_entry_prepare() */
	pid_t pid;                   /* likewise its number; 0 unknown */
	struct kms_guest_link *link; /* to a kernel with our allocator */
	struct kms_linux_view *linux_view; /* or what there is: an unmodified Linux */
	uint64_t linux_ns;                 /* when one is looked for again */
	uint64_t
		again_ns; /* until when a beginning that fails is tried again; 0: none has failed */
	unsigned boots;   /* of the link, as of the last kms_guest_entry_turn() */
};

/**
 * Opens the guest, and looks for its kernel's file. An emulator that was started a moment ago has no memory yet, or is not even one:
 * so for @patience_ms it is tried again.
 *
 * Errors: as kms_guest_opened_open(); of the kernel's file that was named, as kms_kernel_file_look(); then kms_guest_entry_close() is still to be called
 */
int kms_guest_entry_open(struct kms_guest_entry *entry, const struct kms_guest_entry_config *config,
			 uint64_t patience_ms, struct kms_err *err);

/**
 * Makes the link through which a kernel is found.
 *
 * Shape:  command: of the emulator, "" unknown; folder: for the guest's own symbols. Both are borrowed
 *         for as long as the entry is, and folder may be filled later, before the tracer starts.
 * Errors: -ENOMEM
 */
int kms_guest_entry_prepare(struct kms_guest_entry *entry, const char *command, const char *folder,
			    struct kms_err *err);

/**
 * Looks for a kernel, some 64 MiB of RAM at a time.
 *
 * Returns 1: entry->linux_view is set, or the link has found its region; 0: there is more to be looked at.
 * Errors: -ENOENT: it looked everywhere, or its memory is still coming from elsewhere (again after
 *         KMS_GUEST_ENTRY_LOOK_MS); -ENOTSUP: a Linux that is not known; as kms_guest_read()
 */
int kms_guest_entry_look(struct kms_guest_entry *entry, struct kms_err *err);

/** Whether another tracer has the kernel that was found. Errors: -EBUSY: it has; as kms_guest_read() */
int kms_guest_entry_check_owner(struct kms_guest_entry *entry, struct kms_err *err);

/**
 * Gives a tracer that was just started on the link its beginning: waits until it sees the kernel, has it
 * begin recording anew where it had been recording before, and sets @options in it.
 *
 * Errors: -EAGAIN: what was found makes no sense (yet): its memory may still be coming from elsewhere.
 *         Then tracer and entry are of no use, see kms_guest_entry_is_again(); -ESRCH: it has gone
 *         again; as kms_tracer_resync()
 */
int kms_guest_entry_begin(struct kms_guest_entry *entry, struct kms_tracer *tracer,
			  const struct kms_options *options, struct kms_err *err);

/**
 * Whether a guest whose beginning failed with @result is worth another try: it lives, and it was not
 * tried for long. Waits a moment then, and closes the entry, which is to be opened anew.
 */
bool kms_guest_entry_is_again(struct kms_guest_entry *entry, int result);

/**
 * To be called now and then while it is traced: a kernel that went back to an earlier state of itself
 * (a snapshot) was recording then, and begins anew.
 */
void kms_guest_entry_turn(struct kms_guest_entry *entry, struct kms_tracer *tracer);

/** Frees all of it. The tracer must have ended; the Linux view is not in use any more. */
void kms_guest_entry_close(struct kms_guest_entry *entry);

#endif
