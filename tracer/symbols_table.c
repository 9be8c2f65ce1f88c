/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions by the symbol table of an ELF file. */
#include "tracer/symbols_table.h"

#include <gelf.h>
#include <string.h>

#include "tracer/symbols.h"

/*
 * The ref of a range: rank above, index of the name below, so that of two symbols for the same code the better one is
 * found. Global names come before weak ones, those before local ones.
 */
enum {
	RANK_SHIFT = 32,
	RANK_LOCAL = 1,
	RANK_WEAK = 2,
	RANK_GLOBAL = 3,
};

static uint64_t rank_of(const GElf_Sym *sym)
{
	switch (GELF_ST_BIND(sym->st_info)) {
	case STB_GLOBAL:
	case STB_GNU_UNIQUE:
		return RANK_GLOBAL;
	case STB_WEAK:
		return RANK_WEAK;
	default:
		return RANK_LOCAL;
	}
}

/* Whether a symbol names code; *section_end gets where its section ends. */
static bool is_code(Elf *elf, const GElf_Sym *sym, uint64_t *section_end)
{
	GElf_Shdr header;
	unsigned int type = GELF_ST_TYPE(sym->st_info);
	if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
		return false;
	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx >= SHN_LORESERVE)
		return false;
	Elf_Scn *scn = elf_getscn(elf, sym->st_shndx);
	if (!scn || !gelf_getshdr(scn, &header) || !(header.sh_flags & SHF_EXECINSTR))
		return false;
	*section_end = header.sh_addr + header.sh_size;
	return sym->st_value >= header.sh_addr && sym->st_value < *section_end;
}

static bool add_symbol(struct kms_symbols_table *table, const GElf_Sym *sym)
{
	uint64_t section_end;
	if (!is_code(table->elf, sym, &section_end))
		return true;
	uint64_t ref = rank_of(sym) << RANK_SHIFT | sym->st_name;
	if (sym->st_size == 0)
		return kms_symbols_ranges_add(&table->labels, sym->st_value, section_end, ref);
	uint64_t left = section_end - sym->st_value;
	uint64_t size = sym->st_size < left ? sym->st_size : left;
	return kms_symbols_ranges_add(&table->sized, sym->st_value, sym->st_value + size, ref);
}

static Elf_Scn *find_section(Elf *elf, uint32_t type, GElf_Shdr *header)
{
	Elf_Scn *scn = NULL;
	while ((scn = elf_nextscn(elf, scn))) {
		if (gelf_getshdr(scn, header) && header->sh_type == type)
			return scn;
	}
	return NULL;
}

bool kms_symbols_table_init(struct kms_symbols_table *table, Elf *elf, uint32_t section_type)
{
	*table = (struct kms_symbols_table){.elf = elf};
	GElf_Shdr header;
	Elf_Scn *scn = find_section(elf, section_type, &header);
	Elf_Data *data = scn ? elf_getdata(scn, NULL) : NULL;
	size_t n_bytes = gelf_fsize(elf, ELF_T_SYM, 1, EV_CURRENT);
	if (!data || n_bytes == 0)
		return false;
	table->names_idx = header.sh_link;
	size_t n = data->d_size / n_bytes;
	for (size_t i = 0; i < n && i <= INT32_MAX; i++) {
		GElf_Sym sym;
		if (!gelf_getsym(data, (int)i, &sym) || !add_symbol(table, &sym))
			break;
	}
	kms_symbols_ranges_sort(&table->sized);
	kms_symbols_ranges_sort(&table->labels);
	return table->sized.n + table->labels.n > 0;
}

void kms_symbols_table_deinit(struct kms_symbols_table *table)
{
	kms_symbols_ranges_deinit(&table->sized);
	kms_symbols_ranges_deinit(&table->labels);
	table->elf = NULL;
}

/* A function that covers the address, else the label before it if no other function lies between. */
static const struct kms_symbols_range *find_range(const struct kms_symbols_table *table,
						  uint64_t address)
{
	const struct kms_symbols_range *range = kms_symbols_ranges_find(&table->sized, address);
	if (range)
		return range;
	range = kms_symbols_ranges_find(&table->labels, address);
	if (range && kms_symbols_ranges_last_start(&table->sized, address) > range->start)
		return NULL;
	return range;
}

bool kms_symbols_table_find(const struct kms_symbols_table *table, uint64_t address,
			    struct kms_symbols_table_hit *hit)
{
	const struct kms_symbols_range *range = find_range(table, address);
	if (!range)
		return false;
	const char *name = elf_strptr(table->elf, table->names_idx, (uint32_t)range->ref);
	if (!name || !*name)
		return false;
	size_t n = strnlen(name, KMS_SYMBOLS_NAME_BYTES);
	const char *version = memchr(name, '@', n);
	if (version && version > name)
		n = (size_t)(version - name);
	*hit = (struct kms_symbols_table_hit){.name = name, .n_name = n, .start = range->start};
	return true;
}
