/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/test/unit.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tracer/guest/linux_view.h"
#include "tracer/guest/test/fake_linux.h"

enum {
	DEADLINE_S = 20,
};

static struct kms_linux_view *start(struct fake_linux *fake)
{
	struct kms_linux_view_config config = {
		.memory = fake->ram.memory,
		.linux_options = {.is_still = true},
		.command = "qemu -m 8M",
		.pid = 4711,
	};
	struct kms_linux_view *view = NULL;
	struct kms_err err = KMS_ERR_INIT;

	if (kms_linux_view_start(&config, &view, &err))
		fail_msg("%s", err.text);
	return view;
}

static uint64_t now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

/* Waits for a picture that is as wanted; it is to be given back. */
static const struct kms_snapshot *wait_for(const struct kms_view *view,
					   bool (*is_so)(const struct kms_snapshot *snapshot))
{
	uint64_t end = now_s() + DEADLINE_S;

	while (now_s() < end) {
		const struct kms_snapshot *snapshot = view->ops->acquire(view->ctx);

		if (is_so(snapshot))
			return snapshot;
		view->ops->release(view->ctx, snapshot);
		(void)usleep(5000); /* the view's thread reads 10 times a second */
	}
	fail_msg("no such picture came");
	return NULL;
}

static void a_picture_has_caches_suspects_and_their_stacks(void **state)
{
	struct fake_linux *fake = fake_linux_make(1);
	struct kms_linux_view *view = start(fake);
	struct kms_view ops = kms_linux_view_ops(view);
	const struct kms_snapshot *snapshot = ops.ops->acquire(ops.ctx);
	struct kms_view_stack stack;
	uint64_t live = 0;

	(void)state;
	assert_int_equal(snapshot->n_targets, 1);
	assert_int_equal(snapshot->target->kind, KMS_TARGET_GUEST);
	assert_int_equal(snapshot->target->state, KMS_STATE_RUNNING);
	assert_int_equal(snapshot->target->pid, 4711);
	assert_string_equal(snapshot->target->name, "Linux 6.12.0-fake");
	assert_string_equal(snapshot->target->command, "qemu -m 8M");
	assert_int_equal(snapshot->n_caches, FAKE_CACHES);
	for (size_t i = 0; i < FAKE_CACHES; i++) {
		assert_string_equal(snapshot->cache[i].name, fake->cache[i].name);
		assert_int_equal(snapshot->cache[i].objects_live, fake->cache[i].active);
		assert_int_equal(snapshot->cache[i].objects_total, fake->cache[i].objects);
		assert_int_equal(snapshot->cache[i].pages, fake->cache[i].slabs);
		live += fake->cache[i].active;
	}
	assert_int_equal(snapshot->stats.live_objects, live);
	assert_true(snapshot->n_leaks > 0);
	assert_string_equal(snapshot->leak->cache, fake->cache[2].name);
	assert_int_equal(strlen(snapshot->leak->id), 16);
	assert_int_equal(ops.ops->stack(ops.ctx, fake->leak_handle, &stack, NULL), 0);
	assert_int_equal(stack.n_frames, FAKE_STACK_FRAMES);
	assert_string_equal(stack.frame[0].function, "leaky_open");
	assert_string_equal(stack.frame[2].function, "innocent_open");
	assert_string_equal(stack.frame[0].module, "vmlinux");
	ops.ops->stack_free(ops.ctx, &stack);
	assert_int_equal(ops.ops->stack(ops.ctx, 12345, &stack, NULL), -ENOENT);
	ops.ops->release(ops.ctx, snapshot);
	kms_linux_view_stop(view);
	fake_linux_drop(fake);
}

