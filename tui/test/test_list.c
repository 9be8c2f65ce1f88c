/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists: columns, filter, order, groups, selection. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/test/unit.h"
#include "tui/views.h"

static const char caches[] =
	"{\"total\":4,\"items\":["
	"{\"name\":\"kmem-64\",\"target\":1,\"object_size\":64,\"objects_live\":10,"
	"\"objects_total\":20,\"waste_bytes\":100,\"alloc_rate\":5},"
	"{\"name\":\"kmem-128\",\"target\":1,\"object_size\":128,\"objects_live\":4,"
	"\"objects_total\":4,\"waste_bytes\":5000,\"alloc_rate\":900},"
	"{\"name\":\"kmem-64\",\"target\":2,\"object_size\":64,\"objects_live\":30,"
	"\"objects_total\":40,\"waste_bytes\":\"200\",\"alloc_rate\":5},"
	"{\"name\":\"inode\",\"target\":2,\"object_size\":512,\"objects_live\":0,"
	"\"objects_total\":0,\"waste_bytes\":0,\"alloc_rate\":0}]}";

static const struct kms_list_kind *slabs = &kms_tab_lists[KMS_TAB_SLABS];

/* "name/target ..." of the rows as they stand */
static void check_rows(const struct kms_list *list, const char *expected)
{
	char key[KMS_LIST_KEY_BYTES];
	char text[512] = "";

	for (size_t i = 0; i < list->n_rows; i++) {
		kms_list_key(list->kind, list->row[i].item, key);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s| ",
			 list->row[i].child ? "+" : "", key);
	}
	assert_string_equal(text, expected);
}

static void filters_say_what_they_mean(void **state)
{
	static const struct {
		const char *filter, *names;
	} cases[] = {
		{"",		       "kmem-128 1 | kmem-64 1 | kmem-64 2 | inode 2 | "},
		{"kmem",                   "kmem-128 1 | kmem-64 1 | kmem-64 2 | "          },
		{"KMEM-64",                "kmem-64 1 | kmem-64 2 | "                       },
		{"!kmem",                  "inode 2 | "                                     },
		{"inode | 128",            "kmem-128 1 | inode 2 | "                        },
		{"kmem !128",              "kmem-64 1 | kmem-64 2 | "                       },
		{"size>64",                "kmem-128 1 | inode 2 | "                        },
		{"waste>1K",               "kmem-128 1 | "                                  },
		{"waste_bytes<1K inuse>5", "kmem-64 1 | kmem-64 2 | "                       },
		{"target=2",               "kmem-64 2 | inode 2 | "                         },
		{"cache:64 use%>60",       "kmem-64 2 | "                                   },
		{"a::b",                   ""					       },
	};

	cJSON *document = cJSON_Parse(caches);
	struct kms_list list;

	(void)state;
	kms_list_init(&list, slabs);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(kms_list_filter(&list, cases[i].filter, NULL), 0);
		assert_int_equal(kms_list_load(&list, document), 0);
		check_rows(&list, cases[i].names);
	}
	kms_list_deinit(&list);
	cJSON_Delete(document);
}

static void filters_that_mean_nothing_are_refused_and_change_nothing(void **state)
{
	static const char *const wrong[] = {"size>x", "nothing>1", "!", "waste>", "inuse=-1"};
	char many[4 * KMS_FILTER_TERMS + 8] = "";
	struct kms_err err = KMS_ERR_INIT;
	struct kms_list list;

	(void)state;
	kms_list_init(&list, slabs);
	assert_int_equal(kms_list_filter(&list, "kmem", NULL), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(kms_list_filter(&list, wrong[i], &err), -EINVAL);
		assert_string_equal(list.filter_text, "kmem");
	}
	for (int i = 0; i <= KMS_FILTER_TERMS; i++)
		strcat(many, "a ");
	assert_int_equal(kms_list_filter(&list, many, &err), -E2BIG);
	kms_list_deinit(&list);
}

static void order_is_by_the_column_and_can_be_turned(void **state)
{
	cJSON *document = cJSON_Parse(caches);
	struct kms_list list;

	(void)state;
	kms_list_init(&list, slabs);
	list.sort = 0;
	assert_int_equal(kms_list_load(&list, document), 0);
	check_rows(&list, "inode 2 | kmem-128 1 | kmem-64 1 | kmem-64 2 | ");
	kms_list_sort(&list, 2); /* INUSE */
	kms_list_refresh(&list, document);
	check_rows(&list, "kmem-64 2 | kmem-64 1 | kmem-128 1 | inode 2 | ");
	kms_list_sort(&list, 2);
	kms_list_refresh(&list, document);
	check_rows(&list, "inode 2 | kmem-128 1 | kmem-64 1 | kmem-64 2 | ");
	kms_list_deinit(&list);
	cJSON_Delete(document);
}

