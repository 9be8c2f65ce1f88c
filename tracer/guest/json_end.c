/* SPDX-License-Identifier: BSD-2-Clause */
/* Ends of JSON objects: see json_end.h. */
#include "tracer/guest/json_end.h"

#include <errno.h>

/* Inside of a string. */
static void step_string(struct kms_json_end *end, char c)
{
	if (end->is_escaped)
		end->is_escaped = false;
	else if (c == '\\')
		end->is_escaped = true;
	else if (c == '"')
		end->is_in_string = false;
}

/* Outside of one. Returns whether the object has ended. */
static bool step(struct kms_json_end *end, char c)
{
	if (c == '"')
		end->is_in_string = true;
	else if (c == '{' || c == '[')
		end->depth++;
	else if (c == '}' || c == ']')
		return --end->depth == 0;
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int kms_json_end_find(struct kms_json_end *end, const char *buffer, size_t n_bytes, size_t *bytes)
{
	while (end->at < n_bytes) {
		char c = buffer[end->at];

		if (end->depth == 0 && c != '{' && !is_blank(c))
			return -EPROTO;
		end->at++;
		if (end->is_in_string) {
			step_string(end, c);
		} else if (step(end, c)) {
			*bytes = end->at;
			return 1;
		}
	}
	return 0;
}
