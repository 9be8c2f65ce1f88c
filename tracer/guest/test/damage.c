/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/damage.h"

#include <stdlib.h>
#include <string.h>

enum {
	DOUBLINGS = 5, /* of one flip: few get further in, many hit what is rare */
	COPIES = 4,
	TRIES = 64,
	WORD_BYTES = 8,
	TABLE_ENTRIES = 512,
	ENTRY_PRESENT = 1,
	ENTRY_LARGE = 1 << 7,
	MAX_ENTRIES = 1 << 16,
	FIRST_PLACES = 64,
};

static const uint64_t entry_address = UINT64_C(0x000ffffffffff000); /* Intel SDM volume 3, 4.5 */

const char *const damage_names[DAMAGE_KINDS] = {
	[DAMAGE_RING] = "ring",       [DAMAGE_PAGE_TABLES] = "page tables",
	[DAMAGE_SYMBOLS] = "symbols", [DAMAGE_TYPES] = "types, tables",
	[DAMAGE_LISTS] = "lists",     [DAMAGE_LOOPS] = "loops",
};

void damage_add(struct damage_places *places, uint64_t at, uint64_t bytes)
{
	if (!bytes)
		return;
	if (places->n == 0 || (places->n >= FIRST_PLACES && !(places->n & (places->n - 1)))) {
		size_t room = places->n ? places->n * 2 : FIRST_PLACES;

		places->place = realloc(places->place, room * sizeof(*places->place));
		if (!places->place)
			abort();
	}
	places->place[places->n++] = (struct damage_place){at, bytes};
}

void damage_drop(struct damage_places *places)
{
	free(places->place);
	*places = (struct damage_places){0};
}

static const struct damage_place *some_place(const struct damage_places *places, struct rng *rng)
{
	return &places->place[rng_below(rng, places->n)];
}

/* A byte that is not zero, mostly: where there is something to damage. */
static uint64_t some_byte(const struct watched *watched, const struct damage_places *places,
			  struct rng *rng)
{
	uint64_t at = 0;

	for (int try = 0; try < TRIES; try++) {
		const struct damage_place *place = some_place(places, rng);

		at = place->at + rng_below(rng, place->bytes);
		if (at < watched->ram.size && watched->ram.bytes[at])
			break;
	}
	return at;
}

static uint8_t damaged(uint8_t byte, struct rng *rng)
{
	switch (rng_below(rng, 6)) {
	case 0:
		return 0xff;
	case 1:
		return 0;
	case 2:
		return (uint8_t)rng_next(rng);
	default:
		return (uint8_t)(byte ^ 1U << rng_below(rng, 8));
	}
}

void damage_bits(struct watched *watched, const struct damage_places *places, struct rng *rng)
{
	for (uint64_t n = UINT64_C(1) << rng_below(rng, DOUBLINGS); n; n--) {
		uint64_t at = some_byte(watched, places, rng);
		uint8_t byte;

		if (at >= watched->ram.size)
			continue;
		byte = damaged(watched->ram.bytes[at], rng);
		watched_poke(watched, at, &byte, 1);
	}
}

static void copy_word(struct watched *watched, const struct damage_places *places, size_t word,
		      struct rng *rng)
{
	const struct damage_place *from = some_place(places, rng), *to = from;
	uint64_t offset, at;

	for (int try = 0; try < TRIES && (to == from || to->bytes != from->bytes); try++)
		to = some_place(places, rng);
	for (int try = 0; try < TRIES && from->bytes >= word && to->bytes >= word; try++) {
		offset = rng_below(rng, (from->bytes < to->bytes ? from->bytes : to->bytes) / word);
		at = from->at + offset * word;
		if (at + word > watched->ram.size ||
		    !memcmp(watched->ram.bytes + at, &(uint64_t){0}, word))
			continue;
		watched_poke(watched, to->at + offset * word, watched->ram.bytes + at, word);
		return;
	}
}

void damage_loops(struct watched *watched, const struct damage_places *places, size_t word,
		  struct rng *rng)
{
	for (uint64_t n = 1 + rng_below(rng, COPIES); n; n--)
		copy_word(watched, places, word, rng);
}

void damage_find_tables(struct watched *watched, uint64_t root, int levels,
			struct damage_places *places)
{
	uint64_t entry[TABLE_ENTRIES];

	root &= entry_address;
	if (root > watched->ram.size - sizeof(entry))
		return;
	memcpy(entry, watched->ram.bytes + root, sizeof(entry));
	for (unsigned i = 0; i < TABLE_ENTRIES && places->n < MAX_ENTRIES; i++) {
		if (!(entry[i] & ENTRY_PRESENT))
			continue;
		damage_add(places, root + (uint64_t)i * WORD_BYTES, WORD_BYTES);
		if (levels > 1 && !(levels <= 3 && entry[i] & ENTRY_LARGE))
			damage_find_tables(watched, entry[i], levels - 1, places);
	}
}

static int by_place(const void *a, const void *b)
{
	const struct damage_place *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

void damage_add_used(const struct watched *watched, const struct damage_places *some,
		     struct damage_places *places)
{
	struct damage_places read = {0};

	for (size_t i = 0; i < watched->reads; i++)
		damage_add(&read, watched->read[i].address, watched->read[i].bytes);
	if (read.n)
		qsort(read.place, read.n, sizeof(*read.place), by_place);
	for (size_t i = 0; read.n && i < some->n; i++) {
		if (bsearch(&some->place[i], read.place, read.n, sizeof(*read.place), by_place))
			damage_add(places, some->place[i].at, some->place[i].bytes);
	}
	damage_drop(&read);
}
