/* SPDX-License-Identifier: BSD-2-Clause */
/* Fault reports: see report.h. */
#include "server/report.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fmt.h"
#include "schema/spans.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const char *const kind_names[KMS_FAULT_KINDS] = {KMS_FAULT_NAMES};
static const char *const access_names[] = {"none", "read", "write", "free", "alloc", "check"};
static const char *const state_names[] = {"never used",        "live",       "free", "free",
					  "in the guard FIFO", "caught once"};
static const char *const level_names[KMS_LEVELS] = {"task", "softint", "callout", "hardint"};
static const char *const policy_names[] = {"report", "stop", "panic"};

static const char *name_of(const char *const *names, size_t n, uint32_t value)
{
	return value < n ? names[value] : "unknown";
}

const char *kms_fault_kind_name(uint32_t kind)
{
	return name_of(kind_names, COUNT_OF(kind_names), kind);
}

const char *kms_fault_access_name(uint32_t access)
{
	return name_of(access_names, COUNT_OF(access_names), access);
}

const char *kms_block_state_name(uint32_t state)
{
	static const char *const names[] = {"never",  "live",       "free",
					    "cached", "quarantine", "spent"};

	return name_of(names, COUNT_OF(names), state);
}

const char *kms_level_name(uint32_t level)
{
	return name_of(level_names, COUNT_OF(level_names), level);
}

const char *kms_policy_name(uint32_t policy)
{
	return name_of(policy_names, COUNT_OF(policy_names), policy);
}

