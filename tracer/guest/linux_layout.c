/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking members up in BTF: see linux_layout.h.
 */
#include "tracer/guest/linux_layout.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"

enum {
	WORD_BITS = 64,
	BYTE_BITS = 8,
	BITS_MAX = 0xffff,
};

struct struct_rule {
	const char *name, *member;
};

struct member_rule {
	enum kms_lx_struct type;
	enum kms_linux_feature feature;
	const char *path;
};

struct constant_rule {
	const char *name;
	bool is_flag;
	uint64_t otherwise;
};

static const struct struct_rule structs[KMS_LX_STRUCT_COUNT] = {
#define X(symbol, name, member) [KMS_LX_##symbol] = {name, member},
	KMS_LX_STRUCTS(X)
#undef X
};

static const struct member_rule members[KMS_LX_MEMBER_COUNT] = {
#define X(symbol, type, path, feature)                                                             \
	[KMS_LX_##symbol##_AT] = {KMS_LX_##type, KMS_LX_##feature, path},
	KMS_LX_MEMBERS(X)
#undef X
};

static const struct constant_rule constants[KMS_LX_CONSTANT_COUNT] = {
#define X(symbol, name, is_flag, otherwise) [KMS_LX_IS_##symbol] = {name, is_flag, otherwise},
	KMS_LX_CONSTANTS(X)
#undef X
};

/* Of a member that is read as a number all bytes must be in the struct's copy. */
static bool place_fits(const struct kms_linux_place *place, uint32_t bytes)
{
	uint64_t end = (uint64_t)place->byte + (place->shift + place->bits + 7U) / 8;

	if (place->shift >= BYTE_BITS)
		return false;
	return place->bits > WORD_BITS ? place->byte <= bytes : end <= bytes;
}

static bool probe_member(struct kms_linux_layout *layout, const struct kms_btf *btf, uint32_t type,
			 enum kms_lx_member member)
{
	struct kms_linux_place *place = &layout->place[member];
	struct kms_btf_member found;

	if (!type || kms_btf_find_member(btf, type, members[member].path, &found))
		return false;
	*place = (struct kms_linux_place){
		.byte = found.bit / BYTE_BITS,
		.shift = found.bit % BYTE_BITS,
		.bits = found.bits < BITS_MAX ? (uint16_t)found.bits : BITS_MAX,
	};
	if (!found.bits) /* an array without a length: its place is all there is */
		place->bits = BITS_MAX;
	if (place_fits(place, layout->bytes[members[member].type]))
		return true;
	place->bits = 0;
	return false;
}

static void probe_constants(struct kms_linux_layout *layout, const struct kms_btf *btf)
{
	for (int i = 0; i < KMS_LX_CONSTANT_COUNT; i++) {
		uint64_t value;

		layout->constant[i] = constants[i].otherwise;
		if (kms_btf_find_constant(btf, constants[i].name, &value))
			continue;
		layout->constant[i] = constants[i].is_flag ? UINT64_C(1) << (value & 63) : value;
	}
}

int kms_linux_layout_probe(struct kms_linux_layout *layout, const struct kms_btf *btf,
			   struct kms_err *err)
{
	uint32_t type[KMS_LX_STRUCT_COUNT];

	*layout = (struct kms_linux_layout){.features = (1U << KMS_LX_FEATURES) - 1};
	for (int i = 0; i < KMS_LX_STRUCT_COUNT; i++) {
		uint64_t bytes;

		type[i] = kms_btf_find_struct(btf, structs[i].name, structs[i].member);
		bytes = type[i] ? kms_btf_size(btf, type[i]) : 0;
		if (bytes > KMS_LX_MAX_STRUCT_BYTES)
			type[i] = 0;
		layout->bytes[i] = type[i] ? (uint32_t)bytes : 0;
	}
	for (int i = 0; i < KMS_LX_MEMBER_COUNT; i++) {
		const struct member_rule *rule = &members[i];

		if (probe_member(layout, btf, type[rule->type], (enum kms_lx_member)i))
			continue;
		if (rule->feature == KMS_LX_FOR_CACHES)
			return kms_err_set(err, -ENOTSUP, "this kernel's %s has no member %s",
					   structs[rule->type].name, rule->path);
		if (rule->feature != KMS_LX_OPTIONAL)
			layout->features &= ~(1U << rule->feature);
	}
	probe_constants(layout, btf);
	return 0;
}

int kms_linux_layout_check(const struct kms_linux_layout *layout, struct kms_err *err)
{
	for (int i = 0; i < KMS_LX_STRUCT_COUNT; i++)
		if (layout->bytes[i] > KMS_LX_MAX_STRUCT_BYTES)
			return kms_err_set(err, -EBADMSG, "a struct %s of %u bytes",
					   structs[i].name, layout->bytes[i]);
	for (int i = 0; i < KMS_LX_MEMBER_COUNT; i++) {
		const struct member_rule *rule = &members[i];
		const struct kms_linux_place *place = &layout->place[i];

		if (place->bits && !place_fits(place, layout->bytes[rule->type]))
			return kms_err_set(err, -EBADMSG, "%s.%s outside of its struct",
					   structs[rule->type].name, rule->path);
		if (!place->bits && rule->feature != KMS_LX_OPTIONAL &&
		    kms_linux_layout_has(layout, rule->feature))
			return kms_err_set(err, -EBADMSG, "%s.%s is missing",
					   structs[rule->type].name, rule->path);
	}
	return kms_linux_layout_has(layout, KMS_LX_FOR_CACHES)
		       ? 0
		       : kms_err_set(err, -EBADMSG, "a layout without caches");
}

uint64_t kms_linux_layout_version(void)
{
	uint64_t version = sizeof(struct kms_linux_layout);

	for (int i = 0; i < KMS_LX_STRUCT_COUNT; i++)
		version = kms_hash_bytes(structs[i].name, strlen(structs[i].name), version);
	for (int i = 0; i < KMS_LX_MEMBER_COUNT; i++) {
		version = kms_hash_bytes(members[i].path, strlen(members[i].path), version);
		version = kms_hash_join(version, members[i].type * 16U + members[i].feature);
	}
	for (int i = 0; i < KMS_LX_CONSTANT_COUNT; i++)
		version = kms_hash_bytes(constants[i].name, strlen(constants[i].name), version);
	return version;
}

uint64_t kms_linux_value(const struct kms_linux_place *place, const void *at)
{
	uint64_t word = 0;
	uint32_t bytes = (place->shift + place->bits + 7U) / 8;

	if (!place->bits || place->bits > WORD_BITS || bytes > sizeof(word))
		return 0;
	memcpy(&word, at, bytes);
	word >>= place->shift;
	return place->bits < WORD_BITS ? word & ((UINT64_C(1) << place->bits) - 1) : word;
}

uint64_t kms_linux_member(const struct kms_linux_layout *layout, enum kms_lx_member member,
			  const void *copy)
{
	const struct kms_linux_place *place = &layout->place[member];

	return kms_linux_value(place, (const char *)copy + place->byte);
}

uint32_t kms_linux_reach(const struct kms_linux_layout *layout, enum kms_lx_member first,
			 enum kms_lx_member last)
{
	uint32_t reach = 0;

	for (int i = (int)first; i <= (int)last; i++) {
		const struct kms_linux_place *place = &layout->place[i];
		uint32_t end = place->byte + (place->shift + place->bits + 7U) / 8;

		if (place->bits && place->bits <= WORD_BITS && end > reach)
			reach = end;
	}
	return reach;
}
