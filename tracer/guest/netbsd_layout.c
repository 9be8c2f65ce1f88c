/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of netbsd_layout.h, as a question for the kernel's file. */
#include "tracer/guest/netbsd_layout.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"

static const char *const symbols[KMS_NB_SYMBOL_COUNT] = {
#define X(symbol, name) [KMS_NB_##symbol##_SYMBOL] = name,
	KMS_NB_SYMBOLS(X)
#undef X
};

static const struct kms_types_struct structs[KMS_NB_STRUCT_COUNT] = {
#define X(symbol, name, member) [KMS_NB_##symbol] = {name, member},
	KMS_NB_STRUCTS(X)
#undef X
};

static const struct kms_types_member members[KMS_NB_MEMBER_COUNT] = {
#define X(symbol, type, path, feature) [KMS_NB_##symbol##_AT] = {KMS_NB_##type, path},
	KMS_NB_MEMBERS(X)
#undef X
};

static const enum kms_nb_feature features_of[KMS_NB_MEMBER_COUNT] = {

#define X(symbol, type, path, feature) [KMS_NB_##symbol##_AT] = KMS_NB_##feature,
	KMS_NB_MEMBERS(X)
#undef X
};

_Static_assert((size_t)KMS_NB_SYMBOL_COUNT <= (size_t)KMS_TYPES_SYMBOLS, "room for symbols");
_Static_assert((size_t)KMS_NB_STRUCT_COUNT <= (size_t)KMS_TYPES_STRUCTS, "room for structures");
_Static_assert((size_t)KMS_NB_MEMBER_COUNT <= (size_t)KMS_TYPES_MEMBERS, "room for members");

void kms_netbsd_question(struct kms_types_question *question, const char *path)
{
	*question = (struct kms_types_question){
		.path = path,
		.symbol = symbols,
		.structure = structs,
		.member = members,
		.n_symbols = KMS_NB_SYMBOL_COUNT,
		.n_structures = KMS_NB_STRUCT_COUNT,
		.n_members = KMS_NB_MEMBER_COUNT,
	};
}

uint64_t kms_netbsd_layout_version(void)
{
	uint64_t version = sizeof(struct kms_types_answer);

	for (size_t i = 0; i < KMS_NB_SYMBOL_COUNT; i++)
		version = kms_hash_bytes(symbols[i], strlen(symbols[i]), version);
	for (size_t i = 0; i < KMS_NB_STRUCT_COUNT; i++)
		version = kms_hash_bytes(structs[i].name, strlen(structs[i].name), version);
	for (size_t i = 0; i < KMS_NB_MEMBER_COUNT; i++)
		version = kms_hash_bytes(members[i].path, strlen(members[i].path), version);
	return version;
}

int kms_netbsd_layout_features(const struct kms_types_answer *answer, uint32_t *features,
			       struct kms_err *err)
{
	*features = (1U << KMS_NB_FEATURES) - 1;
	for (unsigned i = 0; i < KMS_NB_MEMBER_COUNT; i++) {
		if (kms_netbsd_has_member(answer, (enum kms_nb_member)i))
			continue;
		if (features_of[i] == KMS_NB_FOR_POOLS)
			return kms_err_set(err, -ENOTSUP,
					   "this kernel's struct %s has no member %s",
					   structs[members[i].structure].name, members[i].path);
		if (features_of[i] != KMS_NB_OPTIONAL)
			*features &= ~(1U << features_of[i]);
	}
	return 0;
}

uint64_t kms_netbsd_value(const struct kms_types_answer *answer, enum kms_nb_member member,
			  const void *copy)
{
	const struct kms_types_place *place = &answer->place[member];
	uint64_t value = 0;

	if (place->bytes <= sizeof(value)) /* little endian, as all that is looked at */
		memcpy(&value, (const char *)copy + place->byte, place->bytes);
	return value;
}
