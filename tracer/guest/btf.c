/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checking, indexing and searching BTF: see btf.h.
 */
#include "tracer/guest/btf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
	BTF_MAGIC = 0xeb9f,
	BTF_VERSION = 1,
	HEADER_BYTES = 24,
	TYPE_BYTES = 12,
	BUCKETS = 1 << 14,
};

enum btf_kind {
	KIND_INT = 1,
	KIND_PTR = 2,
	KIND_ARRAY = 3,
	KIND_STRUCT = 4,
	KIND_UNION = 5,
	KIND_ENUM = 6,
	KIND_FWD = 7,
	KIND_TYPEDEF = 8,
	KIND_VOLATILE = 9,
	KIND_CONST = 10,
	KIND_RESTRICT = 11,
	KIND_FUNC = 12,
	KIND_FUNC_PROTO = 13,
	KIND_VAR = 14,
	KIND_DATASEC = 15,
	KIND_FLOAT = 16,
	KIND_DECL_TAG = 17,
	KIND_TYPE_TAG = 18,
	KIND_ENUM64 = 19,
	KINDS,
};

/* What stands behind the 12 bytes of a type: a fixed part, and a part for each of its vlen. */
struct kind_rule {
	uint8_t fixed, each;
};

static const struct kind_rule rules[KINDS] = {
	[KIND_INT] = {4,  0 },
          [KIND_ARRAY] = {12, 0 },
          [KIND_STRUCT] = {0,  12},
	[KIND_UNION] = {0,  12},
          [KIND_ENUM] = {0,  8 },
          [KIND_FUNC_PROTO] = {0,  8 },
	[KIND_VAR] = {4,  0 },
          [KIND_DATASEC] = {0,  12},
          [KIND_DECL_TAG] = {4,  0 },
	[KIND_ENUM64] = {0,  12},
};

struct kms_btf {
	const uint8_t *type; /* the type section */
	uint32_t type_bytes;
	const char *string; /* ends with a NUL */
	uint32_t string_bytes;
	uint32_t types;
	uint32_t *offset; /* by id; [0] is void and unused */
	uint32_t *next;   /* by id: structs and unions with the same hash of the name */
	uint32_t bucket[BUCKETS];
};

/* A type's head, decoded. */
struct head {
	uint32_t name;
	uint32_t kind;
	uint32_t vlen;
	uint32_t size; /* or type */
	bool flag;
	const uint8_t *more;
};

static uint32_t word_at(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word)); /* x86 kernels only: little-endian as we are */
	return word;
}

static void head_read(const uint8_t *at, struct head *head)
{
	uint32_t info = word_at(at + 4);

	*head = (struct head){
		.name = word_at(at),
		.kind = (info >> 24) & 31,
		.vlen = info & 0xffff,
		.flag = info >> 31,
		.size = word_at(at + 8),
		.more = at + TYPE_BYTES,
	};
}

/* id 1 to types */
static void head_of(const struct kms_btf *btf, uint32_t id, struct head *head)
{
	head_read(btf->type + btf->offset[id], head);
}

/* "" for an offset outside of the section */
static const char *string_at(const struct kms_btf *btf, uint32_t offset)
{
	return offset < btf->string_bytes ? btf->string + offset : "";
}

static uint32_t bucket_of(const char *name)
{
	return (uint32_t)kms_hash_bytes(name, strlen(name), 0) & (BUCKETS - 1);
}

static void index_struct(struct kms_btf *btf, uint32_t id, const struct head *head)
{
	uint32_t *bucket;

	if ((head->kind != KIND_STRUCT && head->kind != KIND_UNION) || !head->name)
		return;
	bucket = &btf->bucket[bucket_of(string_at(btf, head->name))];
	btf->next[id] = *bucket;
	*bucket = id;
}

/* Walks all types once: counts them, or, when there is room, notes where they are. */
static int walk_types(struct kms_btf *btf, struct kms_err *err)
{
	uint32_t at = 0;
	uint32_t id = 0;

	while (at < btf->type_bytes) {
		struct head head;
		uint64_t bytes;

		if (btf->type_bytes - at < TYPE_BYTES)
			return kms_err_set(err, -EBADMSG, "BTF ends within type %u", id + 1);
		head_read(btf->type + at, &head);
		if (!head.kind || head.kind >= KINDS)
			return kms_err_set(err, -EBADMSG, "BTF type %u has kind %u", id + 1,
					   head.kind);
		bytes = TYPE_BYTES + rules[head.kind].fixed +
			(uint64_t)rules[head.kind].each * head.vlen;
		if (bytes > btf->type_bytes - at)
			return kms_err_set(err, -EBADMSG, "BTF ends within type %u", id + 1);
		if (++id > KMS_BTF_MAX_TYPES)
			return kms_err_set(err, -EFBIG, "BTF of more than %d types",
					   KMS_BTF_MAX_TYPES);
		if (btf->offset) {
			btf->offset[id] = at;
			index_struct(btf, id, &head);
		}
		at += (uint32_t)bytes;
	}
	btf->types = id;
	return 0;
}

