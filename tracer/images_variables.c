/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and setting variables of live targets: see images.h.
 */
#include <errno.h>
#include <string.h>

#include "schema/snapshot.h"
#include "schema/variables.h"
#include "tracer/attach_look.h"
#include "tracer/images_impl.h"
#include "tracer/process.h"

/* Reads a slot's answer to a request. */
struct ack_job {
	const struct kms_region *region;
	uint32_t slot;
	unsigned variable;
	uint64_t acked_seq;
	uint64_t value;
	uint32_t status;
	uint32_t seq;
};

static void read_ack(void *arg)
{
	struct ack_job *job = arg;
	const struct kms_slot *slot = kms_region_at(job->region, KMS_SEC_SLOT, job->slot);

	/* pairs with the target's release store of acked_seq: the answers before it are there */
	job->acked_seq = kms_load_acquire_u64(&slot->acked_seq);
	/* of a command, likewise: it is done */
	job->seq = kms_load_acquire_u32(&slot->ack[job->variable].seq);
	job->value = kms_load_u64_relaxed(&slot->ack[job->variable].value);
	job->status = kms_load_u32_relaxed(&slot->ack[job->variable].status);
}

static bool is_asked(const struct kms_image_slot *slot, uint32_t target)
{
	return slot->target && !slot->is_dead && !slot->target->is_ignored &&
	       (!target || slot->target->info.id == target);
}

bool kms_images_next_slot(struct kms_images *images, uint32_t target, struct kms_image **image,
			  uint32_t *slot)
{
	struct kms_list *it = *image ? &(*image)->link : kms_list_first(&images->list);
	uint32_t i = *image ? *slot + 1 : 0;

	for (; it; it = kms_list_next(&images->list, it), i = 0) {
		struct kms_image *candidate = KMS_CONTAINER_OF(it, struct kms_image, link);

		if (candidate->state != KMS_IMAGE_OPEN)
			continue;
		for (; i < candidate->n_slots; i++) {
			if (!is_asked(&candidate->slot[i], target))
				continue;
			*image = candidate;
			*slot = i;
			return true;
		}
	}
	return false;
}

int kms_images_not_there(uint32_t target, struct kms_err *err)
{
	if (target)
		return kms_err_set(err, -ESRCH, "target %u does not live", target);
	return kms_err_set(err, -ESRCH, "no target lives");
}

static bool is_command(unsigned variable)
{
	return variable >= KMS_VAR_COMMANDS && variable < KMS_VARIABLE_COUNT;
}

static int read_variable(struct kms_image *image, uint32_t slot, unsigned variable,
			 struct kms_images_variable *out)
{
	struct ack_job job = {.region = &image->region, .slot = slot, .variable = variable};
	uint64_t seq;
	int result = kms_region_access(&image->region, read_ack, &job);

	if (!result)
		result = kms_control_requested(&image->control, slot, variable, &out->requested,
					       &out->is_requested, &seq);
	if (result)
		return result;
	out->effective = job.value;
	out->status = job.status;
	out->is_pending = seq != job.acked_seq;
	if (is_command(variable) && out->is_requested) {
		out->is_pending |= job.seq != (uint32_t)(out->requested >> KMS_COMMAND_SEQ_SHIFT);
		out->requested = (uint32_t)out->requested;
	}
	return 0;
}

int kms_images_variable(struct kms_images *images, uint32_t target, unsigned variable,
			struct kms_images_variable *out, struct kms_err *err)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	int result;

	*out = (struct kms_images_variable){0};
	if (variable >= KMS_REQUEST_ITEMS)
		return kms_err_set(err, -EINVAL, "no variable %u", variable);
	(void)pthread_mutex_lock(&images->lock);
	if (!kms_images_next_slot(images, target, &image, &slot))
		result = kms_images_not_there(target, err);
	else
		result = read_variable(image, slot, variable, out);
	(void)pthread_mutex_unlock(&images->lock);
	return result;
}

int kms_images_request(struct kms_images *images, uint32_t target, unsigned variable,
		       uint64_t value, struct kms_err *err)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	uint64_t seq;
	int result;

	if (variable >= KMS_REQUEST_ITEMS)
		return kms_err_set(err, -EINVAL, "no variable %u", variable);
	/* those to come get it, too: so it is no error that there is none yet */
	if (!target && variable < KMS_VAR_COMMANDS) {
		kms_images_want(images, variable, value);
		return 0;
	}
	(void)pthread_mutex_lock(&images->lock);
	result = kms_images_not_there(target, err);
	while (kms_images_next_slot(images, target, &image, &slot)) {
		result = kms_control_request(&image->control, slot, variable, value, &seq);
		if (result) {
			(void)kms_err_set(err, result, "the memory of target %u is gone", target);
			break;
		}
		image->slot[slot].counters_ns = 0; /* the next picture shows what was asked for */
		kms_image_push(image);
		kms_err_clear(err);
	}
	(void)pthread_mutex_unlock(&images->lock);
	return result;
}

void kms_images_want(struct kms_images *images, unsigned variable, uint64_t value)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	uint64_t seq;

	if (variable >= KMS_VAR_COMMANDS)
		return; /* those are for processes that live */
	(void)pthread_mutex_lock(&images->lock);
	images->env.wanted.value[variable] = value;
	images->env.wanted.is_set[variable] = true;
	/* who was quicker than this call is asked now; whose memory is gone need not be */
	while (kms_images_next_slot(images, 0, &image, &slot)) {
		(void)kms_control_request(&image->control, slot, variable, value, &seq);
		image->slot[slot].counters_ns = 0;
		kms_image_push(image);
	}
	(void)pthread_mutex_unlock(&images->lock);
}

