/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes of the run that have no region at the moment: between two programs, or before their first
 * allocation. The run is not over while there are some.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/images_impl.h"
#include "tracer/process.h"

/* A program executed may take so long until its region is there; one that makes none never will. */
static const uint64_t flight_ns = 3000000000;
static const uint64_t untraced_ns = 1000000000; /* then the user is told */

void kms_images_drop_flight(struct in_flight *one)
{
	kms_list_remove(&one->link);
	(void)close(one->pidfd); /* nothing was written through it */
	free(one);
}

/* Takes the descriptor over. */
static void add_flight(struct kms_images *images, int pidfd, uint32_t pid, uint64_t until_ns)
{
	struct in_flight *one = calloc(1, sizeof(*one));

	if (!one) {
		(void)close(pidfd); /* without memory the process is not waited for */
		return;
	}
	one->pidfd = pidfd;
	one->pid = pid;
	one->until_ns = until_ns;
	kms_list_push_back(&images->in_flight, &one->link);
	images->state.in_flight++;
}

void kms_images_note_flights(struct kms_images *images, struct kms_image *image, uint64_t now_ns)
{
	for (uint32_t i = 0; i < image->n_slots; i++) {
		int fd = kms_image_take_executing(image, i);

		if (fd >= 0)
			add_flight(images, fd, image->slot[i].target->info.pid, now_ns + flight_ns);
	}
}

static bool has_image(const struct kms_images *images, uint32_t pid)
{
	for (struct kms_list *it = kms_list_first(&images->list); it;
	     it = kms_list_next(&images->list, it)) {
		if (KMS_CONTAINER_OF(it, struct kms_image, link)->region.head.pid == pid)
			return true;
	}
	return false;
}

/* Once: which process is not traced any more is of use for the first one; a tree may have many. */
static void say_untraced(struct kms_images *images, const struct in_flight *one)
{
	char link[32], program[256], line[512];
	ssize_t n;

	if (images->untraced_said || !images->env.say)
		return;
	images->untraced_said = true;
	(void)snprintf(link, sizeof(link), "/proc/%u/exe", (unsigned)one->pid); /* fits */
	n = readlink(link, program, sizeof(program) - 1);
	program[n > 0 ? n : 0] = '\0';
	(void)snprintf(line, sizeof(line),
		       "process %u now runs %s, which is not traced: its environment was cleared, "
		       "it is static or set-id, or it allocates nothing",
		       (unsigned)one->pid, n > 0 ? program : "a program");
	images->env.say(images->env.say_arg, line);
}

void kms_images_check_flights(struct kms_images *images, uint64_t now_ns)
{
	struct kms_list *next;

	images->state.in_flight = 0;
	for (struct kms_list *it = kms_list_first(&images->in_flight); it; it = next) {
		struct in_flight *one = KMS_CONTAINER_OF(it, struct in_flight, link);

		next = kms_list_next(&images->in_flight, it);
		if (kms_process_has_ended(one->pidfd) || has_image(images, one->pid) ||
		    now_ns > one->until_ns) {
			kms_images_drop_flight(one);
			images->state.changed_ns = now_ns;
		} else {
			images->state.in_flight++;
			if (one->until_ns - now_ns < flight_ns - untraced_ns)
				say_untraced(images, one);
		}
	}
}

/* Whether a process is waited for, or has a region. */
static bool is_known(const struct kms_images *images, uint32_t pid)
{
	for (struct kms_list *it = kms_list_first(&images->in_flight); it;
	     it = kms_list_next(&images->in_flight, it)) {
		if (KMS_CONTAINER_OF(it, struct in_flight, link)->pid == pid)
			return true;
	}
	return has_image(images, pid);
}

bool kms_images_has(struct kms_images *images, pid_t pid)
{
	const struct kms_target *target;
	bool has;

	(void)pthread_mutex_lock(&images->lock); /* a plain mutex, never locked twice */
	target = kms_targets_find(&images->targets, (uint32_t)pid);
	has = is_known(images, (uint32_t)pid) ||
	      (target && (!target->info.end_wall_ns ||
			  target->info.end_wall_ns + KMS_IMAGE_UNSEEN_NS > kms_wall_ns()));
	(void)pthread_mutex_unlock(&images->lock);
	return has;
}

/* The lock is held for each one found only: reading all of /proc takes its time. */
static void found(void *arg, pid_t pid)
{
	struct kms_images *images = arg;
	int fd;

	(void)pthread_mutex_lock(&images->lock); /* a plain mutex, never locked twice */
	fd = is_known(images, (uint32_t)pid) ? -1 : kms_process_watch(pid, 0);
	if (fd >= 0)
		add_flight(images, fd, (uint32_t)pid, UINT64_MAX);
	(void)pthread_mutex_unlock(&images->lock);
}

uint32_t kms_images_find_tree(struct kms_images *images)
{
	unsigned unsure = kms_process_each_with(images->environment, found, images);
	struct kms_images_state now;

	kms_images_state(images, &now);
	return now.in_flight + unsure;
}
