/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of <stdint.h> that the guest's code uses, the same for every compiler. */
#ifndef KMS_GUEST_STDINT_H
#define KMS_GUEST_STDINT_H

typedef __INT8_TYPE__ int8_t;
typedef __INT16_TYPE__ int16_t;
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __UINTPTR_TYPE__ uintptr_t;

#define INT64_C(c)  c##L
#define UINT32_C(c) c##U
#define UINT64_C(c) c##UL

#define INT16_MIN   (-32767 - 1)
#define INT16_MAX   32767
#define INT32_MAX   2147483647
#define UINT8_MAX   255
#define UINT16_MAX  65535
#define UINT32_MAX  4294967295U
#define INT64_MAX   9223372036854775807L
#define UINT64_MAX  18446744073709551615UL
#define SIZE_MAX    UINT64_MAX
#define PTRDIFF_MAX INT64_MAX

#endif
