/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Following append-only tables: see tables.h. What an entry may say stands in table_check.c.
 */
#include "tracer/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/batch_build.h"
#include "tracer/table_check.h"

void kms_tables_init(struct kms_tables *tables)
{
	memset(tables, 0, sizeof(*tables));
	tables->table[KMS_SEC_NODE].next = 1; /* 0 is the empty stack */
}

void kms_tables_deinit(struct kms_tables *tables)
{
	for (unsigned kind = 0; kind < KMS_REGION_KINDS; kind++)
		free(tables->table[kind].hole);
	free(tables->string_sent);
}

uint64_t kms_tables_count(const struct kms_tables *tables, unsigned kind)
{
	return tables->table[kind].next;
}

static uint32_t ready_word(const struct kms_table_form *form, const uint8_t *entry)
{
	/* pairs with the target's release store of the same word: the entry is whole */
	return kms_load_acquire_u32((const uint32_t *)(const void *)(entry + form->ready_at));
}

/* Copies some entries; those not ready stay all zero. */
struct copy_job {
	const struct kms_region *region;
	const struct kms_table_form *form;
	unsigned kind;
	uint64_t first;
	uint32_t count;
	uint8_t *to;
};

static void copy_entries(void *arg)
{
	struct copy_job *job = arg;
	uint32_t bytes = job->region->section[job->kind].entry_bytes;
	const uint8_t *from = kms_region_at(job->region, job->kind, job->first);
	uint8_t *to = job->to;

	for (uint32_t i = 0; i < job->count; i++, from += bytes, to += bytes) {
		uint32_t ready = ready_word(job->form, from);

		if (!(ready & job->form->ready_mask))
			continue;
		memcpy(to, from, bytes);
		memcpy(to + job->form->ready_at, &ready, sizeof(ready));
	}
}

struct used_job {
	const struct kms_region *region;
	uint64_t used[KMS_REGION_KINDS];
};

static void copy_used(void *arg)
{
	struct used_job *job = arg;

	for (unsigned kind = 1; kind < KMS_REGION_KINDS; kind++)
		job->used[kind] = kms_region_used(job->region, kind);
}

static int add_hole(struct kms_table *table, uint32_t index, struct kms_err *err)
{
	uint32_t wanted = table->room_holes ? table->room_holes * 2 : 64;
	uint32_t *hole;

	if (table->n_holes == KMS_TABLE_MAX_HOLES)
		return kms_err_set(err, -EBADMSG, "too many unfinished entries");
	if (table->n_holes == table->room_holes) {
		hole = reallocarray(table->hole, wanted, sizeof(*hole));
		if (!hole)
			return kms_err_set(err, -ENOMEM, "no memory for a table");
		table->hole = hole;
		table->room_holes = wanted;
	}
	table->hole[table->n_holes++] = index;
	return 0;
}

static bool is_ready(const struct kms_table_form *form, const uint8_t *entry)
{
	uint32_t ready;

	memcpy(&ready, entry + form->ready_at, sizeof(ready));
	return ready & form->ready_mask;
}

/* One table being read into a batch. */
struct reading {
	struct kms_tables *tables;
	struct kms_region *region;
	struct kms_batch *batch;
	struct kms_err *err;
	unsigned kind;
};

/* Checks one copied entry and sends the string it names; notes a hole if the entry is new. */
static int take_entry(const struct reading *r, uint8_t *entry, uint32_t index, bool is_new)
{
	const struct kms_table_form *form = &kms_table_forms[r->kind];
	uint32_t string;
	int result;

	if (!is_ready(form, entry))
		return is_new ? add_hole(&r->tables->table[r->kind], index, r->err) : 0;
	result = form->check(entry, index, r->region, r->err);
	string = form->string ? form->string(entry) : 0;
	if (!result && string)
		result = kms_tables_string(r->tables, r->region, string, r->batch, r->err);
	return result;
}

/* Copies entries into a new piece of the batch, holes as zero, and checks them. */
static int read_piece(const struct reading *r, uint64_t first, uint32_t count, bool is_new)
{
	uint32_t bytes = r->region->section[r->kind].entry_bytes;
	struct copy_job job = {.region = r->region,
			       .form = &kms_table_forms[r->kind],
			       .kind = r->kind,
			       .first = first,
			       .count = count};
	struct kms_batch_table *piece =
		kms_batch_add_table(r->batch, r->kind, (uint32_t)first, count, bytes);
	uint32_t i = 0;
	int result;

	if (!piece)
		return kms_err_set(r->err, -ENOMEM, "no memory for a table");
	piece->image = r->tables->image;
	job.to = piece->data; /* stays where it is when strings move the piece */
	result = kms_region_access(r->region, copy_entries, &job);
	if (result)
		(void)kms_err_set(r->err, result, "the file was cut short");
	for (; !result && i < count; i += !result)
		result = take_entry(r, job.to + (size_t)i * bytes, (uint32_t)first + i, is_new);
	/* what was not checked is not sent */
	memset(job.to + (size_t)i * bytes, 0, (size_t)(count - i) * bytes);
	return result;
}

