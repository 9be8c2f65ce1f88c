/*
 * Numbers to text: see fmt.h.
 */
#include "base/fmt.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

/*
 * value / unit with one decimal, rounded half up, in whole tenths; needs no floating point, so that
 * the largest values stay exact.
 */
static uint64_t tenths(uint64_t value, uint64_t unit)
{
	uint64_t whole = value / unit;
	uint64_t rest = value % unit;

	/* rest * 10 may overflow for units above 2^60: halve both first, no digit changes */
	if (unit > UINT64_MAX / 20) {
		rest /= 32;
		unit /= 32;
	}
	return whole * 10 + (rest * 10 + unit / 2) / unit;
}

static struct kms_fmt with_unit(uint64_t in_tenths, const char *unit)
{
	struct kms_fmt out;

	(void)snprintf(out.text, sizeof(out.text), "%" PRIu64 ".%" PRIu64 " %s", in_tenths / 10,
		       in_tenths % 10, unit); /* 20 digits at most */
	return out;
}

struct kms_fmt kms_fmt_bytes(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	const size_t n_units = sizeof(units) / sizeof(units[0]);
	struct kms_fmt out;
	size_t i = 0;

	if (bytes < 1024) {
		(void)snprintf(out.text, sizeof(out.text), "%" PRIu64 " B", bytes);
		return out;
	}
	/* 1023.95 KiB and more would print as 1024.0 KiB: take the next unit */
	while (i + 1 < n_units && tenths(bytes, (uint64_t)1 << (10 * (i + 1))) >= 10240)
		i++;
	return with_unit(tenths(bytes, (uint64_t)1 << (10 * (i + 1))), units[i]);
}

/* Two units for what takes a minute and longer: "2m05s". */
static struct kms_fmt long_duration(uint64_t seconds)
{
	static const struct {
		uint64_t below, major, minor;
		char major_name, minor_name;
	} steps[] = {
		{3600,       60,    1,    'm', 's'},
		{86400,      3600,  60,   'h', 'm'},
		{UINT64_MAX, 86400, 3600, 'd', 'h'},
	};
	struct kms_fmt out;
	size_t i = 0;

	while (seconds >= steps[i].below)
		i++;
	(void)snprintf(out.text, sizeof(out.text), "%" PRIu64 "%c%02" PRIu64 "%c",
		       seconds / steps[i].major, steps[i].major_name,
		       seconds % steps[i].major / steps[i].minor, steps[i].minor_name);
	return out;
}

struct kms_fmt kms_fmt_ns(uint64_t ns)
{
	static const struct {
		uint64_t unit, below_tenths;
		const char *name;
	} steps[] = {
		{1000,       10000, "us"},
		{1000000,    10000, "ms"},
		{1000000000, 600,   "s" },
	};
	struct kms_fmt out;

	if (ns < 1000) {
		(void)snprintf(out.text, sizeof(out.text), "%" PRIu64 " ns", ns);
		return out;
	}
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (tenths(ns, steps[i].unit) < steps[i].below_tenths)
			return with_unit(tenths(ns, steps[i].unit), steps[i].name);
	return long_duration(ns / 1000000000 + (ns % 1000000000 >= 500000000));
}

struct kms_fmt kms_fmt_count(uint64_t count)
{
	char digits[32];
	struct kms_fmt out;
	size_t n = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, count);
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			out.text[at++] = ',';
		out.text[at++] = digits[i];
	}
	out.text[at] = '\0';
	return out;
}

struct kms_fmt kms_fmt_addr(uint64_t addr)
{
	struct kms_fmt out;

	(void)snprintf(out.text, sizeof(out.text), "0x%" PRIx64, addr);
	return out;
}
