/* SPDX-License-Identifier: BSD-2-Clause */
/* A NetBSD kernel as what a kms_kernel_view shows: its pools as caches, with NetBSD's own figures beside. */
#ifndef KMS_TRACER_GUEST_NETBSD_SOURCE_H
#define KMS_TRACER_GUEST_NETBSD_SOURCE_H

#include "tracer/guest/kernel_view.h"
#include "tracer/guest/netbsd.h"

struct kms_netbsd_source;

/** Shape: memory and image are borrowed. NULL: no memory. Owner: kms_netbsd_source_destroy() */
struct kms_netbsd_source *kms_netbsd_source_create(struct kms_guest_memory *memory,
						   const struct kms_netbsd_image *image);

/** NULL is nothing. The view that used it has ended. */
void kms_netbsd_source_destroy(struct kms_netbsd_source *source);

/** Something for the user, one line, from the thread that reads. */
void kms_netbsd_source_say(struct kms_netbsd_source *source,
			   void (*say)(void *arg, const char *line), void *arg);

/** What a view's configuration takes. Static. */
extern const struct kms_kernel_source_ops kms_netbsd_source_ops;

#endif
