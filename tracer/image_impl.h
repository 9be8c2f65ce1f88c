/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of an image; private to image*.c. */
#ifndef KMS_TRACER_IMAGE_IMPL_H
#define KMS_TRACER_IMAGE_IMPL_H

#include "tracer/image.h"

/* image_slots.c: the processes */

/** Checks who has a slot now; a new claim becomes a new target. Errors: -EBADMSG, -EFAULT, -ENOMEM */
int kms_image_slot_look(struct kms_image *image, uint32_t slot, uint64_t now_ns,
			struct kms_err *err);
/** kms_image_slot_look() for all that may have been claimed. */
int kms_image_slots_scan(struct kms_image *image, uint64_t now_ns, struct kms_err *err);
/** Every ring was read since the last claim was seen: slots may be sent. */
void kms_image_slots_settle(struct kms_image *image);
/** No process has the region any more: all are dead. */
void kms_image_slots_all_dead(struct kms_image *image);
/** Ends targets whose process is dead and whose rings are read. */
void kms_image_slots_finish(struct kms_image *image);
/** Everybody is gone or goes on without us: the region is of no use to those who have it. */
bool kms_image_slots_left(const struct kms_image *image);
/** A target for an image that was damaged before any process of it was seen. */
void kms_image_add_corrupt_target(struct kms_image *image);
void kms_image_slots_deinit(struct kms_image *image);

/* image_stop.c: standing still */

/** The highest reason that a slot may give: a guest stands by itself also because we asked. */
static inline uint32_t kms_image_stop_max(const struct kms_image *image)
{
	return image->mirror ? KMS_STOP_REQUEST : KMS_STOP_START;
}

/** What a slot says; for kms_region_access(). */
void kms_image_copy_stop(const struct kms_slot *slot, struct kms_image_stop *out);
/** Follows what the slot says: its process is held or let go, and its target's state is set. */
void kms_image_slot_follow_stop(struct kms_image *image, uint32_t index,
				const struct kms_image_stop *stop);
/** The process is dead, or the slot another's: nothing is held for it any more. */
void kms_image_slot_forget_stop(struct kms_image *image, uint32_t index);

/* image_wanted.c: values for processes to come */

/** A new process: what was asked of its parent, or else of all, is asked of it. Errors: -EFAULT */
int kms_image_slot_inherit(struct kms_image *image, uint32_t slot, uint32_t parent_slot);

/* image_loss.c: what is not known any more */

/** Has processes that dropped events begin recording anew, so that their live set is read again. */
void kms_image_follow_loss(struct kms_image *image, uint64_t now_ns);

/* image_counters.c: figures */

enum kms_image_copy {
	KMS_IMAGE_COPY_NONE,
	KMS_IMAGE_COPY_DUE, /* by the clock */
	KMS_IMAGE_COPY_NEW, /* and those that may have changed since the last copy */
	KMS_IMAGE_COPY_ALL,
};

/** Adds counters, slots and ring figures that are due. Errors: -EBADMSG, -EFAULT, -ENOMEM */
int kms_image_counters(struct kms_image *image, uint64_t now_ns, enum kms_image_copy which,
		       struct kms_batch *batch, struct kms_err *err);
/** Books what a ring counted since the last time to its owner. Errors: -EFAULT, -ENOMEM */
int kms_image_ring_book(struct kms_image *image, struct kms_image_ring *ring, struct kms_err *err);

#endif
