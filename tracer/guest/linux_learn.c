/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is learned of a kernel once: its symbols, from kallsyms, and where members lie, from BTF. Both are
 * kept for the next time, by build id and sealed with a hash of the tables that they came from. A guest
 * may say any build id; what it left is of use only to one that has the very same tables.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "tracer/guest/btf.h"
#include "tracer/guest/linux_impl.h"
#include "tracer/guest/linux_saved.h"

enum {
	MAX_NAME_BYTES = 32, /* in the compressed table, on average: a bound, Debian's need 13 */
	MAX_TOKEN_BYTES = 64 << 10,
	DEFAULT_TOKEN_BYTES = 4 << 10,
	INDEX_BYTES = 256 * sizeof(uint16_t),
	BANNER_BYTES = 128,
};

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

/*
 * Hashes of tables. The hash is none for secrets; it need not be: the seed is drawn after the guest was made, and the
 * guest never sees it.
 */
static uint64_t hash_tables(const struct kms_linux *lx, const struct kms_kallsyms_tables *tables,
			    uint64_t seed)
{
	uint64_t hash = kms_hash_bytes(tables->names, tables->names_bytes, seed);

	hash = kms_hash_bytes(tables->tokens, tables->tokens_bytes, hash);
	hash = kms_hash_bytes(tables->token_index, INDEX_BYTES, hash);
	hash = kms_hash_bytes(tables->offsets, tables->count * sizeof(int32_t), hash);
	return kms_hash_join(hash, tables->relative_base - lx->info.kaslr_offset);
}

/* Symbols, and the hash of the very bytes that they were decoded from. */
static int decode_symbols(struct kms_linux *lx, struct kms_linux_seal *seal, struct kms_err *err)
{
	struct table_copies copies = {0};
	struct kms_kallsyms_tables tables = {0};
	struct kms_kallsyms_known known = {"_stext", lx->info.stext};
	int rc = copy_tables(lx, &copies, &tables, err);

	if (!rc)
		rc = kms_symbols_decode(&lx->symbols, &tables, &known, err);
	if (!rc)
		seal->symbols = hash_tables(lx, &tables, seal->seed);
	copies_free(&copies);
	return rc;
}

/* The text of its types, in new memory. */
static int copy_types(struct kms_linux *lx, void **text, size_t *n, struct kms_err *err)
{
	uint64_t begin = kms_symbols_find(&lx->symbols, "__start_BTF");
	uint64_t end = kms_symbols_find(&lx->symbols, "__stop_BTF");

	if (!begin || end <= begin)
		return kms_err_set(err, -ENOTSUP,
				   "Linux %s does not carry its types (CONFIG_DEBUG_INFO_BTF)",
				   lx->info.release);
	if (end - begin > KMS_BTF_MAX_BYTES)
		return kms_err_set(err, -EFBIG, "BTF of %" PRIu64 " bytes", end - begin);
	*n = (size_t)(end - begin);
	return copy_new(lx, begin, *n, text, err);
}

/* The same for the places of members. */
static int probe_layout(struct kms_linux *lx, struct kms_linux_seal *seal, struct kms_err *err)
{
	KMS_AUTO_FREE void *text = NULL;
	struct kms_btf *btf = NULL;
	size_t n = 0;
	int rc = copy_types(lx, &text, &n, err);

	if (!rc)
		rc = kms_btf_open(text, n, &btf, err);
	if (!rc)
		rc = kms_linux_layout_probe(&lx->layout, btf, err);
	if (!rc)
		seal->types = kms_hash_bytes(text, n, seal->seed);
	kms_btf_close(btf);
	return rc;
}

int kms_lx_check_banner(struct kms_linux *lx, struct kms_err *err)
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

/* Whether what was kept is of this kernel, and not only of its build id. */
static bool is_sealed(struct kms_linux *lx, const struct kms_linux_seal *seal)
{
	struct table_copies copies = {0};
	struct kms_kallsyms_tables tables = {0};
	KMS_AUTO_FREE void *types = NULL;
	size_t n = 0;
	bool is_same = kms_symbols_find(&lx->symbols, "_stext") == lx->info.stext &&
		       !kms_lx_check_banner(lx, NULL) && !copy_tables(lx, &copies, &tables, NULL) &&
		       hash_tables(lx, &tables, seal->seed) == seal->symbols &&
		       !copy_types(lx, &types, &n, NULL) &&
		       kms_hash_bytes(types, n, seal->seed) == seal->types;

	copies_free(&copies);
	return is_same;
}

int kms_lx_learn(struct kms_linux *lx, const struct kms_linux_options *options, struct kms_err *err)
{
	const char *folder = options && *lx->info.build_id ? options->cache_folder : NULL;
	struct kms_linux_seal seal = {0};
	int rc;

	if (folder &&
	    !kms_linux_saved_load(folder, &lx->info, &seal, &lx->symbols, &lx->layout, NULL)) {
		lx->was_cached = is_sealed(lx, &seal);
		if (lx->was_cached)
			return 0;
		kms_symbols_deinit(&lx->symbols);
	}
	if (getrandom(&seal.seed, sizeof(seal.seed), GRND_NONBLOCK) != (ssize_t)sizeof(seal.seed))
		folder = NULL; /* nothing is kept that could not be sealed */
	rc = decode_symbols(lx, &seal, err);
	if (!rc)
		rc = kms_lx_check_banner(lx, err);
	if (!rc)
		rc = probe_layout(lx, &seal, err);
	if (!rc && folder) /* for the next time only: not said */
		(void)kms_linux_saved_store(folder, &lx->info, &seal, &lx->symbols, &lx->layout,
					    NULL);
	return rc;
}
