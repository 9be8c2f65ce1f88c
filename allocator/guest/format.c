/* SPDX-License-Identifier: BSD-2-Clause */
/* vsnprintf, as far as a kernel's messages and kmem_asprintf need it. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
	DIGITS = 24,
};

/* Where the text goes; @length counts what did not fit, too. */
struct sink {
	char *to;
	size_t bytes;
	size_t length;
};

/* One conversion. */
struct spec {
	size_t width;
	char fill;
	unsigned longs; /* l: 1, ll: 2, z: 2 */
};

static void put(struct sink *sink, char c)
{
	if (sink->length + 1 < sink->bytes)
		sink->to[sink->length] = c;
	sink->length++;
}

static void put_field(struct sink *sink, const struct spec *spec, const char *text, size_t length)
{
	for (size_t n = length; n < spec->width; n++)
		put(sink, spec->fill);
	for (size_t n = 0; n < length; n++)
		put(sink, text[n]);
}

/* NOLINTNEXTLINE(readability-function-size): the parts of a number */
static void put_number(struct sink *sink, const struct spec *spec, uint64_t value, unsigned base,
		       const char *prefix)
{
	char digits[DIGITS];
	size_t at = DIGITS;

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (size_t n = strlen(prefix); n > 0 && at > 0; n--)
		digits[--at] = prefix[n - 1];
	put_field(sink, spec, digits + at, DIGITS - at);
}

static const char *read_spec(const char *format, struct spec *spec)
{
	*spec = (struct spec){.fill = ' '};
	if (*format == '0') {
		spec->fill = '0';
		format++;
	}
	for (; *format >= '0' && *format <= '9'; format++)
		spec->width = spec->width * 10 + (size_t)(*format - '0');
	for (; *format == 'l' || *format == 'z'; format++)
		spec->longs += *format == 'z' ? 2 : 1;
	return format;
}

static uint64_t read_unsigned(const struct spec *spec, va_list *arguments)
{
	return spec->longs ? va_arg(*arguments, uint64_t) : va_arg(*arguments, unsigned);
}

static void put_signed(struct sink *sink, const struct spec *spec, va_list *arguments)
{
	int64_t value = spec->longs ? va_arg(*arguments, int64_t) : va_arg(*arguments, int);
	uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;

	put_number(sink, spec, size, 10, value < 0 ? "-" : "");
}

static void put_conversion(struct sink *sink, char kind, const struct spec *spec,
			   va_list *arguments)
{
	const char *text;
	char c;

	switch (kind) {
	case 'd':
	case 'i':
		put_signed(sink, spec, arguments);
		break;
	case 'u':
		put_number(sink, spec, read_unsigned(spec, arguments), 10, "");
		break;
	case 'x':
		put_number(sink, spec, read_unsigned(spec, arguments), 16, "");
		break;
	case 'p':
		put_number(sink, spec, (uintptr_t)va_arg(*arguments, void *), 16, "0x");
		break;
	case 's':
		text = va_arg(*arguments, const char *);
		text = text ? text : "(null)";
		put_field(sink, spec, text, strlen(text));
		break;
	case 'c':
		c = (char)va_arg(*arguments, int);
		put_field(sink, spec, &c, 1);
		break;
	default:
		put(sink, kind);
		break;
	}
}

int vsnprintf(char *to, size_t bytes, const char *format, va_list arguments)
{
	struct sink sink = {to, bytes, 0};
	va_list rest;

	va_copy(rest, arguments);
	while (*format) {
		struct spec spec;

		if (*format != '%') {
			put(&sink, *format++);
			continue;
		}
		format = read_spec(format + 1, &spec);
		if (!*format)
			break;
		put_conversion(&sink, *format++, &spec, &rest);
	}
	va_end(rest);
	if (bytes)
		to[sink.length < bytes ? sink.length : bytes - 1] = '\0';
	return (int)sink.length;
}

int snprintf(char *to, size_t bytes, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(to, bytes, format, arguments);
	va_end(arguments);
	return length;
}
