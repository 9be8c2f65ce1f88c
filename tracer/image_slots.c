/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processes of an image: each claim of a slot is a target. See image.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tracer/image_impl.h"
#include "tracer/process.h"

/* What a look at a slot copies. */
struct look_job {
	const struct kms_region *region;
	uint32_t slot;
	uint32_t state;
	uint32_t claims;
	uint32_t pid;
	uint32_t parent_slot;
	struct kms_image_stop stop;
	uint64_t claim_ns;
	uint64_t acked_seq;
	uint32_t session, first_session;
	uint64_t span_table, span_entries;
	uint64_t lost_unringed;
	uint32_t exit_status;
};

static void copy_look(void *arg)
{
	struct look_job *job = arg;
	const struct kms_slot *slot = kms_region_at(job->region, KMS_SEC_SLOT, job->slot);

	/* pairs with the target's release store of LIVE: the members below are those of the claim */
	uint32_t claims = kms_load_acquire_u32(&slot->claims);

	job->state = kms_load_acquire_u32(&slot->state);
	job->pid = kms_load_acquire_u32(&slot->pid);
	job->parent_slot = kms_load_acquire_u32(&slot->parent_slot);
	job->acked_seq = kms_load_acquire_u64(&slot->acked_seq);
	kms_image_copy_stop(slot, &job->stop);
	job->claim_ns = kms_load_acquire_u64(&slot->claim_ns);
	job->session = kms_load_acquire_u32(&slot->session);
	job->first_session = kms_load_acquire_u32(&slot->first_session);
	job->span_table = kms_load_acquire_u64(&slot->span_table_address);
	job->span_entries = kms_load_acquire_u64(&slot->span_table_entries);
	job->lost_unringed = kms_load_u64_relaxed(&slot->lost_unringed);
	job->exit_status = kms_load_acquire_u32(&slot->exit_status);
	job->claims = kms_load_acquire_u32(&slot->claims);
	/* A new claim began meanwhile: the state is still that of the one before. */
	if (job->claims != claims)
		job->state = KMS_SLOT_CLAIMED;
}

static void forget_process(struct kms_image_slot *slot)
{
	if (slot->pidfd >= 0)
		(void)close(slot->pidfd); /* leaves the epoll set by itself */
	slot->pidfd = -1;
}

void kms_image_slots_deinit(struct kms_image *image)
{
	for (uint32_t i = 0; i < image->region.head.slots; i++) {
		kms_image_slot_forget_stop(image, i);
		forget_process(&image->slot[i]);
		free(image->slot[i].total);
		free(image->slot[i].unrung);
	}
}

/* Watches for the end of a slot's process; one that is not there (any more) is dead. */
static void watch(struct kms_image *image, uint32_t index, uint64_t lived_ns, uint64_t now_ns)
{
	struct kms_image_slot *slot = &image->slot[index];
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT,
				    .data.u64 = kms_image_key(image, index)};
	int fd;

	if (image->mirror)
		return; /* there is no such process */
	fd = kms_process_watch((pid_t)slot->target->info.pid, lived_ns);
	if (fd == -ESRCH) {
		/* dead, or in another pid namespace: then its rings may still move */
		slot->unseen_ns = now_ns;
		return;
	}
	if (fd < 0)
		return; /* out of descriptors: the lease tells when the image ends */
	if (epoll_ctl(image->env->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
		(void)close(fd); /* as above */
		return;
	}
	slot->pidfd = fd;
}

/* The target that executed this image: its pid before exec, else who is known to have done it. */
static uint32_t executed_by(const struct kms_image *image)
{
	const struct kms_region_header *head = &image->region.head;
	uint32_t pid[3] = {head->pid, head->parent_image_pid, 0};

	if (image->mirror)
		return 0;
	pid[2] = (uint32_t)kms_process_parent((pid_t)head->pid);
	for (int i = 0; i < 3; i++) {
		const struct kms_target *target =
			pid[i] ? kms_targets_find(image->env->targets, pid[i]) : NULL;
		uint64_t end_ns = target ? target->info.end_wall_ns : 0;

		/* one that ended long ago had the same pid by chance; one that left us may be back */
		if (target && target->info.image != image->ordinal &&
		    target->info.state != KMS_STATE_DETACHED &&
		    (!end_ns || end_ns + KMS_IMAGE_UNSEEN_NS > kms_wall_ns()))
			return target->info.id;
	}
	return 0;
}

