/*
 * Text to numbers: see fmt.h.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/fmt.h"

/* A suffix and what it multiplies with. */
struct suffix {
	const char *name;
	uint64_t factor;
};

int kms_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return KMS_NO_DIGIT;
}

/* Reads digits of a base up to the first other character and moves *text there. */
static int parse_digits(const char **text, int base, uint64_t *value)
{
	const char *p = *text;
	uint64_t sum = 0;
	bool too_large = false;

	for (; kms_hex_digit(*p) < base; p++) {
		if (__builtin_mul_overflow(sum, (uint64_t)base, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)kms_hex_digit(*p), &sum))
			too_large = true;
	}
	if (p == *text)
		return -EINVAL;
	*text = p;
	*value = sum;
	return too_large ? -ERANGE : 0;
}

static bool has_hex_prefix(const char *text)
{
	return text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

/* Multiplies by the suffix that the rest of the text must be. */
static int apply_suffix(const char *rest, const struct suffix *table, size_t n, uint64_t *value)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(rest, table[i].name) != 0)
			continue;
		return __builtin_mul_overflow(*value, table[i].factor, value) ? -ERANGE : 0;
	}
	return -EINVAL;
}

/* "k", "K", "KB", "KiB" and so on: the factor, or 0 for anything else. */
static uint64_t binary_factor(const char *rest)
{
	static const char letters[] = "kmgt";
	const char *found;

	if (*rest == '\0')
		return 1;
	found = strchr(letters, *rest | 0x20);
	if (!found || *found == '\0')
		return 0;
	rest++;
	if (*rest != '\0' && strcmp(rest, "B") != 0 && strcmp(rest, "iB") != 0)
		return 0;
	return (uint64_t)1 << (10 * (found - letters + 1));
}

int kms_parse_u64(const char *text, uint64_t *value)
{
	bool hex = has_hex_prefix(text);
	const char *rest = hex ? text + 2 : text;
	uint64_t number = 0;
	uint64_t factor;
	int ret = parse_digits(&rest, hex ? 16 : 10, &number);

	if (ret == -EINVAL)
		return ret;
	factor = binary_factor(rest);
	if (factor == 0)
		return -EINVAL;
	if (ret || __builtin_mul_overflow(number, factor, &number))
		return -ERANGE;
	*value = number;
	return 0;
}

int kms_parse_i64(const char *text, int64_t *value)
{
	bool negative = *text == '-';
	uint64_t magnitude;
	int ret = kms_parse_u64(negative || *text == '+' ? text + 1 : text, &magnitude);

	if (ret)
		return ret;
	if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
		return -ERANGE;
	/* negated as unsigned: -INT64_MIN does not exist */
	*value = (int64_t)(negative ? 0 - magnitude : magnitude);
	return 0;
}

int kms_parse_addr(const char *text, uint64_t *value)
{
	const char *rest = has_hex_prefix(text) ? text + 2 : text;
	uint64_t number;
	int ret = parse_digits(&rest, 16, &number);

	if (ret == -EINVAL || *rest != '\0')
		return -EINVAL;
	if (ret == 0)
		*value = number;
	return ret;
}

int kms_parse_ns(const char *text, uint64_t *ns)
{
	static const struct suffix units[] = {
		{"ns", 1			   },
		{"us", 1000                        },
		{"ms", 1000000                     },
		{"s",  1000000000                  },
		{"m",  60 * (uint64_t)1000000000   },
		{"h",  3600 * (uint64_t)1000000000 },
		{"d",  86400 * (uint64_t)1000000000},
	};
	const char *rest = text;
	uint64_t number = 0;
	int ret = parse_digits(&rest, 10, &number);
	int unit_ret;

	if (ret == -EINVAL)
		return ret;
	if (*rest == '\0' && number == 0 && ret == 0) {
		*ns = 0;
		return 0;
	}
	unit_ret = apply_suffix(rest, units, sizeof(units) / sizeof(units[0]), &number);
	if (unit_ret == -EINVAL)
		return unit_ret;
	if (ret || unit_ret)
		return -ERANGE;
	*ns = number;
	return 0;
}