static void groups_have_sums_and_members(void **state)
{
	cJSON *document = cJSON_Parse(caches);
	struct kms_list list;

	(void)state;
	kms_list_init(&list, slabs);
	list.sort = 2; /* INUSE */
	list.grouping = KMS_GROUP_MERGED;
	assert_int_equal(kms_list_load(&list, document), 0);
	check_rows(&list, "kmem-64 - | kmem-128 1 | inode 2 | ");
	assert_int_equal(kms_column_number(&slabs->columns[2], list.row[0].item), 40);
	assert_int_equal(kms_column_number(&slabs->columns[3], list.row[0].item), 60);
	assert_int_equal(kms_column_number(&slabs->columns[1], list.row[0].item), 64);
	list.grouping = KMS_GROUP_TREE;
	assert_int_equal(kms_list_load(&list, document), 0);
	check_rows(&list, "kmem-64 - | +kmem-64 2 | +kmem-64 1 | kmem-128 1 | inode 2 | ");
	kms_list_deinit(&list);
	cJSON_Delete(document);
}

static void a_followed_row_is_found_again(void **state)
{
	cJSON *document = cJSON_Parse(caches);
	struct kms_list list;

	(void)state;
	kms_list_init(&list, slabs);
	list.sort = 2;
	assert_int_equal(kms_list_load(&list, document), 0);
	kms_list_select(&list, 2); /* kmem-128 */
	list.sort = 0;
	assert_int_equal(kms_list_load(&list, document), 0);
	assert_int_equal(list.selected, 2);
	list.follow = true;
	assert_int_equal(kms_list_load(&list, document), 0);
	assert_int_equal(list.selected, 1);
	kms_list_deinit(&list);
	cJSON_Delete(document);
}

static void the_selection_stays_inside(void **state)
{
	cJSON *document = cJSON_Parse(caches);
	struct kms_list list;

	(void)state;
	kms_list_init(&list, slabs);
	kms_list_move(&list, 5);
	assert_null(kms_list_selected(&list));
	assert_int_equal(kms_list_load(&list, document), 0);
	kms_list_move(&list, 1000);
	assert_int_equal(list.selected, 3);
	kms_list_move(&list, -1000);
	assert_int_equal(list.selected, 0);
	kms_list_move(&list, 3);
	assert_int_equal(kms_list_filter(&list, "inode", NULL), 0);
	assert_int_equal(kms_list_load(&list, document), 0);
	assert_int_equal(list.selected, 0);
	assert_int_equal(kms_list_load(&list, NULL), 0);
	assert_null(kms_list_selected(&list));
	kms_list_deinit(&list);
	cJSON_Delete(document);
}

static void search_goes_round(void **state)
{
	cJSON *document = cJSON_Parse(caches);
	struct kms_list list;

	(void)state;
	kms_list_init(&list, slabs);
	list.sort = 0;
	assert_int_equal(kms_list_load(&list, document), 0);
	assert_true(kms_list_find(&list, "Kmem-64", 0, 1));
	assert_int_equal(list.selected, 2);
	assert_true(kms_list_find(&list, "inode", list.selected + 1, 1));
	assert_int_equal(list.selected, 0);
	assert_true(kms_list_find(&list, "kmem-64", list.selected - 1, -1));
	assert_int_equal(list.selected, 3);
	assert_false(kms_list_find(&list, "nothing", 0, 1));
	assert_int_equal(list.selected, 3);
	kms_list_deinit(&list);
	cJSON_Delete(document);
}

static void sizes_fit_few_columns(void **state)
{
	(void)state;
	assert_string_equal(kms_fmt_size(0, KMS_UNITS_SHORT).text, "0");
	assert_string_equal(kms_fmt_size(1023, KMS_UNITS_SHORT).text, "1023");
	assert_string_equal(kms_fmt_size(1024, KMS_UNITS_SHORT).text, "1.0K");
	assert_string_equal(kms_fmt_size(13001120, KMS_UNITS_SHORT).text, "12.4M");
	assert_string_equal(kms_fmt_size(UINT64_MAX, KMS_UNITS_SHORT).text, "16.0E");
	assert_string_equal(kms_fmt_size(13001120, KMS_UNITS_BYTES).text, "13,001,120");
	assert_string_equal(kms_fmt_size(4097, KMS_UNITS_PAGES).text, "2p");
	assert_string_equal(kms_fmt_age(1500000).text, "1.5s");
}

