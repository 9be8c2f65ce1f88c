/* SPDX-License-Identifier: BSD-2-Clause */
/* The set of images; private to images*.c. */
#ifndef KMS_TRACER_IMAGES_IMPL_H
#define KMS_TRACER_IMAGES_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "tracer/image.h"
#include "tracer/images.h"

/** A file that was seen and is not an image (yet). */
struct pending {
	struct kms_list link;
	char name[KMS_IMAGE_NAME_BYTES];
	uint64_t since_ns;
	bool is_refused; /* it will never be one */
};

/** A process of the run that has no region; see images_flight.c. */
struct in_flight {
	struct kms_list link;
	int pidfd;
	uint32_t pid;
	uint64_t until_ns; /* then it is given up; UINT64_MAX never */
};

struct kms_images {
	pthread_mutex_t lock; /* guards all below but the descriptors */
	struct kms_image_env env;
	struct kms_targets targets;
	struct kms_list list;      /* struct kms_image */
	struct kms_list pending;   /* struct pending */
	struct kms_list in_flight; /* struct in_flight */
	struct kms_images_state state;
	int dir_fd;
	int folder_fd; /* inotify */
	int wake_fd;
	bool rescan_now;
	atomic_bool look_now; /* somebody stands still or goes on: look at all slots at once */
	uint64_t rescan_ns;
	char *environment; /* what every process of the run has in its environment: "NAME=FOLDER" */
	bool untraced_said;
};

/* images_variables.c; need the lock */

/** The next live process that is meant (0: all), after *image and *slot; false: no more. *image NULL: the first. */
bool kms_images_next_slot(struct kms_images *images, uint32_t target, struct kms_image **image,
			  uint32_t *slot);
/** Sets -ESRCH. */
int kms_images_not_there(uint32_t target, struct kms_err *err);

/** struct kms_image_env.guest_memory; takes the lock. */
ssize_t kms_images_guest_memory(void *arg, uint64_t address, void *to, size_t n);

/* images_flight.c */

void kms_images_drop_flight(struct in_flight *one);
/** Waits for the next region of each process that lives on after its image. */
void kms_images_note_flights(struct kms_images *images, struct kms_image *image, uint64_t now_ns);
/** Forgets processes that ended, have a region by now, or were waited for long enough. */
void kms_images_check_flights(struct kms_images *images, uint64_t now_ns);

#endif
