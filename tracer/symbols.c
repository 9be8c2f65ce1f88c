/* SPDX-License-Identifier: BSD-2-Clause */
/* The symbol resolver: its life, its modules, and how a request is split between cache and helper. */
#include "tracer/symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "tracer/symbols_resolver.h"

enum {
	DEADLINE_MS = 2000,
	DEADLINE_DEBUGINFOD_MS = 60000,
	FIRST_START_MS = 2000, /* at least, however short the deadline of a batch is */
	MODULES_OPEN = 32,
	NS_PER_MS = 1000000,
};

static const uint64_t helper_memory_default_bytes = 2ULL << 30;
static const uint64_t cache_default_bytes = 64ULL << 20;

const char *kms_symbol_reason_name(enum kms_symbol_reason reason)
{
	static const char *const names[KMS_SYMBOL_N_REASONS] = {
		[KMS_SYMBOL_OK] = "ok",
		[KMS_SYMBOL_NO_FILE] = "no_file",
		[KMS_SYMBOL_BUILD_ID_MISMATCH] = "build_id_mismatch",
		[KMS_SYMBOL_NO_SYMBOL] = "no_symbol",
		[KMS_SYMBOL_HELPER_DIED] = "helper_died",
		[KMS_SYMBOL_TIMEOUT] = "timeout",
		[KMS_SYMBOL_BAD_ELF] = "bad_elf",
		[KMS_SYMBOL_CACHE_FULL] = "cache_full",
	};
	return (unsigned int)reason < KMS_SYMBOL_N_REASONS ? names[reason] : "unknown";
}

/* Life ------------------------------------------------------------------------------------------------------------ */

static int configure(struct kms_symbols *sym, const struct kms_symbols_config *cfg,
		     struct kms_err *err)
{
	const char *root = cfg->debug_root ? cfg->debug_root : "/usr/lib/debug";
	size_t n_root = strlen(root);
	if (n_root == 0 || n_root > KMS_SYMBOLS_PATH_BYTES)
		return kms_err_set(err, -EINVAL, "folder of debug files: empty or too long");
	memcpy(sym->wire_config.debug_root, root, n_root + 1);
	sym->wire_config.memory_bytes =
		cfg->helper_memory_bytes ? cfg->helper_memory_bytes : helper_memory_default_bytes;
	sym->wire_config.modules_open_max =
		cfg->modules_open_max ? cfg->modules_open_max : MODULES_OPEN;
	sym->wire_config.allow_debuginfod = cfg->allow_debuginfod;
	uint64_t default_ms = cfg->allow_debuginfod ? DEADLINE_DEBUGINFOD_MS : DEADLINE_MS;
	sym->deadline_ns = (cfg->deadline_ms ? cfg->deadline_ms : default_ms) * NS_PER_MS;
	sym->helper_exec = strdup(cfg->helper_exec ? cfg->helper_exec : "/proc/self/exe");
	return sym->helper_exec ? 0 : kms_err_sys(err, -ENOMEM, "symbol resolver", NULL);
}

/* None of these can fail with these arguments. */
static void init_locks(struct kms_symbols *sym)
{
	pthread_condattr_t attributes;
	pthread_mutex_init(&sym->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&sym->link_is_free, &attributes);
	pthread_condattr_destroy(&attributes);
}

static uint64_t first_start_end(const struct kms_symbols *sym)
{
	uint64_t wait_ns = (uint64_t)FIRST_START_MS * NS_PER_MS;
	if (wait_ns < sym->deadline_ns)
		wait_ns = sym->deadline_ns;
	return kms_clock_now(kms_clock_system()) + wait_ns;
}

