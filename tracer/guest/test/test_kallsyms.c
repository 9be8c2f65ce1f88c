/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/test/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/kallsyms.h"
#include "tracer/guest/test/fake_btf.h"

static const uint64_t base = UINT64_C(0xffffffff81000000);

static const struct kms_kallsyms_known known = {"_stext", UINT64_C(0xffffffff81000000)};

static const char long_name[] =
	"a_name_of_more_than_127_tokens_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

static struct kms_kallsyms_tables tables_of(const struct fake_kallsyms *fake)
{
	return (struct kms_kallsyms_tables){
		.count = fake->count,
		.relative_base = fake->relative_base,
		.names = fake->names,
		.names_bytes = fake->names_bytes,
		.tokens = fake->tokens,
		.tokens_bytes = fake->tokens_bytes,
		.token_index = fake->token_index,
		.offsets = fake->offsets,
	};
}

static struct fake_kallsyms *make(int is_per_cpu)
{
	const struct fake_symbol symbols[] = {
		{"_text",            base				 },
		{"_stext",           base				 },
		{"kmem_cache_alloc", base + 0x1000                        },
		{"twice",            base + 0x2000                        },
		{"twice",            base + 0x3000                        },
		{long_name,          base + 0x4000                        },
		{"slab_caches",      base + 0x700000                      },
		{"per_cpu_thing",    is_per_cpu ? 0x12340 : base + 0x12340},
	};
	struct fake_kallsyms *fake = malloc(sizeof(*fake));

	assert_non_null(fake);
	fake_kallsyms_make(fake, symbols, sizeof(symbols) / sizeof(symbols[0]), base, is_per_cpu);
	return fake;
}

static void assert_symbols(int is_per_cpu)
{
	struct fake_kallsyms *fake = make(is_per_cpu);
	struct kms_kallsyms_tables tables = tables_of(fake);
	struct kms_symbols symbols;
	uint64_t offset;

	assert_int_equal(kms_symbols_decode(&symbols, &tables, &known, NULL), 0);
	assert_int_equal(kms_symbols_find(&symbols, "kmem_cache_alloc"), base + 0x1000);
	assert_int_equal(kms_symbols_find(&symbols, "twice"), base + 0x2000);
	assert_int_equal(kms_symbols_find(&symbols, long_name), base + 0x4000);
	assert_int_equal(kms_symbols_find(&symbols, "slab_caches"), base + 0x700000);
	assert_int_equal(kms_symbols_find(&symbols, "per_cpu_thing"),
			 is_per_cpu ? 0x12340 : base + 0x12340);
	assert_int_equal(kms_symbols_find(&symbols, "kmem_cache"), 0);
	assert_string_equal(kms_symbols_name(&symbols, base + 0x1008, &offset), "kmem_cache_alloc");
	assert_int_equal(offset, 8);
	assert_string_equal(kms_symbols_name(&symbols, base, &offset), "_text");
	assert_null(kms_symbols_name(&symbols, 1, &offset));
	assert_int_equal(kms_symbols_end(&symbols, base + 0x1000), base + 0x2000);
	kms_symbols_deinit(&symbols);
	free(fake);
}

static void both_readings_of_offsets_are_told_apart(void **state)
{
	(void)state;
	assert_symbols(1);
	assert_symbols(0);
}

static void tables_of_another_kernel_are_refused(void **state)
{
	struct fake_kallsyms *fake = make(1);
	struct kms_kallsyms_tables tables = tables_of(fake);
	struct kms_kallsyms_known other = {"_stext", base + 0x200000};
	struct kms_symbols symbols;

	(void)state;
	assert_int_equal(kms_symbols_decode(&symbols, &tables, &other, NULL), -EBADMSG);
	tables.count = 0;
	assert_int_equal(kms_symbols_decode(&symbols, &tables, &known, NULL), -EFBIG);
	tables.count = KMS_SYMBOLS_MAX + 1;
	assert_int_equal(kms_symbols_decode(&symbols, &tables, &known, NULL), -EFBIG);
	free(fake);
}

static void tables_cut_short_anywhere_are_refused(void **state)
{
	struct fake_kallsyms *fake = make(1);
	struct kms_symbols symbols;

	(void)state;
	for (size_t n = 0; n < fake->names_bytes; n++) {
		struct kms_kallsyms_tables tables = tables_of(fake);
		uint8_t *cut = malloc(n ? n : 1);

		assert_non_null(cut);
		memcpy(cut, fake->names, n);
		tables.names = cut;
		tables.names_bytes = n;
		assert_int_equal(kms_symbols_decode(&symbols, &tables, &known, NULL), -EBADMSG);
		free(cut);
	}
	for (size_t n = 0; n < fake->tokens_bytes; n++) {
		struct kms_kallsyms_tables tables = tables_of(fake);

		tables.tokens_bytes = n;
		assert_int_equal(kms_symbols_decode(&symbols, &tables, &known, NULL), -EBADMSG);
	}
	free(fake);
}

static void names_that_grow_beyond_the_bound_are_refused(void **state)
{
	struct fake_kallsyms *fake = make(1);
	struct kms_kallsyms_tables tables = tables_of(fake);
	struct kms_symbols symbols;

	(void)state;
	/* one name of many long words: 120 tokens of 500 characters */
	memset(fake->tokens, 'w', 500);
	fake->tokens[500] = '\0';
	tables.tokens_bytes = 501;
	memset(fake->token_index, 0, sizeof(fake->token_index));
	fake->names[0] = 120;
	tables.count = 1;
	assert_int_equal(kms_symbols_decode(&symbols, &tables, &known, NULL), -EBADMSG);
	free(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_readings_of_offsets_are_told_apart),
		cmocka_unit_test(tables_of_another_kernel_are_refused),
		cmocka_unit_test(tables_cut_short_anywhere_are_refused),
		cmocka_unit_test(names_that_grow_beyond_the_bound_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
