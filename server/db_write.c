/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * w: sets variables of the targets. Its first line is ddb's; what ddb does not do, checking size and
 * range, reading back and saying what it costs, follows. And verify, which is a write and a wait.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fmt.h"
#include "schema/variables.h"
#include "server/db.h"
#include "server/db_run.h"
#include "server/report.h"

enum {
	ACK_MS = 300, /* a target that runs answers a write sooner, at its next allocator call */
	VERIFY_MS = 2000, /* checking every block takes its time */
	POLL_US = 2000,
	FRESH_MS = 60, /* pictures younger than this may be shared: see the tracer's acquire */
	MAX_ANSWERS = 16,
};

/* What one target had and what it made of the write. */
struct answer {
	uint32_t target;
	uint64_t before;
	uint64_t after;
	bool known; /* before */
	bool pending;
};

/* The targets that a write concerns. */
struct answers {
	struct answer item[MAX_ANSWERS];
	size_t n;      /* filled */
	size_t n_more; /* meant, but not waited for */
};

/* Size by the first letter of the modifier, as ddb has it; lower case reads the old value. 0: an error. */
static unsigned int write_size(struct kms_ddb *db, bool *shows_old)
{
	static const char letters[] = "bhlqBHLQ";
	char letter = db->modif[0];
	const char *at = letter ? strchr(letters, letter) : NULL;

	*shows_old = at && at < letters + 4;
	if (!letter)
		return 4;
	if (at)
		return 1u << (at - letters) % 4;
	kms_ddb_fail(db, "Unknown size: %c; b h l q, or B H L Q", letter);
	return 0;
}

/* The variable that begins at an address; NULL: an error is set. */
static const struct kms_ddb_variable *writable(struct kms_ddb *db, uint64_t addr)
{
	uint64_t offset = 0;
	const struct kms_ddb_variable *variable = kms_ddb_variable_at(addr, &offset);

	if (variable && offset == 0)
		return variable;
	if (variable)
		kms_ddb_fail(db, "%s: no variable begins there; one value for one variable",
			     kms_ddb_place(db, addr).text);
	else
		kms_ddb_fail(db,
			     "%s: not written: memory of a process is its own, w sets kmem's "
			     "variables only; `show variables` lists them",
			     kms_ddb_number(db, addr).text);
	return NULL;
}

static bool check_size(struct kms_ddb *db, const struct kms_ddb_variable *v, unsigned int size)
{
	if (size == v->bytes)
		return true;
	kms_ddb_fail(db, "%s has %u bytes, not %u: w/%c %s VALUE", v->name, v->bytes, size,
		     v->bytes == 8 ? 'q' : 'l', v->name);
	return false;
}

static bool check_range(struct kms_ddb *db, const struct kms_ddb_variable *v, uint64_t value)
{
	bool negative = (int64_t)value < 0 && v->max <= INT64_MAX;

	if (!negative && value >= v->min && value <= v->max)
		return true;
	kms_ddb_fail(db, "%s: %s0t%" PRIu64 " is out of range: 0t%" PRIu64 " to 0t%" PRIu64 " (%s)",
		     v->name, negative ? "-" : "", negative ? 0 - value : value, v->min, v->max,
		     v->help);
	return false;
}

static int get(const struct kms_ddb *db, uint32_t target, unsigned int variable,
	       uint64_t *effective, bool *pending)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;
	uint64_t requested;

	return view->ops->variable_get(view->ctx, target, variable, &requested, effective, pending,
				       &err);
}

/* Which targets are meant, and what they had before. */
static void look_before(const struct kms_ddb *db, unsigned int variable, struct answers *answers)
{
	const struct kms_view_target *target;
	struct answer *answer;
	long index = -1;
	bool pending;

	memset(answers, 0, sizeof(*answers));
	while ((target = kms_ddb_next_target(db, &index))) {
		if (answers->n == MAX_ANSWERS) {
			answers->n_more++;
			continue;
		}
		answer = &answers->item[answers->n++];
		answer->target = target->id;
		answer->pending = true;
		answer->known = get(db, target->id, variable, &answer->before, &pending) == 0;
	}
}

/* Whether a target has answered, or has gone. */
static bool has_answered(const struct kms_ddb *db, unsigned int variable, struct answer *answer)
{
	bool pending = true;

	if (get(db, answer->target, variable, &answer->after, &pending) < 0)
		answer->known = pending = false;
	answer->pending = pending;
	return !pending;
}

/* Waits until all have answered, @ms at most. */
static void wait_for_answers(const struct kms_ddb *db, unsigned int variable,
			     struct answers *answers, unsigned int ms)
{
	const struct kms_clock *clock = kms_clock_system();
	const struct timespec pause = {.tv_nsec = POLL_US * 1000L};
	uint64_t end = kms_clock_now(clock) + (uint64_t)ms * 1000000;
	bool all;

