/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tracer writes, carried from the copy into the guest: see mirror.h. No write into a guest is
 * atomic, so values are pairs {v, ~v}, and what says that there is something new is written last.
 */
#include <errno.h>
#include <string.h>

#include "tracer/guest/mirror_impl.h"
#include "tracer/process.h"

static bool is_other(const struct kms_pair *a, const struct kms_pair *b)
{
	return a->v != b->v || a->not_v != b->not_v;
}

static void write_to(struct kms_guest_mirror *m, uint64_t offset, const void *from, size_t bytes)
{
	int result;

	if (m->read_only || m->over)
		return;
	result = kms_guest_write(m->memory, m->guest.physical + offset, from, bytes, NULL);
	if (result == -EROFS)
		m->read_only = true;
	else if (result)
		m->over = KMS_MIRROR_GONE;
}

/* Whether nobody has put another nonce where ours was; one that cannot be read is no other. */
static bool is_ours(struct kms_guest_mirror *m)
{
	struct kms_pair owner;

	return kms_guest_read(m->memory, m->guest.physical + mirror_there(m, KMS_SEC_TRACER, 0),
			      &owner, sizeof(owner), NULL) ||
	       owner.v != ~owner.not_v || owner.v == m->sent_page->owner.v;
}

/*
 * Whether the guest is ours. Two tracers that come in the same moment both find it free and both write
 * their nonce, once: the last one counts, and until that is known nothing else is written.
 */
static bool claim(struct kms_guest_mirror *m, const struct kms_tracer_page *page)
{
	uint64_t now_ns = kms_mono_ns();

	if (m->is_claimed)
		return true;
	if (!m->sent_page->owner.v) {
		m->sent_page->owner = page->owner;
		m->claimed_ns = now_ns;
		write_to(m,
			 mirror_there(m, KMS_SEC_TRACER, 0) + offsetof(struct kms_tracer_page, pid),
			 &page->pid, sizeof(page->pid));
		write_to(m, mirror_there(m, KMS_SEC_TRACER, 0), &page->owner, sizeof(page->owner));
	}
	/* a stub has one client, so there is nobody to wait for */
	if (!m->memory->pauses && now_ns - m->claimed_ns < MIRROR_SETTLE_NS)
		return false;
	m->is_claimed = is_ours(m);
	if (!m->is_claimed)
		m->over = KMS_MIRROR_TAKEN;
	return m->is_claimed;
}

/* What lies behind the nonce. */
static void push_page(struct kms_guest_mirror *m)
{
	const uint8_t *page = m->map + mirror_here(m, KMS_SEC_TRACER, 0);
	uint8_t *sent = (uint8_t *)m->sent_page;
	size_t from = offsetof(struct kms_tracer_page, heartbeat);
	size_t bytes = offsetof(struct kms_tracer_page, wake) - from;

	if (!memcmp(page + from, sent + from, bytes))
		return;
	memcpy(sent + from, page + from, bytes);
	write_to(m, mirror_there(m, KMS_SEC_TRACER, 0) + from, page + from, bytes);
}

static void push_positions(struct kms_guest_mirror *m)
{
	const struct kms_tracer_page *page =
		(const void *)(m->map + mirror_here(m, KMS_SEC_TRACER, 0));
	const struct kms_pair *position = (const void *)(page + 1);
	uint64_t at = mirror_there(m, KMS_SEC_TRACER, 0) + sizeof(*page);

	for (uint32_t i = 0; i < m->n_rings; i++) {
		if (!is_other(&position[i], &m->sent_position[i]))
			continue;
		m->sent_position[i] = position[i];
		write_to(m, at + i * sizeof(*position), &position[i], sizeof(*position));
	}
	if (page->wake != m->sent_page->wake) {
		m->sent_page->wake = page->wake;
		write_to(m,
			 mirror_there(m, KMS_SEC_TRACER, 0) +
				 offsetof(struct kms_tracer_page, wake),
			 &page->wake, sizeof(page->wake));
	}
}

/* Items, then the sequence, then the word that is looked at. */
static void push_request(struct kms_guest_mirror *m, uint32_t slot)
{
	const struct kms_request *now =
		(const void *)(m->map + mirror_here(m, KMS_SEC_REQUEST, slot));
	struct kms_request *sent = &m->sent_request[slot];
	uint64_t at = mirror_there(m, KMS_SEC_REQUEST, slot);

	if (now->attention == sent->attention)
		return; /* moves with everything else */
	for (unsigned i = 0; i < KMS_REQUEST_ITEMS; i++) {
		if (is_other(&now->item[i], &sent->item[i]))
			write_to(m,
				 at + offsetof(struct kms_request, item) + i * sizeof(now->item[i]),
				 &now->item[i], sizeof(now->item[i]));
	}
	write_to(m, at + offsetof(struct kms_request, seq), &now->seq, sizeof(now->seq));
	if (now->held != sent->held)
		write_to(m, at + offsetof(struct kms_request, held), &now->held, sizeof(now->held));
	write_to(m, at + offsetof(struct kms_request, attention), &now->attention,
		 sizeof(now->attention));
	*sent = *now;
}

/* Whether somebody waits for an answer: that is worth a pause. */
static bool has_request(const struct kms_guest_mirror *m)
{
	for (uint32_t i = 0; i < m->n_slots; i++) {
		const struct kms_request *now =
			(const void *)(m->map + mirror_here(m, KMS_SEC_REQUEST, i));

		if (now->attention != m->sent_request[i].attention)
			return true;
	}
	return false;
}

void kms_guest_mirror_push(struct kms_guest_mirror *m)
{
	const struct kms_tracer_page *page =
		(const void *)(m->map + mirror_here(m, KMS_SEC_TRACER, 0));

	/* as long as nobody owns the copy, what stands in it is a former tracer's */
	if (m->over || m->read_only || !page->owner.v)
		return;
	if (m->memory->pauses && !m->push_is_due && !has_request(m))
		return;
	m->push_is_due = false;
	if (kms_guest_memory_hold(m->memory, NULL)) {
		m->over = KMS_MIRROR_GONE;
		return;
	}
	/* what we write would hide that it went back since the last pull */
	if (mirror_is_untouched(m) && claim(m, page)) {
		push_page(m);
		push_positions(m);
		for (uint32_t i = 0; i < m->n_slots; i++)
			push_request(m, i);
	}
	if (kms_guest_memory_let_go(m->memory, NULL))
		m->over = KMS_MIRROR_GONE;
}

void kms_guest_mirror_leave(struct kms_guest_mirror *m)
{
	const struct kms_pair nobody = {0};

	if (m->over)
		return;
	kms_guest_mirror_push(m);
	if (m->sent_page->owner.v && is_ours(m))
		write_to(m, mirror_there(m, KMS_SEC_TRACER, 0), &nobody, sizeof(nobody));
	m->over = KMS_MIRROR_LEFT;
}
