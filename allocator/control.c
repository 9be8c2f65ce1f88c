/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/control.h"

#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/join.h"
#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/stop.h"
#include "allocator/text.h"
#include "allocator/verify.h"

struct variable {
	const char *name;
	uint64_t value, minimum, maximum;
};

#define VARIABLE_ROW(id, name_, def, min, max, help) {name_, def, min, max},

static const struct variable variables[KMS_VARIABLE_COUNT] = {KMS_VARIABLES(VARIABLE_ROW)};

void kms_control_defaults(struct kms_heap *heap)
{
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++)
		heap->variable[i] = variables[i].value;
}

uint32_t kms_control_checks(const struct kms_heap *heap)
{
	uint32_t checks = 0;

	if (heap->variable[KMS_VAR_SIZE])
		checks |= KMS_CHECK_SIZE | KMS_CHECK_HEADER;
	/* A record needs the size, so tracing keeps it too. */
	if (heap->shared && heap->variable[KMS_VAR_TRACE])
		checks |= KMS_CHECK_SIZE;
	if (heap->variable[KMS_VAR_REDZONE])
		checks |= KMS_CHECK_REDZONE;
	/* Poison ends where the redzone begins: it needs to know where that is. */
	if (heap->variable[KMS_VAR_POISON])
		checks |= KMS_CHECK_POISON | KMS_CHECK_REDZONE;
	return checks;
}

void kms_control_publish(struct kms_heap *heap)
{
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		heap->slot->ack[i].value = heap->variable[i];
		heap->slot->ack[i].status = KMS_ACK_OK;
	}
	if (heap->slot->ack[KMS_VAR_GUARD_DEPTH].value)
		heap->slot->ack[KMS_VAR_GUARD_DEPTH].value = heap->slot->guard.depth;
}

static bool same_name(const char *name, const char *given, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++) {
		if (name[i] != given[i] || !name[i])
			return false;
	}
	return name[i] == '\0';
}

unsigned kms_control_find(const char *name, size_t length)
{
	unsigned i;

	for (i = 0; i < KMS_VARIABLE_COUNT; i++) {
		if (same_name(variables[i].name, name, length) ||
		    same_name(variables[i].name + sizeof("kmem_") - 1, name, length))
			break;
	}
	return i;
}

static void checks_changed(struct kms_heap *heap)
{
	struct kms_check_set set = kms_heap_check_set(heap);
	uint32_t checks = kms_control_checks(heap);
	uint64_t word;

	if (checks == set.checks)
		return;
	set.checks = checks;
	set.epoch++;
	__builtin_memcpy(&word, &set, sizeof(word));
	/* pairs with kms_heap_check_set */
	__atomic_store_n(&heap->check_set, word, __ATOMIC_RELEASE);
}

static bool in_range(const struct variable *v, uint64_t value)
{
	return value >= v->minimum && value <= v->maximum;
}

/* What was not recorded is not known from here on: schema/record.h. */
static void new_session(struct kms_heap *heap)
{
	kms_heap_next_session(heap);
	heap->slot->session = heap->session;
}

/* Needs control_lock. */
static uint32_t variable_set(struct kms_heap *heap, unsigned variable, uint64_t value)
{
	uint32_t status = KMS_ACK_OK;

	/* commands are of a live session; calls of their own do the same from within */
	if (variable >= KMS_VAR_COMMANDS)
		return KMS_ACK_UNSUPPORTED;
	if (!in_range(&variables[variable], value))
		return KMS_ACK_RANGE;
	if (variable == KMS_VAR_RING_BYTES && heap->ready)
		return KMS_ACK_UNSUPPORTED;
	if (variable == KMS_VAR_TRACE && heap->ready && value && !heap->variable[variable])
		new_session(heap);
	kms_variable_store(heap, variable, value);
	if (!heap->ready)
		return KMS_ACK_OK;
	if (variable <= KMS_VAR_GUARD_BACKEND)
		status = kms_guard_configure(heap);
	checks_changed(heap);
	return status;
}

static uint64_t value_in_effect(const struct kms_heap *heap, unsigned variable)
{
	if (variable == KMS_VAR_GUARD_DEPTH)
		return heap->slot->guard.depth;
	return heap->variable[variable];
}

uint32_t kms_control_set(struct kms_heap *heap, unsigned variable, uint64_t value)
{
	uint32_t status;

	kms_port_lock(&heap->control_lock);
	status = variable_set(heap, variable, value);
	if (heap->ready) {
		heap->slot->ack[variable].value = value_in_effect(heap, variable);
		kms_heap_attention(heap);
	}
	kms_port_unlock(&heap->control_lock);
	return status;
}

static bool pair_read(const struct kms_pair *pair, uint64_t *value)
{
	uint64_t v = __atomic_load_n(&pair->v, __ATOMIC_ACQUIRE);

	*value = v;
	return v == ~__atomic_load_n(&pair->not_v, __ATOMIC_ACQUIRE);
}

void kms_control_again(struct kms_heap *heap)
{
	kms_port_lock(&heap->control_lock);
	checks_changed(heap);
	kms_heap_attention(heap);
	kms_port_unlock(&heap->control_lock);
}