struct kms_symbols *kms_symbols_create(const struct kms_symbols_config *cfg, struct kms_err *err)
{
	static const struct kms_symbols_config all_defaults;
	if (!cfg)
		cfg = &all_defaults;
	struct kms_symbols *sym = calloc(1, sizeof(*sym));
	if (!sym) {
		kms_err_sys(err, -ENOMEM, "symbol resolver", NULL);
		return NULL;
	}
	init_locks(sym);
	kms_symbols_link_init(&sym->link);
	kms_symbols_cache_init(&sym->cache,
			       cfg->cache_bytes ? cfg->cache_bytes : cache_default_bytes);
	int rc = configure(sym, cfg, err);
	if (rc == 0)
		rc = kms_symbols_start_helper(sym, first_start_end(sym), err);
	if (rc != 0) {
		kms_symbols_destroy(sym);
		return NULL;
	}
	return sym;
}

void kms_symbols_destroy(struct kms_symbols *sym)
{
	if (!sym)
		return;
	kms_symbols_link_deinit(&sym->link);
	kms_symbols_cache_deinit(&sym->cache);
	for (size_t i = 0; i < sym->n_modules; i++) {
		free(sym->modules[i]->path);
		free(sym->modules[i]);
	}
	free(sym->modules);
	free(sym->helper_exec);
	pthread_cond_destroy(&sym->link_is_free);
	pthread_mutex_destroy(&sym->lock);
	free(sym);
}

void kms_symbols_stats(struct kms_symbols *sym, struct kms_symbols_stats *out)
{
	pthread_mutex_lock(&sym->lock);
	*out = sym->stats;
	out->cache_bytes = sym->cache.used_bytes;
	out->cache_entries = sym->cache.n_entries;
	pthread_mutex_unlock(&sym->lock);
}

pid_t kms_symbols_helper_pid(struct kms_symbols *sym)
{
	pthread_mutex_lock(&sym->lock);
	pid_t pid = sym->helper_pid;
	pthread_mutex_unlock(&sym->lock);
	return pid;
}

/* Modules --------------------------------------------------------------------------------------------------------- */

static uint64_t hash_module(const struct kms_symbols_module *desc)
{
	uint64_t hash = kms_hash_bytes(desc->path, strlen(desc->path), desc->mapped_bytes);
	return kms_hash_bytes(desc->build_id, desc->n_build_id, hash);
}

static bool is_same_module(const struct kms_symbols_known_module *known,
			   const struct kms_symbols_module *desc)
{
	return known->mapped_bytes == desc->mapped_bytes && known->n_build_id == desc->n_build_id &&
	       strcmp(known->path, desc->path) == 0 &&
	       (desc->n_build_id == 0 ||
		memcmp(known->build_id, desc->build_id, desc->n_build_id) == 0);
}

static struct kms_symbols_known_module *known_module_create(const struct kms_symbols_module *desc,
							    uint64_t hash)
{
	struct kms_symbols_known_module *module = calloc(1, sizeof(*module));
	if (!module)
		return NULL;
	module->path = strdup(desc->path);
	if (!module->path) {
		free(module);
		return NULL;
	}
	module->hash = hash;
	module->mapped_bytes = desc->mapped_bytes;
	module->n_build_id = (uint8_t)desc->n_build_id;
	if (desc->n_build_id > 0)
		memcpy(module->build_id, desc->build_id, desc->n_build_id);
	return module;
}

/* Finds or adds a module. Holds the lock. */
static int add_module(struct kms_symbols *sym, const struct kms_symbols_module *desc, uint32_t *id)
{
	uint64_t hash = hash_module(desc);
	for (size_t i = 0; i < sym->n_modules; i++) {
		if (sym->modules[i]->hash == hash && is_same_module(sym->modules[i], desc)) {
			*id = (uint32_t)i;
			return 0;
		}
	}
	if (sym->n_modules == KMS_SYMBOLS_MODULES)
		return -ENOSPC;
	if (sym->n_modules == sym->modules_size) {
		size_t size = sym->modules_size ? sym->modules_size * 2 : 64;
		void *modules =
			realloc(sym->modules, size * sizeof(struct kms_symbols_known_module *));
		if (!modules)
			return -ENOMEM;
		sym->modules = modules;
		sym->modules_size = size;
	}
	struct kms_symbols_known_module *module = known_module_create(desc, hash);
	if (!module)
		return -ENOMEM;
	sym->modules[sym->n_modules] = module;
	*id = (uint32_t)sym->n_modules++;
	return 0;
}

