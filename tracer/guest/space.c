/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables, walked from outside: see space.h.
 *
 * Each mode is a row of a table: levels from the outermost in, with the bits of the address that
 * index them, and whether an entry there can be a page. The walk is the same for all.
 */
#include "tracer/guest/space.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* Bits of an entry. */
#define PRESENT               UINT64_C(0x1)
#define WRITABLE              UINT64_C(0x2)
#define LARGE                 UINT64_C(0x80)
#define ADDRESS               UINT64_C(0x000ffffffffff000) /* of 8 bytes: bits 12 to 51 */
#define BELOW(n)              ((UINT64_C(1) << (n)) - 1)
/* of a large page bit 12 is an attribute (PAT), what is between it and the page's address is 0 */
#define LARGE_RESERVED(shift) (BELOW(shift) & ~BELOW(13))

enum {
	LEVELS = 5,
	TOP_BIT_4 = 47, /* of an address; those above are like it */
	TOP_BIT_5 = 56,
	PAGE_SHIFT = 12,
	LARGE_SHIFT_32 = 22,
	PIECES = 64, /* of one read across pages */
};

/* One level of tables. */
struct level {
	uint8_t shift;     /* lowest bit of its index, and of a page that an entry is */
	uint8_t bits;      /* of its index */
	bool may_be_large; /* bit 7 makes it a page; else bit 7 is as @reserved says */
	uint64_t reserved; /* bits that are 0 in each present entry */
};

struct mode {
	unsigned levels;
	unsigned entry_bytes;
	uint64_t root; /* bits of CR3 that are the address */
	struct level level[LEVELS];
};

/* Bits 52 to 62 mean something to software in 64-bit mode, and are 0 under PAE. */
#define PAE_RESERVED     (BELOW(63) & ~BELOW(52))
#define PAE_TOP_RESERVED (PAE_RESERVED | UINT64_C(1) << 63 | UINT64_C(0x1e6))

static const struct mode modes[] = {
	[KMS_GUEST_PAGING_32] = {2,
				 4, UINT64_C(0xfffff000),
				 {{22, 10, true, 0}, {12, 10, false, 0}}                                       },
	[KMS_GUEST_PAGING_PAE] = {3,
                                 8, UINT64_C(0xffffffe0),
                                 {{30, 2, false, PAE_TOP_RESERVED},
				   {21, 9, true, PAE_RESERVED},
				   {12, 9, false, PAE_RESERVED}}                                               },
	[KMS_GUEST_PAGING_4] =
		{4,
				 8, ADDRESS,
				 {{39, 9, false, LARGE}, {30, 9, true, 0}, {21, 9, true, 0}, {12, 9, false, 0}}},
	[KMS_GUEST_PAGING_5] = {5,
				 8, ADDRESS,
				 {{48, 9, false, LARGE},
				 {39, 9, false, LARGE},
				 {30, 9, true, 0},
				 {21, 9, true, 0},
				 {12, 9, false, 0}}							    },
	[KMS_GUEST_PAGING_PAE_ROW] = {2,
                                 8, UINT64_C(0xfffff000),
                                 {{21, 11, true, PAE_RESERVED}, {12, 9, false, PAE_RESERVED}}                  },
};

/* Shifts of pages that a mode has, smallest first: in which order a cache is asked. */
static const uint8_t page_shifts[] = {PAGE_SHIFT, 21, LARGE_SHIFT_32, 30};

void kms_guest_space_init(struct kms_guest_space *space, struct kms_guest_memory *memory,
			  enum kms_guest_paging paging, uint64_t root)
{
	assert(paging >= KMS_GUEST_PAGING_32 && paging <= KMS_GUEST_PAGING_PAE_ROW);
	memset(space, 0, sizeof(*space));
	space->memory = memory;
	space->paging = paging;
	space->root = root & modes[paging].root;
}

void kms_guest_space_forget(struct kms_guest_space *space)
{
	memset(space->cache, 0, sizeof(space->cache));
	memset(space->table, 0, sizeof(space->table));
}

static bool is_canonical(enum kms_guest_paging paging, uint64_t address)
{
	unsigned top = paging == KMS_GUEST_PAGING_5 ? TOP_BIT_5 : TOP_BIT_4;
	uint64_t rest = address >> top;

	if (paging <= KMS_GUEST_PAGING_PAE || paging == KMS_GUEST_PAGING_PAE_ROW)
		return address <= UINT32_MAX;
	return rest == 0 || rest == UINT64_MAX >> top;
}

static struct kms_guest_space_page *page_slot(struct kms_guest_space *space, uint64_t page)
{
	/* odd multiplier, upper bits: addresses of a kernel differ in few bits (Knuth 6.4) */
	uint64_t hash = page * UINT64_C(0x9e3779b97f4a7c15);

