/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoding kallsyms: see kallsyms.h.
 */
#include "tracer/guest/kallsyms.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
	TOKENS = 256,
	MAX_PROBES = 256, /* names may be chosen to collide */
	HASH_SHIFT = 32,
};

/* A symbol while it is sorted. */
struct entry {
	uint64_t address;
	uint32_t name;
	uint32_t order;
};

/* The tokens with their lengths, so that a name is put together by memcpy. */
struct tokens {
	const char *text[TOKENS];
	uint16_t bytes[TOKENS];
};

/* What a decode keeps. */
struct decode {
	const struct kms_kallsyms_tables *tables;
	struct tokens tokens;
	struct entry *entry;
	char *names;
	size_t names_bytes, room;
	size_t at; /* in tables->names */
};

static int tokens_check(struct decode *decode, struct kms_err *err)
{
	const struct kms_kallsyms_tables *tables = decode->tables;

	for (int i = 0; i < TOKENS; i++) {
		size_t at = tables->token_index[i];
		const char *end = at < tables->tokens_bytes ? memchr(tables->tokens + at, 0,
								     tables->tokens_bytes - at)
							    : NULL;

		if (!end || end - (tables->tokens + at) >= KMS_SYMBOL_NAME_BYTES)
			return kms_err_set(err, -EBADMSG, "kallsyms token %d has no end", i);
		decode->tokens.text[i] = tables->tokens + at;
		decode->tokens.bytes[i] = (uint16_t)(end - (tables->tokens + at));
	}
	return 0;
}

/* One or two bytes of length (the second since Linux 6.1), then as many token numbers. */
static int length_next(struct decode *decode, size_t *length)
{
	const struct kms_kallsyms_tables *tables = decode->tables;

	if (decode->at >= tables->names_bytes)
		return -EBADMSG;
	*length = tables->names[decode->at++];
	if (*length & 0x80) {
		if (decode->at >= tables->names_bytes)
			return -EBADMSG;
		*length = (*length & 0x7f) | (size_t)tables->names[decode->at++] << 7;
	}
	return *length && *length <= tables->names_bytes - decode->at ? 0 : -EBADMSG;
}

static int room_for(struct decode *decode, size_t bytes)
{
	size_t room = decode->room * 2;
	char *names;

	if (decode->names_bytes + bytes <= decode->room)
		return 0;
	if (room > KMS_SYMBOLS_MAX_NAME_BYTES)
		return -EFBIG;
	names = realloc(decode->names, room);
	if (!names)
		return -ENOMEM;
	decode->names = names;
	decode->room = room;
	return 0;
}

/* Appends the next name without its first character, which is the symbol's type. */
static int name_next(struct decode *decode)
{
	size_t length, bytes = 0;
	char *to;
	int rc = length_next(decode, &length);

	if (!rc)
		rc = room_for(decode, KMS_SYMBOL_NAME_BYTES + 1);
	if (rc)
		return rc;
	to = decode->names + decode->names_bytes;
	for (size_t i = 0; i < length; i++) {
		unsigned token = decode->tables->names[decode->at++];
		size_t more = decode->tokens.bytes[token];

		if (bytes + more > KMS_SYMBOL_NAME_BYTES)
			return -EBADMSG;
		memcpy(to + bytes, decode->tokens.text[token], more);
		bytes += more;
	}
	if (!bytes)
		return -EBADMSG;
	memmove(to, to + 1, bytes - 1);
	to[bytes - 1] = '\0';
	decode->names_bytes += bytes;
	return 0;
}

static int names_decode(struct decode *decode, struct kms_err *err)
{
	uint32_t count = decode->tables->count;

	for (uint32_t i = 0; i < count; i++) {
		size_t begin = decode->names_bytes;
		int rc = name_next(decode);

		if (rc)
			return kms_err_set(err, rc, "kallsyms name %u of %u is damaged", i, count);
		decode->entry[i].name = (uint32_t)begin;
		decode->entry[i].order = i;
	}
	return 0;
}

/*
 * Addresses by one of the two readings.
 *
 * per_cpu: offsets that are not negative are absolute addresses (per-CPU symbols), negative ones
 * count down from the base; otherwise all count up from it, without a sign.
 */
static bool addresses_decode(struct decode *decode, bool per_cpu,
			     const struct kms_kallsyms_known *known)
{
	const struct kms_kallsyms_tables *tables = decode->tables;
	bool found = false;

	for (uint32_t i = 0; i < tables->count; i++) {
		struct entry *entry = &decode->entry[i];
		int32_t offset = tables->offsets[i];

		if (!per_cpu)
			entry->address = tables->relative_base + (uint32_t)offset;
		else if (offset >= 0)
			entry->address = (uint64_t)offset;
		else
			entry->address = tables->relative_base - 1 - (uint64_t)(int64_t)offset;
		if (entry->address == known->address && !found)
			found = !strcmp(decode->names + entry->name, known->name);
	}
	return found;
}

static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static bool is_sorted(const struct entry *entry, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++)
		if (entry[i - 1].address > entry[i].address)
			return false;
	return true;
}