	for (;;) {
		all = true;
		for (size_t i = 0; i < answers->n; i++)
			if (answers->item[i].pending)
				all &= has_answered(db, variable, &answers->item[i]);
		if (all || kms_clock_now(clock) > end)
			return;
		nanosleep(&pause, NULL);
	}
}

/* The line that ddb prints. */
static void say_written(const struct kms_ddb *db, uint64_t addr, const struct answers *answers,
			bool shows_old, uint64_t value)
{
	kms_buf_addf(db->out, "%s\t\t", kms_ddb_place(db, addr).text);
	if (shows_old && answers->n)
		kms_buf_addf(db->out, "%s ", kms_ddb_number(db, answers->item[0].before).text);
	kms_buf_addf(db->out, "= %s\n", kms_ddb_number(db, value).text);
}

/* "kmem_guard_depth 0 -> 30000 (0x7530), effective 30208, 60416 pages of address space" */
static void say_answer(const struct kms_ddb *db, const struct kms_ddb_variable *v,
		       const struct answer *answer, uint64_t value)
{
	kms_buf_addf(db->out, "%s ", v->name);
	if (answer->known)
		kms_buf_addf(db->out, "%" PRIu64 " ", answer->before);
	kms_buf_addf(db->out, "-> %" PRIu64 " (0x%" PRIx64 "), ", value, value);
	if (answer->pending)
		kms_buf_add_str(db->out,
				"pending: the target takes it up at its next allocator call");
	else if (!answer->known)
		kms_buf_add_str(db->out, "the target has ended");
	else
		kms_buf_addf(db->out, "effective %" PRIu64, answer->after);
	if (v->index != KMS_VAR_GUARD_DEPTH || !value)
		return;
	value = (value + 511) / 512 * 512; /* what the target makes of it */
	kms_buf_addf(db->out, "; %" PRIu64 " pages of address space at least", 2 * value);
}

static void say_answers(const struct kms_ddb *db, const struct kms_ddb_variable *v,
			const struct answers *answers, uint64_t value)
{
	for (size_t i = 0; i < answers->n; i++) {
		if (answers->n > 1)
			kms_buf_addf(db->out, "target %" PRIu32 ": ", answers->item[i].target);
		say_answer(db, v, &answers->item[i], value);
		kms_buf_add_char(db->out, '\n');
	}
	if (answers->n_more)
		kms_buf_addf(db->out, "and %zu more targets\n", answers->n_more);
}

/*
 * Who types 30000 and means it finds 196608 in the line above, and here why: the expression that
 * begins at @from is digits 0 to 9 only, and was read as hexadecimal.
 */
static void say_radix(const struct kms_ddb *db, size_t from, uint64_t value)
{
	const char *typed = db->lex.text + from;
	size_t n;

	typed += strspn(typed, " \t");
	n = strspn(typed, "0123456789");
	if (db->state->var[KMS_DDB_RADIX] != 16 || n < 2 || n > 16 ||
	    (typed[n] && !strchr(" \t\r\n", typed[n])))
		return;
	kms_buf_addf(db->out,
		     "kmem: %.*s was read as hexadecimal, %" PRIu64 "; 0t%.*s is decimal\n", (int)n,
		     typed, value, (int)n, typed);
}

static bool may_write(struct kms_ddb *db, const struct kms_ddb_variable *v, uint64_t value,
		      unsigned int size)
{
	if (!check_size(db, v, size) || !check_range(db, v, value))
		return false;
	if (db->view->ops->variable_set && db->view->ops->variable_get)
		return true;
	if (kms_ddb_kernel(db)) {
		kms_ddb_fail(db, "%s: the guest's kernel has no such variable", v->name);
		return false;
	}
	kms_ddb_fail(db, "%s: this session does not own its targets; it only reads", v->name);
	return false;
}

/* The guest whose memory is meant; 0: none, it is for the variables to say what is wrong. */
static uint32_t guest_of(struct kms_ddb *db, uint64_t addr)
{
	const struct kms_view_target *target;
	uint64_t offset;
	long index = -1;

	if (!db->view->ops->memory_write || kms_ddb_variable_at(addr, &offset))
		return 0;
	target = kms_ddb_next_target(db, &index);
	return target && target->kind == KMS_TARGET_GUEST ? target->id : 0;
}

