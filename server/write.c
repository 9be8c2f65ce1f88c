/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared members: see write.h. */
#include "server/write.h"

#include <stdio.h>
#include <string.h>

static const char *const state_names[] = {KMS_STATE_NAMES};
static const char *const limit_names[] = {"none", "depth", "bytes", "maps", "memory"};
static const char *const backend_names[] = {"none", "userfaultfd", "marker", "mprotect",
					    "page_table"};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const char *kms_state_name(uint32_t state)
{
	return state < COUNT_OF(state_names) ? state_names[state] : "unknown";
}

void kms_write_snapshot(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, "snapshot");
	x->out->moment_at = x->body.used_bytes;
	kms_json_u64(json, "seq", s->seq);
	kms_json_u64(json, "time_ns", s->time_ns);
	kms_json_time(json, "time", s->wall_ns ? s->wall_ns + s->time_ns : 0);
	x->out->moment_bytes = x->body.used_bytes - x->out->moment_at;
	kms_json_bool(json, "finished", s->finished);
	kms_json_u64(json, "lost", s->stats.lost);
	kms_json_string(json, "tracer_lost", s->tracer_lost);
	kms_json_string(json, "file", s->file);
	kms_json_object_end(json);
}

void kms_write_list_begin(struct kms_exchange *x)
{
	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	kms_json_array_begin(&x->json, "items");
}

/* The path and query of the next page: this request's, with another cursor. */
static void write_link(struct kms_exchange *x, const char *cursor)
{
	const char *target = x->in->target;
	size_t path_bytes = strcspn(target, "?");
	const char *pair = target + path_bytes + (target[path_bytes] == '?');
	char *link = x->out->link;
	size_t room = sizeof(x->out->link);
	size_t used = (size_t)snprintf(link, room, "<%.*s?", (int)path_bytes, target);
	size_t length;

	for (; used < room && *pair; pair += length + (pair[length] == '&')) {
		length = strcspn(pair, "&");
		if (length == 0 || strncmp(pair, "cursor=", 7) == 0)
			continue;
		used += (size_t)snprintf(link + used, room - used, "%.*s&", (int)length, pair);
	}
	if (used < room)
		used += (size_t)snprintf(link + used, room - used, "cursor=%s>; rel=\"next\"",
					 cursor);
	/* A header value must be whole and plain; next_cursor says the same where it cannot be. */
	if (used >= room || strpbrk(link, "\r\n\t ") != strstr(link, " rel="))
		link[0] = '\0';
}

void kms_write_next(struct kms_exchange *x, const uint64_t key[KMS_CURSOR_KEYS],
		    char text[KMS_CURSOR_TEXT_BYTES])
{
	memcpy(x->query.cursor.key, key, sizeof(x->query.cursor.key));
	kms_cursor_write(&x->query.cursor, text);
	write_link(x, text);
}

void kms_write_list_end(struct kms_exchange *x, uint64_t total, bool more,
			const uint64_t key[KMS_CURSOR_KEYS])
{
	char text[KMS_CURSOR_TEXT_BYTES];

	kms_json_array_end(&x->json);
	kms_json_u64(&x->json, "total", total);
	if (more) {
		kms_write_next(x, key, text);
		kms_json_string(&x->json, "next_cursor", text);
	} else {
		kms_json_null(&x->json, "next_cursor");
	}
	kms_json_object_end(&x->json);
}

void kms_write_frames(struct kms_json *json, const char *key, const struct kms_view_stack *stack)
{
	const struct kms_view_frame *frame;

	kms_json_array_begin(json, key);
	for (size_t i = 0; i < stack->n_frames; i++) {
		frame = &stack->frame[i];
		kms_json_object_begin(json, NULL);
		kms_json_address(json, "address", frame->address);
		kms_json_string(json, "module", frame->module);
		kms_json_u64(json, "offset", frame->offset);
		kms_json_string(json, "function", frame->function);
		kms_json_string(json, "file", frame->file);
		if (frame->line)
			kms_json_u64(json, "line", frame->line);
		else
			kms_json_null(json, "line");
		kms_json_bool(json, "inlined", frame->inlined);
		kms_json_object_end(json);
	}
	kms_json_array_end(json);
}

void kms_write_stack(struct kms_exchange *x, const char *key, uint64_t stack_id)
{
	const char *error;
	char error_key[64];

	kms_write_frames(&x->json, key, kms_stacks_get(&x->stacks, stack_id, &error));
	if (!error)
		return;
	snprintf(error_key, sizeof(error_key), "%s_error", key);
	kms_json_string(&x->json, error_key, error);
}

void kms_write_guard(struct kms_json *json, const struct kms_guard_sum *sum)
{
	const struct kms_guard_stat *s = &sum->s;
	const char *backend =
		s->backend < COUNT_OF(backend_names) ? backend_names[s->backend] : "unknown";

	kms_json_u64(json, "depth_requested", s->depth_requested);
	kms_json_u64(json, "depth", s->depth);
	kms_json_bool(json, "pending", sum->pending);
	kms_json_u64(json, "used", s->used);
	kms_json_u64(json, "bytes", s->bytes);
	kms_json_u64(json, "pages", s->pages);
	kms_json_u64(json, "live", s->live);
	kms_json_u64(json, "oldest_age_us", sum->oldest_age_us);
	kms_json_u64(json, "window_frees", sum->window_frees);
	kms_json_u64(json, "frees", s->frees);
	kms_json_u64(json, "evictions", s->evictions);
	kms_json_u64(json, "unguarded", s->unguarded);
	kms_json_string(json, "limited_by",
			s->limited_by < COUNT_OF(limit_names) ? limit_names[s->limited_by]
							      : "unknown");
	kms_json_string(json, "backend", sum->mixed_backend ? "mixed" : backend);
	kms_json_u64(json, "maps_used", s->maps_used);
	kms_json_u64(json, "maps_max", s->maps_max);
}
