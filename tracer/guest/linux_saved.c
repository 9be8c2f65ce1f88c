/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file of a build's symbols and places: see linux_saved.h.
 *
 *	struct head, struct kms_linux_layout, addresses (u64), names' offsets (u32), names
 */
#include "tracer/guest/linux_saved.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/io.h"
#include "tracer/guest/linux_impl.h"

enum {
	MAX_FILE_BYTES = 128 << 20,
	FORMAT = 2,
};

struct head {
	char magic[8];
	uint32_t format;
	uint32_t count;
	uint32_t names_bytes;
	uint32_t unused;
	uint64_t version; /* of the layout */
	uint64_t check;   /* hash of all that follows the head */
	struct kms_linux_seal seal;
	char build_id[KMS_LINUX_BUILD_ID_BYTES + 7];
};

static const char magic[8] = "kmslnx\n";

static int file_path(char *path, size_t bytes, const char *folder, const char *build_id)
{
	int n = snprintf(path, bytes, "%s/linux-%s", folder, build_id);

	if (!*build_id)
		return -ENOENT;
	return n > 0 && (size_t)n < bytes ? 0 : -ENAMETOOLONG;
}

int kms_linux_saved_folder(char *path, size_t bytes)
{
	const char *cache =
		getenv("XDG_CACHE_HOME");  /* NOLINT(concurrency-mt-unsafe): nobody sets it */
	const char *home = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe): likewise */
	int n;

	if (cache && *cache == '/')
		n = snprintf(path, bytes, "%s/kmemscope", cache);
	else if (home && *home == '/')
		n = snprintf(path, bytes, "%s/.cache/kmemscope", home);
	else
		return -ENOENT;
	return n > 0 && (size_t)n < bytes ? 0 : -ENAMETOOLONG;
}

/* Bytes of the parts behind the head. */
struct parts {
	size_t layout, address, name, names, total;
};

static struct parts parts_of(uint32_t count, uint32_t names_bytes)
{
	struct parts parts = {
		.layout = sizeof(struct kms_linux_layout),
		.address = (size_t)count * sizeof(uint64_t),
		.name = (size_t)count * sizeof(uint32_t),
		.names = names_bytes,
	};

	parts.total = parts.layout + parts.address + parts.name + parts.names;
	return parts;
}

static bool head_fits(const struct head *head, const char *text, size_t n,
		      const struct kms_linux_info *info)
{
	return !memcmp(head->magic, magic, sizeof(magic)) && head->format == FORMAT &&
	       head->version == kms_linux_layout_version() && head->count &&
	       head->count <= KMS_SYMBOLS_MAX && head->names_bytes &&
	       head->names_bytes <= KMS_SYMBOLS_MAX_NAME_BYTES &&
	       !strncmp(head->build_id, info->build_id, sizeof(head->build_id)) &&
	       parts_of(head->count, head->names_bytes).total == n - sizeof(*head) &&
	       kms_hash_bytes(text + sizeof(*head), n - sizeof(*head), FORMAT) == head->check;
}

/* Ascending, names inside of the text. */
static bool symbols_fit(const struct kms_symbols *symbols)
{
	if (symbols->names[symbols->names_bytes - 1])
		return false;
	for (uint32_t i = 0; i < symbols->count; i++)
		if (symbols->name[i] >= symbols->names_bytes ||
		    (i && symbols->address[i - 1] > symbols->address[i]))
			return false;
	return true;
}

static int symbols_copy(struct kms_symbols *symbols, const struct head *head, const char *text)
{
	struct parts parts = parts_of(head->count, head->names_bytes);

	*symbols = (struct kms_symbols){.count = head->count, .names_bytes = head->names_bytes};
	symbols->address = malloc(parts.address);
	symbols->name = malloc(parts.name);
	symbols->names = malloc(parts.names);
	if (!symbols->address || !symbols->name || !symbols->names)
		return -ENOMEM;
	text += parts.layout;
	memcpy(symbols->address, text, parts.address);
	memcpy(symbols->name, text + parts.address, parts.name);
	memcpy(symbols->names, text + parts.address + parts.name, parts.names);
	return symbols_fit(symbols) ? 0 : -EBADMSG;
}

/* Symbols of the image move with it; absolute ones (per-CPU) do not. */
static void symbols_move(struct kms_symbols *symbols, uint64_t by)
{
	for (uint32_t i = 0; i < symbols->count; i++)
		if (symbols->address[i] >= KMS_LX_IMAGE_BASE)
			symbols->address[i] += by;
}

