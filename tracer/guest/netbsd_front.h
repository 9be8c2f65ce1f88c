/* SPDX-License-Identifier: BSD-2-Clause */
/* `kmemscope attach` to a guest that runs a NetBSD kernel, given its file. Private to guest/run.c. */
#ifndef KMS_TRACER_GUEST_NETBSD_FRONT_H
#define KMS_TRACER_GUEST_NETBSD_FRONT_H

#include "tracer/attach_front.h"
#include "tracer/guest/kernel_view.h"
#include "tracer/guest/netbsd_source.h"
#include "tracer/guest/opened.h"

/** All zero, with a descriptor of -1 in image: not a NetBSD. */
struct kms_netbsd_front {
	bool is_netbsd;
	struct kms_netbsd_image image;
	struct kms_netbsd_source *source;
	struct kms_kernel_view *view;
};

/**
 * Looks whether a kernel's file is NetBSD's, and reads what is needed of it.
 *
 * Errors: 0: see is_netbsd; as kms_netbsd_image_open() but -ENODATA
 */
int kms_netbsd_front_look(struct kms_netbsd_front *netbsd, const char *path, struct kms_err *err);

/**
 * Looks for this kernel in the guest and starts its view.
 *
 * Errors: -EAGAIN: not there yet; as kms_kernel_view_start()
 */
int kms_netbsd_front_find(struct kms_netbsd_front *netbsd, const struct kms_attach_front *front,
			  struct kms_guest_opened *opened, struct kms_err *err);

/** Serves the view and stays. Errors: as kms_kernel_front_run() */
int kms_netbsd_front_run(struct kms_netbsd_front *netbsd, struct kms_attach_front *front,
			 struct kms_guest_opened *opened, struct kms_err *err);

/** Ends all of it. */
void kms_netbsd_front_deinit(struct kms_netbsd_front *netbsd);

#endif
