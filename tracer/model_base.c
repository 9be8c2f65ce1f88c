/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What was live when a session of recording began (base_entry.h).
 *
 * An entry stands for a block that was there at the begin of the session. It counts if no event of
 * the session has told of its address: what events tell is newer, whenever the entry was read. If it
 * comes first and the first event of its address is an allocation, then the scan saw that very
 * block: kms_model_base_drop() takes the entry away again. So the outcome does not depend on which
 * comes first.
 *
 * The base of a session that has not begun waits for it; but a process that we came late to has
 * recorded nothing before its first session, so that its base begins it.
 */
#include <errno.h>

#include "schema/record.h"
#include "tracer/model_commit.h"

/* A base that is being received, or waits. */
static int keep(struct kms_model *model, struct kms_model_target *target,
		const struct kms_base_entry *entry)
{
	if (entry->kind == KMS_BASE_BEGIN) {
		target->n_base = 0;
		target->base_whole = false;
	}
	if (kms_memory_reserve(&model->memory, &target->base, &target->base_room,
			       target->n_base + 1, sizeof(*target->base)))
		return -ENOMEM;
	target->base[target->n_base++] = *entry;
	target->base_whole |= entry->kind == KMS_BASE_END;
	return 0;
}

void kms_model_base_free(struct kms_model *model, struct kms_model_target *target)
{
	kms_memory_free(&model->memory, target->base, target->base_room * sizeof(*target->base));
	target->base = NULL;
	target->n_base = target->base_room = 0;
	target->base_whole = false;
}

static uint16_t cache_of(const struct kms_base_entry *entry)
{
	return entry->cache < KMS_MAX_CACHES ? entry->cache : KMS_LIVE_NO_CACHE;
}

static void add_span(const struct kms_model_source *source, const struct kms_base_entry *entry)
{
	const struct kms_live_slab slab = {
		.base = entry->address,
		.pages = entry->size,
		.stride_bytes = entry->stack,
		.first_bytes = entry->first,
		.cache = cache_of(entry),
	};

	kms_live_slab_tell(&source->target->set, &slab);
}

/*
 * When a block was allocated: as the session before knew, if nothing has happened at its address since,
 * which generations tell. Else its age is counted from @time_ns, for want of the true one.
 */
static uint64_t allocated_ns(const struct kms_model_target *target,
			     const struct kms_base_entry *entry, uint64_t time_ns)
{
	const struct kms_live *old = kms_live_find(&target->before, entry->address);

	if (!old || !(old->low_bits & KMS_LIVE_LIVE) || !(entry->first & KMS_BASE_GENERATION) ||
	    (old->low_bits & KMS_LIVE_OPEN && !(old->flags & KMS_LIVE_BASE)) ||
	    kms_live_generation(old) != (uint8_t)entry->first || kms_live_size(old) != entry->size)
		return time_ns;
	return kms_live_time(old) < time_ns ? kms_live_time(old) : time_ns;
}

static void add_block(const struct kms_model_source *source, const struct kms_base_entry *entry,
		      uint64_t time_ns)
{
	struct kms_model *model = source->model;
	struct kms_model_target *target = source->target;
	uint32_t flags = (entry->flags & KMS_LIVE_EVENT_FLAGS) | KMS_LIVE_BASE;
	uint16_t cache = cache_of(entry);
	struct kms_live *live;
	uint32_t site;

	/* in a slab of this session every block has an event */
	if (!kms_live_is_canonical(entry->address) ||
	    !kms_live_is_unheard(&target->set, entry->address) ||
	    kms_live_find(&target->set, entry->address))
		return;
	time_ns = allocated_ns(target, entry, time_ns);
	live = kms_live_add(&target->set, entry->address, entry->size, true);
	if (!live) {
		model->counts.unkept++;
		return;
	}
	site = kms_sites_get(&model->sites, &source->owner, entry->stack, cache);
	kms_model_add_live(source, entry->size, cache, flags);
	if (!kms_model_is_inherited(source))
		kms_site_add_base(&model->sites, site, entry->size, time_ns);
	live->site = site;
	live->flags = (uint16_t)(flags | (entry->is_large ? KMS_LIVE_LARGE : 0));
	live->thread = 0;
	live->low_bits |= KMS_LIVE_LIVE | KMS_LIVE_OPEN;
	kms_live_set_time(live, time_ns, (uint8_t)entry->first);
	kms_live_set_size(live, entry->size);
}

