/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See synth.h.
 */
#include "tracer/test/synth.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void give_up(const char *what)
{
	perror(what);
	abort();
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* One row of the section table. */
static void lay_out(struct synth *s, unsigned kind, uint32_t entry_bytes, uint64_t entries)
{
	struct kms_section *row = &s->head->section[s->head->sections++];

	row->kind = kind;
	row->entry_bytes = entry_bytes;
	row->entries = entries;
	row->offset = s->head->region_bytes;
	s->section[kind] = row;
	s->head->region_bytes += (entries * entry_bytes + 4095) / 4096 * 4096;
}

static void lay_out_all(struct synth *s, uint64_t nodes)
{
	struct kms_region_header *h = s->head;

	lay_out(s, KMS_SEC_TRACER, sizeof(struct kms_pair), 256 + h->rings);
	lay_out(s, KMS_SEC_REQUEST, sizeof(struct kms_request), h->slots);
	lay_out(s, KMS_SEC_SLOT, sizeof(struct kms_slot), h->slots);
	lay_out(s, KMS_SEC_RING_DESC, sizeof(struct kms_ring_desc), h->rings);
	lay_out(s, KMS_SEC_RING, sizeof(struct kms_block), (uint64_t)h->rings * h->blocks_per_ring);
	lay_out(s, KMS_SEC_NODE, sizeof(struct kms_node), nodes);
	lay_out(s, KMS_SEC_CACHE, sizeof(struct kms_cache_entry), KMS_MAX_CACHES);
	lay_out(s, KMS_SEC_CACHE_STAT, sizeof(struct kms_cache_stat),
		(uint64_t)h->slots * KMS_MAX_CACHES);
	lay_out(s, KMS_SEC_COUNTER, sizeof(struct kms_counter),
		(uint64_t)(h->rings + h->slots) * KMS_MAX_CACHES);
	lay_out(s, KMS_SEC_MODULE, sizeof(struct kms_module), 256);
	lay_out(s, KMS_SEC_THREAD, sizeof(struct kms_thread), 1024);
	lay_out(s, KMS_SEC_STRING, sizeof(struct kms_string_head), 8192);
	lay_out(s, KMS_SEC_FAULT, sizeof(struct kms_fault), 64);
	lay_out(s, KMS_SEC_FORK_CUT, sizeof(struct kms_fork_cut), 1024);
	s->section[KMS_SEC_NODE]->used = 1;
	s->section[KMS_SEC_STRING]->used = 1;
}

void synth_create(struct synth *s, const char *path, const struct synth_config *config)
{
	struct kms_region_header head = {.region_bytes = KMS_PAGE_BYTES};
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		give_up(path);
	memset(s, 0, sizeof(*s));
	snprintf(s->path, sizeof(s->path), "%s", path);
	head.version = KMS_REGION_VERSION;
	head.header_bytes = sizeof(head);
	head.target_kind = KMS_TARGET_PROCESS;
	head.pid = config->pid ? config->pid : (uint32_t)getpid();
	head.word_bytes = 8;
	head.start_mono_ns = now_ns();
	head.start_wall_ns = 1700000000000000000ull;
	head.rings = config->rings ? config->rings : 4;
	head.slots = config->slots ? config->slots : 4;
	head.blocks_per_ring = config->blocks_per_ring ? config->blocks_per_ring : 16;
	s->head = &head;
	lay_out_all(s, config->nodes ? config->nodes : 4096);
	s->bytes = head.region_bytes;
	if (ftruncate(fd, (off_t)s->bytes))
		give_up("ftruncate");
	s->map = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s->map == MAP_FAILED)
		give_up("mmap");
	close(fd);
	memcpy(s->map, &head, sizeof(head));
	for (unsigned kind = 1; kind < SYNTH_KINDS; kind++)
		s->section[kind] =
			(struct kms_section *)(void *)(s->map + ((uint8_t *)s->section[kind] -
								 (uint8_t *)&head));
	s->head = (void *)s->map;
	if (!config->unpublished)
		synth_publish(s);
}

void synth_publish(struct synth *s)
{
	s->head->program_string = synth_string(s, "/usr/bin/synth");
	s->head->command_string = synth_string(s, "synth --test");
	__atomic_store_n(&s->head->magic, KMS_REGION_MAGIC, __ATOMIC_RELEASE);
}

void synth_close(struct synth *s)
{
	munmap(s->map, s->bytes);
	s->map = NULL;
}

