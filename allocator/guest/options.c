/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/options.h"

#include <string.h>

#include "allocator/control.h"
#include "allocator/guest/console.h"

enum {
	VALUE_BYTES = 64,
	WORD_BYTES = 128,
};

static const char *next_word(const char *at, size_t *length)
{
	while (*at == ' ')
		at++;
	*length = strcspn(at, " ");
	return at;
}

bool kms_options_has(const char *options, const char *word)
{
	size_t wanted = strlen(word), length;

	for (options = next_word(options, &length); length;
	     options = next_word(options + length, &length)) {
		if (length == wanted && memcmp(options, word, wanted) == 0)
			return true;
	}
	return false;
}

bool kms_options_text(const char *options, const char *name, char *value, size_t bytes)
{
	size_t wanted = strlen(name), length;

	for (options = next_word(options, &length); length;
	     options = next_word(options + length, &length)) {
		if (length <= wanted || options[wanted] != '=' ||
		    memcmp(options, name, wanted) != 0)
			continue;
		length -= wanted + 1;
		if (length >= bytes)
			return false;
		memcpy(value, options + wanted + 1, length);
		value[length] = '\0';
		return true;
	}
	return false;
}

uint64_t kms_options_number(const char *options, const char *name, uint64_t otherwise)
{
	char text[VALUE_BYTES];
	const char *at = text;
	unsigned base = 10;
	uint64_t value = 0;

	if (!kms_options_text(options, name, text, sizeof(text)) || !*at)
		return otherwise;
	if (at[0] == '0' && at[1] == 'x') {
		base = 16;
		at += 2;
	}
	for (; *at; at++) {
		unsigned digit = (unsigned char)*at - '0';

		if (base == 16 && digit > 9)
			digit = (unsigned)((*at | 32) - 'a') + 10;
		if (digit >= base)
			return otherwise;
		value = value * base + digit;
	}
	return value;
}

static void complain(const char *item, size_t length, const char *reason)
{
	char text[WORD_BYTES];

	if (length >= sizeof(text))
		length = sizeof(text) - 1;
	memcpy(text, item, length);
	text[length] = '\0';
	kms_console_printf("options: '%s': %s\n", text, reason);
}

void kms_options_set_variables(struct kms_heap *heap, const char *options)
{
	char word[WORD_BYTES];
	size_t length;

	for (options = next_word(options, &length); length;
	     options = next_word(options + length, &length)) {
		if (length >= sizeof(word) || memcmp(options, "kmem_", 5) != 0)
			continue;
		memcpy(word, options, length);
		word[length] = '\0';
		(void)kms_control_parse(heap, word, complain);
	}
}
