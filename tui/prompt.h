/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a prompt sends: a line, and who it is, so that its next line finds what this one set ($radix, the
 * target, the command that an empty line repeats).
 */
#ifndef KMS_TUI_PROMPT_H
#define KMS_TUI_PROMPT_H

#include <stddef.h>

enum {
	KMS_PROMPT_SESSION_BYTES = 64, /* a name and its NUL */
};

/** A name for a prompt that no other has: not even of an earlier process with this pid. */
void kms_prompt_name(char session[KMS_PROMPT_SESSION_BYTES]);

/** The body of POST /api/v1/db for @n bytes of a line. The caller frees it; NULL without memory. */
char *kms_prompt_body(const char *line, size_t n, const char *session);

#endif
