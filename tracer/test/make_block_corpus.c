/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes the seeds of fuzz_block: make_block_corpus FOLDER
 *
 * Good blocks of each kind of record, a few with one thing wrong, and headers of regions. Run by
 * hand when the formats change; what the fuzzer finds is added beside by hand, under another name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/test/encode.h"
#include "tracer/test/synth.h"

static const char *folder;

static void save(const char *name, const void *head, size_t head_bytes, const void *body,
		 size_t body_bytes)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wbe");
	if (!file || fwrite(head, 1, head_bytes, file) != head_bytes ||
	    fwrite(body, 1, body_bytes, file) != body_bytes || fclose(file)) {
		perror(path);
		abort();
	}
}

/* The block up to its fill, to be walked from a record in its middle too. */
static void save_block(const char *name, const struct kms_block *block)
{
	uint8_t head[3] = {'B', (uint8_t)(block->fill / 2), (uint8_t)(block->fill / 2 >> 8)};

	save(name, head, sizeof(head), block, offsetof(struct kms_block, record) + block->fill);
}

static void begin(struct enc_writer *w, struct kms_block *block)
{
	static const struct enc_open open = {.number = 1,
					     .first_seq = 100,
					     .time_ns = 1000,
					     .base_address = 0x10000,
					     .thread = 1,
					     .checks = 3};

	memset(block, 0, sizeof(*block));
	enc_begin(w, block, &open);
}

/* Allocs and frees of every address and size class, with hits and misses. */
static void save_hot(void)
{
	static const uint64_t sizes[] = {16, 16, 300, 70000, 1ull << 33};
	static const uint64_t steps[] = {16, 4096, 1 << 20, 1ull << 36, 1ull << 44, 3};
	struct kms_block block;
	struct enc_writer w;
	uint64_t address = 0x20000;

	begin(&w, &block);
	for (uint32_t i = 0; i < 60; i++) {
		struct enc_event e = {.kind = 1 + i % 2,
				      .size = sizes[i % 5],
				      .checks = 3,
				      .stack = i % 7,
				      .stamp = i % 16 == 0,
				      .time_ns = 1000 + i};

		address += steps[i % 6];
		e.address = address;
		e.has_generation = i % 9 == 0;
		e.attributes = i % 11 == 0 ? KMS_ATTR_ZERO : 0;
		enc_put(&w, &e);
	}
	save_block("hot", &block);
}

/* One of each event of form 0. */
static void save_codes(void)
{
	struct kms_block block;
	struct enc_writer w;

	begin(&w, &block);
	for (uint32_t kind = KMS_EVENT_ALLOC_FAILED; kind < KMS_EVENT_KINDS; kind++) {
		struct enc_event e = {.kind = kind,
				      .address = 0x40000,
				      .size = 64,
				      .value = 3,
				      .stack = 2,
				      .cache = 1,
				      .stride = 64,
				      .checks = 7};

		enc_put(&w, &e);
	}
	save_block("codes", &block);
}

static void save_full(void)
{
	struct enc_event e = {.kind = KMS_EVENT_ALLOC, .address = 0x10000, .size = 8};
	struct kms_block block;
	struct enc_writer w;

	begin(&w, &block);
	while (enc_put(&w, &e))
		e.address += 16;
	save_block("full", &block);
}

static void save_bad(const char *name, const char *bytes, uint32_t n)
{
	struct enc_event e = {.kind = KMS_EVENT_FREE, .address = 0x10010, .size = 8, .checks = 3};
	struct kms_block block;
	struct enc_writer w;

	begin(&w, &block);
	enc_put(&w, &e);
	enc_put_bytes(&w, (const uint8_t *)bytes, n);
	save_block(name, &block);
}

static void save_region(const char *name, uint32_t rings, uint32_t blocks)
{
	uint8_t head[9] = {'R'};
	char path[128];
	struct synth s;
	uint64_t bytes;

	snprintf(path, sizeof(path), "%s/%s.tmp", folder, name);
	synth_create(&s, path,
		     &(struct synth_config){.rings = rings, .blocks_per_ring = blocks, .pid = 1});
	bytes = s.bytes;
	s.head->start_mono_ns = 1; /* the same file every time */
	memcpy(head + 1, &bytes, sizeof(bytes));
	save(name, head, sizeof(head), s.head, sizeof(*s.head));
	synth_close(&s);
	unlink(path);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: make_block_corpus FOLDER\n");
		return 2;
	}
	folder = argv[1];
	save_hot();
	save_codes();
	save_full();
	save_bad("cut", "\x01\x02", 2);
	save_bad("prefix", "\x08\x07", 2);
	save_bad("form3", "\x03", 1);
	save_bad("varint", "\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12);
	save_region("region", 4, 16);
	save_region("region_large", 64, 64);
	return 0;
}
