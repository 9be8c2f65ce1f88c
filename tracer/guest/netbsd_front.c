/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/netbsd_front.h"

#include <errno.h>
#include <limits.h>

#include "tracer/guest/kernel_front.h"

enum {
	PAUSED_PACE_MS = 1000, /* behind a gdb stub, where each look stops the guest */
};

int kms_netbsd_front_look(struct kms_netbsd_front *netbsd, const char *path, struct kms_err *err)
{
	char folder[PATH_MAX];
	const struct kms_netbsd_image_options options = {
		.path = path,
		.cache_folder = kms_kernel_front_folder(folder),
	};
	int rc = kms_netbsd_image_open(&options, &netbsd->image, err);

	netbsd->is_netbsd = !rc;
	if (rc == -ENODATA)
		kms_err_clear(err);
	return rc == -ENODATA ? 0 : rc;
}

int kms_netbsd_front_find(struct kms_netbsd_front *netbsd, const struct kms_attach_front *front,
			  struct kms_guest_opened *opened, struct kms_err *err)
{
	struct kms_kernel_view_config config = {
		.ops = &kms_netbsd_source_ops,
		.command = front->command,
		.pid = front->pid,
		.allow_write = opened->allow_write,
		.pace_ms = opened->guest->memory->pauses ? PAUSED_PACE_MS : 0,
		.say = kms_attach_front_say,
		.say_arg = (void *)front->config, /* only read */
	};

	if (!netbsd->source)
		netbsd->source = kms_netbsd_source_create(opened->guest->memory, &netbsd->image);
	if (!netbsd->source)
		return kms_err_set(err, -ENOMEM, "out of memory");
	kms_netbsd_source_say(netbsd->source, config.say, config.say_arg);
	config.source = netbsd->source;
	return kms_kernel_view_start(&config, &netbsd->view, err);
}

static bool is_lost(void *view)
{
	return kms_kernel_view_is_lost(view);
}

int kms_netbsd_front_run(struct kms_netbsd_front *netbsd, struct kms_attach_front *front,
			 struct kms_guest_opened *opened, struct kms_err *err)
{
	front->view = kms_kernel_view_ops(netbsd->view);
	return kms_kernel_front_run(front, opened, is_lost, netbsd->view, err);
}

void kms_netbsd_front_deinit(struct kms_netbsd_front *netbsd)
{
	kms_kernel_view_stop(netbsd->view);
	kms_netbsd_source_destroy(netbsd->source);
	kms_netbsd_image_close(&netbsd->image);
	*netbsd = (struct kms_netbsd_front){.image.fd = -1};
}
