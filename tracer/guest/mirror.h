/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A copy of a guest's region in memory of our own, kept up to date in both directions: what the guest
 * wrote comes in by kms_guest_mirror_pull(), what the tracer wrote into the copy goes out by
 * kms_guest_mirror_push(). Everything above reads the copy as it reads the region of a process, so
 * there is one reader, with one set of checks, for both.
 *
 * The copy is a sealed memfd: nobody can cut it short. Its layout is the guest's, but for the strings,
 * which lie behind all the rest with room for some of ours (the path of the kernel's file).
 *
 * A pull takes the order of schema/region.h: descriptions of rings, then blocks, then slots and
 * tables, then counters, and last the magic, the image id and our own heart once more. Only then is
 * anything put into the copy: what was read while the guest was reset, or while a snapshot was loaded
 * into it, is not seen by anybody. An entry that has a
 * ready word is read twice: it counts if it was ready the first time, and what counts is what was read
 * the second time, so no order within one read is asked for.
 *
 * A guest that has to stand while it is read (a gdb stub) is looked at twice a second, and written to
 * then, or when somebody asks for something.
 *
 * What a pull costs is bounded by the region's checked layout, not by what the guest says happened.
 */
#ifndef KMS_TRACER_GUEST_MIRROR_H
#define KMS_TRACER_GUEST_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/find.h"
#include "tracer/guest/memory.h"

/** Why a mirror is not kept up any more. */
enum kms_guest_mirror_over {
	KMS_MIRROR_LIVES = 0,
	KMS_MIRROR_RESET = 1,   /* another boot has the memory */
	KMS_MIRROR_REWOUND = 2, /* the same boot at an earlier moment: a snapshot was loaded */
	KMS_MIRROR_TAKEN = 3,   /* another tracer writes its heartbeat there */
	KMS_MIRROR_GONE = 4,    /* the memory cannot be read any more */
	KMS_MIRROR_LEFT = 5,    /* we let it go on without us */
};

/** Shape: everything is borrowed for the call but memory, which is for as long as the mirror is. */
struct kms_guest_mirror_config {
	struct kms_guest_memory *memory;
	const struct kms_guest_region *region;
	const char *program; /* path of the kernel's file, "" unknown */
	bool is_blob;        /* that is the guest's own symbols: their build id is another one */
	const char *command; /* of the emulator, "" unknown */
	bool is_saved;       /* nothing runs there: one pull has all; nothing is written */
};

struct kms_guest_mirror;

/**
 * Makes the copy; nothing of the guest's history is in it before the first pull. A former tracer's
 * positions and requests are.
 *
 * Errors: as kms_guest_read(); -EFBIG, -ENOMEM, -EMFILE
 */
int kms_guest_mirror_create(const struct kms_guest_mirror_config *config,
			    struct kms_guest_mirror **out, struct kms_err *err);
/** NULL is allowed. */
void kms_guest_mirror_destroy(struct kms_guest_mirror *mirror);

/** A descriptor of the copy, for kms_region_open_fd(). Owner: the caller closes it. Errors: -EMFILE */
int kms_guest_mirror_fd(const struct kms_guest_mirror *mirror);

/** What a pull brought. */
struct kms_guest_mirror_news {
	bool any;  /* the guest did something since the last pull */
	bool more; /* blocks are left: pull again */
};

/**
 * Brings the copy up to date. With @all everything, else what has changed or is due.
 *
 * One that is over (see kms_guest_mirror_over()) stays as it was.
 */
void kms_guest_mirror_pull(struct kms_guest_mirror *mirror, uint64_t now_ns, bool all,
			   struct kms_guest_mirror_news *news);

/** Writes to the guest what the tracer has changed in the copy: heart, positions, requests. */
void kms_guest_mirror_push(struct kms_guest_mirror *mirror);

/** Nothing runs there any more; what a last pull has brought is all. */
void kms_guest_mirror_end(struct kms_guest_mirror *mirror);

/** Gives the guest back: nobody owns it then, and its producers do not wait for us. */
void kms_guest_mirror_leave(struct kms_guest_mirror *mirror);

enum kms_guest_mirror_over kms_guest_mirror_over(const struct kms_guest_mirror *mirror);

/** Whether the guest was recording before we came, so that its rings are not all of its history. */
bool kms_guest_mirror_is_late(const struct kms_guest_mirror *mirror);

/**
 * Whether a tracer that lives has a guest: its heart is looked at for 200 ms at most.
 * Errors: as kms_guest_read(). Returns 1 yes, 0 no.
 */
int kms_guest_region_is_owned(struct kms_guest_memory *memory,
			      const struct kms_guest_region *region, struct kms_err *err);

#endif
