/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking up symbols and members by libelf and libdw: see symbols_types.h. Runs in a child with limits. */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/symbols_debugfile.h"
#include "tracer/symbols_elf.h"
#include "tracer/symbols_types.h"

#define DEFAULT_ROOT "/usr/lib/debug"

enum {
	MAX_DEPTH = 8,          /* of structures in structures */
	MAX_CHILDREN = 1 << 16, /* of one structure */
	MAX_TYPE_STEPS = 16,    /* typedef of const of ... */
	BYTE_BITS = 8,
};

/* Both files, and what is asked of them. */
struct asked {
	const struct kms_types_question *question;
	struct kms_types_answer *answer;
	struct kms_symbols_elf file, debug;
	Dwarf *dwarf;
	Dwarf_Die structure[KMS_TYPES_STRUCTS];
	size_t missing; /* structures not yet found */
};

/* ELF: segments, sections, symbols ------------------------------------------------------------- */

static void take_segments(struct asked *a)
{
	struct kms_types_answer *answer = a->answer;
	size_t n = 0;

	(void)elf_getphdrnum(a->file.elf, &n); /* 0 if it fails */
	for (size_t i = 0; i < n && answer->n_segments < KMS_TYPES_SEGMENTS; i++) {
		GElf_Phdr head;

		if (!gelf_getphdr(a->file.elf, (int)i, &head) || head.p_type != PT_LOAD)
			continue;
		answer->segment[answer->n_segments++] = (struct kms_types_segment){
			.address = head.p_vaddr,
			.physical = head.p_paddr,
			.offset = head.p_offset,
			.file_bytes = head.p_filesz,
			.memory_bytes = head.p_memsz,
		};
	}
}

static void take_section(struct asked *a, Elf_Scn *section, const char *name, const GElf_Shdr *head)
{
	struct kms_types_answer *answer = a->answer;
	bool is_here = head->sh_type != SHT_NOBITS && (head->sh_flags & SHF_ALLOC);
	Elf_Data *data;

	if (strcmp(name, ".note.netbsd.ident") == 0)
		answer->has_netbsd_note = true;
	if (is_here && strcmp(name, ".rodata") == 0)
		answer->constants =
			(struct kms_types_section){head->sh_addr, head->sh_offset, head->sh_size};
	if (strcmp(name, ".note.gnu.build-id") != 0 || !(head->sh_flags & SHF_ALLOC))
		return;
	data = elf_getdata(section, NULL);
	/* the id is the end of its note */
	if (data && answer->build_id_bytes && data->d_size >= answer->build_id_bytes &&
	    !memcmp((char *)data->d_buf + data->d_size - answer->build_id_bytes, answer->build_id,
		    answer->build_id_bytes))
		answer->build_id_address = head->sh_addr + data->d_size - answer->build_id_bytes;
}

static void take_sections(struct asked *a)
{
	size_t names = 0;

	if (a->file.n_build_id && a->file.n_build_id <= sizeof(a->answer->build_id)) {
		memcpy(a->answer->build_id, a->file.build_id, a->file.n_build_id);
		a->answer->build_id_bytes = (uint32_t)a->file.n_build_id;
	}
	if (elf_getshdrstrndx(a->file.elf, &names))
		return;
	for (Elf_Scn *section = elf_nextscn(a->file.elf, NULL); section;
	     section = elf_nextscn(a->file.elf, section)) {
		GElf_Shdr head;
		const char *name;

		if (!gelf_getshdr(section, &head))
			continue;
		name = elf_strptr(a->file.elf, names, head.sh_name);
		if (name)
			take_section(a, section, name, &head);
	}
}

static void take_symbol(struct asked *a, const char *name, const GElf_Sym *symbol)
{
	for (size_t i = 0; i < a->question->n_symbols; i++) {
		struct kms_types_symbol *out = &a->answer->symbol[i];

		/* of several with a name (static ones of other files) the global one counts, else the first */
		if (strcmp(a->question->symbol[i], name) != 0 ||
		    (out->address && GELF_ST_BIND(symbol->st_info) == STB_LOCAL))
			continue;
		out->address = symbol->st_value;
		out->bytes = symbol->st_size;
	}
}

static bool take_table(struct asked *a, Elf *elf, Elf_Scn *section, const GElf_Shdr *head)
{
	Elf_Data *data = elf_getdata(section, NULL);
	size_t n = data && head->sh_entsize ? data->d_size / head->sh_entsize : 0;

	for (size_t i = 1; i < n && i <= INT_MAX; i++) {
		GElf_Sym symbol;
		const char *name;

		if (!gelf_getsym(data, (int)i, &symbol) || symbol.st_shndx == SHN_UNDEF)
			continue;
		name = elf_strptr(elf, head->sh_link, symbol.st_name);
		if (name)
			take_symbol(a, name, &symbol);
	}
	return n > 1;
}

static bool take_symbols(struct asked *a, Elf *elf)
{
	bool any = false;

	for (Elf_Scn *section = elf_nextscn(elf, NULL); section;
	     section = elf_nextscn(elf, section)) {
		GElf_Shdr head;

		if (gelf_getshdr(section, &head) && head.sh_type == SHT_SYMTAB)
			any |= take_table(a, elf, section, &head);
	}
	return any;
}

