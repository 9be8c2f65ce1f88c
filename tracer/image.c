/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading one image: see image.h.
 *
 * The order within a poll is the contract with the consumers: blocks first, then who wrote them, then
 * the tables. What a block names was published before its record, so it is found in tables that are
 * read after the block; a slot that a block names was claimed before it. Positions move last: until
 * then no ring and no slot that is in the batch can change hands.
 */
#include "tracer/image.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/batch_build.h"
#include "tracer/image_impl.h"
#include "tracer/process.h"

/* Of a ring that is not read any more: beyond every block that can ever be written. */
static const uint64_t position_of_all = INT64_MAX;

static void load_names(struct kms_image *image)
{
	const struct kms_region_header *head = &image->region.head;
	char path[4096];
	const char *base;

	/* without them the image has no name; a string that is none is no reason to stop */
	(void)kms_tables_text(&image->region, head->program_string, path, sizeof(path));
	base = strrchr(path, '/');
	base = base ? base + 1 : path;
	memcpy(image->program, base, strnlen(base, sizeof(image->program) - 1)); /* was all zero */
	(void)kms_tables_text(&image->region, head->command_string, image->command,
			      sizeof(image->command));
}

/* Whether the pids that the region names are those that we see. */
static bool can_see(const struct kms_image *image)
{
	int fd = kms_process_watch((pid_t)image->region.head.pid, image->region.head.start_mono_ns);

	if (fd >= 0)
		(void)close(fd); /* only a question */
	return fd >= 0;
}

static int image_init(struct kms_image *image, struct kms_err *err)
{
	const struct kms_region_header *head = &image->region.head;
	int result = kms_control_init(&image->control, &image->region, image->env->nonce);

	if (result)
		return kms_err_set(err, result, "cut short while it was opened");
	image->ring = calloc(head->rings, sizeof(*image->ring));
	image->slot = calloc(head->slots, sizeof(*image->slot));
	if (!image->ring || !image->slot)
		return kms_err_set(err, -ENOMEM, "no memory for an image");
	for (uint32_t i = 0; i < head->slots; i++)
		image->slot[i].pidfd = -1;
	load_names(image);
	image->sees_pids = !image->mirror && can_see(image);
	image->is_held = true;
	image->look_closer = true;
	if (head->pid == image->env->first_pid)
		image->env->first_seen = true;
	return 0;
}

static struct kms_image *new_image(struct kms_image_env *env, const char *name)
{
	struct kms_image *image = calloc(1, sizeof(*image));

	if (!image)
		return NULL;
	kms_list_init(&image->link);
	image->env = env;
	image->region.fd = -1;
	(void)snprintf(image->name, sizeof(image->name), "%s", name); /* names are shorter */
	kms_tables_init(&image->tables);
	return image;
}

int kms_image_open(struct kms_image_env *env, int dir_fd, const char *name, struct kms_image **out,
		   struct kms_err *err)
{
	struct kms_image *image = new_image(env, name);
	int result;

	if (!image)
		return kms_err_set(err, -ENOMEM, "no memory for an image");
	result = kms_region_open(dir_fd, name, &image->region, err);
	if (!result)
		result = image_init(image, err);
	if (result) {
		kms_image_close(image);
		return result;
	}
	*out = image;
	return 0;
}

int kms_image_open_guest(struct kms_image_env *env, struct kms_guest_mirror *mirror,
			 struct kms_image **out, struct kms_err *err)
{
	struct kms_image *image = new_image(env, "guest");
	int result = kms_guest_mirror_fd(mirror);

	if (!image || result < 0) {
		if (result >= 0)
			(void)close(result); /* nothing was written through it */
		free(image);
		return kms_err_set(err, result < 0 ? result : -ENOMEM, "no room for an image");
	}
	image->mirror = mirror;
	result = kms_region_open_fd(result, &image->region, err);
	if (!result)
		result = image_init(image, err);
	if (result) {
		image->mirror = NULL;
		kms_image_close(image);
		return result;
	}
	*out = image;
	return 0;
}

void kms_image_leave_guest(struct kms_image *image)
{
	kms_guest_mirror_leave(image->mirror);
	image->look_closer = true;
}

void kms_image_set_ordinal(struct kms_image *image, uint32_t ordinal)
{
	image->ordinal = ordinal;
	image->tables.image = ordinal;
}

void kms_image_close(struct kms_image *image)
{
	if (!image)
		return;
	kms_list_remove(&image->link);
	if (image->slot)
		kms_image_slots_deinit(image);
	for (uint32_t i = 0; image->ring && i < image->region.head.rings; i++)
		free(image->ring[i].last);
	free(image->ring);
	free(image->slot);
	kms_tables_deinit(&image->tables);
	kms_region_close(&image->region);
	kms_guest_mirror_destroy(image->mirror);
	free(image);
}

