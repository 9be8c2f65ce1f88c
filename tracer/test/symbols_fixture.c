/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses, lines and build-ids of fixtures, read without the code under test. */
#include "tracer/test/symbols_fixture.h"

#include <elf.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): tests read their environment and end themselves */

enum {
	FILE_BYTES_MAX = 1 << 24,
	WAIT_NS_MAX = 2000000000,
};

static void die(const char *what, const char *which)
{
	fprintf(stderr, "fixture: %s: %s\n", what, which);
	exit(1);
}

const char *fixture_path(char *path, const char *name)
{
	const char *build = getenv("KMS_BUILD_DIR");
	if (!build)
		die("KMS_BUILD_DIR is not set", name);
	(void)snprintf(path, FIXTURE_PATH_BYTES, "%s/test/symbols/%s", build, name);
	return path;
}

const char *fixture_source_folder(void)
{
	static char path[FIXTURE_PATH_BYTES];
	const char *source = getenv("KMS_SOURCE_DIR");
	if (!source)
		die("KMS_SOURCE_DIR is not set", "sources");
	(void)snprintf(path, sizeof(path), "%s/tracer/test/fixtures/symbols", source);
	return path;
}

bool fixture_exists(const char *name)
{
	char path[FIXTURE_PATH_BYTES];
	return access(fixture_path(path, name), R_OK) == 0;
}

uint8_t *fixture_read(const char *name, size_t *n_bytes)
{
	char path[FIXTURE_PATH_BYTES];
	char *text;
	if (kms_read_file(fixture_path(path, name), FILE_BYTES_MAX, &text, n_bytes, NULL) != 0)
		die("cannot read", path);
	return (uint8_t *)text;
}

/* Headers of the section with a type and, unless it is NULL, a name. The fixtures are ours: nothing is checked. */
static Elf64_Shdr find_section(const uint8_t *elf, uint32_t type, const char *name)
{
	Elf64_Ehdr header;
	Elf64_Shdr names, section;
	memcpy(&header, elf, sizeof(header));
	memcpy(&names, elf + header.e_shoff + header.e_shstrndx * sizeof(names), sizeof(names));
	for (size_t i = 0; i < header.e_shnum; i++) {
		memcpy(&section, elf + header.e_shoff + i * sizeof(section), sizeof(section));
		const char *found = (const char *)elf + names.sh_offset + section.sh_name;
		if (section.sh_type == type && (!name || strcmp(found, name) == 0))
			return section;
	}
	die("section not found", name ? name : "symbol table");
	return section;
}

uint64_t fixture_address(const char *name, const char *symbol)
{
	size_t n_bytes;
	uint8_t *elf = fixture_read(name, &n_bytes);
	Elf64_Shdr table = find_section(elf, SHT_SYMTAB, NULL);
	Elf64_Shdr names;
	Elf64_Ehdr header;
	uint64_t address = 0;
	memcpy(&header, elf, sizeof(header));
	memcpy(&names, elf + header.e_shoff + table.sh_link * sizeof(names), sizeof(names));
	for (uint64_t at = 0; at < table.sh_size; at += sizeof(Elf64_Sym)) {
		Elf64_Sym sym;
		memcpy(&sym, elf + table.sh_offset + at, sizeof(sym));
		if (strcmp((const char *)elf + names.sh_offset + sym.st_name, symbol) == 0)
			address = sym.st_value;
	}
	free(elf);
	if (address == 0)
		die("symbol not found", symbol);
	return address;
}

uint32_t fixture_line(const char *source, const char *text)
{
	char path[FIXTURE_PATH_BYTES], wanted[128], line[512];
	(void)snprintf(path, sizeof(path), "%.900s/%s", fixture_source_folder(), source);
	(void)snprintf(wanted, sizeof(wanted), "/* LINE %s */", text);
	FILE *file = fopen(path, "re");
	if (!file)
		die("cannot read", path);
	uint32_t n = 0, found = 0;
	while (fgets(line, sizeof(line), file)) {
		n++;
		if (strstr(line, wanted))
			found = n;
	}
	(void)fclose(file);
	if (found == 0)
		die("line not found", text);
	return found;
}

size_t fixture_build_id(const char *name, uint8_t *build_id)
{
	size_t n_bytes;
	uint8_t *elf = fixture_read(name, &n_bytes);
	Elf64_Shdr section = find_section(elf, SHT_NOTE, ".note.gnu.build-id");
	Elf64_Nhdr note;
	memcpy(&note, elf + section.sh_offset, sizeof(note));
	memcpy(build_id, elf + section.sh_offset + sizeof(note) + note.n_namesz, note.n_descsz);
	free(elf);
	return note.n_descsz;
}

void fixture_scratch_create(char *path)
{
	(void)snprintf(path, FIXTURE_PATH_BYTES, "%s/kms-symbols-XXXXXX",
		       getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(path))
		die("cannot make a folder", path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

void fixture_scratch_remove(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		die("cannot remove", path);
}

void fixture_write(const char *path, const void *bytes, size_t n)
{
	FILE *file = fopen(path, "we");
	if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0)
		die("cannot write", path);
}

uint32_t fixture_module(struct kms_symbols *sym, const char *path)
{
	struct kms_symbols_module module = {.path = path};
	struct kms_err err = KMS_ERR_INIT;
	uint32_t id = 0;
	if (kms_symbols_module(sym, &module, &id, &err) != 0)
		die(err.text, path);
	return id;
}

struct kms_symbol_answer fixture_resolve(struct kms_symbols *sym, uint32_t module, uint64_t offset)
{
	struct kms_symbol_request req = {.offset = offset, .module = module};
	struct kms_symbol_answer answer;
	if (kms_symbols_resolve(sym, &req, 1, &answer) != 0)
		die("cannot resolve", "");
	return answer;
}

/* The state letter of a process; 0 if there is none. */
static char process_state(pid_t pid)
{
	char path[64];
	char *text;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (kms_read_file(path, 4096, &text, NULL, NULL) != 0)
		return 0;
	const char *end = strrchr(text, ')');
	char state = '\0';
	if (end && end[1])
		state = end[2];
	free(text);
	return state;
}

bool fixture_wait_ended(pid_t pid)
{
	uint64_t deadline_ns = kms_clock_now(kms_clock_system()) + 5ULL * WAIT_NS_MAX;
	for (;;) {
		char state = process_state(pid);
		if (state == 0 || state == 'Z' || state == 'X')
			return true;
		if (kms_clock_now(kms_clock_system()) > deadline_ns)
			return false;
		(void)poll(NULL, 0, 1); /* the condition is looked at again each ms */
	}
}

/* NOLINTEND(concurrency-mt-unsafe) */
