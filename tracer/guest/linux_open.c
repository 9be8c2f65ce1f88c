/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a guest's RAM to an open kernel: see linux.h. VMCOREINFO leads to kallsyms, kallsyms to BTF,
 * and BTF to the places of all members.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "tracer/guest/linux_impl.h"
#include "tracer/guest/linux_saved.h"

enum {
	MAX_NAME_BYTES = 32, /* in the compressed table, on average: a bound, Debian's need 13 */
	MAX_TOKEN_BYTES = 64 << 10,
	DEFAULT_TOKEN_BYTES = 4 << 10,
	INDEX_BYTES = 256 * sizeof(uint16_t),
	BANNER_BYTES = 128,
	ALIVE_STEP_NS = 4000000,
	ALIVE_TRIES_NOW = 5, /* before the search goes on */
	ALIVE_TRIES = 250,   /* between several: a second */
};

/* Where 4-level kernels without CONFIG_RANDOMIZE_MEMORY have them (mm.rst of Linux). */
static const uint64_t fixed_linear_base = UINT64_C(0xffff888000000000);
static const uint64_t fixed_vmemmap = UINT64_C(0xffffea0000000000);

/* What is copied of kallsyms. */
struct table_copies {
	uint8_t *names;
	char *tokens;
	uint16_t *index;
	int32_t *offsets;
};

static void copies_free(struct table_copies *copies)
{
	free(copies->names);
	free(copies->tokens);
	free(copies->index);
	free(copies->offsets);
}

/* Copies n bytes from the guest into new memory. */
static int copy_new(struct kms_linux *lx, uint64_t address, size_t n, void *to, struct kms_err *err)
{
	void *copy = malloc(n);
	int rc;

	if (!copy)
		return kms_err_set(err, -ENOMEM, "no memory for a table of %zu bytes", n);
	rc = kms_lx_read(lx, address, copy, n, err);
	if (rc) {
		free(copy);
		return rc;
	}
	memcpy(to, &copy, sizeof(copy)); /* to is the address of a pointer of any type */
	return 0;
}

/* How much to copy of a table that has no length: to the next one that follows it, within a bound. */
static size_t table_bytes(uint64_t begin, uint64_t next, size_t otherwise, size_t most)
{
	uint64_t bytes = next > begin ? next - begin : otherwise;

	return bytes < most ? (size_t)bytes : most;
}

static int copy_tables(struct kms_linux *lx, struct table_copies *copies,
		       struct kms_kallsyms_tables *tables, struct kms_err *err)
{
	const struct kms_linux_info *info = &lx->info;
	uint32_t count = 0;
	int rc = kms_lx_read(lx, info->kallsyms_num_syms, &count, sizeof(count), err);

	if (!rc)
		rc = kms_lx_read_word(lx, info->kallsyms_relative_base, &tables->relative_base,
				      err);
	if (rc)
		return rc;
	if (!count || count > KMS_SYMBOLS_MAX)
		return kms_err_set(err, -EBADMSG, "kallsyms of %u symbols", count);
	tables->count = count;
	tables->names_bytes =
		table_bytes(info->kallsyms_names, info->kallsyms_token_table,
			    (size_t)count * MAX_NAME_BYTES, (size_t)count * MAX_NAME_BYTES);
	tables->tokens_bytes = table_bytes(info->kallsyms_token_table, info->kallsyms_token_index,
					   DEFAULT_TOKEN_BYTES, MAX_TOKEN_BYTES);
	rc = copy_new(lx, info->kallsyms_names, tables->names_bytes, &copies->names, err);
	if (!rc)
		rc = copy_new(lx, info->kallsyms_token_table, tables->tokens_bytes, &copies->tokens,
			      err);
	if (!rc)
		rc = copy_new(lx, info->kallsyms_token_index, INDEX_BYTES, &copies->index, err);
	if (!rc)
		rc = copy_new(lx, info->kallsyms_offsets, (size_t)count * sizeof(int32_t),
			      &copies->offsets, err);
	tables->names = copies->names;
	tables->tokens = copies->tokens;
	tables->token_index = copies->index;
	tables->offsets = copies->offsets;
	return rc;
}

