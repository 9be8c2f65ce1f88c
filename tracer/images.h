/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All images of a run: watches the folder in which targets make their regions, opens what appears,
 * polls what is open, and removes what is over.
 *
 * One thread polls; kms_images_request() and its like may come from others (one lock, held for a
 * poll).
 */
#ifndef KMS_TRACER_IMAGES_H
#define KMS_TRACER_IMAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tracer/base.h"
#include "tracer/batch.h"

struct kms_images;
struct kms_memory_write;
struct kms_view_symbol;
struct kms_guest_link;

/** Names the run's folder in the environment of its processes. */
#define KMS_RUN_VARIABLE "KMEMSCOPE_RUN"

/** Files with this beginning are regions: img-PID-RANDOM.kmr. */
#define KMS_REGION_PREFIX "img-"

/** Shape: strings are borrowed for the call; say may be NULL and is called by the polling thread. */
struct kms_images_config {
	const char *dir;
	pid_t first_pid; /* the program's own process; 0 unknown */
	bool first_only; /* leave every other process out */
	void (*say)(void *arg, const char *line);
	void *say_arg;
	/** See struct kms_image_env. */
	void (*base)(void *arg, const struct kms_base_want *want);
	void *base_arg;
	struct kms_guest_link *guest; /* a guest that is read, too; borrowed; NULL none */
};

/** Errors: NULL with -ENOENT, -EMFILE, -ENOMEM, ... */
struct kms_images *kms_images_create(const struct kms_images_config *config, struct kms_err *err);
/** NULL is allowed. Regions that are still in use stay in the folder. */
void kms_images_destroy(struct kms_images *images);

/** How to poll. */
struct kms_images_ask {
	uint64_t now_ns;
	uint64_t partial_ns; /* see kms_ring_ask */
	size_t batch_bytes;
};

/** What a poll found. */
struct kms_images_news {
	bool any;    /* the batch is not empty */
	bool more;   /* it is full: poll again at once */
	double fill; /* of the fullest ring, before it was read */
};

/**
 * Adds everything new of all images to the batch.
 * Errors: -ENOMEM: what is in the batch is good; poll again
 */
int kms_images_poll(struct kms_images *images, const struct kms_images_ask *ask,
		    struct kms_batch *batch, struct kms_images_news *news);

/** Moves the hearts of all images without reading any: the tracer lives, but has no room. */
void kms_images_beat(struct kms_images *images);

/**
 * Sleeps until a region appears, a process ends, kms_images_wake() is called or the time is over.
 * Takes note of what happened; the next poll acts on it.
 */
void kms_images_wait(struct kms_images *images, uint64_t timeout_ns);

/** Ends a kms_images_wait(), the present one or the next. Any thread; async-signal-safe. */
void kms_images_wake(struct kms_images *images);

/** How a process ended, as its parent was told. Any thread. */
void kms_images_exited(struct kms_images *images, pid_t pid, int32_t wait_status);

/**
 * Whether a process belongs to the run: it has an image and lives, as far as is known, or has just
 * ended, or is waited for. Any thread.
 */
bool kms_images_has(struct kms_images *images, pid_t pid);

/** State of the run as of the last poll. Any thread. */
struct kms_images_state {
	uint32_t open;        /* images that are not over */
	uint32_t live;        /* processes that live */
	uint32_t opened;      /* images so far */
	uint32_t unfinished;  /* files that may yet become regions */
	uint32_t in_flight;   /* processes that execute a program which has no region yet */
	uint32_t stand;       /* processes that stand still */
	bool first_seen;      /* a region of first_pid was there */
	bool first_allocates; /* and it has allocated something */
	bool first_left;      /* and the process goes on without us */
	bool guest_over;      /* nothing more comes from the guest; without one, never */
	uint64_t changed_ns;  /* when an image was last opened or closed */
};

void kms_images_state(struct kms_images *images, struct kms_images_state *out);

/**
 * Looks for processes of the run that have made no region: they have its folder in their environment
 * (KMEMSCOPE_RUN). Reads /proc, some 20 us a process: for the end of a run. They are then waited for.
 *
 * Returns how many are waited for, and how many more there may be, which only another call can tell
 * (kms_process_each_with). Any thread.
 */
uint32_t kms_images_find_tree(struct kms_images *images);

/** Value of a variable in one target, or in the first that lives for target 0. Any thread. */
struct kms_images_variable {
	uint64_t requested; /* 0 if is_requested is not set */
	uint64_t effective;
	uint32_t status; /* enum kms_ack_status of the last answer */
	bool is_requested;
	bool is_pending; /* requested, and not yet answered */
};

/** Errors: -ESRCH: no such target, or it is over; -EFAULT */
int kms_images_variable(struct kms_images *images, uint32_t target, unsigned variable,
			struct kms_images_variable *out, struct kms_err *err);

/** A piece of memory of another process. */
struct kms_images_piece {
	uint64_t address;
	void *to; /* bytes */
	size_t bytes;
};

/**
 * Copies memory of a target that lives, or for target 0 of the first that does. *n_read may be less
 * than asked for: the rest is not mapped, or beyond what is read at a time (1 MiB). Any thread.
 *
 * Errors: -ESRCH: no such target, or it is over; -EFAULT: nothing is there; -EPERM: not allowed
 */
int kms_images_memory(struct kms_images *images, uint32_t target,
		      const struct kms_images_piece *piece, size_t *n_read, struct kms_err *err);

/**
 * Writes memory of a guest: see kms_view_ops.memory_write. Any thread.
 * Errors: -ESRCH; -EPERM; -EAGAIN, ... as kms_guest_link_write()
 */
int kms_images_memory_write(struct kms_images *images, const struct kms_memory_write *write,
			    struct kms_err *err);

/**
 * Names of a guest's kernel: see kms_view_ops.symbol and symbol_at. Any thread.
 * Errors: -ESRCH; -ENOTSUP; -ENOENT
 */
int kms_images_symbol(struct kms_images *images, uint32_t target, const char *name,
		      struct kms_view_symbol *out, struct kms_err *err);
int kms_images_symbol_at(struct kms_images *images, uint32_t target, uint64_t address,
			 struct kms_view_symbol *out, struct kms_err *err);

/**
 * Asks one target, or with target 0 all that live, to go on without us: at its next allocator call.
 * A region that is asked for and not left when the images are closed is removed from the folder.
 * Any thread. Errors: as kms_images_request()
 */
int kms_images_leave(struct kms_images *images, uint32_t target, struct kms_err *err);

/**
 * Asks one target, or with target 0 all that live and those that come later, to set a variable. Any
 * thread.
 * Errors: as above, but that nobody lives yet is none if those that come later have it, too; the
 *         value's range is the caller's to check
 */
int kms_images_request(struct kms_images *images, uint32_t target, unsigned variable,
		       uint64_t value, struct kms_err *err);

/** kms_images_request() for target 0 of a variable that is no command. Any thread. */
void kms_images_want(struct kms_images *images, unsigned variable, uint64_t value);

/**
 * Has one target, or with target 0 all that live, stand still; waits until they do. Any thread.
 * Errors: -ESRCH as above; -EALREADY; -EPERM: the system does not permit it; -ENOTSUP: a process of
 *         another pid namespace
 */
int kms_images_stop(struct kms_images *images, uint32_t target, struct kms_err *err);

/**
 * Lets targets go on that stand, whatever for; waits until they do. Any thread.
 * Errors: -ESRCH; -EALREADY; -ETIMEDOUT: a thread that stands by itself does not answer, the others go
 */
int kms_images_resume(struct kms_images *images, uint32_t target, struct kms_err *err);

#endif
