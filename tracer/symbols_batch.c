/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One batch of addresses through the helper.
 *
 * Addresses go in order of module and offset, so that the helper opens each file once. It answers in that order and
 * sends what it has before it opens the next file: when it is lost, the first address without an answer names the
 * module to blame. That module gets a strike and is asked last from then on; after the second strike it is not asked
 * again. So one bad file costs its own addresses, and nobody else's unless the time is up. A helper killed by somebody
 * else (a person, the kernel when memory is short) is started once more, and no module is blamed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tracer/symbols_resolver.h"

enum {
	RESTARTS_MAX = 8, /* helpers started for one batch; beyond this something else is wrong */
	KILLS_MAX = 2,    /* whoever kills it again does not want it to run */
};

/* A batch under way. items[0, n_done) have their answers. */
struct batch {
	struct kms_symbols *sym;
	struct kms_symbols_item *items;
	size_t n;
	size_t n_done;
	size_t n_chunk; /* items asked in the request under way, from n_done on */
	int n_killed;   /* helpers that somebody else has killed */
	uint64_t deadline_ns;
	uint64_t stall_ns; /* how long one module may keep the others waiting */
};

/* The helper -------------------------------------------------------------------------------------------------------- */

static void set_helper_pid(struct kms_symbols *sym, bool started)
{
	pthread_mutex_lock(&sym->lock);
	sym->helper_pid = sym->link.pid;
	sym->stats.n_helper_starts += started;
	pthread_mutex_unlock(&sym->lock);
}

int kms_symbols_start_helper(struct kms_symbols *sym, uint64_t deadline_ns, struct kms_err *err)
{
	if (kms_symbols_link_is_alive(&sym->link))
		return 0;
	(void)kms_symbols_link_close(&sym->link); /* ended while nothing was asked of it */
	struct kms_symbols_link_config cfg = {
		.helper_exec = sym->helper_exec,
		.wire = &sym->wire_config,
	};
	int rc = kms_symbols_link_open(&sym->link, &cfg, deadline_ns, err);
	sym->helper++;
	set_helper_pid(sym, rc == 0);
	return rc;
}

static void blame(struct kms_symbols *sym, struct kms_symbols_known_module *culprit,
		  enum kms_symbol_reason reason)
{
	if (++culprit->n_strikes < KMS_SYMBOLS_STRIKES)
		return;
	pthread_mutex_lock(&sym->lock);
	culprit->verdict = (uint8_t)reason;
	sym->stats.n_blacklisted++;
	pthread_mutex_unlock(&sym->lock);
}

/* Ends the helper after a failure, and blames the module it was working on if it was not somebody else. */
static void lose_helper(struct batch *batch, int rc)
{
	struct kms_symbols *sym = batch->sym;
	struct kms_symbols_known_module *culprit = batch->items[batch->n_done].module;
	bool killed_from_outside = kms_symbols_link_close(&sym->link);
	set_helper_pid(sym, false);
	pthread_mutex_lock(&sym->lock);
	sym->stats.n_helper_hangs += rc == -ETIMEDOUT;
	sym->stats.n_helper_deaths += rc == -EPIPE || rc == -EPROTO;
	pthread_mutex_unlock(&sym->lock);
	if (rc == -EPIPE && killed_from_outside)
		batch->n_killed++;
	else if (rc == -ETIMEDOUT)
		blame(sym, culprit, KMS_SYMBOL_TIMEOUT);
	else if (rc != -ENOMEM)
		blame(sym, culprit, KMS_SYMBOL_HELPER_DIED);
}

/* Order of work ----------------------------------------------------------------------------------------------------- */

static int compare_items(const void *a, const void *b)
{
	const struct kms_symbols_item *x = a, *y = b;
	if (x->is_done != y->is_done)
		return x->is_done ? -1 : 1;
	if (x->module->n_strikes != y->module->n_strikes)
		return x->module->n_strikes < y->module->n_strikes ? -1 : 1;
	return kms_symbols_compare_addresses(x, y);
}

