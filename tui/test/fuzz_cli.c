/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * No command line breaks the option parser. Input: words, each ended by a line feed; the first names
 * the command whose table is used.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "tui/cli.h"

enum {
	WORDS = 64,
};

/* Splits at line feeds; the words end with NULL. */
static size_t split(char *text, char **words)
{
	size_t n = 0;
	char *end;

	for (; n < WORDS && *text; text = end) {
		end = text + strcspn(text, "\n");
		if (*end)
			*end++ = '\0';
		words[n++] = text;
	}
	words[n] = NULL;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	char *text = calloc(1, n + 1);
	char *words[WORDS + 1];
	const struct kms_command *command;
	struct kms_parsed parsed;
	struct kms_err err = KMS_ERR_INIT;
	size_t n_words;
	void *values;
	int ret;

	assert(text);
	memcpy(text, bytes, n);
	n_words = split(text, words);
	command = n_words ? kms_cli_find(words[0]) : NULL;
	if (command && command->options) {
		values = malloc(command->values_bytes + 1);
		assert(values);
		kms_opt_init(command->options, values, command->values_bytes);
		ret = kms_opt_parse(command->options, command->stop_at_argument, words + 1, values,
				    &parsed, &err);
		assert(ret == 0 || (err.code == ret && err.text[0]));
		assert(parsed.n_args >= 0 && (size_t)parsed.n_args < n_words);
		for (int i = 0; ret == 0 && !parsed.help && i < parsed.n_args; i++)
			assert(parsed.args[i]);
		kms_opt_deinit(command->options, values);
		free(values);
	}
	free(text);
	return 0;
}
