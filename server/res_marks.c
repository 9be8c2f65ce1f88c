/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/marks, GET and POST, and /api/v1/diff */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "base/hash.h"
#include "server/body.h"
#include "server/write.h"

enum {
	NAME_BYTES_MAX = KMS_QUERY_NAME_BYTES - 1,
};

/* A mark, or none: id 0. */
struct mark {
	uint64_t id, time_ns;
	char name[KMS_QUERY_NAME_BYTES];
};

static void mark_set(struct mark *mark, const struct kms_view_mark *from)
{
	size_t length = from->name ? strnlen(from->name, NAME_BYTES_MAX) : 0;

	mark->id = from->id;
	mark->time_ns = from->time_ns;
	memcpy(mark->name, from->name ? from->name : "", length);
	mark->name[length] = '\0';
}

static void write_mark(struct kms_exchange *x, uint64_t id, const char *name, uint64_t time_ns)
{
	uint64_t wall_ns = x->snapshot->wall_ns;

	kms_json_u64(&x->json, "id", id);
	kms_json_string(&x->json, "name", name);
	kms_json_u64(&x->json, "time_ns", time_ns);
	kms_json_time(&x->json, "time", wall_ns ? wall_ns + time_ns : 0);
}

/* A page of marks. */
struct page {
	struct kms_exchange *x;
	size_t sent;
	uint64_t total;
	uint64_t key[KMS_CURSOR_KEYS];
	bool more;
};

static int emit_mark(void *arg, const struct kms_view_mark *mark)
{
	struct page *page = arg;

	page->total++;
	if (mark->id <= page->x->query.cursor.key[0])
		return 0;
	if (page->sent == page->x->query.limit) {
		page->more = true;
		return 0;
	}
	kms_json_object_begin(&page->x->json, NULL);
	write_mark(page->x, mark->id, mark->name, mark->time_ns);
	kms_json_object_end(&page->x->json);
	page->key[0] = mark->id;
	page->sent++;
	return 0;
}

static bool is_offered(struct kms_exchange *x)
{
	if (x->view->ops->marks && x->view->ops->diff &&
	    (x->snapshot->finished || x->view->ops->mark))
		return true;
	kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source keeps no marks");
	return false;
}

void kms_res_marks(struct kms_exchange *x)
{
	struct page page = {.x = x};
	struct kms_err err = KMS_ERR_INIT;

	if (!is_offered(x))
		return;
	kms_write_list_begin(x);
	if (x->view->ops->marks(x->view->ctx, emit_mark, &page, &err) < 0)
		kms_problem(x, KMS_PROBLEM_INTERNAL, "marks cannot be read: %s", err.text);
	else
		kms_write_list_end(x, page.total, page.more, page.key);
}

/* A look for one mark, by id, or the newest of a name. */
struct look {
	const char *wanted;
	uint64_t id; /* 0: by name */
	struct mark found;
};

static int look_at(void *arg, const struct kms_view_mark *mark)
{
	struct look *look = arg;

	if (look->id ? mark->id == look->id : mark->name && strcmp(mark->name, look->wanted) == 0)
		mark_set(&look->found, mark);
	return 0;
}

/* Finds the mark of a parameter, "" none; false: a problem was answered. */
static bool find_mark(struct kms_exchange *x, const char *param, const char *wanted,
		      struct mark *mark)
{
	struct look look = {.wanted = wanted};
	struct kms_err err = KMS_ERR_INIT;

	*mark = (struct mark){0};
	if (!*wanted)
		return true;
	if (wanted[strspn(wanted, "0123456789")] == '\0')
		(void)kms_parse_u64(wanted, &look.id); /* else it is looked for as a name */
	if (x->view->ops->marks(x->view->ctx, look_at, &look, &err) < 0) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "marks cannot be read: %s", err.text);
		return false;
	}
	*mark = look.found;
	if (!mark->id)
		kms_problem_at(x, KMS_PROBLEM_NO_ITEM, param,
			       "there is no mark %s; /api/v1/marks lists them", wanted);
	return mark->id != 0;
}

/* Whether the body has a name that a mark may have; else a problem was answered. */
static bool check_name(struct kms_exchange *x, const cJSON *body)
{
	const cJSON *name = body->child;

	if (name->next || strcmp(name->string, "name") != 0 || !cJSON_IsString(name))
		kms_problem(x, KMS_PROBLEM_BAD_BODY, "the body has the one member name, a string");
	else if (!name->valuestring[0] || strlen(name->valuestring) > NAME_BYTES_MAX)
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/name", "must have 1 to %d bytes",
			       NAME_BYTES_MAX);
	else if (name->valuestring[strspn(name->valuestring, "0123456789")] == '\0')
		kms_problem_at(x, KMS_PROBLEM_BAD_BODY, "/name",
			       "must not be a number: marks have numbers already");
	else
		return true;
	return false;
}