/* DWARF ------------------------------------------------------------------------------------------ */

/* The type behind typedefs and qualifiers. */
static bool peel(Dwarf_Die *die, Dwarf_Die *type)
{
	Dwarf_Attribute attribute;

	for (int i = 0; i < MAX_TYPE_STEPS; i++) {
		if (!dwarf_formref_die(dwarf_attr_integrate(die, DW_AT_type, &attribute), type))
			return false;
		switch (dwarf_tag(type)) {
		case DW_TAG_typedef:
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
		case DW_TAG_atomic_type:
			die = type;
			break;
		default:
			return true;
		}
	}
	return false;
}

static bool is_aggregate(Dwarf_Die *die)
{
	int tag = dwarf_tag(die);

	return tag == DW_TAG_structure_type || tag == DW_TAG_union_type;
}

/* Where a member lies behind the begin of its structure. False: it is not known. */
static bool offset_of(Dwarf_Die *member, uint64_t *offset)
{
	Dwarf_Attribute attribute;
	Dwarf_Op *op;
	Dwarf_Word value;
	size_t n;

	*offset = 0;
	if (dwarf_hasattr(member, DW_AT_bit_size) || dwarf_hasattr(member, DW_AT_data_bit_offset))
		return false;
	if (!dwarf_attr(member, DW_AT_data_member_location, &attribute))
		return true; /* of a union */
	if (!dwarf_formudata(&attribute, &value)) {
		*offset = value;
		return true;
	}
	/* DWARF 2 */
	if (dwarf_getlocation(&attribute, &op, &n) || n != 1 || op->atom != DW_OP_plus_uconst)
		return false;
	*offset = op->number;
	return true;
}

static bool find_within(Dwarf_Die *structure, const char *name, bool everywhere, int depth,
			Dwarf_Die *found, uint64_t *offset);

/* In the structures of a structure: those without a name, or all. */
static bool find_deeper(Dwarf_Die *member, const char *name, bool everywhere, int depth,
			Dwarf_Die *found, uint64_t *offset)
{
	Dwarf_Die type;
	uint64_t at, inner;

	if (depth >= MAX_DEPTH || (dwarf_diename(member) && !everywhere) || !peel(member, &type) ||
	    !is_aggregate(&type) || !offset_of(member, &at) ||
	    !find_within(&type, name, everywhere, depth + 1, found, &inner))
		return false;
	*offset = at + inner;
	return true;
}

/* A member, at first among the structure's own. */
static bool find_within(Dwarf_Die *structure, const char *name, bool everywhere, int depth,
			Dwarf_Die *found, uint64_t *offset)
{
	Dwarf_Die child;
	int n = 0;

	if (dwarf_child(structure, &child))
		return false;
	do {
		const char *own = dwarf_tag(&child) == DW_TAG_member ? dwarf_diename(&child) : NULL;

		if (own && strcmp(own, name) == 0) {
			*found = child;
			return offset_of(&child, offset);
		}
	} while (++n < MAX_CHILDREN && !dwarf_siblingof(&child, &child));
	n = 0;
	if (dwarf_child(structure, &child))
		return false;
	do {
		if (dwarf_tag(&child) == DW_TAG_member &&
		    find_deeper(&child, name, everywhere, depth, found, offset))
			return true;
	} while (++n < MAX_CHILDREN && !dwarf_siblingof(&child, &child));
	return false;
}

static uint32_t elements_of(Dwarf_Die *type, uint64_t bytes)
{
	Dwarf_Die element;
	Dwarf_Word one;

	if (dwarf_tag(type) != DW_TAG_array_type || !peel(type, &element) ||
	    dwarf_aggregate_size(&element, &one) || !one)
		return 1;
	return bytes / one <= UINT32_MAX ? (uint32_t)(bytes / one) : 1;
}

static void take_member(struct asked *a, size_t index)
{
	const struct kms_types_member *member = &a->question->member[index];
	Dwarf_Die structure = a->structure[member->structure], found, type;
	uint32_t room = a->answer->struct_bytes[member->structure];
	bool everywhere = member->path[0] == '.';
	const char *at = member->path + everywhere;
	uint64_t offset = 0, part;
	Dwarf_Word bytes;
	char name[64];

	for (;;) {
		size_t n = strcspn(at, ".");

		if (!n || n >= sizeof(name))
			return;
		memcpy(name, at, n);
		name[n] = '\0';
		if (!find_within(&structure, name, everywhere, 0, &found, &part) ||
		    !peel(&found, &type))
			return;
		offset += part;
		at += n;
		if (!*at)
			break;
		at++;
		structure = type;
		if (!is_aggregate(&type))
			return;
	}
	if (dwarf_aggregate_size(&type, &bytes) || !bytes || offset > room || bytes > room - offset)
		return;
	a->answer->place[index] = (struct kms_types_place){
		.byte = (uint32_t)offset,
		.bytes = (uint32_t)bytes,
		.elements = elements_of(&type, bytes),
	};
}

