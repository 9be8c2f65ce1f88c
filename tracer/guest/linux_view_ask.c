/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is asked of a Linux guest beyond pictures: an address, a slab, KFENCE's pool, a look for damage, a
 * write. All of it is read when it is asked for, with the view's lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "schema/spans.h"
#include "tracer/guest/kernel_names.h"
#include "tracer/guest/linux_view_impl.h"
#include "tracer/tracer.h"

enum {
	SYNC_MS = 2000, /* a commit, on a busy machine */
	SETTLE_MS = 5,  /* between two looks: no writer of a zone takes so long */
};

/* Locks the view if its kernel is that target, or any is as good. */
static int begin(struct kms_linux_view *view, uint32_t target, struct kms_err *err)
{
	(void)pthread_mutex_lock(&view->lock); /* plain, never locked twice */
	if (view->kernel && (!target || target == view->history.n_targets))
		return 0;
	(void)pthread_mutex_unlock(&view->lock);
	return kms_err_set(err, -ESRCH, "target %u is not running", target);
}

static void end(struct kms_linux_view *view)
{
	(void)pthread_mutex_unlock(&view->lock);
}

/* NOLINTNEXTLINE(readability-function-size): kms_view_ops */
int kms_linux_ask_memory(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
			 size_t *n_read, struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc = begin(view, target, err);

	if (rc)
		return rc;
	rc = kms_linux_memory(view->kernel, address, to, n, n_read, err);
	end(view);
	return rc;
}

int kms_linux_ask_write(void *ctx, const char *who, const struct kms_memory_write *write,
			struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc;

	(void)who; /* is for the audit */
	if (!view->config.allow_write)
		return kms_err_set(err, -EPERM,
				   "memory of the guest is written only after `attach "
				   "--allow-write`");
	rc = begin(view, write->target, err);
	if (rc)
		return rc;
	rc = kms_linux_memory_write(view->kernel, write->address, &write->expected, &write->value,
				    write->bytes, err);
	end(view);
	return rc;
}

int kms_linux_ask_symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
			 struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc = begin(view, target, err);

	*out = (struct kms_view_symbol){.address = 0};
	if (rc)
		return rc;
	rc = kms_kernel_names_find(kms_linux_symbols(view->kernel), name, out, err);
	end(view);
	return rc;
}

int kms_linux_ask_symbol_at(void *ctx, uint32_t target, uint64_t address,
			    struct kms_view_symbol *out, struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc = begin(view, target, err);

	*out = (struct kms_view_symbol){.address = 0};
	if (rc)
		return rc;
	rc = kms_kernel_names_at(kms_linux_symbols(view->kernel), address, out, err);
	end(view);
	return rc;
}

static const char *cache_name(struct kms_linux_view *view, uint32_t index)
{
	size_t n;
	const struct kms_linux_cache *cache = kms_linux_caches(view->kernel, &n);

	return index < n ? kms_name_pool_keep(&view->names, cache[index].name) : NULL;
}

static const char *cache_at(struct kms_linux_view *view, uint64_t address)
{
	size_t n;
	const struct kms_linux_cache *cache = kms_linux_caches(view->kernel, &n);

	for (size_t i = 0; i < n; i++)
		if (cache[i].address == address)
			return kms_name_pool_keep(&view->names, cache[i].name);
	return NULL;
}

static uint64_t track_id(struct kms_linux_view *view, const struct kms_linux_track *track)
{
	return kms_linux_recorder_track_id(view->history.recorder, view->kernel, track);
}

/* What lies there now; of it what the events told before, where that is the same object. */
static void join_block(struct kms_linux_view *view, const struct kms_linux_object *object,
		       struct kms_view_block *out)
{
	uint32_t state = object->is_free ? KMS_BLOCK_FREE : KMS_BLOCK_LIVE;
	uint64_t id;

