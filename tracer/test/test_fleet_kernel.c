/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and memory of a guest that is one of a fleet: asked of its run, with the run's own numbers. */
#include <errno.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/fleet.h"

enum {
	RUNS = 2,
};

/* A run with one target, which has one symbol. */
struct source {
	struct kms_snapshot s;
	struct kms_view_target target;
	struct kms_view_ops ops;
	const char *name;
	uint64_t address;
	struct kms_memory_write written;
};

static const struct kms_snapshot *acquire(void *ctx)
{
	const struct source *source = ctx;

	return &source->s;
}

static void release(void *ctx, const struct kms_snapshot *snapshot)
{
	(void)ctx;
	(void)snapshot;
}

static int symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
		  struct kms_err *err)
{
	const struct source *source = ctx;

	assert_int_equal(target, 1);
	strcpy(out->name, source->name);
	if (strcmp(name, source->name) != 0)
		return kms_err_set(err, -ENOENT, "none");
	out->address = source->address;
	return 0;
}

static int symbol_at(void *ctx, uint32_t target, uint64_t address, struct kms_view_symbol *out,
		     struct kms_err *err)
{
	const struct source *source = ctx;

	(void)err;
	assert_int_equal(target, 1);
	strcpy(out->name, source->name);
	out->address = source->address;
	out->offset = address - source->address;
	return 0;
}

static int memory_write(void *ctx, const char *who, const struct kms_memory_write *write,
			struct kms_err *err)
{
	struct source *source = ctx;

	(void)err;
	assert_string_equal(who, "test");
	source->written = *write;
	return 0;
}

static void make(struct source *source, const char *name, uint64_t address, bool has_kernel)
{
	memset(source, 0, sizeof(*source));
	source->name = name;
	source->address = address;
	source->target = (struct kms_view_target){.id = 1, .pid = 1, .name = "kernel"};
	source->s = (struct kms_snapshot){
		.seq = 1, .wall_ns = 1000, .file = "", .n_targets = 1, .target = &source->target};
	source->ops = (struct kms_view_ops){.acquire = acquire, .release = release};
	if (!has_kernel)
		return;
	source->ops.symbol = symbol;
	source->ops.symbol_at = symbol_at;
	source->ops.memory_write = memory_write;
}

static void a_kernel_is_asked_by_its_runs_own_numbers(void **state)
{
	struct kms_fleet *fleet = kms_fleet_create(1000);
	struct kms_view view = kms_fleet_view(fleet);
	const struct kms_view_ops *ops = view.ops;
	struct kms_memory_write write = {.target = 2, .bytes = 4, .address = 8, .value = 9};
	struct kms_view_symbol found;
	struct source source[RUNS + 1];
	uint32_t run[RUNS + 1];

	(void)state;
	make(&source[0], "first", 0x1000, true);
	make(&source[1], "second", 0x2000, true);
	make(&source[2], "process", 0, false);
	for (unsigned i = 0; i < RUNS + 1; i++) {
		const struct kms_fleet_source added = {
			.view = {.ops = &source[i].ops, .ctx = &source[i]},
                          .is_live = true
                };

		assert_int_equal(kms_fleet_add(fleet, &added, &run[i], NULL), 0);
	}
	ops->release(view.ctx, ops->acquire(view.ctx));
	assert_int_equal(ops->symbol(view.ctx, 2, "second", &found, NULL), 0);
	assert_int_equal(found.address, 0x2000);
	assert_int_equal(ops->symbol(view.ctx, 1, "second", &found, NULL), -ENOENT);
	assert_string_equal(found.name, "first");
	assert_int_equal(ops->symbol_at(view.ctx, 1, 0x1004, &found, NULL), 0);
	assert_int_equal(found.offset, 4);
	assert_int_equal(ops->symbol(view.ctx, 3, "second", &found, NULL), -ENOTSUP);
	assert_int_equal(ops->symbol(view.ctx, 99, "second", &found, NULL), -ESRCH);
	assert_int_equal(ops->memory_write(view.ctx, "test", &write, NULL), 0);
	assert_int_equal(source[1].written.target, 1);
	assert_int_equal(source[1].written.value, 9);
	assert_int_equal(source[0].written.bytes, 0);
	write.target = 3;
	assert_int_equal(ops->memory_write(view.ctx, "test", &write, NULL), -ENOTSUP);
	for (unsigned i = 0; i < RUNS + 1; i++)
		kms_fleet_remove(fleet, run[i]);
	kms_fleet_destroy(fleet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kernel_is_asked_by_its_runs_own_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
