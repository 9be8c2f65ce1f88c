/*
 * Numbers as people write them: sizes, durations, counts, addresses; to text and back.
 *
 * The to-text functions return a small struct by value, so that they can stand in an argument list:
 *
 *	printf("%s in %s\n", kms_fmt_bytes(n).text, kms_fmt_ns(t).text);
 *
 * The parsers take the whole string or nothing: no blanks around it, no rest behind it. They use no
 * locale, and write their result only on success.
 */
#ifndef KMS_BASE_FMT_H
#define KMS_BASE_FMT_H

#include <stdint.h>

/** A formatted number. */
struct kms_fmt {
	char text[48]; /* NUL-terminated; 26 characters at most, and room for what gcc imagines */
};

/** Bytes with a binary unit and one decimal from KiB on: "0 B", "1023 B", "1.5 KiB", "16.0 EiB". */
struct kms_fmt kms_fmt_bytes(uint64_t bytes);

/** A duration in the unit that fits: "850 ns", "1.5 us", "3.2 s", "2m05s", "1h02m", "3d04h". */
struct kms_fmt kms_fmt_ns(uint64_t ns);

/** A count with its digits in groups of three: "1,000,000". */
struct kms_fmt kms_fmt_count(uint64_t count);

/** An address: "0x" and hexadecimal digits without leading zeros; 0 is "0x0". */
struct kms_fmt kms_fmt_addr(uint64_t addr);

/**
 * Reads an unsigned number: decimal or 0x hexadecimal, then maybe one suffix K, M, G or T (also in
 * lower case, also written KiB or KB), each a power of 1024: "4096", "0x1000", "4K", "64MiB".
 *
 * A leading 0 is just a zero: there is no octal.
 *
 * Errors: -EINVAL: no number, or something is left over; -ERANGE: above UINT64_MAX.
 */
int kms_parse_u64(const char *text, uint64_t *value);

/** kms_parse_u64() with an optional sign, + or -, in front. -ERANGE outside int64_t. */
int kms_parse_i64(const char *text, int64_t *value);

enum {
	KMS_NO_DIGIT = 16,
};

/** Value of a hexadecimal digit, 0 to 15; KMS_NO_DIGIT: it is none. */
int kms_hex_digit(char c);

/** Reads an address: hexadecimal digits, with or without "0x". Errors as kms_parse_u64(). */
int kms_parse_addr(const char *text, uint64_t *value);

/**
 * Reads a duration: a decimal number and a unit (ns, us, ms, s, m, h, d), the unit is required
 * except behind 0: "250ms", "10s", "7d".
 *
 * Units:  *ns in nanoseconds
 * Errors: -EINVAL: no number or no known unit; -ERANGE: above UINT64_MAX nanoseconds (584 years).
 */
int kms_parse_ns(const char *text, uint64_t *ns);

#endif
