/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slabs of a cache as text: a line for each, its objects as a map.
 */
#ifndef KMS_TUI_SLAB_MAP_H
#define KMS_TUI_SLAB_MAP_H

#include "tui/text.h"

/** Adds the slabs of GET /api/v1/caches/{name}/slabs; bitmaps are checked. */
void kms_slab_map(struct kms_text *text, const cJSON *document);

/** Reads base64 (RFC 4648); returns the bytes written to @to, at most @room, 0 if it is none. */
size_t kms_base64_read(const char *text, unsigned char *to, size_t room);

#endif
