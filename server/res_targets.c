/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/targets and /api/v1/stats */
#include <sys/wait.h>

#include "server/exchange.h"
#include "server/write.h"

static const char *const event_names[KMS_EVENT_KINDS] = {KMS_EVENT_NAMES};
static const char *const stop_names[] = {KMS_STOP_NAMES};

/* How it ended: a code, or a signal, or neither if that is not known. */
static void write_end(struct kms_json *json, const struct kms_view_target *target)
{
	int status = target->exit_status;

	if (status >= 0 && WIFEXITED(status))
		kms_json_i64(json, "exit_code", WEXITSTATUS(status));
	else
		kms_json_null(json, "exit_code");
	if (status >= 0 && WIFSIGNALED(status))
		kms_json_i64(json, "exit_signal", WTERMSIG(status));
	else
		kms_json_null(json, "exit_signal");
}

/* Why it stands still, and at which fault; null: it does not, or that is not known. */
static void write_stop(struct kms_json *json, const struct kms_view_target *target)
{
	uint32_t reason = target->stop_reason;

	if (target->state != KMS_STATE_STOPPED || reason == KMS_STOP_NONE ||
	    reason > KMS_STOP_REQUEST) {
		kms_json_null(json, "stop");
		return;
	}
	kms_json_object_begin(json, "stop");
	kms_json_string(json, "reason", stop_names[reason]);
	if (target->stop_fault)
		kms_json_u64(json, "fault", target->stop_fault);
	else
		kms_json_null(json, "fault");
	kms_json_object_end(json);
}

/* null: this source does not keep it by target */
static void write_live(struct kms_json *json, const struct kms_view_stats *stats)
{
	if (stats) {
		kms_json_u64(json, "live_bytes", stats->live_bytes);
		kms_json_u64(json, "live_objects", stats->live_objects);
		kms_json_u64(json, "peak_bytes", stats->peak_bytes);
		return;
	}
	kms_json_null(json, "live_bytes");
	kms_json_null(json, "live_objects");
	kms_json_null(json, "peak_bytes");
}

static void write_target(struct kms_exchange *x, size_t index)
{
	const struct kms_snapshot *s = x->snapshot;
	const struct kms_view_target *target = &s->target[index];
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, NULL);
	kms_json_u64(json, "id", target->id);
	kms_json_string(json, "name", target->name);
	kms_json_string(json, "kind", target->kind == KMS_TARGET_GUEST ? "guest" : "process");
	kms_json_u64(json, "pid", target->pid);
	kms_json_string(json, "state", kms_state_name(target->state));
	write_stop(json, target);
	kms_json_bool(json, "stale", target->stale);
	kms_json_time(json, "started", target->start_wall_ns);
	kms_json_time(json, "ended", target->end_wall_ns);
	write_end(json, target);
	if (target->parent)
		kms_json_u64(json, "parent", target->parent);
	else
		kms_json_null(json, "parent");
	kms_json_string(json, "command", target->command);
	kms_json_string(json, "file", target->file ? target->file : s->file);
	write_live(json, s->target_stats ? &s->target_stats[index] : NULL);
	kms_json_object_end(json);
}

void kms_res_targets(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	uint64_t key[KMS_CURSOR_KEYS] = {x->query.cursor.key[0]};
	size_t sent = 0;
	bool more = false;

	kms_write_list_begin(x);
	for (size_t i = 0; i < s->n_targets && !more; i++) { /* ids grow */
		if (s->target[i].id <= x->query.cursor.key[0])
			continue;
		more = sent == x->query.limit;
		if (more)
			break;
		write_target(x, i);
		key[0] = s->target[i].id;
		sent++;
	}
	kms_write_list_end(x, s->n_targets, more, key);
}

static void write_counts(struct kms_json *json, const struct kms_view_stats *stats, bool peak_known)
{
	kms_json_u64(json, "live_bytes", stats->live_bytes);
	kms_json_u64(json, "live_objects", stats->live_objects);
	if (peak_known)
		kms_json_u64(json, "peak_bytes", stats->peak_bytes);
	else
		kms_json_null(json, "peak_bytes");
	kms_json_u64(json, "allocs", stats->allocs);
	kms_json_u64(json, "frees", stats->frees);
	kms_json_u64(json, "failed", stats->failed);
	kms_json_u64(json, "alloc_rate", stats->alloc_rate);
	kms_json_u64(json, "free_rate", stats->free_rate);
	kms_json_u64(json, "faults", stats->faults);
}

/* Is some running target's picture one of before a loss? */
static bool is_stale(const struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;

	for (size_t i = 0; i < s->n_targets; i++)
		if (s->target[i].stale && (!x->query.target || s->target[i].id == x->query.target))
			return true;
	return false;
}

static void write_machinery(struct kms_exchange *x, const struct kms_view_stats *stats,
			    const struct kms_guard_sum *guard)
{
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, "ring");
	kms_json_double(json, "fill", stats->ring_fill);
	kms_json_u64(json, "produced", stats->produced);
	kms_json_u64(json, "stored", stats->stored);
	kms_json_u64(json, "lost", stats->lost);
	kms_json_bool(json, "stale", is_stale(x));
	kms_json_u64(json, "waits", stats->waits);
	kms_json_u64(json, "waited_us", stats->waited_ns / 1000);
	kms_json_object_end(json);
	kms_json_object_begin(json, "guard");
	kms_write_guard(json, guard);
	kms_json_object_end(json);
	kms_json_object_begin(json, "tracer");
	kms_json_u64(json, "events_stored", stats->stored);
	kms_json_u64(json, "lag_us", stats->lag_us);
	kms_json_u64(json, "db_bytes", stats->db_bytes);
	kms_json_object_end(json);
	kms_json_object_begin(json, "cost");
	kms_json_double(json, "ns_per_event", stats->ns_per_event);
	kms_json_u64(json, "maps_used", guard->s.maps_used);
	kms_json_u64(json, "maps_max", guard->s.maps_max);
	kms_json_object_end(json);
}

/* Targets by state, every state named. */
static void write_states(struct kms_exchange *x)
{
	uint64_t counts[KMS_STATES] = {0};

	for (size_t i = 0; i < x->snapshot->n_targets; i++)
		if (x->snapshot->target[i].state < KMS_STATES)
			counts[x->snapshot->target[i].state]++;
	kms_json_object_begin(&x->json, "targets");
	for (uint32_t state = KMS_STATE_RUNNING; state < KMS_STATES; state++)
		kms_json_u64(&x->json, kms_state_name(state), counts[state]);
	kms_json_object_end(&x->json);
}

void kms_res_stats(struct kms_exchange *x)
{
	struct kms_view_stats stats;
	struct kms_guard_sum guard;
	struct kms_json *json = &x->json;
	bool peak_known;

	kms_sum_stats(x->snapshot, x->query.target, &stats, &peak_known);
	kms_sum_guard(x->snapshot, x->query.target, &guard);
	kms_json_object_begin(json, NULL);
	kms_write_snapshot(x);
	if (x->query.target)
		kms_json_u64(json, "target", x->query.target);
	else
		kms_json_null(json, "target");
	write_counts(json, &stats, peak_known);
	write_machinery(x, &stats, &guard);
	if (!x->query.target) { /* these are known for the run only */
		kms_json_object_begin(json, "events");
		for (unsigned int i = 1; i < KMS_EVENT_KINDS; i++)
			kms_json_u64(json, event_names[i], stats.events[i]);
		kms_json_object_end(json);
		write_states(x);
	}
	kms_json_object_end(json);
}
