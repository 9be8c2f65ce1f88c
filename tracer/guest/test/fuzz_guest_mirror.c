/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that writes nonsense into its region while it is read: the first byte says whether nothing runs
 * there (bit 0), then each 6 bytes change one place and may have us look:
 *
 *	op      bits 0-3 kind of section, 0 the header; bits 4-5 how: set, flip, a word of it, the
 *	        boot's number; bit 7: look afterwards
 *	value   what is written
 *	at      u32, place in the section
 *
 * What comes out is checked as tests do (tracer/test/collect.h).
 */
#include "base/test/fuzz_entry.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/batch_build.h"
#include "tracer/guest/link.h"
#include "tracer/image.h"
#include "tracer/test/collect.h"
#include "tracer/test/synth.h"

enum {
	RAM_AT = 3 << 20,
	PAGE_BYTES = 4096,
	MAX_PAGES = 1 << 12,
	OP_BYTES = 6,
	MAX_OPS = 200,
	MAX_ROUNDS = 64, /* of one look */
	EVENTS = 400,
	SAVED = 1,
	LAST_LOOKS = 3,
	KIND_MASK = 15,
	HOW_SHIFT = 4,
	HOW_MASK = 3,
	LOOK = 0x80,
};

#define TURN_NS UINT64_C(100000000) /* between two looks: everything is due each time */

enum how {
	HOW_SET = 0,
	HOW_FLIP = 1,
	HOW_WORD = 2,
	HOW_BOOT = 3,
};

/* A machine whose RAM is a region and nothing else; what was changed is put right for the next input. */
struct machine {
	struct kms_guest_memory memory;
	struct synth s;
	uint8_t *good;
	struct kms_section section[SYNTH_KINDS]; /* of the good one; 0 the header */
	bool dirty[MAX_PAGES];
	char folder[64];
};

static void require(bool is_true)
{
	if (!is_true)
		abort();
}

static void soil(struct machine *machine, uint64_t at, size_t bytes)
{
	for (uint64_t page = at / PAGE_BYTES; page <= (at + bytes - 1) / PAGE_BYTES; page++)
		machine->dirty[page] = true;
}

static int ram_read(struct kms_guest_memory *memory, const struct kms_guest_piece *piece,
		    size_t count, struct kms_err *err)
{
	const struct machine *machine = (const void *)memory;

	(void)err;
	for (size_t i = 0; i < count; i++)
		memcpy(piece[i].to, machine->s.map + (piece[i].address - RAM_AT), piece[i].bytes);
	return 0;
}

static int ram_write(struct kms_guest_memory *memory, uint64_t address, const void *from,
		     size_t bytes, struct kms_err *err)
{
	struct machine *machine = (void *)memory;

	(void)err;
	memcpy(machine->s.map + (address - RAM_AT), from, bytes);
	soil(machine, address - RAM_AT, bytes);
	return 0;
}

static void ram_close(struct kms_guest_memory *memory)
{
	(void)memory; /* it is used again */
}

static void fill(struct synth *s)
{
	struct enc_event event = {.kind = KMS_EVENT_ALLOC, .checks = 3};
	struct synth_ring ring;

	s->head->target_kind = KMS_TARGET_GUEST;
	s->head->pid = 0;
	s->head->image_id[0] = 1;
	s->head->self_address = PAGE_BYTES;
	synth_slot(s, 0, 0, KMS_NO_INDEX);
	synth_publish(s);
	event.cache = synth_cache(s, "kmem-64", 64);
	synth_module(s, "kernel", 0x1000, 0x2000);
	event.stack = synth_node(s, synth_node(s, 0, 0x1100), 0x1200);
	synth_fault(s, KMS_FAULT_DOUBLE_FREE, 0x10000, event.stack);
	synth_ring_claim(&ring, s, 1, 0);
	for (int i = 0; i < EVENTS; i++) {
		event.address = 0x10000 + (uint64_t)i * 64;
		event.size = 1 + (uint64_t)i % 64;
		synth_ring_put(&ring, &event);
	}
}

static struct machine *machine_make(void)
{
	static const struct kms_guest_memory_ops ops = {
		.name = "fuzz", .read = ram_read, .write = ram_write, .close = ram_close};
	struct machine *machine = calloc(1, sizeof(*machine));
	char path[80];

	require(machine);
	(void)snprintf(machine->folder, sizeof(machine->folder), "/dev/shm/kms-fuzz-mirror-XXXXXX");
	require(mkdtemp(machine->folder));
	(void)snprintf(path, sizeof(path), "%s.ram", machine->folder);
	synth_create(&machine->s, path,
		     &(struct synth_config){
			     .rings = 2, .slots = 1, .blocks_per_ring = 4, .unpublished = true});
	(void)unlink(path);
	(void)rmdir(machine->folder); /* nothing is made in it: the images only need its name */
	fill(&machine->s);
	require(machine->s.bytes <= (size_t)MAX_PAGES * PAGE_BYTES);
	machine->memory.ops = &ops;
	machine->memory.range[0] =
		(struct kms_guest_range){.address = RAM_AT, .bytes = machine->s.bytes};
	machine->memory.ranges = 1;
	machine->good = malloc(machine->s.bytes);
	require(machine->good);
	memcpy(machine->good, machine->s.map, machine->s.bytes);
	machine->section[0] = (struct kms_section){.entry_bytes = PAGE_BYTES, .entries = 1};
	for (unsigned kind = 1; kind < SYNTH_KINDS; kind++)
		machine->section[kind] = *machine->s.section[kind];
	return machine;
}

