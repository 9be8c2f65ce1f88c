/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's region, copied: see mirror.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tracer/guest/mirror_impl.h"

void *mirror_room(struct kms_guest_mirror *m, size_t bytes)
{
	uint8_t *room = m->stage + m->staged;

	bytes = (bytes + 7) / 8 * 8;
	if (bytes > MIRROR_STAGE_BYTES - m->staged) {
		m->failed = m->failed ? m->failed : -ENOSPC;
		return NULL;
	}
	m->staged += bytes;
	return room;
}

void mirror_want(struct kms_guest_mirror *m, uint64_t offset, void *to, size_t bytes)
{
	if (m->n_pieces == MIRROR_PIECES)
		(void)mirror_flush(m); /* the next one tells */
	m->piece[m->n_pieces++] = (struct kms_guest_piece){
		.address = m->guest.physical + offset, .to = to, .bytes = bytes};
}

void *mirror_stage(struct kms_guest_mirror *m, uint64_t offset, size_t bytes)
{
	void *to = mirror_room(m, bytes);

	if (to)
		mirror_want(m, offset, to, bytes);
	return to;
}

bool mirror_flush(struct kms_guest_mirror *m)
{
	int result = 0;

	if (m->n_pieces && !m->failed)
		result = kms_guest_read_pieces(m->memory, m->piece, m->n_pieces, NULL);
	m->n_pieces = 0;
	if (result)
		m->failed = result;
	return !m->failed;
}

void mirror_put_later(struct kms_guest_mirror *m, uint64_t to, const void *from, size_t bytes)
{
	if (m->n_puts == MIRROR_PUTS) {
		m->failed = m->failed ? m->failed : -ENOSPC;
		return;
	}
	m->put[m->n_puts++] = (struct mirror_put){.to = to, .from = from, .bytes = bytes};
}

static void begin_pull(struct kms_guest_mirror *m)
{
	m->n_pieces = m->n_puts = m->staged = 0;
	m->failed = 0;
	memcpy(m->next_ring, m->ring, m->guest.head.rings * sizeof(*m->ring));
}

/* Whether the boot that the copy is of is still there; @m->over says else. */
static bool is_same_boot(struct kms_guest_mirror *m)
{
	struct kms_region_header now;

	if (kms_guest_read(m->memory, m->guest.physical, &now, sizeof(now), NULL)) {
		m->over = KMS_MIRROR_GONE;
		return false;
	}
	if (now.magic == KMS_REGION_MAGIC &&
	    !memcmp(now.image_id, m->guest.head.image_id, sizeof(now.image_id)))
		return true;
	m->over = KMS_MIRROR_RESET;
	return false;
}

bool mirror_is_untouched(struct kms_guest_mirror *m)
{
	struct kms_pair now[2]; /* owner and heartbeat, as they lie there */
	const struct kms_pair *sent = &m->sent_page->owner;

	_Static_assert(offsetof(struct kms_tracer_page, heartbeat) == sizeof(struct kms_pair),
		       "one read has both");
	if (m->read_only || !m->is_claimed)
		return true; /* nothing but a claim was written yet: kms_guest_mirror_push() */
	if (kms_guest_read(m->memory, m->guest.physical + mirror_there(m, KMS_SEC_TRACER, 0), now,
			   sizeof(now), NULL)) {
		m->over = KMS_MIRROR_GONE;
		return false;
	}
	if (!memcmp(&now[0], sent, sizeof(*sent)) &&
	    !memcmp(&now[1], &m->sent_page->heartbeat, sizeof(now[1])))
		return true;
	if (!is_same_boot(m))
		return false;
	/* a snapshot may have been taken when another tracer had the guest: that one's heart is still */
	m->over = memcmp(&now[0], sent, sizeof(*sent)) != 0 &&
				  kms_guest_region_is_owned(m->memory, &m->guest, NULL) == 1
			  ? KMS_MIRROR_TAKEN
			  : KMS_MIRROR_REWOUND;
	return false;
}

static void commit(struct kms_guest_mirror *m)
{
	struct kms_region_header *head = (void *)m->map;

	for (size_t i = 0; i < m->n_puts; i++)
		memcpy(m->map + m->put[i].to, m->put[i].from, m->put[i].bytes);
	for (unsigned kind = 1; kind < KMS_REGION_KINDS; kind++)
		head->section[m->section[kind].index].used = m->used[kind];
	memcpy(m->ring, m->next_ring, m->guest.head.rings * sizeof(*m->ring));
}

