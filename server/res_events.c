/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/events: a page of events as JSON, NDJSON or CSV */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "schema/record.h"
#include "server/exchange.h"
#include "server/write.h"

static const char *const event_names[KMS_EVENT_KINDS] = {KMS_EVENT_NAMES};

static const struct {
	uint32_t bit;
	const char *name;
} flag_names[] = {
	{KMS_CHECK_SIZE,    "size"   },
        {KMS_CHECK_REDZONE, "redzone"},
	{KMS_CHECK_POISON,  "poison" },
        {KMS_CHECK_GUARD,   "guard"  },
	{KMS_CHECK_HEADER,  "header" },
        {KMS_ATTR_ZERO,     "zero"   },
	{KMS_ATTR_REALLOC,  "realloc"},
        {KMS_ATTR_ALIGNED,  "aligned"},
	{KMS_ATTR_INTR,     "intr"   },
        {KMS_ATTR_NOSLEEP,  "nosleep"},
	{KMS_ATTR_FOREIGN,  "foreign"},
        {KMS_ATTR_GUARDED,  "guarded"},
};

#define FLAG_NAMES (sizeof(flag_names) / sizeof(flag_names[0]))

struct page;

/* A way to write a page. */
struct format {
	const char *media_type;
	void (*begin)(struct page *page);
	void (*row)(struct page *page, const struct kms_view_event *event);
	void (*end)(struct page *page, bool more, const uint64_t key[KMS_CURSOR_KEYS]);
};

struct page {
	struct kms_exchange *x;
	const struct format *format;
	size_t sent;
	uint64_t last_seq, last_ns;
	bool more;
};

static const char *kind_name(uint32_t kind)
{
	return kind < KMS_EVENT_KINDS ? event_names[kind] : "unknown";
}

static void write_members(struct kms_json *json, const struct kms_view_event *event)
{
	kms_json_u64(json, "seq", event->seq);
	kms_json_u64(json, "time_ns", event->time_ns);
	kms_json_string(json, "kind", kind_name(event->kind));
	kms_json_address(json, "address", event->address);
	kms_json_u64(json, "size", event->size);
	kms_json_string(json, "cache", event->cache);
	kms_json_u64(json, "thread", event->tid);
	kms_json_u64(json, "target", event->target);
	kms_json_u64(json, "ring", event->ring);
	kms_json_u64(json, "stack_id", event->stack_id);
	kms_json_array_begin(json, "flags");
	for (size_t i = 0; i < FLAG_NAMES; i++)
		if (event->flags & flag_names[i].bit)
			kms_json_string(json, NULL, flag_names[i].name);
	kms_json_array_end(json);
}

static void json_begin(struct page *page)
{
	kms_json_object_begin(&page->x->json, NULL);
	kms_write_snapshot(page->x);
	kms_json_array_begin(&page->x->json, "items");
}

static void json_row(struct page *page, const struct kms_view_event *event)
{
	kms_json_object_begin(&page->x->json, NULL);
	write_members(&page->x->json, event);
	kms_json_object_end(&page->x->json);
}

static void json_end(struct page *page, bool more, const uint64_t key[KMS_CURSOR_KEYS])
{
	char text[KMS_CURSOR_TEXT_BYTES];

	kms_json_array_end(&page->x->json);
	if (more) {
		kms_write_next(page->x, key, text);
		kms_json_string(&page->x->json, "next_cursor", text);
	} else {
		kms_json_null(&page->x->json, "next_cursor");
	}
	kms_json_object_end(&page->x->json);
}

static void lines_begin(struct page *page)
{
	(void)page; /* no head */
}

static void lines_row(struct page *page, const struct kms_view_event *event)
{
	json_row(page, event);
	kms_buf_add_char(&page->x->body, '\n');
	page->x->json.comma = false;
}

/* In a format of rows only, the Link header says where to go on. */
static void link_end(struct page *page, bool more, const uint64_t key[KMS_CURSOR_KEYS])
{
	char text[KMS_CURSOR_TEXT_BYTES];

	if (more)
		kms_write_next(page->x, key, text);
}

static void csv_begin(struct page *page)
{
	kms_buf_add_str(
		&page->x->body,
		"seq,time_ns,kind,address,size,cache,thread,target,ring,stack_id,flags\r\n");
}

/* A foreign string as a CSV field (RFC 4180). */
static void csv_string(struct kms_buf *out, const char *text)
{
	if (!text)
		return;
	kms_buf_add_char(out, '"');
	for (size_t run; *text; text += run) {
		run = strcspn(text, "\"");
		kms_buf_add_printable(out, text, run);
		if (text[run] == '"') {
			kms_buf_add_str(out, "\"\"");
			run++;
		}
	}
	kms_buf_add_char(out, '"');
}

