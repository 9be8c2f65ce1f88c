/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port/cfi.h"

#include <stddef.h>

enum {
	REGISTER_FP = 6,
	REGISTER_SP = 7,
	REGISTER_RA = 16,
	REMEMBERED_ROWS = 4,
	EXPRESSION_DEPTH = 8,
};

enum cfa_opcode {
	CFA_ADVANCE = 0x40, /* these three carry an operand in their low six bits */
	CFA_OFFSET = 0x80,
	CFA_RESTORE = 0xc0,
	CFA_OPERAND = 0x3f,
	CFA_NOP = 0x00,
	CFA_SET_LOC = 0x01,
	CFA_ADVANCE1 = 0x02,
	CFA_ADVANCE2 = 0x03,
	CFA_ADVANCE4 = 0x04,
	CFA_OFFSET_EXTENDED = 0x05,
	CFA_RESTORE_EXTENDED = 0x06,
	CFA_UNDEFINED = 0x07,
	CFA_SAME_VALUE = 0x08,
	CFA_REGISTER = 0x09,
	CFA_REMEMBER = 0x0a,
	CFA_RESTORE_STATE = 0x0b,
	CFA_DEF_CFA = 0x0c,
	CFA_DEF_CFA_REGISTER = 0x0d,
	CFA_DEF_CFA_OFFSET = 0x0e,
	CFA_DEF_CFA_EXPRESSION = 0x0f,
	CFA_EXPRESSION = 0x10,
	CFA_OFFSET_EXTENDED_SF = 0x11,
	CFA_DEF_CFA_SF = 0x12,
	CFA_DEF_CFA_OFFSET_SF = 0x13,
	CFA_VAL_OFFSET = 0x14,
	CFA_VAL_OFFSET_SF = 0x15,
	CFA_VAL_EXPRESSION = 0x16,
	CFA_GNU_ARGS_SIZE = 0x2e,
	CFA_GNU_NEGATIVE_OFFSET_EXTENDED = 0x2f,
};

enum expression_opcode {
	OP_DEREF = 0x06,
	OP_CONST1U = 0x08, /* to CONST8S: unsigned and signed by turns, 1 to 8 bytes */
	OP_CONST8S = 0x0f,
	OP_CONSTU = 0x10,
	OP_CONSTS = 0x11,
	OP_AND = 0x1a,
	OP_MINUS = 0x1c,
	OP_PLUS = 0x22,
	OP_PLUS_UCONST = 0x23,
	OP_SHL = 0x24,
	OP_EQ = 0x29,
	OP_GE = 0x2a,
	OP_GT = 0x2b,
	OP_LE = 0x2c,
	OP_LT = 0x2d,
	OP_NE = 0x2e,
	OP_LIT0 = 0x30,
	OP_LIT31 = 0x4f,
	OP_BREG0 = 0x70,
	OP_BREG31 = 0x8f,
	OP_NOP = 0x96,
};

/* The state of one run. */
struct program {
	const struct kms_fde *fde;
	uint64_t address; /* the row wanted */
	uint64_t location;
	struct kms_cfi_row row;
	struct kms_cfi_row initial; /* what the CIE's instructions left */
	struct kms_cfi_row remembered[REMEMBERED_ROWS];
	unsigned remembered_count;
	bool bad;
};

static int64_t add(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t multiply(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a * (uint64_t)b);
}

static struct kms_cfi_value make_value(enum kms_cfi_base base, int64_t offset)
{
	return (struct kms_cfi_value){.base = base, .offset = offset};
}

static struct kms_cfi_value register_value(uint64_t number, int64_t offset)
{
	if (number == REGISTER_SP)
		return make_value(KMS_CFI_SP, offset);
	if (number == REGISTER_FP)
		return make_value(KMS_CFI_FP, offset);
	return make_value(KMS_CFI_UNKNOWN, 0);
}

static struct kms_cfi_value dereference(struct kms_cfi_value value)
{
	struct kms_cfi_value result = {.deref_offset = value.offset};

	if (value.base == KMS_CFI_SP)
		result.base = KMS_CFI_SP_DEREF;
	else if (value.base == KMS_CFI_FP)
		result.base = KMS_CFI_FP_DEREF;
	return result;
}

