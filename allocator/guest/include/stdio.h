/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of <stdio.h> that the guest has (format.c). */
#ifndef KMS_GUEST_STDIO_H
#define KMS_GUEST_STDIO_H

#include <stdarg.h>
#include <stddef.h>

/** As C's, for d, i, u, x, p, s, c and %, with l, ll, z, a width and a leading 0. */
int vsnprintf(char *to, size_t bytes, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));
int snprintf(char *to, size_t bytes, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
