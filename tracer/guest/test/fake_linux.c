/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/fake_linux.h"

#include <elf.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/test/fake_btf.h"
#include "tracer/guest/test/fake_types.h"

enum {
	PAGE = 4096,
	TABLES_AT = 0x380000, /* in the image */
	VMEMMAP_AT = 4 << 20,
	PAGES_AT = 6 << 20,
	STRUCT_PAGE = 64,
	STORE_USER_OLD = 0x10000,
	RED_ZONE_OLD = 0x400,
	RED_ZONE = 0xcc,
	RED_ZONE_FREE = 0xbb,
	RING_PAGES = 4, /* of each CPU */
};

#define IMAGE_BASE UINT64_C(0xffffffff80000000)

static void check(bool is_true)
{
	if (!is_true)
		abort();
}

/* Physical memory behind a virtual address of the image or the linear map. */
static uint8_t *at(struct fake_linux *fake, uint64_t address)
{
	uint64_t physical = address >= IMAGE_BASE ? address - IMAGE_BASE + fake->phys_base
						  : address - fake->linear;

	check(physical < FAKE_RAM_BYTES);
	return fake->ram.bytes + physical;
}

static void put(struct fake_linux *fake, uint64_t address, uint64_t value, size_t bytes)
{
	memcpy(at(fake, address), &value, bytes);
}

static void put_member(struct fake_linux *fake, uint64_t address, const char *type,
		       const char *member, uint64_t value, size_t bytes)
{
	put(fake, address + fake_offset_of(fake, type, member), value, bytes);
}

static uint64_t take_image(struct fake_linux *fake, size_t bytes)
{
	uint64_t address = fake->image + fake->text_next - FAKE_IMAGE_AT;

	fake->text_next += (bytes + 63) / 64 * 64;
	check(fake->text_next < TABLES_AT);
	return address;
}

static uint64_t take_pages(struct fake_linux *fake, unsigned pages)
{
	uint64_t address = fake->linear + fake->page_next;

	fake->page_next += (uint64_t)pages * PAGE;
	check(fake->page_next <= FAKE_RAM_BYTES);
	return address;
}

static uint64_t slab_of(const struct fake_linux *fake, uint64_t page)
{
	return fake->vmemmap + (page - fake->linear) / PAGE * STRUCT_PAGE;
}

static uint8_t *slab_at(struct fake_linux *fake, uint64_t slab)
{
	return fake->ram.bytes + VMEMMAP_AT + (slab - fake->vmemmap);
}

/* A list of slabs: head, then each, then head. */
static void link_slabs(struct fake_linux *fake, uint64_t head, const uint64_t *slab, size_t n)
{
	uint32_t list = fake_offset_of(fake, "slab", "slab_list");

	put(fake, head, n ? slab[0] + list : head, 8);
	for (size_t i = 0; i < n; i++) {
		uint64_t next = i + 1 < n ? slab[i + 1] + list : head;

		memcpy(slab_at(fake, slab[i]) + list, &next, sizeof(next));
	}
}

/* Owners: the first ones are the leak's, each seventh another's. */
static void write_track(struct fake_linux *fake, uint8_t *track, unsigned number)
{
	bool is_other = number % 7 == 6;
	uint64_t site = is_other ? fake->image + 0x30 : fake->leak_site;
	uint32_t handle = is_other ? 0 : fake->leak_handle, pid = 100 + number;
	uint64_t when = 4000 + number;

	memcpy(track + fake_offset_of(fake, "track", "addr"), &site, 8);
	memcpy(track + fake_offset_of(fake, "track", "handle"), &handle, 4);
	memcpy(track + fake_offset_of(fake, "track", "pid"), &pid, 4);
	memcpy(track + fake_offset_of(fake, "track", "when"), &when, 8);
}

struct geometry {
	uint32_t size, inuse, offset, info, per_slab;
	bool has_owners;
};

