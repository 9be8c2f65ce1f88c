/* SPDX-License-Identifier: BSD-2-Clause */
/* A kernel's ELF file: see kernel_elf.h. Headers of 32 bits are widened as they are read. */
#include "tracer/guest/kernel_elf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/guest/kallsyms.h"

enum {
	SECTIONS = 4096,
	SYMBOLS_AT_ONCE = 1024,
};

/* Places of the headers. */
struct heads {
	uint64_t segments_at, sections_at;
	unsigned segments, sections;
};

/* The names of a table, in memory. */
struct names {
	char *text; /* ends with a NUL */
	size_t bytes;
};

static bool read_at(const struct kms_kernel_elf *elf, uint64_t offset, void *to, size_t n)
{
	return offset <= INT64_MAX && pread(elf->fd, to, n, (off_t)offset) == (ssize_t)n;
}

static bool read_segment(const struct kms_kernel_elf *elf, const struct heads *heads, unsigned i,
			 Elf64_Phdr *out)
{
	Elf32_Phdr narrow;

	if (elf->is_wide)
		return read_at(elf, heads->segments_at + i * sizeof(*out), out, sizeof(*out));
	if (!read_at(elf, heads->segments_at + i * sizeof(narrow), &narrow, sizeof(narrow)))
		return false;
	*out = (Elf64_Phdr){.p_type = narrow.p_type,
			    .p_flags = narrow.p_flags,
			    .p_offset = narrow.p_offset,
			    .p_vaddr = narrow.p_vaddr,
			    .p_paddr = narrow.p_paddr,
			    .p_filesz = narrow.p_filesz,
			    .p_memsz = narrow.p_memsz};
	return true;
}

static bool read_section(const struct kms_kernel_elf *elf, const struct heads *heads, unsigned i,
			 Elf64_Shdr *out)
{
	Elf32_Shdr narrow;

	if (elf->is_wide)
		return read_at(elf, heads->sections_at + i * sizeof(*out), out, sizeof(*out));
	if (!read_at(elf, heads->sections_at + i * sizeof(narrow), &narrow, sizeof(narrow)))
		return false;
	*out = (Elf64_Shdr){.sh_type = narrow.sh_type,
			    .sh_offset = narrow.sh_offset,
			    .sh_size = narrow.sh_size,
			    .sh_link = narrow.sh_link};
	return true;
}

static void find_segments(struct kms_kernel_elf *elf, const struct heads *heads)
{
	Elf64_Phdr segment;

	for (unsigned i = 0; i < heads->segments && elf->segments < KMS_KERNEL_ELF_SEGMENTS; i++) {
		if (read_segment(elf, heads, i, &segment) && segment.p_type == PT_LOAD)
			elf->segment[elf->segments++] = segment;
	}
}

static void find_table(struct kms_kernel_elf *elf, const struct heads *heads)
{
	Elf64_Shdr section, names;

	for (unsigned i = 0; i < heads->sections && i < SECTIONS; i++) {
		if (!read_section(elf, heads, i, &section) || section.sh_type != SHT_SYMTAB ||
		    section.sh_link >= heads->sections ||
		    !read_section(elf, heads, section.sh_link, &names) ||
		    names.sh_type != SHT_STRTAB)
			continue;
		elf->table = (struct kms_kernel_elf_table){.at = section.sh_offset,
							   .bytes = section.sh_size,
							   .names_at = names.sh_offset,
							   .names_bytes = names.sh_size};
		return;
	}
}

static int read_heads(struct kms_kernel_elf *elf, const char *path, struct heads *heads,
		      struct kms_err *err)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf64_Ehdr wide;
		Elf32_Ehdr narrow;
	} head;

	memset(&head, 0, sizeof(head));
	if (!read_at(elf, 0, &head, sizeof(head.narrow)) ||
	    memcmp(head.ident, ELFMAG, SELFMAG) != 0)
		return kms_err_set(err, -ENOEXEC, "%.200s is no ELF file", path);
	elf->is_wide = head.ident[EI_CLASS] == ELFCLASS64;
	if (elf->is_wide && !read_at(elf, 0, &head.wide, sizeof(head.wide)))
		return kms_err_set(err, -ENOEXEC, "%.200s is no ELF file", path);
	if (elf->is_wide && head.wide.e_machine == EM_X86_64)
		*heads = (struct heads){head.wide.e_phoff, head.wide.e_shoff, head.wide.e_phnum,
					head.wide.e_shnum};
	else if (head.ident[EI_CLASS] == ELFCLASS32 && head.narrow.e_machine == EM_386)
		*heads = (struct heads){head.narrow.e_phoff, head.narrow.e_shoff,
					head.narrow.e_phnum, head.narrow.e_shnum};
	else
		return kms_err_set(err, -ENOEXEC, "%.200s is for another kind of processor", path);
	return 0;
}

