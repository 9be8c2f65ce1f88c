/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory behind a gdb stub: see back_ends.h. The guest goes on between two accesses, and stands
 * for all that happens between kms_guest_memory_hold() and kms_guest_memory_let_go().
 */
#include <errno.h>
#include <stdlib.h>

#include "tracer/guest/back_ends.h"

struct gdb_memory {
	struct kms_guest_memory memory; /* first */
	struct kms_gdb *gdb;
	bool was_running; /* when this access, or the outermost hold, began */
};

static struct gdb_memory *gdb_of(struct kms_guest_memory *memory)
{
	return (struct gdb_memory *)memory;
}

/* Stops it for what follows. */
static int begin(struct kms_guest_memory *memory, struct kms_err *err)
{
	struct gdb_memory *gdb = gdb_of(memory);

	if (memory->holds == 0)
		gdb->was_running = kms_gdb_is_running(gdb->gdb);
	return kms_gdb_stop(gdb->gdb, err);
}

/* As it was: a guest that stood already, at a break point or by somebody else, stands on. */
static int end(struct kms_guest_memory *memory, struct kms_err *err)
{
	struct gdb_memory *gdb = gdb_of(memory);
	int result = gdb->was_running ? kms_gdb_go(gdb->gdb, err) : 0;

	memory->paused_ns = kms_gdb_paused_ns(gdb->gdb);
	memory->longest_pause_ns = kms_gdb_longest_pause_ns(gdb->gdb);
	return result;
}

/* Errors of a connection as those of a back end. */
static int as_memory(int result)
{
	if (result == -EPIPE)
		return -EFAULT;
	return result && result != -EFAULT ? -EIO : result;
}

static int hold(struct kms_guest_memory *memory, struct kms_err *err)
{
	return as_memory(begin(memory, err));
}

static int let_go(struct kms_guest_memory *memory, struct kms_err *err)
{
	return as_memory(end(memory, err));
}

/* Ends what an access began; the first error counts. */
static int finish(struct kms_guest_memory *memory, int result, struct kms_err *err)
{
	int went = memory->holds == 0 ? end(memory, result ? NULL : err) : 0;

	return as_memory(result ? result : went);
}

static int gdb_read(struct kms_guest_memory *memory, const struct kms_guest_piece *pieces,
		    size_t count, struct kms_err *err)
{
	struct kms_gdb *gdb = gdb_of(memory)->gdb;
	int result = begin(memory, err);

	for (size_t i = 0; i < count && result == 0; i++)
		result = kms_gdb_read(gdb, KMS_GDB_PHYSICAL, pieces[i].address, pieces[i].to,
				      pieces[i].bytes, err);
	return finish(memory, result, err);
}

static int gdb_write(struct kms_guest_memory *memory, uint64_t address, const void *from,
		     size_t bytes, struct kms_err *err)
{
	int result = begin(memory, err);

	if (result == 0)
		result = kms_gdb_write(gdb_of(memory)->gdb, KMS_GDB_PHYSICAL, address, from, bytes,
				       err);
	return finish(memory, result, err);
}

static void gdb_close(struct kms_guest_memory *memory)
{
	free(gdb_of(memory)); /* the connection is another's */
}

static const struct kms_guest_memory_ops gdb_ops = {
	.name = "gdb",
	.read = gdb_read,
	.write = gdb_write,
	.close = gdb_close,
	.hold = hold,
	.let_go = let_go,
};

int kms_guest_memory_open_gdb(struct kms_gdb *gdb, const struct kms_guest_layout *layout,
			      struct kms_guest_memory **memory, struct kms_err *err)
{
	struct gdb_memory *made;
	int result = kms_guest_layout_check(layout, err);

	if (result)
		return result;
	made = calloc(1, sizeof(*made));
	if (!made)
		return kms_err_set(err, -ENOMEM, "no memory for a guest");
	made->memory.ops = &gdb_ops;
	made->memory.pauses = true;
	made->gdb = gdb;
	kms_guest_memory_set_ranges(&made->memory, layout);
	*memory = &made->memory;
	return 0;
}
