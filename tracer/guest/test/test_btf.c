/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/test/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/btf.h"
#include "tracer/guest/test/fake_btf.h"

/* A text with what the kernel's has: anonymous members, bit-fields, namesakes, typedefs. */
struct sample {
	struct fake_btf btf;
	uint8_t text[FAKE_TYPE_BYTES + FAKE_STRING_BYTES];
	size_t bytes;
	struct kms_btf *open;
};

static void sample_build(struct sample *sample)
{
	struct fake_btf *btf = &sample->btf;
	uint32_t u32 = fake_int(btf, "unsigned int", 4), u64 = fake_int(btf, "unsigned long", 8);
	uint32_t list =
		fake_struct(btf, "list_head", 16,
			    (struct fake_member[]){fake_at("next", fake_pointer(btf), 0, 0),
						   fake_at("prev", fake_pointer(btf), 64, 0)},
			    2);
	uint32_t bits = fake_struct(btf, "", 4,
				    (struct fake_member[]){fake_at("inuse", u32, 0, 16),
							   fake_at("objects", u32, 16, 15),
							   fake_at("frozen", u32, 31, 1)},
				    3);
	uint32_t either = fake_union(
		btf, "", 8,
		(struct fake_member[]){fake_at("counters", u64, 0, 0), fake_at("", bits, 0, 0)}, 2);
	uint32_t counter = fake_typedef(
		btf, "atomic_long_t",
		fake_struct(btf, "", 8, (struct fake_member[]){fake_at("counter", u64, 0, 0)}, 1));

	fake_struct(btf, "slab", 40,
		    (struct fake_member[]){
			    fake_at("flags", u64, 0, 0), fake_at("slab_list", list, 64, 0),
			    fake_at("", either, 192, 0), fake_at("refs", counter, 256, 0)},
		    4);
	fake_struct(btf, "twin", 8, (struct fake_member[]){fake_at("first", u64, 0, 0)}, 1);
	fake_struct(
		btf, "twin", 24,
		(struct fake_member[]){fake_at("first", u64, 0, 0), fake_at("second", u64, 128, 0)},
		2);
	fake_typedef(btf, "vector", fake_array(btf, u32, 12));
	fake_enum(btf, "STATE_FREED", 2);
	sample->bytes = fake_btf_write(btf, sample->text);
}

static int open_sample(void **state)
{
	struct sample *sample = calloc(1, sizeof(*sample));

	*state = sample;
	if (!sample)
		return -1;
	sample_build(sample);
	return kms_btf_open(sample->text, sample->bytes, &sample->open, NULL);
}

static int close_sample(void **state)
{
	struct sample *sample = *state;

	kms_btf_close(sample->open);
	free(sample);
	return 0;
}

static void assert_member(const struct kms_btf *btf, const char *type, const char *path,
			  uint32_t bit, uint32_t bits)
{
	struct kms_btf_member member;

	assert_int_equal(
		kms_btf_find_member(btf, kms_btf_find_struct(btf, type, NULL), path, &member), 0);
	assert_int_equal(member.bit, bit);
	assert_int_equal(member.bits, bits);
}

static void members_are_found_in_anonymous_parts_and_along_paths(void **state)
{
	const struct kms_btf *btf = ((struct sample *)*state)->open;
	struct kms_btf_member member;

	assert_member(btf, "slab", "slab_list.prev", 128, 64);
	assert_member(btf, "slab", "counters", 192, 64);
	assert_member(btf, "slab", "inuse", 192, 16);
	assert_member(btf, "slab", "objects", 208, 15);
	assert_member(btf, "slab", "frozen", 223, 1);
	assert_member(btf, "slab", "refs.counter", 256, 64);
	assert_int_equal(kms_btf_find_member(btf, kms_btf_find_struct(btf, "slab", NULL),
					     "slab_list.other", &member),
			 -ENOENT);
	assert_int_equal(
		kms_btf_find_member(btf, kms_btf_find_struct(btf, "slab", NULL), "inus", &member),
		-ENOENT);
}

static void a_struct_is_told_from_its_namesake_by_a_member(void **state)
{
	const struct kms_btf *btf = ((struct sample *)*state)->open;
	uint32_t id = kms_btf_find_struct(btf, "twin", "second");

	assert_int_equal(kms_btf_size(btf, id), 24);
	assert_int_equal(kms_btf_size(btf, kms_btf_find_struct(btf, "twin", NULL)), 8);
	assert_int_equal(kms_btf_find_struct(btf, "twin", "third"), 0);
	assert_int_equal(kms_btf_find_struct(btf, "nothing", NULL), 0);
}

static void sizes_go_through_typedefs_and_arrays(void **state)
{
	const struct kms_btf *btf = ((struct sample *)*state)->open;
	uint64_t value;

	assert_int_equal(kms_btf_size(btf, kms_btf_types(btf) - 1), 48); /* "vector" */
	assert_int_equal(kms_btf_size(btf, 0), 0);
	assert_int_equal(kms_btf_size(btf, 1000000), 0);
	assert_int_equal(kms_btf_find_constant(btf, "STATE_FREED", &value), 0);
	assert_int_equal(value, 2);
	assert_int_equal(kms_btf_find_constant(btf, "STATE", &value), -ENOENT);
}

static void a_text_cut_short_anywhere_is_refused(void **state)
{
	struct sample *sample = *state;

	for (size_t n = 0; n < sample->bytes; n++) {
		uint8_t *cut = malloc(n ? n : 1); /* so that a sanitizer sees a step too far */
		struct kms_btf *btf = NULL;

		assert_non_null(cut);
		memcpy(cut, sample->text, n);
		assert_true(kms_btf_open(cut, n, &btf, NULL) < 0);
		free(cut);
	}
}

static void a_struct_within_itself_ends_the_search(void **state)
{
	struct fake_btf *btf = calloc(1, sizeof(*btf));
	uint8_t *text = malloc(FAKE_TYPE_BYTES + FAKE_STRING_BYTES);
	struct kms_btf_member member;
	struct kms_btf *open = NULL;

	(void)state;
	assert_true(btf && text);
	/* two anonymous members each of its own type: 2^16 ways down without a bound */
	fake_struct(btf, "knot", 8,
		    (struct fake_member[]){fake_at("", 1, 0, 0), fake_at("", 1, 0, 0)}, 2);
	fake_typedef(btf, "ring", 2);
	assert_int_equal(kms_btf_open(text, fake_btf_write(btf, text), &open, NULL), 0);
	assert_int_equal(kms_btf_find_member(open, 1, "x", &member), -EBADMSG);
	assert_int_equal(kms_btf_find_member(open, 2, "x", &member), -ENOENT);
	assert_int_equal(kms_btf_size(open, 2), 0);
	kms_btf_close(open);
	free(btf);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			members_are_found_in_anonymous_parts_and_along_paths, open_sample,
			close_sample),
		cmocka_unit_test_setup_teardown(a_struct_is_told_from_its_namesake_by_a_member,
						open_sample, close_sample),
		cmocka_unit_test_setup_teardown(sizes_go_through_typedefs_and_arrays, open_sample,
						close_sample),
		cmocka_unit_test_setup_teardown(a_text_cut_short_anywhere_is_refused, open_sample,
						close_sample),
		cmocka_unit_test(a_struct_within_itself_ends_the_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