static uint32_t parent_of(const struct kms_image *image, const struct look_job *job)
{
	uint32_t parent = job->parent_slot;

	if (parent < image->n_slots && parent != job->slot && image->slot[parent].target)
		return image->slot[parent].target->info.id;
	return executed_by(image);
}

static void describe(const struct kms_image *image, struct kms_target *target,
		     const struct look_job *job)
{
	const struct kms_region_header *head = &image->region.head;
	struct kms_batch_target *info = &target->info;

	info->kind = head->target_kind;
	if (image->mirror) /* its own numbers say nothing here */
		info->pid = (uint32_t)kms_guest_link_pid(image->env->guest);
	target->is_ignored = image->env->only_pid && job->pid != image->env->only_pid;
	if (target->is_ignored)
		kms_list_remove(&target->changed);
	info->image = image->ordinal;
	info->slot = job->slot;
	info->region_start_wall_ns = head->start_wall_ns;
	info->start_wall_ns = head->start_wall_ns + job->claim_ns;
	(void)snprintf(info->name, sizeof(info->name), "%s", image->program); /* same size */
	(void)snprintf(info->command, sizeof(info->command), "%s", image->command);
}

/* A target for a process of this image. */
static struct kms_target *add_target(const struct kms_image *image, const struct look_job *job)
{
	uint32_t parent = parent_of(image, job); /* before the target itself can be found */
	struct kms_target *target = kms_targets_add(image->env->targets, job->pid);

	if (target) {
		target->info.parent = parent;
		describe(image, target, job);
	}
	return target;
}

void kms_image_add_corrupt_target(struct kms_image *image)
{
	struct look_job job = {.pid = image->region.head.pid, .parent_slot = KMS_NO_INDEX};
	struct kms_target *target = add_target(image, &job);

	if (target) /* without memory the line that was said remains */
		kms_targets_set_state(image->env->targets, target, KMS_STATE_CORRUPT);
}

static int new_target(struct kms_image *image, const struct look_job *job, uint64_t now_ns,
		      struct kms_err *err)
{
	struct kms_image_slot *slot = &image->slot[job->slot];
	const struct kms_region_header *head = &image->region.head;
	struct kms_target *target = add_target(image, job);
	bool is_heir =
		job->parent_slot != KMS_NO_INDEX; /* a forked child has what its parent had */

	if (!target)
		return kms_err_set(err, -ENOMEM, "no memory for a target");
	slot->claims = job->claims;
	slot->target = target;
	slot->is_dead = slot->is_over = slot->is_active = slot->was_active = false;
	slot->is_new = image->has_new = true;
	slot->is_executing = slot->has_left = false;
	slot->session = is_heir ? job->session : 0;
	if (image->is_joined && !is_heir) {
		slot->session = KMS_NO_INDEX;
		target->info.session = job->session;
		target->info.joined_ns = kms_mono_ns() - head->start_mono_ns;
	}
	slot->left_ns = 0;
	slot->loss = (struct kms_image_loss){.unringed = image->is_joined ? job->lost_unringed : 0};
	slot->unseen_ns = slot->counters_ns = 0;
	watch(image, job->slot, head->start_mono_ns + job->claim_ns, now_ns);
	if (kms_image_slot_inherit(image, job->slot, job->parent_slot))
		return kms_err_set(err, -EFAULT, "the file was cut short");
	return 0;
}

static bool lives(const struct kms_image_slot *slot)
{
	return slot->target && slot->pidfd >= 0 && !kms_process_has_ended(slot->pidfd);
}