static int64_t compute(uint8_t opcode, int64_t a, int64_t b)
{
	switch (opcode) {
	case OP_AND:
		return a & b;
	case OP_SHL:
		return (uint64_t)b < 64 ? (int64_t)((uint64_t)a << b) : 0;
	case OP_EQ:
		return a == b;
	case OP_GE:
		return a >= b;
	case OP_GT:
		return a > b;
	case OP_LE:
		return a <= b;
	case OP_LT:
		return a < b;
	default:
		return a != b;
	}
}

/* Sums keep the base of one side; everything else needs two numbers. */
static struct kms_cfi_value combine(uint8_t opcode, struct kms_cfi_value a, struct kms_cfi_value b)
{
	if (opcode == OP_PLUS && a.base == KMS_CFI_NUMBER) {
		b.offset = add(b.offset, a.offset);
		return b;
	}
	if (b.base != KMS_CFI_NUMBER)
		return make_value(KMS_CFI_UNKNOWN, 0);
	if (opcode == OP_PLUS || opcode == OP_MINUS) {
		a.offset = add(a.offset, opcode == OP_PLUS ? b.offset : multiply(b.offset, -1));
		return a;
	}
	if (a.base != KMS_CFI_NUMBER)
		return make_value(KMS_CFI_UNKNOWN, 0);
	return make_value(KMS_CFI_NUMBER, compute(opcode, a.offset, b.offset));
}

static bool is_combination(uint8_t opcode)
{
	return opcode == OP_AND || opcode == OP_MINUS || opcode == OP_PLUS || opcode == OP_SHL ||
	       (opcode >= OP_EQ && opcode <= OP_NE);
}

/* An opcode that pushes; UNKNOWN for one that we do not know. */
static struct kms_cfi_value operand(struct kms_eh_cursor *code, uint8_t opcode, uint64_t address)
{
	if (opcode >= OP_LIT0 && opcode <= OP_LIT31)
		return make_value(KMS_CFI_NUMBER, opcode - OP_LIT0);
	if (opcode >= OP_BREG0 && opcode <= OP_BREG31) {
		int64_t offset = kms_eh_sleb(code);

		if (opcode - OP_BREG0 == REGISTER_RA)
			return make_value(KMS_CFI_NUMBER, add((int64_t)address, offset));
		return register_value(opcode - OP_BREG0, offset);
	}
	if (opcode >= OP_CONST1U && opcode <= OP_CONST8S) {
		unsigned bytes = 1u << ((opcode - OP_CONST1U) / 2);

		return make_value(KMS_CFI_NUMBER, opcode % 2
							  ? kms_eh_signed(code, bytes)
							  : (int64_t)kms_eh_unsigned(code, bytes));
	}
	if (opcode == OP_CONSTU)
		return make_value(KMS_CFI_NUMBER, (int64_t)kms_eh_uleb(code));
	if (opcode == OP_CONSTS)
		return make_value(KMS_CFI_NUMBER, kms_eh_sleb(code));
	return make_value(KMS_CFI_UNKNOWN, 0);
}

/* Works an expression out as far as it is a base and an offset. */
static struct kms_cfi_value evaluate(struct kms_eh_cursor code, uint64_t address,
				     const struct kms_cfi_value *first)
{
	const struct kms_cfi_value unknown = {0};
	struct kms_cfi_value stack[EXPRESSION_DEPTH];
	unsigned depth = 0;

	if (first)
		stack[depth++] = *first;
	while (!code.bad && code.at < code.end) {
		uint8_t opcode = (uint8_t)kms_eh_unsigned(&code, 1);

		if (opcode == OP_NOP)
			continue;
		if (opcode == OP_DEREF && depth > 0) {
			stack[depth - 1] = dereference(stack[depth - 1]);
		} else if (opcode == OP_PLUS_UCONST && depth > 0) {
			stack[depth - 1].offset =
				add(stack[depth - 1].offset, (int64_t)kms_eh_uleb(&code));
		} else if (is_combination(opcode) && depth > 1) {
			depth--;
			stack[depth - 1] = combine(opcode, stack[depth - 1], stack[depth]);
		} else if (depth < EXPRESSION_DEPTH) {
			stack[depth] = operand(&code, opcode, address);
			if (stack[depth++].base == KMS_CFI_UNKNOWN)
				return unknown;
		} else {
			return unknown;
		}
	}
	return code.bad || depth == 0 ? unknown : stack[depth - 1];
}