int kms_kernel_elf_open(const char *path, struct kms_kernel_elf *elf, struct kms_err *err)
{
	struct heads heads = {0};
	int result;

	memset(elf, 0, sizeof(*elf));
	elf->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (elf->fd < 0)
		return kms_err_sys(err, -errno, "open", path);
	result = read_heads(elf, path, &heads, err);
	if (result) {
		kms_kernel_elf_close(elf);
		return result;
	}
	find_segments(elf, &heads);
	find_table(elf, &heads);
	return 0;
}

void kms_kernel_elf_close(struct kms_kernel_elf *elf)
{
	if (elf->fd >= 0)
		(void)close(elf->fd); /* only read from */
	elf->fd = -1;
}

static int is_cut(struct kms_err *err)
{
	return kms_err_set(err, -EIO, "the kernel's file has been cut short");
}

int kms_kernel_elf_content(const struct kms_kernel_elf *elf, uint64_t address, void *to, size_t n,
			   struct kms_err *err)
{
	for (unsigned i = 0; i < elf->segments; i++) {
		const Elf64_Phdr *segment = &elf->segment[i];
		uint64_t from = address - segment->p_vaddr;
		size_t in_file = 0;

		if (address < segment->p_vaddr || from > segment->p_memsz ||
		    n > segment->p_memsz - from)
			continue;
		if (from < segment->p_filesz)
			in_file = segment->p_filesz - from < n ? (size_t)(segment->p_filesz - from)
							       : n;
		memset((uint8_t *)to + in_file, 0, n - in_file);
		if (in_file && !read_at(elf, segment->p_offset + from, to, in_file))
			return is_cut(err);
		return 0;
	}
	return kms_err_set(err, -EFAULT, "the kernel's file has nothing at 0x%llx",
			   (unsigned long long)address);
}

/* Numbers that everybody sees: an analyzer does not know what kms_err_set() returns. */
static int no_symbols(struct kms_err *err)
{
	(void)kms_err_set(err, -ENOENT, "the kernel's file has no symbols");
	return -ENOENT;
}

static int no_memory(struct kms_err *err)
{
	(void)kms_err_set(err, -ENOMEM, "no memory for symbols");
	return -ENOMEM;
}

bool kms_kernel_elf_is_constant(const struct kms_kernel_elf *elf, uint64_t address)
{
	for (unsigned i = 0; i < elf->segments; i++) {
		const Elf64_Phdr *segment = &elf->segment[i];

		if (address >= segment->p_vaddr && address - segment->p_vaddr < segment->p_memsz)
			return !(segment->p_flags & PF_W);
	}
	return false;
}

/* Owner: the caller frees names->text, also after an error. */
static int read_names(const struct kms_kernel_elf *elf, struct names *names, struct kms_err *err)
{
	const struct kms_kernel_elf_table *table = &elf->table;

	if (!table->bytes)
		return no_symbols(err);
	if (table->names_bytes > KMS_KERNEL_ELF_NAMES_BYTES ||
	    table->bytes / sizeof(Elf32_Sym) > KMS_KERNEL_ELF_SYMBOLS) {
		(void)kms_err_set(err, -EFBIG, "the kernel's file has too many symbols");
		return -EFBIG;
	}
	names->bytes = (size_t)table->names_bytes + 1;
	names->text = malloc(names->bytes);
	if (!names->text)
		return kms_err_set(err, -ENOMEM, "no memory for symbols");
	if (!read_at(elf, table->names_at, names->text, names->bytes - 1))
		return is_cut(err);
	names->text[names->bytes - 1] = '\0';
	return 0;
}

/* Up to SYMBOLS_AT_ONCE of them from the i-th on. *some: how many; 0: no more. */
static int read_some(const struct kms_kernel_elf *elf, uint64_t i, Elf64_Sym *to, size_t *some,
		     struct kms_err *err)
{
	size_t size = elf->is_wide ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	uint64_t all = elf->table.bytes / size;
	size_t n = i < all ? (size_t)(all - i) : 0;
	Elf32_Sym *narrow = (Elf32_Sym *)(void *)to;

	n = n < SYMBOLS_AT_ONCE ? n : SYMBOLS_AT_ONCE;
	if (n && !read_at(elf, elf->table.at + i * size, to, n * size))
		return is_cut(err);
	for (size_t j = elf->is_wide ? 0 : n; j > 0; j--) { /* from behind: they grow */
		Elf32_Sym symbol = narrow[j - 1];

		to[j - 1] = (Elf64_Sym){.st_name = symbol.st_name,
					.st_info = symbol.st_info,
					.st_shndx = symbol.st_shndx,
					.st_value = symbol.st_value,
					.st_size = symbol.st_size};
	}
	*some = n;
	return 0;
}

/* Has it an address and a name? Section, file and absolute symbols are none of ours. */
static bool is_one(const Elf64_Sym *symbol, const struct names *names)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info);

	return type <= STT_FUNC && symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_ABS &&
	       symbol->st_value && symbol->st_name < names->bytes && names->text[symbol->st_name];
}