/* A slab with its first objects live; returns its struct. */
static uint64_t write_slab(struct fake_linux *fake, struct fake_cache *cache,
			   const struct geometry *geometry, uint32_t live)
{
	uint64_t page = take_pages(fake, 1), slab = slab_of(fake, page);
	uint64_t first = live < geometry->per_slab ? page + (uint64_t)live * geometry->size : 0;
	uint32_t counters = live | geometry->per_slab << 16;
	uint8_t *words = slab_at(fake, slab);

	for (uint32_t i = 0; i < geometry->per_slab; i++) {
		uint64_t object = page + (uint64_t)i * geometry->size,
			 place = object + geometry->offset;
		uint64_t next = i + 1 < geometry->per_slab ? object + geometry->size : 0;

		if (geometry->has_owners)
			memset(at(fake, object) + cache->object_bytes,
			       i < live ? RED_ZONE : RED_ZONE_FREE,
			       geometry->inuse - cache->object_bytes);
		if (i >= live) {
			put(fake, place, next ^ fake->random ^ __builtin_bswap64(place), 8);
			continue;
		}
		if (geometry->has_owners)
			write_track(fake, at(fake, object) + geometry->info,
				    (unsigned)fake->owned_live++);
	}
	memcpy(words + fake_offset_of(fake, "slab", "slab_cache"), &cache->address, 8);
	memcpy(words + fake_offset_of(fake, "slab", "freelist"), &first, 8);
	memcpy(words + fake_offset_of(fake, "slab", "counters"), &counters, 4);
	cache->slabs++;
	cache->objects += geometry->per_slab;
	cache->active += live;
	return slab;
}

static void write_cache(struct fake_linux *fake, unsigned number, uint64_t flags)
{
	struct fake_cache *cache = &fake->cache[number];
	struct geometry geometry = {.has_owners = flags != 0};
	uint32_t track = fake_offset_of(fake, "track", ""),
		 full = (uint32_t)rng_below(&fake->rng, 3) + 1;
	uint64_t node = take_pages(fake, 1), name = node + 2048, slab[8];
	uint32_t partial = (uint32_t)rng_below(&fake->rng, 4);

	cache->address = take_pages(fake, 1);
	cache->object_bytes = 8 * (2 + (uint32_t)rng_below(&fake->rng, 12));
	(void)snprintf(cache->name, sizeof(cache->name), "kmalloc-%u-%u", cache->object_bytes,
		       number);
	geometry.inuse = cache->object_bytes + 8;
	geometry.offset = geometry.has_owners ? geometry.inuse : 0;
	geometry.info = geometry.inuse + 8;
	geometry.size = geometry.has_owners ? geometry.info + 2 * track : geometry.inuse;
	geometry.per_slab = PAGE / geometry.size;
	cache->size_bytes = geometry.size;
	cache->objects_per_slab = geometry.per_slab;
	memcpy(at(fake, name), cache->name, strlen(cache->name) + 1);
	for (uint32_t i = 0; i < full + partial; i++)
		slab[i] = write_slab(
			fake, cache, &geometry,
			i < full ? geometry.per_slab
				 : 1 + (uint32_t)rng_below(&fake->rng, geometry.per_slab - 1));
	put_member(fake, cache->address, "kmem_cache", "name", name, 8);
	put_member(fake, cache->address, "kmem_cache", "flags", flags, 4);
	put_member(fake, cache->address, "kmem_cache", "size", geometry.size, 4);
	put_member(fake, cache->address, "kmem_cache", "object_size", cache->object_bytes, 4);
	put_member(fake, cache->address, "kmem_cache", "oo", geometry.per_slab, 4);
	put_member(fake, cache->address, "kmem_cache", "inuse", geometry.inuse, 4);
	put_member(fake, cache->address, "kmem_cache", "offset", geometry.offset, 4);
	put_member(fake, cache->address, "kmem_cache", "red_left_pad", 0, 4);
	put_member(fake, cache->address, "kmem_cache", "random", fake->random, 8);
	put_member(fake, cache->address, "kmem_cache", "node", node, 8);
	put_member(fake, node, "kmem_cache_node", "nr_partial", partial, 8);
	put_member(fake, node, "kmem_cache_node", "nr_slabs", cache->slabs, 8);
	put_member(fake, node, "kmem_cache_node", "total_objects", cache->objects, 8);
	link_slabs(fake, node + fake_offset_of(fake, "kmem_cache_node", "full"), slab,
		   geometry.has_owners ? full : 0);
	link_slabs(fake, node + fake_offset_of(fake, "kmem_cache_node", "partial"), slab + full,
		   partial);
}

static void write_caches(struct fake_linux *fake, uint64_t head)
{
	uint32_t list = fake_offset_of(fake, "kmem_cache", "list");
	uint64_t owners = fake->is_new ? 1U << 7 | 1U << 1 : STORE_USER_OLD | RED_ZONE_OLD;

	for (unsigned i = 0; i < FAKE_CACHES; i++)
		write_cache(fake, i, i == 2 ? owners : 0);
	put(fake, head, fake->cache[0].address + list, 8);
	for (unsigned i = 0; i < FAKE_CACHES; i++)
		put(fake, fake->cache[i].address + list,
		    i + 1 < FAKE_CACHES ? fake->cache[i + 1].address + list : head, 8);
}

