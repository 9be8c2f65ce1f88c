/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_world.h: what the model answers when it is asked, against the truth. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/model_query.h"
#include "tracer/stack_id.h"
#include "tracer/test/model_world.h"

enum {
	PAGE_LIMIT = 7,
};

/* Is it a live block of the process's own, as the model must know it? */
static bool is_listed(const struct world_process *p, const struct world_block *b)
{
	return b->live && b->known && b->owner == p->target;
}

/* The truth by address: places ascend, and so do a place's blocks. */
static size_t true_blocks(const struct world *w, const struct world_process *p,
			  const struct kms_block_query *q, const struct world_block **out)
{
	size_t n = 0;

	for (unsigned i = 0; i < WORLD_PLACES; i++) {
		const struct world_place *place = &p->place[i];

		for (uint32_t k = 0; place->made && k < place->count; k++) {
			const struct world_block *b = &place->block[k];

			if (is_listed(p, b) && b->size >= q->min_bytes &&
			    (!q->site || q->site == kms_stack_id(w->config.image, b->node)))
				out[n++] = b;
		}
	}
	return n;
}

/* The list in pages of @limit, each made in slices that end at once. */
static size_t listed_blocks(const struct kms_model *model, struct kms_block_query q,
			    struct kms_view_block *out, size_t room)
{
	size_t n = 0, got;

	do {
		struct kms_model_block_list list = {.query = &q};

		while (!kms_model_blocks(model, &list, 0))
			;
		got = list.n;
		must(n + got <= room);
		for (size_t i = 0; i < got; i++)
			out[n + i] = kms_model_row_block(&list.row[i]);
		n += got;
		if (got) {
			q.after_target = out[n - 1].target;
			q.after_address = out[n - 1].address;
		}
		kms_model_block_list_deinit(&list);
	} while (got == q.limit);
	return n;
}

static bool same_blocks(const struct world *w, const struct kms_model *model,
			const struct world_process *p, const struct kms_block_query *q)
{
	enum { ROOM = WORLD_PLACES * WORLD_BLOCKS };
	const struct world_block **truth = calloc(ROOM, sizeof(const struct world_block *));
	struct kms_view_block *found = calloc(ROOM, sizeof(*found));
	size_t n_truth, n_found;
	bool good;

	must(truth && found);
	n_truth = true_blocks(w, p, q, truth);
	n_found = listed_blocks(model, *q, found, ROOM);
	good = n_truth == n_found;
	for (size_t i = 0; good && i < n_truth; i++)
		good = found[i].address == truth[i]->address && found[i].bytes == truth[i]->size &&
		       found[i].target == p->target && found[i].state == KMS_BLOCK_LIVE &&
		       found[i].alloc_stack_id == kms_stack_id(w->config.image, truth[i]->node);
	if (!good)
		printf("target %u: a list of %zu blocks (site %" PRIx64 ", min %" PRIu64
		       "), should be %zu\n",
		       p->target, n_found, q->site, q->min_bytes, n_truth);
	free(truth);
	free(found);
	return good;
}

static bool check_lists(const struct world *w, const struct kms_model *model,
			const struct world_process *p)
{
	const struct kms_block_query all = {.target = p->target, .limit = SIZE_MAX};
	struct kms_block_query paged = all, large = all, of_site = all;

	paged.limit = large.limit = PAGE_LIMIT;
	large.min_bytes = 100;
	of_site.limit = 1;
	of_site.site = kms_stack_id(w->config.image, 3);
	return same_blocks(w, model, p, &all) && same_blocks(w, model, p, &paged) &&
	       same_blocks(w, model, p, &large) && same_blocks(w, model, p, &of_site);
}

/* First and last byte of a live block are its own; inherited ones are, too. */
static bool check_whatis(const struct kms_model *model, const struct world_process *p,
			 const struct world_block *b)
{
	const uint64_t offsets[] = {0, b->size / 2, b->size ? b->size - 1 : 0};

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct kms_model_row row;

		must(kms_model_whatis(model, p->target, b->address + offsets[i], &row) == 0);
		if (row.block.address == b->address && row.block.state == KMS_BLOCK_LIVE &&
		    row.block.bytes == b->size)
			continue;
		printf("target %u address %" PRIx64 " is %s of %" PRIx64
		       ", should be live of %" PRIx64 "\n",
		       p->target, b->address + offsets[i],
		       row.block.state == KMS_BLOCK_LIVE ? "live" : "free", row.block.address,
		       b->address);
		return false;
	}
	return true;
}