static void take_struct(struct asked *a, Dwarf_Die *die)
{
	const char *name = dwarf_diename(die);

	for (size_t i = 0; name && i < a->question->n_structures; i++) {
		const struct kms_types_struct *wanted = &a->question->structure[i];
		Dwarf_Die found;
		Dwarf_Word bytes;
		uint64_t offset;

		if (a->answer->struct_bytes[i] || strcmp(name, wanted->name) != 0 ||
		    dwarf_hasattr(die, DW_AT_declaration) || dwarf_aggregate_size(die, &bytes) ||
		    !bytes || bytes > KMS_TYPES_STRUCT_BYTES ||
		    !find_within(die, wanted->member, false, 0, &found, &offset))
			continue;
		a->structure[i] = *die;
		a->answer->struct_bytes[i] = (uint32_t)bytes;
		a->missing--;
	}
}

static void take_unit(struct asked *a, Dwarf_Die *unit)
{
	Dwarf_Die child;

	if (dwarf_child(unit, &child))
		return;
	do {
		if (dwarf_tag(&child) == DW_TAG_structure_type)
			take_struct(a, &child);
	} while (a->missing && !dwarf_siblingof(&child, &child));
}

/* All structures, until none is missing: what few of the units have is found soon after the first. */
static void take_structs(struct asked *a)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Die unit;
	uint8_t kind;

	while (a->missing && !dwarf_get_units(a->dwarf, cu, &cu, NULL, &kind, &unit, NULL)) {
		if (kind == DW_UT_compile || kind == DW_UT_partial)
			take_unit(a, &unit);
	}
}

/* Both files ------------------------------------------------------------------------------------- */

static bool has_dwarf(const struct kms_symbols_elf *file)
{
	return kms_symbols_elf_has_section(file, ".debug_info") ||
	       kms_symbols_elf_has_section(file, ".zdebug_info");
}

/* "PATH.debug": where NetBSD's own build leaves it. With a build id only if it is the same. */
static bool open_beside(struct asked *a)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s.debug", a->question->path);

	if (n <= 0 || (size_t)n >= sizeof(path) ||
	    kms_symbols_elf_open(&a->debug, path) != KMS_SYMBOL_OK)
		return false;
	if (!a->file.n_build_id ||
	    kms_symbols_elf_has_build_id(&a->debug, a->file.build_id, a->file.n_build_id))
		return true;
	kms_symbols_elf_close(&a->debug);
	return false;
}

static void open_debug(struct asked *a)
{
	const char *root = a->question->debug_root;
	const struct kms_symbols_debug_search search = {.root = root ? root : DEFAULT_ROOT};
	char link[64];
	ssize_t n;

	if (!kms_symbols_debugfile_find(&search, a->question->path, &a->file, &a->debug) &&
	    !open_beside(a))
		return;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", a->debug.fd); /* fits */
	n = readlink(link, a->answer->debug_path, sizeof(a->answer->debug_path) - 1);
	a->answer->debug_path[n > 0 ? n : 0] = '\0';
}

static void take_dwarf(struct asked *a)
{
	Elf *elf = a->debug.elf ? a->debug.elf : a->file.elf;

	a->dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
	if (!a->dwarf)
		return;
	a->answer->has_dwarf = true;
	a->missing = a->question->n_structures;
	take_structs(a);
	for (size_t i = 0; i < a->question->n_members; i++)
		if (a->answer->struct_bytes[a->question->member[i].structure])
			take_member(a, i);
	(void)dwarf_end(a->dwarf);
}

/* Whether the file is of a machine that is known. */
static bool take_class(struct asked *a)
{
	GElf_Ehdr head;

	if (!gelf_getehdr(a->file.elf, &head) || a->file.is_relocatable)
		return false;
	a->answer->word_bytes = head.e_ident[EI_CLASS] == ELFCLASS64 ? 8 : 4;
	return head.e_machine == (a->answer->word_bytes == 8 ? EM_X86_64 : EM_386);
}

int kms_types_answer_here(const struct kms_types_question *question,
			  struct kms_types_answer *answer)
{
	struct asked a = {.question = question, .answer = answer};
	enum kms_symbol_reason reason;
	int rc = 0;

	memset(answer, 0, sizeof(*answer));
	reason = kms_symbols_elf_open(&a.file, question->path);
	if (reason != KMS_SYMBOL_OK)
		return reason == KMS_SYMBOL_NO_FILE ? -ENOENT : -ENOEXEC;
	if (take_class(&a)) {
		take_segments(&a);
		take_sections(&a);
		if (!has_dwarf(&a.file))
			open_debug(&a);
		answer->has_symbols = take_symbols(&a, a.file.elf);
		if (!answer->has_symbols && a.debug.elf)
			answer->has_symbols = take_symbols(&a, a.debug.elf);
		take_dwarf(&a);
	} else {
		rc = -ENOEXEC;
	}
	kms_symbols_elf_close(&a.debug);
	kms_symbols_elf_close(&a.file);
	return rc;
}
