/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/fake_types.h"

#include <stdlib.h>
#include <string.h>

#include "tracer/guest/test/fake_btf.h"

enum {
	STRUCT_PAGE = 64,
};

/* A member of a struct that is laid out by chance. */
struct spec {
	const char *name;
	char kind; /* i: 4 bytes, l: 8, p: pointer, L: list, c: atomic_long_t, o: oo, a: local_t, n: text */
};

struct types {
	struct fake_btf *btf;
	uint32_t u16, u32, u64, pointer, list, atomic, local, oo, name;
};

static const struct spec cache_spec[] = {
	{"flags",        'i'},
        {"size",         'i'},
        {"object_size",  'i'},
        {"offset",       'i'},
        {"oo",           'o'},
	{"inuse",        'i'},
        {"align",        'i'},
        {"red_left_pad", 'i'},
        {"name",         'p'},
        {"list",         'L'},
	{"random",       'l'},
        {"ctor",         'p'},
        {"node",         'p'},
};
static const struct spec node_spec[] = {
	{"list_lock",     'i'},
        {"nr_partial",    'l'},
        {"partial",       'L'},
	{"nr_slabs",      'c'},
        {"total_objects", 'c'},
        {"full",          'L'},
};
static const struct spec track_spec[] = {
	{"addr",   'l'},
        {"handle", 'i'},
        {"cpu",    'i'},
        {"pid",    'i'},
        {"when",   'l'},
};
static const struct spec trace_array_spec[] = {
	{"list",         'L'},
        {"name",         'p'},
        {"array_buffer", 'B'}
};
static const struct spec trace_buffer_spec[] = {
	{"flags",        'i'},
        {"cpus",         'i'},
        {"subbuf_order", 'i'},
        {"buffers",      'p'}
};
static const struct spec ring_cpu_spec[] = {
	{"cpu",           'i'},
        {"nr_pages",      'l'},
        {"commit_page",   'p'},
        {"pages_touched", 'a'}
};
static const struct spec ring_page_spec[] = {
	{"list",    'L'},
        {"entries", 'a'},
        {"page",    'p'}
};
static const struct spec module_spec[] = {
	{"state",    'i'},
        {"list",     'L'},
        {"name",     'n'},
        {"mem",      'M'},
        {"kallsyms", 'p'}
};
static const struct spec module_symbols_spec[] = {
	{"symtab",     'p'},
        {"num_symtab", 'i'},
        {"strtab",     'p'}
};
static const struct spec event_spec[] = {
	{"class", 'p'},
        {"flags", 'i'},
        {"event", 'E'}
};

static void check(bool is_true)
{
	if (!is_true)
		abort();
}

static void remember(struct fake_linux *fake, const char *type, const char *member, uint32_t offset)
{
	check(fake->offsets < FAKE_OFFSETS);
	fake->offset[fake->offsets++] = (struct fake_offset){type, member, offset};
}

uint32_t fake_offset_of(const struct fake_linux *fake, const char *type, const char *member)
{
	for (size_t i = 0; i < fake->offsets; i++)
		if (!strcmp(fake->offset[i].type, type) && !strcmp(fake->offset[i].member, member))
			return fake->offset[i].offset;
	abort();
}

/* Type and bytes of a kind of member. */
static uint32_t type_of(const struct types *types, char kind, uint32_t *bytes, uint32_t special)
{
	const struct {
		char kind;
		uint32_t type, bytes;
	} kinds[] = {
		{'i', types->u32,     4 },
                {'l', types->u64,     8 },
                {'p', types->pointer, 8 },
		{'L', types->list,    16},
                {'c', types->atomic,  8 },
                {'o', types->oo,      4 },
		{'a', types->local,   8 },
                {'n', types->name,    16},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].kind == kind) {
			*bytes = kinds[i].bytes;
			return kinds[i].type;
		}
	*bytes = 24; /* a struct made for this place */
	return special;
}