/* Calls fn for each until it returns true. */
static int each(const struct kms_kernel_elf *elf,
		bool (*fn)(void *arg, const struct kms_kernel_symbol *symbol), void *arg,
		struct kms_err *err)
{
	Elf64_Sym *some = calloc(SYMBOLS_AT_ONCE, sizeof(*some));
	struct names names = {0};
	uint64_t i = 0;
	size_t n = 0;
	bool is_done = false;
	int result;

	if (!some)
		return kms_err_set(err, -ENOMEM, "no memory for symbols");
	result = read_names(elf, &names, err);
	if (!result)
		result = read_some(elf, i, some, &n, err);
	while (!result && !is_done && n) {
		for (size_t j = 0; j < n && !is_done; j++) {
			const struct kms_kernel_symbol symbol = {
				.name = names.text +
					(some[j].st_name < names.bytes ? some[j].st_name : 0),
				.address = some[j].st_value,
				.bytes = some[j].st_size};

			is_done = is_one(&some[j], &names) && fn(arg, &symbol);
		}
		i += n;
		result = is_done ? 0 : read_some(elf, i, some, &n, err);
	}
	free(names.text);
	free(some);
	return result;
}

struct wanted {
	const char *name;
	struct kms_kernel_symbol *out;
	bool found;
};

static bool compare(void *arg, const struct kms_kernel_symbol *symbol)
{
	struct wanted *wanted = arg;

	wanted->found = strcmp(symbol->name, wanted->name) == 0;
	if (wanted->found)
		*wanted->out =
			(struct kms_kernel_symbol){wanted->name, symbol->address, symbol->bytes};
	return wanted->found;
}

int kms_kernel_elf_find(const struct kms_kernel_elf *elf, const char *name,
			struct kms_kernel_symbol *out, struct kms_err *err)
{
	struct wanted wanted = {.name = name, .out = out};
	int result = each(elf, compare, &wanted, err);

	if (!result && !wanted.found)
		return kms_err_set(err, -ENOENT, "the kernel's file has no symbol %.64s", name);
	return result;
}

/* A symbol while they are sorted. */
struct entry {
	uint64_t address;
	uint32_t name; /* offset in the texts */
	uint32_t order;
};

struct gathering {
	struct entry *entry;
	size_t n, room;
	char *text;
	size_t used, text_room;
	bool is_full; /* no memory, or names without end */
};

/* The array with room for so many; NULL: no memory, and it is as it was. */
static void *grow(void *array, size_t *room, size_t needed, size_t size)
{
	size_t wanted = *room ? *room : 1024;
	void *bigger;

	while (wanted < needed)
		wanted *= 2;
	if (wanted == *room)
		return array;
	bigger = realloc(array, wanted * size);
	if (bigger)
		*room = wanted;
	return bigger;
}

static bool gather(void *arg, const struct kms_kernel_symbol *symbol)
{
	struct gathering *all = arg;
	size_t length = strnlen(symbol->name, KMS_SYMBOL_NAME_BYTES - 1);

	struct entry *entry = grow(all->entry, &all->room, all->n + 1, sizeof(*entry));
	char *text = grow(all->text, &all->text_room, all->used + length + 1, 1);

	all->entry = entry ? entry : all->entry;
	all->text = text ? text : all->text;
	all->is_full = !entry || !text || all->used > KMS_KERNEL_ELF_NAMES_BYTES;
	if (all->is_full)
		return true;
	all->entry[all->n] = (struct entry){symbol->address, (uint32_t)all->used, (uint32_t)all->n};
	all->n++;
	memcpy(all->text + all->used, symbol->name, length);
	all->text[all->used + length] = '\0';
	all->used += length + 1;
	return false;
}

static int by_address(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* The texts become the table's. */
static int take(struct gathering *all, struct kms_symbols *out, struct kms_err *err)
{
	out->address = calloc(all->n + 1, sizeof(*out->address));
	out->name = calloc(all->n + 1, sizeof(*out->name));
	if (!out->address || !out->name)
		return no_memory(err);
	qsort(all->entry, all->n, sizeof(*all->entry), by_address);
	for (size_t i = 0; i < all->n; i++) {
		out->address[i] = all->entry[i].address;
		out->name[i] = all->entry[i].name;
	}
	out->count = (uint32_t)all->n;
	out->names = all->text;
	out->names_bytes = (uint32_t)all->used;
	all->text = NULL;
	return kms_symbols_index(out, err);
}

int kms_kernel_elf_symbols(const struct kms_kernel_elf *elf, struct kms_symbols *out,
			   struct kms_err *err)
{
	struct gathering all = {0};
	int result = each(elf, gather, &all, err);

	*out = (struct kms_symbols){0};
	if (!result && all.is_full)
		result = no_memory(err);
	if (!result && !all.n)
		result = no_symbols(err);
	if (!result)
		result = take(&all, out, err);
	free(all.entry);
	free(all.text);
	if (result)
		kms_symbols_deinit(out);
	return result;
}
