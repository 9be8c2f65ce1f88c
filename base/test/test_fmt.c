/*
 * Numbers to text.
 */
#include "base/fmt.h"
#include "base/test/unit.h"

struct number_case {
	uint64_t value;
	const char *text;
};

static void check(struct kms_fmt (*format)(uint64_t), const struct number_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_string_equal(format(cases[i].value).text, cases[i].text);
}

static void bytes_have_a_binary_unit(void **state)
{
	static const struct number_case cases[] = {
		{0,					 "0 B"       },
		{1023,				      "1023 B"    },
		{1024,				      "1.0 KiB"   },
		{1536,				      "1.5 KiB"   },
		{1024 * 1024 - 1,                           "1.0 MiB"   },
		{1023 * 1024 + 900,                         "1023.9 KiB"},
		{1024 * 1024,			       "1.0 MiB"   },
		{UINT64_C(1) << 30,                         "1.0 GiB"   },
		{UINT64_C(5) << 39,                         "2.5 TiB"   },
		{UINT64_C(1) << 50,                         "1.0 PiB"   },
		{UINT64_C(1) << 60,                         "1.0 EiB"   },
		{(UINT64_C(1) << 60) - 1,                   "1.0 EiB"   },
		{UINT64_C(3) << 59,                         "1.5 EiB"   },
		{(UINT64_C(1) << 61) - (UINT64_C(1) << 55), "2.0 EiB"   },
		{UINT64_MAX,				"16.0 EiB"  },
	};

	(void)state;
	check(kms_fmt_bytes, cases, sizeof(cases) / sizeof(cases[0]));
}

static void durations_have_the_unit_that_fits(void **state)
{
	static const struct number_case cases[] = {
		{0,               "0 ns"      },
		{999,             "999 ns"    },
		{1000,            "1.0 us"    },
		{1550,            "1.6 us"    },
		{999949,          "999.9 us"  },
		{999950,          "1.0 ms"    },
		{20000000,        "20.0 ms"   },
		{999950000,       "1.0 s"     },
		{59900000000,     "59.9 s"    },
		{59950000000,     "1m00s"     },
		{125000000000,    "2m05s"     },
		{3599499999999,   "59m59s"    },
		{3600000000000,   "1h00m"     },
		{3720000000000,   "1h02m"     },
		{86399000000000,  "23h59m"    },
		{86400000000000,  "1d00h"     },
		{273600000000000, "3d04h"     },
		{UINT64_MAX,      "213503d23h"},
	};

	(void)state;
	check(kms_fmt_ns, cases, sizeof(cases) / sizeof(cases[0]));
}

static void counts_are_grouped(void **state)
{
	static const struct number_case cases[] = {
		{0,          "0"			 },
		{999,        "999"                       },
		{1000,       "1,000"                     },
		{12345,      "12,345"                    },
		{123456,     "123,456"                   },
		{1000000,    "1,000,000"                 },
		{UINT64_MAX, "18,446,744,073,709,551,615"},
	};

	(void)state;
	check(kms_fmt_count, cases, sizeof(cases) / sizeof(cases[0]));
}

static void addresses_are_hexadecimal(void **state)
{
	static const struct number_case cases[] = {
		{0,              "0x0"               },
		{0x7f0012345678, "0x7f0012345678"    },
		{UINT64_MAX,     "0xffffffffffffffff"},
	};

	(void)state;
	check(kms_fmt_addr, cases, sizeof(cases) / sizeof(cases[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_have_a_binary_unit),
		cmocka_unit_test(durations_have_the_unit_that_fits),
		cmocka_unit_test(counts_are_grouped),
		cmocka_unit_test(addresses_are_hexadecimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
