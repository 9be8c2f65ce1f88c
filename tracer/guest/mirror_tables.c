/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The append-only tables of a guest, copied: see mirror.h. New entries go straight into the copy, where
 * nobody looks at them before the count of entries is raised at the end of the pull.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/mirror_impl.h"
#include "tracer/table_check.h"

enum {
	CHUNK_BYTES = 64 << 10,
	STRING_BACK_BYTES = 4 << 10, /* strings that may have been half written are read again */
	HOLES_AT_ONCE = 64,
	HITS_AT_ONCE = 256,
};

/* How far each table is, cut to what it has. False: one has gone back. */
static bool read_used(struct kms_guest_mirror *m)
{
	const struct kms_region_header *now = mirror_stage(m, 0, sizeof(*now));

	if (!now || !mirror_flush(m))
		return false;
	for (unsigned kind = 1; kind < KMS_REGION_KINDS; kind++) {
		const struct kms_region_section *there = &m->guest.section[kind];
		uint64_t used = now->section[there->index].used;

		if (!kms_table_forms[kind].name && kind != KMS_SEC_STRING)
			continue;
		used = used < there->entries ? used : there->entries;
		if (used < m->table[kind].next) {
			m->over = KMS_MIRROR_REWOUND;
			return false;
		}
		m->used[kind] = used;
	}
	return true;
}

static uint32_t word_at(const uint8_t *entry, uint32_t offset)
{
	uint32_t word;

	memcpy(&word, entry + offset, sizeof(word));
	return word;
}

static void add_hole(struct mirror_table *table, uint64_t index)
{
	if (!table->hole)
		table->hole = malloc(MIRROR_HOLES * sizeof(*table->hole));
	/* one more than can be remembered stays unknown */
	if (table->hole && table->n_holes < MIRROR_HOLES)
		table->hole[table->n_holes++] = (uint32_t)index;
}

/* The kernel's own module is the file that the user has; its path is a string of ours. */
static void name_module(struct kms_guest_mirror *m, uint8_t *entry)
{
	struct kms_module module;

	memcpy(&module, entry, sizeof(module));
	if (!module.ready || !m->kernel_string || module.slot == KMS_NO_INDEX)
		return;
	module.path_string = m->kernel_string;
	if (m->is_blob)
		module.build_id_bytes = 0;
	memcpy(entry, &module, sizeof(module));
}

/* Entries that were read twice: one that was not ready the first time is not ready. */
static void take_entries(struct kms_guest_mirror *m, unsigned kind, uint64_t first, uint64_t n,
			 const uint8_t *before)
{
	const struct kms_table_form *form = &kms_table_forms[kind];
	uint32_t bytes = m->section[kind].entry_bytes;
	uint8_t *entry = m->map + mirror_here(m, kind, first);

	for (uint64_t i = 0; i < n; i++, entry += bytes, before += bytes) {
		if (word_at(before, form->ready_at) & form->ready_mask) {
			if (kind == KMS_SEC_MODULE)
				name_module(m, entry);
			continue;
		}
		memset(entry + form->ready_at, 0, sizeof(uint32_t));
		add_hole(&m->table[kind], first + i);
	}
}

static bool read_entries(struct kms_guest_mirror *m, unsigned kind)
{
	struct mirror_table *table = &m->table[kind];
	uint32_t bytes = m->section[kind].entry_bytes;
	size_t staged = m->staged;
	bool good = true;

	while (good && table->next < m->used[kind]) {
		uint64_t n = m->used[kind] - table->next;
		uint8_t *before;

		n = n < CHUNK_BYTES / bytes ? n : CHUNK_BYTES / bytes;
		before = mirror_stage(m, mirror_there(m, kind, table->next), n * bytes);
		mirror_want(m, mirror_there(m, kind, table->next),
			    m->map + mirror_here(m, kind, table->next), n * bytes);
		good = before && mirror_flush(m);
		if (!good)
			break;
		take_entries(m, kind, table->next, n, before);
		table->next += n;
		m->staged = staged; /* the room is used again */
	}
	return good;
}

