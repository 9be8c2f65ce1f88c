/* SPDX-License-Identifier: BSD-2-Clause */
/* The store's front: what the writer thread calls. See store.h and store_impl.h. */
#include "tracer/store.h"

#include <errno.h>

#include "base/clock.h"
#include "tracer/store_impl.h"

static int add_tables(struct kms_store *store, const struct kms_batch *batch, struct kms_err *err)
{
	int result = 0;

	for (size_t i = 0; !result && i < batch->n_tables; i++)
		result = store_add_table(store, &batch->table[i], err);
	for (size_t i = 0; !result && i < batch->n_tables; i++)
		if (store_name_table(store, &batch->table[i]) < 0)
			result = kms_err_set(err, -ENOMEM, "out of memory");
	return result;
}

/* Goes on after a failure: what can be kept is kept, the first failure is told. */
static int add_blocks(struct kms_store *store, const struct kms_batch *batch, struct kms_err *err)
{
	int result = 0;

	for (size_t i = 0; i < batch->n_blocks; i++) {
		int one = store_add_block(store, &batch->block[i], result ? NULL : err);

		result = result ? result : one;
	}
	return result;
}

static int add_targets(struct kms_store *store, const struct kms_batch *batch)
{
	int result = 0;

	for (size_t i = 0; result != -ENOMEM && i < batch->n_targets; i++)
		result = store_add_target(store, &batch->target[i]);
	for (size_t i = 0; result != -ENOMEM && i < batch->n_slots; i++)
		result = store_add_slot(store, &batch->slot[i]);
	for (size_t i = 0; result != -ENOMEM && i < batch->n_rings; i++)
		result = store_add_ring(store, &batch->ring[i]);
	return result == -ENOMEM ? result : 0;
}

static int add(struct kms_store *store, const struct kms_batch *batch, struct kms_err *err)
{
	int result = add_targets(store, batch);
	int later;

	if (result < 0)
		kms_err_set(err, result, "out of memory");
	later = add_tables(store, batch, result ? NULL : err);
	result = result ? result : later;
	later = add_blocks(store, batch, result ? NULL : err);
	return result ? result : later;
}

int kms_store_add(struct kms_store *store, struct kms_batch *batch, struct kms_err *err)
{
	int result = add(store, batch, err);
	bool now = batch->what == KMS_BATCH_SYNC || batch->what == KMS_BATCH_END ||
		   store->staged_bytes >= KMS_STORE_COMMIT_BYTES;
	int later;

	store->changed = true;
	later = kms_store_commit(store, now, result ? NULL : err);
	return result ? result : later;
}

int kms_store_commit(struct kms_store *store, bool force, struct kms_err *err)
{
	uint64_t now = kms_clock_now(kms_clock_system());
	int result;

	if (!force && (!store->changed || now - store->last_commit_ns < store->config.commit_ns))
		return 0;
	result = store_make_chunk(store, false, err);
	return result ? result : store_flush(store, NULL, false, err);
}

int kms_store_snapshot(struct kms_store *store, const struct kms_snapshot *snapshot,
		       struct kms_err *err)
{
	return store_flush(store, snapshot, false, err);
}

int kms_store_audit(struct kms_store *store, const struct kms_store_audit *audit,
		    struct kms_err *err)
{
	int result =
		STORE_ROW(&store->rows, STORE_AUDIT, KMS_INT(store->next_audit),
			  KMS_INT(audit->wall_ns), KMS_TEXT(audit->who ? audit->who : ""),
			  KMS_INT(audit->target), KMS_TEXT(audit->variable ? audit->variable : ""),
			  KMS_INT(audit->value), KMS_TEXT(audit->result ? audit->result : ""));

	store->next_audit++;
	store->changed = true;
	return result < 0 ? kms_err_set(err, result, "cannot keep an audit entry") : 0;
}

int kms_store_mark(struct kms_store *store, const struct kms_store_mark *mark, struct kms_err *err)
{
	int result;

	store->mark = mark;
	result = store_flush(store, NULL, false, err);
	store->mark = NULL;
	return result;
}

void kms_store_figures(struct kms_store *store, uint64_t *db_bytes, uint64_t *events)
{
	*db_bytes = atomic_load(&store->db_bytes);
	*events = atomic_load(&store->stored);
}
