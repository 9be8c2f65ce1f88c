/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who holds memory: findleaks and kmausers in mdb's columns, show leaks with the evidence. A suspect here is
 * what the API calls one: live blocks of one site with a score. Whether something still points to
 * them is not looked at.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "server/db.h"
#include "server/db_run.h"
#include "server/suspect.h"

enum {
	USERS_BYTES = 8192, /* mdb's thresholds: a group is left out below both */
	USERS_COUNT = 100,
};

static void say_leak(struct kms_ddb *db, const struct kms_view_leak *leak)
{
	kms_ddb_add_name(db, leak->cache, 17);
	kms_buf_addf(db->out, " %6" PRIu64 " %16" PRIx64 " ", leak->count, leak->stack_id);
	kms_ddb_add_caller(db, leak->stack_id);
	kms_buf_add_char(db->out, '\n');
	if (db->modif[0] == 'v')
		kms_ddb_add_stack(db, leak->stack_id, INT64_MAX);
}

void kms_ddb_cmd_findleaks(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	const struct kms_view_leak *leak;
	int64_t left = db->count >= 0 ? db->count : KMS_DDB_ROWS;
	uint64_t count = 0;
	uint64_t bytes = 0;

	kms_buf_addf(db->out, "%-17s %6s %16s %s\n", "CACHE", "LEAKED", "STACK", "CALLER");
	for (size_t i = 0; i < s->n_leaks; i++) {
		leak = &s->leak[i];
		if (!kms_ddb_is_meant(db, leak->target) || !kms_is_suspect(leak))
			continue;
		count += leak->count;
		bytes += leak->bytes;
		if (left-- > 0)
			say_leak(db, leak);
	}
	kms_buf_add_str(db->out,
			"------------------------------------------------------------------------"
			"\n");
	kms_buf_addf(db->out, "%17s %6" PRIu64 " buffers, %" PRIu64 " bytes\n", "Total", count,
		     bytes);
	if (left < 0)
		kms_buf_addf(db->out, "kmem: %" PRId64 " more groups: findleaks,0t%zu\n", -left,
			     s->n_leaks);
	if (s->incomplete)
		kms_buf_add_str(db->out, "kmem: events were lost: counts may be too high\n");
}

static void say_evidence(struct kms_ddb *db, const struct kms_view_leak *leak)
{
	struct kms_buf words;

	kms_buf_addf(db->out, "%3.0f ", leak->score);
	kms_ddb_add_name(db, leak->cache, 16);
	kms_buf_addf(db->out, " %10" PRIu64 " bytes in %" PRIu64 ", age %s, in ", leak->bytes,
		     leak->count, kms_fmt_ns(leak->age_p50_us * 1000).text);
	kms_ddb_add_caller(db, leak->stack_id);
	kms_buf_init(&words, 1024);
	kms_suspect_words(&words, leak);
	kms_buf_addf(db->out, "\n\t%s\n", kms_buf_text(&words));
	kms_buf_deinit(&words);
	if (db->modif[0] == 'v')
		kms_ddb_add_stack(db, leak->stack_id, INT64_MAX);
}

void kms_ddb_show_leaks(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	int64_t left = db->count >= 0 ? db->count : KMS_DDB_ROWS;
	bool any = false;

	for (size_t i = 0; i < s->n_leaks && left > 0; i++) {
		if (!kms_ddb_is_meant(db, s->leak[i].target) || !kms_is_suspect(&s->leak[i]))
			continue;
		say_evidence(db, &s->leak[i]);
		any = true;
		left--;
	}
	if (!any)
		kms_buf_add_str(db->out, "kmem: no suspects\n");
	if (s->incomplete)
		kms_buf_add_str(db->out, "kmem: events were lost: counts may be too high\n");
}

/* "4096 bytes for 2 allocations with data size 2048:" and the stack. */
static void say_user(struct kms_ddb *db, const struct kms_view_leak *leak)
{
	uint64_t each = leak->count ? leak->bytes / leak->count : 0;

	kms_buf_addf(db->out,
		     "%" PRIu64 " bytes for %" PRIu64 " allocations with %sdata size %" PRIu64
		     ":\n",
		     leak->bytes, leak->count,
		     leak->count && leak->bytes % leak->count ? "average " : "", each);
	kms_ddb_add_stack(db, leak->stack_id, INT64_MAX);
}

static int compare_bytes(const void *a, const void *b)
{
	const struct kms_view_leak *const *left = a;
	const struct kms_view_leak *const *right = b;

	if ((*left)->bytes != (*right)->bytes)
		return (*left)->bytes < (*right)->bytes ? 1 : -1;
	return *left < *right ? -1 : 1; /* as the snapshot has them */
}

static bool has_cache(const struct kms_view_leak *leak, const char *cache)
{
	for (size_t i = 0; i < leak->n_caches; i++)
		if (leak->caches[i].name && strcmp(leak->caches[i].name, cache) == 0)
			return true;
	return false;
}

static bool is_user(const struct kms_ddb *db, const struct kms_view_leak *leak, const char *cache)
{
	return kms_ddb_is_meant(db, leak->target) && (!cache[0] || has_cache(leak, cache)) &&
	       (db->modif[0] == 'e' || leak->bytes >= USERS_BYTES || leak->count >= USERS_COUNT);
}

void kms_ddb_cmd_kmausers(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	const struct kms_view_leak **user;
	char cache[KMS_DDB_NAME_BYTES] = "";
	size_t n = 0;

	kms_ddb_modifier(db);
	(void)kms_ddb_lex_word(&db->lex, cache, sizeof(cache));
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
	user = calloc(s->n_leaks + 1, sizeof(*user));
	if (!user)
		kms_ddb_fail(db, "out of memory");
	for (size_t i = 0; user && i < s->n_leaks; i++)
		if (is_user(db, &s->leak[i], cache))
			user[n++] = &s->leak[i];
	if (n)
		/* NOLINTNEXTLINE(bugprone-sizeof-expression): likewise */
		qsort(user, n, sizeof(*user), compare_bytes);
	for (size_t i = 0; i < n && i < KMS_DDB_ROWS; i++)
		say_user(db, user[i]);
	if (n > KMS_DDB_ROWS)
		kms_buf_addf(db->out, "kmem: %zu smaller ones are left out\n", n - KMS_DDB_ROWS);
	else if (user && !n)
		kms_buf_add_str(db->out,
				"kmem: nobody; kmausers/e shows groups below 8192 bytes and "
				"100 allocations too\n");
	free(user);
}
