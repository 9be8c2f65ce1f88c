/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/symbols.h"

#include <elf.h>

#include "allocator/guest/console.h"

extern const uint8_t kms_guest_symbols[];
extern const uint8_t kms_guest_symbols_end[];

const void *kms_symbols_blob(size_t *bytes)
{
	*bytes = (uintptr_t)kms_guest_symbols_end - (uintptr_t)kms_guest_symbols;
	return kms_guest_symbols;
}

static const Elf64_Shdr *symbol_section(const Elf64_Ehdr *file)
{
	const Elf64_Shdr *section =
		(const Elf64_Shdr *)(const void *)((const uint8_t *)file + file->e_shoff);

	for (unsigned i = 0; i < file->e_shnum; i++) {
		if (section[i].sh_type == SHT_SYMTAB)
			return &section[i];
	}
	return NULL;
}

const char *kms_symbols_find(uint64_t pc, uint64_t *offset)
{
	size_t bytes;
	const uint8_t *blob = kms_symbols_blob(&bytes);
	const Elf64_Ehdr *file = (const Elf64_Ehdr *)(const void *)blob;
	const Elf64_Shdr *table = bytes > sizeof(*file) ? symbol_section(file) : NULL;
	const Elf64_Shdr *names;
	const Elf64_Sym *symbol;

	if (!table)
		return NULL;
	names = (const Elf64_Shdr *)(const void *)(blob + file->e_shoff) + table->sh_link;
	symbol = (const Elf64_Sym *)(const void *)(blob + table->sh_offset);
	for (uint64_t i = 0; i < table->sh_size / sizeof(*symbol); i++) {
		if (ELF64_ST_TYPE(symbol[i].st_info) != STT_FUNC ||
		    pc - symbol[i].st_value >= symbol[i].st_size)
			continue;
		*offset = pc - symbol[i].st_value;
		return (const char *)blob + names->sh_offset + symbol[i].st_name;
	}
	return NULL;
}

void kms_symbols_print_frame(uint64_t pc)
{
	uint64_t offset = 0;
	const char *name = kms_symbols_find(pc - 1, &offset);

	if (name)
		kms_console_printf("    0x%llx %s+0x%llx\n", (unsigned long long)pc, name,
				   (unsigned long long)offset + 1);
	else
		kms_console_printf("    0x%llx\n", (unsigned long long)pc);
}