static void make_good(struct machine *machine)
{
	for (size_t page = 0; page < machine->s.bytes / PAGE_BYTES; page++) {
		if (machine->dirty[page])
			memcpy(machine->s.map + page * PAGE_BYTES,
			       machine->good + page * PAGE_BYTES, PAGE_BYTES);
		machine->dirty[page] = false;
	}
}

static void change(struct machine *machine, const uint8_t *op)
{
	const struct kms_section *section = &machine->section[(op[0] & KIND_MASK) % SYNTH_KINDS];
	uint64_t bytes = section->entries * section->entry_bytes;
	uint32_t at, word = UINT32_C(0x01010101) * op[1];
	uint8_t *to;

	memcpy(&at, op + 2, sizeof(at));
	at = (uint32_t)(section->offset + at % bytes);
	to = machine->s.map + at;
	switch ((enum how)(op[0] >> HOW_SHIFT & HOW_MASK)) {
	case HOW_SET:
		*to = op[1];
		break;
	case HOW_FLIP:
		*to ^= op[1];
		break;
	case HOW_WORD:
		at &= ~3U;
		memcpy(machine->s.map + at, &word, sizeof(word));
		break;
	case HOW_BOOT:
		at = 0;
		machine->s.head->image_id[0] = op[1];
		break;
	}
	soil(machine, at, sizeof(word));
}

/* A tracer's eyes on it, without the threads and descriptors that a run has. */
struct eyes {
	struct kms_guest_link *link;
	struct kms_targets targets;
	struct kms_image_env env;
	struct kms_image *image; /* NULL none */
	uint32_t opened;
	struct kms_batch *batch;
	struct collect *collect;
};

static void eyes_open(struct eyes *eyes, struct machine *machine, bool is_saved,
		      struct collect *collect)
{
	static struct kms_event event[KMS_SEQ_PER_BLOCK];
	const struct kms_guest_link_config config = {.memory = &machine->memory,
						     .program = "/boot/kernel",
						     .command = "fuzz",
						     .emulator_fd = -1,
						     .is_saved = is_saved};

	*eyes = (struct eyes){.collect = collect, .batch = kms_batch_create()};
	require(eyes->batch && !kms_guest_link_create(&config, &eyes->link, NULL));
	kms_targets_init(&eyes->targets);
	eyes->env = (struct kms_image_env){.targets = &eyes->targets,
					   .event = event,
					   .epoll_fd = -1,
					   .nonce = 1,
					   .dir = "/",
					   .no_room_said = true,
					   .guest = eyes->link};
	collect_init(collect);
	collect->is_hostile = true;
}

static void eyes_close(struct eyes *eyes)
{
	if (eyes->image)
		kms_image_close(eyes->image);
	kms_targets_deinit(&eyes->targets);
	kms_guest_link_destroy(eyes->link);
	kms_batch_put(eyes->batch);
	collect_deinit(eyes->collect);
}

static void find_kernel(struct eyes *eyes, uint64_t now_ns)
{
	struct kms_guest_mirror *mirror = kms_guest_link_turn(eyes->link, now_ns);

	if (!mirror)
		return;
	require(!eyes->image); /* one boot is over before the next is found */
	if (kms_image_open_guest(&eyes->env, mirror, &eyes->image, NULL)) {
		eyes->image = NULL;
		kms_guest_mirror_destroy(mirror);
		kms_guest_link_lost(eyes->link, KMS_MIRROR_GONE);
		return;
	}
	kms_image_set_ordinal(eyes->image, ++eyes->opened);
}

/* Reads some; whether there is more. */
static bool read_some(struct eyes *eyes, uint64_t now_ns)
{
	const struct kms_ring_ask ask = {.now_ns = now_ns, .batch_bytes = 1 << 20};
	struct kms_image_news news = {0};

	kms_batch_reset(eyes->batch);
	find_kernel(eyes, now_ns);
	if (eyes->image) {
		require(!kms_image_poll(eyes->image, &ask, eyes->batch, &news));
		if (eyes->image->state == KMS_IMAGE_ENDED) {
			kms_guest_link_lost(eyes->link, kms_guest_mirror_over(eyes->image->mirror));
			kms_image_close(eyes->image);
			eyes->image = NULL;
		} else {
			kms_image_beat(eyes->image, now_ns, true);
			kms_image_push(eyes->image);
		}
	}
	require(!kms_targets_send(&eyes->targets, eyes->batch));
	collect_batch(eyes->collect, eyes->batch);
	return news.more;
}

static void look(struct eyes *eyes, uint64_t now_ns)
{
	int round = 0;

	while (read_some(eyes, now_ns) && round < MAX_ROUNDS)
		round++;
	require(round < MAX_ROUNDS); /* bounded by the layout, whatever the guest says */
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct machine *machine; /* made once */
	static struct collect collect;  /* too much for a stack */
	struct eyes eyes;
	uint64_t now_ns = TURN_NS;

	if (!machine)
		machine = machine_make();
	eyes_open(&eyes, machine, n && (bytes[0] & SAVED), &collect);
	for (size_t at = 1, ops = 0; at + OP_BYTES <= n && ops < MAX_OPS; at += OP_BYTES, ops++) {
		change(machine, bytes + at);
		if (bytes[at] & LOOK)
			look(&eyes, now_ns += TURN_NS);
	}
	for (int i = 0; i < LAST_LOOKS; i++)
		look(&eyes, now_ns += TURN_NS);
	if (n <= 1)
		require(collect.events == EVENTS); /* an undamaged guest is read whole */
	eyes_close(&eyes);
	make_good(machine);
	return 0;
}
