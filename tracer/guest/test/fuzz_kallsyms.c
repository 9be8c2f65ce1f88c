/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kallsyms of a guest. An input is a head, then the parts of the tables one after the other:
 *
 *	count u16, names' bytes u16, tokens' bytes u16, base u64, then index[256] u16, offsets[count]
 *	u32, names, tokens
 */
#include "base/test/fuzz_entry.h"

#include <stdlib.h>
#include <string.h>

#include "tracer/guest/kallsyms.h"

enum {
	HEAD_BYTES = 14,
	INDEX_BYTES = 512,
};

/* Copies, so that a step outside of a table is seen. */
static void *part(const uint8_t **bytes, size_t *n, size_t want)
{
	void *copy;

	if (*n < want)
		return NULL;
	copy = malloc(want ? want : 1);
	if (copy)
		memcpy(copy, *bytes, want);
	*bytes += want;
	*n -= want;
	return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct kms_kallsyms_known known = {"_stext", UINT64_C(0xffffffff81000000)};
	struct kms_kallsyms_tables tables = {0};
	struct kms_symbols symbols;
	void *index, *offsets, *names, *tokens;
	uint16_t count, sizes[2];
	uint64_t offset;

	if (n < HEAD_BYTES)
		return 0;
	memcpy(&count, bytes, 2);
	memcpy(sizes, bytes + 2, 4);
	memcpy(&tables.relative_base, bytes + 6, 8);
	bytes += HEAD_BYTES;
	n -= HEAD_BYTES;
	index = part(&bytes, &n, INDEX_BYTES);
	offsets = part(&bytes, &n, count * sizeof(int32_t));
	names = part(&bytes, &n, sizes[0]);
	tokens = part(&bytes, &n, sizes[1]);
	tables.count = count;
	tables.names = names;
	tables.names_bytes = sizes[0];
	tables.tokens = tokens;
	tables.tokens_bytes = sizes[1];
	tables.token_index = index;
	tables.offsets = offsets;
	if (index && offsets && names && tokens &&
	    !kms_symbols_decode(&symbols, &tables, &known, NULL)) {
		if (!kms_symbols_find(&symbols, "_stext"))
			__builtin_trap(); /* it decided the reading of offsets */
		(void)kms_symbols_name(&symbols, known.address + 1, &offset);
		(void)kms_symbols_end(&symbols, known.address);
		kms_symbols_deinit(&symbols);
	}
	free(index);
	free(offsets);
	free(names);
	free(tokens);
	return 0;
}
