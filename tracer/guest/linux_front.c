/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/linux_front.h"

#include "tracer/guest/kernel_front.h"
#include "tracer/process.h"

static bool is_over(void *view)
{
	return kms_linux_view_is_over(view);
}

/* In the order in which they borrow from each other. */
static int end(struct kms_attach_front *front, struct kms_guest_entry *entry, struct kms_err *err)
{
	int result = 0;

	if (front->server && front->config->serve_stop)
		front->config->serve_stop(front->server);
	front->server = NULL;
	if (entry->opened.pidfd >= 0 && kms_process_has_ended(entry->opened.pidfd))
		kms_linux_view_end(entry->linux_view);
	kms_linux_view_record_end(entry->linux_view);
	if (front->tracer)
		result = kms_tracer_finish(front->tracer, err);
	kms_linux_view_stop(entry->linux_view);
	entry->linux_view = NULL;
	kms_tracer_destroy(front->tracer);
	front->tracer = NULL;
	kms_session_destroy(&front->session);
	return result;
}

int kms_linux_front_run(struct kms_attach_front *front, struct kms_guest_entry *entry,
			struct kms_err *err)
{
	struct kms_err later = KMS_ERR_INIT;
	int result = kms_attach_front_output(front, err);

	front->origin = kms_linux_view_origin(entry->linux_view);
	if (!result)
		result = kms_attach_front_session(front, err);
	if (!result)
		result = kms_attach_front_start(front, err);
	if (!result)
		result = kms_linux_view_record(entry->linux_view, front->tracer, err);
	if (!result && front->config->started)
		front->config->started(front->config->say_arg, front->result);
	if (!result)
		kms_kernel_front_stay(front, &entry->opened, is_over, entry->linux_view);
	front->result->store_failed = end(front, entry, &later) < 0;
	if (front->result->store_failed)
		kms_attach_front_say((void *)front->config, later.text); /* only read */
	return result;
}