static void csv_row(struct page *page, const struct kms_view_event *event)
{
	struct kms_buf *out = &page->x->body;
	const char *separator = "";

	kms_buf_addf(out, "%" PRIu64 ",%" PRIu64 ",%s,0x%" PRIx64 ",%" PRIu64 ",", event->seq,
		     event->time_ns, kind_name(event->kind), event->address, event->size);
	csv_string(out, event->cache);
	kms_buf_addf(out, ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu64 ",", event->tid,
		     event->target, event->ring, event->stack_id);
	for (size_t i = 0; i < FLAG_NAMES; i++) {
		if (!(event->flags & flag_names[i].bit))
			continue;
		kms_buf_addf(out, "%s%s", separator, flag_names[i].name);
		separator = " ";
	}
	kms_buf_add_str(out, "\r\n");
}

static const struct format formats[] = {
	{"application/json",     json_begin,  json_row,  json_end},
	{"application/x-ndjson", lines_begin, lines_row, link_end},
	{"text/csv",             csv_begin,   csv_row,   link_end},
};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))

/* The weight of a media range from its parameters: "q=0.5"; 1 if there is none. */
static double read_weight(const char *params, size_t n)
{
	for (size_t i = 0; i + 2 < n; i++)
		if ((i == 0 || params[i - 1] == ';' || params[i - 1] == ' ') &&
		    (params[i] == 'q' || params[i] == 'Q') && params[i + 1] == '=')
			return strtod(params + i + 2, NULL); /* ends at , or ; or blank */
	return 1;
}

/* Whether a media range of n bytes covers a type: the type, its "main" part and *, or everything. */
static bool range_covers(const char *range, size_t n, const char *type)
{
	size_t main_bytes = strcspn(type, "/") + 1;

	if (n == 3 && memcmp(range, "*/*", 3) == 0)
		return true;
	if (n == main_bytes + 1 && range[n - 1] == '*')
		return strncasecmp(range, type, main_bytes) == 0;
	return n == strlen(type) && strncasecmp(range, type, n) == 0;
}

/* The format a client likes best; the first of the table where it has no wish. NULL: none fits. */
static const struct format *choose_format(const char *accept)
{
	const struct format *best = NULL;
	double best_weight = 0;
	double weight;
	size_t length;
	size_t type_bytes;

	if (!accept || !*accept)
		return &formats[0];
	for (; *accept; accept += length + (accept[length] == ',')) {
		accept += strspn(accept, " \t");
		length = strcspn(accept, ",");
		type_bytes = strcspn(accept, ";, \t");
		weight = read_weight(accept + type_bytes, length - type_bytes);
		for (size_t i = 0; i < FORMATS && weight > best_weight; i++) {
			if (!range_covers(accept, type_bytes, formats[i].media_type))
				continue;
			best = &formats[i];
			best_weight = weight;
		}
	}
	return best;
}

/* Called for each event; one more than the page holds says that there is a next page. */
static int emit_event(void *arg, const struct kms_view_event *event)
{
	struct page *page = arg;

	if (page->sent == page->x->query.limit) {
		page->more = true;
		return 1;
	}
	page->format->row(page, event);
	page->last_seq = event->seq;
	page->last_ns = event->time_ns;
	page->sent++;
	return 0;
}

/* What is asked of the source. A cursor is the first seq of the page; newest first, seq and time of the last one sent. */
static struct kms_event_query wanted_events(const struct kms_query *query)
{
	bool resumed = query->given & KMS_PARAM_BIT(KMS_PARAM_CURSOR);

	return (struct kms_event_query){
		.from_seq = resumed && !query->newest_first ? query->cursor.key[0] : 0,
		.before_seq = resumed && query->newest_first ? query->cursor.key[0] : UINT64_MAX,
		.before_ns = resumed && query->newest_first ? query->cursor.key[1] : UINT64_MAX,
		.newest_first = query->newest_first,
		.address = query->address,
		.from_ns = query->from_ns,
		.to_ns = query->to_ns,
		.site = query->site,
		.kinds = query->kinds,
		.target = query->target,
		.limit = query->limit + 1,
	};
}

void kms_res_events(struct kms_exchange *x)
{
	struct page page = {.x = x, .format = choose_format(x->in->accept)};
	struct kms_event_query wanted = wanted_events(&x->query);
	struct kms_err err = KMS_ERR_INIT;
	int ret;

	if (!x->view->ops->events) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source records no events");
		return;
	}
	if (!page.format) {
		kms_problem(x, KMS_PROBLEM_NOT_ACCEPTABLE,
			    "events come as application/json, application/x-ndjson or text/csv");
		return;
	}
	x->out->content_type = page.format->media_type;
	page.format->begin(&page);
	ret = x->view->ops->events(x->view->ctx, &wanted, emit_event, &page, &err);
	if (ret < 0) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "events cannot be read: %s", err.text);
		return;
	}
	page.format->end(
		&page, page.more,
		(const uint64_t[KMS_CURSOR_KEYS]){
			x->query.newest_first ? page.last_seq : page.last_seq + 1, page.last_ns});
}
