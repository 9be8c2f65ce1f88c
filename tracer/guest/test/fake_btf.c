/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/fake_btf.h"

#include <stdlib.h>
#include <string.h>

/* A place for bytes more; ends the test where there is none. */
static void put(struct fake_btf *btf, uint32_t word)
{
	if (btf->type_bytes + sizeof(word) > sizeof(btf->type))
		abort();
	memcpy(btf->type + btf->type_bytes, &word, sizeof(word));
	btf->type_bytes += sizeof(word);
}

static uint32_t string_add(struct fake_btf *btf, const char *text)
{
	size_t bytes = strlen(text) + 1;
	uint32_t at;

	if (!btf->string_bytes)
		btf->string_bytes = 1; /* offset 0 is "" */
	if (!*text)
		return 0;
	if (btf->string_bytes + bytes > sizeof(btf->string))
		abort();
	at = (uint32_t)btf->string_bytes;
	memcpy(btf->string + at, text, bytes);
	btf->string_bytes += bytes;
	return at;
}

static uint32_t head(struct fake_btf *btf, const char *name, uint32_t info, uint32_t size)
{
	put(btf, string_add(btf, name));
	put(btf, info);
	put(btf, size);
	return ++btf->types;
}

uint32_t fake_int(struct fake_btf *btf, const char *name, uint32_t bytes)
{
	uint32_t id = head(btf, name, 1U << 24, bytes);

	put(btf, bytes * 8);
	return id;
}

uint32_t fake_pointer(struct fake_btf *btf)
{
	return head(btf, "", 2U << 24, 0);
}

uint32_t fake_array(struct fake_btf *btf, uint32_t type, uint32_t n)
{
	uint32_t id = head(btf, "", 3U << 24, 0);

	put(btf, type);
	put(btf, type);
	put(btf, n);
	return id;
}

uint32_t fake_typedef(struct fake_btf *btf, const char *name, uint32_t type)
{
	return head(btf, name, 8U << 24, type);
}

static uint32_t record(struct fake_btf *btf, uint32_t kind, const char *name, uint32_t bytes,
		       const struct fake_member *member, size_t n)
{
	uint32_t flag = 0, id;

	for (size_t i = 0; i < n; i++)
		if (member[i].bits)
			flag = 1U << 31;
	id = head(btf, name, flag | kind << 24 | (uint32_t)n, bytes);
	for (size_t i = 0; i < n; i++) {
		put(btf, string_add(btf, member[i].name));
		put(btf, member[i].type);
		put(btf, flag ? member[i].bits << 24 | member[i].bit : member[i].bit);
	}
	return id;
}

uint32_t fake_struct(struct fake_btf *btf, const char *name, uint32_t bytes,
		     const struct fake_member *member, size_t n)
{
	return record(btf, 4, name, bytes, member, n);
}

uint32_t fake_union(struct fake_btf *btf, const char *name, uint32_t bytes,
		    const struct fake_member *member, size_t n)
{
	return record(btf, 5, name, bytes, member, n);
}

uint32_t fake_enum(struct fake_btf *btf, const char *constant, uint32_t value)
{
	uint32_t id = head(btf, "", 6U << 24 | 1, 4);

	put(btf, string_add(btf, constant));
	put(btf, value);
	return id;
}

size_t fake_btf_write(const struct fake_btf *btf, uint8_t *to)
{
	uint32_t begin[6] = {0x01eb9f,
			     24,
			     0,
			     (uint32_t)btf->type_bytes,
			     (uint32_t)btf->type_bytes,
			     (uint32_t)btf->string_bytes};

	memcpy(to, begin, sizeof(begin));
	memcpy(to + 24, btf->type, btf->type_bytes);
	memcpy(to + 24 + btf->type_bytes, btf->string, btf->string_bytes);
	return 24 + btf->type_bytes + btf->string_bytes;
}

/* Tokens 1 to 127 are the characters, the others words, so that names need both. */
static const char *const words[] = {"kmem_", "cache", "_base", "slab", "stack_"};

static void tokens_make(struct fake_kallsyms *out)
{
	for (unsigned i = 0; i < 256; i++) {
		char one[2] = {(char)(i && i < 128 ? i : '?'), 0};
		const char *text = i >= 128 && i - 128 < sizeof(words) / sizeof(words[0])
					   ? words[i - 128]
					   : one;

		out->token_index[i] = (uint16_t)out->tokens_bytes;
		memcpy(out->tokens + out->tokens_bytes, text, strlen(text) + 1);
		out->tokens_bytes += strlen(text) + 1;
	}
}

static void name_add(struct fake_kallsyms *out, const char *name)
{
	uint8_t code[512];
	size_t n = 0;

	code[n++] = 'T';
	while (*name) {
		size_t word = 0, count = sizeof(words) / sizeof(words[0]);

		while (word < count && strncmp(name, words[word], strlen(words[word])) != 0)
			word++;
		code[n++] = (uint8_t)(word < count ? 128 + word : (unsigned char)*name);
		name += word < count ? strlen(words[word]) : 1;
	}
	if (n > 127) {
		out->names[out->names_bytes++] = (uint8_t)(n & 0x7f) | 0x80;
		out->names[out->names_bytes++] = (uint8_t)(n >> 7);
	} else {
		out->names[out->names_bytes++] = (uint8_t)n;
	}
	memcpy(out->names + out->names_bytes, code, n);
	out->names_bytes += n;
}

void fake_kallsyms_make(struct fake_kallsyms *out, const struct fake_symbol *symbol, size_t n,
			uint64_t relative_base, int is_per_cpu)
{
	memset(out, 0, sizeof(*out));
	tokens_make(out);
	out->relative_base = relative_base;
	out->count = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		uint64_t up = symbol[i].address - relative_base;

		name_add(out, symbol[i].name);
		if (!is_per_cpu)
			out->offsets[i] = (int32_t)(uint32_t)up;
		else if (symbol[i].address < (1U << 31))
			out->offsets[i] = (int32_t)symbol[i].address;
		else
			out->offsets[i] = -1 - (int32_t)up;
	}
}