int kms_symbols_module(struct kms_symbols *sym, const struct kms_symbols_module *desc, uint32_t *id,
		       struct kms_err *err)
{
	size_t n_path = strlen(desc->path);
	if (n_path == 0 || n_path > KMS_SYMBOLS_PATH_BYTES)
		return kms_err_set(err, -EINVAL, "path of a module: empty or too long");
	if (desc->n_build_id > KMS_SYMBOLS_BUILD_ID_BYTES)
		return kms_err_set(err, -EINVAL, "build-id of a module: %zu bytes are too many",
				   desc->n_build_id);
	pthread_mutex_lock(&sym->lock);
	int rc = add_module(sym, desc, id);
	pthread_mutex_unlock(&sym->lock);
	return rc == 0 ? 0 : kms_err_sys(err, rc, "no room for a module", desc->path);
}

/* Requests -------------------------------------------------------------------------------------------------------- */

bool kms_symbols_answer_known(const struct kms_symbols *sym, struct kms_symbols_item *item)
{
	const struct kms_symbols_wire_entry *address = &item->address;
	const struct kms_symbols_cache_entry *entry = kms_symbols_cache_find(
		&sym->cache, address->module, address->offset, address->is_return);
	if (entry) {
		item->answer = (struct kms_symbol_answer){
			.frames = entry->frames,
			.n_frames = entry->n_frames,
			.reason = (enum kms_symbol_reason)entry->reason,
		};
		item->is_done = true;
	} else if (item->module->verdict != KMS_SYMBOL_OK) {
		item->answer.reason = (enum kms_symbol_reason)item->module->verdict;
		item->is_done = true;
	}
	return item->is_done;
}

static struct kms_symbols_item item_of(const struct kms_symbols *sym,
				       const struct kms_symbol_request *reqs, size_t idx)
{
	const struct kms_symbol_request *req = &reqs[idx];
	return (struct kms_symbols_item){
		.address = {.offset = req->offset,
			    .module = req->module,
			    .is_return = req->is_return},
		.module = sym->modules[req->module],
		.answer.reason = KMS_SYMBOL_HELPER_DIED, /* until there is a better one */
	};
}

/* Answers what is known; returns how many are left for the helper. Holds the lock. */
static size_t answer_from_cache(const struct kms_symbols *sym,
				const struct kms_symbol_request *reqs, size_t n,
				struct kms_symbol_answer *answers)
{
	size_t n_left = 0;
	for (size_t i = 0; i < n; i++) {
		answers[i] = (struct kms_symbol_answer){.reason = KMS_SYMBOL_NO_FILE};
		if (reqs[i].module >= sym->n_modules)
			continue;
		struct kms_symbols_item item = item_of(sym, reqs, i);
		n_left += !kms_symbols_answer_known(sym, &item);
		answers[i] = item.answer;
	}
	return n_left;
}

int kms_symbols_compare_addresses(const void *a, const void *b)
{
	const struct kms_symbols_wire_entry *x = &((const struct kms_symbols_item *)a)->address;
	const struct kms_symbols_wire_entry *y = &((const struct kms_symbols_item *)b)->address;
	if (x->module != y->module)
		return x->module < y->module ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (int)x->is_return - (int)y->is_return;
}

