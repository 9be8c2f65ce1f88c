/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BTF and kallsyms as a kernel's build would make them, for tests; written from the description of
 * the formats and apart from the code under test.
 */
#ifndef KMS_TRACER_GUEST_TEST_FAKE_BTF_H
#define KMS_TRACER_GUEST_TEST_FAKE_BTF_H

#include <stddef.h>
#include <stdint.h>

enum {
	FAKE_TYPE_BYTES = 1 << 16,
	FAKE_STRING_BYTES = 1 << 15,
};

/** A text that grows. All zero to begin with. */
struct fake_btf {
	uint8_t type[FAKE_TYPE_BYTES];
	size_t type_bytes;
	char string[FAKE_STRING_BYTES];
	size_t string_bytes;
	uint32_t types;
};

/** A member of a struct; name "" is anonymous. */
struct fake_member {
	const char *name;
	uint32_t type;
	uint32_t bit;
	uint32_t bits; /* of a bit-field, else 0 */
};

/** A member; a call, as clang-format cannot take tables of them. */
static inline struct fake_member fake_at(const char *name, uint32_t type, uint32_t bit,
					 uint32_t bits)
{
	return (struct fake_member){name, type, bit, bits};
}

uint32_t fake_int(struct fake_btf *btf, const char *name, uint32_t bytes);
uint32_t fake_pointer(struct fake_btf *btf);
uint32_t fake_array(struct fake_btf *btf, uint32_t type, uint32_t n);
uint32_t fake_typedef(struct fake_btf *btf, const char *name, uint32_t type);
uint32_t fake_struct(struct fake_btf *btf, const char *name, uint32_t bytes,
		     const struct fake_member *member, size_t n);
uint32_t fake_union(struct fake_btf *btf, const char *name, uint32_t bytes,
		    const struct fake_member *member, size_t n);
uint32_t fake_enum(struct fake_btf *btf, const char *constant, uint32_t value);

/** Writes the text; the bytes it has. Shape: to has room for FAKE_TYPE_BYTES + FAKE_STRING_BYTES. */
size_t fake_btf_write(const struct fake_btf *btf, uint8_t *to);

/** A symbol for kallsyms. */
struct fake_symbol {
	const char *name;
	uint64_t address;
};

/** The tables of kallsyms, as they lie in a kernel. */
struct fake_kallsyms {
	uint8_t names[1 << 16];
	size_t names_bytes;
	char tokens[4096];
	size_t tokens_bytes;
	uint16_t token_index[256];
	int32_t offsets[1024];
	uint32_t count;
	uint64_t relative_base;
};

/** Encodes symbols. is_per_cpu: with absolute symbols, offsets below the base count down. */
void fake_kallsyms_make(struct fake_kallsyms *out, const struct fake_symbol *symbol, size_t n,
			uint64_t relative_base, int is_per_cpu);

#endif