static void a_time_that_is_not_known_is_a_dash_and_not_zero(void **state)
{
	static const struct {
		const char *row, *age, *time;
	} cases[] = {
		{"{\"age_us\": null, \"time_ns\": null}",          "-",    "-"       },
		{"{}",					     "-",    "-"       },
		{"{\"age_us\": 0, \"time_ns\": 0}",                "0ns",  "0.000000"},
		{"{\"age_us\": 1500000, \"time_ns\": 2500000000}", "1.5s", "2.500000"},
	};

	static const char *const members[] = {"age_us", "time_ns"};
	struct kms_buf text;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const want[] = {cases[i].age, cases[i].time};
		cJSON *row = cJSON_Parse(cases[i].row);

		for (unsigned k = 0; k < 2; k++) {
			size_t c = 0;

			while (strcmp(kms_list_blocks.columns[c].member, members[k]) != 0)
				assert_true(++c < kms_list_blocks.n_columns);
			kms_buf_init(&text, 64);
			kms_column_text(&kms_list_blocks.columns[c], row, KMS_UNITS_SHORT, &text);
			assert_string_equal(kms_buf_text(&text), want[k]);
			kms_buf_deinit(&text);
		}
		cJSON_Delete(row);
	}
}

static void narrow_lists_drop_columns_and_never_the_first(void **state)
{
	cJSON *document = cJSON_Parse(caches);
	struct kms_list list;
	struct kms_screen screen;
	struct kms_buf text;

	(void)state;
	kms_screen_init(&screen);
	kms_list_init(&list, slabs);
	list.sort = 0;
	assert_int_equal(kms_list_load(&list, document), 0);
	for (int width = 200; width >= 20; width--) {
		const struct kms_list_look look = {.width = width, .height = 5};

		assert_int_equal(kms_screen_resize(&screen, width, 5), 0);
		kms_list_draw(&list, &screen, &look);
		kms_buf_init(&text, 1 << 16);
		kms_screen_text(&screen, &text);
		assert_non_null(strstr(kms_buf_text(&text), "CACHE"));
		assert_non_null(strstr(kms_buf_text(&text), "INUSE"));
		assert_non_null(strstr(kms_buf_text(&text), ">inode"));
		assert_int_equal(strstr(kms_buf_text(&text), "OCCUPANCY") != NULL, width >= 80);
		assert_int_equal(strstr(kms_buf_text(&text), "PAGES") != NULL, width >= 118);
		kms_buf_deinit(&text);
	}
	kms_list_deinit(&list);
	kms_screen_deinit(&screen);
	cJSON_Delete(document);
}

static void addresses_of_a_kernel_are_whole_or_lose_their_begin(void **state)
{
	cJSON *document =
		cJSON_Parse("{\"total\":1,\"items\":[{\"id\":1,\"kind\":\"overflow\","
			    "\"address\":\"0xffff9000002ac123\",\"time_ns\":0,\"size\":8}]}");
	struct kms_list list;
	struct kms_screen screen;
	struct kms_buf text;

	(void)state;
	kms_screen_init(&screen);
	kms_list_init(&list, &kms_tab_lists[KMS_TAB_FAULTS]);
	assert_int_equal(kms_list_load(&list, document), 0);
	for (int width = 80; width <= 160; width++) {
		const struct kms_list_look look = {.width = width, .height = 3};

		assert_int_equal(kms_screen_resize(&screen, width, 3), 0);
		kms_list_draw(&list, &screen, &look);
		kms_buf_init(&text, 1 << 16);
		kms_screen_text(&screen, &text);
		assert_non_null(strstr(kms_buf_text(&text), "9000002ac123"));
		assert_int_equal(strstr(kms_buf_text(&text), " 0xffff9000002ac123") != NULL,
				 strchr(kms_buf_text(&text), '~') == NULL);
		kms_buf_deinit(&text);
	}
	assert_int_equal(kms_screen_resize(&screen, 83, 3), 0);
	kms_list_draw(&list, &screen, &(struct kms_list_look){.width = 83, .height = 3});
	kms_buf_init(&text, 1 << 16);
	kms_screen_text(&screen, &text);
	assert_non_null(strstr(kms_buf_text(&text), " 0xffff9000002ac123"));
	kms_buf_deinit(&text);
	kms_list_deinit(&list);
	kms_screen_deinit(&screen);
	cJSON_Delete(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_say_what_they_mean),
		cmocka_unit_test(filters_that_mean_nothing_are_refused_and_change_nothing),
		cmocka_unit_test(order_is_by_the_column_and_can_be_turned),
		cmocka_unit_test(groups_have_sums_and_members),
		cmocka_unit_test(a_followed_row_is_found_again),
		cmocka_unit_test(the_selection_stays_inside),
		cmocka_unit_test(search_goes_round),
		cmocka_unit_test(sizes_fit_few_columns),
		cmocka_unit_test(a_time_that_is_not_known_is_a_dash_and_not_zero),
		cmocka_unit_test(narrow_lists_drop_columns_and_never_the_first),
		cmocka_unit_test(addresses_of_a_kernel_are_whole_or_lose_their_begin),
	};

	setlocale(LC_ALL, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