/* A block of bytes with its length in front. */
static struct kms_eh_cursor read_block(struct kms_eh_cursor *code)
{
	uint64_t length = kms_eh_uleb(code);
	struct kms_eh_cursor block = *code;

	if (code->bad || length > (uint64_t)(code->end - code->at)) {
		code->bad = true;
		block.bad = true;
		return block;
	}
	block.end = block.at + length;
	code->at = block.end;
	return block;
}

/* The register's place in a row; NULL for one that a walk does not need. */
static struct kms_cfi_register *find_register(const struct program *program,
					      struct kms_cfi_row *row, uint64_t number)
{
	if (number == REGISTER_FP)
		return &row->fp;
	if (number == program->fde->return_register)
		return &row->ra;
	return NULL;
}

static void set_register(struct program *program, uint64_t number, enum kms_cfi_saved saved,
			 struct kms_cfi_value place)
{
	struct kms_cfi_register *reg = find_register(program, &program->row, number);

	if (reg)
		*reg = (struct kms_cfi_register){saved, place};
}

static void set_at_cfa(struct program *program, uint64_t number, int64_t factored)
{
	int64_t offset = multiply(factored, program->fde->data_align);

	set_register(program, number, KMS_CFI_AT, make_value(KMS_CFI_CFA, offset));
}

static void set_plain(struct program *program, uint64_t number, enum kms_cfi_saved saved)
{
	set_register(program, number, saved, make_value(KMS_CFI_UNKNOWN, 0));
}

static void restore_register(struct program *program, uint64_t number)
{
	struct kms_cfi_register *reg = find_register(program, &program->row, number);

	if (reg)
		*reg = *find_register(program, &program->initial, number);
}

static void advance(struct program *program, uint64_t delta)
{
	program->location += delta * program->fde->code_align;
}

static void set_expression(struct program *program, struct kms_eh_cursor *code)
{
	const struct kms_cfi_value cfa = {.base = KMS_CFI_CFA};
	uint64_t number = kms_eh_uleb(code);
	struct kms_cfi_value place = evaluate(read_block(code), program->address, &cfa);

	if (place.base == KMS_CFI_UNKNOWN)
		set_plain(program, number, KMS_CFI_ELSEWHERE);
	else
		set_register(program, number, KMS_CFI_AT, place);
}

static void remember_row(struct program *program)
{
	if (program->remembered_count == REMEMBERED_ROWS)
		program->bad = true;
	else
		program->remembered[program->remembered_count++] = program->row;
}

static void restore_row(struct program *program)
{
	if (program->remembered_count == 0)
		program->bad = true;
	else
		program->row = program->remembered[--program->remembered_count];
}

/* Instructions that move the location. Returns false if @opcode is none of them. */
static bool step_location(struct program *program, struct kms_eh_cursor *code, uint8_t opcode)
{
	switch (opcode) {
	case CFA_SET_LOC:
		program->location = kms_eh_pointer(code, program->fde->encoding, 0);
		return true;
	case CFA_ADVANCE1:
		advance(program, kms_eh_unsigned(code, 1));
		return true;
	case CFA_ADVANCE2:
		advance(program, kms_eh_unsigned(code, 2));
		return true;
	case CFA_ADVANCE4:
		advance(program, kms_eh_unsigned(code, 4));
		return true;
	default:
		return false;
	}
}