static void add_name(struct kms_buf *out, const char *name)
{
	kms_buf_add_printable(out, name, strlen(name));
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* "function (file:line)", "function (module+0xoff)" or what there is. */
void kms_report_frame(struct kms_buf *out, const struct kms_view_frame *frame)
{
	if (frame->function)
		add_name(out, frame->function);
	if (frame->function && (frame->file || frame->module))
		kms_buf_add_str(out, " (");
	if (frame->file && frame->function) {
		add_name(out, frame->file);
		if (frame->line)
			kms_buf_addf(out, ":%" PRIu32, frame->line);
	} else if (frame->module) {
		add_name(out, last_part(frame->module));
		kms_buf_addf(out, "+0x%" PRIx64, frame->offset);
	} else if (!frame->function) {
		kms_buf_addf(out, "0x%" PRIx64, frame->address);
	}
	if (frame->function && (frame->file || frame->module))
		kms_buf_add_char(out, ')');
}

/* Frames of our own library are how a program came here, not where it went wrong. */
static bool is_ours(const struct kms_view_frame *frame)
{
	return frame->module && strncmp(last_part(frame->module), "libkmem", 7) == 0;
}

/* The first frame outside the allocator; nothing for a stack that is not known. */
void kms_report_caller(struct kms_buf *out, struct kms_stacks *stacks, uint64_t stack_id,
		       const char *before)
{
	const struct kms_view_stack *stack = kms_stacks_get(stacks, stack_id, NULL);
	size_t i = 0;

	while (i + 1 < stack->n_frames && is_ours(&stack->frame[i]))
		i++;
	if (i < stack->n_frames) {
		kms_buf_add_str(out, before);
		kms_report_frame(out, &stack->frame[i]);
	}
}

static void add_stack(struct kms_buf *out, struct kms_stacks *stacks, uint64_t stack_id)
{
	const char *error;
	const struct kms_view_stack *stack = kms_stacks_get(stacks, stack_id, &error);

	if (stack_id == 0)
		kms_buf_add_str(out, "    (no stack recorded)\n");
	if (error) {
		kms_buf_addf(out, "    (stack %" PRIu64 " not available: ", stack_id);
		add_name(out, error);
		kms_buf_add_str(out, ")\n");
	}
	for (size_t i = 0; i < stack->n_frames; i++) {
		kms_buf_addf(out, "    #%-2zu ", i);
		kms_report_frame(out, &stack->frame[i]);
		kms_buf_add_str(out, stack->frame[i].inlined ? " [inlined]\n" : "\n");
	}
	if (stack->cut)
		kms_buf_add_str(out, "    (outer frames not recorded)\n");
}

/* A moment of the run, precise enough to tell events apart. */
static struct kms_fmt moment(uint64_t ns)
{
	struct kms_fmt out;

	snprintf(out.text, sizeof(out.text), "%" PRIu64 ".%06" PRIu64 " s", ns / 1000000000,
		 ns / 1000 % 1000000);
	return out;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* "16 bytes inside a freed block of 64 bytes" */
static void add_place(struct kms_buf *out, const struct kms_fault *raw)
{
	uint64_t end = raw->block + raw->block_bytes;
	uint64_t distance;
	const char *where;
	const char *state = raw->block_state == KMS_BLOCK_LIVE ? "live" : "freed";

	if (!raw->block) {
		kms_buf_addf(out, "%s, in no known block", kms_fmt_addr(raw->address).text);
		return;
	}
	if (raw->address < raw->block) {
		distance = raw->block - raw->address;
		where = "before";
	} else if (raw->address < end || (raw->address == raw->block && raw->block_bytes == 0)) {
		distance = raw->address - raw->block;
		where = "inside";
	} else {
		distance = raw->address - end + 1; /* 1: the first byte that is not the block's */
		where = "behind";
	}
	if (distance == 0)
		kms_buf_addf(out, "the start of a %s block", state);
	else
		kms_buf_addf(out, "%" PRIu64 " byte%s %s a %s block", distance, plural(distance),
			     where, state);
	kms_buf_addf(out, " of %" PRIu64 " byte%s", raw->block_bytes, plural(raw->block_bytes));
}

static void say_touched(struct kms_buf *out, const struct kms_fault *raw)
{
	static const char *const verbs[] = {"damage found at",
					    "read",
					    "write",
					    "free found damage",
					    "allocation found damage",
					    "check found damage"};

	kms_buf_addf(out, "%s ", name_of(verbs, COUNT_OF(verbs), raw->access));
	add_place(out, raw);
}

static void say_freed(struct kms_buf *out, const struct kms_fault *raw)
{
	kms_buf_add_str(out, "free of ");
	add_place(out, raw);
}

static void say_sizes(struct kms_buf *out, const struct kms_fault *raw)
{
	kms_buf_addf(out, "freed with size %" PRIu64 ", allocated with size %" PRIu64,
		     raw->argument_bytes, raw->block_bytes);
}

static void say_flags(struct kms_buf *out, const struct kms_fault *raw)
{
	kms_buf_addf(out, "flags 0x%" PRIx64 " are not exactly one of KM_SLEEP and KM_NOSLEEP",
		     raw->found);
}

static void say_context(struct kms_buf *out, const struct kms_fault *raw)
{
	kms_buf_addf(out, "call not allowed in %s context", kms_level_name(raw->level));
}

/* What a kind has to say; a kind without a row has the target's own message. */
static void (*const sayings[KMS_FAULT_KINDS])(struct kms_buf *, const struct kms_fault *) = {
	[KMS_FAULT_OVERFLOW] = say_touched,       [KMS_FAULT_UNDERFLOW] = say_touched,
	[KMS_FAULT_USE_AFTER_FREE] = say_touched, [KMS_FAULT_MODIFIED_AFTER_FREE] = say_touched,
	[KMS_FAULT_DOUBLE_FREE] = say_freed,      [KMS_FAULT_INVALID_FREE] = say_freed,
	[KMS_FAULT_SIZE_MISMATCH] = say_sizes,    [KMS_FAULT_BAD_FLAGS] = say_flags,
	[KMS_FAULT_WRONG_CONTEXT] = say_context,
};

void kms_report_headline(struct kms_buf *out, struct kms_stacks *stacks,
			 const struct kms_view_fault *fault)
{
	const struct kms_fault *raw = &fault->raw;

	kms_buf_addf(out, "BUG: %s", kms_fault_kind_name(raw->kind));
	kms_report_caller(out, stacks, fault->stack_id, " in ");
	if (raw->kind < KMS_FAULT_KINDS && sayings[raw->kind]) {
		kms_buf_add_str(out, ": ");
		sayings[raw->kind](out, raw);
	} else if (raw->text[0]) {
		kms_buf_add_str(out, ": ");
		kms_buf_add_printable(out, raw->text, strnlen(raw->text, sizeof(raw->text)));
	}
}

static void add_thread(struct kms_buf *out, const struct kms_view_fault *fault)
{
	kms_buf_addf(out, " by thread %" PRIu32, fault->tid);
	if (fault->thread_name && fault->thread_name[0]) {
		kms_buf_add_str(out, " \"");
		add_name(out, fault->thread_name);
		kms_buf_add_char(out, '"');
	}
	if (fault->raw.level != KMS_LEVEL_TASK)
		kms_buf_addf(out, " in %s context", kms_level_name(fault->raw.level));
}

/* What the thread was about to do, and with what. */
static void add_deed(struct kms_buf *out, const struct kms_fault *raw)
{
	static const char *const nouns[] = {"found",   "read of",       "write to",
					    "free of", "allocation of", "check of"};

	if (!raw->address && raw->access == KMS_ACCESS_FREE) {
		kms_buf_add_str(out, "free of a null pointer");
	} else if (raw->address || raw->access != KMS_ACCESS_ALLOC) {
		kms_buf_addf(out, "%s %s", name_of(nouns, COUNT_OF(nouns), raw->access),
			     kms_fmt_addr(raw->address).text);
	} else {
		/* there is no block yet; not every call says how many bytes were asked for */
		kms_buf_add_str(out, "allocation");
		if (raw->argument_bytes || raw->kind == KMS_FAULT_ZERO_SIZE)
			kms_buf_addf(out, " of %" PRIu64 " byte%s", raw->argument_bytes,
				     plural(raw->argument_bytes));
	}
}

static void add_access(struct kms_buf *out, struct kms_stacks *stacks,
		       const struct kms_view_fault *fault)
{
	const struct kms_fault *raw = &fault->raw;

	add_deed(out, raw);
	add_thread(out, fault);
	kms_buf_addf(out, ", %s into the run, target %" PRIu32 ":\n", moment(raw->time_ns).text,
		     fault->target);
	add_stack(out, stacks, fault->stack_id);
	if (raw->text[0]) {
		kms_buf_add_str(out, "  message: ");
		kms_buf_add_printable(out, raw->text, strnlen(raw->text, sizeof(raw->text)));
		kms_buf_add_char(out, '\n');
	}
	if (raw->expected != raw->found)
		kms_buf_addf(out, "  expected 0x%" PRIx64 ", found 0x%" PRIx64 "\n", raw->expected,
			     raw->found);
	if (raw->hits)
		kms_buf_addf(out, "  the block was touched %" PRIu32 " more time%s since\n",
			     raw->hits, plural(raw->hits));
}

/* The newest owner with the stacks that stand in the fault: it knows thread and times. */
static const struct kms_view_owner *find_owner(const struct kms_view_fault *fault)
{
	for (size_t i = 0; i < fault->n_owners; i++)
		if (fault->owner[i].alloc_stack_id == fault->alloc_stack_id &&
		    fault->owner[i].free_stack_id == fault->free_stack_id)
			return &fault->owner[i];
	return NULL;
}

static void add_past(struct kms_buf *out, struct kms_stacks *stacks,
		     const struct kms_view_fault *fault)
{
	const struct kms_view_owner *owner = find_owner(fault);

	if (fault->alloc_stack_id) {
		kms_buf_add_str(out, "\nallocated");
		if (owner)
			kms_buf_addf(out, " by thread %" PRIu32 " at %s", owner->thread,
				     moment(owner->alloc_ns).text);
		kms_buf_add_str(out, ":\n");
		add_stack(out, stacks, fault->alloc_stack_id);
	}
	if (fault->free_stack_id) {
		kms_buf_add_str(out, "\nfreed");
		if (owner && owner->free_ns)
			kms_buf_addf(out, " at %s", moment(owner->free_ns).text);
		kms_buf_add_str(out, ":\n");
		add_stack(out, stacks, fault->free_stack_id);
	}
}

static void add_neighbour(struct kms_buf *out, const struct kms_fault *raw, unsigned int side)
{
	uint64_t bytes = raw->neighbour_bytes[side];

	if (!raw->neighbour[side])
		return;
	kms_buf_addf(out, "  %-12s %s, ", side == 0 ? "block before" : "block after",
		     kms_fmt_addr(raw->neighbour[side]).text);
	if (bytes)
		kms_buf_addf(out, "%" PRIu64 " byte%s, ", bytes, plural(bytes));
	kms_buf_addf(out, "%s\n",
		     name_of(state_names, COUNT_OF(state_names), raw->neighbour_state[side]));
}

static void add_block(struct kms_buf *out, const struct kms_view_fault *fault)
{
	const struct kms_fault *raw = &fault->raw;

	if (!raw->block)
		return;
	kms_buf_addf(out, "\nblock %s, %" PRIu64 " byte%s", kms_fmt_addr(raw->block).text,
		     raw->block_bytes, plural(raw->block_bytes));
	if (fault->cache) {
		kms_buf_add_str(out, ", cache ");
		add_name(out, fault->cache);
	}
	kms_buf_addf(out, ", %s\n", name_of(state_names, COUNT_OF(state_names), raw->block_state));
	for (unsigned int i = 0; i < 2; i++)
		add_neighbour(out, raw, i);
}

/* What stands between two bytes of the dump: brackets around the faulty one. */
static char before_byte(const struct kms_fault *raw, uint64_t address, unsigned int column)
{
	if (address == raw->address)
		return '[';
	return address == raw->address + 1 && column > 0 ? ']' : ' ';
}

/* One row of the dump: 16 bytes from an aligned address, the faulty one in brackets. */
static void add_dump_row(struct kms_buf *out, const struct kms_fault *raw, uint64_t row,
			 size_t count)
{
	bool here = raw->address - row < 16;
	uint64_t offset;
	char text[17] = "";
	size_t text_bytes = 0;

	kms_buf_addf(out, "  %c 0x%012" PRIx64 " ", here ? '>' : ' ', row);
	for (unsigned int i = 0; i < 16; i++) {
		offset = row + i - raw->bytes_address;
		kms_buf_add_char(out, before_byte(raw, row + i, i));
		text[i] = ' ';
		if (offset >= count) {
			kms_buf_add_str(out, "  ");
			continue;
		}
		kms_buf_addf(out, "%02x", raw->bytes[offset]);
		text[i] = isprint(raw->bytes[offset]) ? (char)raw->bytes[offset] : '.';
		text_bytes = i + 1;
	}
	kms_buf_addf(out, "%c %.*s\n", row + 15 == raw->address ? ']' : ' ', (int)text_bytes, text);
}

static void add_bytes(struct kms_buf *out, const struct kms_fault *raw)
{
	size_t count =
		raw->bytes_count < sizeof(raw->bytes) ? raw->bytes_count : sizeof(raw->bytes);
	uint64_t row = raw->bytes_address & ~UINT64_C(15);
	uint64_t rows = (raw->bytes_address - row + count + 15) / 16;

	if (count == 0)
		return;
	kms_buf_addf(out, "\nbytes around %s:\n", kms_fmt_addr(raw->address).text);
	for (uint64_t i = 0; i < rows; i++)
		add_dump_row(out, raw, row + 16 * i, count);
}

void kms_report_owner(struct kms_buf *out, struct kms_stacks *stacks,
		      const struct kms_view_owner *owner, size_t number)
{
	kms_buf_addf(out, "  %zu. %" PRIu64 " byte%s, thread %" PRIu32 ", allocated at %s", number,
		     owner->bytes, plural(owner->bytes), owner->thread,
		     moment(owner->alloc_ns).text);
	kms_report_caller(out, stacks, owner->alloc_stack_id, " in ");
	if (owner->free_ns) {
		kms_buf_addf(out, ", freed at %s", moment(owner->free_ns).text);
		kms_report_caller(out, stacks, owner->free_stack_id, " in ");
	} else {
		kms_buf_add_str(out, ", still live");
	}
	kms_buf_add_char(out, '\n');
}

static void add_owners(struct kms_buf *out, struct kms_stacks *stacks,
		       const struct kms_view_fault *fault, size_t max_owners)
{
	if (fault->n_owners == 0)
		return;
	kms_buf_addf(out, "\nowners of the address, newest first (%zu):\n", fault->n_owners);
	for (size_t i = 0; i < fault->n_owners && i < max_owners; i++)
		kms_report_owner(out, stacks, &fault->owner[i], i + 1);
	if (fault->n_owners > max_owners)
		kms_buf_addf(out, "  and %zu older ones: kmemscope faults --id %" PRIu32 "\n",
			     fault->n_owners - max_owners, fault->id);
}

void kms_report_fault(struct kms_buf *out, struct kms_stacks *stacks,
		      const struct kms_view_fault *fault, size_t max_owners)
{
	kms_report_headline(out, stacks, fault);
	kms_buf_add_str(out, "\n\n");
	add_access(out, stacks, fault);
	add_past(out, stacks, fault);
	add_block(out, fault);
	add_bytes(out, &fault->raw);
	add_owners(out, stacks, fault, max_owners);
}
