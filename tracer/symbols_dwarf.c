/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions, inlined ones too, and lines by DWARF.
 *
 * Units and the functions in them are indexed by address here, because a walk over the tree for every address is too slow
 * for units of some size, and the index in the file (.debug_aranges) is left out by some compilers. The walk within a
 * function is short. All walks are bounded: a damaged file may describe trees without end.
 */
#include "tracer/symbols_dwarf.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

enum {
	DEPTH_MAX = 64,       /* of a tree */
	DIES_MAX = 1 << 24,   /* looked at in one walk */
	LINES_BACK_MAX = 256, /* rows without a line number that are skipped */
	UNITS_MAX = 1 << 20,
};

/* Units ----------------------------------------------------------------------------------------------------------- */

static bool add_ranges(struct kms_symbols_ranges *set, Dwarf_Die *die, uint64_t ref)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;
	for (size_t n = 0; n < DIES_MAX; n++) {
		at = dwarf_ranges(die, at, &base, &start, &end);
		if (at <= 0)
			break;
		if (!kms_symbols_ranges_add(set, start, end, ref))
			return false;
	}
	return true;
}

static bool add_unit(struct kms_symbols_dwarf *dwarf, Dwarf_CU *cu, const Dwarf_Die *die)
{
	if (dwarf->n_units == dwarf->units_size) {
		size_t size = dwarf->units_size ? dwarf->units_size * 2 : 64;
		void *units = size > UNITS_MAX
				      ? NULL
				      : realloc(dwarf->units, size * sizeof(*dwarf->units));
		if (!units)
			return false;
		dwarf->units = units;
		dwarf->units_size = size;
	}
	struct kms_symbols_unit *unit = &dwarf->units[dwarf->n_units];
	*unit = (struct kms_symbols_unit){.cu = cu, .die = *die, .tree = *die};
	return add_ranges(&dwarf->ranges, &unit->die, dwarf->n_units++);
}

void kms_symbols_dwarf_init(struct kms_symbols_dwarf *dwarf, Dwarf *handle)
{
	*dwarf = (struct kms_symbols_dwarf){.dwarf = handle};
	Dwarf_CU *cu = NULL;
	Dwarf_Half version;
	uint8_t type;
	Dwarf_Die die;
	while (dwarf_get_units(handle, cu, &cu, &version, &type, &die, NULL) == 0) {
		if ((type == DW_UT_compile || type == DW_UT_skeleton) && !add_unit(dwarf, cu, &die))
			break;
	}
	kms_symbols_ranges_sort(&dwarf->ranges);
}

void kms_symbols_dwarf_deinit(struct kms_symbols_dwarf *dwarf)
{
	for (size_t i = 0; i < dwarf->n_units; i++)
		kms_symbols_ranges_deinit(&dwarf->units[i].functions);
	free(dwarf->units);
	kms_symbols_ranges_deinit(&dwarf->ranges);
	if (dwarf->dwarf)
		dwarf_end(dwarf->dwarf);
	*dwarf = (struct kms_symbols_dwarf){0};
}

/* Functions of a unit ----------------------------------------------------------------------------------------------- */

/* A walk over a tree, depth first. */
struct walk {
	Dwarf_Die path[DEPTH_MAX]; /* path[depth] is where it stands */
	int depth;
	int n_dies;
};

/* Begins with the first child. False if there is none. */
static bool walk_begin(struct walk *walk, Dwarf_Die *top)
{
	walk->depth = 0;
	return dwarf_child(top, &walk->path[0]) == 0;
}

/* Goes on: to the first child if that is wanted and there is one, else to what follows. False at the end. */
static bool walk_next(struct walk *walk, bool into)
{
	Dwarf_Die *at = &walk->path[walk->depth];
	if (++walk->n_dies > DIES_MAX)
		return false;
	if (into && walk->depth + 1 < DEPTH_MAX && dwarf_child(at, at + 1) == 0) {
		walk->depth++;
		return true;
	}
	while (dwarf_siblingof(at, at) != 0) {
		if (walk->depth-- == 0)
			return false;
		at--;
	}
	return true;
}

/* Whether functions may stand within a DIE. Within functions they are rare, and looked for only when one is missing. */
static bool may_hold_functions(int tag, bool nested)
{
	switch (tag) {
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
	case DW_TAG_union_type:
		return true;
	case DW_TAG_subprogram:
	case DW_TAG_lexical_block:
		return nested;
	default:
		return false;
	}
}