/* Instructions about the CFA. Returns false if @opcode is none of them. */
static bool step_cfa(struct program *program, struct kms_eh_cursor *code, uint8_t opcode)
{
	struct kms_cfi_value *cfa = &program->row.cfa;
	int64_t align = program->fde->data_align;
	uint64_t number;

	switch (opcode) {
	case CFA_DEF_CFA:
		number = kms_eh_uleb(code);
		*cfa = register_value(number, (int64_t)kms_eh_uleb(code));
		return true;
	case CFA_DEF_CFA_SF:
		number = kms_eh_uleb(code);
		*cfa = register_value(number, multiply(kms_eh_sleb(code), align));
		return true;
	case CFA_DEF_CFA_REGISTER:
		*cfa = register_value(kms_eh_uleb(code), cfa->offset);
		return true;
	case CFA_DEF_CFA_OFFSET:
		cfa->offset = (int64_t)kms_eh_uleb(code);
		return true;
	case CFA_DEF_CFA_OFFSET_SF:
		cfa->offset = multiply(kms_eh_sleb(code), align);
		return true;
	case CFA_DEF_CFA_EXPRESSION:
		*cfa = evaluate(read_block(code), program->address, NULL);
		return true;
	default:
		return false;
	}
}

/* All the rest: where registers are saved. */
static void step_register(struct program *program, struct kms_eh_cursor *code, uint8_t opcode)
{
	uint64_t number;

	switch (opcode) {
	case CFA_NOP:
		return;
	case CFA_REMEMBER:
		remember_row(program);
		return;
	case CFA_RESTORE_STATE:
		restore_row(program);
		return;
	case CFA_GNU_ARGS_SIZE:
		(void)kms_eh_uleb(code);
		return;
	case CFA_EXPRESSION:
		set_expression(program, code);
		return;
	default:
		break;
	}
	number = kms_eh_uleb(code);
	switch (opcode) {
	case CFA_OFFSET_EXTENDED:
		set_at_cfa(program, number, (int64_t)kms_eh_uleb(code));
		return;
	case CFA_OFFSET_EXTENDED_SF:
		set_at_cfa(program, number, kms_eh_sleb(code));
		return;
	case CFA_GNU_NEGATIVE_OFFSET_EXTENDED:
		set_at_cfa(program, number, multiply((int64_t)kms_eh_uleb(code), -1));
		return;
	case CFA_RESTORE_EXTENDED:
		restore_register(program, number);
		return;
	case CFA_UNDEFINED:
		set_plain(program, number, KMS_CFI_UNDEFINED);
		return;
	case CFA_SAME_VALUE:
		set_plain(program, number, KMS_CFI_SAME);
		return;
	case CFA_REGISTER:
	case CFA_VAL_OFFSET:
	case CFA_VAL_OFFSET_SF: /* only eaten, so unsigned and signed are alike */
		(void)kms_eh_uleb(code);
		set_plain(program, number, KMS_CFI_ELSEWHERE);
		return;
	case CFA_VAL_EXPRESSION:
		(void)read_block(code);
		set_plain(program, number, KMS_CFI_ELSEWHERE);
		return;
	default:
		program->bad = true;
	}
}

static void step(struct program *program, struct kms_eh_cursor *code)
{
	uint8_t opcode = (uint8_t)kms_eh_unsigned(code, 1);
	uint8_t operand_bits = opcode & CFA_OPERAND;

	switch (opcode & ~CFA_OPERAND) {
	case CFA_ADVANCE:
		advance(program, operand_bits);
		return;
	case CFA_OFFSET:
		set_at_cfa(program, operand_bits, (int64_t)kms_eh_uleb(code));
		return;
	case CFA_RESTORE:
		restore_register(program, operand_bits);
		return;
	default:
		if (!step_location(program, code, opcode) && !step_cfa(program, code, opcode))
			step_register(program, code, opcode);
	}
}

bool kms_cfi_row(const struct kms_fde *fde, uint64_t address, struct kms_cfi_row *row)
{
	struct program program = {.fde = fde, .address = address, .location = fde->start};
	struct kms_eh_cursor code = fde->common;

	while (code.at < code.end && !code.bad && !program.bad)
		step(&program, &code);
	if (code.bad || program.bad)
		return false;
	program.initial = program.row;
	code = fde->program;
	while (code.at < code.end && program.location <= address) { /* moving on changes no row */
		step(&program, &code);
		if (code.bad || program.bad)
			return false;
	}
	*row = program.row;
	return true;
}