	if (out->address != object->address || (out->state == KMS_BLOCK_LIVE) != !object->is_free)
		*out = (struct kms_view_block){.target = out->target, .bytes = object->bytes};
	out->state = state;
	out->address = object->address;
	out->bytes = out->bytes && out->bytes < object->bytes ? out->bytes : object->bytes;
	out->cache = cache_name(view, object->cache);
	out->slab = object->slab;
	out->slab_pages = object->slab_pages;
	id = track_id(view, &object->alloc);
	out->alloc_stack_id = id ? id : out->alloc_stack_id;
	if (id && !out->alloc_tid && object->alloc.pid > 0)
		out->alloc_tid = (uint32_t)object->alloc.pid;
	id = object->is_free ? track_id(view, &object->free) : 0;
	out->free_stack_id = id ? id : out->free_stack_id;
}

/* One of KFENCE's objects that an address lies in the page of. */
struct wanted {
	uint64_t address;
	struct kms_linux_kfence_object object;
	bool found;
};

static int want(void *arg, const struct kms_linux_kfence_object *object)
{
	struct wanted *wanted = arg;

	wanted->found = wanted->address - (object->address & ~UINT64_C(4095)) < 4096;
	if (wanted->found)
		wanted->object = *object;
	return wanted->found;
}

/* Whether an address lies in an object of KFENCE's pool. Nothing of it is in a slab. */
static bool in_kfence(struct kms_linux_view *view, uint64_t address, struct wanted *wanted)
{
	struct kms_linux_kfence state;

	*wanted = (struct wanted){.address = address};
	return kms_linux_kfence(view->kernel, &state, want, wanted, NULL) == 0 && wanted->found;
}

static void kfence_block(struct kms_linux_view *view, const struct kms_linux_kfence_object *object,
			 struct kms_view_block *out)
{
	struct kms_linux_recorder *recorder = view->history.recorder;
	bool is_live = object->state == KMS_LINUX_KFENCE_LIVE;

	*out = (struct kms_view_block){
		.target = out->target,
		.state = is_live ? KMS_BLOCK_LIVE : KMS_BLOCK_FREE,
		.address = object->address,
		.bytes = object->bytes,
		.cache = cache_at(view, object->cache),
		.slab = object->address & ~UINT64_C(4095),
		.slab_pages = 1,
		.alloc_stack_id = kms_linux_recorder_stack_id(
			recorder, view->kernel, object->alloc_frame, (int)object->alloc_frames),
		.alloc_tid = object->alloc_pid > 0 ? (uint32_t)object->alloc_pid : 0,
	};
	if (!is_live)
		out->free_stack_id = kms_linux_recorder_stack_id(
			recorder, view->kernel, object->free_frame, (int)object->free_frames);
}

int kms_linux_ask_whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
			 struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	struct kms_linux_object object;
	struct wanted wanted;
	int rc = begin(view, target, err);

	if (rc)
		return out->address ? 0 : rc; /* the events are all that is left of it */
	out->target = view->history.n_targets;
	if (in_kfence(view, address, &wanted))
		kfence_block(view, &wanted.object, out);
	else if (!kms_linux_object_at(view->kernel, address, &object, NULL))
		join_block(view, &object, out);
	end(view);
	return 0;
}

/* Slabs for whoever asked. */
struct pass {
	uint32_t target;
	int (*emit)(void *arg, const struct kms_view_slab *slab);
	void *arg;
};

static int pass_slab(void *arg, const struct kms_linux_slab *slab)
{
	const struct pass *pass = arg;
	const struct kms_view_slab out = {.target = pass->target,
					  .base = slab->memory,
					  .pages = slab->pages,
					  .count = slab->objects,
					  .live = slab->live,
					  .bitmap = slab->bitmap};

	return pass->emit(pass->arg, &out);
}