/* Puts items with an answer first, and the others in the order in which they shall be asked. */
static void sort_items(struct batch *batch)
{
	pthread_mutex_lock(&batch->sym->lock);
	for (size_t i = batch->n_done; i < batch->n; i++) {
		if (!batch->items[i].is_done)
			(void)kms_symbols_answer_known(batch->sym, &batch->items[i]);
	}
	pthread_mutex_unlock(&batch->sym->lock);
	qsort(batch->items + batch->n_done, batch->n - batch->n_done, sizeof(*batch->items),
	      compare_items);
	while (batch->n_done < batch->n && batch->items[batch->n_done].is_done)
		batch->n_done++;
}

/* Asking ------------------------------------------------------------------------------------------------------------ */

static void put_unknown_modules(struct batch *batch, struct kms_symbols_wire_out *out)
{
	struct kms_symbols *sym = batch->sym;
	for (size_t i = batch->n_done; i < batch->n_done + batch->n_chunk; i++) {
		struct kms_symbols_known_module *module = batch->items[i].module;
		if (module->sent_to == sym->helper)
			continue;
		module->sent_to = sym->helper;
		struct kms_symbols_wire_module message = {
			.id = batch->items[i].address.module,
			.mapped_bytes = module->mapped_bytes,
			.build_id = module->build_id,
			.n_build_id = module->n_build_id,
			.path = module->path,
			.n_path = strlen(module->path),
		};
		kms_symbols_wire_put_module(out, &message);
	}
}

/* Sends the next request. The helper stops by itself somewhat before the deadline, so that its work is not lost. */
static int send_chunk(struct batch *batch)
{
	struct kms_symbols *sym = batch->sym;
	struct kms_symbols_wire_entry entries[KMS_SYMBOLS_WIRE_BATCH];
	size_t n_left = batch->n - batch->n_done;
	batch->n_chunk = n_left < KMS_SYMBOLS_WIRE_BATCH ? n_left : KMS_SYMBOLS_WIRE_BATCH;
	for (size_t i = 0; i < batch->n_chunk; i++)
		entries[i] = batch->items[batch->n_done + i].address;
	uint64_t now_ns = kms_clock_now(kms_clock_system());
	uint64_t left_ns = batch->deadline_ns > now_ns ? batch->deadline_ns - now_ns : 0;
	uint64_t budget_ms = left_ns / 1000000 * 9 / 10;

	struct kms_symbols_wire_out out = {0};
	put_unknown_modules(batch, &out);
	sym->request++;
	kms_symbols_wire_put_request(&out, sym->request,
				     budget_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)budget_ms,
				     entries, batch->n_chunk);
	int rc = kms_symbols_link_send(&sym->link, &out, batch->deadline_ns);
	kms_symbols_wire_out_deinit(&out);
	return rc;
}

/* Whether a reason holds for all of a module, as long as this resolver lives. */
static bool is_of_module(enum kms_symbol_reason reason)
{
	return reason == KMS_SYMBOL_NO_FILE || reason == KMS_SYMBOL_BUILD_ID_MISMATCH ||
	       reason == KMS_SYMBOL_BAD_ELF;
}

/* Stores one checked answer. Holds the lock. */
static void accept_answer(struct kms_symbols *sym, struct kms_symbols_item *item,
			  const struct kms_symbols_wire_answer *answer)
{
	item->is_done = true;
	item->answer.reason = answer->reason;
	if (is_of_module(answer->reason)) {
		item->module->verdict = (uint8_t)answer->reason;
	} else if (answer->reason == KMS_SYMBOL_OK || answer->reason == KMS_SYMBOL_NO_SYMBOL) {
		const struct kms_symbols_cache_entry *entry =
			kms_symbols_cache_put(&sym->cache, &item->address, answer);
		sym->stats.n_cache_full += !entry;
		item->answer.reason = entry ? answer->reason : KMS_SYMBOL_CACHE_FULL;
		item->answer.frames = entry ? entry->frames : NULL;
		item->answer.n_frames = entry ? entry->n_frames : 0;
	}
}

