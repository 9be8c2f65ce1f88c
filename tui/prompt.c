/* SPDX-License-Identifier: BSD-2-Clause */
#include "tui/prompt.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

enum {
	BODY_BYTES = 1 << 20,
};

void kms_prompt_name(char session[KMS_PROMPT_SESSION_BYTES])
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(session, KMS_PROMPT_SESSION_BYTES, "cli-%ld-%llx%09lx", (long)getpid(),
		 (unsigned long long)now.tv_sec, (unsigned long)now.tv_nsec);
}

char *kms_prompt_body(const char *line, size_t n, const char *session)
{
	struct kms_buf body;

	kms_buf_init(&body, BODY_BYTES);
	kms_buf_add_str(&body, "{\"line\":");
	kms_buf_add_json(&body, line, n);
	kms_buf_addf(&body, ",\"session\":\"%s\"}", session);
	if (kms_buf_status(&body) < 0)
		kms_buf_reset(&body);
	return kms_buf_take(&body);
}
