/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/watched.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	POKE_BYTES = 4096,
	CHANGES = 1 << 16,
};

struct watched_change {
	uint64_t address;
	uint32_t bytes;
	uint8_t *before;
};

static void require(bool is_true, const char *what)
{
	if (is_true)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, strerrordesc_np(errno));
	abort();
}

static int watched_read(struct kms_guest_memory *memory, const struct kms_guest_piece *piece,
			size_t count, struct kms_err *err)
{
	struct watched *watched = (void *)memory;

	for (size_t i = 0; watched->is_recording && i < count; i++)
		if (piece[i].bytes <= WATCHED_READ_BYTES && watched->reads < WATCHED_READS)
			watched->read[watched->reads++] = (struct watched_read){
				piece[i].address, (uint32_t)piece[i].bytes, watched->phase};
	return kms_guest_read_pieces(watched->ram.memory, piece, count, err);
}

void watched_poke(struct watched *watched, uint64_t address, const void *from, size_t bytes)
{
	struct watched_change change = {.address = address, .bytes = (uint32_t)bytes};

	if (bytes > POKE_BYTES || bytes > watched->ram.size ||
	    address > watched->ram.size - bytes || watched->changes == CHANGES)
		return;
	change.before = malloc(bytes);
	require(change.before, "malloc");
	memcpy(change.before, watched->ram.bytes + address, bytes);
	memcpy(watched->ram.bytes + address, from, bytes);
	watched->change[watched->changes++] = change;
}

static int watched_write(struct kms_guest_memory *memory, uint64_t address, const void *from,
			 size_t bytes, struct kms_err *err)
{
	(void)err;
	for (size_t done = 0; done < bytes; done += POKE_BYTES) {
		size_t part = bytes - done < POKE_BYTES ? bytes - done : POKE_BYTES;

		watched_poke((void *)memory, address + done, (const uint8_t *)from + done, part);
	}
	return 0;
}

static void keep_open(struct kms_guest_memory *memory)
{
	(void)memory; /* the test closes it */
}

static const struct kms_guest_memory_ops live_ops = {
	.name = "watched", .read = watched_read, .write = watched_write, .close = keep_open};
static const struct kms_guest_memory_ops saved_ops = {
	.name = "watched", .read = watched_read, .close = keep_open};

void watched_set_writable(struct watched *watched, bool is_writable)
{
	watched->memory.ops = is_writable ? &live_ops : &saved_ops;
}

void watched_open(struct watched *watched, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t done = 0;

	*watched = (struct watched){0};
	require(fd >= 0 && fstat(fd, &st) == 0, path);
	test_ram_make(&watched->ram, (size_t)st.st_size);
	while (done < watched->ram.size) {
		ssize_t n = read(fd, watched->ram.bytes + done, watched->ram.size - done);

		require(n > 0, path);
		done += (size_t)n;
	}
	(void)close(fd); /* only read */
	watched->memory = *watched->ram.memory;
	watched_set_writable(watched, false);
	watched->read = calloc(WATCHED_READS, sizeof(*watched->read));
	watched->change = calloc(CHANGES, sizeof(*watched->change));
	require(watched->read && watched->change, "calloc");
}

void watched_undo(struct watched *watched)
{
	while (watched->changes) {
		struct watched_change *change = &watched->change[--watched->changes];

		memcpy(watched->ram.bytes + change->address, change->before, change->bytes);
		free(change->before);
	}
}

void watched_close(struct watched *watched)
{
	watched_undo(watched);
	test_ram_drop(&watched->ram);
	free(watched->read);
	free(watched->change);
}
