/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any lines at the prompt leave it whole. Input: lines, run one after the other in one prompt; a first byte
 * of R makes it one that may only read, F one of a finished trace.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "server/test/db_lines.h"

enum {
	MAX_LINES = 64, /* an input is a session, not a day */
};

/* What a client may print: no control characters but tabs and line feeds. */
static void check_text(const char *text, const char *also)
{
	for (; *text; text++)
		assert((unsigned char)*text >= ' ' || strchr(also, *text));
}

static void check_prompt(const struct prompt *prompt)
{
	const struct kms_ddb_state *state = &prompt->state;

	check_text(kms_buf_text(&prompt->out), "\n\t");
	check_text(prompt_error(prompt), "");
	assert(prompt->out.used_bytes <= KMS_DDB_OUTPUT_BYTES);
	assert(atomic_load(&prompt->fixture.borrowed) == 0);
	assert(atomic_load(&prompt->fixture.stacks) == 0);
	assert(state->var[KMS_DDB_RADIX] == 8 || state->var[KMS_DDB_RADIX] == 10 ||
	       state->var[KMS_DDB_RADIX] == 16);
	assert(memchr(state->examine, '\0', sizeof(state->examine)));
	assert(prompt->fixture.depth <= 1 << 24);
	assert(!prompt->read_only || !prompt->fixture.who[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct prompt prompt;
	char *text = calloc(1, n + 1);
	char *line = text;
	char *end;

	assert(text);
	memcpy(text, bytes, n);
	prompt_init(&prompt, text[0] != 'F');
	prompt.read_only = text[0] == 'R';
	line += text[0] == 'F' || text[0] == 'R';
	for (int i = 0; i < MAX_LINES && *line; i++) {
		end = strchr(line, '\n');
		if (end)
			*end = '\0';
		(void)prompt_run(&prompt, line);
		check_prompt(&prompt);
		line = end ? end + 1 : line + strlen(line);
	}
	prompt_deinit(&prompt);
	free(text);
	return 0;
}