static void add_all(const struct kms_model_source *source, const struct kms_base_entry *entry,
		    size_t n, uint64_t time_ns)
{
	/* slabs first: the blocks of one lie in pages that it describes */
	for (size_t i = 0; i < n; i++)
		if (entry[i].kind == KMS_BASE_SPAN)
			add_span(source, &entry[i]);
	for (size_t i = 0; i < n; i++)
		if (entry[i].kind == KMS_BASE_BLOCK)
			add_block(source, &entry[i], time_ns);
	/* what was found did not grow */
	source->target->clock.n_samples = 0;
	kms_live_deinit(&source->target->before);
	source->target->changes++;
	source->model->changes++;
}

/* Children that were forked since have what their parent had. A parent's number is lower than its child's. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as processes forked each other since the attach */
static void add_to_children(struct kms_model *model, const struct kms_model_target *parent,
			    const struct kms_model_target *from, uint64_t time_ns)
{
	for (uint32_t id = 1; id <= model->top_target; id++) {
		struct kms_model_target *child = kms_model_target_find(model, id);
		struct kms_model_source source;

		if (!child || child->parent != parent->id || id <= parent->id ||
		    child->image != parent->image || child->birth != KMS_BIRTH_READY ||
		    child->session != from->session || child->ended)
			continue;
		source = kms_model_source_of(model, child,
					     kms_model_image_find(model, child->image));
		source.owner.target = from->id;
		source.owner.first = &kms_model_target_find(model, from->id)->first_site;
		add_all(&source, from->base, from->n_base, time_ns);
		add_to_children(model, child, from, time_ns);
	}
}

/* The base's session is the target's: it comes into the picture. */
static void apply(const struct kms_model_source *source)
{
	struct kms_model_target *target = source->target;
	uint64_t time_ns = target->session_ns == KMS_MODEL_SESSION_OPEN ? target->base[0].address
									: target->session_ns;

	if (target->ended || target->set_dropped)
		return;
	add_all(source, target->base, target->n_base, time_ns);
	add_to_children(source->model, target, target, time_ns);
	target->base_known = target->session;
	/* nothing is missing since we came, and all that was before is there */
	if (!target->base[target->n_base - 1].first &&
	    target->session == (uint8_t)target->base[0].size && source->model->unknown_sessions)
		source->model->unknown_sessions--;
}

static bool has_events(const struct kms_model_target *target)
{
	for (unsigned kind = 0; kind < KMS_EVENT_KINDS; kind++)
		if (target->events[kind])
			return true;
	return false;
}

void kms_model_base_begun(const struct kms_model_source *source)
{
	struct kms_model_target *target = source->target;

	if (!target->base_whole || target->base[0].session != target->session)
		return;
	apply(source);
	kms_model_base_free(source->model, target);
}

void kms_model_base_complete(struct kms_model *model, struct kms_model_target *target)
{
	struct kms_model_source source =
		kms_model_source_of(model, target, kms_model_image_get(model, target->image));
	const struct kms_base_entry *begin = &target->base[0];

	/* news of the target itself may come later */
	if (!target->announced || !source.image || begin->kind != KMS_BASE_BEGIN)
		return;
	if (target->base_whole && !target->session_known &&
	    begin->session == (uint8_t)begin->size && !has_events(target)) {
		const struct kms_event event = {.session = begin->session,
						.time_ns = begin->address};

		kms_model_session_begin(&source, &event); /* comes back to us */
		target->session_known = true;
		return;
	}
	kms_model_base_begun(&source);
}

int kms_model_base_add(struct kms_model *model, const struct kms_batch_table *table)
{
	const struct kms_base_entry *entry = (const void *)table->data;
	int result = 0;

	if (table->entry_bytes != sizeof(*entry))
		return -EINVAL;
	for (uint32_t i = 0; i < table->count; i++) {
		struct kms_model_target *target =
			entry[i].kind && entry[i].kind <= KMS_BASE_END
				? kms_model_target_get(model, entry[i].target)
				: NULL;
		int one;

		if (!target)
			continue; /* a hole; nobody's */
		one = keep(model, target, &entry[i]);
		result = one ? one : result;
		if (target->base_whole && entry[i].kind == KMS_BASE_END)
			kms_model_base_complete(model, target);
	}
	return result;
}

void kms_model_base_drop(const struct kms_model_source *source, struct kms_live *live)
{
	kms_model_take_base(source, live);
	live->low_bits &= (uint16_t)~KMS_LIVE_LIVE;
	live->flags &= (uint16_t)~KMS_LIVE_BASE;
}