void *synth_at(const struct synth *s, unsigned kind, uint64_t index)
{
	return s->map + s->section[kind]->offset + index * s->section[kind]->entry_bytes;
}

void synth_slot(struct synth *s, uint32_t slot, uint32_t pid, uint32_t parent_slot)
{
	struct kms_slot *p = synth_at(s, KMS_SEC_SLOT, slot);

	p->claims++;
	p->pid = pid;
	p->parent_slot = parent_slot;
	p->claim_ns = now_ns() - s->head->start_mono_ns;
	__atomic_store_n(&p->state, KMS_SLOT_LIVE, __ATOMIC_RELEASE);
}

uint32_t synth_reserve(struct synth *s, unsigned kind, uint32_t count)
{
	return (uint32_t)__atomic_fetch_add(&s->section[kind]->used, count, __ATOMIC_RELAXED);
}

uint32_t synth_node(struct synth *s, uint32_t parent, uint64_t pc)
{
	uint32_t index = synth_reserve(s, KMS_SEC_NODE, 1);
	struct kms_node *node = synth_at(s, KMS_SEC_NODE, index);

	node->pc = pc;
	node->parent = parent;
	__atomic_store_n(&node->epoch_ready, KMS_NODE_READY, __ATOMIC_RELEASE);
	return index;
}

uint32_t synth_cache(struct synth *s, const char *name, uint32_t object_bytes)
{
	uint32_t index = synth_reserve(s, KMS_SEC_CACHE, 1);
	struct kms_cache_entry *cache = synth_at(s, KMS_SEC_CACHE, index);

	snprintf(cache->name, sizeof(cache->name), "%s", name);
	cache->object_bytes = cache->stride_bytes = object_bytes;
	cache->align_bytes = 16;
	cache->kind = KMS_CACHE_MALLOC;
	__atomic_store_n(&cache->ready, 1, __ATOMIC_RELEASE);
	return index;
}

uint32_t synth_string(struct synth *s, const char *text)
{
	size_t n = strlen(text);
	uint32_t index = synth_reserve(s, KMS_SEC_STRING, (uint32_t)(1 + (n + 7) / 8));
	struct kms_string_head *head = synth_at(s, KMS_SEC_STRING, index);

	memcpy(head + 1, text, n);
	__atomic_store_n(&head->ready, (uint32_t)n + 1, __ATOMIC_RELEASE);
	return index;
}

uint32_t synth_module(struct synth *s, const char *path, uint64_t start, uint64_t end)
{
	uint32_t string = synth_string(s, path);
	uint32_t index = synth_reserve(s, KMS_SEC_MODULE, 1);
	struct kms_module *module = synth_at(s, KMS_SEC_MODULE, index);

	module->start = start;
	module->end = end;
	module->load_bias = start;
	module->path_string = string;
	__atomic_store_n(&module->ready, 1, __ATOMIC_RELEASE);
	return index;
}

uint32_t synth_thread(struct synth *s, uint32_t slot, uint32_t tid, const char *name)
{
	uint32_t index = synth_reserve(s, KMS_SEC_THREAD, 1);
	struct kms_thread *thread = synth_at(s, KMS_SEC_THREAD, index);

	thread->slot = slot;
	thread->tid = tid;
	snprintf(thread->name, sizeof(thread->name), "%s", name);
	__atomic_store_n(&thread->ready, 1, __ATOMIC_RELEASE);
	return index;
}

uint32_t synth_fault(struct synth *s, uint32_t kind, uint64_t address, uint32_t stack)
{
	uint32_t index = synth_reserve(s, KMS_SEC_FAULT, 1);
	struct kms_fault *fault = synth_at(s, KMS_SEC_FAULT, index);

	fault->kind = kind;
	fault->address = fault->block = address;
	fault->stack = stack;
	fault->cache = fault->argument_cache = KMS_NO_INDEX;
	fault->ring = KMS_NO_INDEX;
	snprintf(fault->text, sizeof(fault->text), "synthetic");
	__atomic_store_n(&fault->ready, 1, __ATOMIC_RELEASE);
	return index;
}

static uint64_t position(const struct synth_ring *r)
{
	const struct kms_pair *pair =
		(const struct kms_pair *)synth_at(r->s, KMS_SEC_TRACER, 256) + r->ring;
	uint64_t v = __atomic_load_n(&pair->v, __ATOMIC_ACQUIRE);

	return __atomic_load_n(&pair->not_v, __ATOMIC_ACQUIRE) == ~v ? v : 1;
}