uint32_t kms_image_live(const struct kms_image *image)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < image->n_slots; i++)
		n += image->slot[i].target && !image->slot[i].is_dead;
	return n;
}

void kms_image_process_ended(struct kms_image *image, uint32_t slot)
{
	if (slot >= image->n_slots)
		return;
	image->slot[slot].is_dead = true;
	kms_image_slot_forget_stop(image, slot);
	image->look_closer = true;
}

/* Finds the highest ring that was ever claimed. */
struct ring_scan {
	const struct kms_image *image;
	uint32_t n_rings;
};

static void scan_rings(void *arg)
{
	struct ring_scan *scan = arg;
	const struct kms_region *region = &scan->image->region;

	for (uint32_t i = scan->n_rings; i < region->head.rings; i++) {
		const struct kms_ring_desc *desc = kms_region_at(region, KMS_SEC_RING_DESC, i);

		if (kms_load_u32_relaxed(&desc->claims))
			scan->n_rings = i + 1;
	}
}

/* Where a former tracer of the region stopped reading a ring. */
struct position_job {
	const struct kms_image *image;
	uint32_t ring;
	uint64_t position;
};

static void read_position(void *arg)
{
	struct position_job *job = arg;
	const struct kms_pair *pair = &job->image->region.position[job->ring];
	uint64_t v = kms_load_acquire_u64(&pair->v);

	job->position = kms_load_acquire_u64(&pair->not_v) == ~v ? v : 1;
}

static int set_rings(struct kms_image *image, uint32_t n, struct kms_err *err)
{
	for (; image->n_rings < n; image->n_rings++) {
		struct position_job job = {.image = image, .ring = image->n_rings};
		int result = kms_region_access(&image->region, read_position, &job);

		if (result)
			return kms_err_set(err, result, "the file was cut short");
		kms_ring_reader_init(&image->ring[image->n_rings].reader, image->n_rings,
				     job.position);
		image->is_joined |= !image->n_slots && job.position > 1;
	}
	return 0;
}

static int scan(struct kms_image *image, uint64_t now_ns, struct kms_err *err)
{
	struct ring_scan rings = {image, image->n_rings};
	int result = kms_region_access(&image->region, scan_rings, &rings);
	uint32_t ahead;

	if (result)
		return kms_err_set(err, result, "the file was cut short");
	ahead = rings.n_rings + KMS_IMAGE_LOOK_AHEAD;
	if (ahead > image->region.head.rings)
		ahead = image->region.head.rings;
	result = set_rings(image, ahead, err);
	return result ? result : kms_image_slots_scan(image, now_ns, err);
}

/*
 * Whether the process that claimed the ring is dead. A slot that is dead for us may have a new
 * process by now, and the ring may be that one's: it claims the slot before the ring, so another
 * look shows it.
 */
static int owner_has_ended(struct kms_image *image, const struct kms_ring_reader *reader,
			   uint64_t now_ns, bool *ended, struct kms_err *err)
{
	int result = 0;

	*ended = false;
	if (!reader->claim || reader->is_over || !image->slot[reader->slot].is_dead)
		return 0;
	result = kms_image_slot_look(image, reader->slot, now_ns, err);
	*ended = !result && image->slot[reader->slot].is_dead;
	return result;
}

static int read_ring(struct kms_image *image, struct kms_image_ring *ring,
		     const struct kms_ring_ask *ask, struct kms_batch *batch, struct kms_err *err)
{
	struct kms_ring_ask how = *ask;
	bool was_over = ring->reader.is_over;
	bool owner_is_dead;
	int news = owner_has_ended(image, &ring->reader, ask->now_ns, &owner_is_dead, err);

	if (news)
		return news;
	how.is_final = ask->is_final || !image->is_held || owner_is_dead;
	news = kms_ring_read(&ring->reader, &image->region, &how, batch, err);
	if (news > KMS_RING_IDLE)
		image->slot[ring->reader.slot].is_active = true;
	if (ring->reader.fill > image->fill)
		image->fill = ring->reader.fill;
	if (news >= 0 && ring->reader.is_over && !was_over) {
		int result = kms_image_ring_book(image, ring, err);

		if (result)
			return result;
	}
	return news;
}

/*
 * All rings once. A slot is sent with the tables of a poll that began after it was claimed and read
 * everything: whoever gets it then has all that its parent wrote before the fork.
 */
