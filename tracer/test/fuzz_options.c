/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parsers of variables on arbitrary text. The input is a list as in KMEM_OPTIONS; what was
 * accepted must be in range and read back the same, and a refusal must say why in one line.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "tracer/options.h"

static void check_values(const struct kms_options *options)
{
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		const struct kms_variable_info *info = kms_variable_info(i);

		assert(options->is_set[i] || options->value[i] == 0);
		assert(!options->is_set[i] ||
		       (options->value[i] >= info->min && options->value[i] <= info->max));
	}
}

static void check_round_trip(const struct kms_options *options)
{
	struct kms_options again = {0};
	struct kms_buf text;

	kms_buf_init(&text, 1 << 16);
	kms_options_format(options, &text);
	assert(kms_buf_status(&text) == 0);
	assert(kms_options_parse(&again, kms_buf_text(&text), NULL) == 0);
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++)
		assert(again.is_set[i] == options->is_set[i] &&
		       again.value[i] == options->value[i]);
	kms_buf_deinit(&text);
}

static void check_error(const struct kms_err *err, int result)
{
	assert(result <= 0 && err->code == result);
	assert((result == 0) == (err->text[0] == '\0'));
	assert(memchr(err->text, '\0', sizeof(err->text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kms_options list = {0}, one = {0};
	struct kms_err err = KMS_ERR_INIT;
	unsigned variable;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check_error(&err, kms_options_parse(&list, text, &err));
	check_values(&list);
	check_round_trip(&list);
	kms_err_clear(&err);
	check_error(&err, kms_options_set(&one, text, &err));
	check_values(&one);
	kms_err_clear(&err);
	check_error(&err, kms_variable_find(text, &variable, &err));
	free(text);
	return 0;
}