int kms_images_leave(struct kms_images *images, uint32_t target, struct kms_err *err)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	int result;

	(void)pthread_mutex_lock(&images->lock);
	result = kms_images_not_there(target, err);
	while (kms_images_next_slot(images, target, &image, &slot)) {
		uint64_t seq;

		/* a guest knows from our heart alone whether we are there */
		result = image->mirror ? 0
				       : kms_control_request(&image->control, slot, KMS_VAR_LEAVE,
							     1, &seq);
		/* one that stands is not left so */
		if (!result && image->slot[slot].stop.state)
			result = kms_control_request(&image->control, slot, KMS_VAR_CONTINUE, 0,
						     &seq);
		if (image->slot[slot].on_request)
			kms_image_slot_let_go(image, slot);
		if (!result && image->mirror)
			kms_image_leave_guest(image);
		if (result) {
			(void)kms_err_set(err, result, "the memory of target %u is gone", target);
			break;
		}
		image->leave_asked |= target == 0 || kms_image_live(image) == 1;
		kms_err_clear(err);
	}
	(void)pthread_mutex_unlock(&images->lock);
	return result;
}

enum {
	PIECE_BYTES = 1 << 20,
};

ssize_t kms_images_guest_memory(void *arg, uint64_t address, void *to, size_t n)
{
	struct kms_images *images = arg;
	ssize_t got;

	(void)pthread_mutex_lock(&images->lock); /* a plain mutex, never locked twice */
	got = kms_guest_link_read(images->env.guest, address, to, n);
	(void)pthread_mutex_unlock(&images->lock);
	return got;
}

static ssize_t copy_piece(const struct kms_image *image, const struct kms_image_slot *slot,
			  const struct kms_images_piece *piece)
{
	size_t n = piece->bytes < PIECE_BYTES ? piece->bytes : PIECE_BYTES;
	ssize_t got;

	if (image->mirror)
		return kms_guest_link_read(image->env->guest, piece->address, piece->to, n);
	/* without its descriptor nobody knows whose pid that is by now */
	if (slot->pidfd < 0)
		return -ESRCH;
	got = kms_memory_copy((pid_t)slot->target->info.pid, piece->address, piece->to, n);
	/* it lived until now, so it was that one's memory */
	return kms_process_has_ended(slot->pidfd) ? -ESRCH : got;
}

int kms_images_memory(struct kms_images *images, uint32_t target,
		      const struct kms_images_piece *piece, size_t *n_read, struct kms_err *err)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	ssize_t got = -ESRCH;

	*n_read = 0;
	if (!piece->bytes)
		return 0;
	(void)pthread_mutex_lock(&images->lock);
	if (kms_images_next_slot(images, target, &image, &slot))
		got = copy_piece(image, &image->slot[slot], piece);
	(void)pthread_mutex_unlock(&images->lock);
	if (got == -ESRCH)
		return kms_images_not_there(target, err);
	if (got <= 0)
		return kms_err_set(err, got ? (int)got : -EFAULT, "cannot read 0x%llx: %s",
				   (unsigned long long)piece->address,
				   strerrordesc_np(got ? (int)-got : EFAULT));
	*n_read = (size_t)got;
	return 0;
}

int kms_images_memory_write(struct kms_images *images, const struct kms_memory_write *write,
			    struct kms_err *err)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	int result;

	(void)pthread_mutex_lock(&images->lock); /* a plain mutex, never locked twice */
	if (!kms_images_next_slot(images, write->target, &image, &slot))
		result = kms_images_not_there(write->target, err);
	else if (!image->mirror)
		result = kms_err_set(err, -EPERM, "memory of a process is its own");
	else
		result = kms_guest_link_write(image->env->guest, write->address, &write->expected,
					      &write->value, write->bytes, err);
	(void)pthread_mutex_unlock(&images->lock);
	return result;
}

/* The guest that a target runs in, under the lock; NULL: err says why not. */
static struct kms_guest_link *guest_of(struct kms_images *images, uint32_t target,
				       struct kms_err *err)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;

	if (!kms_images_next_slot(images, target, &image, &slot))
		(void)kms_images_not_there(target, err);
	else if (!image->mirror)
		(void)kms_err_set(err, -ENOTSUP, "a process has no kernel of its own");
	else
		return image->env->guest;
	return NULL;
}

int kms_images_symbol(struct kms_images *images, uint32_t target, const char *name,
		      struct kms_view_symbol *out, struct kms_err *err)
{
	struct kms_err why = KMS_ERR_INIT;
	struct kms_guest_link *guest;
	int result;

	*out = (struct kms_view_symbol){.address = 0};
	(void)pthread_mutex_lock(&images->lock);
	guest = guest_of(images, target, &why);
	result = guest ? kms_guest_link_symbol(guest, name, out, &why) : why.code;
	(void)pthread_mutex_unlock(&images->lock);
	if (result && err)
		*err = why;
	return result;
}

int kms_images_symbol_at(struct kms_images *images, uint32_t target, uint64_t address,
			 struct kms_view_symbol *out, struct kms_err *err)
{
	struct kms_err why = KMS_ERR_INIT;
	struct kms_guest_link *guest;
	int result;

	*out = (struct kms_view_symbol){.address = 0};
	(void)pthread_mutex_lock(&images->lock);
	guest = guest_of(images, target, &why);
	result = guest ? kms_guest_link_symbol_at(guest, address, out, &why) : why.code;
	(void)pthread_mutex_unlock(&images->lock);
	if (result && err)
		*err = why;
	return result;
}
