/* SPDX-License-Identifier: BSD-2-Clause */
/* The copy of a guest's region before anything of its history is in it: see mirror.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tracer/guest/mirror_impl.h"
#include "tracer/process.h"

enum {
	OWNED_LOOKS = 20, /* a heart that lives beats every 50 ms or oftener */
	OWNED_LOOK_MS = 10,
};

static uint64_t pages_of(uint64_t bytes)
{
	return (bytes + KMS_PAGE_BYTES - 1) / KMS_PAGE_BYTES * KMS_PAGE_BYTES;
}

/* The guest's layout, with the strings behind all the rest and some room behind them. */
static int lay_out(struct kms_guest_mirror *m, struct kms_err *err)
{
	struct kms_section *strings;
	uint64_t own = MIRROR_OWN_STRING_BYTES / sizeof(struct kms_string_head);
	uint64_t most = KMS_MAX_STRING_BYTES / sizeof(struct kms_string_head);

	m->head = m->guest.head;
	strings = &m->head.section[m->guest.section[KMS_SEC_STRING].index];
	strings->offset = pages_of(m->guest.head.region_bytes);
	strings->entries += own;
	strings->entries = strings->entries < most ? strings->entries : most;
	m->head.region_bytes =
		pages_of(strings->offset + strings->entries * sizeof(struct kms_string_head));
	m->bytes = m->head.region_bytes;
	if (m->bytes > KMS_REGION_MAX_BYTES)
		return kms_err_set(err, -EFBIG, "region of %llu bytes",
				   (unsigned long long)m->guest.head.region_bytes);
	return kms_region_check(&m->head, m->bytes, m->section, err);
}