/* Pool 1 of the depot has one stack, 64 bytes from its begin. */
static void write_depot(struct fake_linux *fake, uint64_t pools)
{
	uint64_t pool = take_pages(fake, 4), record = pool + 64;
	uint32_t handle = fake->is_new ? 2U | 4U << 17 : 1U | 4U << 16;

	put(fake, pools + 8, pool, 8);
	fake->leak_handle = handle | 3U << 27; /* with bits of who saved it */
	put_member(fake, record, "stack_record", "size", FAKE_STACK_FRAMES, 4);
	put_member(fake, record, "stack_record", "handle", handle, 4);
	for (int i = 0; i < FAKE_STACK_FRAMES; i++) {
		fake->stack[i] = fake->image + 0x20 + (uint64_t)i * 0x10;
		put(fake,
		    record + fake_offset_of(fake, "stack_record", "entries") + (uint64_t)i * 8,
		    fake->stack[i], 8);
	}
}

/* An event of type 77 (kmalloc) or 78 (kfree) behind what the page has; false: it is full. */
static bool write_event(struct fake_linux *fake, uint64_t data, unsigned number)
{
	uint8_t *page = at(fake, data);
	uint64_t commit, site = fake->leak_site, ptr = fake->linear + number * 64U, bytes = number;
	bool is_free = number % 3 == 2;
	uint32_t length = is_free ? 24 : 32, head = length / 4 | 5U << 5, pid = 7;
	uint16_t type = is_free ? 78 : 77;

	memcpy(&commit, page + 8, 8);
	if (16 + commit + 4 + length > PAGE)
		return false;
	page += 16 + commit;
	memcpy(page, &head, 4);
	memcpy(page + 4, &type, 2);
	memcpy(page + 8, &pid, 4);
	memcpy(page + 12, &site, 8);
	memcpy(page + 20, &ptr, 8);
	if (!is_free)
		memcpy(page + 28, &bytes, 8);
	commit += 4 + length;
	memcpy(at(fake, data) + 8, &commit, 8);
	return true;
}

static void write_ring(struct fake_linux *fake, uint64_t trace)
{
	uint64_t buffer = take_pages(fake, 1), buffers = buffer + 2048, page[RING_PAGES],
		 data[RING_PAGES];
	uint32_t list = fake_offset_of(fake, "buffer_page", "list");

	put(fake, trace + fake_offset_of(fake, "trace_array", "array_buffer") + 8, buffer, 8);
	put_member(fake, buffer, "trace_buffer", "cpus", 2, 4);
	put_member(fake, buffer, "trace_buffer", "buffers", buffers, 8);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		uint64_t ring = take_pages(fake, 1);
		unsigned commit = 0;

		fake->ring_cpu[cpu] = ring;
		put(fake, buffers + cpu * 8U, ring, 8);
		for (unsigned i = 0; i < RING_PAGES; i++) {
			page[i] = ring + 512 + i * 256U;
			data[i] = take_pages(fake, 1);
			put(fake, data[i], 1000000 * (i + 1), 8);
		}
		for (unsigned i = 0; i < RING_PAGES; i++) {
			put(fake, page[i] + list, (page[(i + 1) % RING_PAGES] + list) | (i == 3),
			    8);
			put_member(fake, page[i], "buffer_page", "page", data[i], 8);
		}
		for (unsigned i = cpu; i < FAKE_EVENTS; i += 2)
			if (!write_event(fake, data[commit], i))
				check(write_event(fake, data[++commit], i));
		put_member(fake, ring, "ring_buffer_per_cpu", "nr_pages", RING_PAGES, 8);
		put_member(fake, ring, "ring_buffer_per_cpu", "commit_page", page[0], 8);
		put_member(fake, ring, "ring_buffer_per_cpu", "pages_touched", 100, 8);
	}
}

