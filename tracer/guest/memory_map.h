/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the RAM of a guest lies, from what QEMU's `info mtree -f` prints. */
#ifndef KMS_TRACER_GUEST_MEMORY_MAP_H
#define KMS_TRACER_GUEST_MEMORY_MAP_H

#include <stddef.h>

#include "base/err.h"
#include "tracer/guest/layout.h"

enum kms_memory_map_bounds {
	KMS_MEMORY_MAP_NAMES = 16,
	KMS_MEMORY_MAP_NAME_BYTES = 64,
};

/** Blocks that are RAM: other memory (of a graphics card, of firmware) is left out. */
struct kms_memory_map {
	char name[KMS_MEMORY_MAP_NAMES][KMS_MEMORY_MAP_NAME_BYTES];
	unsigned names;
};

/** Adds the names that `info memdev` prints: "memory backend: NAME" at the begin of lines. */
void kms_memory_map_add_names(struct kms_memory_map *map, const char *text);

/**
 * Reads the flat view of the address space "memory"; places are offsets in the block of each.
 *
 * The window of the graphics card and the shadowed ROMs in the first MiB are taken as RAM: there
 * is RAM behind them, and one stretch is one read.
 *
 * Errors: -EPROTO: no such view, or none that makes sense; -ENOTSUP: in too many pieces
 */
int kms_memory_map_parse(const struct kms_memory_map *map, const char *text,
			 struct kms_guest_layout *layout, struct kms_err *err);

#endif