/* How a target that is over has ended. */
static enum kms_target_state end_state(const struct kms_image *image,
				       const struct kms_image_slot *slot)
{
	enum kms_guest_mirror_over over =
		image->mirror ? kms_guest_mirror_over(image->mirror) : KMS_MIRROR_LIVES;

	if (slot->has_left || over == KMS_MIRROR_LEFT || over == KMS_MIRROR_TAKEN ||
	    (over == KMS_MIRROR_GONE && kms_guest_link_has_moved(image->env->guest)))
		return KMS_STATE_DETACHED;
	/* memory that is gone although its emulator lives */
	if (over == KMS_MIRROR_GONE && !kms_guest_link_is_ending(image->env->guest) &&
	    !kms_guest_link_is_saved(image->env->guest))
		return KMS_STATE_LOST;
	return KMS_STATE_EXITED;
}

/* How it ended, as far as it said so itself; its parent knows better. */
static void end_target(const struct kms_image *image, struct kms_image_slot *slot)
{
	struct kms_target *target = slot->target;

	if (slot->exit_status && !slot->has_left)
		kms_targets_set_exit(image->env->targets, target, (slot->exit_status & 0xff) << 8);
	kms_targets_set_state(image->env->targets, target, end_state(image, slot));
}

/* A slot changed hands: its former process is dead and read, else it could not have been claimed. */
static void end_claim(struct kms_image *image, uint32_t index)
{
	struct kms_image_slot *slot = &image->slot[index];

	if (!slot->target)
		return;
	kms_image_slot_forget_stop(image, index);
	end_target(image, slot);
	forget_process(slot);
	free(slot->total);
	slot->total = NULL;
	slot->target = NULL;
}

/* It goes on without us: as if it were dead, once the last record that was under way is there. */
static void follow_left(struct kms_image *image, struct kms_image_slot *slot, uint64_t now_ns)
{
	if (!slot->left_ns)
		slot->left_ns = now_ns;
	if (slot->is_dead || now_ns - slot->left_ns < KMS_IMAGE_LEFT_NS)
		return;
	slot->is_dead = slot->has_left = true;
	image->look_closer = true;
}

static void follow_state(struct kms_image *image, struct kms_image_slot *slot,
			 const struct look_job *job, uint64_t now_ns)
{
	uint64_t patience_ns = image->sees_pids ? KMS_IMAGE_GONE_NS : KMS_IMAGE_UNSEEN_NS;

	if (job->state == KMS_SLOT_LEFT)
		follow_left(image, slot, now_ns);
	if (slot->unseen_ns && slot->is_active)
		slot->unseen_ns = now_ns;
	if (slot->unseen_ns && !slot->is_dead &&
	    (job->state == KMS_SLOT_EXITED || now_ns - slot->unseen_ns > patience_ns)) {
		slot->is_dead = true;
		image->look_closer = true;
	}
	if (slot->is_dead)
		kms_image_slot_forget_stop(image, job->slot);
	else
		kms_image_slot_follow_stop(image, job->slot, &job->stop);
}

/* Recording began while the process had blocks already: they are to be found. */
static void follow_session(struct kms_image *image, struct kms_image_slot *slot,
			   const struct look_job *job)
{
	const struct kms_base_want want = {
		.plan = {.pid = (pid_t)job->pid,
			 .span_table = job->span_table,
			 .span_entries = job->span_entries,
			 .session = job->session,
			 .first_session = job->first_session,
			 .nodes = (uint32_t)kms_tables_count(&image->tables, KMS_SEC_NODE),
			 .copy = image->mirror ? image->env->guest_memory : NULL,
			 .copy_arg = image->env->guest_arg},
		.image = image->ordinal,
		.target = slot->target->info.id,
		.time_ns = kms_mono_ns() - image->region.head.start_mono_ns,
	};

	if (job->session == slot->session || slot->is_dead || slot->target->is_ignored ||
	    (slot->pidfd < 0 && !image->mirror) || job->state != KMS_SLOT_LIVE)
		return;
	slot->session = job->session;
	if (image->env->base)
		image->env->base(image->env->base_arg, &want);
}

int kms_image_slot_look(struct kms_image *image, uint32_t slot, uint64_t now_ns,
			struct kms_err *err)
{
	struct look_job job = {.region = &image->region, .slot = slot};
	int result = kms_region_access(&image->region, copy_look, &job);