/* Makes items of the requests that answer_from_cache has left, each address once, under the same hold of the lock. */
static size_t collect_items(const struct kms_symbols *sym, const struct kms_symbol_request *reqs,
			    size_t n, struct kms_symbols_item *items)
{
	size_t n_items = 0;
	for (size_t i = 0; i < n; i++) {
		if (reqs[i].module >= sym->n_modules)
			continue;
		struct kms_symbols_item item = item_of(sym, reqs, i);
		if (!kms_symbols_answer_known(sym, &item))
			items[n_items++] = item;
	}
	qsort(items, n_items, sizeof(*items), kms_symbols_compare_addresses);
	size_t n_unique = 0;
	for (size_t i = 0; i < n_items; i++) {
		if (i == 0 || kms_symbols_compare_addresses(&items[i], &items[n_unique - 1]) != 0)
			items[n_unique++] = items[i];
	}
	return n_unique;
}

/* Hands each request the answer of its item; those answered from the cache have none. */
static void deliver(const struct kms_symbol_request *reqs, size_t n, struct kms_symbols_item *items,
		    size_t n_items, struct kms_symbol_answer *answers)
{
	qsort(items, n_items, sizeof(*items), kms_symbols_compare_addresses);
	for (size_t i = 0; i < n; i++) {
		struct kms_symbols_item key = {
			.address = {.offset = reqs[i].offset,
				    .module = reqs[i].module,
				    .is_return = reqs[i].is_return},
		};
		const struct kms_symbols_item *item = bsearch(&key, items, n_items, sizeof(*items),
							      kms_symbols_compare_addresses);
		if (item)
			answers[i] = item->answer;
	}
}

/* Makes this thread the one that uses the helper; waits no longer than the deadline. Holds the lock. */
static bool take_link(struct kms_symbols *sym, uint64_t deadline_ns)
{
	struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / 1000000000),
		.tv_nsec = (long)(deadline_ns % 1000000000),
	};
	while (sym->is_link_taken) {
		if (pthread_cond_timedwait(&sym->link_is_free, &sym->lock, &deadline) == ETIMEDOUT)
			return false;
	}
	sym->is_link_taken = true;
	return true;
}

static void give_link(struct kms_symbols *sym)
{
	pthread_mutex_lock(&sym->lock);
	sym->is_link_taken = false;
	pthread_cond_signal(&sym->link_is_free);
	pthread_mutex_unlock(&sym->lock);
}

static void ask_helper(struct kms_symbols *sym, struct kms_symbols_item *items, size_t n_items,
		       uint64_t deadline_ns)
{
	pthread_mutex_lock(&sym->lock);
	bool is_taken = take_link(sym, deadline_ns);
	/* Another thread may have asked for the same while this one waited. */
	for (size_t i = 0; i < n_items; i++) {
		if (!kms_symbols_answer_known(sym, &items[i]))
			items[i].answer.reason = KMS_SYMBOL_TIMEOUT;
	}
	pthread_mutex_unlock(&sym->lock);
	if (!is_taken)
		return;
	kms_symbols_run_batch(sym, items, n_items, deadline_ns);
	give_link(sym);
}

int kms_symbols_resolve(struct kms_symbols *sym, const struct kms_symbol_request *reqs, size_t n,
			struct kms_symbol_answer *answers)
{
	uint64_t deadline_ns = kms_clock_now(kms_clock_system()) + sym->deadline_ns;
	struct kms_symbols_item *items = NULL;
	pthread_mutex_lock(&sym->lock);
	size_t n_items = answer_from_cache(sym, reqs, n, answers);
	sym->stats.n_requests += n;
	sym->stats.n_cache_hits += n - n_items;
	if (n_items > 0)
		items = calloc(n_items, sizeof(*items));
	if (items)
		n_items = collect_items(sym, reqs, n, items);
	pthread_mutex_unlock(&sym->lock);
	if (n_items == 0)
		return 0;
	if (!items)
		return -ENOMEM;
	ask_helper(sym, items, n_items, deadline_ns);
	deliver(reqs, n, items, n_items, answers);
	free(items);
	return 0;
}
