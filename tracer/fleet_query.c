/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks, slabs, addresses and memory of a fleet's targets. Lists over all are in order of the fleet's
 * targets, which need not be that of the runs: so they are asked for target by target.
 */
#include <errno.h>
#include <string.h>

#include "tracer/fleet_impl.h"

/* The next target that is still shown, from *id on; false: no more. */
static bool next_target(struct kms_fleet *fleet, uint32_t *id, uint32_t *run)
{
	struct fleet_id found;
	bool is_there = false;

	(void)pthread_mutex_lock(&fleet->lock); /* plain mutexes, never locked twice */
	while (!is_there && fleet_id_find(fleet, FLEET_TARGET, *id, &found)) {
		is_there = fleet_find_run(fleet, found.run) != NULL;
		*run = found.run;
		*id += !is_there;
	}
	(void)pthread_mutex_unlock(&fleet->lock);
	return is_there;
}

/* A list of rows on its way through the targets. */
struct list {
	struct kms_fleet *fleet;
	uint32_t run, target; /* that are asked now, in the fleet's numbers */
	int64_t offset_ns;
	bool is_over; /* the receiver has enough */
	void *arg;
};

/* Asks all targets from @first on, or only that one, until the receiver has enough. */
static int each_target(struct list *list, uint32_t first, bool only, fleet_call_fn *call, void *job,
		       struct kms_err *err)
{
	int result = 0;

	for (uint32_t id = first; !result && !list->is_over; id++) {
		struct kms_err one = KMS_ERR_INIT;

		if (!next_target(list->fleet, &id, &list->run) || (only && id != first))
			return only && !list->is_over
				       ? kms_err_set(err, -ESRCH, "there is no target %u", first)
				       : 0;
		list->target = id;
		(void)fleet_offset(list->fleet, list->run, &list->offset_ns);
		result = fleet_call_target(list->fleet, id, call, job, &one);
		if (result == -ESRCH && !only) /* it has just been taken out */
			result = 0;
		if (result && err)
			*err = one;
		if (only)
			break;
	}
	return result;
}

/* A block with the fleet's numbers. */
static void globalise(const struct list *list, struct kms_view_block *block)
{
	block->target = list->target;
	block->alloc_ns = fleet_time(list->offset_ns, block->alloc_ns);
	block->free_ns = fleet_time(list->offset_ns, block->free_ns);
	block->alloc_stack_id = fleet_stack(list->run, block->alloc_stack_id);
	block->free_stack_id = fleet_stack(list->run, block->free_stack_id);
}

struct blocks_job {
	struct list list;
	const struct kms_block_query *query;
	size_t left;
	int (*emit)(void *arg, const struct kms_view_block *block);
};

static int emit_block(void *arg, const struct kms_view_block *block)
{
	struct blocks_job *job = arg;
	struct kms_view_block out = *block;

	globalise(&job->list, &out);
	job->left--;
	job->list.is_over = job->emit(job->list.arg, &out) != 0 || !job->left;
	return job->list.is_over;
}

static int ask_blocks(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct blocks_job *job = arg;
	struct kms_block_query query = *job->query;
	bool resumed = query.after_target && query.after_target == job->list.target;

	if (!view->ops->blocks)
		return fleet_not_offered(err);
	if (query.site && fleet_run_of(query.site) != job->list.run)
		return 0;
	query.site = fleet_stack_local(query.site);
	query.target = target;
	query.after_target = resumed ? target : 0;
	query.after_address = resumed ? query.after_address : 0;
	query.limit = job->left;
	return view->ops->blocks(view->ctx, &query, emit_block, job, err);
}

static int op_blocks(void *ctx, const struct kms_block_query *query,
		     int (*emit)(void *arg, const struct kms_view_block *block), void *arg,
		     struct kms_err *err)
{
	struct blocks_job job = {
		.list = {.fleet = ctx, .arg = arg},
		.query = query,
		.left = query->limit,
		.emit = emit
        };
	uint32_t first = query->target         ? query->target
			 : query->after_target ? query->after_target
					       : 1;

	return query->limit
		       ? each_target(&job.list, first, query->target != 0, ask_blocks, &job, err)
		       : 0;
}

struct slabs_job {
	struct list list;
	const char *cache;
	int (*emit)(void *arg, const struct kms_view_slab *slab);
};

