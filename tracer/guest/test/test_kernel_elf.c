/* SPDX-License-Identifier: BSD-2-Clause */
/* Kernels' ELF files, made here with both widths: symbols, contents, and files that are damaged. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/guest/kallsyms.h"
#include "tracer/guest/kernel_elf.h"
#include "tracer/guest/kernel_names.h"

enum {
	SEGMENT_AT = 0x200,
	NAMES_AT = 0x300,
	SYMBOLS_AT = 0x340,
	SECTIONS_AT = 0x500,
	FILE_BYTES = 0x700,
	FILE_PART = 0x20,
	MEMORY_PART = 0x40,
};

static const char names[] = "\0kmem_init\0kmem_guard_depth\0a_file.c\0";

/* A file being made, in either width. */
struct image {
	uint8_t bytes[FILE_BYTES];
	bool is_wide;
	uint64_t base; /* virtual address of the segment */
	char path[64];
};

static void put_heads(struct image *image)
{
	Elf64_Ehdr wide = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(wide),
		.e_phnum = 1,
		.e_shoff = SECTIONS_AT,
		.e_shnum = 3
        };
	Elf32_Ehdr narrow = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
		.e_machine = EM_386,
		.e_phoff = sizeof(narrow),
		.e_phnum = 1,
		.e_shoff = SECTIONS_AT,
		.e_shnum = 3
        };
	Elf64_Phdr segment = {.p_type = PT_LOAD,
			      .p_offset = SEGMENT_AT,
			      .p_vaddr = image->base,
			      .p_filesz = FILE_PART,
			      .p_memsz = MEMORY_PART};
	Elf32_Phdr small = {.p_type = PT_LOAD,
			    .p_offset = SEGMENT_AT,
			    .p_vaddr = (uint32_t)image->base,
			    .p_filesz = FILE_PART,
			    .p_memsz = MEMORY_PART};

	if (image->is_wide) {
		memcpy(image->bytes, &wide, sizeof(wide));
		memcpy(image->bytes + sizeof(wide), &segment, sizeof(segment));
	} else {
		memcpy(image->bytes, &narrow, sizeof(narrow));
		memcpy(image->bytes + sizeof(narrow), &small, sizeof(small));
	}
}

static size_t symbol_bytes(const struct image *image)
{
	return image->is_wide ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
}

static void put_symbol(struct image *image, unsigned i, uint32_t name, uint8_t type,
		       uint64_t address, uint32_t bytes)
{
	Elf64_Sym wide = {.st_name = name,
			  .st_info = type,
			  .st_shndx = 1,
			  .st_value = address,
			  .st_size = bytes};
	Elf32_Sym narrow = {.st_name = name,
			    .st_info = type,
			    .st_shndx = 1,
			    .st_value = (uint32_t)address,
			    .st_size = bytes};
	const void *from = image->is_wide ? (const void *)&wide : (const void *)&narrow;

	memcpy(image->bytes + SYMBOLS_AT + i * symbol_bytes(image), from, symbol_bytes(image));
}

static void put_section(struct image *image, unsigned i, uint32_t type, uint64_t at, uint64_t bytes,
			uint32_t link)
{
	Elf64_Shdr wide = {.sh_type = type, .sh_offset = at, .sh_size = bytes, .sh_link = link};
	Elf32_Shdr narrow = {.sh_type = type,
			     .sh_offset = (uint32_t)at,
			     .sh_size = (uint32_t)bytes,
			     .sh_link = link};

	if (image->is_wide)
		memcpy(image->bytes + SECTIONS_AT + i * sizeof(wide), &wide, sizeof(wide));
	else
		memcpy(image->bytes + SECTIONS_AT + i * sizeof(narrow), &narrow, sizeof(narrow));
}

static void make(struct image *image, bool is_wide)
{
	memset(image, 0, sizeof(*image));
	image->is_wide = is_wide;
	image->base = is_wide ? UINT64_C(0xffffffff80100000) : 0xc0100000;
	put_heads(image);
	for (unsigned i = 0; i < FILE_PART; i++)
		image->bytes[SEGMENT_AT + i] = (uint8_t)(i + 1);
	memcpy(image->bytes + NAMES_AT, names, sizeof(names));
	put_symbol(image, 1, 28, STT_FILE, 0, 0);
	put_symbol(image, 2, 11, STT_OBJECT, image->base + 0x30, 4);
	put_symbol(image, 3, 1, STT_FUNC, image->base + 0x10, 9);
	put_section(image, 1, SHT_SYMTAB, SYMBOLS_AT, 4 * symbol_bytes(image), 2);
	put_section(image, 2, SHT_STRTAB, NAMES_AT, sizeof(names), 0);
}

