/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One picture out of those of all runs: rows copied with the fleet's numbers, sums added up. See fleet.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/fleet_impl.h"

/* How many rows there are in all. */
struct counts {
	size_t targets, caches, guards, leaks, faults, rings, owners;
};

static void count_share(struct counts *n, const struct kms_snapshot *s)
{
	n->targets += s->n_targets;
	n->caches += s->n_caches;
	n->guards += s->n_guards;
	n->leaks += s->n_leaks;
	n->faults += s->n_faults;
	n->rings += s->n_rings;
	for (size_t i = 0; i < s->n_faults; i++)
		n->owners += s->fault[i].n_owners;
}

/* Room for n rows; one more, so that none is no special case. */
static void *rows(size_t n, size_t bytes, bool *failed)
{
	void *p = calloc(n + 1, bytes);

	*failed |= !p;
	return p;
}

static int make_room(struct fleet_picture *picture)
{
	struct kms_snapshot *s = &picture->s;
	struct counts n = {0};
	bool failed = false;

	for (size_t i = 0; i < picture->n_shares; i++) {
		if (picture->share[i].run)
			count_share(&n, picture->share[i].s);
	}
	s->target = rows(n.targets, sizeof(*s->target), &failed);
	s->target_stats = rows(n.targets, sizeof(*s->target_stats), &failed);
	s->cache = rows(n.caches, sizeof(*s->cache), &failed);
	s->guard = rows(n.guards, sizeof(*s->guard), &failed);
	s->leak = rows(n.leaks, sizeof(*s->leak), &failed);
	s->fault = rows(n.faults, sizeof(*s->fault), &failed);
	s->ring = rows(n.rings, sizeof(*s->ring), &failed);
	picture->owner = rows(n.owners, sizeof(*picture->owner), &failed);
	return failed ? -ENOMEM : 0;
}