static int take(const char *text, size_t n, const struct kms_linux_info *info,
		struct kms_symbols *symbols, struct kms_linux_layout *layout, struct kms_err *err)
{
	struct kms_symbols found = {0};
	struct kms_linux_layout places;
	struct head head;
	int rc;

	if (n < sizeof(head) + sizeof(places))
		return kms_err_set(err, -EBADMSG, "kept symbols: the file is too short");
	memcpy(&head, text, sizeof(head));
	if (!head_fits(&head, text, n, info))
		return kms_err_set(err, -EBADMSG, "kept symbols: damaged, or of another version");
	memcpy(&places, text + sizeof(head), sizeof(places));
	rc = kms_linux_layout_check(&places, err);
	if (!rc) {
		rc = symbols_copy(&found, &head, text + sizeof(head));
		if (rc)
			kms_err_set(err, rc, "kept symbols: damaged, or no memory for them");
	}
	if (!rc) {
		symbols_move(&found, info->kaslr_offset);
		rc = kms_symbols_index(&found, err);
	}
	if (rc) {
		kms_symbols_deinit(&found);
		return rc;
	}
	*symbols = found;
	*layout = places;
	return 0;
}

int kms_linux_saved_load(const char *folder, const struct kms_linux_info *info,
			 struct kms_linux_seal *seal, struct kms_symbols *symbols,
			 struct kms_linux_layout *layout, struct kms_err *err)
{
	KMS_AUTO_FREE char *text = NULL;
	char path[PATH_MAX];
	size_t n;
	int rc = file_path(path, sizeof(path), folder, info->build_id);

	if (!rc)
		rc = kms_read_file(path, MAX_FILE_BYTES, &text, &n, err);
	if (!rc)
		rc = take(text, n, info, symbols, layout, err);
	if (!rc)
		memcpy(seal, text + offsetof(struct head, seal), sizeof(*seal));
	return rc;
}

static void head_fill(struct head *head, const struct kms_linux_info *info,
		      const struct kms_linux_seal *seal, const char *body,
		      const struct kms_symbols *symbols)
{
	struct parts parts = parts_of(symbols->count, symbols->names_bytes);

	*head = (struct head){
		.format = FORMAT,
		.count = symbols->count,
		.names_bytes = symbols->names_bytes,
		.version = kms_linux_layout_version(),
		.seal = *seal,
		.check = kms_hash_bytes(body, parts.total, FORMAT),
	};
	memcpy(head->magic, magic, sizeof(magic));
	memcpy(head->build_id, info->build_id, sizeof(info->build_id));
}

static void body_fill(char *body, const struct kms_linux_info *info,
		      const struct kms_symbols *symbols, const struct kms_linux_layout *layout)
{
	struct parts parts = parts_of(symbols->count, symbols->names_bytes);

	memcpy(body, layout, parts.layout);
	body += parts.layout;
	for (uint32_t i = 0; i < symbols->count; i++) {
		uint64_t address = symbols->address[i];

		if (address >= KMS_LX_IMAGE_BASE)
			address -= info->kaslr_offset;
		memcpy(body + i * sizeof(address), &address, sizeof(address));
	}
	memcpy(body + parts.address, symbols->name, parts.name);
	memcpy(body + parts.address + parts.name, symbols->names, parts.names);
}

int kms_linux_saved_store(const char *folder, const struct kms_linux_info *info,
			  const struct kms_linux_seal *seal, const struct kms_symbols *symbols,
			  const struct kms_linux_layout *layout, struct kms_err *err)
{
	size_t n = sizeof(struct head) + parts_of(symbols->count, symbols->names_bytes).total;
	struct head head;
	char *text;
	char path[PATH_MAX];
	int rc = file_path(path, sizeof(path), folder, info->build_id);

	if (rc)
		return kms_err_sys(err, rc, "kept symbols", folder);
	rc = kms_mkdir_private(folder, err);
	if (rc)
		return rc;
	text = malloc(n);
	if (!text)
		return kms_err_set(err, -ENOMEM, "no memory to keep symbols");
	body_fill(text + sizeof(head), info, symbols, layout);
	head_fill(&head, info, seal, text + sizeof(head), symbols);
	memcpy(text, &head, sizeof(head));
	rc = kms_replace_file(path, text, n, err);
	free(text);
	return rc;
}
