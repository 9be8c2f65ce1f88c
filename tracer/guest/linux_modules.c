/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of addresses: the kernel's own symbols, and those of its modules from each module's ELF
 * symbol table, which the kernel keeps in memory (CONFIG_KALLSYMS). Read when first asked for, and
 * again when an address is in none of the modules known.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/linux_impl.h"

enum {
	MAX_MODULES = 1024,
	MAX_SYMBOLS = 1 << 17, /* of one */
	MODULE_NAME_BYTES = 56,
	SYMBOL_NAME_BYTES = 128,
	MAX_MODULE_BYTES = 256 << 20,
	MAX_SYMBOL_DISTANCE = 1 << 20,
};

struct module {
	char name[MODULE_NAME_BYTES];
	uint64_t base, bytes; /* of its text */
	uint64_t kallsyms;
	Elf64_Sym *symbol; /* read when first needed */
	uint32_t symbols;
	uint64_t strings;
	bool is_read;
};

struct kms_linux_modules {
	struct module *module;
	size_t n;
	char name[SYMBOL_NAME_BYTES];
	uint64_t missed; /* the address for which the list was last read in vain */
};

static void modules_clear(struct kms_linux_modules *modules)
{
	for (size_t i = 0; i < modules->n; i++)
		free(modules->module[i].symbol);
	modules->n = 0;
}

void kms_lx_modules_destroy(struct kms_linux_modules *modules)
{
	if (!modules)
		return;
	modules_clear(modules);
	free(modules->module);
	free(modules);
}

/* Where a module's text lies: core_layout until 6.3, an array of which it is the first since. */
static bool text_of(struct kms_linux *lx, uint64_t address, struct module *module)
{
	uint32_t memory = kms_lx_offset(lx, KMS_LX_MODULE_MEMORY_AT);
	uint32_t bytes = 0;

	if (kms_linux_has_member(&lx->layout, KMS_LX_MODULE_BASE_AT))
		return !kms_lx_read_member(lx, address, KMS_LX_MODULE_BASE_AT, &module->base,
					   NULL) &&
		       !kms_lx_read_member(lx, address, KMS_LX_MODULE_SIZE_AT, &module->bytes,
					   NULL);
	/* struct module_memory begins with base and size in all kernels that have it */
	if (!kms_linux_has_member(&lx->layout, KMS_LX_MODULE_MEMORY_AT) ||
	    kms_lx_read_word(lx, address + memory, &module->base, NULL) ||
	    kms_lx_read(lx, address + memory + sizeof(uint64_t), &bytes, sizeof(bytes), NULL))
		return false;
	module->bytes = bytes;
	return true;
}

