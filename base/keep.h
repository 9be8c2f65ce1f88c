/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions that the compiler must leave as they are written (GNU attribute). */
#ifndef KMS_BASE_KEEP_H
#define KMS_BASE_KEEP_H

/** A function that stays one, under its own name: not inlined, copied for some of its callers, or made one with an equal one. */
#ifdef __clang__
#define KMS_KEEP_FUNCTION __attribute__((noinline)) /* clang does none of the rest */
#else
#define KMS_KEEP_FUNCTION __attribute__((noinline, noclone, no_icf))
#endif

#endif