/* Memory of a guest that is no variable of ours; what it held is compared, so nothing is overwritten unseen. */
static void write_memory(struct kms_ddb *db, uint32_t target, uint64_t addr, uint64_t value)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;
	bool shows_old;
	unsigned int size = write_size(db, &shows_old);
	struct kms_memory_write write = {
		.target = target, .bytes = size, .address = addr, .value = value};

	if (!size)
		return;
	db->page.valid = false; /* what it holds now counts, not when the line began */
	if (!kms_ddb_read(db, addr, size, &write.expected))
		return;
	db->page.valid = false;
	if (view->ops->memory_write(view->ctx, db->who, &write, &err) < 0) {
		kms_ddb_fail_err(db, kms_ddb_place(db, addr).text, &err);
		return;
	}
	kms_buf_addf(db->out, "%s\t\t", kms_ddb_place(db, addr).text);
	if (shows_old || !db->modif[0])
		kms_buf_addf(db->out, "%s ", kms_ddb_number(db, write.expected).text);
	kms_buf_addf(db->out, "= %s\n", kms_ddb_number(db, value).text);
}

static void write_one(struct kms_ddb *db, uint64_t addr, uint64_t value)
{
	const struct kms_view *view = db->view;
	uint32_t guest = guest_of(db, addr);
	const struct kms_ddb_variable *variable = guest ? NULL : writable(db, addr);
	struct kms_err err = KMS_ERR_INIT;
	struct answers answers;
	bool shows_old;
	unsigned int size = write_size(db, &shows_old);

	if (guest) {
		write_memory(db, guest, addr, value);
		return;
	}
	if (!variable || !size || !may_write(db, variable, value, size))
		return;
	look_before(db, variable->index, &answers);
	if (view->ops->variable_set(view->ctx, db->who, kms_ddb_chosen(db), variable->index, value,
				    &err) < 0) {
		kms_ddb_fail_err(db, variable->name, &err);
		return;
	}
	wait_for_answers(db, variable->index, &answers, ACK_MS);
	say_written(db, addr, &answers, shows_old, value);
	say_answers(db, variable, &answers, value);
}

/* Where the next expression begins in the line. */
static size_t begin_of_next(const struct kms_ddb *db)
{
	return db->lex.pushed ? db->lex.token_at : db->lex.at;
}

void kms_ddb_cmd_write(struct kms_ddb *db)
{
	uint64_t addr = db->addr;
	uint64_t value = 0;
	size_t from = begin_of_next(db);
	bool shows_old;
	unsigned int size = write_size(db, &shows_old);
	bool any = false;

	while (!kms_ddb_failed(db) && kms_ddb_expression(db, &value)) {
		write_one(db, addr, value);
		if (kms_ddb_failed(db))
			return;
		say_radix(db, from, value);
		from = begin_of_next(db);
		any = true;
		db->state->prev = addr;
		addr += size;
	}
	if (!any)
		kms_ddb_fail(db,
			     "Nothing written.: w NAME VALUE; a negative value needs parentheses");
	else if (!kms_ddb_lex_at_end(&db->lex))
		kms_ddb_fail(db, "?: the rest of the line was not written");
	db->state->next = addr;
	db->keeps_next = true;
}

/* The newest picture, once all that was reported until now is in it. */
static const struct kms_snapshot *fresh_snapshot(const struct kms_ddb *db)
{
	const struct timespec pause = {.tv_nsec = FRESH_MS * 1000000L};

	nanosleep(&pause, NULL);
	return db->view->ops->acquire(db->view->ctx);
}

static uint32_t last_fault(const struct kms_snapshot *s)
{
	return s->n_faults ? s->fault[s->n_faults - 1].id : 0;
}

/* Whether verify is about this cache: all, or the one that was named. */
static bool is_named(const char *cache, const char *name)
{
	return !name[0] || (cache && strcmp(cache, name) == 0);
}

/* Broken blocks of a cache that were found since. */
static size_t count_broken(const struct kms_snapshot *now, const struct kms_view_cache *cache,
			   uint32_t since)
{
	const struct kms_view_fault *fault;
	size_t n = 0;

	for (size_t i = 0; i < now->n_faults; i++) {
		fault = &now->fault[i];
		n += fault->id > since && fault->target == cache->target && fault->cache &&
		     strcmp(fault->cache, cache->name) == 0;
	}
	return n;
}

/* The answer of a target; NULL: it was not asked, it has ended. */
static const struct answer *answer_of(const struct answers *answers, uint32_t target)
{
	for (size_t i = 0; i < answers->n; i++)
		if (answers->item[i].target == target)
			return &answers->item[i];
	return NULL;
}

/* A verify: when it began, and what it is about. */
struct verify {
	struct answers answers;
	uint32_t since; /* faults after this one are its finds */
	bool is_done;   /* the view checked it itself, so there are no answers */
	char name[KMS_DDB_NAME_BYTES];
};