void synth_ring_claim(struct synth_ring *r, struct synth *s, uint32_t ring, uint32_t slot)
{
	struct kms_ring_desc *desc = synth_at(s, KMS_SEC_RING_DESC, ring);

	memset(r, 0, sizeof(*r));
	r->s = s;
	r->desc = desc;
	r->ring = ring;
	r->slot = slot;
	__atomic_store_n(&desc->state, KMS_RING_OWNED, __ATOMIC_RELEASE);
	desc->slot = slot;
	__atomic_store_n(&desc->next_seq, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&desc->lost, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&desc->first_block, desc->head_block + 1, __ATOMIC_RELAXED);
	r->block = desc->head_block;
	__atomic_store_n(&desc->claims, desc->claims + 1, __ATOMIC_RELEASE);
}

static bool has_room(const struct synth_ring *r, uint64_t number)
{
	return number < position(r) + r->s->head->blocks_per_ring;
}

static bool wait_for_room(struct synth_ring *r, uint64_t number)
{
	struct kms_tracer_page *page = synth_at(r->s, KMS_SEC_TRACER, 0);
	struct timespec slice = {0, SYNTH_WAIT_NS};

	while (!has_room(r, number)) {
		uint32_t wake = __atomic_load_n(&page->wake, __ATOMIC_ACQUIRE);

		if (r->drop)
			return false;
		if (has_room(r, number))
			break;
		r->waits++;
		syscall(SYS_futex, &page->wake, FUTEX_WAIT, wake, &slice, NULL, 0);
	}
	return true;
}

/* Opens the next block; false: no room, and not to be waited for. */
static bool next_block(struct synth_ring *r)
{
	uint64_t number = r->block + 1;
	uint32_t blocks = r->s->head->blocks_per_ring;
	struct enc_open open = {.number = number,
				.first_seq = r->seq - r->lost_pending,
				.time_ns = now_ns() - r->s->head->start_mono_ns,
				.base_address = 0x10000,
				.slot = r->slot,
				.thread = KMS_NO_INDEX,
				.ring = (uint16_t)r->ring,
				.checks = 3};

	if (!wait_for_room(r, number))
		return false;
	__atomic_store_n(&r->desc->next_seq, r->seq, __ATOMIC_RELAXED);
	enc_begin(
		&r->enc,
		synth_at(r->s, KMS_SEC_RING, (uint64_t)r->ring * blocks + (number & (blocks - 1))),
		&open);
	r->block = number;
	__atomic_store_n(&r->desc->head_block, number, __ATOMIC_RELEASE);
	if (r->lost_pending) {
		struct enc_event lost = {
			.kind = KMS_EVENT_LOST, .value = r->lost_pending, .checks = 3};

		enc_put(&r->enc, &lost);
		r->lost_pending = 0;
	}
	return true;
}

static void lose(struct synth_ring *r, uint32_t n_events)
{
	r->seq += n_events;
	r->lost_pending += n_events;
	__atomic_store_n(&r->desc->lost, r->desc->lost + n_events, __ATOMIC_RELAXED);
	__atomic_store_n(&r->desc->next_seq, r->seq, __ATOMIC_RELAXED);
}

void synth_ring_put(struct synth_ring *r, const struct enc_event *event)
{
	struct enc_event e = *event;

	if (!r->enc.block || !enc_put(&r->enc, event)) {
		if (!next_block(r)) {
			lose(r, 1);
			return;
		}
		e.time_ns = r->enc.time_ns; /* the block's own time is newer */
		enc_put(&r->enc, &e);
	}
	r->seq++;
}

void synth_ring_put_bytes(struct synth_ring *r, const uint8_t *bytes, uint32_t n, uint32_t n_events)
{
	if (!r->enc.block || !enc_put_bytes(&r->enc, bytes, n)) {
		if (!next_block(r)) {
			lose(r, n_events);
			return;
		}
		enc_put_bytes(&r->enc, bytes, n);
	}
	r->seq += n_events;
}

void synth_ring_close(struct synth_ring *r)
{
	__atomic_store_n(&r->desc->next_seq, r->seq, __ATOMIC_RELEASE);
	__atomic_store_n(&r->desc->state, KMS_RING_CLOSED, __ATOMIC_RELEASE);
}
