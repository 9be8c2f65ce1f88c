/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scribble FILE SECTION SEED WRITES: writes nonsense into a section of a live region.
 *
 * SECTION is a number of enum kms_section_kind, 0 the header, or "list", which prints the kinds that
 * the region has. Says on stdout what was written where, so that a run can be understood.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/region.h"
#include "tests/support/kt.h"

enum {
	BURST_MAX_BYTES = 64,
	SHOWN = 4,
};

struct target {
	unsigned char *bytes;
	uint64_t n_bytes;
	const struct kms_region_header *header;
	uint64_t start, end; /* of the section */
};

static void map_region(struct target *target, const char *path)
{
	struct stat status;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	KT_CHECK(fd >= 0, "%s: %s", path, strerror(errno));
	KT_CHECK(fstat(fd, &status) == 0, "%s", strerror(errno));
	target->n_bytes = (uint64_t)status.st_size;
	target->bytes = mmap(NULL, target->n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	KT_CHECK(target->bytes != MAP_FAILED, "%s", strerror(errno));
	target->header = (const void *)target->bytes;
	KT_CHECK(target->header->magic == KMS_REGION_MAGIC, "%s is no region", path);
	close(fd);
}

/* The part of the section that two processes with a thread each use: what else is there is empty. */
static uint64_t used_bytes(const struct kms_region_header *header,
			   const struct kms_section *section)
{
	static const uint64_t tables[] = {
		[KMS_SEC_TRACER] = KMS_PAGE_BYTES + 2 * sizeof(struct kms_pair),
		[KMS_SEC_REQUEST] = 2,
		[KMS_SEC_SLOT] = 2,
		[KMS_SEC_RING_DESC] = 2,
		[KMS_SEC_CACHE_STAT] = KMS_MAX_CACHES / 4,
		[KMS_SEC_COUNTER] = KMS_MAX_CACHES / 4,
	};
	uint64_t entries = section->entries;

	if (section->kind == KMS_SEC_TRACER)
		return tables[KMS_SEC_TRACER];
	if (section->kind == KMS_SEC_RING)
		entries = header->blocks_per_ring;
	else if (section->kind < sizeof(tables) / sizeof(tables[0]) && tables[section->kind])
		entries = tables[section->kind];
	else if (section->used && section->used < entries)
		entries = section->used;
	return (entries < section->entries ? entries : section->entries) * section->entry_bytes;
}

static void find_section(struct target *target, uint32_t kind)
{
	target->start = 0;
	target->end = sizeof(*target->header);
	for (uint32_t i = 0; kind && i < KMS_MAX_SECTIONS; i++) {
		const struct kms_section *section = &target->header->section[i];

		if (section->kind != kind)
			continue;
		target->start = section->offset;
		target->end = section->offset + used_bytes(target->header, section);
	}
	KT_CHECK(target->end <= target->n_bytes && target->start < target->end,
		 "section %" PRIu32 " lies at %" PRIu64 " to %" PRIu64, kind, target->start,
		 target->end);
}

static void list_sections(const struct target *target)
{
	printf("0");
	for (uint32_t i = 0; i < KMS_MAX_SECTIONS; i++) {
		if (target->header->section[i].kind && target->header->section[i].entries)
			printf(" %" PRIu32, target->header->section[i].kind);
	}
	printf("\n");
}

/* Values that have broken readers before, and random ones. */
static uint64_t nonsense(uint64_t *state)
{
	static const uint64_t interesting[] = {
		0, 1, UINT64_MAX, UINT32_MAX, INT64_MAX, 1u << 31, 4096, 0x8080808080808080u,
	};
	uint64_t random = kt_random(state);

	if (random & 1)
		return interesting[(random >> 8) % (sizeof(interesting) / sizeof(interesting[0]))];
	return kt_random(state);
}

static void scribble(const struct target *target, uint64_t *state, unsigned shown)
{
	uint64_t at = target->start + kt_random(state) % (target->end - target->start);
	uint64_t length = 1 + kt_random(state) % 8;

	/* Sometimes a burst, as of a string that runs over. */
	if (kt_random(state) % 8 == 0)
		length = BURST_MAX_BYTES;
	for (uint64_t i = 0; i < length; i += 8) {
		uint64_t value = nonsense(state);
		uint64_t n = length - i < 8 ? length - i : 8;

		if (at + i + n > target->end)
			return;
		memcpy(target->bytes + at + i, &value, n);
		if (shown < SHOWN)
			printf("+%" PRIu64 ": %" PRIu64 " bytes %016" PRIx64 "\n",
			       at + i - target->start, n, value);
	}
}

int main(int argc, char **argv)
{
	struct target target;
	uint64_t state;
	unsigned writes;

	KT_CHECK(argc == 5 || (argc == 3 && !strcmp(argv[2], "list")), "bad arguments");
	map_region(&target, argv[1]);
	if (argc == 3) {
		list_sections(&target);
		return KT_PASS;
	}
	find_section(&target, (uint32_t)strtoul(argv[2], NULL, 0));
	state = kt_seed(argv[3]);
	writes = (unsigned)strtoul(argv[4], NULL, 0);
	for (unsigned i = 0; i < writes; i++)
		scribble(&target, &state, i);
	return KT_PASS;
}