static void say_cache(const struct kms_ddb *db, const struct kms_snapshot *now,
		      const struct kms_view_cache *cache, const struct verify *verify)
{
	const struct answer *answer = answer_of(&verify->answers, cache->target);
	size_t broken = count_broken(now, cache, verify->since);

	if ((!answer && !verify->is_done) || (!broken && !verify->name[0] && !cache->objects_total))
		return; /* never used: as vmstat leaves such out */
	kms_ddb_add_name(db, cache->name, 25);
	kms_buf_addf(db->out, " %6" PRIu32 " ", cache->target);
	if (broken)
		kms_buf_addf(db->out, "%zu corrupt buffer%s\n", broken, broken == 1 ? "" : "s");
	else
		kms_buf_add_str(db->out,
				answer && answer->pending ? "not checked yet\n" : "clean\n");
}

static void say_caches(const struct kms_ddb *db, const struct kms_snapshot *now,
		       const struct verify *verify)
{
	const struct kms_view_cache *cache;

	kms_buf_addf(db->out, "%-25s %6s %s\n", "Cache Name", "Target", "Cache Integrity");
	for (size_t i = 0; i < now->n_caches; i++) {
		cache = &now->cache[i];
		if (is_named(cache->name, verify->name))
			say_cache(db, now, cache, verify);
	}
}

static void say_new_faults(const struct kms_ddb *db, const struct kms_snapshot *now,
			   const struct verify *verify)
{
	const struct kms_view_fault *fault;

	for (size_t i = 0; i < now->n_faults; i++) {
		fault = &now->fault[i];
		if (fault->id <= verify->since || !kms_ddb_is_meant(db, fault->target) ||
		    !is_named(fault->cache, verify->name))
			continue;
		kms_buf_addf(db->out, "fault %" PRIu32 ": ", fault->id);
		kms_report_headline(db->out, db->stacks, fault);
		kms_buf_add_char(db->out, '\n');
	}
}

static size_t count_pending(const struct answers *answers)
{
	size_t n = 0;

	for (size_t i = 0; i < answers->n; i++)
		n += answers->item[i].pending;
	return n;
}

static bool cache_exists(const struct kms_ddb *db, const char *name)
{
	for (size_t i = 0; i < db->snapshot->n_caches; i++)
		if (strcmp(db->snapshot->cache[i].name, name) == 0)
			return true;
	return false;
}

/* Reads the cache's name, if there is one, and asks the targets. False: an error is set. */
static bool begin_verify(struct kms_ddb *db, struct verify *verify)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;
	char shown[KMS_DDB_NAME_BYTES];

	verify->name[0] = '\0';
	verify->since = last_fault(db->snapshot);
	if (kms_ddb_lex_word(&db->lex, verify->name, sizeof(verify->name)) &&
	    !cache_exists(db, verify->name))
		kms_ddb_fail(db, "no cache is named %s; `show kmastat` lists them",
			     kms_ddb_printable(verify->name, shown, sizeof(shown)));
	if (view->ops->verify) {
		verify->is_done = !kms_ddb_failed(db);
		if (verify->is_done &&
		    view->ops->verify(view->ctx, db->who, kms_ddb_chosen(db), &err) < 0)
			kms_ddb_fail_err(db, "verify", &err);
		return !kms_ddb_failed(db);
	}
	if (!view->ops->variable_set || !view->ops->variable_get) {
		kms_ddb_fail(db, "verify: this session does not own its targets; it only reads");
		return false;
	}
	if (kms_ddb_failed(db))
		return false;
	look_before(db, KMS_VAR_VERIFY, &verify->answers);
	if (view->ops->variable_set(view->ctx, db->who, kms_ddb_chosen(db), KMS_VAR_VERIFY, 1,
				    &err) == 0)
		return true;
	kms_ddb_fail_err(db, "verify", &err);
	return false;
}

void kms_ddb_cmd_verify(struct kms_ddb *db)
{
	const struct kms_view *view = db->view;
	const struct kms_snapshot *now;
	struct verify verify = {0};

	if (!begin_verify(db, &verify))
		return;
	wait_for_answers(db, KMS_VAR_VERIFY, &verify.answers, VERIFY_MS);
	now = fresh_snapshot(db);
	say_caches(db, now, &verify);
	say_new_faults(db, now, &verify);
	view->ops->release(view->ctx, now);
	if (count_pending(&verify.answers))
		kms_ddb_fail(db,
			     "verify: %zu target(s) have not answered within %d s; they check at "
			     "their next allocator call, `show faults` has what they find",
			     count_pending(&verify.answers), VERIFY_MS / 1000);
}