/* Takes the answers of one message; *n_answered counts those of the request. 0 or -EPROTO. */
static int accept_message(struct batch *batch, const struct kms_symbols_wire_message *msg,
			  size_t *n_answered)
{
	struct kms_symbols_wire_reader reader;
	struct kms_symbols_wire_answer answer;
	uint32_t first;
	if (msg->request != batch->sym->request ||
	    kms_symbols_wire_get_answers(msg, &reader, &first) != 0 || first != *n_answered)
		return -EPROTO;
	int rc = 1;
	pthread_mutex_lock(&batch->sym->lock);
	while (rc == 1) {
		rc = kms_symbols_wire_next_answer(&reader, &answer);
		if (rc == 1 && *n_answered == batch->n_chunk)
			rc = -EPROTO;
		if (rc != 1)
			break;
		accept_answer(batch->sym, &batch->items[batch->n_done + *n_answered], &answer);
		(*n_answered)++;
	}
	pthread_mutex_unlock(&batch->sym->lock);
	return *n_answered == first ? -EPROTO
				    : rc; /* a message without answers could be repeated for ever */
}

/* When the helper is given up: earlier than at the deadline only if others still wait behind this module. */
static uint64_t patience_end(const struct batch *batch, size_t n_answered)
{
	const struct kms_symbols_item *next = &batch->items[batch->n_done + n_answered];
	const struct kms_symbols_item *last = &batch->items[batch->n - 1];
	uint64_t stall_end_ns = kms_clock_now(kms_clock_system()) + batch->stall_ns;
	if (next->module == last->module || stall_end_ns > batch->deadline_ns)
		return batch->deadline_ns;
	return stall_end_ns;
}

/* One request and its answers. Moves n_done over what was answered, also on failure. */
static int run_chunk(struct batch *batch)
{
	struct kms_symbols_wire_message msg;
	size_t n_answered = 0;
	int rc = send_chunk(batch);
	while (rc == 0 && n_answered < batch->n_chunk) {
		rc = kms_symbols_link_receive(&batch->sym->link, &msg,
					      patience_end(batch, n_answered));
		if (rc == 0)
			rc = accept_message(batch, &msg, &n_answered);
	}
	if (rc != 0 && n_answered == batch->n_chunk)
		n_answered--; /* it was all answered, then came rubbish: somebody has to be blamed */
	batch->n_done += n_answered;
	return rc;
}

/* Works until all is answered or nothing more can be. Returns the reason for what is left. */
static enum kms_symbol_reason run_chunks(struct batch *batch)
{
	for (int n_starts = 0; batch->n_done < batch->n;) {
		if (kms_clock_now(kms_clock_system()) >= batch->deadline_ns)
			return KMS_SYMBOL_TIMEOUT;
		if (!kms_symbols_link_is_alive(&batch->sym->link)) {
			if (n_starts++ == RESTARTS_MAX)
				return KMS_SYMBOL_HELPER_DIED;
			int rc = kms_symbols_start_helper(batch->sym, batch->deadline_ns, NULL);
			if (rc != 0)
				return rc == -ETIMEDOUT ? KMS_SYMBOL_TIMEOUT
							: KMS_SYMBOL_HELPER_DIED;
		}
		int rc = run_chunk(batch);
		if (rc == 0)
			continue;
		lose_helper(batch, rc);
		if (rc == -ENOMEM || batch->n_killed == KILLS_MAX)
			return KMS_SYMBOL_HELPER_DIED;
		sort_items(batch);
	}
	return KMS_SYMBOL_OK;
}

void kms_symbols_run_batch(struct kms_symbols *sym, struct kms_symbols_item *items, size_t n,
			   uint64_t deadline_ns)
{
	struct batch batch = {
		.sym = sym,
		.items = items,
		.n = n,
		.deadline_ns = deadline_ns,
		.stall_ns = sym->deadline_ns / 2,
	};
	sort_items(&batch);
	enum kms_symbol_reason reason = run_chunks(&batch);
	for (size_t i = batch.n_done; i < n; i++) {
		if (!items[i].is_done)
			items[i].answer.reason = reason;
	}
}