static void memory_is_read_at_virtual_addresses(void **state)
{
	struct fake_linux *fake = fake_linux_make(2);
	struct kms_linux_view *view = start(fake);
	struct kms_view ops = kms_linux_view_ops(view);
	char banner[16] = "";
	size_t n;

	(void)state;
	memcpy(fake->ram.bytes + 0x1ff8, "up to a page's end", 18);
	assert_int_equal(ops.ops->memory(ops.ctx, 1, fake->linear + 0x1ffc, banner, 6, &n, NULL),
			 0);
	assert_int_equal(n, 6);
	assert_memory_equal(banner, "o a pa", 5);
	assert_int_equal(ops.ops->memory(ops.ctx, 1, 0x1000, banner, 6, &n, NULL), -EFAULT);
	assert_int_equal(ops.ops->memory(ops.ctx, 2, fake->linear, banner, 6, &n, NULL), -ESRCH);
	kms_linux_view_stop(view);
	fake_linux_drop(fake);
}

static int keep_slab(void *arg, const struct kms_view_slab *slab)
{
	*(struct kms_view_slab *)arg = *slab;
	return 1;
}

static void an_address_is_told_with_its_slab_and_what_is_known_besides(void **state)
{
	struct fake_linux *fake = fake_linux_make(5);
	struct kms_linux_view *view = start(fake);
	struct kms_view ops = kms_linux_view_ops(view);
	const char *cache = fake->cache[2].name;
	struct kms_view_slab slab = {0};
	struct kms_view_block block;
	char text[256];

	(void)state;
	memset(&block, 0xff, sizeof(block));
	assert_int_equal(ops.ops->slabs(ops.ctx, 0, cache, keep_slab, &slab, NULL), 0);
	assert_int_equal(slab.target, 1);
	assert_int_equal(ops.ops->whatis(ops.ctx, 1, slab.base + 1, &block, NULL), 0);
	assert_string_equal(block.cache, cache);
	assert_int_equal(block.slab, slab.base);
	assert_int_equal(block.address, slab.base);
	assert_int_equal(block.target, 1);
	assert_int_equal(block.alloc_ns, 0);
	assert_int_equal(ops.ops->explain(ops.ctx, 1, slab.base + 1, text, sizeof(text), NULL), 0);
	assert_non_null(strstr(text, "object 0 of "));
	assert_int_equal(ops.ops->explain(ops.ctx, 1, fake->image + 0x14, text, sizeof(text), NULL),
			 0);
	assert_non_null(strstr(text, "leaky_open+0x4"));
	assert_int_equal(ops.ops->explain(ops.ctx, 1, 0x1000, text, sizeof(text), NULL), -ENOENT);
	assert_int_equal(ops.ops->whatis(ops.ctx, 2, slab.base, &block, NULL), -ESRCH);
	assert_int_equal(ops.ops->verify(ops.ctx, "test", 1, NULL), 0);
	assert_int_equal(ops.ops->slabs(ops.ctx, 1, "no such cache", keep_slab, &slab, NULL),
			 -ENOENT);
	kms_linux_view_stop(view);
	fake_linux_drop(fake);
}

static bool has_ended(const struct kms_snapshot *snapshot)
{
	return snapshot->target[0].state == KMS_STATE_EXITED;
}

static bool has_two(const struct kms_snapshot *snapshot)
{
	return snapshot->n_targets == 2 && snapshot->n_caches == FAKE_CACHES;
}

static void a_kernel_that_boots_again_is_another_target(void **state)
{
	struct fake_linux *fake = fake_linux_make(3);
	struct kms_linux_view *view = start(fake);
	struct kms_view ops = kms_linux_view_ops(view);
	const struct kms_snapshot *snapshot;

	(void)state;
	memset(fake->ram.bytes + fake->info_at, 0, 4096);
	snapshot = wait_for(&ops, has_ended);
	assert_int_equal(snapshot->n_caches, 0);
	ops.ops->release(ops.ctx, snapshot);
	fake_linux_write_info(fake, fake->info_at, "6.12.0-fake");
	snapshot = wait_for(&ops, has_two);
	assert_int_equal(snapshot->target[1].id, 2);
	assert_int_equal(snapshot->target[1].state, KMS_STATE_RUNNING);
	assert_int_equal(snapshot->cache[0].target, 2);
	ops.ops->release(ops.ctx, snapshot);
	kms_linux_view_stop(view);
	fake_linux_drop(fake);
}

