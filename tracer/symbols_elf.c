/* SPDX-License-Identifier: BSD-2-Clause */
/* An ELF file, opened with distrust. */
#include "tracer/symbols_elf.h"

#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a regular file for reading, or returns -1. Looked at before it is opened: opening a device can have effects. */
static int open_regular(const char *path, uint64_t *file_bytes)
{
	struct stat st;
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return -1;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -1;
	}
	*file_bytes = (uint64_t)st.st_size;
	return fd;
}

/* Type of an ELF file, ET_NONE if it is none of ours. */
static unsigned int type_of(Elf *elf)
{
	GElf_Ehdr header;
	if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header))
		return ET_NONE;
	bool is_known =
		header.e_type == ET_EXEC || header.e_type == ET_DYN || header.e_type == ET_REL;
	return is_known ? header.e_type : ET_NONE;
}

enum kms_symbol_reason kms_symbols_elf_open(struct kms_symbols_elf *file, const char *path)
{
	*file = (struct kms_symbols_elf){0};
	int fd = open_regular(path, &file->file_bytes);
	if (fd < 0)
		return KMS_SYMBOL_NO_FILE;
	(void)elf_version(EV_CURRENT); /* cannot fail: it is the version this was compiled with */
	Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	unsigned int type = type_of(elf);
	if (type == ET_NONE) {
		elf_end(elf);
		close(fd);
		return KMS_SYMBOL_BAD_ELF;
	}
	file->elf = elf;
	file->fd = fd;
	file->is_relocatable = type == ET_REL;
	const void *build_id;
	ssize_t n = dwelf_elf_gnu_build_id(elf, &build_id);
	if (n > 0) {
		file->build_id = build_id;
		file->n_build_id = (size_t)n;
	}
	return KMS_SYMBOL_OK;
}

void kms_symbols_elf_close(struct kms_symbols_elf *file)
{
	if (!file->elf)
		return;
	elf_end(file->elf);
	close(file->fd);
	*file = (struct kms_symbols_elf){0};
}

bool kms_symbols_elf_has_build_id(const struct kms_symbols_elf *file, const uint8_t *build_id,
				  size_t n)
{
	return n > 0 && file->n_build_id == n && memcmp(file->build_id, build_id, n) == 0;
}

bool kms_symbols_elf_has_section(const struct kms_symbols_elf *file, const char *name)
{
	size_t names_idx;
	if (elf_getshdrstrndx(file->elf, &names_idx) != 0)
		return false;
	for (Elf_Scn *scn = elf_nextscn(file->elf, NULL); scn; scn = elf_nextscn(file->elf, scn)) {
		GElf_Shdr header;
		if (!gelf_getshdr(scn, &header) || header.sh_type == SHT_NOBITS)
			continue;
		const char *found = elf_strptr(file->elf, names_idx, header.sh_name);
		if (found && strcmp(found, name) == 0)
			return true;
	}
	return false;
}