/* One pull until @m->failed or @m->over says that it is of no use. */
static bool pull(struct kms_guest_mirror *m, uint64_t now_ns, bool all,
		 struct kms_guest_mirror_news *news)
{
	bool counters = all || now_ns - m->counters_ns >= MIRROR_COUNTERS_NS;

	if (!mirror_pull_rings(m, news))
		return false;
	if (news->any || all || now_ns - m->slots_ns >= MIRROR_SLOTS_NS) {
		m->slots_ns = now_ns;
		if (!mirror_pull_slots(m, news))
			return false;
	}
	if (news->any || counters || now_ns - m->tables_ns >= MIRROR_TABLES_NS) {
		m->tables_ns = now_ns;
		if (!mirror_pull_tables(m, counters))
			return false;
	}
	if (counters) {
		m->counters_ns = now_ns;
		if (!mirror_pull_counters(m))
			return false;
	}
	return is_same_boot(m) && mirror_is_untouched(m);
}

/* Each look has the guest stand: it is not looked at without end, whoever asks for it. */
static bool is_pause_due(struct kms_guest_mirror *m, uint64_t now_ns)
{
	if (now_ns - m->paused_at_ns < MIRROR_PAUSE_NS)
		return false;
	m->paused_at_ns = now_ns;
	m->push_is_due = true;
	return true;
}

/* A back end that has to stop the guest for a read stops it once for all of them. */
static bool pull_held(struct kms_guest_mirror *m, uint64_t now_ns, bool all,
		      struct kms_guest_mirror_news *news)
{
	bool good = kms_guest_memory_hold(m->memory, NULL) == 0;

	if (!good)
		return false;
	good = pull(m, now_ns, all, news);
	return kms_guest_memory_let_go(m->memory, NULL) == 0 && good;
}

void kms_guest_mirror_pull(struct kms_guest_mirror *m, uint64_t now_ns, bool all,
			   struct kms_guest_mirror_news *news)
{
	*news = (struct kms_guest_mirror_news){0};
	if (m->over || (m->memory->pauses && !is_pause_due(m, now_ns)))
		return;
	begin_pull(m);
	if (pull_held(m, now_ns, all, news)) {
		commit(m);
		if (m->is_saved && !news->more)
			m->over = KMS_MIRROR_GONE;
		return;
	}
	news->any = news->more = false;
	if (!m->over)
		m->over = KMS_MIRROR_GONE;
}

void kms_guest_mirror_end(struct kms_guest_mirror *m)
{
	if (!m->over)
		m->over = KMS_MIRROR_GONE;
}

enum kms_guest_mirror_over kms_guest_mirror_over(const struct kms_guest_mirror *m)
{
	return m->over;
}

bool kms_guest_mirror_is_late(const struct kms_guest_mirror *m)
{
	return m->is_late;
}

int kms_guest_mirror_fd(const struct kms_guest_mirror *m)
{
	int fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int kms_guest_mirror_create(const struct kms_guest_mirror_config *config,
			    struct kms_guest_mirror **out, struct kms_err *err)
{
	struct kms_guest_mirror *m = calloc(1, sizeof(*m));
	int result;

	if (!m)
		return kms_err_set(err, -ENOMEM, "no memory for a guest's region");
	m->fd = -1;
	result = mirror_make(m, config, err);
	if (result) {
		kms_guest_mirror_destroy(m);
		return result;
	}
	*out = m;
	return 0;
}

void kms_guest_mirror_destroy(struct kms_guest_mirror *m)
{
	if (!m)
		return;
	if (m->map)
		(void)munmap(m->map, m->bytes); /* ours: cannot fail */
	if (m->fd >= 0)
		(void)close(m->fd); /* nothing of it is kept */
	for (unsigned kind = 0; kind < KMS_REGION_KINDS; kind++)
		free(m->table[kind].hole);
	free(m->ring);
	free(m->next_ring);
	free(m->piece);
	free(m->put);
	free(m->stage);
	free(m->sent_page);
	free(m->sent_position);
	free(m->sent_request);
	free(m);
}