	return &space->cache[(hash >> 32) % KMS_GUEST_SPACE_CACHE];
}

static struct kms_guest_space_table *table_slot(struct kms_guest_space *space, uint64_t stretch)
{
	uint64_t hash = stretch * UINT64_C(0x9e3779b97f4a7c15);

	return &space->table[(hash >> 32) % KMS_GUEST_SPACE_TABLES];
}

static const struct kms_guest_space_page *find_page(struct kms_guest_space *space, uint64_t address)
{
	for (size_t i = 0; i < sizeof(page_shifts); i++) {
		uint64_t page = (address >> page_shifts[i]) + 1;
		const struct kms_guest_space_page *slot = page_slot(space, page);

		if (slot->page == page && slot->shift == page_shifts[i])
			return slot;
	}
	return NULL;
}

static int damaged(struct kms_err *err, uint64_t address, const char *what)
{
	return kms_err_set(err, -EBADMSG, "page tables of 0x%" PRIx64 " are damaged: %s", address,
			   what);
}

static int read_entry(struct kms_guest_space *space, uint64_t address, uint64_t at, uint64_t *entry,
		      struct kms_err *err)
{
	unsigned bytes = modes[space->paging].entry_bytes;
	uint32_t narrow = 0;
	int result;

	result = kms_guest_read(space->memory, at,
				bytes == sizeof(narrow) ? (void *)&narrow : (void *)entry, bytes,
				err);
	if (result == -ERANGE)
		return damaged(err, address, "a table is outside of the guest's memory");
	if (bytes == sizeof(narrow))
		*entry = narrow;
	return result;
}

/* Physical address of a large page. With 4-byte entries bits 13 to 20 are bits 32 to 39 of it. */
static uint64_t large_page(enum kms_guest_paging paging, unsigned shift, uint64_t entry)
{
	if (paging == KMS_GUEST_PAGING_32)
		return (entry & ~BELOW(LARGE_SHIFT_32)) | ((entry >> 13) & 0xff) << 32;
	return entry & ADDRESS & ~BELOW(shift);
}

static bool has_reserved(const struct kms_guest_space *space, const struct level *level,
			 uint64_t entry, bool is_large)
{
	if (entry & level->reserved)
		return true;
	if (!is_large)
		return false;
	if (space->paging == KMS_GUEST_PAGING_32)
		return (entry & (UINT64_C(1) << 21)) != 0;
	return (entry & LARGE_RESERVED(level->shift)) != 0;
}

/* How far a walk has come. */
struct stage {
	uint64_t table; /* the next one, or the page */
	bool is_page;
	bool is_writable; /* as far as the entries that were seen say */
};

/* One step of a walk. */
static int step(struct kms_guest_space *space, uint64_t address, unsigned number,
		struct stage *stage, struct kms_err *err)
{
	const struct mode *mode = &modes[space->paging];
	const struct level *level = &mode->level[number];
	uint64_t index = (address >> level->shift) & BELOW(level->bits);
	uint64_t entry = 0;
	int result =
		read_entry(space, address, stage->table + index * mode->entry_bytes, &entry, err);
	bool is_large;

	if (result)
		return result;
	if (!(entry & PRESENT))
		return kms_err_set(err, -ENOENT, "nothing is mapped at 0x%" PRIx64, address);
	is_large = level->may_be_large && (entry & LARGE);
	if (has_reserved(space, level, entry, is_large))
		return damaged(err, address, "reserved bits are set");
	stage->is_page = is_large || number + 1 == mode->levels;
	stage->table = is_large ? large_page(space->paging, level->shift, entry) : entry & ADDRESS;
	/* the outermost entries of PAE have no such bit: it is reserved, so 0 */
	stage->is_writable &= (entry | level->reserved) & WRITABLE ? true : false;
	return 0;
}

/* Begins at an innermost table that is remembered, or at the root. */
static unsigned begin(struct kms_guest_space *space, uint64_t address, uint64_t *table)
{
	unsigned last = modes[space->paging].levels - 1;
	uint64_t stretch = (address >> modes[space->paging].level[last - 1].shift) + 1;
	const struct kms_guest_space_table *slot = table_slot(space, stretch);

	*table = slot->stretch == stretch ? slot->physical : space->root;
	return slot->stretch == stretch ? last : 0;
}

static void remember_table(struct kms_guest_space *space, uint64_t address, uint64_t table)
{
	unsigned last = modes[space->paging].levels - 1;
	uint64_t stretch = (address >> modes[space->paging].level[last - 1].shift) + 1;
	struct kms_guest_space_table *slot = table_slot(space, stretch);

	slot->stretch = stretch;
	slot->physical = table;
}

static int walk(struct kms_guest_space *space, uint64_t address, struct kms_guest_space_page *found,
		struct kms_err *err)
{
	const struct mode *mode = &modes[space->paging];
	struct stage stage = {.table = 0};
	unsigned number = begin(space, address, &stage.table);