static int symbols_take(struct kms_symbols *symbols, struct decode *decode, struct kms_err *err)
{
	uint32_t count = decode->tables->count;

	if (!is_sorted(decode->entry, count))
		qsort(decode->entry, count, sizeof(*decode->entry), entry_compare);
	symbols->address = calloc(count, sizeof(*symbols->address));
	symbols->name = calloc(count, sizeof(*symbols->name));
	if (!symbols->address || !symbols->name)
		return kms_err_set(err, -ENOMEM, "no memory for symbols");
	for (uint32_t i = 0; i < count; i++) {
		symbols->address[i] = decode->entry[i].address;
		symbols->name[i] = decode->entry[i].name;
	}
	symbols->count = count;
	symbols->names = decode->names;
	symbols->names_bytes = (uint32_t)decode->names_bytes;
	decode->names = NULL;
	return kms_symbols_index(symbols, err);
}

static int decode_all(struct kms_symbols *symbols, struct decode *decode,
		      const struct kms_kallsyms_known *known, struct kms_err *err)
{
	int rc = tokens_check(decode, err);

	if (!rc)
		rc = names_decode(decode, err);
	if (rc)
		return rc;
	if (!addresses_decode(decode, true, known) && !addresses_decode(decode, false, known))
		return kms_err_set(err, -EBADMSG, "kallsyms: %s is not where the kernel says",
				   known->name);
	return symbols_take(symbols, decode, err);
}

int kms_symbols_decode(struct kms_symbols *symbols, const struct kms_kallsyms_tables *tables,
		       const struct kms_kallsyms_known *known, struct kms_err *err)
{
	struct decode decode = {.tables = tables, .room = (size_t)1 << 20};
	int rc;

	*symbols = (struct kms_symbols){0};
	if (!tables->count || tables->count > KMS_SYMBOLS_MAX)
		return kms_err_set(err, -EFBIG, "kallsyms of %u symbols", tables->count);
	decode.entry = calloc(tables->count, sizeof(*decode.entry));
	decode.names = malloc(decode.room);
	rc = decode.entry && decode.names ? decode_all(symbols, &decode, known, err)
					  : kms_err_set(err, -ENOMEM, "no memory for symbols");
	free(decode.entry);
	free(decode.names);
	if (rc)
		kms_symbols_deinit(symbols);
	return rc;
}

/*
 * The bucket where a name is or would go; NULL: none within the bound. The name itself, somewhere
 * in megabytes, is looked at only where half of its hash is equal.
 */
static uint64_t *bucket_find(const struct kms_symbols *symbols, const char *name, uint64_t hash)
{
	uint64_t at = hash;

	for (int i = 0; i < MAX_PROBES; i++, at++) {
		uint64_t *bucket = &symbols->bucket[at & (symbols->buckets - 1)];
		uint32_t index = (uint32_t)*bucket - 1;

		if (!*bucket || ((*bucket ^ hash) >> HASH_SHIFT == 0 &&
				 !strcmp(symbols->names + symbols->name[index], name)))
			return bucket;
	}
	return NULL;
}

static uint64_t name_hash(const char *name)
{
	return kms_hash_bytes(name, strlen(name), 0);
}

int kms_symbols_index(struct kms_symbols *symbols, struct kms_err *err)
{
	symbols->buckets = 1024;
	while (symbols->buckets < 2 * symbols->count)
		symbols->buckets *= 2;
	symbols->bucket = calloc(symbols->buckets, sizeof(*symbols->bucket));
	if (!symbols->bucket)
		return kms_err_set(err, -ENOMEM, "no memory for symbols");
	for (uint32_t i = 0; i < symbols->count; i++) {
		const char *name = symbols->names + symbols->name[i];
		uint64_t hash = name_hash(name);
		uint64_t *bucket = bucket_find(symbols, name, hash);

		if (bucket && !*bucket)
			*bucket = (hash >> HASH_SHIFT << HASH_SHIFT) | (i + 1);
	}
	return 0;
}

void kms_symbols_deinit(struct kms_symbols *symbols)
{
	free(symbols->address);
	free(symbols->name);
	free(symbols->names);
	free(symbols->bucket);
	*symbols = (struct kms_symbols){0};
}

uint64_t kms_symbols_find(const struct kms_symbols *symbols, const char *name)
{
	const uint64_t *bucket = bucket_find(symbols, name, name_hash(name));

	return bucket && *bucket ? symbols->address[(uint32_t)*bucket - 1] : 0;
}

/* Symbols at or below an address: an upper bound. */
static uint32_t count_below(const struct kms_symbols *symbols, uint64_t address)
{
	uint32_t low = 0, high = symbols->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (symbols->address[middle] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t kms_symbols_end(const struct kms_symbols *symbols, uint64_t address)
{
	uint32_t next = count_below(symbols, address);

	return next < symbols->count ? symbols->address[next] : 0;
}

const char *kms_symbols_name(const struct kms_symbols *symbols, uint64_t address, uint64_t *offset)
{
	uint32_t below = count_below(symbols, address);
	uint64_t base;

	if (!below)
		return NULL;
	base = symbols->address[below - 1];
	*offset = address - base;
	while (below > 1 && symbols->address[below - 2] == base) /* the first of its aliases */
		below--;
	return symbols->names + symbols->name[below - 1];
}