void fleet_picture_free(struct fleet_picture *picture)
{
	free(picture->s.target);
	free(picture->s.target_stats);
	free(picture->s.cache);
	free(picture->s.guard);
	free(picture->s.leak);
	free(picture->s.fault);
	free(picture->s.ring);
	free(picture->owner);
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void add_stats(struct kms_view_stats *sum, const struct kms_view_stats *one)
{
	sum->live_bytes += one->live_bytes;
	sum->live_objects += one->live_objects;
	sum->allocs += one->allocs;
	sum->frees += one->frees;
	sum->failed += one->failed;
	sum->alloc_rate += one->alloc_rate;
	sum->free_rate += one->free_rate;
	sum->faults += one->faults;
	for (unsigned i = 0; i < KMS_EVENT_KINDS; i++)
		sum->events[i] += one->events[i];
	sum->produced += one->produced;
	sum->stored += one->stored;
	sum->lost += one->lost;
	sum->waits += one->waits;
	sum->waited_ns += one->waited_ns;
	sum->db_bytes += one->db_bytes;
	sum->peak_bytes = max_u64(sum->peak_bytes, one->peak_bytes);
	sum->lag_us = max_u64(sum->lag_us, one->lag_us);
	if (one->ring_fill > sum->ring_fill)
		sum->ring_fill = one->ring_fill;
	if (one->ns_per_event > sum->ns_per_event)
		sum->ns_per_event = one->ns_per_event;
}

/* Targets of a share, with numbers for those that are new. */
static int add_targets(struct kms_fleet *fleet, struct kms_snapshot *out,
		       const struct fleet_share *share)
{
	const struct kms_snapshot *s = share->s;

	for (size_t i = 0; i < s->n_targets; i++) {
		struct kms_view_target *row = &out->target[out->n_targets];

		*row = s->target[i];
		row->id = fleet_id_of(fleet, share->run, FLEET_TARGET, row->id);
		if (!row->id)
			return -ENOMEM;
		/* a parent has the lower number, so it has one of the fleet by now */
		row->parent = fleet_id_known(share->run, FLEET_TARGET, row->parent);
		if (!row->file)
			row->file = s->file;
		if (s->target_stats)
			out->target_stats[out->n_targets] = s->target_stats[i];
		out->n_targets++;
	}
	return 0;
}

static uint32_t target_of(const struct fleet_share *share, uint32_t local)
{
	return fleet_id_known(share->run, FLEET_TARGET, local);
}

static void add_rows(struct kms_snapshot *out, const struct fleet_share *share)
{
	const struct kms_snapshot *s = share->s;
	uint32_t run = share->run->number;

	for (size_t i = 0; i < s->n_caches; i++) {
		out->cache[out->n_caches] = s->cache[i];
		out->cache[out->n_caches++].target = target_of(share, s->cache[i].target);
	}
	for (size_t i = 0; i < s->n_guards; i++) {
		out->guard[out->n_guards] = s->guard[i];
		out->guard[out->n_guards++].target = target_of(share, s->guard[i].target);
	}
	for (size_t i = 0; i < s->n_rings; i++) {
		out->ring[out->n_rings] = s->ring[i];
		out->ring[out->n_rings++].target = target_of(share, s->ring[i].target);
	}
	for (size_t i = 0; i < s->n_leaks; i++) {
		struct kms_view_leak *leak = &out->leak[out->n_leaks++];

		*leak = s->leak[i];
		leak->target = target_of(share, leak->target);
		leak->stack_id = fleet_stack(run, leak->stack_id);
	}
}

static void add_owners(struct kms_view_fault *fault, const struct fleet_share *share,
		       struct kms_view_owner **next)
{
	const struct kms_view_owner *from = fault->owner;
	uint32_t run = share->run->number;

	fault->owner = *next;
	for (size_t i = 0; i < fault->n_owners; i++) {
		struct kms_view_owner *owner = (*next)++;

		*owner = from[i];
		owner->alloc_ns = fleet_time(share->offset_ns, owner->alloc_ns);
		owner->free_ns = fleet_time(share->offset_ns, owner->free_ns);
		owner->alloc_stack_id = fleet_stack(run, owner->alloc_stack_id);
		owner->free_stack_id = fleet_stack(run, owner->free_stack_id);
	}
}

static int add_faults(struct kms_fleet *fleet, struct kms_snapshot *out,
		      const struct fleet_share *share, struct kms_view_owner **owner)
{
	const struct kms_snapshot *s = share->s;
	uint32_t run = share->run->number;

	for (size_t i = 0; i < s->n_faults; i++) {
		struct kms_view_fault *fault = &out->fault[out->n_faults++];

		*fault = s->fault[i];
		fault->id = fleet_id_of(fleet, share->run, FLEET_FAULT, fault->id);
		if (!fault->id)
			return -ENOMEM;
		fault->target = target_of(share, fault->target);
		fault->raw.time_ns = fleet_time(share->offset_ns, fault->raw.time_ns);
		fault->stack_id = fleet_stack(run, fault->stack_id);
		fault->alloc_stack_id = fleet_stack(run, fault->alloc_stack_id);
		fault->free_stack_id = fleet_stack(run, fault->free_stack_id);
		add_owners(fault, share, owner);
	}
	return 0;
}

/* A target's stop names a fault, which has its number only now. */
static void number_stops(struct kms_snapshot *out, const struct fleet_share *share, size_t first)
{
	for (size_t i = first; i < out->n_targets; i++)
		out->target[i].stop_fault =
			fleet_id_known(share->run, FLEET_FAULT, out->target[i].stop_fault);
}

static int add_share(struct kms_fleet *fleet, struct fleet_picture *picture,
		     const struct fleet_share *share, struct kms_view_owner **owner)
{
	struct kms_snapshot *out = &picture->s;
	size_t first = out->n_targets;
	int result = add_targets(fleet, out, share);

	if (!result)
		result = add_faults(fleet, out, share, owner);
	if (result)
		return result;
	number_stops(out, share, first);
	add_rows(out, share);
	add_stats(&out->stats, &share->s->stats);
	out->incomplete |= share->s->incomplete;
	out->seq += share->s->seq;
	out->time_ns = max_u64(out->time_ns, fleet_time(share->offset_ns, share->s->time_ns));
	return 0;
}

/* Highest score first, as in each run; among equals the larger. */
static int by_score(const void *a, const void *b)
{
	const struct kms_view_leak *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	return x->stack_id < y->stack_id ? -1 : x->stack_id > y->stack_id;
}

static int by_fault_id(const void *a, const void *b)
{
	const struct kms_view_fault *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* A target with its figures, to be sorted together. */
struct target_row {
	struct kms_view_target target;
	struct kms_view_stats stats;
};

static int by_target_id(const void *a, const void *b)
{
	const struct target_row *x = a, *y = b;

	return x->target.id < y->target.id ? -1 : x->target.id > y->target.id;
}

static int sort_targets(struct kms_snapshot *s)
{
	struct target_row *row = calloc(s->n_targets + 1, sizeof(*row));

	if (!row)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_targets; i++)
		row[i] = (struct target_row){s->target[i], s->target_stats[i]};
	qsort(row, s->n_targets, sizeof(*row), by_target_id);
	for (size_t i = 0; i < s->n_targets; i++) {
		s->target[i] = row[i].target;
		s->target_stats[i] = row[i].stats;
	}
	free(row);
	return 0;
}

/* The moment never goes back, also when the run that was furthest is taken out. */
static void set_moment(struct kms_fleet *fleet, struct kms_snapshot *s)
{
	fleet->last_seq = s->seq = max_u64(fleet->last_seq, s->seq);
	fleet->last_time_ns = s->time_ns = max_u64(fleet->last_time_ns, s->time_ns);
	/* Nobody knows what all held together between two pictures: the highest that was seen, and at
	 * least the highest of one run. */
	fleet->peak_bytes = max_u64(fleet->peak_bytes, s->stats.live_bytes);
	s->stats.peak_bytes = max_u64(fleet->peak_bytes, s->stats.peak_bytes);
	s->wall_ns = fleet->zero_wall_ns;
}

int fleet_build(struct kms_fleet *fleet, struct fleet_picture *picture)
{
	struct kms_snapshot *s = &picture->s;
	struct kms_view_owner *owner;
	int result = make_room(picture);

	owner = picture->owner;
	for (size_t i = 0; !result && i < picture->n_shares; i++) {
		if (picture->share[i].run)
			result = add_share(fleet, picture, &picture->share[i], &owner);
	}
	if (!result)
		result = sort_targets(s);
	if (result)
		return result;
	if (s->n_leaks)
		qsort(s->leak, s->n_leaks, sizeof(*s->leak), by_score);
	if (s->n_faults)
		qsort(s->fault, s->n_faults, sizeof(*s->fault), by_fault_id);
	set_moment(fleet, s);
	return 0;
}
