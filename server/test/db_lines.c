/* SPDX-License-Identifier: BSD-2-Clause */
/* A prompt over the fixture: see db_lines.h. */
#include "server/test/db_lines.h"

#include <string.h>

void prompt_init(struct prompt *prompt, bool live)
{
	memset(prompt, 0, sizeof(*prompt));
	fixture_init(&prompt->fixture, live);
	if (live) { /* the one that stands at a fault goes on */
		(void)prompt->fixture.ops.resume(&prompt->fixture, "", 0, NULL);
		prompt->fixture.target[1].stop_reason = KMS_STOP_NONE;
		prompt->fixture.target[1].stop_fault = 0;
	}
	kms_ddb_state_init(&prompt->state);
	kms_buf_init(&prompt->out, KMS_DDB_OUTPUT_BYTES);
}

void prompt_deinit(struct prompt *prompt)
{
	kms_buf_deinit(&prompt->out);
}

const char *prompt_run(struct prompt *prompt, const char *line)
{
	const struct kms_view *view = &prompt->fixture.view;
	struct kms_stacks stacks;

	kms_buf_reset(&prompt->out);
	kms_stacks_init(&stacks, view);
	prompt->db = (struct kms_ddb){.view = view,
				      .snapshot = view->ops->acquire(view->ctx),
				      .stacks = &stacks,
				      .state = &prompt->state,
				      .who = "test",
				      .read_only = prompt->read_only,
				      .end_ns = prompt->end_ns,
				      .out = &prompt->out};
	(void)kms_ddb_run(&prompt->db, line);
	view->ops->release(view->ctx, prompt->db.snapshot);
	kms_stacks_deinit(&stacks);
	return kms_buf_text(&prompt->out);
}

const char *prompt_error(const struct prompt *prompt)
{
	return prompt->db.lex.error;
}

bool prompt_holds(struct prompt *prompt, const struct prompt_row *row)
{
	const char *seen = prompt_run(prompt, row->line);
	const char *error = prompt_error(prompt);

	return (row->output ? strstr(seen, row->output) != NULL : seen[0] == '\0') &&
	       (row->error ? strncmp(error, row->error, strlen(row->error)) == 0
			   : error[0] == '\0');
}