static void read_functions(struct kms_symbols_unit *unit, bool nested)
{
	kms_symbols_ranges_deinit(&unit->functions);
	unit->has_functions = true;
	unit->has_nested = nested;
	struct walk walk = {0};
	bool more = walk_begin(&walk, &unit->tree);
	while (more) {
		Dwarf_Die *die = &walk.path[walk.depth];
		int tag = dwarf_tag(die);
		if (tag == DW_TAG_subprogram &&
		    !add_ranges(&unit->functions, die, dwarf_dieoffset(die)))
			break;
		more = walk_next(&walk, may_hold_functions(tag, nested));
	}
	kms_symbols_ranges_sort(&unit->functions);
}

/* The half of a split unit that has the functions, if its file is there. */
static void find_tree(struct kms_symbols_unit *unit)
{
	uint8_t type;
	Dwarf_Die tree;
	memset(&tree, 0, sizeof(tree));
	if (dwarf_cu_info(unit->cu, NULL, &type, NULL, &tree, NULL, NULL, NULL) == 0 &&
	    type == DW_UT_skeleton && tree.addr)
		unit->tree = tree;
}

static const struct kms_symbols_range *find_function(struct kms_symbols_unit *unit,
						     uint64_t address)
{
	if (!unit->has_functions) {
		find_tree(unit);
		read_functions(unit, false);
	}
	const struct kms_symbols_range *range = kms_symbols_ranges_find(&unit->functions, address);
	if (range || unit->has_nested)
		return range;
	read_functions(unit, true);
	return kms_symbols_ranges_find(&unit->functions, address);
}

/* Inlined functions ------------------------------------------------------------------------------------------------- */

enum scope {
	SCOPE_NONE,  /* nothing in it matters */
	SCOPE_BLOCK, /* an inlined function may stand within */
	SCOPE_INLINED,
};

/* What a DIE within a function is to an address. */
static enum scope scope_of(Dwarf_Die *die, uint64_t address)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_inlined_subroutine:
		return dwarf_haspc(die, address) > 0 ? SCOPE_INLINED : SCOPE_NONE;
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_with_stmt:
		/* A block whose own code was optimised away has no addresses, but what was inlined into it has. */
		if (!dwarf_hasattr(die, DW_AT_low_pc) && !dwarf_hasattr(die, DW_AT_ranges))
			return SCOPE_BLOCK;
		return dwarf_haspc(die, address) > 0 ? SCOPE_BLOCK : SCOPE_NONE;
	default:
		return SCOPE_NONE;
	}
}

/* Fills chain with the function and what is inlined into it at an address, outermost first. Returns how many. */
static uint32_t find_chain(Dwarf_Die *function, uint64_t address, Dwarf_Die *chain)
{
	uint32_t n = 1;
	chain[0] = *function;
	struct walk walk = {0};
	bool more = walk_begin(&walk, &chain[0]);
	while (more) {
		Dwarf_Die *die = &walk.path[walk.depth];
		enum scope scope = scope_of(die, address);
		if (scope != SCOPE_INLINED) {
			more = walk_next(&walk, scope == SCOPE_BLOCK);
			continue;
		}
		if (n == KMS_SYMBOLS_FRAMES)
			break;
		chain[n++] = *die;
		more = walk_begin(&walk, &chain[n - 1]);
	}
	return n;
}

/* The linker's name where it is one of C++: it can be demangled and says more. Else the one in the source. */
static struct kms_symbols_wire_text name_of(Dwarf_Die *die)
{
	static const unsigned int linkage[] = {DW_AT_linkage_name, DW_AT_MIPS_linkage_name};
	for (size_t i = 0; i < sizeof(linkage) / sizeof(linkage[0]); i++) {
		Dwarf_Attribute attribute;
		const char *name =
			dwarf_formstring(dwarf_attr_integrate(die, linkage[i], &attribute));
		if (name && name[0] == '_' && name[1] == 'Z')
			return kms_symbols_text(name);
	}
	return kms_symbols_text(dwarf_diename(die));
}

/* Lines ------------------------------------------------------------------------------------------------------------- */

struct place {
	const char *file;
	uint32_t line;
};

static Dwarf_Line *line_before(struct kms_symbols_unit *unit, uint64_t address, size_t *idx)
{
	size_t low = 0, high = unit->n_lines;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		Dwarf_Addr at;
		if (dwarf_lineaddr(dwarf_onesrcline(unit->lines, middle), &at) != 0)
			return NULL;
		if (at <= address)
			low = middle + 1;
		else
			high = middle;
	}
	*idx = low;
	return low > 0 ? dwarf_onesrcline(unit->lines, low - 1) : NULL;
}