static int read_rings(struct kms_image *image, const struct kms_ring_ask *how,
		      struct kms_batch *batch, struct kms_image_news *news, struct kms_err *err)
{
	struct kms_ring_ask ask = *how;
	uint32_t start = image->first_ring;

	image->fill = 0;
	if (image->has_new)
		ask.partial_ns = 0;
	for (uint32_t n = 0; n < image->n_rings; n++) {
		uint32_t i = (start + n) % image->n_rings;
		int result = read_ring(image, &image->ring[i], &ask, batch, err);

		if (result < 0)
			return result;
		if (result == KMS_RING_MORE) {
			news->more = true;
			image->first_ring = i;
			return 0;
		}
	}
	kms_image_slots_settle(image);
	return 0;
}

/* Whether the tables hold what a block says by index. The kinds looked at are rare. */
static int check_names(struct kms_image *image, const struct kms_batch_block *block,
		       struct kms_batch *batch, struct kms_err *err)
{
	static const uint8_t table[KMS_EVENT_KINDS] = {
		[KMS_EVENT_FAULT] = KMS_SEC_FAULT,   [KMS_EVENT_MAP] = KMS_SEC_MODULE,
		[KMS_EVENT_THREAD] = KMS_SEC_THREAD, [KMS_EVENT_EXEC] = KMS_SEC_STRING,
		[KMS_EVENT_MARK] = KMS_SEC_STRING,
	};
	const uint32_t *by_kind = block->summary.by_kind;
	struct kms_event *event = image->env->event;
	size_t n;

	if (!(by_kind[KMS_EVENT_FAULT] | by_kind[KMS_EVENT_MAP] | by_kind[KMS_EVENT_THREAD] |
	      by_kind[KMS_EVENT_EXEC] | by_kind[KMS_EVENT_MARK]))
		return 0;
	if (kms_block_decode(&block->block, event, KMS_SEQ_PER_BLOCK, &n))
		return kms_err_set(err, -EBADMSG, "a block changed"); /* it was walked before */
	for (size_t i = 0; i < n; i++) {
		unsigned kind = table[event[i].kind];

		if (!kind || event[i].offset < block->from_bytes)
			continue;
		if (event[i].value >= kms_tables_count(&image->tables, kind))
			return kms_err_set(err, -EBADMSG, "ring %u names entry %llu of table %u",
					   block->block.ring, (unsigned long long)event[i].value,
					   kind);
		if (kind == KMS_SEC_STRING) {
			int result = kms_tables_string(&image->tables, &image->region,
						       event[i].value, batch, err);

			if (result)
				return result;
		}
	}
	return 0;
}

static int check_block(struct kms_image *image, const struct kms_batch_block *block,
		       struct kms_batch *batch, struct kms_err *err)
{
	uint32_t thread = block->block.thread;

	if (block->summary.max_node >= kms_tables_count(&image->tables, KMS_SEC_NODE))
		return kms_err_set(err, -EBADMSG, "ring %u names stack %u", block->block.ring,
				   block->summary.max_node);
	if (thread != KMS_NO_INDEX && thread >= kms_tables_count(&image->tables, KMS_SEC_THREAD))
		return kms_err_set(err, -EBADMSG, "ring %u names thread %u", block->block.ring,
				   thread);
	return check_names(image, block, batch, err);
}

/* Says which target wrote each new block. */
static int attribute(struct kms_image *image, uint64_t now_ns, struct kms_batch *batch,
		     size_t first, struct kms_err *err)
{
	image->look_nr++; /* earlier looks were before the blocks were copied */
	for (size_t i = first; i < batch->n_blocks; i++) {
		struct kms_batch_block *block = &batch->block[i];
		uint32_t slot = block->block.slot; /* the ring reader saw that it is one */
		int result = 0;

		if (slot >= image->n_slots || image->slot[slot].looked_at != image->look_nr)
			result = kms_image_slot_look(image, slot, now_ns, err);
		if (!result && !image->slot[slot].target)
			result = kms_err_set(err, -EBADMSG, "ring %u: slot %u was never claimed",
					     block->block.ring, slot);
		if (result)
			return result;
		assert(image->slot[slot].target);
		block->image = image->ordinal;
		block->target = image->slot[slot].target->info.id;
		if (image->region.head.pid == image->env->first_pid)
			image->env->allocs_first += block->summary.by_kind[KMS_EVENT_ALLOC];
	}
	return 0;
}

