/* SPDX-License-Identifier: BSD-2-Clause */
/* How near two names are: for "did you mean ...?". */
#ifndef KMS_BASE_NEAR_H
#define KMS_BASE_NEAR_H

#include <stddef.h>

enum {
	KMS_NEAR_BYTES = 120, /* a longer name is near to nothing */
};

/**
 * Characters that must be put in, left out, exchanged for others or swapped with their neighbours to make
 * b of a.
 *
 * Returns most + 1 where there are more than @most, and where a name is too long.
 */
size_t kms_near_distance(const char *a, const char *b, size_t most);

#endif