static int read_new(const struct reading *r, uint64_t used)
{
	struct kms_table *table = &r->tables->table[r->kind];
	uint32_t piece_max = KMS_TABLE_PIECE_BYTES / r->region->section[r->kind].entry_bytes;

	while (table->next < used) {
		uint64_t left = used - table->next;
		uint32_t count = left < piece_max ? (uint32_t)left : piece_max;
		int result = read_piece(r, table->next, count, true);

		if (result)
			return result;
		table->next += count;
	}
	return 0;
}

/* Looks again at what was not finished. */
struct hole_job {
	const struct kms_region *region;
	const struct kms_table_form *form;
	const struct kms_table *table;
	unsigned kind;
	uint32_t at; /* looks from here on; the first ready hole, or n_holes */
};

static void find_ready_hole(void *arg)
{
	struct hole_job *job = arg;

	for (; job->at < job->table->n_holes; job->at++) {
		const uint8_t *entry =
			kms_region_at(job->region, job->kind, job->table->hole[job->at]);

		if (ready_word(job->form, entry) & job->form->ready_mask)
			return;
	}
}

static int read_holes(const struct reading *r)
{
	struct kms_table *table = &r->tables->table[r->kind];
	struct hole_job job = {.region = r->region,
			       .form = &kms_table_forms[r->kind],
			       .table = table,
			       .kind = r->kind};

	for (;;) {
		int result = kms_region_access(r->region, find_ready_hole, &job);

		if (result)
			return kms_err_set(r->err, result, "the file was cut short");
		if (job.at >= table->n_holes)
			return 0;
		result = read_piece(r, table->hole[job.at], 1, false);
		if (result)
			return result;
		table->hole[job.at] = table->hole[--table->n_holes];
	}
}

static int read_table(const struct reading *r, uint64_t used)
{
	const char *name = kms_table_forms[r->kind].name;
	struct kms_table *table = &r->tables->table[r->kind];
	int result = 0;

	if (used < table->next)
		return kms_err_set(r->err, -EBADMSG, "%s table shrinks to %llu", name,
				   (unsigned long long)used);
	if (table->n_holes)
		result = read_holes(r);
	if (!result && used > table->next)
		result = read_new(r, used);
	if (result)
		(void)kms_err_context(r->err, "%s table", name); /* gives back the same number */
	return result;
}

int kms_tables_read(struct kms_tables *tables, struct kms_region *region, struct kms_batch *batch,
		    struct kms_err *err)
{
	struct used_job job = {.region = region};
	int result = kms_region_access(region, copy_used, &job);

	if (result)
		return kms_err_set(err, result, "tables: the file was cut short");
	if (job.used[KMS_SEC_NODE] < 1)
		job.used[KMS_SEC_NODE] = 1; /* a region just made */
	for (unsigned kind = 1; kind < KMS_REGION_KINDS; kind++) {
		struct reading reading = {tables, region, batch, err, kind};

		if (!kms_table_forms[kind].name)
			continue;
		result = read_table(&reading, job.used[kind]);
		if (result)
			return result;
	}
	tables->table[KMS_SEC_STRING].next = job.used[KMS_SEC_STRING];
	return 0;
}

/* Finds faults with more hits than were sent. */
struct hits_job {
	const struct kms_region *region;
	const struct kms_tables *tables;
	uint32_t count;
	uint32_t at;
};

static void find_hit(void *arg)
{
	struct hits_job *job = arg;

	for (; job->at < job->count; job->at++) {
		const struct kms_fault *fault = kms_region_at(job->region, KMS_SEC_FAULT, job->at);

		if (kms_load_u32_relaxed(&fault->hits) != job->tables->hits[job->at] &&
		    kms_load_acquire_u32(&fault->ready))
			return;
	}
}

