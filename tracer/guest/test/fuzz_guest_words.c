/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What emulators and their users write: the first byte of the input says to whom the rest is given,
 * the command line, the monitor's map of memory, a stream of JSON, packets of gdb, names of targets.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "tracer/guest/gdb_packet.h"
#include "tracer/guest/json_end.h"
#include "tracer/guest/memory_map.h"
#include "tracer/guest/qemu.h"
#include "tracer/guest/target.h"

static bool ends(const char *text, size_t room)
{
	return memchr(text, '\0', room) != NULL;
}

static void command_line(const char *text, size_t n)
{
	struct kms_qemu_options *options = malloc(sizeof(*options));
	int result;

	assert(options);
	result = kms_qemu_parse(text, n, options, NULL);
	assert(result == 0 || result == -22);
	assert(ends(options->machine, sizeof(options->machine)) &&
	       ends(options->kernel, sizeof(options->kernel)) &&
	       ends(options->append, sizeof(options->append)) &&
	       ends(options->qmp, sizeof(options->qmp)) &&
	       ends(options->gdb, sizeof(options->gdb)));
	assert(options->back_ends <= KMS_QEMU_BACK_ENDS && options->ram_bytes > 0);
	assert(options->ram_bytes % 8192 == 0 && options->qmp_fd >= -1);
	for (unsigned i = 0; i < options->back_ends; i++)
		assert(ends(options->back_end[i].path, sizeof(options->back_end[i].path)));
	free(options);
}

static void memory_map(const char *text, size_t n)
{
	struct kms_memory_map map = {.name = {"pc.ram"}, .names = 1};
	struct kms_guest_layout layout;

	(void)n;
	kms_memory_map_add_names(&map, text);
	assert(map.names <= KMS_MEMORY_MAP_NAMES);
	if (kms_memory_map_parse(&map, text, &layout, NULL) == 0)
		assert(kms_guest_layout_check(&layout, NULL) == 0);
}

/* The end is the same whether the text comes at once or byte by byte. */
static void json(const char *text, size_t n)
{
	struct kms_json_end at_once = {0}, by_piece = {0};
	size_t want = 0, got = 0;
	int first = kms_json_end_find(&at_once, text, n, &want), second = 0;

	for (size_t i = 0; i <= n && second == 0; i++)
		second = kms_json_end_find(&by_piece, text, i, &got);
	assert(first == second && want == got && want <= n);
}

static void packets(const char *text, size_t n)
{
	struct kms_gdb_packet packet = {0};

	for (size_t i = 0; i < n; i++) {
		char framed[KMS_GDB_PACKET_BYTES + 8];
		struct kms_gdb_packet again = {0};
		enum kms_gdb_packet_step step = KMS_GDB_MORE;

		if (kms_gdb_packet_take(&packet, text[i]) != KMS_GDB_COMPLETE)
			continue;
		assert(packet.bytes < sizeof(packet.data) && packet.data[packet.bytes] == '\0');
		if (strlen(packet.data) != packet.bytes || strpbrk(packet.data, "#$}*"))
			continue;
		(void)kms_gdb_packet_make(packet.data, framed);
		for (const char *at = framed; *at; at++)
			step = kms_gdb_packet_take(&again, *at);
		assert(step == KMS_GDB_COMPLETE && strcmp(again.data, packet.data) == 0);
	}
}

static void target(const char *text, size_t n)
{
	struct kms_guest_target *made = malloc(sizeof(*made));
	char host[20];
	unsigned port;

	(void)n;
	assert(made);
	if (kms_guest_target_parse(text, made, NULL) == 0)
		assert(kms_guest_target_is(text) && ends(made->path, sizeof(made->path)));
	if (kms_guest_address_split(text, host, sizeof(host), &port))
		assert(ends(host, sizeof(host)) && port > 0 && port < 65536);
	free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static void (*const readers[])(const char *text, size_t n) = {command_line, memory_map,
								      json, packets, target};
	char *text;

	if (n == 0)
		return 0;
	text = malloc(n);
	assert(text);
	memcpy(text, bytes + 1, n - 1);
	text[n - 1] = '\0'; /* for those who take a text */
	readers[bytes[0] % (sizeof(readers) / sizeof(readers[0]))](text, n - 1);
	free(text);
	return 0;
}
