/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding a guest's region: see find.h. */
#include "tracer/guest/find.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/space.h"

enum {
	WORDS_AT_ONCE = 256, /* first words of so many pages by one read */
};

#define FIRST_REACH_BYTES (UINT64_C(16) << 20) /* of a guest that stands while it is read */

/* The paging of a 64-bit guest: five levels are tried when four do not lead there. */
static int translate_self(struct kms_guest_memory *memory, const struct kms_region_header *head,
			  uint64_t *physical)
{
	static const enum kms_guest_paging wide[] = {KMS_GUEST_PAGING_4, KMS_GUEST_PAGING_5};

	static const enum kms_guest_paging narrow[] = {KMS_GUEST_PAGING_PAE, KMS_GUEST_PAGING_32};
	const enum kms_guest_paging *paging = head->word_bytes == 8 ? wide : narrow;
	struct kms_guest_space *space = malloc(sizeof(*space));
	uint64_t contiguous;
	int result = -ENOMEM;

	for (int i = 0; space && result && i < 2; i++) {
		kms_guest_space_init(space, memory, paging[i], head->page_table_root);
		result =
			kms_guest_translate(space, head->self_address, physical, &contiguous, NULL);
	}
	free(space);
	return result;
}

/* Whether the guest itself has the region there. */
static int check_self(struct kms_guest_memory *memory, uint64_t physical,
		      const struct kms_region_header *head, struct kms_err *err)
{
	uint64_t there = 0;
	int result;

	if (!head->page_table_root)
		return 0; /* a guest without paging, or a saved region alone */
	result = translate_self(memory, head, &there);
	if (result == -ENOMEM)
		return kms_err_set(err, result, "no memory");
	if (!result && there == physical)
		return 0;
	return kms_err_set(err, -ESTALE,
			   "a region at 0x%llx is a copy, or of an old boot: the guest has it "
			   "elsewhere",
			   (unsigned long long)physical);
}

/* How much RAM there is from an address on. */
static uint64_t ram_left(const struct kms_guest_memory *memory, uint64_t physical)
{
	for (size_t i = 0; i < memory->ranges; i++) {
		const struct kms_guest_range *range = &memory->range[i];

		if (physical >= range->address && physical - range->address < range->bytes)
			return range->bytes - (physical - range->address);
	}
	return 0;
}

/*
 * Looks at one place. Errors: -EAGAIN: no magic there (yet); -EBADMSG, -EPROTO: damaged, or of another version;
 * -ESTALE: the guest has it elsewhere: a copy, or of an old boot; as kms_guest_read()
 */
static int region_at(struct kms_guest_memory *memory, uint64_t physical,
		     struct kms_guest_region *out, struct kms_err *err)
{
	uint64_t magic = 0;
	int result = kms_guest_read(memory, physical, &magic, sizeof(magic), err);

	if (result)
		return result;
	if (magic != KMS_REGION_MAGIC)
		return kms_err_set(err, -EAGAIN, "no region at 0x%llx",
				   (unsigned long long)physical);
	memset(&out->head, 0, sizeof(out->head));
	/* the magic is stored last: what is read after it is whole */
	result = kms_guest_read(memory, physical, &out->head, sizeof(out->head), err);
	if (result)
		return result;
	out->physical = physical;
	if (out->head.magic != KMS_REGION_MAGIC)
		return kms_err_set(err, -EAGAIN, "a region that is just being made");
	if (out->head.target_kind != KMS_TARGET_GUEST)
		return kms_err_set(err, -EBADMSG, "a process's region, no guest's");
	result = kms_region_check(&out->head, ram_left(memory, physical), out->section, err);
	if (!result && out->head.region_bytes > KMS_REGION_MAX_BYTES)
		result = kms_err_set(err, -EBADMSG, "region of %llu bytes",
				     (unsigned long long)out->head.region_bytes);
	return result ? result : check_self(memory, physical, &out->head, err);
}

/* Of two regions that both seem alive: that of the boot that began later. */
static bool is_newer(const struct kms_guest_region *a, const struct kms_guest_region *b)
{
	if (a->head.start_wall_ns != b->head.start_wall_ns)
		return a->head.start_wall_ns > b->head.start_wall_ns;
	return a->head.start_mono_ns > b->head.start_mono_ns;
}

