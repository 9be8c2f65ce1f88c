/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list of targets: see targets.h.
 */
#include "tracer/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/batch_build.h"
#include "tracer/process.h"

enum {
	FIND_BACK = 4096, /* how many targets back a pid is looked for: it is used again anyway */
};

void kms_targets_init(struct kms_targets *targets)
{
	memset(targets, 0, sizeof(*targets));
	kms_list_init(&targets->changed);
}

void kms_targets_deinit(struct kms_targets *targets)
{
	for (size_t i = 0; i < targets->n; i++)
		free(targets->item[i]);
	free(targets->item);
}

void kms_targets_touch(struct kms_targets *targets, struct kms_target *target)
{
	if (kms_list_is_empty(&target->changed) && !target->is_ignored)
		kms_list_push_back(&targets->changed, &target->changed);
}

struct kms_target *kms_targets_add(struct kms_targets *targets, uint32_t pid)
{
	struct kms_target *target = calloc(1, sizeof(*target));
	struct kms_target **item = targets->item;

	if (target && targets->n == targets->room) {
		item = reallocarray(item, targets->room * 2 + 16, sizeof(struct kms_target *));
		if (item) {
			targets->item = item;
			targets->room = targets->room * 2 + 16;
		}
	}
	if (!target || !item) {
		free(target);
		return NULL;
	}
	kms_list_init(&target->changed);
	targets->item[targets->n++] = target;
	target->info.id = (uint32_t)targets->n;
	target->info.pid = pid;
	target->info.state = KMS_STATE_RUNNING;
	target->info.exit_status = -1;
	if (pid && (pid_t)pid == targets->exited_pid) /* 0: a guest kernel */
		target->info.exit_status = targets->exited_status;
	kms_targets_touch(targets, target);
	return target;
}

struct kms_target *kms_targets_find(const struct kms_targets *targets, uint32_t pid)
{
	size_t end = targets->n > FIND_BACK ? targets->n - FIND_BACK : 0;

	for (size_t i = targets->n; i > end; i--) {
		if (targets->item[i - 1]->info.pid == pid)
			return targets->item[i - 1];
	}
	return NULL;
}

static bool is_over(uint32_t state)
{
	return state != KMS_STATE_RUNNING && state != KMS_STATE_STOPPED;
}

void kms_targets_set_state(struct kms_targets *targets, struct kms_target *target,
			   enum kms_target_state state)
{
	if (target->info.state == (uint32_t)state || is_over(target->info.state))
		return;
	target->info.state = (uint32_t)state;
	if (is_over(target->info.state))
		target->info.end_wall_ns = kms_wall_ns();
	kms_targets_touch(targets, target);
}

void kms_targets_set_stop(struct kms_targets *targets, struct kms_target *target, uint32_t reason,
			  uint32_t fault)
{
	if (target->info.stop_reason == reason && target->info.stop_fault == fault)
		return;
	target->info.stop_reason = reason;
	target->info.stop_fault = fault;
	kms_targets_touch(targets, target);
}

void kms_targets_set_exit(struct kms_targets *targets, struct kms_target *target, uint32_t status)
{
	if (target->info.exit_status != -1)
		return;
	target->info.exit_status = (int32_t)status;
	kms_targets_touch(targets, target);
}

void kms_targets_exited(struct kms_targets *targets, pid_t pid, int32_t status)
{
	struct kms_target *target = kms_targets_find(targets, (uint32_t)pid);

	targets->exited_pid = pid;
	targets->exited_status = status;
	if (!target)
		return;
	target->info.exit_status = status;
	kms_targets_touch(targets, target);
}

int kms_targets_send(struct kms_targets *targets, struct kms_batch *batch)
{
	struct kms_list *link;

	while ((link = kms_list_first(&targets->changed)) != NULL) {
		struct kms_batch_target *out = kms_batch_add_target(batch);

		if (!out)
			return -ENOMEM;
		*out = KMS_CONTAINER_OF(link, struct kms_target, changed)->info;
		kms_list_remove(link);
	}
	return 0;
}