static int decode_symbols(struct kms_linux *lx, struct kms_err *err)
{
	struct table_copies copies = {0};
	struct kms_kallsyms_tables tables = {0};
	struct kms_kallsyms_known known = {"_stext", lx->info.stext};
	int rc = copy_tables(lx, &copies, &tables, err);

	if (!rc)
		rc = kms_symbols_decode(&lx->symbols, &tables, &known, err);
	copies_free(&copies);
	return rc;
}

static int probe_layout(struct kms_linux *lx, struct kms_err *err)
{
	uint64_t begin = kms_symbols_find(&lx->symbols, "__start_BTF");
	uint64_t end = kms_symbols_find(&lx->symbols, "__stop_BTF");
	KMS_AUTO_FREE void *text = NULL;
	struct kms_btf *btf = NULL;
	int rc;

	if (!begin || end <= begin)
		return kms_err_set(err, -ENOTSUP,
				   "Linux %s does not carry its types (CONFIG_DEBUG_INFO_BTF)",
				   lx->info.release);
	if (end - begin > KMS_BTF_MAX_BYTES)
		return kms_err_set(err, -EFBIG, "BTF of %" PRIu64 " bytes", end - begin);
	rc = copy_new(lx, begin, (size_t)(end - begin), &text, err);
	if (!rc)
		rc = kms_btf_open(text, (size_t)(end - begin), &btf, err);
	if (!rc)
		rc = kms_linux_layout_probe(&lx->layout, btf, err);
	kms_btf_close(btf);
	return rc;
}

/* The kernel's own words must be those of the text that led to it. */
static int check_banner(struct kms_linux *lx, struct kms_err *err)
{
	static const char before[] = "Linux version ";
	uint64_t address = kms_symbols_find(&lx->symbols, "linux_banner");
	char banner[BANNER_BYTES] = "";
	size_t length = strlen(lx->info.release);
	int rc = address ? kms_lx_read(lx, address, banner, sizeof(banner) - 1, err)
			 : kms_err_set(err, -EBADMSG, "this kernel has no banner");

	if (rc)
		return rc;
	if (strncmp(banner, before, sizeof(before) - 1) != 0 ||
	    strncmp(banner + sizeof(before) - 1, lx->info.release, length) != 0 ||
	    banner[sizeof(before) - 1 + length] != ' ')
		return kms_err_set(err, -EBADMSG,
				   "the kernel that was found is not Linux %s (any more)",
				   lx->info.release);
	return 0;
}

static int learn(struct kms_linux *lx, const struct kms_linux_options *options, struct kms_err *err)
{
	const char *folder = options ? options->cache_folder : NULL;
	int rc;

	if (folder && !kms_linux_saved_load(folder, &lx->info, &lx->symbols, &lx->layout, NULL)) {
		if (kms_symbols_find(&lx->symbols, "_stext") == lx->info.stext &&
		    !check_banner(lx, NULL)) {
			lx->was_cached = true;
			return 0;
		}
		kms_symbols_deinit(&lx->symbols);
	}
	rc = decode_symbols(lx, err);
	if (!rc)
		rc = check_banner(lx, err);
	if (!rc)
		rc = probe_layout(lx, err);
	if (!rc && folder && *lx->info.build_id) /* for the next time only: not said */
		(void)kms_linux_saved_store(folder, &lx->info, &lx->symbols, &lx->layout, NULL);
	return rc;
}

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
	rc = learn(lx, options, err);
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
	return check_banner(lx, err) == -EBADMSG ? kms_err_set(err, -ESTALE,
							       "the kernel is no longer the one "
							       "attached to")
						 : 0;
}

uint64_t kms_linux_symbol(const struct kms_linux *lx, const char *name)
{
	return kms_symbols_find(&lx->symbols, name);
}