static void save(struct image *image, size_t bytes)
{
	int fd;

	(void)snprintf(image->path, sizeof(image->path), "/tmp/kms-kernel-XXXXXX");
	fd = mkstemp(image->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, image->bytes, bytes), bytes);
	assert_int_equal(close(fd), 0);
}

static void symbols_and_contents_are_found_in_both_widths(void **state)
{
	static struct image image;

	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		struct kms_kernel_elf elf;
		struct kms_kernel_symbol found;
		uint8_t bytes[16];

		make(&image, wide);
		save(&image, sizeof(image.bytes));
		assert_int_equal(kms_kernel_elf_open(image.path, &elf, NULL), 0);
		assert_int_equal(unlink(image.path), 0);
		assert_int_equal(elf.is_wide, wide);
		assert_int_equal(kms_kernel_elf_find(&elf, "kmem_init", &found, NULL), 0);
		assert_int_equal(found.address, image.base + 0x10);
		assert_int_equal(found.bytes, 9);
		assert_int_equal(kms_kernel_elf_find(&elf, "kmem_guard_depth", &found, NULL), 0);
		assert_int_equal(found.bytes, 4);
		assert_int_equal(kms_kernel_elf_find(&elf, "a_file.c", &found, NULL), -ENOENT);
		assert_int_equal(kms_kernel_elf_content(&elf, image.base + 0x18, bytes, 16, NULL),
				 0);
		assert_int_equal(bytes[7], 0x20);
		assert_int_equal(bytes[8], 0); /* behind what is in the file */
		assert_int_equal(kms_kernel_elf_content(&elf, image.base + 0x38, bytes, 16, NULL),
				 -EFAULT);
		assert_int_equal(kms_kernel_elf_content(&elf, image.base - 1, bytes, 1, NULL),
				 -EFAULT);
		assert_true(kms_kernel_elf_is_constant(&elf, image.base + 0x3f));
		assert_false(kms_kernel_elf_is_constant(&elf, image.base + 0x40));
		kms_kernel_elf_close(&elf);
	}
}

static void all_symbols_are_found_by_name_and_address(void **state)
{
	static struct image image;
	struct kms_kernel_elf elf;
	struct kms_symbols symbols;
	uint64_t offset;

	(void)state;
	make(&image, true);
	save(&image, sizeof(image.bytes));
	assert_int_equal(kms_kernel_elf_open(image.path, &elf, NULL), 0);
	assert_int_equal(unlink(image.path), 0);
	assert_int_equal(kms_kernel_elf_symbols(&elf, &symbols, NULL), 0);
	assert_int_equal(symbols.count, 2);
	assert_int_equal(kms_symbols_find(&symbols, "kmem_guard_depth"), image.base + 0x30);
	assert_string_equal(kms_symbols_name(&symbols, image.base + 0x14, &offset), "kmem_init");
	assert_int_equal(offset, 4);
	kms_symbols_deinit(&symbols);
	kms_kernel_elf_close(&elf);
}

static void names_as_a_view_gives_them(void **state)
{
	static const struct {
		const char *asked, *near;
	} unknown[] = {
		{"kmem_inti",             "kmem_init"       },
		{"kmem_guard",            "kmem_guard_depth"},
		{"kmem_guard_dpth",       "kmem_guard_depth"},
		{"km",                    ""                },
		{"something_else_at_all", ""                },
	};

	static struct image image;
	struct kms_kernel_elf elf;
	struct kms_symbols symbols;
	struct kms_view_symbol found;

	(void)state;
	make(&image, false);
	save(&image, sizeof(image.bytes));
	assert_int_equal(kms_kernel_elf_open(image.path, &elf, NULL), 0);
	assert_int_equal(unlink(image.path), 0);
	assert_int_equal(kms_kernel_elf_symbols(&elf, &symbols, NULL), 0);
	kms_kernel_elf_close(&elf);
	assert_int_equal(kms_kernel_names_find(&symbols, "kmem_init", &found, NULL), 0);
	assert_int_equal(found.address, image.base + 0x10);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		assert_int_equal(kms_kernel_names_find(&symbols, unknown[i].asked, &found, NULL),
				 -ENOENT);
		assert_string_equal(found.name, unknown[i].near);
	}
	assert_int_equal(kms_kernel_names_at(&symbols, image.base + 0x33, &found, NULL), 0);
	assert_string_equal(found.name, "kmem_guard_depth");
	assert_int_equal(found.offset, 3);
	assert_int_equal(kms_kernel_names_at(&symbols, image.base, &found, NULL), -ENOENT);
	assert_int_equal(kms_kernel_names_at(&symbols, image.base + 0x30 + KMS_KERNEL_NAMES_FAR,
					     &found, NULL),
			 -ENOENT);
	kms_symbols_deinit(&symbols);
}

