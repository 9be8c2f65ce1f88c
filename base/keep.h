/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions that the compiler must leave as they are written (GNU attribute). */
#ifndef KMS_BASE_KEEP_H
#define KMS_BASE_KEEP_H

/** A function that stays one, under its own name: neither inlined nor copied for some of its callers. */
#ifdef __clang__
#define KMS_KEEP_FUNCTION __attribute__((noinline)) /* clang makes no copies */
#else
#define KMS_KEEP_FUNCTION __attribute__((noinline, noclone))
#endif

#endif
