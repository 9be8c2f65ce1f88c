/* SPDX-License-Identifier: BSD-2-Clause */
/* `info mtree -f`: see memory_map.h. */
#include "tracer/guest/memory_map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MIB UINT64_C(0x100000)

/* A line of the view. */
struct line {
	uint64_t start, last;
	uint64_t offset;
	char type[16];
	char name[KMS_MEMORY_MAP_NAME_BYTES];
};

/* "  START-END (prio N, TYPE): NAME [@OFFSET] ..." */
static bool parse_line(const char *text, size_t length, struct line *line)
{
	char copy[256];
	const char *at;

	if (length >= sizeof(copy))
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	memset(line, 0, sizeof(*line));
	/* NOLINTNEXTLINE(cert-err34-c): what is no number is checked against the others */
	if (sscanf(copy, " %" SCNx64 "-%" SCNx64 " (prio %*d, %15[^)]): %63s", &line->start,
		   &line->last, line->type, line->name) != 4)
		return false;
	at = strstr(copy, " @");
	/* NOLINTNEXTLINE(cert-err34-c): as above */
	return !at || sscanf(at, " @%" SCNx64, &line->offset) == 1;
}

static bool is_ram(const struct kms_memory_map *map, const struct line *line)
{
	if (strcmp(line->type, "ram") != 0 || line->last < line->start)
		return false;
	for (unsigned i = 0; i < map->names; i++) {
		if (strcmp(map->name[i], line->name) == 0)
			return true;
	}
	return false;
}

void kms_memory_map_add_names(struct kms_memory_map *map, const char *text)
{
	static const char start[] = "memory backend: ";

	while (*text && map->names < KMS_MEMORY_MAP_NAMES) {
		size_t length = strcspn(text, "\r\n");
		size_t name = length - (sizeof(start) - 1);

		if (length > sizeof(start) - 1 && name < KMS_MEMORY_MAP_NAME_BYTES &&
		    strncmp(text, start, sizeof(start) - 1) == 0)
			memcpy(map->name[map->names++], text + sizeof(start) - 1, name);
		text += length;
		text += strspn(text, "\r\n");
	}
}

/* Of a view that is being read. */
struct view {
	struct kms_guest_layout *layout;
	char name[KMS_MEMORY_MAP_NAME_BYTES]; /* of the last stretch */
	int result;
};

/* A stretch goes on with this line if both are of one block in the same order, but for the first MiB. */
static bool goes_on(const struct view *view, const struct kms_guest_segment *last,
		    const struct line *line)
{
	uint64_t end = last->address + last->bytes;

	return strcmp(view->name, line->name) == 0 && line->start >= end &&
	       line->offset >= last->place &&
	       line->start - last->address == line->offset - last->place &&
	       (line->start == end || line->start <= MIB);
}

static void add(struct view *view, const struct line *line)
{
	struct kms_guest_layout *layout = view->layout;
	struct kms_guest_segment *last =
		layout->segments ? &layout->segment[layout->segments - 1] : NULL;

	if (last && goes_on(view, last, line)) {
		last->bytes = line->last - last->address + 1;
		return;
	}
	if (layout->segments == KMS_GUEST_RANGES) {
		view->result = -ENOTSUP;
		return;
	}
	last = &layout->segment[layout->segments++];
	last->address = line->start;
	last->bytes = line->last - line->start + 1;
	last->place = line->offset;
	memcpy(view->name, line->name, sizeof(view->name));
}

/* The lines of the view that has this address space; it ends where the next one begins. */
static const char *find_view(const char *text)
{
	static const char space[] = " AS \"memory\", root: system";
	const char *at = strstr(text, space);

	return at ? at + sizeof(space) - 1 : NULL;
}

int kms_memory_map_parse(const struct kms_memory_map *map, const char *text,
			 struct kms_guest_layout *layout, struct kms_err *err)
{
	struct view view = {.layout = layout};
	const char *at = find_view(text);
	struct line line;

	memset(layout, 0, sizeof(*layout));
	for (; at && *at && strncmp(at, "FlatView", 8) != 0; at += *at == '\n') {
		size_t length = strcspn(at, "\n");

		if (parse_line(at, length, &line) && is_ram(map, &line))
			add(&view, &line);
		at += length;
	}
	if (view.result)
		return kms_err_set(err, view.result,
				   "the guest's memory lies in more than %d pieces",
				   KMS_GUEST_RANGES);
	if (kms_guest_layout_check(layout, NULL))
		return kms_err_set(err, -EPROTO,
				   "QEMU shows no memory of the guest that makes sense");
	return 0;
}