/* Takes out what processes wrote that are not followed. */
static void leave_out(struct kms_image *image, struct kms_batch *batch, size_t first)
{
	size_t keep = first;

	if (!image->env->only_pid)
		return;
	for (size_t i = first; i < batch->n_blocks; i++) {
		const struct kms_target *target = image->slot[batch->block[i].block.slot].target;

		assert(target); /* attribute() saw to it */
		if (target->is_ignored)
			continue;
		if (keep != i)
			batch->block[keep] = batch->block[i];
		keep++;
	}
	kms_batch_keep_blocks(batch, keep);
}

/* Lets producers go on. Errors: -EFAULT */
static int move_positions(struct kms_image *image)
{
	bool wake = false;
	int result = 0;

	for (uint32_t i = 0; !result && i < image->n_rings; i++) {
		struct kms_image_ring *ring = &image->ring[i];

		if (!ring->reader.claim || ring->position == ring->reader.next_block)
			continue;
		result = kms_control_position(&image->control, i, ring->reader.next_block);
		ring->position = ring->reader.next_block;
		wake |= ring->reader.fill >= 0.5;
	}
	if (!result && wake)
		result = kms_control_wake(&image->control);
	return result;
}

/* Which counters: at the end all, for who waits for this moment those that may have changed. */
static enum kms_image_copy copy_now(const struct kms_image *image, const struct kms_ring_ask *ask,
				    bool due)
{
	if (!image->is_held)
		return KMS_IMAGE_COPY_ALL;
	if (!ask->partial_ns)
		return KMS_IMAGE_COPY_NEW;
	return due ? KMS_IMAGE_COPY_DUE : KMS_IMAGE_COPY_NONE;
}

static int poll_open(struct kms_image *image, const struct kms_ring_ask *ask,
		     struct kms_batch *batch, struct kms_image_news *news, struct kms_err *err)
{
	size_t first = batch->n_blocks;
	bool due = image->look_closer || ask->now_ns - image->scan_ns >= KMS_IMAGE_SCAN_NS;
	int result = 0;

	if (due) {
		image->look_closer = false;
		image->scan_ns = ask->now_ns;
		result = scan(image, ask->now_ns, err);
	}
	if (!result)
		result = read_rings(image, ask, batch, news, err);
	if (!result)
		result = attribute(image, ask->now_ns, batch, first, err);
	if (!result && (due || batch->n_blocks > first))
		result = kms_tables_read(&image->tables, &image->region, batch, err);
	for (size_t i = first; !result && i < batch->n_blocks; i++)
		result = check_block(image, &batch->block[i], batch, err);
	if (!result)
		result = kms_image_counters(image, ask->now_ns, copy_now(image, ask, due), batch,
					    err);
	if (result == -ENOMEM && batch->n_blocks == first)
		return result; /* nothing was taken: again later */
	if (result) {
		kms_batch_keep_blocks(batch, first);
		return result == -ENOMEM ? -EBADMSG : result; /* these are lost: no pretending */
	}
	leave_out(image, batch, first);
	kms_image_slots_finish(image);
	result = move_positions(image);
	if (!result && due)
		kms_image_follow_loss(image, ask->now_ns);
	return result ? kms_err_set(err, result, "the file was cut short") : 0;
}

static void say_corrupt(struct kms_image *image, const struct kms_err *err)
{
	char line[512];

	if (!image->env->say)
		return;
	(void)snprintf(line, sizeof(line), /* cut if need be */
		       "%s (pid %u): its shared memory cannot be read any more: %s",
		       image->program[0] ? image->program : image->name, image->region.head.pid,
		       err->text);
	image->env->say(image->env->say_arg, line);
}

static void become_corrupt(struct kms_image *image, const struct kms_err *err)
{
	bool any = false;

	image->state = KMS_IMAGE_CORRUPT;
	say_corrupt(image, err);
	for (uint32_t i = 0; i < image->n_slots; i++) {
		if (!image->slot[i].target)
			continue;
		any = true;
		kms_targets_set_state(image->env->targets, image->slot[i].target,
				      KMS_STATE_CORRUPT);
	}
	if (!any)
		kms_image_add_corrupt_target(image);
}

/*
 * Nobody reads a corrupt image's rings any more, and what they say of themselves may be nonsense: as
 * far as their producers are concerned, all that can ever come has been read.
 */
static void poll_corrupt(struct kms_image *image)
{
	bool wake = false;

	for (uint32_t i = 0; i < image->region.head.rings; i++) {
		if (image->ring[i].position == position_of_all)
			continue;
		if (kms_control_position(&image->control, i, position_of_all))
			return; /* nothing there any more: nobody can wait for us */
		image->ring[i].position = position_of_all;
		wake = true;
	}
	if (wake)
		(void)kms_control_wake(&image->control); /* as above */
}

