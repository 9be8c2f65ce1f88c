/* SPDX-License-Identifier: BSD-2-Clause */
/* One look-up in the helper: its texts. */
#include "tracer/symbols_lookup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void kms_symbols_lookup_deinit(struct kms_symbols_lookup *lookup)
{
	for (size_t i = 0; i < lookup->n_owned; i++)
		free(lookup->owned[i]);
	lookup->n_owned = 0;
}

void kms_symbols_lookup_begin(struct kms_symbols_lookup *lookup,
			      const struct kms_symbols_wire_entry *entry)
{
	kms_symbols_lookup_deinit(lookup);
	lookup->asked_address = entry->offset;
	lookup->address = entry->offset - (entry->is_return && entry->offset > 0);
	lookup->answer.n_frames = 0;
	lookup->answer.reason = KMS_SYMBOL_NO_SYMBOL;
}

struct kms_symbols_wire_text kms_symbols_text(const char *text)
{
	struct kms_symbols_wire_text result = {0};
	if (text && *text) {
		result.text = text;
		result.n = strnlen(text, KMS_SYMBOLS_NAME_BYTES);
	}
	return result;
}

char *kms_symbols_lookup_own(struct kms_symbols_lookup *lookup, char *text)
{
	assert(lookup->n_owned < sizeof(lookup->owned) / sizeof(lookup->owned[0]));
	if (text)
		lookup->owned[lookup->n_owned++] = text;
	return text;
}

/* Takes "." parts and doubled slashes out of a path, in place. */
static void tidy_path(char *path)
{
	char *to = path;
	for (const char *from = path; *from;) {
		bool at_part = to == path || to[-1] == '/';
		if (at_part && from[0] == '.' && from[1] == '/')
			from += 2;
		else if (at_part && to > path && from[0] == '/')
			from++;
		else
			*to++ = *from++;
	}
	*to = '\0';
}

struct kms_symbols_wire_text kms_symbols_source_path(struct kms_symbols_lookup *lookup,
						     const char *folder, const char *file)
{
	if (!file || !*file)
		return kms_symbols_text(NULL);
	bool is_joined = file[0] != '/' && folder && *folder;
	if (!is_joined && !strstr(file, "./") && !strstr(file, "//"))
		return kms_symbols_text(file);
	size_t n_folder = is_joined ? strnlen(folder, KMS_SYMBOLS_NAME_BYTES) : 0;
	size_t n_file = strnlen(file, KMS_SYMBOLS_NAME_BYTES);
	char *path = malloc(n_folder + 1 + n_file + 1);
	if (!path)
		return kms_symbols_text(NULL);
	if (is_joined) {
		memcpy(path, folder, n_folder);
		path[n_folder] = '/';
		n_folder++;
	}
	memcpy(path + n_folder, file, n_file);
	path[n_folder + n_file] = '\0';
	tidy_path(path);
	return kms_symbols_text(kms_symbols_lookup_own(lookup, path));
}