static int find_sections(struct kms_btf *btf, const uint8_t *bytes, size_t n, struct kms_err *err)
{
	uint64_t head_bytes, type_at, string_at_;

	if (n < HEADER_BYTES || n > KMS_BTF_MAX_BYTES)
		return kms_err_set(err, n < HEADER_BYTES ? -EBADMSG : -EFBIG, "BTF of %zu bytes",
				   n);
	if ((word_at(bytes) & 0xffffff) != (BTF_MAGIC | BTF_VERSION << 16))
		return kms_err_set(err, -EBADMSG, "no BTF: begins with %#x", word_at(bytes));
	head_bytes = word_at(bytes + 4);
	type_at = head_bytes + word_at(bytes + 8);
	btf->type_bytes = word_at(bytes + 12);
	string_at_ = head_bytes + word_at(bytes + 16);
	btf->string_bytes = word_at(bytes + 20);
	if (head_bytes < HEADER_BYTES || type_at > n || btf->type_bytes > n - type_at ||
	    string_at_ > n || btf->string_bytes > n - string_at_)
		return kms_err_set(err, -EBADMSG, "BTF whose sections lie outside of it");
	btf->type = bytes + type_at;
	btf->string = (const char *)bytes + string_at_;
	if (!btf->string_bytes || btf->string[btf->string_bytes - 1])
		return kms_err_set(err, -EBADMSG, "BTF whose strings have no end");
	return 0;
}

int kms_btf_open(const void *bytes, size_t n, struct kms_btf **out, struct kms_err *err)
{
	struct kms_btf *btf = calloc(1, sizeof(*btf));
	int rc;

	if (!btf)
		return kms_err_set(err, -ENOMEM, "no memory for types");
	rc = find_sections(btf, bytes, n, err);
	if (!rc)
		rc = walk_types(btf, err);
	if (!rc) {
		btf->offset = calloc(btf->types + 1, sizeof(*btf->offset));
		btf->next = calloc(btf->types + 1, sizeof(*btf->next));
		rc = btf->offset && btf->next ? walk_types(btf, err)
					      : kms_err_set(err, -ENOMEM, "no memory for types");
	}
	if (rc) {
		kms_btf_close(btf);
		return rc;
	}
	*out = btf;
	return 0;
}

void kms_btf_close(struct kms_btf *btf)
{
	if (!btf)
		return;
	free(btf->offset);
	free(btf->next);
	free(btf);
}

uint32_t kms_btf_types(const struct kms_btf *btf)
{
	return btf->types;
}

/* Follows typedefs and qualifiers; 0 and -ELOOP for chains without an end, 0 for void. */
static uint32_t plain_type(const struct kms_btf *btf, uint32_t id, struct head *head)
{
	for (int depth = 0; depth < KMS_BTF_MAX_DEPTH; depth++) {
		if (!id || id > btf->types)
			return 0;
		head_of(btf, id, head);
		switch (head->kind) {
		case KIND_TYPEDEF:
		case KIND_VOLATILE:
		case KIND_CONST:
		case KIND_RESTRICT:
		case KIND_TYPE_TAG:
			id = head->size;
			break;
		default:
			return id;
		}
	}
	return 0;
}

uint64_t kms_btf_size(const struct kms_btf *btf, uint32_t type)
{
	uint64_t times = 1;

	for (int depth = 0; depth < KMS_BTF_MAX_DEPTH; depth++) {
		struct head head;

		if (!plain_type(btf, type, &head))
			return 0;
		switch (head.kind) {
		case KIND_INT:
		case KIND_FLOAT:
		case KIND_STRUCT:
		case KIND_UNION:
		case KIND_ENUM:
		case KIND_ENUM64:
		case KIND_DATASEC:
			return times * head.size; /* both below 2^32 */
		case KIND_PTR:
			return times * 8;
		case KIND_ARRAY:
			type = word_at(head.more);
			times *= word_at(head.more + 8);
			if (times > UINT32_MAX)
				return 0;
			break;
		default:
			return 0;
		}
	}
	return 0;
}

