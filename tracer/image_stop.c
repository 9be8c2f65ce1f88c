/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes that stand still: by themselves, at a fault or before they begin, or because somebody
 * asked. See image.h and README.md, "Standing still".
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "schema/variables.h"
#include "tracer/image_impl.h"

void kms_image_copy_stop(const struct kms_slot *slot, struct kms_image_stop *out)
{
	/* pairs with the target's release store: fault, thread and number are this stop's */
	out->state = kms_load_acquire_u32(&slot->stop_state);
	out->fault = kms_load_u32_relaxed(&slot->stop_fault);
	out->tid = kms_load_u32_relaxed(&slot->stop_tid);
	out->nr = kms_load_u32_relaxed(&slot->stop_nr);
}

bool kms_image_slot_stands(const struct kms_image_slot *slot)
{
	return slot->target && !slot->is_dead && (slot->stop.state || slot->on_request);
}

/* Errors: as of kms_hold_take() */
static int hold(struct kms_image *image, uint32_t index)
{
	struct kms_image_slot *slot = &image->slot[index];
	struct kms_hold_ask ask = {.pid = (pid_t)slot->target->info.pid,
				   .spared = slot->stop.state ? (pid_t)slot->stop.tid : 0};
	struct stat st;
	int result;

	if (fstat(image->region.fd, &st))
		return -errno;
	ask.device = st.st_dev;
	ask.inode = st.st_ino;
	result = kms_hold_take(image->env->hold, &ask);
	slot->is_held = result == 0;
	slot->held_nr = 0;
	return result;
}

static void let_go(struct kms_image *image, struct kms_image_slot *slot)
{
	if (image->mirror && slot->on_request)
		(void)kms_guest_link_resume(image->env->guest, NULL); /* its state tells */
	if (slot->is_held)
		kms_hold_release(image->env->hold, (pid_t)slot->target->info.pid);
	slot->is_held = false;
}

/* Once: what is missing is the same for all. */
static void say_refused(struct kms_image *image, const struct kms_image_slot *slot)
{
	char reason[KMS_HOLD_REASON_BYTES];
	char line[512];

	if (image->env->refused_said || !image->env->say)
		return;
	image->env->refused_said = true;
	kms_hold_reason(image->env->hold, (pid_t)slot->target->info.pid, reason);
	(void)snprintf(
		line, sizeof(line), /* cut if need be */
		"%s (pid %u) stands still, but its other threads cannot be held before their "
		"next allocator call: %s",
		image->program[0] ? image->program : image->name, slot->target->info.pid, reason);
	image->env->say(image->env->say_arg, line);
}

/* Whether all is done that can be done. */
static bool is_settled(struct kms_image *image, uint32_t index)
{
	struct kms_image_slot *slot = &image->slot[index];
	enum kms_hold_state state;

	if (!slot->is_held)
		return true;
	state = kms_hold_state(image->env->hold, (pid_t)slot->target->info.pid);
	if (state == KMS_HOLD_HELD && slot->stop.state && slot->held_nr != slot->stop.nr) {
		slot->held_nr = slot->stop.nr;
		/* -EFAULT is met again, and reported, by the next poll */
		(void)kms_control_held(&image->control, index, slot->stop.nr);
	}
	if (state == KMS_HOLD_REFUSED && slot->stop.state)
		say_refused(image, slot);
	return state != KMS_HOLD_TAKING;
}

static void tell(struct kms_image *image, uint32_t index)
{
	struct kms_targets *targets = image->env->targets;
	struct kms_image_slot *slot = &image->slot[index];
	uint32_t reason = slot->stop.state ? slot->stop.state : KMS_STOP_REQUEST;
	uint32_t fault = slot->stop.state == KMS_STOP_FAULT ? slot->stop.fault : 0;

	if (!kms_image_slot_stands(slot)) {
		kms_targets_set_stop(targets, slot->target, KMS_STOP_NONE, 0);
		kms_targets_set_state(targets, slot->target, KMS_STATE_RUNNING);
	} else if (is_settled(image, index)) {
		kms_targets_set_stop(targets, slot->target, reason,
				     fault <= KMS_MAX_FAULTS ? fault : 0);
		kms_targets_set_state(targets, slot->target, KMS_STATE_STOPPED);
	}
}

void kms_image_slot_follow_stop(struct kms_image *image, uint32_t index,
				const struct kms_image_stop *stop)
{
	struct kms_image_slot *slot = &image->slot[index];

	slot->stop = *stop;
	if (image->mirror)
		slot->on_request = kms_guest_link_is_paused(image->env->guest);
	/* without a descriptor we do not know whose number that is: it stands by itself alone */
	if (stop->state && !slot->is_held && image->env->hold && slot->pidfd >= 0)
		(void)hold(image, index); /* likewise without memory */
	if (!stop->state && !slot->on_request)
		let_go(image, slot);
	tell(image, index);
}

void kms_image_slot_forget_stop(struct kms_image *image, uint32_t index)
{
	struct kms_image_slot *slot = &image->slot[index];

	slot->on_request &= !image->mirror; /* a machine that somebody paused stays so */
	let_go(image, slot);
	slot->on_request = false;
	slot->stop = (struct kms_image_stop){0};
	if (slot->target)
		kms_targets_set_stop(image->env->targets, slot->target, KMS_STOP_NONE, 0);
}

int kms_image_slot_hold(struct kms_image *image, uint32_t index)
{
	struct kms_image_slot *slot = &image->slot[index];
	int result;

	if (kms_image_slot_stands(slot))
		return -EALREADY;
	if (image->mirror) {
		uint64_t seq;

		result = kms_control_request(&image->control, index, KMS_VAR_STOP, 1, &seq);
		kms_image_push(image);
		return result;
	}
	if (!image->env->hold || slot->pidfd < 0)
		return -ENOTSUP;
	result = hold(image, index);
	slot->on_request = result == 0;
	image->look_closer = true;
	return result;
}

void kms_image_slot_let_go(struct kms_image *image, uint32_t index)
{
	struct kms_image_slot *slot = &image->slot[index];

	let_go(image, slot);
	slot->on_request = false;
	image->look_closer = true;
	tell(image, index);
}

/* A slot of a live process, looked at between polls. */
struct stop_job {
	const struct kms_region *region;
	uint32_t slot;
	struct kms_image_stop stop;
};

static void copy_stop(void *arg)
{
	struct stop_job *job = arg;

	kms_image_copy_stop(kms_region_at(job->region, KMS_SEC_SLOT, job->slot), &job->stop);
}

int kms_image_slot_look_stop(struct kms_image *image, uint32_t index)
{
	struct stop_job job = {.region = &image->region, .slot = index};
	int result = kms_region_access(&image->region, copy_stop, &job);

	if (!result && job.stop.state <= kms_image_stop_max(image))
		kms_image_slot_follow_stop(image, index, &job.stop);
	return result;
}