static bool module_read(struct kms_linux *lx, uint64_t address, struct module *module)
{
	*module = (struct module){0};
	if (!text_of(lx, address, module) || module->bytes > MAX_MODULE_BYTES ||
	    kms_lx_read(lx, address + kms_lx_offset(lx, KMS_LX_MODULE_NAME_AT), module->name,
			sizeof(module->name) - 1, NULL) ||
	    kms_lx_read_member(lx, address, KMS_LX_MODULE_KALLSYMS_AT, &module->kallsyms, NULL))
		return false;
	for (char *c = module->name; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return true;
}

static int modules_read(struct kms_linux *lx, struct kms_linux_modules *modules)
{
	uint64_t head = kms_symbols_find(&lx->symbols, "modules"), next;
	int rc;

	modules_clear(modules);
	kms_guest_space_forget(&lx->space); /* modules come and go in the same addresses */
	if (!head || !kms_linux_layout_has(&lx->layout, KMS_LX_FOR_MODULES))
		return -ENOTSUP;
	rc = kms_lx_read_word(lx, head, &next, NULL);
	/* steps are counted, not what was found: a list of none that makes sense may have no end */
	for (int step = 0; !rc && next != head && step < MAX_MODULES; step++) {
		uint64_t address = next - kms_lx_offset(lx, KMS_LX_MODULE_LIST_AT);

		if (module_read(lx, address, &modules->module[modules->n]))
			modules->n++;
		rc = kms_lx_read_word(lx, next, &next, NULL);
	}
	return rc;
}

static struct module *module_at(struct kms_linux_modules *modules, uint64_t address)
{
	for (size_t i = 0; i < modules->n; i++)
		if (address - modules->module[i].base < modules->module[i].bytes)
			return &modules->module[i];
	return NULL;
}

static struct module *module_find(struct kms_linux *lx, uint64_t address)
{
	struct module *module;

	if (!lx->modules) {
		lx->modules = calloc(1, sizeof(*lx->modules));
		if (!lx->modules)
			return NULL;
		lx->modules->module = calloc(MAX_MODULES, sizeof(*lx->modules->module));
		if (!lx->modules->module) {
			free(lx->modules);
			lx->modules = NULL;
			return NULL;
		}
	}
	module = module_at(lx->modules, address);
	if (module || lx->modules->missed == address)
		return module;
	(void)modules_read(lx, lx->modules);
	module = module_at(lx->modules, address);
	lx->modules->missed = module ? 0 : address;
	return module;
}

/* Copies a module's symbol table, once. */
static void symbols_read(struct kms_linux *lx, struct module *module)
{
	uint64_t table = 0, count = 0;

	if (module->is_read)
		return;
	module->is_read = true;
	if (kms_lx_read_member(lx, module->kallsyms, KMS_LX_MODULE_SYMTAB_AT, &table, NULL) ||
	    kms_lx_read_member(lx, module->kallsyms, KMS_LX_MODULE_COUNT_AT, &count, NULL) ||
	    kms_lx_read_member(lx, module->kallsyms, KMS_LX_MODULE_STRTAB_AT, &module->strings,
			       NULL) ||
	    !count || count > MAX_SYMBOLS)
		return;
	module->symbol = calloc(count, sizeof(*module->symbol));
	if (!module->symbol)
		return;
	if (!kms_lx_read(lx, table, module->symbol, count * sizeof(*module->symbol), NULL))
		module->symbols = (uint32_t)count;
}

/* The nearest function at or below an address. */
static const Elf64_Sym *symbol_at(const struct module *module, uint64_t address)
{
	const Elf64_Sym *best = NULL;

	for (uint32_t i = 0; i < module->symbols; i++) {
		const Elf64_Sym *symbol = &module->symbol[i];

		if (symbol->st_name && symbol->st_shndx != SHN_UNDEF &&
		    symbol->st_value <= address && symbol->st_value >= module->base &&
		    (!best || symbol->st_value > best->st_value))
			best = symbol;
	}
	return best;
}

static int name_in_module(struct kms_linux *lx, struct module *module, uint64_t address,
			  const char **name, uint64_t *offset)
{
	char *to = lx->modules->name;
	const Elf64_Sym *symbol;
	size_t in_page, bytes = SYMBOL_NAME_BYTES - 1;
	uint64_t from;

	symbols_read(lx, module);
	symbol = symbol_at(module, address);
	if (!symbol)
		return -ENOENT;
	from = module->strings + symbol->st_name;
	in_page = KMS_LX_PAGE - (from & (KMS_LX_PAGE - 1));
	memset(to, 0, SYMBOL_NAME_BYTES);
	if (kms_lx_read(lx, from, to, bytes < in_page ? bytes : in_page, NULL))
		return -ENOENT;
	if (bytes > in_page && !memchr(to, 0, in_page))
		(void)kms_lx_read(lx, from + in_page, to + in_page, bytes - in_page, NULL);
	for (char *c = to; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	*name = to;
	*offset = address - symbol->st_value;
	return *to ? 0 : -ENOENT;
}

int kms_linux_name(struct kms_linux *lx, uint64_t address, const char **name, uint64_t *offset,
		   const char **module)
{
	uint64_t end = kms_symbols_find(&lx->symbols, "_end");
	struct module *in;

	*name = NULL;
	*module = NULL;
	*offset = 0;
	if (address >= lx->info.stext && (!end || address < end)) {
		*name = kms_symbols_name(&lx->symbols, address, offset);
		return *name && *offset < MAX_SYMBOL_DISTANCE ? 0 : -ENOENT;
	}
	in = module_find(lx, address);
	if (!in)
		return -ENOENT;
	*module = in->name;
	*offset = address - in->base;
	return name_in_module(lx, in, address, name, offset);
}
