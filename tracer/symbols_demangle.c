/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mangled names to readable ones, with the demangler of libstdc++: loaded at run time the first time a name needs it, so
 * that nothing is linked with C++. Names stay as they are where it is not installed. Rust's older names are mangled as
 * C++ names are, with a hash behind them and some characters spelled out; its newer ones (_R...) are left as they are.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/symbols_lookup.h"

enum {
	RUST_HASH_BYTES = 19, /* "::h" and 16 hexadecimal digits */
};

static const struct {
	const char *from;
	const char *to;
} rust_escapes[] = {
	{"$LT$",  "<" },
        {"$GT$",  ">" },
        {"$LP$",  "(" },
        {"$RP$",  ")" },
        {"$RF$",  "&" },
	{"$BP$",  "*" },
        {"$SP$",  "@" },
        {"$C$",   "," },
        {"$u20$", " " },
        {"$u27$", "'" },
	{"$u5b$", "[" },
        {"$u5d$", "]" },
        {"$u7b$", "{" },
        {"$u7d$", "}" },
        {"$u7e$", "~" },
	{"$u2b$", "+" },
        {"$u22$", "\""},
        {"$u3b$", ";" },
        {"$u3d$", "=" },
        {"..",    "::"},
};

/* The name made readable, in memory of malloc's; NULL if it is no such name or there is no demangler. */
static char *demangle(struct kms_symbols_demangler *demangler, const char *name)
{
	if (!demangler->is_tried) {
		demangler->is_tried = true;
		void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
		void *symbol = library ? dlsym(library, "__cxa_demangle") : NULL;
		/* ISO C knows no conversion of the two kinds of pointers. */
		memcpy(&demangler->demangle, &symbol, sizeof(symbol));
	}
	int status = 0;
	return demangler->demangle ? demangler->demangle(name, NULL, NULL, &status) : NULL;
}

static bool ends_with_rust_hash(const char *name, size_t n)
{
	if (n <= RUST_HASH_BYTES || strncmp(name + n - RUST_HASH_BYTES, "::h", 3) != 0)
		return false;
	return strspn(name + n - RUST_HASH_BYTES + 3, "0123456789abcdef") == RUST_HASH_BYTES - 3;
}

/* Takes Rust's hash off and spells its characters normally, in place: no escape is longer than its text. */
static void tidy_rust(char *name)
{
	size_t n = strlen(name);
	if (!ends_with_rust_hash(name, n))
		return;
	name[n - RUST_HASH_BYTES] = '\0';
	char *to = name;
	for (const char *from = name; *from;) {
		/* A part that would begin with an escape has an underscore in front. */
		if (from[0] == '_' && from[1] == '$' && (from == name || from[-1] == ':'))
			from++;
		size_t i = 0, n_escapes = sizeof(rust_escapes) / sizeof(rust_escapes[0]);
		while (i < n_escapes &&
		       strncmp(from, rust_escapes[i].from, strlen(rust_escapes[i].from)) != 0)
			i++;
		if (i == n_escapes) {
			*to++ = *from++;
			continue;
		}
		from += strlen(rust_escapes[i].from);
		to = stpcpy(to, rust_escapes[i].to);
	}
	*to = '\0';
}

void kms_symbols_lookup_demangle(struct kms_symbols_lookup *lookup)
{
	char name[KMS_SYMBOLS_NAME_BYTES + 1];
	for (uint32_t i = 0; i < lookup->answer.n_frames; i++) {
		struct kms_symbols_wire_text *function = &lookup->answer.frames[i].function;
		if (!function->text || function->n < 3 || memcmp(function->text, "_Z", 2) != 0)
			continue;
		memcpy(name, function->text, function->n);
		name[function->n] = '\0';
		char *text = demangle(&lookup->demangler, name);
		if (!text)
			continue;
		tidy_rust(text);
		*function = kms_symbols_text(kms_symbols_lookup_own(lookup, text));
	}
}