/* The row that covers an address; if it is code of no line, the nearest row before that has one. */
static struct place place_of(struct kms_symbols_unit *unit, uint64_t address)
{
	struct place place = {0};
	size_t idx;
	if (!unit->has_lines) {
		Dwarf_Attribute folder;
		unit->has_lines = true;
		unit->folder = dwarf_formstring(dwarf_attr(&unit->die, DW_AT_comp_dir, &folder));
		if (dwarf_getsrclines(&unit->die, &unit->lines, &unit->n_lines) != 0)
			unit->n_lines = 0;
	}
	Dwarf_Line *row = line_before(unit, address, &idx);
	for (int n = 0; row && n < LINES_BACK_MAX; n++) {
		bool is_end = true;
		int line = 0;
		if (dwarf_lineendsequence(row, &is_end) != 0 || is_end ||
		    dwarf_lineno(row, &line) != 0)
			break;
		if (line > 0) {
			place.file = dwarf_linesrc(row, NULL, NULL);
			place.line = (uint32_t)line;
			break;
		}
		idx--;
		row = idx > 0 ? dwarf_onesrcline(unit->lines, idx - 1) : NULL;
	}
	return place;
}

static bool get_number(Dwarf_Die *die, unsigned int name, Dwarf_Word *value)
{
	Dwarf_Attribute attribute;
	return dwarf_formudata(dwarf_attr(die, name, &attribute), value) == 0;
}

/* Where an inlined function was called. */
static struct place call_place(struct kms_symbols_unit *unit, Dwarf_Die *inlined)
{
	struct place place = {0};
	Dwarf_Word file, line;
	Dwarf_Files *files;
	size_t n_files;
	if (get_number(inlined, DW_AT_call_line, &line) && line <= UINT32_MAX)
		place.line = (uint32_t)line;
	if (get_number(inlined, DW_AT_call_file, &file) &&
	    dwarf_getsrcfiles(&unit->die, &files, &n_files) == 0 && file < n_files)
		place.file = dwarf_filesrc(files, file, NULL, NULL);
	return place;
}

/* All together ------------------------------------------------------------------------------------------------------ */

static void put_frame(struct kms_symbols_lookup *lookup, const struct kms_symbols_unit *unit,
		      struct kms_symbols_wire_text function, const struct place *place)
{
	struct kms_symbols_wire_answer *answer = &lookup->answer;
	answer->frames[answer->n_frames++] = (struct kms_symbols_wire_frame){
		.function = function,
		.file = kms_symbols_source_path(lookup, unit->folder, place->file),
		.line = place->file ? place->line : 0,
		.inlined = true,
	};
}

/* Bytes from the start of a function; of a part of it that was moved away, from the start of that part. */
static uint64_t offset_in(Dwarf_Die *function, const struct kms_symbols_range *range,
			  uint64_t address)
{
	Dwarf_Addr start;
	if (dwarf_entrypc(function, &start) != 0 || start > address)
		start = range->start;
	return address - start;
}

static void find_frames(struct kms_symbols_unit *unit, const struct kms_symbols_range *range,
			struct kms_symbols_lookup *lookup, struct place place)
{
	Dwarf_Die function, chain[KMS_SYMBOLS_FRAMES];
	if (!dwarf_offdie(dwarf_cu_getdwarf(unit->tree.cu), range->ref, &function))
		return;
	struct kms_symbols_wire_answer *answer = &lookup->answer;
	uint32_t n = find_chain(&function, lookup->address, chain);
	while (n-- > 0) {
		put_frame(lookup, unit, name_of(&chain[n]), &place);
		if (n > 0)
			place = call_place(unit, &chain[n]);
	}
	answer->frames[answer->n_frames - 1].function_offset =
		offset_in(&function, range, lookup->asked_address);
}

void kms_symbols_dwarf_find(struct kms_symbols_dwarf *dwarf, struct kms_symbols_lookup *lookup)
{
	struct kms_symbols_wire_answer *answer = &lookup->answer;
	const struct kms_symbols_range *found =
		kms_symbols_ranges_find(&dwarf->ranges, lookup->address);
	if (!found)
		return;
	struct kms_symbols_unit *unit = &dwarf->units[found->ref];
	struct place place = place_of(unit, lookup->address);
	const struct kms_symbols_range *function = find_function(unit, lookup->address);
	if (function)
		find_frames(unit, function, lookup, place);
	if (answer->n_frames == 0 && place.file)
		put_frame(lookup, unit, kms_symbols_text(NULL), &place);
	if (answer->n_frames == 0)
		return;
	answer->frames[answer->n_frames - 1].inlined = false;
	answer->reason = KMS_SYMBOL_OK;
}
