/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After a loss: events that a process dropped are in no picture, so blocks live on that were freed, and
 * others are missing. What is true stands in its side tables. So it is asked to begin recording anew
 * (kmem_resync), which has its live set read from there (base.h), as soon as it loses nothing for a
 * moment; and now and then while it goes on losing. A scan of a large process takes its time: the
 * longer the loss goes on, the rarer.
 */
#include "schema/variables.h"
#include "tracer/attach_look.h"
#include "tracer/image_impl.h"

static const uint64_t quiet_ns = 200000000;      /* nothing lost for so long: it is over */
static const uint64_t busy_ns = 5000000000;      /* it is not: a picture that will not last */
static const uint64_t first_ns = 1000000000;     /* between two scans, doubled each time */
static const uint64_t most_ns = 60000000000;     /* but no longer than this */
static const uint64_t forgiven_ns = 60000000000; /* nothing lost for so long: from the beginning */

static void note(struct kms_image_loss *loss, uint64_t now_ns)
{
	if (!loss->seen_ns || now_ns - loss->seen_ns > forgiven_ns) {
		loss->since_ns = now_ns;
		loss->interval_ns = first_ns;
	}
	loss->seen_ns = now_ns;
}

/* What the owners of rings say they dropped; what a former tracer knew of is not news. */
static void look_at_rings(struct kms_image *image, uint64_t now_ns)
{
	for (uint32_t i = 0; i < image->n_rings; i++) {
		struct kms_image_ring *ring = &image->ring[i];
		const struct kms_ring_reader *reader = &ring->reader;

		if (!reader->claim)
			continue;
		if (ring->told_claim != reader->claim) {
			ring->told_claim = reader->claim;
			ring->told_lost = reader->is_joined ? reader->told_lost : 0;
		}
		if (ring->told_lost != reader->told_lost)
			note(&image->slot[reader->slot].loss, now_ns);
		ring->told_lost = reader->told_lost;
	}
}

static bool is_due(const struct kms_image_loss *loss, uint64_t now_ns)
{
	uint64_t since_ns = loss->asked_ns > loss->since_ns ? loss->asked_ns : loss->since_ns;

	if (loss->seen_ns <= loss->asked_ns || now_ns - loss->asked_ns < loss->interval_ns)
		return false;
	return now_ns - loss->seen_ns >= quiet_ns || now_ns - since_ns >= busy_ns;
}

/* Without it a new session would only empty the picture. */
static bool can_be_read(const struct kms_image *image, const struct kms_image_slot *slot)
{
	uint64_t word;

	if (image->mirror)
		return !slot->is_dead && !kms_guest_mirror_over(image->mirror) &&
		       kms_guest_link_read(image->env->guest, slot->span_table, &word,
					   sizeof(word)) == (ssize_t)sizeof(word);
	return slot->pidfd >= 0 && !slot->is_dead && !slot->left_ns && !slot->target->is_ignored &&
	       kms_memory_copy((pid_t)slot->target->info.pid, slot->span_table, &word,
			       sizeof(word)) == (ssize_t)sizeof(word);
}

static void ask(struct kms_image *image, uint32_t index, uint64_t now_ns)
{
	struct kms_image_loss *loss = &image->slot[index].loss;
	uint64_t seq;

	loss->asked_ns = now_ns;
	loss->interval_ns = 2 * loss->interval_ns < most_ns ? 2 * loss->interval_ns : most_ns;
	/* where its memory is gone the next poll says so */
	if (can_be_read(image, &image->slot[index]))
		(void)kms_control_request(&image->control, index, KMS_VAR_RESYNC, 1, &seq);
}

void kms_image_follow_loss(struct kms_image *image, uint64_t now_ns)
{
	if (!image->env->base || !image->control.is_owner)
		return;
	look_at_rings(image, now_ns);
	for (uint32_t i = 0; i < image->n_slots; i++) {
		struct kms_image_slot *slot = &image->slot[i];

		if (!slot->target)
			continue;
		if (slot->loss.unringed != slot->lost_unringed)
			note(&slot->loss, now_ns);
		slot->loss.unringed = slot->lost_unringed;
		if (is_due(&slot->loss, now_ns))
			ask(image, i, now_ns);
	}
}