int kms_linux_ask_slabs(void *ctx, uint32_t target, const char *cache,
			int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
			struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	struct pass pass = {.emit = emit, .arg = arg};
	const struct kms_linux_cache *all;
	size_t n, i = 0;
	int rc = begin(view, target, err);

	if (rc)
		return rc;
	pass.target = view->history.n_targets;
	all = kms_linux_caches(view->kernel, &n);
	while (i < n && strcmp(all[i].name, cache) != 0)
		i++;
	rc = i < n ? kms_linux_each_slab(view->kernel, (uint32_t)i, pass_slab, &pass, err)
		   : kms_err_set(err, -ENOENT, "no cache is named so");
	end(view);
	return rc;
}

static void add_text(char *text, size_t bytes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void add_text(char *text, size_t bytes, const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
	(void)vsnprintf(text + used, bytes - used, format, args); /* cut */
	va_end(args);
}

static void add_name(struct kms_linux_view *view, uint64_t address, char *text, size_t bytes)
{
	const char *name, *module;
	uint64_t offset;

	if (kms_linux_name(view->kernel, address, &name, &offset, &module))
		add_text(text, bytes, "0x%" PRIx64, address);
	else
		add_text(text, bytes, "%s%s%s+0x%" PRIx64, module ? module : "", module ? "`" : "",
			 name, offset);
}

static void add_track(struct kms_linux_view *view, const char *what,
		      const struct kms_linux_track *track, char *text, size_t bytes)
{
	if (!track->call_site)
		return;
	add_text(text, bytes, "%s by process %" PRId32 " at jiffy %" PRIu64 " in ", what,
		 track->pid, track->jiffies);
	add_name(view, track->call_site, text, bytes);
	add_text(text, bytes, "\n");
}

static void explain_object(struct kms_linux_view *view, const struct kms_linux_object *object,
			   char *text, size_t bytes)
{
	const struct kms_linux_damage *damage = &object->damage;

	add_text(text, bytes,
		 "object %" PRIu32 " of %" PRIu32 " in the slab at 0x%" PRIx64 ", %" PRIu64
		 " page%s%s\n",
		 object->index, object->objects, object->slab, object->slab_pages,
		 object->slab_pages == 1 ? "" : "s",
		 object->is_beside ? "; the address lies beside the object" : "");
	add_track(view, "allocated", &object->alloc, text, bytes);
	add_track(view, object->is_free ? "freed" : "freed before", &object->free, text, bytes);
	if (object->is_damaged)
		add_text(text, bytes,
			 "damaged: 0x%02x in place of 0x%02x at 0x%" PRIx64 ", %" PRIu32
			 " byte%s from there on\n",
			 damage->found, damage->expected, damage->at, damage->length,
			 damage->length == 1 ? "" : "s");
}

static int explain(struct kms_linux_view *view, uint64_t address, char *text, size_t bytes)
{
	struct kms_linux_object object;
	const char *name, *module;
	struct wanted wanted;
	uint64_t offset;

	if (in_kfence(view, address, &wanted)) {
		add_text(text, bytes, "guarded by KFENCE, whose page it has to itself\n");
		return 0;
	}
	if (!kms_linux_object_at(view->kernel, address, &object, NULL)) {
		explain_object(view, &object, text, bytes);
		return 0;
	}
	if (kms_linux_name(view->kernel, address, &name, &offset, &module) && !module)
		return -ENOENT;
	add_text(text, bytes, "in %s: ", module ? module : "the kernel's image");
	add_name(view, address, text, bytes);
	add_text(text, bytes, "\n");
	return 0;
}

int kms_linux_ask_explain(void *ctx, uint32_t target, uint64_t address, char *text, size_t bytes,
			  struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	int rc = begin(view, target, err);

	if (rc)
		return rc;
	text[0] = '\0';
	rc = explain(view, address, text, bytes);
	end(view);
	return rc ? kms_err_set(err, rc, "nothing is known of that address") : 0;
}

static int look_for_damage(struct kms_linux_view *view, struct kms_err *err)
{
	struct timespec now;
	uint64_t now_ns;
	int rc;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	rc = kms_linux_refresh_caches(view->kernel, err);
	return rc ? rc : kms_linux_refresh_sites(view->kernel, now_ns, err);
}

/* What was found is on its way to the tracer; whoever asked looks at the picture next. */
static int show_damage(struct kms_linux_view *view, struct kms_tracer *tracer, struct kms_err *err)
{
	int rc = tracer ? kms_tracer_sync(tracer, SYNC_MS) : 0;

	if (rc)
		return kms_err_set(err, rc, "what was found is not stored within %d ms", SYNC_MS);
	(void)pthread_mutex_lock(&view->lock); /* plain, never locked twice */
	rc = kms_linux_view_publish(view, err);
	(void)pthread_mutex_unlock(&view->lock);
	return rc;
}

int kms_linux_ask_verify(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	const struct timespec settle = {.tv_nsec = SETTLE_MS * 1000000L};
	struct kms_linux_view *view = ctx;
	struct kms_tracer *tracer;
	int rc = begin(view, target, err);

	(void)who; /* nothing is changed */
	if (rc)
		return rc;
	kms_linux_set_thorough(view->kernel, true);
	rc = look_for_damage(view, err);
	if (!rc) {
		kms_linux_view_tell_damage(view); /* of KFENCE's pool the first look of two */
		(void)nanosleep(&settle, NULL);   /* a shorter pause is seen by the next look */
		rc = look_for_damage(view, err);
	}
	if (!rc) {
		kms_linux_view_tell_damage(view);
		rc = kms_linux_view_read_events(view, err);
	}
	kms_linux_set_thorough(view->kernel, false);
	tracer = view->history.tracer;
	end(view);
	return rc ? rc : show_damage(view, tracer, err);
}

/* Objects of KFENCE for whoever asked. */
struct pass_kfence {
	struct kms_linux_view *view;
	int (*emit)(void *arg, const struct kms_view_kfence_object *object);
	void *arg;
};

static int pass_object(void *arg, const struct kms_linux_kfence_object *object)
{
	const struct pass_kfence *pass = arg;
	struct kms_view_block block = {0};
	struct kms_view_kfence_object out;

	kfence_block(pass->view, object, &block);
	out = (struct kms_view_kfence_object){
		.index = object->index,
		.state =
			object->state == KMS_LINUX_KFENCE_LIVE ? KMS_KFENCE_LIVE : KMS_KFENCE_FREED,
		.address = object->address,
		.bytes = object->bytes,
		.cache = block.cache,
		.alloc_pid = block.alloc_tid,
		.free_pid = object->free_pid > 0 ? (uint32_t)object->free_pid : 0,
		.alloc_stack_id = block.alloc_stack_id,
		.free_stack_id = block.free_stack_id,
	};
	return pass->emit(pass->arg, &out);
}

int kms_linux_ask_kfence(void *ctx, uint32_t target, struct kms_view_kfence *state,
			 int (*emit)(void *arg, const struct kms_view_kfence_object *object),
			 void *arg, struct kms_err *err)
{
	struct kms_linux_view *view = ctx;
	struct pass_kfence pass = {.view = view, .emit = emit, .arg = arg};
	struct kms_linux_kfence now;
	int rc = begin(view, target, err);

	if (rc)
		return rc;
	rc = kms_linux_kfence(view->kernel, &now, emit ? pass_object : NULL, &pass, err);
	*state = (struct kms_view_kfence){
		.target = view->history.n_targets,
		.enabled = now.is_on,
		.pool = now.pool,
		.sample_interval_ms = now.sample_interval_ms,
		.objects = now.objects,
		.live = now.live,
		.freed = now.freed,
		.has_counters = now.has_counters,
		.allocs = now.allocs,
		.frees = now.frees,
		.bugs = now.bugs,
		.skipped = now.skipped,
	};
	state->reports = kms_linux_reports(view->kernel, "BUG: KFENCE: ", state->report,
					   sizeof(state->report) / sizeof(state->report[0]));
	end(view);
	return rc;
}