static int emit_slab(void *arg, const struct kms_view_slab *slab)
{
	struct slabs_job *job = arg;
	struct kms_view_slab out = *slab;

	out.target = job->list.target;
	job->list.is_over = job->emit(job->list.arg, &out) != 0;
	return job->list.is_over;
}

static int ask_slabs(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct slabs_job *job = arg;

	if (!view->ops->slabs)
		return fleet_not_offered(err);
	return view->ops->slabs(view->ctx, target, job->cache, emit_slab, job, err);
}

static int op_slabs(void *ctx, uint32_t target, const char *cache,
		    int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
		    struct kms_err *err)
{
	struct slabs_job job = {
		.list = {.fleet = ctx, .arg = arg},
                  .cache = cache, .emit = emit
        };

	return each_target(&job.list, target ? target : 1, target != 0, ask_slabs, &job, err);
}

struct whatis_job {
	struct list list;
	uint64_t address;
	struct kms_view_block *out;
};

static int ask_whatis(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct whatis_job *job = arg;
	struct kms_fleet *fleet = job->list.fleet;
	int result;

	if (!view->ops->whatis)
		return fleet_not_offered(err);
	result = view->ops->whatis(view->ctx, target, job->address, job->out, err);
	if (result)
		return result;
	globalise(&job->list, job->out);
	job->out->cache = kms_name_pool_keep(&fleet->names, job->out->cache);
	job->list.is_over = job->out->address != 0;
	return 0;
}

/* Target 0: the first that knows the address. */
static int op_whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
		     struct kms_err *err)
{
	struct whatis_job job = {.list = {.fleet = ctx}, .address = address, .out = out};

	*out = (struct kms_view_block){0};
	return each_target(&job.list, target ? target : 1, target != 0, ask_whatis, &job, err);
}

struct memory_job {
	uint64_t address;
	void *to;
	size_t n, n_read;
};

static int ask_memory(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct memory_job *job = arg;

	if (!view->ops->memory)
		return fleet_not_offered(err);
	return view->ops->memory(view->ctx, target, job->address, job->to, job->n, &job->n_read,
				 err);
}

/* NOLINTNEXTLINE(readability-function-size): its shape is struct kms_view_ops' */
static int op_memory(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
		     size_t *n_read, struct kms_err *err)
{
	struct memory_job job = {.address = address, .to = to, .n = n};
	int result = fleet_call_target(ctx, target, ask_memory, &job, err);

	*n_read = job.n_read;
	return result;
}

struct poke_job {
	const char *who;
	struct kms_memory_write write;
};

static int ask_poke(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct poke_job *job = arg;

	if (!view->ops->memory_write)
		return fleet_not_offered(err);
	job->write.target = target; /* by the run's own number */
	return view->ops->memory_write(view->ctx, job->who, &job->write, err);
}

static int op_memory_write(void *ctx, const char *who, const struct kms_memory_write *write,
			   struct kms_err *err)
{
	struct poke_job job = {.who = who, .write = *write};

	return fleet_call_target(ctx, write->target, ask_poke, &job, err);
}

/* Of a name, or of an address where there is none. */
struct symbol_job {
	const char *name;
	uint64_t address;
	struct kms_view_symbol *out;
};

static int ask_symbol(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	const struct symbol_job *job = arg;

	if (!view->ops->symbol || !view->ops->symbol_at)
		return fleet_not_offered(err);
	return job->name ? view->ops->symbol(view->ctx, target, job->name, job->out, err)
			 : view->ops->symbol_at(view->ctx, target, job->address, job->out, err);
}

static int op_symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
		     struct kms_err *err)
{
	struct symbol_job job = {.name = name, .out = out};

	*out = (struct kms_view_symbol){.address = 0};
	return fleet_call_target(ctx, target, ask_symbol, &job, err);
}

static int op_symbol_at(void *ctx, uint32_t target, uint64_t address, struct kms_view_symbol *out,
			struct kms_err *err)
{
	struct symbol_job job = {.address = address, .out = out};

	*out = (struct kms_view_symbol){.address = 0};
	return fleet_call_target(ctx, target, ask_symbol, &job, err);
}

void fleet_query_init(struct kms_fleet *fleet)
{
	fleet->ops.blocks = op_blocks;
	fleet->ops.slabs = op_slabs;
	fleet->ops.whatis = op_whatis;
	fleet->ops.memory = op_memory;
	fleet->ops.memory_write = op_memory_write;
	fleet->ops.symbol = op_symbol;
	fleet->ops.symbol_at = op_symbol_at;
}
