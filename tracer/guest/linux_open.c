/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a guest's RAM to an open kernel: see linux.h. VMCOREINFO leads to what linux_learn.c needs, that to the
 * kernel's variables.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tracer/guest/linux_impl.h"

enum {
	ALIVE_STEP_NS = 4000000,
	ALIVE_TRIES_NOW = 5, /* before the search goes on */
	ALIVE_TRIES = 250,   /* between several: a second */
};

/* Where 4-level kernels without CONFIG_RANDOMIZE_MEMORY have them (mm.rst of Linux). */
static const uint64_t fixed_linear_base = UINT64_C(0xffff888000000000);
static const uint64_t fixed_vmemmap = UINT64_C(0xffffea0000000000);

/* Bases of the linear map and of the struct pages, the list of caches, the number of nodes. */
static int find_roots(struct kms_linux *lx, struct kms_err *err)
{
	const struct kms_guest_range *last = &lx->memory->range[lx->memory->ranges - 1];
	uint64_t linear = fixed_linear_base, nodes = 1;
	int rc;

	lx->vmemmap = fixed_vmemmap;
	rc = kms_lx_read_variable(lx, "page_offset_base", sizeof(linear), &linear, NULL);
	if (!rc)
		rc = kms_lx_read_variable(lx, "vmemmap_base", sizeof(lx->vmemmap), &lx->vmemmap,
					  err);
	else if (rc == -ENOENT && !lx->info.is_5_level)
		linear = fixed_linear_base, rc = 0;
	if (rc)
		return rc;
	if (linear % KMS_LX_PAGE || linear >> 63 == 0)
		return kms_err_set(err, -EBADMSG, "a linear map at %#" PRIx64, linear);
	lx->linear_base = linear;
	lx->linear_bytes = last->address + last->bytes;
	lx->slab_caches = kms_symbols_find(&lx->symbols, "slab_caches");
	if (!lx->slab_caches)
		return kms_err_set(err, -ENOTSUP, "this kernel has no list of slab caches");
	(void)kms_lx_read_variable(lx, "nr_node_ids", sizeof(uint32_t), &nodes, NULL);
	lx->nodes = nodes >= 1 && nodes <= KMS_LX_MAX_NODES ? (uint32_t)nodes : 1;
	return 0;
}

static int open_one(struct kms_linux *lx, struct kms_guest_memory *memory,
		    const struct kms_linux_info *info, const struct kms_linux_options *options,
		    struct kms_err *err)
{
	int rc;

	lx->memory = memory;
	lx->info = *info;
	lx->old_events = options && options->old_events;
	kms_guest_space_init(&lx->space, memory,
			     info->is_5_level ? KMS_GUEST_PAGING_5 : KMS_GUEST_PAGING_4,
			     info->swapper_pg_dir - KMS_LX_IMAGE_BASE + info->phys_base);
	lx->cache = calloc(KMS_LINUX_MAX_CACHES, sizeof(*lx->cache));
	lx->next_cache = calloc(KMS_LINUX_MAX_CACHES, sizeof(*lx->next_cache));
	if (!lx->cache || !lx->next_cache)
		return kms_err_set(err, -ENOMEM, "no memory for caches");
	rc = kms_lx_learn(lx, options, err);
	return rc ? rc : find_roots(lx, err);
}

/* Kernels found so far, and how the last one failed that could not be opened. */
struct opening {
	struct kms_guest_memory *memory;
	const struct kms_linux_options *options;
	struct kms_linux *found[KMS_LINUX_MAX_INFOS];
	uint64_t jiffies[KMS_LINUX_MAX_INFOS];
	int n, alive; /* index in found; -1 none yet */
	int failed;
	bool is_still;
	struct kms_err err;
};

static uint64_t jiffies_of(struct kms_linux *lx)
{
	uint64_t jiffies;

	return kms_lx_read_variable(lx, "jiffies_64", sizeof(jiffies), &jiffies, NULL) ? 0
										       : jiffies;
}

/* Waits for the clock of one of the kernels to go on. An idle kernel may have none for a while. */
static void look_for_life(struct opening *opening, int tries)
{
	struct timespec step = {.tv_nsec = ALIVE_STEP_NS};

	for (int try = 0; opening->alive < 0 && try < tries && !opening->is_still; try++) {
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL); /* a tick: 1 to 10 ms */
		for (int i = 0; opening->alive < 0 && i < opening->n; i++)
			if (jiffies_of(opening->found[i]) != opening->jiffies[i])
				opening->alive = i;
	}
}