static void post(struct kms_exchange *x, const char *name)
{
	const struct kms_view *view = x->view;
	struct kms_err err = KMS_ERR_INIT;
	struct look look = {.wanted = name};

	if (view->ops->mark(view->ctx, kms_exchange_who(x), name, &look.id, &err) < 0) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "the mark was not set: %s", err.text);
		return;
	}
	if (view->ops->marks(view->ctx, look_at, &look, &err) < 0 || !look.found.id) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "the mark was set and cannot be read: %s",
			    err.text);
		return;
	}
	x->out->status = 201;
	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	write_mark(x, look.found.id, look.found.name, look.found.time_ns);
	kms_json_object_end(&x->json);
}

void kms_res_marks_post(struct kms_exchange *x)
{
	cJSON *body = kms_body_read(x, "{\"name\": \"before\"}");

	if (!body)
		return;
	if (x->snapshot->finished)
		kms_problem(x, KMS_PROBLEM_NOT_LIVE,
			    "this is a finished trace; marks can be set while it runs");
	else if (is_offered(x) && check_name(x, body))
		post(x, body->child->valuestring);
	cJSON_Delete(body);
}

/* A page of the difference; rows come with the largest gain first. */
struct diff {
	struct kms_exchange *x;
	size_t sent;
	uint64_t total, key[KMS_CURSOR_KEYS];
	int64_t bytes, count;
	bool more;
};

/* Rows ascend in these words: the more a site gained, the smaller the first. */
static void diff_key(const struct kms_view_diff *row, uint64_t key[KMS_CURSOR_KEYS])
{
	const char *cache = row->cache ? row->cache : "";

	key[0] = (uint64_t)INT64_MAX - (uint64_t)row->bytes;
	key[1] = row->stack_id;
	key[2] = (uint64_t)row->target << 32 | (uint32_t)kms_hash_bytes(cache, strlen(cache), 0);
}

static bool is_behind(const struct kms_exchange *x, const uint64_t key[KMS_CURSOR_KEYS])
{
	const uint64_t *last = x->query.cursor.key;

	if (!(x->query.given & KMS_PARAM_BIT(KMS_PARAM_CURSOR)))
		return true;
	for (unsigned i = 0; i < KMS_CURSOR_KEYS; i++)
		if (key[i] != last[i])
			return key[i] > last[i];
	return false;
}

static void write_caches(struct kms_json *json, const struct kms_view_diff *row)
{
	kms_json_array_begin(json, "caches");
	for (size_t i = 0; i < row->n_caches; i++) {
		kms_json_object_begin(json, NULL);
		kms_json_string(json, "cache", row->caches[i].name);
		kms_json_i64(json, "bytes", row->caches[i].bytes);
		kms_json_i64(json, "count", row->caches[i].count);
		kms_json_object_end(json);
	}
	kms_json_array_end(json);
}

static void write_gain(struct kms_exchange *x, const struct kms_view_diff *row)
{
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, NULL);
	kms_json_u64(json, "target", row->target);
	kms_json_string(json, "cache", row->cache);
	write_caches(json, row);
	kms_json_i64(json, "bytes", row->bytes);
	kms_json_i64(json, "count", row->count);
	kms_json_u64(json, "stack_id", row->stack_id);
	kms_write_stack(x, "stack", row->stack_id);
	kms_json_object_end(json);
}

static int emit_diff(void *arg, const struct kms_view_diff *row)
{
	struct diff *diff = arg;
	struct kms_exchange *x = diff->x;
	uint64_t key[KMS_CURSOR_KEYS];

	if (x->query.target && row->target != x->query.target)
		return 0;
	diff->total++;
	diff->bytes += row->bytes;
	diff->count += row->count;
	diff_key(row, key);
	if (!is_behind(x, key))
		return 0;
	if (diff->sent == x->query.limit) {
		diff->more = true;
		return 0;
	}
	write_gain(x, row);
	memcpy(diff->key, key, sizeof(key));
	diff->sent++;
	return 0;
}

static void write_end_mark(struct kms_exchange *x, const char *key, const struct mark *mark)
{
	if (!mark->id) {
		kms_json_null(&x->json, key);
		return;
	}
	kms_json_object_begin(&x->json, key);
	write_mark(x, mark->id, mark->name, mark->time_ns);
	kms_json_object_end(&x->json);
}

void kms_res_diff(struct kms_exchange *x)
{
	struct diff diff = {.x = x};
	struct kms_err err = KMS_ERR_INIT;
	struct mark a, b;
	char text[KMS_CURSOR_TEXT_BYTES];

	if (!is_offered(x) || !find_mark(x, "a", x->query.mark_a, &a) ||
	    !find_mark(x, "b", x->query.mark_b, &b))
		return;
	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	write_end_mark(x, "a", &a);
	write_end_mark(x, "b", &b);
	kms_json_array_begin(&x->json, "items");
	if (x->view->ops->diff(x->view->ctx, a.id, b.id, emit_diff, &diff, &err) < 0) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "%s", err.text);
		return;
	}
	kms_json_array_end(&x->json);
	kms_json_u64(&x->json, "total", diff.total);
	kms_json_i64(&x->json, "total_bytes", diff.bytes);
	kms_json_i64(&x->json, "total_count", diff.count);
	if (diff.more) {
		kms_write_next(x, diff.key, text);
		kms_json_string(&x->json, "next_cursor", text);
	} else {
		kms_json_null(&x->json, "next_cursor");
	}
	kms_json_object_end(&x->json);
}