int kms_tables_read_hits(struct kms_tables *tables, struct kms_region *region,
			 struct kms_batch *batch, struct kms_err *err)
{
	struct hits_job job = {.region = region,
			       .tables = tables,
			       .count = (uint32_t)tables->table[KMS_SEC_FAULT].next};
	struct reading reading = {tables, region, batch, err, KMS_SEC_FAULT};

	for (;; job.at++) {
		size_t at = batch->n_tables;
		struct kms_fault fault;
		int result = kms_region_access(region, find_hit, &job);

		if (result)
			return kms_err_set(err, result, "faults: the file was cut short");
		if (job.at >= job.count)
			return 0;
		result = read_piece(&reading, job.at, 1, false);
		if (result)
			return result;
		memcpy(&fault, batch->table[at].data, sizeof(fault));
		tables->hits[job.at] = fault.hits;
	}
}

/* Copies the head of a string, or the whole of it. */
struct string_job {
	const struct kms_region *region;
	uint64_t index;
	uint64_t n_units;
	uint32_t length; /* of the text; valid if is_there */
	bool is_there;
	uint8_t *to; /* n_units * 8 bytes; NULL: only the length */
};

static void copy_string(void *arg)
{
	struct string_job *job = arg;
	const struct kms_string_head *head = kms_region_at(job->region, KMS_SEC_STRING, job->index);
	/* pairs with the target's release store of ready: the bytes are there */
	uint32_t ready = kms_load_acquire_u32(&head->ready);

	job->is_there = ready != 0;
	job->length = ready - 1;
	if (!job->to)
		return;
	memcpy(job->to, head, job->n_units * sizeof(*head));
	memcpy(job->to, &ready, sizeof(ready));
}

/* Finds the string and its length in units, head included. */
static int find_string(struct kms_region *region, uint64_t index, struct string_job *job)
{
	uint64_t entries = region->section[KMS_SEC_STRING].entries;
	int result;

	*job = (struct string_job){.region = region, .index = index};
	if (index >= entries)
		return -EBADMSG;
	result = kms_region_access(region, copy_string, job);
	if (result)
		return result;
	job->n_units = 1 + ((uint64_t)job->length + 7) / 8;
	if (!job->is_there || job->length > KMS_TABLE_MAX_STRING || job->n_units > entries - index)
		return -EBADMSG;
	return 0;
}

static bool was_sent(struct kms_tables *tables, uint64_t index)
{
	return tables->string_sent && tables->string_sent[index / 8] >> (index % 8) & 1;
}

int kms_tables_string(struct kms_tables *tables, struct kms_region *region, uint64_t index,
		      struct kms_batch *batch, struct kms_err *err)
{
	struct string_job job;
	struct kms_batch_table *piece;
	uint32_t before;
	int result;

	if (index == 0 || index == KMS_NO_INDEX)
		return 0;
	if (!tables->string_sent)
		tables->string_sent =
			calloc(1, KMS_MAX_STRING_BYTES / sizeof(struct kms_string_head) / 8);
	if (!tables->string_sent)
		return kms_err_set(err, -ENOMEM, "no memory for a table");
	result = find_string(region, index, &job);
	if (result)
		return kms_err_set(err, result, "string %llu is none", (unsigned long long)index);
	if (was_sent(tables, index))
		return 0;
	piece = kms_batch_add_table(batch, KMS_SEC_STRING, (uint32_t)index, (uint32_t)job.n_units,
				    sizeof(struct kms_string_head));
	if (!piece)
		return kms_err_set(err, -ENOMEM, "no memory for a table");
	piece->image = tables->image;
	job.to = piece->data;
	before = job.length;
	result = kms_region_access(region, copy_string, &job);
	if (result || job.length != before)
		return kms_err_set(err, result ? result : -EBADMSG, "string %llu changes",
				   (unsigned long long)index);
	tables->string_sent[index / 8] |= (uint8_t)(1u << (index % 8));
	return 0;
}

int kms_tables_text(struct kms_region *region, uint64_t index, char *out, size_t size)
{
	uint8_t copy[sizeof(struct kms_string_head) + 4096];
	struct string_job job;
	uint32_t length;
	int result;

	out[0] = '\0';
	result = find_string(region, index, &job);
	if (result)
		return result;
	length = job.length < 4096 ? job.length : 4096;
	length = length < size - 1 ? length : (uint32_t)size - 1;
	job.to = copy;
	job.n_units = 1 + (length + 7) / 8;
	result = kms_region_access(region, copy_string, &job);
	if (result)
		return result;
	memcpy(out, copy + sizeof(struct kms_string_head), length);
	out[length] = '\0';
	return 0;
}
