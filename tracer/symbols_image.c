/* SPDX-License-Identifier: BSD-2-Clause */
/* A module open in the helper: DWARF where there is some, else the symbol table. */
#include "tracer/symbols_image.h"

static bool has_dwarf(const struct kms_symbols_elf *file)
{
	return kms_symbols_elf_has_section(file, ".debug_info") ||
	       kms_symbols_elf_has_section(file, ".zdebug_info");
}

/* Opens the file at the path, if it is the one that was mapped. */
static enum kms_symbol_reason open_mapped(struct kms_symbols_elf *file,
					  const struct kms_symbols_image_desc *desc)
{
	enum kms_symbol_reason reason = kms_symbols_elf_open(file, desc->path);
	if (reason != KMS_SYMBOL_OK)
		return reason;
	if (file->is_relocatable) {
		kms_symbols_elf_close(file);
		return KMS_SYMBOL_BAD_ELF;
	}
	if (file->file_bytes >= desc->mapped_bytes &&
	    (desc->n_build_id == 0 ||
	     kms_symbols_elf_has_build_id(file, desc->build_id, desc->n_build_id)))
		return KMS_SYMBOL_OK;
	kms_symbols_elf_close(file);
	return KMS_SYMBOL_BUILD_ID_MISMATCH;
}

static void open_dwarf(struct kms_symbols_image *image,
		       const struct kms_symbols_debug_search *search)
{
	const struct kms_symbols_elf *source = image->debug.elf ? &image->debug : &image->file;
	Dwarf *dwarf = dwarf_begin_elf(source->elf, DWARF_C_READ, NULL);
	if (!dwarf)
		return;
	if (kms_symbols_debugfile_alternate(search, dwarf, source, &image->alternate)) {
		image->alternate_dwarf = dwarf_begin_elf(image->alternate.elf, DWARF_C_READ, NULL);
		if (image->alternate_dwarf)
			dwarf_setalt(dwarf, image->alternate_dwarf);
	}
	kms_symbols_dwarf_init(&image->dwarf, dwarf);
}

enum kms_symbol_reason kms_symbols_image_open(struct kms_symbols_image *image,
					      const struct kms_symbols_image_desc *desc,
					      const struct kms_symbols_debug_search *search)
{
	*image = (struct kms_symbols_image){0};
	enum kms_symbol_reason reason = open_mapped(&image->file, desc);
	if (reason != KMS_SYMBOL_OK) {
		if (!kms_symbols_debugfile_by_build_id(search, desc->build_id, desc->n_build_id,
						       &image->debug))
			return reason;
	} else if (!has_dwarf(&image->file)) {
		/* Without one the symbol table has to do. */
		(void)kms_symbols_debugfile_find(search, desc->path, &image->file, &image->debug);
	}
	open_dwarf(image, search);
	return KMS_SYMBOL_OK;
}

void kms_symbols_image_close(struct kms_symbols_image *image)
{
	kms_symbols_table_deinit(&image->table);
	kms_symbols_dwarf_deinit(&image->dwarf);
	if (image->alternate_dwarf)
		dwarf_end(image->alternate_dwarf);
	kms_symbols_elf_close(&image->alternate);
	kms_symbols_elf_close(&image->debug);
	kms_symbols_elf_close(&image->file);
	*image = (struct kms_symbols_image){0};
}

static bool read_table(struct kms_symbols_image *image, const struct kms_symbols_elf *from,
		       uint32_t section_type)
{
	if (!from->elf)
		return false;
	kms_symbols_table_deinit(&image->table);
	return kms_symbols_table_init(&image->table, from->elf, section_type);
}

static bool find_symbol(struct kms_symbols_image *image, uint64_t address,
			struct kms_symbols_table_hit *hit)
{
	if (!image->has_table) {
		image->has_table = true;
		/* The fullest one counts; if there is none the last try leaves an empty one. */
		(void)(read_table(image, &image->debug, SHT_SYMTAB) ||
		       read_table(image, &image->file, SHT_SYMTAB) ||
		       read_table(image, &image->file, SHT_DYNSYM));
	}
	return kms_symbols_table_find(&image->table, address, hit);
}

void kms_symbols_image_find(struct kms_symbols_image *image, struct kms_symbols_lookup *lookup)
{
	struct kms_symbols_wire_answer *answer = &lookup->answer;
	struct kms_symbols_table_hit hit;
	kms_symbols_dwarf_find(&image->dwarf, lookup);
	bool is_named = answer->n_frames > 0 && answer->frames[answer->n_frames - 1].function.text;
	if (!is_named && find_symbol(image, lookup->address, &hit)) {
		if (answer->n_frames == 0)
			answer->frames[answer->n_frames++] = (struct kms_symbols_wire_frame){0};
		struct kms_symbols_wire_frame *frame = &answer->frames[answer->n_frames - 1];
		frame->function.text = hit.name;
		frame->function.n = hit.n_name;
		frame->function_offset = lookup->asked_address - hit.start;
		answer->reason = KMS_SYMBOL_OK;
	}
	kms_symbols_lookup_demangle(lookup);
}