enum {
	FIRST_COMMAND = KMS_VAR_COMMANDS,
	COMMANDS = KMS_VARIABLE_COUNT - FIRST_COMMAND,
};

/* Commands found by one look, to be done without a lock. */
struct commands {
	bool any;
	bool is_asked[COMMANDS];
	uint64_t item[COMMANDS]; /* upper half: sequence of the request */
};

/* Is there a request of this variable that was not taken up? An item never written is {0, 0}, which
 * is no pair. */
static bool item_is_new(const struct kms_heap *heap, unsigned variable, uint64_t *value)
{
	return pair_read(&heap->request->item[variable], value) &&
	       (!heap->was_requested[variable] || *value != heap->requested[variable]);
}

/* Needs control_lock. */
static void item_take(struct kms_heap *heap, unsigned variable, uint64_t value, uint64_t seq)
{
	struct kms_ack *ack = &heap->slot->ack[variable];
	uint32_t status = variable_set(heap, variable, value);

	ack->value = value_in_effect(heap, variable);
	ack->status = status == KMS_ACK_OK && ack->value != value ? KMS_ACK_ADJUSTED : status;
	__atomic_store_n(&ack->seq, (uint32_t)seq, __ATOMIC_RELEASE);
}

/* Takes up what is asked for. Needs control_lock. */
static void take_up(struct kms_heap *heap, struct commands *commands)
{
	uint64_t seq, value;

	if (!pair_read(&heap->request->seq, &seq) || seq == heap->acked_seq)
		return;
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		if (!item_is_new(heap, i, &value))
			continue;
		heap->was_requested[i] = true;
		heap->requested[i] = value;
		if (i < KMS_VAR_COMMANDS) {
			item_take(heap, i, value, seq);
			continue;
		}
		commands->any = commands->is_asked[i - KMS_VAR_COMMANDS] = true;
		commands->item[i - KMS_VAR_COMMANDS] = value;
	}
	__atomic_store_n(&heap->acked_seq, seq, __ATOMIC_RELAXED);
	__atomic_store_n(&heap->slot->acked_seq, seq, __ATOMIC_RELEASE);
	kms_heap_attention(heap);
}

static uint32_t verify(struct kms_local *t, uint32_t asked, uint64_t *value)
{
	(void)asked;
	*value = kms_verify(t, NULL);
	return KMS_ACK_OK;
}

/* The mark's name is its number: names are given where it is looked at. */
static uint32_t mark(struct kms_local *t, uint32_t asked, uint64_t *value)
{
	struct kms_text name = {0};
	uint64_t numbers[5] = {0};

	*value = asked;
	if (!t->trace)
		return KMS_ACK_UNSUPPORTED;
	kms_text_add(&name, "mark ");
	kms_text_number(&name, asked, 10, 1);
	numbers[0] = kms_string_add(t->heap, name.buffer, name.length);
	if (numbers[0] == KMS_NO_INDEX)
		return KMS_ACK_UNSUPPORTED;
	kms_ring_emit_code(t, KMS_REC_MARK, 1, numbers);
	return KMS_ACK_OK;
}

static uint32_t go_on(struct kms_local *t, uint32_t asked, uint64_t *value)
{
	*value = asked;
	__atomic_store_n(&t->heap->go_on, 1, __ATOMIC_RELAXED);
	return KMS_ACK_OK;
}

/* What was not recorded is not known from here on: schema/record.h. */
static uint32_t resync(struct kms_local *t, uint32_t asked, uint64_t *value)
{
	*value = asked;
	kms_port_lock(&t->heap->control_lock);
	new_session(t->heap);
	kms_heap_attention(t->heap);
	kms_port_unlock(&t->heap->control_lock);
	return KMS_ACK_OK;
}

static uint32_t leave(struct kms_local *t, uint32_t asked, uint64_t *value)
{
	*value = asked;
	kms_port_lock(&t->heap->control_lock);
	kms_heap_leave(t->heap);
	checks_changed(t->heap);
	kms_heap_attention(t->heap);
	kms_port_unlock(&t->heap->control_lock);
	return KMS_ACK_OK;
}

/* Done when everything that was asked for is answered; a tracer of a process needs no help. */
static uint32_t stop(struct kms_local *t, uint32_t asked, uint64_t *value)
{
	*value = asked;
	if (!t->heap->stops_itself)
		return KMS_ACK_UNSUPPORTED;
	__atomic_store_n(&t->heap->stop_wanted, 1, __ATOMIC_RELAXED);
	return KMS_ACK_OK;
}

static uint32_t (*const command[COMMANDS])(struct kms_local *t, uint32_t asked, uint64_t *value) = {
	[KMS_VAR_VERIFY - FIRST_COMMAND] = verify,  [KMS_VAR_MARK - FIRST_COMMAND] = mark,
	[KMS_VAR_CONTINUE - FIRST_COMMAND] = go_on, [KMS_VAR_LEAVE - FIRST_COMMAND] = leave,
	[KMS_VAR_RESYNC - FIRST_COMMAND] = resync,  [KMS_VAR_STOP - FIRST_COMMAND] = stop,
};

