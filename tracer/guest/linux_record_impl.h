/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a recorder; private to linux_record*.c. */
#ifndef KMS_TRACER_GUEST_LINUX_RECORD_IMPL_H
#define KMS_TRACER_GUEST_LINUX_RECORD_IMPL_H

#include <pthread.h>

#include "tracer/guest/linux_encode.h"
#include "tracer/guest/linux_impl.h"
#include "tracer/guest/linux_names.h"
#include "tracer/guest/linux_owner.h"
#include "tracer/guest/linux_record.h"
#include "tracer/u64map.h"

enum kms_linux_recorder_bounds {
	RECORDER_HELD_MAX = 1 << 18, /* events of one look */
	RECORDER_BOOTS_MAX = 64,
};

/* An event until it goes on. */
struct recorder_held {
	struct kms_linux_event event;
	uint64_t order; /* in which it was read */
};

/* A boot's own. */
struct recorder_boot {
	uint32_t image;
	struct kms_linux_names *names;
};

struct kms_linux_recorder {
	int (*feed)(void *arg, struct kms_batch *batch);
	void *arg;
	pthread_mutex_t lock; /* guards boot[] and n_boots */
	struct recorder_boot boot[RECORDER_BOOTS_MAX];
	uint32_t n_boots;
	bool is_on;    /* the last of them lives */
	bool is_begun; /* its ring was taken up */
	struct kms_batch_target target;
	struct kms_linux_names *names;
	struct kms_lx_owners *owners;
	struct kms_linux_stream *stream[KMS_LINUX_MAX_CPUS];
	struct recorder_held *held; /* RECORDER_HELD_MAX */
	size_t n_held;
	uint64_t order;
	uint64_t newest_ns, before_ns; /* time of the newest event, and as of the look before */
	struct kms_u64map block;       /* address: bytes and generation */
	struct kms_u64map thread;      /* pid: index */
	struct kms_thread *new_thread; /* KMS_MAX_THREADS */
	uint32_t n_threads, threads_fed;
	struct kms_fault *fault; /* KMS_MAX_FAULTS */
	uint32_t n_faults, faults_fed;
	uint64_t unwritten; /* for want of memory */
};

/** Stream of a CPU, made when it is first needed; NULL: no memory. */
struct kms_linux_stream *kms_linux_recorder_stream(struct kms_linux_recorder *r, uint32_t cpu);

/* linux_record_fault.c */

/** What the guest's trace clock shows, as far as its ticks tell; 0 unknown. */
uint64_t kms_linux_guest_now(struct kms_linux *lx);
/** Node of a track's stack; 0 none. */
uint32_t kms_linux_recorder_track(struct kms_linux_recorder *r, struct kms_linux *kernel,
				  const struct kms_linux_track *track);
/** Puts an event of each new finding into the first CPU's stream. Errors: -ENOMEM */
int kms_linux_recorder_write_faults(struct kms_linux_recorder *r, struct kms_batch *batch);

#endif