/* Lays members out in an order and with gaps of the seed. */
static uint32_t lay_out(struct fake_linux *fake, struct types *types, const char *name,
			const struct spec *spec, size_t n, uint32_t special)
{
	struct fake_member member[32];
	size_t order[32];
	uint32_t at = 0;

	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = n; i > 1; i--) {
		size_t j = rng_below(&fake->rng, i), keep = order[i - 1];

		order[i - 1] = order[j];
		order[j] = keep;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t bytes, type = type_of(types, spec[order[i]].kind, &bytes, special);
		uint32_t align = bytes >= 8 ? 8 : bytes;

		at += (uint32_t)rng_below(&fake->rng, 3) * 4;
		at = (at + align - 1) / align * align;
		member[i] = (struct fake_member){spec[order[i]].name, type, at * 8, 0};
		remember(fake, name, spec[order[i]].name, at);
		at += bytes;
	}
	at = (at + 15) / 8 * 8;
	remember(fake, name, "", at); /* its size */
	return fake_struct(types->btf, name, at, member, n);
}

/* struct slab has the size of a struct page; only the order of its words can change. */
static void lay_out_slab(struct fake_linux *fake, struct types *types)
{
	static const char *const names[] = {"flags", "slab_cache", "freelist", "counters"};
	struct fake_btf *btf = types->btf;
	uint32_t bits = fake_struct(btf, "", 4,
				    (struct fake_member[]){fake_at("inuse", types->u32, 0, 16),
							   fake_at("objects", types->u32, 16, 15),
							   fake_at("frozen", types->u32, 31, 1)},
				    3);
	uint32_t either = fake_union(btf, "", 8,
				     (struct fake_member[]){fake_at("counters", types->u64, 0, 0),
							    fake_at("", bits, 0, 0)},
				     2);
	uint32_t first = (uint32_t)rng_below(&fake->rng, 4),
		 list = 16 * (uint32_t)rng_below(&fake->rng, 2);
	struct fake_member member[5] = {
		{"slab_list", types->list, list * 8, 0}
        };

	remember(fake, "slab", "slab_list", list);
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t at = 32 + (first + i) % 4 * 8;
		bool is_counters = i == 3;

		member[1 + i] =
			(struct fake_member){is_counters ? "" : names[i],
					     is_counters ? either : types->pointer, at * 8, 0};
		remember(fake, "slab", names[i], at);
	}
	fake_struct(btf, "slab", STRUCT_PAGE, member, 5);
}

static void lay_out_depot(struct fake_linux *fake, struct types *types)
{
	struct fake_btf *btf = types->btf;
	uint32_t parts = fake_struct(
		btf, "", 4,
		(struct fake_member[]){fake_at(fake->is_new ? "pool_index_plus_1" : "slabindex",
					       types->u32, 0, fake->is_new ? 17 : 16),
				       fake_at("offset", types->u32, fake->is_new ? 17 : 16, 10),
				       fake_at("extra", types->u32, 27, 5)},
		3);
	uint32_t handle = fake_union(btf, "handle_parts", 4,
				     (struct fake_member[]){fake_at("handle", types->u32, 0, 0),
							    fake_at("", parts, 0, 0)},
				     2);
	uint32_t shift = (uint32_t)rng_below(&fake->rng, 3) * 8;

	fake_struct(btf, "stack_record", 40 + shift,
		    (struct fake_member[]){fake_at("size", types->u32, shift * 8, 0),
					   fake_at("handle", handle, (shift + 8) * 8, 0),
					   fake_at("entries", fake_array(btf, types->u64, 0),
						   (shift + 16) * 8, 0)},
		    3);
	remember(fake, "stack_record", "size", shift);
	remember(fake, "stack_record", "handle", shift + 8);
	remember(fake, "stack_record", "entries", shift + 16);
}