/* Some of the entries that were not finished, in turn. */
static bool read_holes(struct kms_guest_mirror *m, unsigned kind)
{
	const struct kms_table_form *form = &kms_table_forms[kind];
	struct mirror_table *table = &m->table[kind];
	uint32_t bytes = m->section[kind].entry_bytes;
	uint32_t n = table->n_holes < HOLES_AT_ONCE ? table->n_holes : HOLES_AT_ONCE;
	uint8_t *first = mirror_room(m, (size_t)n * bytes);
	uint8_t *second = mirror_room(m, (size_t)n * bytes);
	uint32_t keep = 0;

	for (uint32_t i = 0; first && second && i < n; i++) {
		uint64_t at = mirror_there(m, kind, table->hole[i]);

		mirror_want(m, at, first + (size_t)i * bytes, bytes);
		mirror_want(m, at, second + (size_t)i * bytes, bytes);
	}
	if (!first || !second || !mirror_flush(m))
		return false;
	for (uint32_t i = 0; i < table->n_holes; i++) {
		uint64_t index = table->hole[i];

		if (i >= n ||
		    !(word_at(first + (size_t)i * bytes, form->ready_at) & form->ready_mask)) {
			table->hole[keep++] = (uint32_t)index;
			continue;
		}
		if (kind == KMS_SEC_MODULE)
			name_module(m, second + (size_t)i * bytes);
		mirror_put_later(m, mirror_here(m, kind, index), second + (size_t)i * bytes, bytes);
	}
	/* those that were not looked at come first the next time */
	if (keep > n) {
		uint32_t looked = n - (table->n_holes - keep);
		uint32_t moved[HOLES_AT_ONCE];

		memcpy(moved, table->hole, looked * sizeof(*moved));
		memmove(table->hole, table->hole + looked, (keep - looked) * sizeof(*moved));
		memcpy(table->hole + keep - looked, moved, looked * sizeof(*moved));
	}
	table->n_holes = keep;
	return true;
}

/* The one field of a fault that changes. */
static bool read_hits(struct kms_guest_mirror *m)
{
	struct mirror_table *table = &m->table[KMS_SEC_FAULT];
	uint64_t n = m->used[KMS_SEC_FAULT];

	n = n < HITS_AT_ONCE ? n : HITS_AT_ONCE;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t index = (table->hits_at + i) % m->used[KMS_SEC_FAULT];
		uint64_t at = offsetof(struct kms_fault, hits);
		uint32_t *hits =
			mirror_stage(m, mirror_there(m, KMS_SEC_FAULT, index) + at, sizeof(*hits));

		if (!hits)
			return false;
		mirror_put_later(m, mirror_here(m, KMS_SEC_FAULT, index) + at, hits, sizeof(*hits));
	}
	if (n)
		table->hits_at = (uint32_t)((table->hits_at + n) % m->used[KMS_SEC_FAULT]);
	return mirror_flush(m);
}

/* Strings have no entries of one size: what was there before is read again, as far as it is young. */
static bool read_strings(struct kms_guest_mirror *m)
{
	struct mirror_table *table = &m->table[KMS_SEC_STRING];
	uint64_t back = STRING_BACK_BYTES / sizeof(struct kms_string_head);
	uint64_t from = table->next > back ? table->next - back : 0;
	uint64_t n = m->used[KMS_SEC_STRING] - from;

	if (table->next == m->used[KMS_SEC_STRING] && !table->n_holes)
		return true;
	/* a second look at a string that has been there the last time, too */
	table->n_holes = table->next != m->used[KMS_SEC_STRING];
	mirror_want(m, mirror_there(m, KMS_SEC_STRING, from),
		    m->map + mirror_here(m, KMS_SEC_STRING, from),
		    n * sizeof(struct kms_string_head));
	table->next = m->used[KMS_SEC_STRING];
	return mirror_flush(m);
}

bool mirror_pull_tables(struct kms_guest_mirror *m, bool hits)
{
	bool good = read_used(m) && read_strings(m);

	for (unsigned kind = 1; good && kind < KMS_REGION_KINDS; kind++) {
		if (kms_table_forms[kind].name)
			good = read_holes(m, kind) && read_entries(m, kind);
	}
	/* ours lie behind the guest's, and are there from the begin */
	m->used[KMS_SEC_STRING] = m->section[KMS_SEC_STRING].entries;
	return good && (!hits || read_hits(m));
}