/* One module, with the symbol table that the kernel keeps of it. */
static void write_module(struct fake_linux *fake, uint64_t head)
{
	static const char strings[] = "\0fake_ioctl\0fake_init";
	uint64_t page = take_pages(fake, 1), kallsyms = page + 1024, symbols = page + 2048;
	uint32_t list = fake_offset_of(fake, "module", "list");
	const Elf64_Sym symbol[] = {
		{0			      },
		{ .st_name = 1,  .st_shndx = 1, .st_value = page + 4096 + 0x40},
		{ .st_name = 12, .st_shndx = 1, .st_value = page + 4096},
	};

	fake->module = page;
	fake->text = take_pages(fake, 1);
	put(fake, head, page + list, 8);
	put(fake, page + list, head, 8);
	memcpy(at(fake, page) + fake_offset_of(fake, "module", "name"), "fakemod", 8);
	put_member(fake, page, "module", "mem", fake->text, 8);
	put(fake, page + fake_offset_of(fake, "module", "mem") + 8, PAGE, 4);
	put_member(fake, page, "module", "kallsyms", kallsyms, 8);
	put_member(fake, kallsyms, "mod_kallsyms", "symtab", symbols, 8);
	put_member(fake, kallsyms, "mod_kallsyms", "num_symtab", 3, 4);
	put_member(fake, kallsyms, "mod_kallsyms", "strtab", page + 3072, 8);
	memcpy(at(fake, symbols), symbol, sizeof(symbol));
	memcpy(at(fake, page + 3072), strings, sizeof(strings));
}

static void map_all(struct fake_linux *fake)
{
	test_tables_begin(&fake->tables, fake->ram.bytes,
			  fake->is_5_level ? KMS_GUEST_PAGING_5 : KMS_GUEST_PAGING_4, TABLES_AT);
	test_tables_map(&fake->tables, fake->image, FAKE_IMAGE_AT, 21);
	test_tables_map(&fake->tables, fake->vmemmap, VMEMMAP_AT, 21);
	for (uint64_t physical = 0; physical < FAKE_RAM_BYTES; physical += 1 << 21)
		test_tables_map(&fake->tables, fake->linear + physical, physical, 21);
}

/* Addresses that VMCOREINFO names, by the order below. */
struct kallsyms_at {
	uint64_t names, count, tokens, index, offsets, base;
};

static void append(char *text, size_t bytes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void append(char *text, size_t bytes, const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text + used, bytes - used, format, args);
	va_end(args);
}

static struct kallsyms_at kallsyms_at(const struct fake_linux *fake)
{
	uint64_t at_ = fake->image + 0x100000;

	return (struct kallsyms_at){at_ + 64,      at_,           at_ + 0x20000,
				    at_ + 0x21000, at_ + 0x22000, at_ + 0x24000};
}

void fake_linux_write_info(struct fake_linux *fake, uint64_t at_, const char *release)
{
	struct kallsyms_at tables = kallsyms_at(fake);
	char text[PAGE] = "";

	append(text, sizeof(text), "OSRELEASE=%s\nBUILD-ID=%040" PRIx64 "\nPAGESIZE=4096\n",
	       release, fake->random);
	append(text, sizeof(text),
	       "SYMBOL(swapper_pg_dir)=%" PRIx64 "\nSYMBOL(_stext)=%" PRIx64 "\n",
	       TABLES_AT - fake->phys_base + IMAGE_BASE, fake->image);
	append(text, sizeof(text),
	       "SYMBOL(kallsyms_names)=%" PRIx64 "\nSYMBOL(kallsyms_num_syms)=%" PRIx64
	       "\nSYMBOL(kallsyms_token_table)=%" PRIx64 "\nSYMBOL(kallsyms_token_index)=%" PRIx64
	       "\nSYMBOL(kallsyms_offsets)=%" PRIx64 "\nSYMBOL(kallsyms_relative_base)=%" PRIx64
	       "\n",
	       tables.names, tables.count, tables.tokens, tables.index, tables.offsets,
	       tables.base);
	append(text, sizeof(text),
	       "NUMBER(phys_base)=%" PRId64 "\n"
	       "NUMBER(pgtable_l5_enabled)=%d\nKERNELOFFSET=%" PRIx64 "\n"
	       "NUMBER(sme_mask)=0\n",
	       (int64_t)fake->phys_base, fake->is_5_level, fake->kaslr);
	memcpy(fake->ram.bytes + at_, text, sizeof(text));
}

static void write_kallsyms(struct fake_linux *fake, const struct fake_symbol *symbol, size_t n)
{
	struct kallsyms_at tables = kallsyms_at(fake);
	struct fake_kallsyms *out = calloc(1, sizeof(*out));

	check(out);
	fake_kallsyms_make(out, symbol, n, fake->image, !fake->is_new);
	memcpy(at(fake, tables.names), out->names, out->names_bytes);
	memcpy(at(fake, tables.tokens), out->tokens, out->tokens_bytes);
	memcpy(at(fake, tables.index), out->token_index, sizeof(out->token_index));
	memcpy(at(fake, tables.offsets), out->offsets, n * sizeof(out->offsets[0]));
	fake->spare_name = at(fake, tables.names + n * 32 - 1); /* the last that is copied */
	put(fake, tables.count, n, 4);
	put(fake, tables.base, fake->image, 8);
	free(out);
}