	for (; !stage.is_page; number++) {
		int result = step(space, address, number, &stage, err);

		if (result)
			return result;
		if (!stage.is_page && number + 2 == mode->levels)
			remember_table(space, address, stage.table);
	}
	found->shift = mode->level[number - 1].shift;
	found->page = (address >> found->shift) + 1;
	found->physical = stage.table;
	return 0;
}

static int not_canonical(uint64_t address, struct kms_err *err)
{
	return kms_err_set(err, -EINVAL, "0x%" PRIx64 " is no address of this guest", address);
}

int kms_guest_is_writable(struct kms_guest_space *space, uint64_t address, bool *is_writable,
			  struct kms_err *err)
{
	struct stage stage = {.table = space->root, .is_writable = true};
	int result = is_canonical(space->paging, address) ? 0 : not_canonical(address, err);

	/* from the root on: what is remembered does not say */
	for (unsigned number = 0; !result && !stage.is_page; number++)
		result = step(space, address, number, &stage, err);
	*is_writable = !result && stage.is_writable;
	return result;
}

int kms_guest_translate(struct kms_guest_space *space, uint64_t address, uint64_t *physical,
			uint64_t *contiguous_bytes, struct kms_err *err)
{
	const struct kms_guest_space_page *known;
	struct kms_guest_space_page page;
	uint64_t offset;
	int result;

	if (!is_canonical(space->paging, address))
		return not_canonical(address, err);
	known = find_page(space, address);
	if (known) {
		page = *known;
	} else {
		result = walk(space, address, &page, err);
		if (result)
			return result;
		*page_slot(space, page.page) = page;
	}
	offset = address & BELOW(page.shift);
	*physical = page.physical + offset;
	if (contiguous_bytes)
		*contiguous_bytes = BELOW(page.shift) + 1 - offset;
	return 0;
}

/* A stretch does not go on at the other end of all addresses. */
static int check_end(uint64_t address, size_t bytes, struct kms_err *err)
{
	if (bytes && bytes - 1 > UINT64_MAX - address)
		return kms_err_set(err, -EINVAL,
				   "0x%" PRIx64 ", %zu bytes: behind the last address", address,
				   bytes);
	return 0;
}

/*
 * Translates the next stretch that is physically contiguous, at most *bytes long; *bytes becomes its
 * length.
 */
static int next_stretch(struct kms_guest_space *space, uint64_t address, uint64_t *physical,
			size_t *bytes, struct kms_err *err)
{
	uint64_t contiguous = 0;
	int result = kms_guest_translate(space, address, physical, &contiguous, err);

	if (result)
		return result;
	if (*bytes > contiguous)
		*bytes = (size_t)contiguous;
	return 0;
}

int kms_guest_read_virtual(struct kms_guest_space *space, uint64_t address, void *to, size_t bytes,
			   struct kms_err *err)
{
	struct kms_guest_piece piece[PIECES];
	size_t count = 0;
	char *at = to;
	int result = check_end(address, bytes, err);

	while (bytes && result == 0) {
		size_t part = bytes;

		result = next_stretch(space, address, &piece[count].address, &part, err);
		if (result)
			break;
		piece[count].to = at;
		piece[count].bytes = part;
		count++;
		address += part;
		at += part;
		bytes -= part;
		if (count == PIECES || !bytes) {
			result = kms_guest_read_pieces(space->memory, piece, count, err);
			count = 0;
		}
	}
	return result;
}

int kms_guest_write_virtual(struct kms_guest_space *space, uint64_t address, const void *from,
			    size_t bytes, struct kms_err *err)
{
	const char *at = from;
	int result = check_end(address, bytes, err);

	while (bytes && result == 0) {
		uint64_t physical = 0;
		size_t part = bytes;

		result = next_stretch(space, address, &physical, &part, err);
		if (result == 0)
			result = kms_guest_write(space->memory, physical, at, part, err);
		address += part;
		at += part;
		bytes -= part;
	}
	return result;
}

int kms_guest_read_string(struct kms_guest_space *space, uint64_t address, char *to, size_t bytes,
			  struct kms_err *err)
{
	size_t used = 0;

	assert(bytes > 0);
	while (used < bytes - 1) {
		/* no further than the next 4 KiB page: what is behind the end need not be mapped */
		size_t part = (size_t)(BELOW(PAGE_SHIFT) + 1 - (address & BELOW(PAGE_SHIFT)));
		int result;

		if (part > bytes - 1 - used)
			part = bytes - 1 - used;
		result = kms_guest_read_virtual(space, address, to + used, part, err);
		if (result) {
			to[used] = '\0';
			return result;
		}
		if (memchr(to + used, '\0', part))
			return 0;
		used += part;
		address += part;
	}
	to[used] = '\0';
	return 0;
}
