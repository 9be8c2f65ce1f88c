/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdint.h>
#include <string.h>

void *memcpy(void *to, const void *from, size_t bytes)
{
	void *at = to;
	size_t words = bytes / 8;
	size_t rest = bytes % 8;

	__asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(rest) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	if ((uintptr_t)d - (uintptr_t)s >= bytes)
		return memcpy(to, from, bytes);
	while (bytes-- > 0)
		d[bytes] = s[bytes];
	return to;
}

void *memset(void *to, int value, size_t bytes)
{
	uint64_t word = (uint64_t)(uint8_t)value * UINT64_C(0x0101010101010101);
	void *at = to;
	size_t words = bytes / 8;
	size_t rest = bytes % 8;

	__asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(word) : "memory");
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(rest) : "a"(word) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < bytes; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	size_t length = strlen(a);

	return memcmp(a, b, (strnlen(b, length) == length ? length : strnlen(b, length)) + 1);
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

size_t strlen(const char *s)
{
	return strnlen(s, SIZE_MAX);
}

size_t strcspn(const char *s, const char *stop)
{
	size_t n;

	for (n = 0; s[n]; n++) {
		for (const char *c = stop; *c; c++) {
			if (s[n] == *c)
				return n;
		}
	}
	return n;
}

char *strrchr(const char *s, int c)
{
	for (size_t n = strlen(s) + 1; n-- > 0;) {
		if (s[n] == (char)c)
			return (char *)(uintptr_t)(s + n);
	}
	return NULL;
}