/* A name behind the others that no type has. Returns how long the text is then. */
static size_t add_spare_name(uint8_t *text, size_t bytes)
{
	uint32_t names_bytes; /* the last member of the header */

	memcpy(&names_bytes, text + 20, sizeof(names_bytes));
	names_bytes += sizeof("spare");
	memcpy(text + 20, &names_bytes, sizeof(names_bytes));
	memcpy(text + bytes, "spare", sizeof("spare"));
	return bytes + sizeof("spare");
}

static void write_kernel(struct fake_linux *fake)
{
	static const char banner[] = "Linux version 6.%d.0-fake (test)";
	uint8_t *text = calloc(1, FAKE_TYPE_BYTES + FAKE_STRING_BYTES);
	uint64_t variable, types, heads;
	size_t bytes;

	check(text);
	fake->text_next = FAKE_IMAGE_AT + PAGE;
	bytes = add_spare_name(text, fake_types_write(fake, text));
	types = take_image(fake, bytes);
	memcpy(at(fake, types), text, bytes);
	fake->spare_type = at(fake, types + bytes - 2);
	free(text);
	variable = take_image(fake, 256);
	heads = take_image(fake, PAGE);
	put(fake, variable, fake->linear, 8);
	put(fake, variable + 8, fake->vmemmap, 8);
	put(fake, variable + 16, 1, 4);
	put(fake, variable + 24, 5000, 8);
	(void)snprintf((char *)at(fake, variable + 64), 64, banner, fake->is_new ? 12 : 1);
	write_depot(fake, heads + 1024);
	write_caches(fake, heads);
	write_ring(fake, heads + 64);
	write_module(fake, heads + 2048);
	put(fake, heads + 256 + fake_offset_of(fake, "trace_event_call", "event") + 16, 77, 4);
	put(fake, heads + 512 + fake_offset_of(fake, "trace_event_call", "event") + 16, 78, 4);
	const struct fake_symbol symbols[] = {
		{"_text",				      fake->image           },
		{"_stext",				     fake->image           },
		{"leaky_open",				 fake->image + 0x10    },
		{"innocent_open",                              fake->image + 0x28    },
		{"__start_BTF",				types                 },
		{"__stop_BTF",				 types + bytes         },
		{"page_offset_base",                           variable              },
		{"vmemmap_base",                               variable + 8          },
		{"nr_node_ids",				variable + 16         },
		{"jiffies_64",				 variable + 24         },
		{"linux_banner",                               variable + 64         },
		{"slab_caches",				heads                 },
		{"global_trace",                               heads + 64            },
		{"event_kmalloc",                              heads + 256           },
		{"event_kfree",				heads + 512           },
		{fake->is_new ? "stack_pools" : "stack_slabs", heads + 1024          },
		{"modules",				    heads + 2048          },
		{"something",				  heads + 3072          },
		{"_end",				       fake->image + 0x200000},
	};
	write_kallsyms(fake, symbols, sizeof(symbols) / sizeof(symbols[0]));
}

struct fake_linux *fake_linux_make(uint64_t seed)
{
	struct fake_linux *fake = calloc(1, sizeof(*fake));

	check(fake);
	rng_init(&fake->rng, seed + 1);
	test_ram_make(&fake->ram, FAKE_RAM_BYTES);
	fake->is_new = seed & 1;
	fake->is_5_level = seed & 2;
	fake->kaslr = rng_below(&fake->rng, 100) << 21;
	fake->image = IMAGE_BASE + (16 << 20) + fake->kaslr;
	fake->phys_base = UINT64_C(0) + FAKE_IMAGE_AT - (16 << 20) - fake->kaslr;
	fake->linear =
		(fake->is_5_level ? UINT64_C(0xff11000000000000) : UINT64_C(0xffff888000000000)) +
		(rng_below(&fake->rng, 100) << 30);
	fake->vmemmap = fake->linear + (UINT64_C(0x20) << 40);
	fake->random = rng_next(&fake->rng) >> 8;
	fake->leak_site = fake->image + 0x20;
	fake->page_next = PAGES_AT;
	fake->info_at = 0x10000 + rng_below(&fake->rng, 64) * PAGE;
	map_all(fake);
	write_kernel(fake);
	fake_linux_write_info(fake, fake->info_at, fake->is_new ? "6.12.0-fake" : "6.1.0-fake");
	return fake;
}

void fake_linux_drop(struct fake_linux *fake)
{
	test_ram_drop(&fake->ram);
	free(fake);
}