static void command_answer(struct kms_local *t, unsigned variable, uint64_t value, uint32_t status,
			   uint32_t seq)
{
	struct kms_ack *ack = &t->heap->slot->ack[variable];

	kms_port_lock(&t->heap->control_lock);
	/* one that was asked for later may have been faster */
	if ((int32_t)(seq - ack->seq) > 0) {
		ack->value = value;
		ack->status = status;
		__atomic_store_n(&ack->seq, seq, __ATOMIC_RELEASE);
	}
	kms_port_unlock(&t->heap->control_lock);
}

static void commands_run(struct kms_local *t, const struct commands *commands)
{
	for (unsigned i = 0; i < COMMANDS; i++) {
		uint64_t item = commands->item[i], value;
		uint32_t status;

		if (!commands->is_asked[i])
			continue;
		status = command[i](t, (uint32_t)item, &value);
		command_answer(t, KMS_VAR_COMMANDS + i, value, status,
			       (uint32_t)(item >> KMS_COMMAND_SEQ_SHIFT));
	}
}

bool kms_control_is_asked(const struct kms_heap *heap)
{
	uint64_t seq;

	return heap->request && pair_read(&heap->request->seq, &seq) &&
	       seq != __atomic_load_n(&heap->acked_seq, __ATOMIC_RELAXED);
}

bool kms_control_is_told_to_go_on(const struct kms_heap *heap)
{
	uint64_t value;

	return item_is_new(heap, KMS_VAR_CONTINUE, &value);
}

/* A tracer that is new here may want to hold our threads one day. */
static void greet_tracer(struct kms_heap *heap)
{
	uint32_t pid = __atomic_load_n(&heap->tracer->pid, __ATOMIC_RELAXED);

	if (pid && pid != heap->tracer_pid)
		kms_port_allow_tracer(pid);
	heap->tracer_pid = pid;
}

void kms_control_poll(struct kms_local *t)
{
	struct kms_heap *heap = t->heap;
	struct commands commands = {0};
	uint32_t busy = t->busy;

	if (!heap->request || !heap->shared)
		return;
	/* A signal handler of this thread must not come for the lock, or find a record half written. */
	kms_enter(t);
	kms_port_lock(&heap->control_lock);
	greet_tracer(heap);
	take_up(heap, &commands);
	kms_port_unlock(&heap->control_lock);
	if (commands.any)
		commands_run(t, &commands);
	if (__atomic_exchange_n(&heap->stop_wanted, 0, __ATOMIC_RELAXED) && !kms_stop_is_mine(t))
		(void)kms_stop_stand(t, KMS_STOP_REQUEST, 0);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->busy = busy;
}

/* Decimal or 0x, with K, M, G; false if it is anything else. */
static bool parse_value(const char *s, size_t length, uint64_t *value)
{
	unsigned base = 10, shift = 0;
	uint64_t v = 0;
	size_t i = 0;

	if (length > 2 && s[0] == '0' && (s[1] | 32) == 'x') {
		base = 16;
		i = 2;
	} else if (length > 1) {
		switch (s[length - 1] | 32) {
		case 'k':
			shift = 10;
			break;
		case 'm':
			shift = 20;
			break;
		case 'g':
			shift = 30;
			break;
		}
		length -= shift != 0;
	}
	if (i == length)
		return false;
	for (; i < length; i++) {
		unsigned digit = (unsigned char)s[i] - '0';

		if (base == 16 && digit > 9)
			digit = (unsigned)((s[i] | 32) - 'a') + 10;
		if (digit >= base || __builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, digit, &v))
			return false;
	}
	if (shift && v >> (64 - shift))
		return false;
	*value = v << shift;
	return true;
}

static const char *parse_item(struct kms_heap *heap, const char *item, size_t length)
{
	size_t name = 0;
	uint64_t value;
	unsigned variable;
	uint32_t status;

	while (name < length && item[name] != '=')
		name++;
	variable = kms_control_find(item, name);
	if (variable == KMS_VARIABLE_COUNT)
		return "unknown name";
	if (name == length)
		return "value missing";
	if (!parse_value(item + name + 1, length - name - 1, &value))
		return "not a number";
	status = kms_control_set(heap, variable, value);
	if (status == KMS_ACK_RANGE)
		return "out of range";
	return status == KMS_ACK_UNSUPPORTED ? "cannot be set at start" : NULL;
}

unsigned kms_control_parse(struct kms_heap *heap, const char *options,
			   void (*complain)(const char *item, size_t length, const char *reason))
{
	unsigned complaints = 0;

	while (*options) {
		size_t length = 0;
		const char *reason = NULL;

		while (options[length] && options[length] != ',')
			length++;
		if (length)
			reason = parse_item(heap, options, length);
		if (reason) {
			complaints++;
			if (complain)
				complain(options, length, reason);
		}
		options += length + (options[length] == ',');
	}
	return complaints;
}