static int make_memory(struct kms_guest_mirror *m, struct kms_err *err)
{
	void *map;

	m->fd = memfd_create("kmemscope-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->bytes) ||
	    fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return kms_err_sys(err, -errno, "memory for a guest's region", NULL);
	map = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (map == MAP_FAILED)
		return kms_err_sys(err, -errno, "mmap", NULL);
	m->map = map;
	m->ring = calloc(m->head.rings, sizeof(*m->ring));
	m->next_ring = calloc(m->head.rings, sizeof(*m->next_ring));
	m->piece = calloc(MIRROR_PIECES, sizeof(*m->piece));
	m->put = calloc(MIRROR_PUTS, sizeof(*m->put));
	m->stage = malloc(MIRROR_STAGE_BYTES);
	m->sent_page = calloc(1, sizeof(*m->sent_page));
	m->sent_position = calloc(m->head.rings, sizeof(*m->sent_position));
	m->sent_request = calloc(m->head.slots, sizeof(*m->sent_request));
	if (!m->ring || !m->next_ring || !m->piece || !m->put || !m->stage || !m->sent_page ||
	    !m->sent_position || !m->sent_request)
		return kms_err_set(err, -ENOMEM, "no memory for a guest's region");
	return 0;
}

/* A string of ours behind those of the guest. Returns its index, 0 if there is no room. */
static uint32_t add_string(struct kms_guest_mirror *m, uint64_t *next, const char *text)
{
	size_t length = strlen(text);
	uint64_t units = 1 + (length + 7) / 8;
	struct kms_string_head *head;
	uint64_t index = *next;

	if (!length || units > m->section[KMS_SEC_STRING].entries - index)
		return 0;
	head = (void *)(m->map + mirror_here(m, KMS_SEC_STRING, index));
	memcpy(head + 1, text, length);
	head->ready = (uint32_t)length + 1;
	*next = index + units;
	return (uint32_t)index;
}

/* What the tracer writes, as a former tracer left it; nobody owns the copy. */
static int take_over(struct kms_guest_mirror *m, struct kms_err *err)
{
	uint64_t page = mirror_here(m, KMS_SEC_TRACER, 0);
	uint64_t position = page + sizeof(struct kms_tracer_page);
	uint64_t request = mirror_here(m, KMS_SEC_REQUEST, 0);
	size_t position_bytes = m->head.rings * sizeof(*m->sent_position);
	size_t request_bytes = m->head.slots * sizeof(*m->sent_request);
	struct kms_tracer_page *ours = (void *)(m->map + page);

	mirror_want(m, mirror_there(m, KMS_SEC_TRACER, 0), m->sent_page, sizeof(*m->sent_page));
	mirror_want(m, mirror_there(m, KMS_SEC_TRACER, 0) + sizeof(*m->sent_page), m->sent_position,
		    position_bytes);
	mirror_want(m, mirror_there(m, KMS_SEC_REQUEST, 0), m->sent_request, request_bytes);
	if (!mirror_flush(m))
		return kms_err_set(err, m->failed, "the guest's memory cannot be read");
	m->is_late = m->sent_page->owner.v != 0;
	for (uint32_t i = 0; i < m->head.rings; i++) /* somebody read of it, and gave it back */
		m->is_late |= m->sent_position[i].v != 0;
	*ours = *m->sent_page;
	ours->owner = (struct kms_pair){0};
	memcpy(m->map + position, m->sent_position, position_bytes);
	memcpy(m->map + request, m->sent_request, request_bytes);
	m->sent_page->owner = (struct kms_pair){0};
	return 0;
}

/* The newest time that anything in the guest's rings has, on its own clock: it is that late at least. */
static uint64_t newest_time(struct kms_guest_mirror *m)
{
	const struct kms_ring_desc *desc;
	const struct kms_slot *slot;
	uint32_t blocks = m->head.blocks_per_ring;
	uint64_t newest;

	desc = mirror_stage(m, mirror_there(m, KMS_SEC_RING_DESC, 0),
			    m->head.rings * sizeof(*desc));
	slot = mirror_stage(m, mirror_there(m, KMS_SEC_SLOT, 0), sizeof(*slot));
	if (!desc || !slot || !mirror_flush(m))
		return 0;
	newest = slot->claim_ns;
	m->is_late |= slot->lost_unringed || slot->dropped_stalled;
	for (uint32_t i = 0; i < m->head.rings; i++) {
		uint64_t index = (uint64_t)i * blocks + (desc[i].head_block & (blocks - 1));
		struct kms_block *block;
		size_t staged = m->staged;

		m->is_late |= desc[i].claims && desc[i].lost;
		if (!desc[i].claims)
			continue;
		block = mirror_stage(m, mirror_there(m, KMS_SEC_RING, index), 64);
		if (!block || !mirror_flush(m))
			return 0;
		if (block->number == desc[i].head_block && block->base_time_ns > newest)
			newest = block->base_time_ns;
		m->staged = staged;
	}
	return newest;
}

/* The guest's clocks are its own: what we know is what it had reached when we came. */
static void set_clock(struct kms_guest_mirror *m)
{
	uint64_t newest = newest_time(m), wall = kms_wall_ns(), mono = kms_mono_ns();

	m->head.start_wall_ns = newest < wall ? wall - newest : 1;
	m->head.start_mono_ns = newest < mono ? mono - newest : 1;
}

static void write_header(struct kms_guest_mirror *m, const struct kms_guest_mirror_config *config)
{
	uint64_t next = m->guest.section[KMS_SEC_STRING].entries;

	m->kernel_string = add_string(m, &next, config->program);
	m->head.program_string = m->kernel_string;
	m->head.command_string = add_string(m, &next, config->command);
	m->head.pid = 0;
	m->head.parent_image_pid = 0;
	for (unsigned i = 0; i < m->head.sections; i++)
		m->head.section[i].used = 0; /* as far as the first pull finds */
	memcpy(m->map, &m->head, sizeof(m->head));
}

int mirror_make(struct kms_guest_mirror *m, const struct kms_guest_mirror_config *config,
		struct kms_err *err)
{
	int result;

	m->memory = config->memory;
	m->guest = *config->region;
	m->is_saved = m->read_only = config->is_saved;
	m->is_blob = config->is_blob;
	result = lay_out(m, err);
	if (!result)
		result = make_memory(m, err);
	if (!result)
		result = take_over(m, err);
	if (result)
		return result;
	set_clock(m);
	if (m->failed)
		return kms_err_set(err, m->failed, "the guest's memory cannot be read");
	write_header(m, config);
	return 0;
}

int kms_guest_region_is_owned(struct kms_guest_memory *memory,
			      const struct kms_guest_region *region, struct kms_err *err)
{
	const struct timespec pause = {.tv_nsec = OWNED_LOOK_MS * 1000000L};
	uint64_t at = region->physical + region->section[KMS_SEC_TRACER].offset;
	struct kms_tracer_page *page = malloc(sizeof(*page));
	uint64_t beat = 0;
	int result = 0;

	if (!page)
		return kms_err_set(err, -ENOMEM, "no memory");
	for (int i = 0; !result && i < OWNED_LOOKS; i++) {
		result = kms_guest_read(memory, at, page, sizeof(*page), err);
		if (result || !page->owner.v || page->owner.v != ~page->owner.not_v)
			break;
		if (i && page->heartbeat.v == ~page->heartbeat.not_v && page->heartbeat.v != beat) {
			result = 1;
			break;
		}
		if (page->heartbeat.v == ~page->heartbeat.not_v)
			beat = page->heartbeat.v;
		(void)nanosleep(&pause, NULL); /* nobody wakes us: only its heart moves */
	}
	free(page);
	return result;
}
