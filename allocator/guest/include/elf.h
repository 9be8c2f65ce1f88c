/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of <elf.h> that symbols.c reads (System V ABI, chapter 4). */
#ifndef KMS_GUEST_ELF_H
#define KMS_GUEST_ELF_H

#include <stdint.h>

typedef struct {
	uint8_t e_ident[16];
	uint16_t e_type, e_machine;
	uint32_t e_version;
	uint64_t e_entry, e_phoff, e_shoff;
	uint32_t e_flags;
	uint16_t e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx;
} Elf64_Ehdr;

typedef struct {
	uint32_t sh_name, sh_type;
	uint64_t sh_flags, sh_addr, sh_offset, sh_size;
	uint32_t sh_link, sh_info;
	uint64_t sh_addralign, sh_entsize;
} Elf64_Shdr;

typedef struct {
	uint32_t st_name;
	uint8_t st_info, st_other;
	uint16_t st_shndx;
	uint64_t st_value, st_size;
} Elf64_Sym;

enum {
	SHT_SYMTAB = 2,
	STT_FUNC = 2,
};

#define ELF64_ST_TYPE(info) ((info)&15)

#endif