static void what_is_no_kernel_is_refused(void **state)
{
	static struct image image;
	struct kms_kernel_elf elf;
	struct kms_kernel_symbol found;

	(void)state;
	assert_int_equal(kms_kernel_elf_open("/nonexistent", &elf, NULL), -ENOENT);
	make(&image, true);
	image.bytes[offsetof(Elf64_Ehdr, e_machine)] = EM_AARCH64;
	save(&image, sizeof(image.bytes));
	assert_int_equal(kms_kernel_elf_open(image.path, &elf, NULL), -ENOEXEC);
	assert_int_equal(unlink(image.path), 0);
	make(&image, true);
	put_section(&image, 1, SHT_PROGBITS, SYMBOLS_AT, 96, 2); /* stripped */
	save(&image, sizeof(image.bytes));
	assert_int_equal(kms_kernel_elf_open(image.path, &elf, NULL), 0);
	assert_int_equal(kms_kernel_elf_find(&elf, "kmem_init", &found, NULL), -ENOENT);
	kms_kernel_elf_close(&elf);
	assert_int_equal(unlink(image.path), 0);
}

/* What was there when it was opened is not there when it is read. */
static void a_file_that_is_cut_short_says_so(void **state)
{
	static struct image image;

	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		struct kms_kernel_elf elf;
		struct kms_kernel_symbol found;
		struct kms_symbols symbols;

		make(&image, wide);
		save(&image, sizeof(image.bytes));
		assert_int_equal(kms_kernel_elf_open(image.path, &elf, NULL), 0);
		assert_int_equal(truncate(image.path, SYMBOLS_AT), 0);
		assert_int_equal(kms_kernel_elf_find(&elf, "kmem_init", &found, NULL), -EIO);
		assert_int_equal(kms_kernel_elf_symbols(&elf, &symbols, NULL), -EIO);
		assert_int_equal(truncate(image.path, NAMES_AT), 0);
		assert_int_equal(kms_kernel_elf_find(&elf, "kmem_init", &found, NULL), -EIO);
		kms_kernel_elf_close(&elf);
		assert_int_equal(unlink(image.path), 0);
	}
}

/* Whatever comes of it, it comes, and reads nothing that is not there: the sanitizers look. */
static void use(struct image *image, size_t bytes)
{
	struct kms_kernel_elf elf;
	struct kms_kernel_symbol found;
	struct kms_symbols symbols;
	uint8_t content[64];
	int result;

	save(image, bytes);
	result = kms_kernel_elf_open(image->path, &elf, NULL);
	assert_int_equal(unlink(image->path), 0);
	if (result)
		return;
	(void)kms_kernel_elf_content(&elf, image->base, content, sizeof(content), NULL);
	result = kms_kernel_elf_find(&elf, "kmem_init", &found, NULL);
	assert_true(result <= 0);
	if (kms_kernel_elf_symbols(&elf, &symbols, NULL) == 0)
		kms_symbols_deinit(&symbols);
	kms_kernel_elf_close(&elf);
}

static void damaged_files_are_survived(void **state)
{
	static struct image image;
	unsigned seed = 7;

	(void)state;
	for (size_t n = 0; n < FILE_BYTES; n += 13) {
		make(&image, n & 1);
		use(&image, n);
	}
	for (int round = 0; round < 500; round++) {
		make(&image, round & 1);
		for (int i = 0; i < 3; i++) {
			seed = seed * 1103515245 + 12345;
			image.bytes[(seed >> 8) % FILE_BYTES] ^= (uint8_t)(1u << (seed >> 28) % 8);
			seed = seed * 1103515245 + 12345;
			image.bytes[SECTIONS_AT + (seed >> 8) % 192] = (uint8_t)(seed >> 24);
		}
		use(&image, FILE_BYTES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(symbols_and_contents_are_found_in_both_widths),
		cmocka_unit_test(all_symbols_are_found_by_name_and_address),
		cmocka_unit_test(names_as_a_view_gives_them),
		cmocka_unit_test(what_is_no_kernel_is_refused),
		cmocka_unit_test(a_file_that_is_cut_short_says_so),
		cmocka_unit_test(damaged_files_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