static void lay_out_events(struct fake_linux *fake, struct types *types)
{
	struct fake_btf *btf = types->btf;
	uint32_t entry = fake_struct(btf, "trace_entry", 8,
				     (struct fake_member[]){fake_at("type", types->u16, 0, 0),
							    fake_at("pid", types->u32, 32, 0)},
				     2);
	uint32_t type = fake_struct(btf, "trace_event", 24,
				    (struct fake_member[]){fake_at("node", types->list, 0, 0),
							   fake_at("type", types->u32, 128, 0)},
				    2);
	uint32_t buffer =
		fake_struct(btf, "array_buffer", 24,
			    (struct fake_member[]){fake_at("tr", types->pointer, 0, 0),
						   fake_at("buffer", types->pointer, 64, 0)},
			    2);

	lay_out(fake, types, "trace_array", trace_array_spec, 3, buffer);
	fake_struct(btf, "trace_buffer", 8, (struct fake_member[]){fake_at("n", types->u64, 0, 0)},
		    1);
	lay_out(fake, types, "trace_buffer", trace_buffer_spec, 4, 0);
	lay_out(fake, types, "ring_buffer_per_cpu", ring_cpu_spec, 4, 0);
	lay_out(fake, types, "buffer_page", ring_page_spec, 3, 0);
	lay_out(fake, types, "trace_event_call", event_spec, 3, type);
	fake_struct(btf, "buffer_data_page", 16,
		    (struct fake_member[]){fake_at("time_stamp", types->u64, 0, 0),
					   fake_at("commit", types->local, 64, 0),
					   fake_at("data", fake_array(btf, types->u16, 0), 128, 0)},
		    3);
	fake_struct(btf, "trace_event_raw_kmalloc", 32,
		    (struct fake_member[]){fake_at("ent", entry, 0, 0),
					   fake_at("call_site", types->u64, 64, 0),
					   fake_at("ptr", types->pointer, 128, 0),
					   fake_at("bytes_req", types->u64, 192, 0)},
		    4);
	fake_struct(btf, "trace_event_raw_kfree", 24,
		    (struct fake_member[]){fake_at("ent", entry, 0, 0),
					   fake_at("call_site", types->u64, 64, 0),
					   fake_at("ptr", types->pointer, 128, 0)},
		    3);
}

static void lay_out_modules(struct fake_linux *fake, struct types *types)
{
	uint32_t memory = fake_struct(types->btf, "module_memory", 24,
				      (struct fake_member[]){fake_at("base", types->pointer, 0, 0),
							     fake_at("size", types->u32, 64, 0)},
				      2);

	lay_out(fake, types, "module", module_spec, 5, memory);
	lay_out(fake, types, "mod_kallsyms", module_symbols_spec, 3, 0);
}

size_t fake_types_write(struct fake_linux *fake, uint8_t *text)
{
	struct fake_btf *btf = calloc(1, sizeof(*btf));
	struct types types = {.btf = btf};
	size_t bytes;

	check(btf);
	types.u16 = fake_int(btf, "short", 2);
	types.u32 = fake_int(btf, "int", 4);
	types.u64 = fake_int(btf, "long", 8);
	types.pointer = fake_pointer(btf);
	types.list = fake_struct(btf, "list_head", 16,
				 (struct fake_member[]){fake_at("next", types.pointer, 0, 0),
							fake_at("prev", types.pointer, 64, 0)},
				 2);
	types.atomic = fake_typedef(
		btf, "atomic_long_t",
		fake_struct(btf, "", 8, (struct fake_member[]){fake_at("counter", types.u64, 0, 0)},
			    1));
	types.local = fake_struct(btf, "local_t", 8,
				  (struct fake_member[]){fake_at("a", types.atomic, 0, 0)}, 1);
	types.oo = fake_struct(btf, "kmem_cache_order_objects", 4,
			       (struct fake_member[]){fake_at("x", types.u32, 0, 0)}, 1);
	types.name = fake_array(btf, types.u16, 8);
	lay_out(fake, &types, "kmem_cache", cache_spec, sizeof(cache_spec) / sizeof(cache_spec[0]),
		0);
	lay_out(fake, &types, "kmem_cache_node", node_spec, 6, 0);
	lay_out(fake, &types, "track", track_spec, 5, 0);
	lay_out_slab(fake, &types);
	lay_out_depot(fake, &types);
	lay_out_events(fake, &types);
	lay_out_modules(fake, &types);
	if (fake->is_new) {
		fake_enum(btf, "_SLAB_RED_ZONE", 1);
		fake_enum(btf, "_SLAB_STORE_USER", 7);
	}
	bytes = fake_btf_write(btf, text);
	free(btf);
	return bytes;
}
