/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/control.h"

#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/port.h"

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

/* Needs control_lock. */
static uint32_t variable_set(struct kms_heap *heap, unsigned variable, uint64_t value)
{
	uint32_t status = KMS_ACK_OK;

	/* the last ones are commands, which a live session brings: not yet */
	if (variable >= KMS_VAR_VERIFY)
		return KMS_ACK_UNSUPPORTED;
	if (!in_range(&variables[variable], value))
		return KMS_ACK_RANGE;
	if (variable == KMS_VAR_RING_BYTES && heap->ready)
		return KMS_ACK_UNSUPPORTED;
	if (variable == KMS_VAR_TRACE && heap->ready && value && !heap->variable[variable])
		heap->session++;
	heap->variable[variable] = value;
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

void kms_control_poll(struct kms_heap *heap)
{
	uint64_t seq, value;

	if (!heap->request)
		return;
	kms_port_lock(&heap->control_lock);
	if (!pair_read(&heap->request->seq, &seq) || seq == heap->acked_seq)
		goto out;
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		struct kms_ack *ack = &heap->slot->ack[i];
		uint32_t status;

		/* An item never written is {0, 0}, which is no pair. */
		if (!pair_read(&heap->request->item[i], &value) || value == heap->requested[i])
			continue;
		heap->requested[i] = value;
		status = variable_set(heap, i, value);
		ack->value = value_in_effect(heap, i);
		ack->status =
			status == KMS_ACK_OK && ack->value != value ? KMS_ACK_ADJUSTED : status;
		__atomic_store_n(&ack->seq, (uint32_t)seq, __ATOMIC_RELEASE);
	}
	heap->acked_seq = seq;
	__atomic_store_n(&heap->slot->acked_seq, seq, __ATOMIC_RELEASE);
	kms_heap_attention(heap);
out:
	kms_port_unlock(&heap->control_lock);
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