/* One search: the name looked for is a part of a path, not terminated. */
struct search {
	const struct kms_btf *btf;
	const char *name;
	size_t length;
	int steps; /* left: a hostile text can nest types 16 deep with 65,535 members each */
};

static bool is_name(const char *string, const char *name, size_t length)
{
	return !strncmp(string, name, length) && !string[length];
}

/* Bit offset and width of a member; the width comes with it if it is a bit-field, else from its type. */
static void member_place(const struct kms_btf *btf, const struct head *head, const uint8_t *member,
			 struct kms_btf_member *out)
{
	uint32_t place = word_at(member + 8);
	uint64_t bits;

	out->type = word_at(member + 4);
	out->bit = head->flag ? place & 0xffffff : place;
	out->bits = head->flag ? place >> 24 : 0;
	if (out->bits)
		return;
	bits = kms_btf_size(btf, out->type) * 8;
	out->bits = bits <= UINT32_MAX ? (uint32_t)bits : 0;
}

static int search_struct(struct search *search, uint32_t type, int depth,
			 struct kms_btf_member *out)
{
	struct head head;

	if (depth > KMS_BTF_MAX_DEPTH)
		return -EBADMSG;
	if (!plain_type(search->btf, type, &head) ||
	    (head.kind != KIND_STRUCT && head.kind != KIND_UNION))
		return -ENOENT;
	for (uint32_t i = 0; i < head.vlen; i++) {
		const uint8_t *member = head.more + (size_t)i * 12;
		const char *name = string_at(search->btf, word_at(member));
		uint32_t base;
		int rc;

		if (--search->steps < 0)
			return -EBADMSG;
		if (is_name(name, search->name, search->length)) {
			member_place(search->btf, &head, member, out);
			return 0;
		}
		if (*name)
			continue;
		base = head.flag ? word_at(member + 8) & 0xffffff : word_at(member + 8);
		rc = search_struct(search, word_at(member + 4), depth + 1, out);
		if (!rc)
			return __builtin_add_overflow(base, out->bit, &out->bit) ? -EBADMSG : 0;
		if (rc != -ENOENT)
			return rc;
	}
	return -ENOENT;
}

int kms_btf_find_member(const struct kms_btf *btf, uint32_t type, const char *path,
			struct kms_btf_member *out)
{
	struct search search = {.btf = btf, .steps = 1 << 18};
	struct kms_btf_member found = {.type = type};
	uint32_t bit = 0;

	while (*path) {
		int rc;

		search.name = path;
		search.length = strcspn(path, ".");
		rc = search_struct(&search, found.type, 0, &found);
		if (rc)
			return rc;
		if (__builtin_add_overflow(bit, found.bit, &bit))
			return -EBADMSG;
		path += search.length;
		path += *path == '.';
	}
	found.bit = bit;
	*out = found;
	return 0;
}

uint32_t kms_btf_find_struct(const struct kms_btf *btf, const char *name, const char *member)
{
	uint32_t first = 0;
	int steps = 4096; /* a bucket of a hostile text may hold all of them */

	/* the chain has the last first; the kernel's own types come before those of its modules */
	for (uint32_t id = btf->bucket[bucket_of(name)]; id && steps--; id = btf->next[id]) {
		struct kms_btf_member unused;
		struct head head;

		head_of(btf, id, &head);
		if (strcmp(string_at(btf, head.name), name) != 0)
			continue;
		if (!member || !kms_btf_find_member(btf, id, member, &unused))
			first = id;
	}
	return first;
}

int kms_btf_find_constant(const struct kms_btf *btf, const char *name, uint64_t *value)
{
	for (uint32_t id = 1; id <= btf->types; id++) {
		struct head head;

		head_of(btf, id, &head);
		if (head.kind != KIND_ENUM && head.kind != KIND_ENUM64)
			continue;
		for (uint32_t i = 0; i < head.vlen; i++) {
			const uint8_t *each = head.more + (size_t)i * rules[head.kind].each;

			if (strcmp(string_at(btf, word_at(each)), name) != 0)
				continue;
			*value = word_at(each + 4);
			if (head.kind == KIND_ENUM64)
				*value |= (uint64_t)word_at(each + 8) << 32;
			return 0;
		}
	}
	return -ENOENT;
}
