/* SPDX-License-Identifier: BSD-2-Clause */
/* The way of the public calls to a heap and a local: in a process, or in a guest kernel. */
#ifndef KMS_ALLOCATOR_FRONT_H
#define KMS_ALLOCATOR_FRONT_H

#ifdef KMS_GUEST
#include "allocator/guest/front.h"
#else
#include "allocator/port/process.h"
#endif

#endif
