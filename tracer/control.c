/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracer's writes into a region: see control.h.
 */
#include "tracer/control.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "schema/variables.h"

/* pairs with the target's loads of v and then ~v: it takes v only while both agree */
static void store_pair(struct kms_pair *pair, uint64_t value)
{
	__atomic_store_n(&pair->v, value, __ATOMIC_RELEASE);
	__atomic_store_n(&pair->not_v, ~value, __ATOMIC_RELEASE);
}

/* 0 while the two halves disagree. */
static uint64_t load_pair(const struct kms_pair *pair)
{
	uint64_t value = kms_load_acquire_u64(&pair->v);

	return kms_load_acquire_u64(&pair->not_v) == ~value ? value : 0;
}

/* One store or load, to be done under kms_region_access(). */
struct job {
	struct kms_control *control;
	uint64_t value;
	uint64_t seq;
	uint32_t index;
	unsigned variable;
	uint64_t now_ns;
	bool busy; /* in: move the tick; out: there is a value */
	int result;
};

static int run(struct kms_control *control, void (*fn)(void *), struct job *job)
{
	int result;

	job->control = control;
	result = kms_region_access(control->region, fn, job);
	return result ? result : job->result;
}

static void read_beat(void *arg)
{
	struct job *job = arg;

	job->value = load_pair(&job->control->region->page->heartbeat);
}

int kms_control_init(struct kms_control *control, struct kms_region *region, uint64_t nonce)
{
	struct job job = {0};
	int result;

	memset(control, 0, sizeof(*control));
	control->region = region;
	control->nonce = nonce;
	result = run(control, read_beat, &job);
	/* goes on where a former owner stopped: a target compares, it does not look for sense */
	control->heartbeat = control->other_beat = job.value;
	return result;
}

static void claim(void *arg)
{
	struct job *job = arg;
	struct kms_control *c = job->control;
	struct kms_tracer_page *page = c->region->page;
	uint64_t owner = load_pair(&page->owner);
	uint64_t beat = load_pair(&page->heartbeat);

	if (owner && owner != c->nonce) {
		if (!c->other_seen_ns || beat != c->other_beat) {
			c->other_seen_ns = job->now_ns;
			c->other_beat = beat;
		}
		if (job->now_ns - c->other_seen_ns < KMS_OWNER_DEAD_NS) {
			job->result = -EBUSY;
			return;
		}
	}
	store_pair(&page->owner, c->nonce);
	__atomic_store_n(&page->pid, (uint32_t)getpid(), __ATOMIC_RELAXED);
	c->is_owner = true;
}

int kms_control_claim(struct kms_control *control, uint64_t now_ns)
{
	struct job job = {.now_ns = now_ns};

	return control->is_owner ? 0 : run(control, claim, &job);
}

static void beat(void *arg)
{
	struct job *job = arg;
	struct kms_control *c = job->control;

	store_pair(&c->region->page->heartbeat, ++c->heartbeat);
	if (job->busy)
		store_pair(&c->region->page->tick, ++c->tick);
}

int kms_control_beat(struct kms_control *control, bool busy)
{
	struct job job = {.busy = busy};

	return run(control, beat, &job);
}

static void position(void *arg)
{
	struct job *job = arg;

	store_pair(&job->control->region->position[job->index], job->value);
}

int kms_control_position(struct kms_control *control, uint32_t ring, uint64_t block)
{
	struct job job = {.index = ring, .value = block};

	return run(control, position, &job);
}

static void wake(void *arg)
{
	struct job *job = arg;
	struct kms_control *c = job->control;

	__atomic_store_n(&c->region->page->wake, ++c->wake, __ATOMIC_RELEASE);
	/* shared, not private: the waiters are in other processes */
	(void)syscall(SYS_futex, &c->region->page->wake, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

int kms_control_wake(struct kms_control *control)
{
	struct job job = {0};

	return run(control, wake, &job);
}

/* Has the target look now; one that stands still waits at the word. */
static void call_attention(struct kms_request *r)
{
	/* only the owner writes here: one more is enough */
	__atomic_store_n(&r->attention, kms_load_u32_relaxed(&r->attention) + 1, __ATOMIC_RELEASE);
	(void)syscall(SYS_futex, &r->attention, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* A command's item is a new one each time, by the sequence that its answer will carry. */
static uint64_t item_of(unsigned variable, uint64_t value, uint64_t seq)
{
	if (variable < KMS_VAR_COMMANDS || variable >= KMS_VARIABLE_COUNT)
		return value;
	return seq << KMS_COMMAND_SEQ_SHIFT | (uint32_t)value;
}

static void request(void *arg)
{
	struct job *job = arg;
	struct kms_request *r = &job->control->region->request[job->index];

	job->seq = load_pair(&r->seq) + 1;
	store_pair(&r->item[job->variable], item_of(job->variable, job->value, job->seq));
	store_pair(&r->seq, job->seq);
	call_attention(r);
}

int kms_control_request(struct kms_control *control, uint32_t slot, unsigned variable,
			uint64_t value, uint64_t *seq)
{
	struct job job = {.index = slot, .variable = variable, .value = value};
	int result = run(control, request, &job);

	*seq = job.seq;
	return result;
}

static void greet(void *arg)
{
	struct job *job = arg;

	call_attention(&job->control->region->request[job->index]);
}

int kms_control_greet(struct kms_control *control, uint32_t slot)
{
	struct job job = {.index = slot};

	return run(control, greet, &job);
}

static void held(void *arg)
{
	struct job *job = arg;
	struct kms_request *r = &job->control->region->request[job->index];

	__atomic_store_n(&r->held, (uint32_t)job->value, __ATOMIC_RELEASE);
	call_attention(r);
}

int kms_control_held(struct kms_control *control, uint32_t slot, uint32_t stop_nr)
{
	struct job job = {.index = slot, .value = stop_nr};

	return run(control, held, &job);
}

static void requested(void *arg)
{
	struct job *job = arg;
	struct kms_request *r = &job->control->region->request[job->index];

	job->value = load_pair(&r->item[job->variable]);
	job->busy = r->item[job->variable].v == ~r->item[job->variable].not_v;
	job->seq = load_pair(&r->seq);
}

int kms_control_requested(struct kms_control *control, uint32_t slot, unsigned variable,
			  uint64_t *value, bool *is_requested, uint64_t *seq)
{
	struct job job = {.index = slot, .variable = variable};
	int result = run(control, requested, &job);

	*value = job.value;
	*is_requested = job.busy;
	*seq = job.seq;
	return result;
}