static int look_at(struct kms_guest_search *search, struct kms_guest_memory *memory,
		   uint64_t physical)
{
	struct kms_guest_region *found = calloc(1, sizeof(*found));
	struct kms_err why = KMS_ERR_INIT;
	int result = found ? region_at(memory, physical, found, &why) : -ENOMEM;

	if (!result && (!search->has_best || is_newer(found, &search->best))) {
		search->best = *found;
		search->has_best = true;
	}
	if (result == -EBADMSG || result == -EPROTO || result == -ESTALE) {
		search->refused++;
		memcpy(search->reason, why.text, sizeof(search->reason));
		result = 0;
	}
	free(found);
	return result == -EAGAIN || result == -ERANGE ? 0 : result;
}

/* First words of pages from an address on; the magic is looked for in them. */
static int look_at_pages(struct kms_guest_search *search, struct kms_guest_memory *memory,
			 uint64_t physical, size_t pages, struct kms_err *err)
{
	struct kms_guest_piece piece[WORDS_AT_ONCE];
	uint64_t word[WORDS_AT_ONCE] = {0};
	int result;

	for (size_t i = 0; i < pages; i++)
		piece[i] = (struct kms_guest_piece){.address = physical + i * KMS_PAGE_BYTES,
						    .to = &word[i],
						    .bytes = sizeof(word[i])};
	result = kms_guest_memory_hold(memory, err);
	if (!result) {
		result = kms_guest_read_pieces(memory, piece, pages, err);
		if (kms_guest_memory_let_go(memory, result ? NULL : err) && !result)
			result = -EIO;
	}
	for (size_t i = 0; !result && i < pages; i++) {
		if (word[i] == KMS_REGION_MAGIC)
			result = look_at(search, memory, piece[i].address);
	}
	return result;
}

static uint64_t reach_of(const struct kms_guest_search *search)
{
	return search->reach_bytes ? search->reach_bytes : FIRST_REACH_BYTES;
}

/* The pass is over: its result, and another one begins. */
static int conclude(struct kms_guest_search *search, struct kms_guest_region *out,
		    struct kms_err *err)
{
	bool found = search->has_best;

	if (found)
		*out = search->best;
	else if (search->refused)
		(void)kms_err_set(err, -ENOENT, "%s", search->reason); /* returned below */
	else
		(void)kms_err_set(err, -ENOENT, "no kernel with our allocator is in its memory");
	memset(search, 0, sizeof(*search));
	return found ? 1 : -ENOENT;
}

/*
 * The end of a pass over a guest that stands: the next one reaches twice as far. To look at all RAM of such a
 * one takes half a minute, and kernels put a region where RAM begins: one that boots meanwhile is found soon.
 */
static int turn_back(struct kms_guest_search *search, struct kms_guest_region *out,
		     struct kms_err *err)
{
	uint64_t reach = reach_of(search);
	int result = conclude(search, out, err);

	search->reach_bytes = 2 * reach;
	return result;
}

int kms_guest_search(struct kms_guest_search *search, struct kms_guest_memory *memory,
		     uint64_t max_bytes, struct kms_guest_region *out, struct kms_err *err)
{
	uint64_t step = (uint64_t)WORDS_AT_ONCE * KMS_PAGE_BYTES;

	for (uint64_t done = 0; done < max_bytes;) {
		const struct kms_guest_range *range = &memory->range[search->range];
		uint64_t left;
		int result;

		if (search->range >= memory->ranges)
			return conclude(search, out, err);
		if (memory->pauses && search->searched_bytes >= reach_of(search) &&
		    search->searched_bytes < kms_guest_memory_bytes(memory))
			return turn_back(search, out, err);
		left = range->bytes > search->offset ? range->bytes - search->offset : 0;
		left = left < step ? left : step;
		if (left < KMS_PAGE_BYTES) {
			search->range++;
			search->offset = 0;
			continue;
		}
		result = look_at_pages(search, memory, range->address + search->offset,
				       (size_t)(left / KMS_PAGE_BYTES), err);
		if (result)
			return result;
		search->offset += left / KMS_PAGE_BYTES * KMS_PAGE_BYTES;
		search->searched_bytes += left;
		done += left;
		/* the guest stands meanwhile: the first one is good enough */
		if (memory->pauses)
			return search->has_best ? conclude(search, out, err) : 0;
	}
	return 0;
}
