/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracer's end of a guest that has our allocator inside: finds its region, again after each reset,
 * and reads and writes its memory by the kernel's own addresses.
 *
 * A boot is an image of its own. What is known of the guest beyond its memory (that its emulator has
 * ended, that it is paused) is told by whoever opened it.
 */
#ifndef KMS_TRACER_GUEST_LINK_H
#define KMS_TRACER_GUEST_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tracer/guest/find.h"
#include "tracer/guest/memory.h"
#include "tracer/guest/mirror.h"

struct kms_guest_link;
struct kms_view_symbol;

/** Shape: program, command and build id are copied; functions may be NULL. */
struct kms_guest_link_config {
	struct kms_guest_memory *memory; /* borrowed, like all that is not said to be copied */
	const char *program;             /* path of the kernel's file, "" unknown */
	const char *command;             /* of the emulator */
	const uint8_t *build_id;         /* of the kernel's file */
	uint32_t build_id_bytes;
	int emulator_fd; /* pidfd of the emulator, borrowed; -1 none */
	pid_t pid;       /* its number, by which targets are listed; 0 unknown */
	bool is_saved;   /* nothing runs there: what is in it is all that comes */
	const char *
		folder; /* for the guest's own symbols, if there is no file; borrowed; NULL nowhere */
	bool allow_write; /* memory that is no variable of ours, too */
	/** Have the machine stand, or go on. Errors: -ENOTSUP: no way to; others */
	int (*stop)(void *arg, struct kms_err *err);
	int (*resume)(void *arg, struct kms_err *err);
	/** Called at each poll: looks what the emulator says. */
	void (*turn)(void *arg, struct kms_guest_link *link, uint64_t now_ns);
	void *arg;
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/** Errors: -ENOMEM */
int kms_guest_link_create(const struct kms_guest_link_config *config, struct kms_guest_link **out,
			  struct kms_err *err);
/** NULL is allowed. */
void kms_guest_link_destroy(struct kms_guest_link *link);

/**
 * Searches some more for a region, 64 MiB of RAM at most.
 *
 * Returns 1: it is found; 0: it has not looked everywhere yet.
 * Errors: -ENOENT: it looked everywhere (err: what was in the way); as kms_guest_read()
 */
int kms_guest_link_search(struct kms_guest_link *link, struct kms_err *err);

/** The region that was found; NULL none (yet, or again). */
const struct kms_guest_region *kms_guest_link_region(const struct kms_guest_link *link);

/** Whether a tracer that lives has it already; 200 ms at most. Returns 1 yes, 0 no. Errors: as kms_guest_read() */
int kms_guest_link_is_owned(struct kms_guest_link *link, struct kms_err *err);

/** Process of the tracer that has it, as it says itself; 0 none, or of another machine. */
uint32_t kms_guest_link_owner_pid(struct kms_guest_link *link);

/**
 * To be called at each poll, under the lock of the images, like all that follows: goes on searching where
 * nothing is found, at a moderate pace.
 *
 * Returns a mirror of a boot that is new, which is the caller's; NULL: there is none.
 */
struct kms_guest_mirror *kms_guest_link_turn(struct kms_guest_link *link, uint64_t now_ns);

/** The mirror that kms_guest_link_turn() gave is of no use any more. */
void kms_guest_link_lost(struct kms_guest_link *link, enum kms_guest_mirror_over why);

/** The emulator's number; 0 unknown. Any thread. */
pid_t kms_guest_link_pid(const struct kms_guest_link *link);

/** Boots whose region was copied so far. Any thread. */
unsigned kms_guest_link_boots(const struct kms_guest_link *link);

/** Whether the last of them was recording before we came: its rings do not have all. Any thread. */
bool kms_guest_link_is_late(const struct kms_guest_link *link);

/** When the guest last did anything, on our monotonic clock; 0 never. Any thread. */
uint64_t kms_guest_link_active_ns(const struct kms_guest_link *link);
void kms_guest_link_note_active(struct kms_guest_link *link, uint64_t now_ns);

/** Nothing will ever come from this guest. */
bool kms_guest_link_is_gone(const struct kms_guest_link *link);

/** Its emulator has ended, or it was told that it is as good as that. */
bool kms_guest_link_has_ended(const struct kms_guest_link *link);
void kms_guest_link_end(struct kms_guest_link *link);

/** It goes on in another emulator: as good as ended here. Any thread. */
void kms_guest_link_move(struct kms_guest_link *link);
bool kms_guest_link_has_moved(const struct kms_guest_link *link);

/** The same, for who was told by its memory: the emulator is given a moment to end. */
bool kms_guest_link_is_ending(const struct kms_guest_link *link);

/** Nothing runs there: once it is read there is nothing more. */
bool kms_guest_link_is_saved(const struct kms_guest_link *link);

/** The machine stands still for somebody. Any thread. */
void kms_guest_link_set_paused(struct kms_guest_link *link, bool paused);
bool kms_guest_link_is_paused(const struct kms_guest_link *link);

/** Errors: -ENOTSUP: there is no way to; what the emulator says */
int kms_guest_link_stop(struct kms_guest_link *link, struct kms_err *err);
int kms_guest_link_resume(struct kms_guest_link *link, struct kms_err *err);

/** Memory by the kernel's addresses; returns how much is there from the begin on. Errors: -EFAULT, -ESRCH */
ssize_t kms_guest_link_read(struct kms_guest_link *link, uint64_t address, void *to, size_t n);

/**
 * Writes memory that is no variable of ours: where it still holds @expected. Read back.
 * Shape:  n 1, 2, 4 or 8, and aligned to it
 * Errors: -EPERM: not allowed when we attached; -EACCES: text or constants; -ESRCH; as
 *         kms_guest_poke()
 */
int kms_guest_link_write(struct kms_guest_link *link, uint64_t address, const void *expected,
			 const void *value, size_t n, struct kms_err *err);

/** Names of the kernel: as kms_view_ops.symbol and symbol_at. Errors: -ESRCH; -ENOTSUP: no file; -ENOENT */
int kms_guest_link_symbol(struct kms_guest_link *link, const char *name,
			  struct kms_view_symbol *out, struct kms_err *err);
int kms_guest_link_symbol_at(struct kms_guest_link *link, uint64_t address,
			     struct kms_view_symbol *out, struct kms_err *err);

#endif
