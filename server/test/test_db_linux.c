/* SPDX-License-Identifier: BSD-2-Clause */
/* What the prompt shows of an unmodified Linux only: KFENCE, the kernel's slabs. */
#include "base/test/unit.h"
#include "server/test/db_lines.h"

static void what_only_a_linux_kernel_has_is_shown(void **state)
{
	static const struct prompt_row rows[] = {
		{"our", "show slab",                NULL,																	      "which one?"         },
		{"our", "show kfence",
		 "KFENCE of target 2: on, one allocation every 100 ms\n\tpool at 0x7f3c00040000, 255 objects: 1 allocated, 1 freed\n\treports in the kernel's log: 1\n\t\tBUG: KFENCE: out-of-bounds",
		 NULL																								       },
		{"our", "show kfence/v",            "\tfreed by process 8:\n",															 NULL                 },
		{"our", "show kfence 7f3c00042010", "    1 0x7f3c00042000     64 freed",													       NULL                 },
		{"our", "show kfence/z",            NULL,																	      "Bad modifier"       },
		{"our", "show slab malloc-48",      "POOL 'malloc-48', target 1; # allocated, . free\n",
		 NULL																								       },
		{"our", "show slab malloc-48,1",
		 "0x7f3c00040000     1     83     10     73 #.......########",															 NULL                 },
		{"our", "show slab 7f3c00040045",   "0x7f3c00040000     1     83     10     73",
		 NULL																								       },
		{"our", "show slab malloc-49",      NULL,																	      "no pool is named so"},
		{"our", "whatis 7f3c00040045",      "\n\tobject 3 of 16\n",															    NULL                 },
	};

	static struct prompt prompt;

	(void)state;
	prompt_init(&prompt, true);
	PROMPT_CHECK(&prompt, rows);
	prompt_deinit(&prompt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_only_a_linux_kernel_has_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
