/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of <string.h> that the guest has (string.c). */
#ifndef KMS_GUEST_STRING_H
#define KMS_GUEST_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
int strcmp(const char *a, const char *b);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
size_t strcspn(const char *s, const char *stop);
char *strrchr(const char *s, int c);

#endif
