/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks of a Linux kernel with the names of their functions, as a trie of nodes like that of a region
 * (schema/region.h). Names are looked up when a frame is first seen: a module may be gone later.
 */
#ifndef KMS_TRACER_GUEST_LINUX_NAMES_H
#define KMS_TRACER_GUEST_LINUX_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/batch.h"
#include "tracer/guest/linux.h"

enum {
	KMS_LINUX_NODES_MAX = 1 << 18,
};

struct kms_linux_names;

/** NULL: no memory. */
struct kms_linux_names *kms_linux_names_create(void);
/** NULL is allowed. */
void kms_linux_names_destroy(struct kms_linux_names *names);

/**
 * Node of a stack, innermost frame first. One thread; what follows may be called from others meanwhile.
 * Returns 0 for no frames, and where there is no room.
 */
uint32_t kms_linux_names_node(struct kms_linux_names *names, struct kms_linux *kernel,
			      const uint64_t *frame, int n);

/** Adds the nodes that are new to a batch; same thread. Errors: -ENOMEM: they are added the next time */
int kms_linux_names_feed(struct kms_linux_names *names, uint32_t image, struct kms_batch *batch);

/** Frames of a node. Owner: the caller frees out->frame, names and all. Errors: -ENOENT, -ENOMEM */
int kms_linux_names_stack(struct kms_linux_names *names, uint32_t node, struct kms_view_stack *out,
			  struct kms_err *err);

/** The stack that became known after *node (0: the first). False: none yet. */
bool kms_linux_names_next(struct kms_linux_names *names, uint32_t *node);

#endif
