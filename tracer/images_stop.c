/* SPDX-License-Identifier: BSD-2-Clause */
/* Stopping targets and letting them go: see images.h. */
#include <errno.h>
#include <time.h>

#include "tracer/images_impl.h"
#include "tracer/process.h"

enum {
	HELD_MS = 1000, /* threads are held within 10 ms, where there are processors for all */
	LOOK_NS = 1000000,
};

/* A thread that stands takes a request up within 10 ms. */
static const uint64_t answer_ns = 2000000000;
static const uint64_t stand_ns = 1000000000; /* a guest whose interrupts are on stands sooner */

/* What the system did not permit, of one of the processes that were asked for. */
struct refusal {
	uint32_t target;
	char reason[KMS_HOLD_REASON_BYTES];
};

/* Asks for every process that is meant. Returns how many there are; *n_asked: how many ran. */
static unsigned ask_all(struct kms_images *images, uint32_t target, unsigned *n_asked, int *result)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	unsigned n = 0;

	*n_asked = 0;
	while (kms_images_next_slot(images, target, &image, &slot)) {
		int one = kms_image_slot_hold(image, slot);

		n++;
		if (one == -EALREADY)
			continue;
		*result = one ? one : *result;
		*n_asked += one == 0;
	}
	return n;
}

/* Those that cannot be held run on. Returns whether there were any. */
static bool drop_refused(struct kms_images *images, uint32_t target, struct refusal *refusal)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	bool any = false;

	while (kms_images_next_slot(images, target, &image, &slot)) {
		const struct kms_image_slot *s = &image->slot[slot];
		pid_t pid = (pid_t)s->target->info.pid;

		if (!s->on_request || kms_hold_state(images->env.hold, pid) != KMS_HOLD_REFUSED)
			continue;
		any = true;
		refusal->target = s->target->info.id;
		kms_hold_reason(images->env.hold, pid, refusal->reason);
		kms_image_slot_let_go(image, slot);
	}
	return any;
}

/* A guest's machine is stopped as a whole where its kernel does not answer. */
static int stop_machines(struct kms_images *images, uint32_t target, bool force, bool *all_stand,
			 struct kms_err *err)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	int result = 0;

	*all_stand = true;
	while (!result && kms_images_next_slot(images, target, &image, &slot)) {
		if (!image->mirror || kms_image_slot_look_stop(image, slot) ||
		    kms_image_slot_stands(&image->slot[slot]))
			continue;
		*all_stand = false;
		if (force)
			result = kms_guest_link_stop(image->env->guest, err);
	}
	return result;
}

/* Guests stand by themselves, within a tick of their clock. */
static int await_guests(struct kms_images *images, uint32_t target, struct kms_err *err)
{
	const struct timespec look = {.tv_nsec = LOOK_NS};
	uint64_t end_ns = kms_mono_ns() + stand_ns;
	bool is_late, all_stand;
	int result;

	do {
		is_late = kms_mono_ns() >= end_ns;
		(void)pthread_mutex_lock(&images->lock);
		result = stop_machines(images, target, is_late, &all_stand, err);
		(void)pthread_mutex_unlock(&images->lock);
		if (!all_stand && !is_late) {
			kms_images_wake(images); /* what it says is seen with the next poll */
			(void)nanosleep(&look, NULL);
		}
	} while (!all_stand && !is_late);
	return result;
}

int kms_images_stop(struct kms_images *images, uint32_t target, struct kms_err *err)
{
	struct refusal refusal;
	unsigned n, n_asked;
	int result = 0;
	bool refused;

	(void)pthread_mutex_lock(&images->lock); /* a plain mutex, never locked twice */
	n = ask_all(images, target, &n_asked, &result);
	(void)pthread_mutex_unlock(&images->lock);
	if (!n)
		return kms_images_not_there(target, err);
	if (result == -ENOTSUP)
		return kms_err_set(err, result,
				   "a process of another pid namespace cannot be held");
	if (result)
		return kms_err_sys(err, result, "hold a process", NULL);
	if (!n_asked)
		return kms_err_set(err, -EALREADY, "it stands still already");
	if (images->env.guest)
		result = await_guests(images, target, err);
	if (result)
		return result;
	(void)kms_hold_await(images->env.hold, HELD_MS); /* late: the state tells when it is so */
	(void)pthread_mutex_lock(&images->lock);
	refused = drop_refused(images, target, &refusal);
	(void)pthread_mutex_unlock(&images->lock);
	kms_images_wake(images);
	if (refused)
		return kms_err_set(err, -EPERM, "target %u cannot be held: %s", refusal.target,
				   refusal.reason);
	return 0;
}

/* Tells every process that is meant to go on. Returns how many there are; *n_told: how many stood. */
static unsigned tell_all(struct kms_images *images, uint32_t target, unsigned *n_told, int *result)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	unsigned n = 0;
	uint64_t seq;

	*n_told = 0;
	while (kms_images_next_slot(images, target, &image, &slot)) {
		int one = kms_image_slot_look_stop(image, slot);
		const struct kms_image_slot *s = &image->slot[slot];

		n++;
		if (!one && !kms_image_slot_stands(s))
			continue;
		(*n_told)++;
		if (!one && s->stop.state)
			one = kms_control_request(&image->control, slot, KMS_VAR_CONTINUE, 0, &seq);
		kms_image_push(image);
		if (!one && s->on_request)
			kms_image_slot_let_go(image, slot);
		*result = one ? one : *result;
	}
	return n;
}

/* Whether one of them still stands by itself; with @force it is not held any longer. */
static bool any_stands(struct kms_images *images, uint32_t target, bool force)
{
	struct kms_image *image = NULL;
	uint32_t slot = 0;
	bool any = false;

	while (kms_images_next_slot(images, target, &image, &slot)) {
		if (kms_image_slot_look_stop(image, slot) || !image->slot[slot].stop.state)
			continue;
		any = true;
		if (force)
			kms_image_slot_let_go(image, slot);
	}
	return any;
}

/* The others are let go as soon as the thread that stood says that it goes on. */
static bool await_answers(struct kms_images *images, uint32_t target)
{
	const struct timespec look = {.tv_nsec = LOOK_NS};
	uint64_t end_ns = kms_mono_ns() + answer_ns;
	bool is_late, any;

	do {
		is_late = kms_mono_ns() >= end_ns;
		(void)pthread_mutex_lock(&images->lock);
		any = any_stands(images, target, is_late);
		(void)pthread_mutex_unlock(&images->lock);
		if (any && !is_late)
			(void)nanosleep(&look,
					NULL); /* for a process that is not ours to be woken by */
	} while (any && !is_late);
	return !any;
}

int kms_images_resume(struct kms_images *images, uint32_t target, struct kms_err *err)
{
	unsigned n, n_told;
	int result = 0;
	bool all_go;

	(void)pthread_mutex_lock(&images->lock);
	n = tell_all(images, target, &n_told, &result);
	(void)pthread_mutex_unlock(&images->lock);
	if (!n)
		return kms_images_not_there(target, err);
	if (result)
		return kms_err_set(err, result, "the memory of a target is gone");
	if (!n_told)
		return kms_err_set(err, -EALREADY, "it does not stand still");
	all_go = await_answers(images, target);
	kms_images_wake(images);
	if (!all_go)
		return kms_err_set(err, -ETIMEDOUT, "a thread that stands still does not answer");
	return 0;
}