static char first_name[32]; /* of the list of caches, when it has changed */

static bool has_moved(const struct kms_snapshot *snapshot)
{
	return snapshot->n_caches == FAKE_CACHES && !strcmp(snapshot->cache[0].name, first_name);
}

/* The first cache becomes the last: sites are read once a second, caches ten times. */
static void a_suspect_keeps_its_cache_when_others_come_and_go(void **state)
{
	struct fake_linux *fake = fake_linux_make(1);
	struct kms_linux_view *view = start(fake);
	struct kms_view ops = kms_linux_view_ops(view);
	const struct kms_snapshot *snapshot;
	uint64_t list = fake_offset_of(fake, "kmem_cache", "list");
	uint64_t first = fake->cache[0].address + list, second = fake->cache[1].address + list;
	uint64_t last = fake->cache[FAKE_CACHES - 1].address + list, head;
	uint8_t *bytes = fake->ram.bytes;

	(void)state;
	strcpy(first_name, fake->cache[1].name);
	memcpy(&head, bytes + (last - fake->linear), sizeof(head));
	memcpy(bytes + (first - fake->linear), &head, sizeof(head));
	memcpy(bytes + (last - fake->linear), &first, sizeof(first));
	memcpy(bytes + (head - fake->image + FAKE_IMAGE_AT), &second, sizeof(second));
	snapshot = wait_for(&ops, has_moved);
	assert_true(snapshot->n_leaks > 0);
	for (size_t i = 0; i < snapshot->n_leaks; i++)
		assert_string_equal(snapshot->leak[i].cache, fake->cache[2].name);
	ops.ops->release(ops.ctx, snapshot);
	kms_linux_view_stop(view);
	fake_linux_drop(fake);
}

static bool is_lost(const struct kms_snapshot *snapshot)
{
	return snapshot->target[0].state == KMS_STATE_LOST;
}

static void memory_that_is_cut_off_is_said(void **state)
{
	struct fake_linux *fake = fake_linux_make(4);
	struct kms_linux_view *view = start(fake);
	struct kms_view ops = kms_linux_view_ops(view);

	(void)state;
	assert_false(kms_linux_view_is_over(view));
	assert_int_equal(ftruncate(fake->ram.fd, 4096), 0);
	ops.ops->release(ops.ctx, wait_for(&ops, is_lost));
	assert_true(kms_linux_view_is_over(view));
	kms_linux_view_stop(view);
	fake_linux_drop(fake);
}

/* Its last picture outlives the memory. */
static void who_was_let_go_is_not_looked_at_again(void **state)
{
	struct fake_linux *fake = fake_linux_make(5);
	struct kms_linux_view *view = start(fake);
	struct kms_view ops = kms_linux_view_ops(view);
	const struct kms_snapshot *snapshot;
	char byte;
	size_t n;

	(void)state;
	assert_int_equal(ops.ops->detach(ops.ctx, "test", 1, NULL), 0);
	assert_true(kms_linux_view_is_over(view));
	fake_linux_drop(fake);
	snapshot = ops.ops->acquire(ops.ctx);
	assert_int_equal(snapshot->target[0].state, KMS_STATE_DETACHED);
	ops.ops->release(ops.ctx, snapshot);
	assert_int_equal(ops.ops->memory(ops.ctx, 1, 0, &byte, 1, &n, NULL), -ESRCH);
	assert_int_equal(ops.ops->stop(ops.ctx, "test", 1, NULL), -ESRCH);
	kms_linux_view_stop(view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_picture_has_caches_suspects_and_their_stacks),
		cmocka_unit_test(memory_is_read_at_virtual_addresses),
		cmocka_unit_test(an_address_is_told_with_its_slab_and_what_is_known_besides),
		cmocka_unit_test(a_kernel_that_boots_again_is_another_target),
		cmocka_unit_test(a_suspect_keeps_its_cache_when_others_come_and_go),
		cmocka_unit_test(memory_that_is_cut_off_is_said),
		cmocka_unit_test(who_was_let_go_is_not_looked_at_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
