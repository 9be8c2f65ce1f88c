/* SPDX-License-Identifier: BSD-2-Clause */
/* The prompt with a guest as its target: names of its kernel, and writes to them. */
#include <errno.h>
#include <string.h>

#include "base/test/unit.h"
#include "server/test/db_lines.h"

#define BANNER (FIXTURE_MEMORY + 0x40)
#define DEPTH  (FIXTURE_MEMORY + 0x100)

enum {
	GUEST = 2, /* the target that runs */
};

static const struct {
	const char *name;
	uint64_t address;
} symbols[] = {
	{"banner",           BANNER               },
	{"tick",             FIXTURE_MEMORY + 0x80},
	{"tick.part.0",      FIXTURE_MEMORY + 0x84},
	{"kmem_guard_depth", DEPTH                },
};

static struct prompt prompt;
static unsigned asked;                  /* for names */
static struct kms_memory_write written; /* last */
static int write_result;

static int symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
		  struct kms_err *err)
{
	(void)ctx;
	asked++;
	assert_int_equal(target, GUEST);
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		if (strcmp(symbols[i].name, name) != 0)
			continue;
		out->address = symbols[i].address;
		return 0;
	}
	strcpy(out->name, strncmp(name, "ban", 3) == 0 ? "banner" : "");
	return kms_err_set(err, -ENOENT, "none");
}

static int symbol_at(void *ctx, uint32_t target, uint64_t address, struct kms_view_symbol *out,
		     struct kms_err *err)
{
	size_t best = 0;

	(void)ctx;
	assert_int_equal(target, GUEST);
	if (address < BANNER)
		return kms_err_set(err, -ENOENT, "none");
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
		best = symbols[i].address <= address ? i : best;
	strcpy(out->name, symbols[best].name);
	out->address = symbols[best].address;
	out->offset = address - out->address;
	return 0;
}

static int memory_write(void *ctx, const char *who, const struct kms_memory_write *write,
			struct kms_err *err)
{
	(void)ctx;
	assert_string_equal(who, "test");
	written = *write;
	return write_result ? kms_err_set(err, write_result, "it is not to be") : 0;
}

/* @ours: with variables that can be asked for, as in a guest with our allocator. */
static void begin(bool ours)
{
	prompt_init(&prompt, true);
	prompt.fixture.target[GUEST - 1].kind = KMS_TARGET_GUEST;
	prompt.state.target = GUEST;
	prompt.fixture.ops.symbol = symbol;
	prompt.fixture.ops.symbol_at = symbol_at;
	prompt.fixture.ops.memory_write = memory_write;
	if (!ours) {
		prompt.fixture.ops.variable_get = NULL;
		prompt.fixture.ops.variable_set = NULL;
	}
	asked = 0;
	write_result = 0;
	memset(&written, 0, sizeof(written));
}

static void expect(const char *line, const char *text)
{
	assert_string_equal(prompt_run(&prompt, line), text);
	assert_string_equal(prompt_error(&prompt), "");
}

static void expect_error(const char *line, const char *part)
{
	(void)prompt_run(&prompt, line);
	if (!strstr(prompt_error(&prompt), part))
		fail_msg("%s: %s", line, prompt_error(&prompt));
}

static void a_name_is_an_address_and_an_address_a_name(void **state)
{
	(void)state;
	begin(false);
	expect("x/s banner", "banner:\tkmem(9)\n");
	expect("x/s banner+4", "banner+0x4:\t(9)\n");
	expect("p banner", "    7f3c00050040\n");
	expect("p/a 7f3c00050082", "tick+0x2\n");
	expect("p/a 7f3c00050010", "7f3c00050010\n");
	expect("x/gx tick", "tick:\t8786858483828180        \n");
	expect("x/wx tick.part.0", "tick.part.0:\t87868584    \n");
	expect("p/x tick.part.0-tick", "               4\n");
	prompt_deinit(&prompt);
}

static void an_unknown_name_gets_a_near_one(void **state)
{
	(void)state;
	begin(true);
	expect_error("x baner", "Symbol not found: baner; did you mean banner?");
	expect_error("w bannr 1", "did you mean banner?");
	expect_error("p kmem_guard_dept", "did you mean kmem_guard_depth?");
	expect_error("p zzzzzz", "nothing in the guest's kernel is near it");
	assert_int_equal(written.bytes, 0);
	asked = 0;
	expect("p/x deadbeefdead", "    deadbeefdead\n"); /* an address, no name */
	assert_int_equal(asked, 0);
	prompt_deinit(&prompt);
}

static void a_write_to_a_name_is_one_to_its_memory(void **state)
{
	(void)state;
	begin(true);
	expect("w tick 5", "tick\t\t83828180 = 5\n");
	assert_int_equal(written.target, GUEST);
	assert_int_equal(written.address, FIXTURE_MEMORY + 0x80);
	assert_int_equal(written.bytes, 4);
	assert_int_equal(written.expected, 0x83828180);
	assert_int_equal(written.value, 5);
	expect("w/q tick+8 1", "tick.part.0+0x4\t\t8f8e8d8c8b8a8988 = 1\n");
	write_result = -EPERM;
	expect_error("w tick 6", "tick: it is not to be");
	prompt_deinit(&prompt);
}

static void our_variables_come_first_where_they_are(void **state)
{
	(void)state;
	begin(true);
	(void)prompt_run(&prompt, "w kmem_guard_depth 0t512");
	assert_string_equal(prompt_error(&prompt), "");
	assert_int_equal(prompt.fixture.depth, 512);
	assert_int_equal(written.bytes, 0);
	prompt_deinit(&prompt);
}

static void a_kernel_without_our_variables_may_have_its_own(void **state)
{
	(void)state;
	begin(false);
	expect("x kmem_guard_depth", "kmem_guard_depth:\t3020100     \n");
	expect("w kmem_guard_depth 5", "kmem_guard_depth\t\t3020100 = 5\n");
	assert_int_equal(written.address, DEPTH);
	expect_error("w kmem_redzone 1", "has no such variable");
	expect_error("x kmem_redzone", "has no such variable");
	prompt_deinit(&prompt);
}

static void a_process_has_no_kernel(void **state)
{
	(void)state;
	begin(true);
	prompt.fixture.target[GUEST - 1].kind = KMS_TARGET_PROCESS;
	expect_error("x banner", "`show variables` lists the names there are");
	expect("p/a 7f3c00050082", "7f3c00050082\n");
	assert_int_equal(asked, 0);
	prompt_deinit(&prompt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_an_address_and_an_address_a_name),
		cmocka_unit_test(an_unknown_name_gets_a_near_one),
		cmocka_unit_test(a_write_to_a_name_is_one_to_its_memory),
		cmocka_unit_test(our_variables_come_first_where_they_are),
		cmocka_unit_test(a_kernel_without_our_variables_may_have_its_own),
		cmocka_unit_test(a_process_has_no_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
