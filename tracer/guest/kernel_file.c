/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/kernel_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
	MAX_SEGMENTS = 64,
	MAX_NOTES_BYTES = 4096,
};

static bool read_at(int fd, uint64_t offset, void *to, size_t n)
{
	return offset <= INT64_MAX && pread(fd, to, n, (off_t)offset) == (ssize_t)n;
}

static uint32_t pad4(uint32_t n)
{
	return (n + 3) & ~3u;
}

/* The build id among the notes of a segment. */
static void find_build_id(const uint8_t *note, size_t n, struct kms_kernel_file *out)
{
	Elf64_Nhdr head; /* the same in 32-bit files */

	for (size_t at = 0; at + sizeof(head) <= n;) {
		uint32_t name, data;

		memcpy(&head, note + at, sizeof(head));
		name = head.n_namesz <= n ? pad4(head.n_namesz) : (uint32_t)n;
		data = head.n_descsz <= n ? pad4(head.n_descsz) : (uint32_t)n;
		at += sizeof(head);
		if (name > n - at || data > n - at - name)
			return;
		if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == sizeof("GNU") &&
		    !memcmp(note + at, "GNU", sizeof("GNU")) &&
		    head.n_descsz <= sizeof(out->build_id)) {
			out->build_id_bytes = head.n_descsz;
			memcpy(out->build_id, note + at + name, head.n_descsz);
			return;
		}
		at += name + data;
	}
}

static void look_at_notes(int fd, uint64_t offset, uint64_t bytes, struct kms_kernel_file *out)
{
	uint8_t note[MAX_NOTES_BYTES];
	size_t n = bytes < sizeof(note) ? (size_t)bytes : sizeof(note);

	if (!out->build_id_bytes && read_at(fd, offset, note, n))
		find_build_id(note, n, out);
}

static void look_at_segments_64(int fd, const Elf64_Ehdr *head, struct kms_kernel_file *out)
{
	for (unsigned i = 0; i < head->e_phnum && i < MAX_SEGMENTS; i++) {
		Elf64_Phdr segment;

		if (read_at(fd, head->e_phoff + i * sizeof(segment), &segment, sizeof(segment)) &&
		    segment.p_type == PT_NOTE)
			look_at_notes(fd, segment.p_offset, segment.p_filesz, out);
	}
}

static void look_at_segments_32(int fd, const Elf32_Ehdr *head, struct kms_kernel_file *out)
{
	for (unsigned i = 0; i < head->e_phnum && i < MAX_SEGMENTS; i++) {
		Elf32_Phdr segment;

		if (read_at(fd, head->e_phoff + i * sizeof(segment), &segment, sizeof(segment)) &&
		    segment.p_type == PT_NOTE)
			look_at_notes(fd, segment.p_offset, segment.p_filesz, out);
	}
}

int kms_kernel_file_look(const char *path, struct kms_kernel_file *out, struct kms_err *err)
{
	KMS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	union {
		unsigned char ident[EI_NIDENT];
		Elf64_Ehdr wide;
		Elf32_Ehdr narrow;
	} head;

	memset(out, 0, sizeof(*out));
	if (fd < 0)
		return kms_err_sys(err, -errno, "open", path);
	if (!realpath(path, out->path))
		return kms_err_sys(err, -errno, "open", path);
	if (!read_at(fd, 0, &head, sizeof(head)) || memcmp(head.ident, ELFMAG, SELFMAG) != 0)
		return kms_err_set(err, -ENOEXEC, "%.200s is no ELF file", path);
	if (head.ident[EI_CLASS] == ELFCLASS64 && head.wide.e_machine == EM_X86_64)
		look_at_segments_64(fd, &head.wide, out);
	else if (head.ident[EI_CLASS] == ELFCLASS32 && head.narrow.e_machine == EM_386)
		look_at_segments_32(fd, &head.narrow, out);
	else
		return kms_err_set(err, -ENOEXEC, "%.200s is for another kind of processor", path);
	return 0;
}
