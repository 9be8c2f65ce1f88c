/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the debug information of a stripped file is. */
#include "tracer/symbols_debugfile.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Paths recorded in files begin with this, wherever the debug files are now. */
#define DEFAULT_ROOT "/usr/lib/debug/"

enum {
	PATH_BYTES = 2 * KMS_SYMBOLS_PATH_BYTES + 64, /* a root and a path below it */
};

/* The last slash of a path and all before it, as printf's "%.*s" wants it. */
static int folder_length(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? (int)(slash - path) + 1 : 0;
}

static bool is_whole(int n_printed)
{
	return n_printed > 0 && n_printed < PATH_BYTES;
}

/* By build-id ------------------------------------------------------------------------------------------------------- */

static bool open_checked(const char *path, const uint8_t *build_id, size_t n,
			 struct kms_symbols_elf *file)
{
	if (kms_symbols_elf_open(file, path) != KMS_SYMBOL_OK)
		return false;
	if (kms_symbols_elf_has_build_id(file, build_id, n))
		return true;
	kms_symbols_elf_close(file);
	return false;
}

bool kms_symbols_debugfile_by_build_id(const struct kms_symbols_debug_search *search,
				       const uint8_t *build_id, size_t n,
				       struct kms_symbols_elf *file)
{
	char hex[2 * KMS_SYMBOLS_BUILD_ID_BYTES + 1];
	char path[PATH_BYTES];
	if (n < 2 || n > KMS_SYMBOLS_BUILD_ID_BYTES)
		return false;
	for (size_t i = 0; i < n; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", build_id[i]); /* cannot fail or be cut */
	int n_path = snprintf(path, sizeof(path), "%s/.build-id/%.2s/%s.debug", search->root, hex,
			      hex + 2);
	return is_whole(n_path) && open_checked(path, build_id, n, file);
}

static bool open_fetched(const struct kms_symbols_debug_search *search, const uint8_t *build_id,
			 size_t n, struct kms_symbols_elf *file)
{
	if (!search->allow_debuginfod || n == 0)
		return false;
	KMS_AUTO_FREE char *path = kms_symbols_debuginfod_fetch(build_id, n);
	return path && open_checked(path, build_id, n, file);
}

/* By link ----------------------------------------------------------------------------------------------------------- */

/* The checksum of .gnu_debuglink: CRC-32 as in Ethernet and zlib, of the whole file. */
static bool checksum_file(int fd, uint32_t *checksum)
{
	uint32_t table[256];
	uint8_t bytes[16384];
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;
		for (int bit = 0; bit < 8; bit++)
			value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
		table[i] = value;
	}
	uint32_t sum = 0xffffffff;
	off_t offset = 0;
	ssize_t n;
	while ((n = pread(fd, bytes, sizeof(bytes), offset)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			sum = table[(sum ^ bytes[i]) & 0xff] ^ sum >> 8;
		offset += n;
	}
	*checksum = ~sum;
	return n == 0;
}

/* Opens a file that a link may mean. */
static bool open_linked(const char *path, const struct kms_symbols_elf *of, uint32_t wanted,
			struct kms_symbols_elf *debug)
{
	if (of->n_build_id > 0)
		return open_checked(path, of->build_id, of->n_build_id, debug);
	uint32_t checksum;
	if (kms_symbols_elf_open(debug, path) != KMS_SYMBOL_OK)
		return false;
	if (checksum_file(debug->fd, &checksum) && checksum == wanted)
		return true;
	kms_symbols_elf_close(debug);
	return false;
}

static bool find_linked(const struct kms_symbols_debug_search *search, const char *path,
			const struct kms_symbols_elf *file, struct kms_symbols_elf *debug)
{
	GElf_Word checksum;
	const char *link = dwelf_elf_gnu_debuglink(file->elf, &checksum);
	if (!link || !*link || strchr(link, '/'))
		return false;
	KMS_AUTO_FREE char *real = realpath(path, NULL);
	if (!real)
		return false;
	int n_folder = folder_length(real);
	const char *const before[] = {"", "", search->root};
	const char *const between[] = {"", ".debug/", ""};
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		char candidate[PATH_BYTES];
		int n = snprintf(candidate, sizeof(candidate), "%s%.*s%s%s", before[i], n_folder,
				 real, between[i], link);
		if (is_whole(n) && open_linked(candidate, file, checksum, debug))
			return true;
	}
	return false;
}

bool kms_symbols_debugfile_find(const struct kms_symbols_debug_search *search, const char *path,
				const struct kms_symbols_elf *file, struct kms_symbols_elf *debug)
{
	return kms_symbols_debugfile_by_build_id(search, file->build_id, file->n_build_id, debug) ||
	       find_linked(search, path, file, debug) ||
	       open_fetched(search, file->build_id, file->n_build_id, debug);
}

/* Alternate file ---------------------------------------------------------------------------------------------------- */

/* A relative name belongs to the folder of the file that has it: only its descriptor is known here. */
static bool open_beside(const struct kms_symbols_elf *file, const char *name,
			const uint8_t *build_id, size_t n, struct kms_symbols_elf *alternate)
{
	char link[64], folder[KMS_SYMBOLS_PATH_BYTES + 1], path[PATH_BYTES];
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", file->fd); /* fits */
	ssize_t n_folder = readlink(link, folder, sizeof(folder) - 1);
	if (n_folder <= 0)
		return false;
	folder[n_folder] = '\0';
	int n_path = snprintf(path, sizeof(path), "%.*s%s", folder_length(folder), folder, name);
	return is_whole(n_path) && open_checked(path, build_id, n, alternate);
}

bool kms_symbols_debugfile_alternate(const struct kms_symbols_debug_search *search, Dwarf *dwarf,
				     const struct kms_symbols_elf *file,
				     struct kms_symbols_elf *alternate)
{
	const char *name;
	const void *id;
	char path[PATH_BYTES];
	ssize_t n_id = dwelf_dwarf_gnu_debugaltlink(dwarf, &name, &id);
	if (n_id <= 0 || n_id > KMS_SYMBOLS_BUILD_ID_BYTES)
		return false;
	size_t n = (size_t)n_id;
	if (kms_symbols_debugfile_by_build_id(search, id, n, alternate))
		return true;
	if (name[0] != '/')
		return open_beside(file, name, id, n, alternate);
	if (strncmp(name, DEFAULT_ROOT, strlen(DEFAULT_ROOT)) == 0) {
		int n_path = snprintf(path, sizeof(path), "%s/%s", search->root,
				      name + strlen(DEFAULT_ROOT));
		if (is_whole(n_path) && open_checked(path, id, n, alternate))
			return true;
	}
	return open_checked(name, id, n, alternate) || open_fetched(search, id, n, alternate);
}