static bool all_over(const struct kms_image *image)
{
	for (uint32_t i = 0; i < image->n_slots; i++) {
		if (image->slot[i].target && !image->slot[i].is_over)
			return false;
	}
	for (uint32_t i = 0; i < image->n_rings; i++) {
		if (image->ring[i].reader.claim && !image->ring[i].reader.is_over)
			return false;
	}
	return true;
}

/* Whether anybody can still write what we have not read. */
static int is_held(const struct kms_image *image)
{
	if (image->mirror)
		return !kms_guest_mirror_over(image->mirror);
	return kms_region_is_held(&image->region);
}

/* Asks who has the region, and ends the image when nobody has and everything was read. */
static void look_whether_over(struct kms_image *image, uint64_t now_ns, bool more)
{
	int held;

	if (!image->is_held) {
		if (image->state == KMS_IMAGE_CORRUPT || (!more && all_over(image)))
			image->state = KMS_IMAGE_ENDED;
		return;
	}
	if (!image->look_closer && now_ns - image->held_ns < KMS_IMAGE_HELD_NS)
		return;
	image->held_ns = now_ns;
	held = is_held(image);
	if (kms_image_slots_left(image))
		held = 0;
	if (held > 0 || (held < 0 && kms_image_live(image)))
		return;
	/* what is in it now is all that will ever be; read by the polls to come */
	image->is_held = false;
	image->look_closer = true;
	kms_image_slots_all_dead(image);
}

/* Positions are written again now and then: a target that wrote over one would wait for ever. */
static void renew_positions(struct kms_image *image)
{
	for (uint32_t i = 0; i < image->region.head.rings; i++) {
		if (image->ring[i].reader.claim || image->ring[i].position)
			(void)kms_control_position(&image->control, i, image->ring[i].position);
	}
}

void kms_image_beat(struct kms_image *image, uint64_t now_ns, bool busy)
{
	if (image->control.is_owner && now_ns - image->renewed_ns >= KMS_IMAGE_BEAT_NS) {
		renew_positions(image);
		image->renewed_ns = now_ns;
	}
	if (!image->control.is_owner || (!busy && now_ns - image->beat_ns < KMS_IMAGE_BEAT_NS))
		return;
	/* -EFAULT is met again, and reported, by the next poll */
	(void)kms_control_beat(&image->control, busy);
	image->beat_ns = now_ns;
	kms_image_push(image);
}

void kms_image_push(struct kms_image *image)
{
	if (image->mirror)
		kms_guest_mirror_push(image->mirror);
}

/* What a guest did comes into our copy of its region; who waits for this moment gets all of it. */
static void pull(struct kms_image *image, const struct kms_ring_ask *ask)
{
	struct kms_guest_mirror_news news;

	bool has_ended;

	image->mirror_more = false;
	if (!image->mirror || image->state == KMS_IMAGE_CORRUPT)
		return;
	/* its RAM may outlive it: all that is there by then is read */
	has_ended = kms_guest_link_has_ended(image->env->guest);
	kms_guest_mirror_pull(image->mirror, ask->now_ns, !ask->partial_ns || has_ended, &news);
	image->mirror_more = news.more;
	if (has_ended && !news.more)
		kms_guest_mirror_end(image->mirror);
	if (news.any)
		kms_guest_link_note_active(image->env->guest, ask->now_ns);
	/* what is in its tables and slots is looked at as soon as it is there */
	image->look_closer |= news.any && !image->n_slots;
}

int kms_image_poll(struct kms_image *image, const struct kms_ring_ask *ask, struct kms_batch *batch,
		   struct kms_image_news *news)
{
	struct kms_err err = KMS_ERR_INIT;
	size_t bytes = batch->bytes;
	int result = 0;

	news->more = false;
	if (image->state == KMS_IMAGE_WAITING) {
		result = kms_control_claim(&image->control, ask->now_ns);
		if (result == -EBUSY)
			return 0;
		image->state = KMS_IMAGE_OPEN;
	}
	pull(image, ask);
	if (image->state == KMS_IMAGE_OPEN && !result)
		result = poll_open(image, ask, batch, news, &err);
	news->more |= image->mirror_more;
	if (result == -ENOMEM)
		return result;
	if (result)
		become_corrupt(image, &err);
	if (image->state == KMS_IMAGE_CORRUPT)
		poll_corrupt(image);
	news->any = batch->bytes != bytes;
	kms_image_beat(image, ask->now_ns, news->any);
	kms_image_push(image);
	look_whether_over(image, ask->now_ns, news->more);
	return 0;
}