	if (result)
		return kms_err_set(err, result, "the file was cut short");
	if (job.state > KMS_SLOT_LEFT || job.stop.state > kms_image_stop_max(image) ||
	    (job.parent_slot >= image->region.head.slots && job.parent_slot != KMS_NO_INDEX))
		return kms_err_set(err, -EBADMSG, "slot %u: impossible state", slot);
	image->slot[slot].looked_at = image->look_nr;
	if (job.state == KMS_SLOT_FREE || job.state == KMS_SLOT_CLAIMED || !job.claims)
		return 0;
	if (slot >= image->n_slots)
		image->n_slots = slot + 1;
	if (job.claims != image->slot[slot].claims) {
		if (lives(&image->slot[slot]))
			return kms_err_set(err, -EBADMSG,
					   "slot %u: claimed again while its process lives", slot);
		end_claim(image, slot);
		result = new_target(image, &job, now_ns, err);
		if (result)
			return result;
	}
	/* who asked wants to see what it led to, also of a process that does nothing else */
	if (job.acked_seq != image->slot[slot].acked_seq)
		image->slot[slot].counters_ns = 0;
	image->slot[slot].acked_seq = job.acked_seq;
	image->slot[slot].span_table = job.span_table;
	image->slot[slot].exit_status = job.exit_status;
	image->slot[slot].lost_unringed = job.lost_unringed;
	follow_state(image, &image->slot[slot], &job, now_ns);
	follow_session(image, &image->slot[slot], &job);
	return 0;
}

int kms_image_slots_scan(struct kms_image *image, uint64_t now_ns, struct kms_err *err)
{
	int result = 0;

	/* n_slots grows as we go: as far as slots are in use, and some more */
	for (uint32_t i = 0;
	     !result && i < image->region.head.slots && i < image->n_slots + KMS_IMAGE_LOOK_AHEAD;
	     i++)
		result = kms_image_slot_look(image, i, now_ns, err);
	return result;
}

void kms_image_slots_settle(struct kms_image *image)
{
	for (uint32_t i = 0; i < image->n_slots; i++)
		image->slot[i].is_new = false;
	image->has_new = false;
}

void kms_image_slots_all_dead(struct kms_image *image)
{
	for (uint32_t i = 0; i < image->n_slots; i++) {
		struct kms_image_slot *slot = &image->slot[i];

		if (slot->is_dead)
			continue;
		slot->is_executing = lives(slot) && !slot->left_ns;
		slot->is_dead = true;
		kms_image_slot_forget_stop(image, i);
	}
}

int kms_image_take_executing(struct kms_image *image, uint32_t slot)
{
	struct kms_image_slot *s = &image->slot[slot];
	int fd = s->is_executing ? s->pidfd : -1;

	if (fd < 0)
		return -1;
	/* a duplicate would stay in the set after its number was closed */
	(void)epoll_ctl(image->env->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* may have fired */
	s->pidfd = -1;
	return fd;
}

static bool has_unread(const struct kms_image *image, uint32_t slot)
{
	for (uint32_t i = 0; i < image->n_rings; i++) {
		const struct kms_ring_reader *reader = &image->ring[i].reader;

		if (reader->claim && reader->slot == slot && !reader->is_over)
			return true;
	}
	return false;
}

void kms_image_slots_finish(struct kms_image *image)
{
	if (!image->is_held)
		kms_image_slots_all_dead(image); /* some were only seen after that was asked */
	for (uint32_t i = 0; i < image->n_slots; i++) {
		struct kms_image_slot *slot = &image->slot[i];

		if (!slot->target || !slot->is_dead || slot->is_over)
			continue;
		if (slot->is_new || has_unread(image, i)) {
			image->look_closer = true;
			continue;
		}
		slot->is_over = true;
		if (slot->has_left && slot->target->info.pid == image->env->first_pid)
			image->env->first_left = true;
		if (!slot->is_executing)
			forget_process(slot);
		end_target(image, slot);
	}
}

bool kms_image_slots_left(const struct kms_image *image)
{
	bool any = false;

	for (uint32_t i = 0; i < image->n_slots; i++) {
		if (image->slot[i].target && !image->slot[i].is_over)
			return false;
		any |= image->slot[i].has_left;
	}
	return any;
}
