/*
 * Text to numbers.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/fmt.h"
#include "base/test/unit.h"

struct parse_case {
	const char *text;
	int ret;
	uint64_t value; /* of interest if ret is 0 */
};

typedef int parser(const char *text, uint64_t *value);

/* What an output holds that a failed parse must leave alone. */
#define UNTOUCHED UINT64_C(0xdeadbeefdeadbeef)

static void check(parser *parse, const struct parse_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = UNTOUCHED;
		int ret = parse(cases[i].text, &value);

		if (ret != cases[i].ret)
			print_error("\"%s\": %d\n", cases[i].text, ret);
		assert_int_equal(ret, cases[i].ret);
		assert_int_equal(value, ret ? UNTOUCHED : cases[i].value);
	}
}

static void unsigned_numbers(void **state)
{
	static const struct parse_case cases[] = {
		{"0",			0,       0                       },
		{"007",                      0,       7                       },
		{"30000",                    0,       30000                   },
		{"18446744073709551615",     0,       UINT64_MAX              },
		{"18446744073709551616",     -ERANGE, 0                       },
		{"99999999999999999999999",  -ERANGE, 0                       },
		{"0x0",                      0,       0                       },
		{"0xFf",                     0,       255                     },
		{"0X10",                     0,       16                      },
		{"0xffffffffffffffff",       0,       UINT64_MAX              },
		{"0x10000000000000000",      -ERANGE, 0                       },
		{"4K",		       0,       4096                    },
		{"4k",		       0,       4096                    },
		{"4KB",                      0,       4096                    },
		{"4KiB",                     0,       4096                    },
		{"64M",                      0,       64 << 20                },
		{"1G",		       0,       1 << 30                 },
		{"2t",		       0,       UINT64_C(2) << 40       },
		{"0x10K",                    0,       16384                   },
		{"16777215T",                0,       UINT64_C(16777215) << 40},
		{"16777216T",                -ERANGE, 0                       },
		{"18446744073709551616K",    -ERANGE, 0                       },
		{"",			 -EINVAL, 0                       },
		{"K",			-EINVAL, 0                       },
		{"0x",		       -EINVAL, 0                       },
		{"0xg",                      -EINVAL, 0                       },
		{"x10",                      -EINVAL, 0                       },
		{"-1",		       -EINVAL, 0                       },
		{"+1",		       -EINVAL, 0                       },
		{" 1",		       -EINVAL, 0                       },
		{"1 ",		       -EINVAL, 0                       },
		{"1.5K",                     -EINVAL, 0                       },
		{"4Kx",                      -EINVAL, 0                       },
		{"4KKB",                     -EINVAL, 0                       },
		{"4Ki",                      -EINVAL, 0                       },
		{"4B",		       -EINVAL, 0                       },
		{"4P",		       -EINVAL, 0                       },
		{"12ab",                     -EINVAL, 0                       },
		{"99999999999999999999999x", -EINVAL, 0                       },
		{"4\x0b",                    -EINVAL, 0                       }, /* 'K' without its letter bit */
	};

	(void)state;
	check(kms_parse_u64, cases, sizeof(cases) / sizeof(cases[0]));
}

static void signed_numbers(void **state)
{
	static const struct {
		const char *text;
		int ret;
		int64_t value;
	} cases[] = {
		{"0",                    0,       0        },
		{"-0",                   0,       0        },
		{"-1",                   0,       -1       },
		{"+12",                  0,       12       },
		{"-0x10",                0,       -16      },
		{"-4K",                  0,       -4096    },
		{"9223372036854775807",  0,       INT64_MAX},
		{"9223372036854775808",  -ERANGE, 0        },
		{"-9223372036854775808", 0,       INT64_MIN},
		{"-9223372036854775809", -ERANGE, 0        },
		{"-",                    -EINVAL, 0        },
		{"+",                    -EINVAL, 0        },
		{"--1",                  -EINVAL, 0        },
		{"",		     -EINVAL, 0        },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t value = 77;

		assert_int_equal(kms_parse_i64(cases[i].text, &value), cases[i].ret);
		assert_int_equal(value, cases[i].ret ? 77 : cases[i].value);
	}
}

static void addresses(void **state)
{
	static const struct parse_case cases[] = {
		{"0x7f0012345678",    0,       0x7f0012345678},
		{"7f0012345678",      0,       0x7f0012345678},
		{"0",                 0,       0             },
		{"DEADBEEF",          0,       0xdeadbeef    },
		{"ffffffffffffffff",  0,       UINT64_MAX    },
		{"1ffffffffffffffff", -ERANGE, 0             },
		{"",                  -EINVAL, 0             },
		{"0x",                -EINVAL, 0             },
		{"12g",               -EINVAL, 0             },
		{"4K",                -EINVAL, 0             },
		{"-1",                -EINVAL, 0             },
	};

	(void)state;
	check(kms_parse_addr, cases, sizeof(cases) / sizeof(cases[0]));
}

static void durations(void **state)
{
	static const struct parse_case cases[] = {
		{"0",		      0,       0				    },
		{"0s",                     0,       0				    },
		{"15ns",                   0,       15				   },
		{"2us",                    0,       2000				 },
		{"250ms",                  0,       250000000                            },
		{"10s",                    0,       UINT64_C(10000000000)                },
		{"5m",                     0,       UINT64_C(300000000000)               },
		{"1h",                     0,       UINT64_C(3600000000000)              },
		{"7d",                     0,       UINT64_C(604800000000000)            },
		{"213503d",                0,       UINT64_C(213503) * 86400 * 1000000000},
		{"213504d",                -ERANGE, 0                                    },
		{"18446744073709551616ns", -ERANGE, 0                                    },
		{"18446744073709551616",   -EINVAL, 0                                    },
		{"10",                     -EINVAL, 0				    },
		{"s",		      -EINVAL, 0				    },
		{"",		       -EINVAL, 0				    },
		{"1.5s",                   -EINVAL, 0				    },
		{"-1s",                    -EINVAL, 0				    },
		{"10 s",                   -EINVAL, 0				    },
		{"10sec",                  -EINVAL, 0				    },
		{"0x10s",                  -EINVAL, 0				    },
	};

	(void)state;
	check(kms_parse_ns, cases, sizeof(cases) / sizeof(cases[0]));
}

static void what_is_written_is_read_back(void **state)
{
	uint64_t x = 1;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		char text[32];
		uint64_t value;

		x = x * UINT64_C(6364136223846793005) + 1442695040888963407U;
		x >>= i % 64;
		assert_int_equal(kms_parse_addr(kms_fmt_addr(x).text, &value), 0);
		assert_int_equal(value, x);
		assert_int_equal(kms_parse_u64(kms_fmt_addr(x).text, &value), 0);
		assert_int_equal(value, x);
		(void)snprintf(text, sizeof(text), "%" PRIu64, x); /* 20 digits at most */
		assert_int_equal(kms_parse_u64(text, &value), 0);
		assert_int_equal(value, x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unsigned_numbers),
		cmocka_unit_test(signed_numbers),
		cmocka_unit_test(addresses),
		cmocka_unit_test(durations),
		cmocka_unit_test(what_is_written_is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