static int open_found(void *arg, const struct kms_linux_info *info)
{
	struct opening *opening = arg;
	struct kms_linux *lx = calloc(1, sizeof(*lx));
	int rc = lx ? open_one(lx, opening->memory, info, opening->options, &opening->err)
		    : kms_err_set(&opening->err, -ENOMEM, "no memory for a kernel");

	if (rc) {
		kms_linux_close(lx);
		opening->failed = rc;
		return 0;
	}
	opening->jiffies[opening->n] = jiffies_of(lx);
	opening->found[opening->n++] = lx;
	look_for_life(opening, ALIVE_TRIES_NOW);
	return opening->alive >= 0; /* then the rest of RAM need not be searched */
}

/*
 * After a reset the kernel before may still lie in RAM, whole; the living one is that whose clock
 * goes. Where all stand still it is the one found last.
 */
int kms_linux_open(struct kms_guest_memory *memory, const struct kms_linux_options *options,
		   struct kms_linux **out, struct kms_err *err)
{
	struct opening opening = {.memory = memory,
				  .options = options,
				  .alive = -1,
				  .is_still = options && options->is_still};
	int rc = kms_linux_info_find(memory, open_found, &opening, err);

	if (rc < 0 && !opening.n)
		return rc;
	if (opening.n > 1)
		look_for_life(&opening, ALIVE_TRIES);
	if (opening.alive < 0)
		opening.alive = opening.n - 1;
	for (int i = 0; i < opening.n; i++)
		if (i != opening.alive)
			kms_linux_close(opening.found[i]);
	if (!opening.n) {
		if (err)
			*err = opening.err;
		return opening.failed;
	}
	*out = opening.found[opening.alive];
	return 0;
}

void kms_linux_close(struct kms_linux *lx)
{
	if (!lx)
		return;
	kms_symbols_deinit(&lx->symbols);
	kms_lx_sites_destroy(lx->sites);
	kms_lx_modules_destroy(lx->modules);
	kms_lx_ring_destroy(lx->ring);
	free(lx->cache);
	free(lx->next_cache);
	free(lx);
}

void kms_linux_about(const struct kms_linux *lx, struct kms_linux_about *about)
{
	const struct kms_linux_layout *layout = &lx->layout;

	*about = (struct kms_linux_about){
		.release = lx->info.release,
		.build_id = lx->info.build_id,
		.kaslr_offset = lx->info.kaslr_offset,
		.is_5_level = lx->info.is_5_level,
		.was_cached = lx->was_cached,
		.symbols = lx->symbols.count,
		.has_sites = kms_linux_layout_has(layout, KMS_LX_FOR_SITES),
		.has_depot = kms_linux_layout_has(layout, KMS_LX_FOR_DEPOT),
		.has_events = kms_linux_layout_has(layout, KMS_LX_FOR_EVENTS) &&
			      kms_symbols_find(&lx->symbols, "global_trace"),
		.has_kfence = kms_linux_layout_has(layout, KMS_LX_FOR_KFENCE) &&
			      kms_symbols_find(&lx->symbols, "__kfence_pool"),
	};
}

int kms_linux_check(struct kms_linux *lx, struct kms_err *err)
{
	struct kms_linux_info now;
	char text[KMS_LX_PAGE + 1];
	size_t bytes = KMS_LX_PAGE - (lx->info.found_at & (KMS_LX_PAGE - 1));
	int rc = kms_guest_read(lx->memory, lx->info.found_at, text, bytes, err);

	if (rc)
		return rc;
	text[bytes] = '\0';
	if (kms_linux_info_parse(&now, text, NULL) ||
	    strcmp(now.build_id, lx->info.build_id) != 0 ||
	    now.kaslr_offset != lx->info.kaslr_offset || now.phys_base != lx->info.phys_base)
		return kms_err_set(err, -ESTALE, "the kernel is no longer the one attached to");
	return kms_lx_check_banner(lx, err) == -EBADMSG
		       ? kms_err_set(err, -ESTALE,
				     "the kernel is no longer the one "
				     "attached to")
		       : 0;
}

uint64_t kms_linux_symbol(const struct kms_linux *lx, const char *name)
{
	return kms_symbols_find(&lx->symbols, name);
}
