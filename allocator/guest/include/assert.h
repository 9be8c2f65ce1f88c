/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KMS_GUEST_ASSERT_H
#define KMS_GUEST_ASSERT_H

#include "allocator/guest/console.h"

#define KMS_ASSERT_TEXT_(n) #n
#define KMS_ASSERT_TEXT(n)  KMS_ASSERT_TEXT_(n)

#define assert(condition)                                                                          \
	((condition) ? (void)0                                                                     \
		     : kms_guest_die("assertion \"" #condition "\" failed: " __FILE__              \
				     ":" KMS_ASSERT_TEXT(__LINE__)))

#endif