/* A block that is not live is never said to be. */
static bool check_not_live(const struct kms_model *model, const struct world_process *p,
			   const struct world_block *b)
{
	struct kms_model_row row;

	must(kms_model_whatis(model, p->target, b->address, &row) == 0);
	if (!row.block.address || row.block.state != KMS_BLOCK_LIVE ||
	    row.block.address != b->address)
		return true;
	printf("target %u address %" PRIx64 " is live, should be free\n", p->target, b->address);
	return false;
}

static bool check_addresses(const struct kms_model *model, const struct world_process *p)
{
	for (unsigned i = 0; i < WORLD_PLACES; i++) {
		const struct world_place *place = &p->place[i];

		for (uint32_t k = 0; place->made && k < place->count; k++) {
			const struct world_block *b = &place->block[k];

			if (b->live && b->known && !check_whatis(model, p, b))
				return false;
			if (!b->live && b->address && !check_not_live(model, p, b))
				return false;
		}
	}
	return true;
}

static bool check_slab(const struct kms_model_slab_list *list, const struct world_process *p,
		       const struct world_place *place)
{
	const struct kms_model_slab *row = NULL;
	uint32_t live = 0;

	for (size_t i = 0; i < list->n && !row; i++)
		if (list->slab[i].slab.base == place->base)
			row = &list->slab[i];
	if (!row || row->slab.pages != place->pages || row->slab.count < place->count) {
		printf("target %u: slab %" PRIx64 " of %u pages is %s\n", p->target, place->base,
		       place->pages, row ? "another one" : "missing");
		return false;
	}
	for (uint32_t i = 0; i < place->count; i++) {
		const struct world_block *b = &place->block[i];
		bool bit = list->bytes[row->bits + i / 8] >> i % 8 & 1;

		live += b->live && b->known;
		if (bit != (b->live && b->known)) {
			printf("target %u: slab %" PRIx64 ", bit %u is %d\n", p->target,
			       place->base, i, bit);
			return false;
		}
	}
	return row->slab.live == live;
}

/* Every slab is listed, under its cache, and no other. */
static bool check_slabs(const struct kms_model *model, const struct world_process *p)
{
	static const char *const names[WORLD_CACHES] = {"cache-16",   "cache-32",  "cache-48",
							"cache-80",   "cache-256", "cache-1024",
							"cache-2048", "cache-0"};
	bool good = true;

	for (uint16_t cache = 0; good && cache < WORLD_CACHES; cache++) {
		struct kms_model_slab_list list = {.only = p->target, .cache = names[cache]};
		size_t n = 0;

		while (!kms_model_slabs(model, &list, 0))
			;
		for (unsigned i = 0; good && i < WORLD_PLACES; i++) {
			const struct world_place *place = &p->place[i];

			if (!place->made || place->kind == WORLD_IS_GUARD || place->cache != cache)
				continue;
			good = check_slab(&list, p, place);
			n++;
		}
		if (good && n != list.n)
			printf("target %u: %zu slabs of %s, should be %zu\n", p->target, list.n,
			       names[cache], n);
		good = good && n == list.n;
		kms_model_slab_list_deinit(&list);
	}
	return good;
}

bool world_check_query(const struct world *w, const struct kms_model *model)
{
	/* a child's slabs that were made anew after the fork are known by their first page; after a
	 * switch of recording none is known */
	bool slabs = !w->config.trace && !(w->config.fork && w->config.regrow);

	for (size_t i = 0; i < w->n_processes; i++) {
		const struct world_process *p = w->process[i];

		if (!p->claimed || !p->traced || p->told != p->session ||
		    !kms_model_target_find(model, p->target))
			continue;
		if (!check_lists(w, model, p) || !check_addresses(model, p) ||
		    (slabs && !check_slabs(model, p)))
			return false;
	}
	return true;
}
