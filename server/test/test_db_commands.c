/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands of the prompt, compared with ddb(4) and mdb. "6.3" and the like name the list of their
 * behaviour that a row is taken from, T39 its test 39.
 */
#include <stdio.h>
#include <string.h>

#include "base/test/unit.h"
#include "schema/variables.h"
#include "server/test/db_lines.h"

static struct prompt prompt;

static int setup(void **state)
{
	(void)state;
	prompt_init(&prompt, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(atomic_load(&prompt.fixture.borrowed), 0);
	assert_int_equal(atomic_load(&prompt.fixture.stacks), 0);
	prompt_deinit(&prompt);
	return 0;
}

#define CHECK(rows) PROMPT_CHECK(&prompt, rows)

static void names_may_be_abbreviated_as_in_ddb(void **state)
{
	static const struct prompt_row rows[] = {
		{"T41", "wr",              NULL,                    "Nothing written."           },
		{"T41", "w",               NULL,                    "Nothing written."           },
		{"T41", "s",               NULL,                    "s: single steps"            },
		{"T41", "co",              "runs already",          NULL                         },
		{"T41", "c",               "runs already",          NULL                         },
		{"T41", "t",               NULL,                    "target 2 stands at no fault"},
		{"T41", "bt",              NULL,                    "target 2 stands at no fault"},
		{"T41", "r",               NULL,                    "reboot: "                   },
		{"T41", "xyzzy",           NULL,                    "No such command: xyzzy"     },
		{"6.1", "se",              NULL,                    "Ambiguous command: se"      },
		{"6.1", "sho kmem",        "bytes live",            NULL                         },
		{"6.1", "show",            "kmastat",               NULL                         },
		{"6.1", "show all",        "kmastat",               NULL                         },
		{"6.1", "show all pools",  "POOL CACHE malloc-48",  NULL                         },
		{"6.1", "show pools",      "POOL CACHE malloc-48",  NULL                         },
		{"6.1", "sh po malloc-48", "POOL CACHE malloc-48",  NULL                         },
		{"6.1", "show nothing",    NULL,                    "No such command: nothing"   },
		{"6.1", "show k",          NULL,                    "Ambiguous command: k"       },
		{"6.1", "123",             NULL,                    "?"                          },
		{"6.1", "(1)",             NULL,                    "?"                          },
		{"6.1", "!",               NULL,                    "call: "                     },
		{"6.1", "p/",              NULL,                    "Bad modifier"               },
		{"6.1", "p/1 2",           NULL,                    "Bad modifier"               },
		{"6.1", "x 1,",            NULL,                    "Count missing"              },
		{"our", "?",               "0t30000 is decimal",    NULL                         },
		{"our", "? w",             "write [/bhlqBHLQ]",     NULL                         },
		{"our", "help wr",         "write [/bhlqBHLQ]",     NULL                         },
		{"our", "h kill",          "kill: ends no process", NULL                         },
		{"our", "help nonsense",   NULL,                    "No such command: nonsense"  },
	};

	(void)state;
	CHECK(rows);
}

static void w_prints_ddbs_line_and_ours(void **state)
{
	(void)state;
	assert_string_equal(prompt_run(&prompt, "w kmem_guard_depth 0t30000"),
			    "kmem:kmem_guard_depth\t\t= 7530\n"
			    "kmem_guard_depth 0 -> 30000 (0x7530), effective 30208; "
			    "60416 pages of address space at least\n");
	assert_int_equal(prompt.fixture.depth, 30000);
	assert_int_equal(prompt.fixture.depth_target, 0); /* all, and those that come */
	assert_string_equal(prompt.fixture.who, "test");
	assert_string_equal(prompt_run(&prompt, "w/l kmem_guard_depth 0"),
			    "kmem:kmem_guard_depth\t\t7600 = 0\n"
			    "kmem_guard_depth 30208 -> 0 (0x0), effective 0\n");
	assert_int_equal(prompt.fixture.depth, 0);
	/* the trap: a bare number is hexadecimal, and it is said */
	assert_string_equal(prompt_run(&prompt, "w kmem_guard_depth 30000"),
			    "kmem:kmem_guard_depth\t\t= 30000\n"
			    "kmem_guard_depth 0 -> 196608 (0x30000), effective 196608; "
			    "393216 pages of address space at least\n"
			    "kmem: 30000 was read as hexadecimal, 196608; 0t30000 is decimal\n");
	assert_int_equal(prompt.fixture.depth, 196608);
	/* 4096 is what the fixture never answers */
	assert_string_equal(
		prompt_run(&prompt, "w kmem_guard_depth 0t4096"),
		"kmem:kmem_guard_depth\t\t= 1000\n"
		"kmem_guard_depth 196608 -> 4096 (0x1000), pending: the target takes it up "
		"at its next allocator call; 8192 pages of address space at least\n");
	assert_string_equal(prompt_error(&prompt), "");
}

static void w_moves_dot_like_an_editor(void **state)
{
	(void)state;
	(void)prompt_run(&prompt, "w kmem_guard_depth 200");
	assert_int_equal(prompt.state.dot, KMS_DDB_VARIABLE_BASE);
	assert_int_equal(prompt.state.next, KMS_DDB_VARIABLE_BASE + 4);
	(void)prompt_run(&prompt, ""); /* at next, with nothing to write */
	assert_memory_equal(prompt_error(&prompt), "Nothing written.", 16);
	(void)prompt_run(&prompt,
			 "w kmem_guard_depth 1 2"); /* the first is written, nothing is behind it */
	assert_memory_equal(prompt_error(&prompt), "kmem:kmem_guard_depth+0x4: no variable begins",
			    45);
	assert_int_equal(prompt.fixture.depth, 1);
}

static void w_refuses_what_cannot_be_with_the_reason(void **state)
{
	static const struct prompt_row rows[] = {
		{"T39", "w kmem_guard_depth",                 NULL, "Nothing written."                          },
		{"T39", "w kmem_guard_depth -1",              NULL,
		 "Nothing written.: w NAME VALUE; a negative value needs"                                       },
		{"T39", "w kmem_guard_depth (-1)",            NULL,
		 "kmem_guard_depth: -0t1 is out of range: 0t0 to 0t16777216"                                    },
		{"6.3", "w/k kmem_guard_depth 1",             NULL, "Unknown size: k"                           },
		{"our", "w/b kmem_guard_depth 1",             NULL,
		 "kmem_guard_depth has 4 bytes, not 1: w/l kmem_guard_depth"                                    },
		{"our", "w/h kmem_guard_depth 1",             NULL, "kmem_guard_depth has 4 bytes, not 2"       },
		{"our", "w/q kmem_guard_depth 1",             NULL, "kmem_guard_depth has 4 bytes, not 8"       },
		{"our", "w kmem_guard_bytes 1000000",         NULL,
		 "kmem_guard_bytes has 8 bytes, not 4: w/q kmem_guard_bytes"                                    },
		{"our", "w/Q kmem_ring_bytes 3",              NULL,
		 "kmem_ring_bytes: 0t3 is out of range: 0t16384 to 0t16777216"                                  },
		{"our", "w kmem_guard_depth 0t1000000000000", NULL,
		 "kmem_guard_depth: 0t1000000000000 is out of range"                                            },
		{"our", "w kmem_guard_depth 0t16777217",      NULL,
		 "kmem_guard_depth: 0t16777217 is out of range"                                                 },
		{"our", "w kmem_size 2",                      NULL, "kmem_size: 0t2 is out of range: 0t0 to 0t1"},
		{"our", "w kmem_panic 3",                     NULL, "kmem_panic: 0t3 is out of range"           },
		{"our", "w 7f3c00050000 1",                   NULL,
		 "7f3c00050000: not written: memory of a process is its own"                                    },
		{"our", "w 0 1",                              NULL, "0: not written"                            },
		{"our", "w kmem_guard_depth+1 1",             NULL,
		 "kmem:kmem_guard_depth+0x1: no variable begins there"                                          },
		{"our", "w kmem_guard_dept 1",                NULL,
		 "Symbol not found: kmem_guard_dept; did you mean kmem_guard_depth?"                            },
		{"our", "w kmem_guard_depth 0t3000O",         NULL,
		 "Bad character in number: O behind 0t3000"                                                     },
	};

	(void)state;
	CHECK(rows);
	assert_int_equal(prompt.fixture.depth, 0); /* not one of them arrived */
	assert_string_equal(prompt.fixture.who, "");
}

static void every_size_letter_writes_its_variable(void **state)
{
	static const struct prompt_row rows[] = {
		{"6.3", "w/l kmem_poison 1",              "9 = 1\n",              NULL},
		{"6.3", "w/L kmem_poison 1",              "\t\t= 1\n",            NULL},
		{"6.3", "w/lx kmem_poison 1",             "9 = 1\n",              NULL}, /* only the first letter counts */
		{"6.3", "w/q kmem_guard_bytes 0t1048576", "1 = 100000\n",         NULL},
		{"6.3", "w/Q kmem_guard_maxsize (-1)",    "= ffffffffffffffff\n", NULL},
		{"our", "w kmem_panic_use_after_free 3",  "= 3\n",                NULL},
	};

	(void)state;
	CHECK(rows);
}

static void a_write_goes_to_the_target_that_is_chosen(void **state)
{
	(void)state;
	prompt.fixture.target[2].state = KMS_STATE_RUNNING;
	(void)prompt_run(&prompt, "p *kmem_guard_depth");
	assert_memory_equal(prompt_error(&prompt), "several targets are meant (2, 3); choose one",
			    44);
	assert_non_null(strstr(prompt_run(&prompt, "w kmem_guard_depth 200"),
			       "target 3: kmem_guard_depth"));
	assert_int_equal(prompt.fixture.depth_target, 0);
	(void)prompt_run(&prompt, "target 3");
	(void)prompt_run(&prompt, "w kmem_guard_depth 400");
	assert_int_equal(prompt.fixture.depth_target, 3);
	(void)prompt_run(&prompt, "target 99");
	assert_memory_equal(prompt_error(&prompt), "target 153 is not in this run", 29);
	(void)prompt_run(&prompt, "target 0");
	(void)prompt_run(&prompt, "w kmem_guard_depth 200");
	assert_int_equal(prompt.fixture.depth_target, 0);
}

static void the_prompt_shows_the_target(void **state)
{
	char text[KMS_DDB_PROMPT_BYTES];

	(void)state;
	kms_ddb_prompt(&prompt.state, text);
	assert_string_equal(text, "db> ");
	(void)prompt_run(&prompt, "target 2");
	kms_ddb_prompt(&prompt.state, text);
	assert_string_equal(text, "db{2}> ");
	assert_non_null(strstr(prompt_run(&prompt, "ps"), ">     2    4243      1 running"));
}

static void p_prints_in_ddbs_widths_and_remembers_its_format(void **state)
{
	static const struct prompt_row rows[] = {
		{"T43", "p 0t16",            "              10\n",     NULL                             },
		{"6.4", "p/d 0t16",          "         16\n",          NULL                             },
		{"6.4", "p 20",              "         32\n",          NULL                             }, /* d is remembered */
		{"6.4", "p/u (-1)",          "18446744073709551615\n", NULL                             },
		{"6.4", "p/o 8",             "             10\n",      NULL                             },
		{"6.4", "p/z (-10)",         "     -10\n",             NULL                             },
		{"6.4", "p/r (-10)",         "        -10\n",          NULL                             },
		{"6.4", "p/c 41",            "A",                      NULL                             },
		{"6.4", "p/c 7",             "\\007",                  NULL                             },
		{"6.4", "p/a kmem_poison",   "kmem:kmem_poison\n",     NULL                             },
		{"6.4", "p/a kmem_poison+4", "kmem:kmem_poison+0x4\n", NULL                             },
		{"6.4", "p/a 1234",          "1234\n",                 NULL                             },
		{"6.4", "p/s 1",             NULL,                     "Bad modifier: p has no format s"},
		{"6.4", "p 1234",            "1234\n",                 NULL                             }, /* and a wrong one is not */
	};

	(void)state;
	CHECK(rows);
}

static void x_shows_memory_in_ddbs_columns(void **state)
{
	(void)state;
	assert_string_equal(prompt_run(&prompt, "x 7f3c00050010"), "7f3c00050010:\t13121110    \n");
	assert_string_equal(prompt_run(&prompt, "x/bx 7f3c00050010,3"),
			    "7f3c00050010:\t10  11  12  \n");
	assert_string_equal(prompt_run(&prompt, "x/qx 7f3c00050010"),
			    "7f3c00050010:\t1716151413121110        \n");
	assert_string_equal(prompt_run(&prompt, "x/hd 7f3c000500fe"), "7f3c000500fe:\t-2      \n");
	assert_string_equal(prompt_run(&prompt, "x/s 7f3c00050040"), "7f3c00050040:\tkmem(9)\n");
	assert_string_equal(prompt_run(&prompt, "x/c 7f3c00050040,2"), "7f3c00050040:\tkm\n");
	assert_string_equal(prompt_run(&prompt, "x/m 7f3c00050040"),
			    "7f3c00050040:\t6b 6d 65 6d  28 39 29 00  48 49 4a 4b  4c 4d 4e 4f  "
			    "kmem(9).HIJKLMNO\n");
	assert_string_equal(prompt_run(&prompt, "x/a kmem_redzone"), "= kmem:kmem_redzone\n");
	assert_string_equal(prompt_run(&prompt, "x/lx kmem_redzone"),
			    "kmem:kmem_redzone:\t8           \n");
	/* a line that is full ends: 16 columns of label, 12 each, 80 at most */
	assert_string_equal(
		prompt_run(&prompt, "x/lx 7f3c00050000,6"),
		"7f3c00050000:\t3020100     7060504     b0a0908     f0e0d0c     13121110    \n"
		"7f3c00050014:\t17161514    \n");
}

static void an_empty_line_goes_on(void **state)
{
	static const struct prompt_row rows[] = {
		{"T42", "x/b 7f3c00050010,4", "7f3c00050010:\t10  11  12  13  \n", NULL           },
		{"T42", "",                   "7f3c00050014:\t14  15  16  17  \n", NULL           },
		{"T42", ",2",                 "7f3c00050018:\t18  19  \n",         NULL           },
		{"T42", "",                   "7f3c0005001a:\t1a  1b  \n",         NULL           }, /* its count stays */
		{"6.1", "x +",                "7f3c0005001c:\t1c  \n",             NULL           },
		{"6.1", "x ..",               "7f3c0005001c:\t1c  \n",             NULL           },
		{"6.1", "x \"",               "7f3c0005001c:\t1c  \n",             NULL           },
		{"6.1", "help p",             "print",                             NULL           },
		{"6.1", "",                   NULL,                                NULL           }, /* help is not repeated */
		{"6.1", "show kmem",          "bytes live",                        NULL           },
		{"6.1", "",                   "bytes live",                        NULL           },
		{"6.1", ",",                  NULL,                                "Count missing"},
	};

	(void)state;
	CHECK(rows);
}

static void memory_that_is_not_there_is_a_fault(void **state)
{
	static const struct prompt_row rows[] = {
		{"T45", "x 0",                    "0:\t\n",
		 "Faulted in DDB; continuing...: 0: the target has no memory there"                                        },
		{"T45", "x ffffffffffffffff",     "ffffffffffffffff:\t\n",
		 "Faulted in DDB; continuing..."									   },
		{"T45", "x/b 7f3c000520fe,8",     "7f3c000520fe:\tfe  ff  \n",
		 "Faulted in DDB; continuing...: 7f3c00052100"                                                             },
		{"our", "x/b kmem_guard_depth+8", "kmem:kmem_guard_depth+0x8:\t\n",
		 "Faulted in DDB; continuing...: 6b6d656d00000008: no variable"                                            },
		{"our", "x 7f3c00050000,10001",   NULL,                             "x: a count of 0t65537 is out of range"},
		{"our", "x/i 7f3c00050000",       "7f3c00050000:\t\n",
		 "x/i: there is no disassembler here"								      },
		{"our", "x/k 7f3c00050000",       "7f3c00050000:\t\n",              "Bad modifier: x has no format k"      },
		{"our", "x/xxxxxxxxxxxxxxxxxx 1", NULL,                             "Bad modifier: at most 14 letters"     },
	};

	(void)state;
	CHECK(rows);
}

static void search_finds_values(void **state)
{
	static const struct prompt_row rows[] = {
		{"6.4", "search 7f3c00050000 17161514",           "7f3c00050014:\t17161514\n",             NULL             },
		{"6.4", "search/b 7f3c00050000 20 f0",            "7f3c00050020:\t20\n",                   NULL             },
		{"6.4", "search/h 7f3c00050001 605",              "7f3c00050005:\t605\n",                  NULL             },
		{"6.4", "search/q 7f3c00050000 1716151413121110",
		 "7f3c00050010:\t1716151413121110\n",						      NULL             },
		{"6.4", "search/b 7f3c00050000 20 ff,4",          "kmem: not found before 7f3c00050004\n",
		 NULL												       },
		{"6.4", "search/b 7f3c00050000 aa55 ffff",        "7f3c00050055:\t55\n",                   NULL             },
		{"6.4", "search",                                 NULL,                                    "Address missing"},
		{"6.4", "search 7f3c00050000",                    NULL,                                    "Value missing"  },
		{"6.4", "search/k 1 2",                           NULL,                                    "Bad modifier"   },
		{"our", "search 7f3c00050000 deadbeef",           NULL,
		 "Faulted in DDB; continuing...: 7f3c00052100"							      },
	};

	(void)state;
	CHECK(rows);
}

/* Who goes on as the error says comes to the same end as with time enough. */
static void a_search_whose_time_is_over_says_how_to_go_on(void **state)
{
	char line[KMS_DDB_ERROR_BYTES] = "search/h 7f3c00050000 ffff fff1,0t1000";
	const char *next;
	int lines = 0;

	(void)state;
	prompt.end_ns = 1; /* long ago */
	for (; !strstr(prompt_run(&prompt, line), "not found before 7f3c000507d0\n"); lines++) {
		next = strstr(prompt_error(&prompt), "search/h 7f3c");
		assert_non_null(next);
		snprintf(line, sizeof(line), "%s", next);
	}
	assert_int_equal(lines, 3); /* looks at the clock, every 256 steps */
	(void)prompt_run(&prompt, "search/h 7f3c00050000 ffff");
	assert_string_equal(prompt_error(&prompt),
			    "search: not found before 7f3c00050200, and the time is over; go on "
			    "with: search/h 7f3c00050200 ffff");
	assert_string_equal(prompt_run(&prompt, "p +"), "    7f3c00050200\n");
}

static void set_changes_the_prompt(void **state)
{
	static const struct prompt_row rows[] = {
		{"6.1", "set $lines = 0",     NULL,              NULL                        },
		{"6.1", "p $lines",           "0\n",             NULL                        },
		{"6.1", "set $maxwidth 0t40", NULL,              NULL                        },
		{"our", "set",                "$maxwidth   28 ", NULL                        },
		{"6.1", "set $onpanic = 1",   NULL,              "Unknown variable: $onpanic"},
		{"6.1", "set lines = 1",      NULL,              "Unknown variable"          },
		{"6.1", "set $lines",         NULL,              "No value"                  },
		{"6.1", "set $lines 1 2",     NULL,              "?: one value"              },
		{"our", "set $lines = (-1)",  NULL,
		 "$lines: 0t18446744073709551615 is out of range"                            },
	};

	(void)state;
	CHECK(rows);
}

static void pools_are_printed_as_in_ddb(void **state)
{
	static const struct prompt_row rows[] = {
		{"6.5", "show pool",              NULL,												   "Must specify a pool to print."},
		{"6.5", "show pool malloc-64",
		 "POOL CACHE malloc-64: size 64, target 2\n\tnpages 20\n\titemsperpage 63, nitems 266, nout 1014\n\tnget 500004, nfail 4, nput 499000\n",
		 NULL																				    },
		{"6.5", "show pool/p malloc-64",
		 "\tpartial-page list:\n\t\tpage 0x7f3c00040000, nmissing 10\n",                                                                          NULL                           },
		{"6.5", "show pool 7f3c00040045", "POOL CACHE malloc-48: ",									       NULL                           },
		{"our", "show pool malloc-49",    NULL,												   "no pool is named malloc-49"   },
		{"our", "show pool 12",           NULL,												   "12 is in no pool"             },
		{"our", "show pool/z malloc-48",  NULL,												   "Bad modifier"                 },
		{"8",   "show kmastat",
		 "malloc-64                     64      1004      1280       81920      500004      4\n",
		 NULL																				    },
		{"8",   "show kmastat",           "Total                          0      3012      3840",                                                 NULL                           },
	};

	(void)state;
	(void)prompt_run(&prompt, "target 2");
	CHECK(rows);
}

/* Of a guest that is only looked at nobody counts calls, but its caches are there. */
static void kmastat_leaves_out_empty_caches_only(void **state)
{
	struct kms_view_cache *cache = &prompt.fixture.cache[4];

	(void)state;
	(void)prompt_run(&prompt, "target 2");
	cache->allocs = cache->failed = 0;
	assert_non_null(strstr(prompt_run(&prompt, "show kmastat"), "malloc-64 "));
	cache->objects_total = 0;
	assert_null(strstr(prompt_run(&prompt, "show kmastat"), "malloc-64 "));
}

static void blocks_are_told_as_in_ddb_and_mdb(void **state)
{
	static const struct prompt_row rows[] = {
		{"6.4", "whatis 7f3c00040045",
		 "0x7f3c00040045 is 0x7f3c00040040+5 in POOL 'malloc-48' (free, in the guard FIFO), target 2\n",
		 NULL													     },
		{"8",   "whatis 12",                 "0x12 is unknown\n",                                        NULL             },
		{"our", "whatis kmem_poison",        "kmem:kmem_poison, a variable",                             NULL             },
		{"our", "history 7f3c00040040",      "0x7f3c00040040 in target 2: 0 owners\n",                   NULL             },
		{"8",   "bufctl 7f3c00040040",       "  ADDR          BUFADDR TIMESTAMP   THREAD CALLER\n",
		 NULL													     },
		{"8",   "bufctl/v 7f3c00040040",     "drop_node() at leaky+0x4234 (uaf.c:20)\n",                 NULL             },
		{"our", "bufctl 12",                 "CALLER",						   "0x12: no record"},
		{"6.4", "show event",                "kmem alloc          4500036\n",                            NULL             },
		{"our", "show event 7f3c00040040,1",
		 "0.002497 target 2 thread 4250 free     7f3c00040040 41 drop_node (uaf.c:20)\n",                NULL             },
		{"our", "show event 12",             "kmem: no event of 12\n",                                   NULL             },
	};

	(void)state;
	CHECK(rows);
	(void)prompt_run(&prompt, "target 1");
	/* frees of the fixture are target 2's: an owner in target 1 never ends */
	assert_non_null(strstr(prompt_run(&prompt, "history 7f3c00040080"), "still live\n"));
}

static void faults_have_their_stack(void **state)
{
	static const struct prompt_row rows[] = {
		{"our", "trace/f 3",
		 "consume() at leaky+0x2234 (uaf.c:31)\nmain() at leaky+0x1250 (uaf.c:50)\n", NULL                                 },
		{"6.4", "trace/f 3,1",    "consume() at leaky+0x2234 (uaf.c:31)\n",           NULL                                 },
		{"our", "trace/f",        NULL,					       "trace/f needs the number of a fault"},
		{"our", "trace/f 99",     NULL,					       "there is no fault 153"              },
		{"our", "trace/t 1",      NULL,					       "Bad modifier: trace takes f"        },
		{"our", "show faults",    "fault 14, target 1: BUG: ring_corrupt",            NULL                                 },
		{"our", "show faults 3",  "allocated by thread 4250",                         NULL                                 },
		{"our", "show faults,1",  "older ones",                                       NULL                                 },
		{"our", "show faults 99", NULL,                                               "there is no fault 153"              },
	};

	(void)state;
	CHECK(rows);
	assert_null(strstr(prompt_run(&prompt, "trace/f 3,1"), "main()"));
	prompt.fixture.target[1].state = KMS_STATE_STOPPED;
	prompt.fixture.target[1].stop_reason = KMS_STOP_FAULT;
	prompt.fixture.target[1].stop_fault = 3;
	assert_non_null(strstr(prompt_run(&prompt, "trace"), "consume() at leaky"));
	assert_non_null(strstr(prompt_run(&prompt, "ps"), "stopped      python3 fault 3"));
}

static void holders_of_memory_are_told_as_in_mdb(void **state)
{
	static const struct prompt_row rows[] = {
		{"8",   "findleaks",
		 "CACHE             LEAKED            STACK CALLER\nmalloc-48           1000                b leak_one (leaky.c:12)\n",
		 NULL														       },
		{"8",   "findleaks",          "Total   2249 buffers, 108000 bytes\n",                                                   NULL},
		{"8",   "findleaks/v",        "leak_one() at leaky+0x1234 (leaky.c:12)\n",                                              NULL},
		{"8",   "findleaks,1",        "4 more groups",									  NULL},
		{"T55", "kmausers",           "48000 bytes for 1000 allocations with data size 48:\n",                                  NULL},
		{"T55", "kmausers malloc-48", "48000 bytes for 1000 allocations",                                                       NULL},
		{"T55", "kmausers nothing",   "kmem: nobody",									   NULL},
		{"our", "show leaks",         "no block from here was ever freed",                                                      NULL},
	};

	(void)state;
	CHECK(rows);
}

static void the_guard_is_told_with_its_pages(void **state)
{
	static const struct prompt_row rows[] = {
		{"our", "show guard",
		 "depth requested 30000, effective 30208; 60416 pages of address space (2 x depth)\n",
		 NULL													   },
		{"our", "show variables",
		 "kmem_guard_depth                                0  slots",                           NULL                     },
		{"our", "show registers", NULL,							"registers: are not read"},
	};

	(void)state;
	CHECK(rows);
}

static void targets_stop_and_go_on(void **state)
{
	static const struct prompt_row rows[] = {
		{"our", "stop 2",   "kmem: target 2: stopped; c lets it go on\n",    NULL                         },
		{"our", "stop 2",   "kmem: target 2: stopped already\n",             NULL                         },
		{"our", "stop",     "kmem: all targets: stopped; c lets it go on\n", NULL                         },
		{"6.4", "c",        "kmem: all targets: continued\n",                NULL                         },
		{"6.4", "continue", "runs already",                                  NULL                         },
		{"our", "stop 9",   NULL,					    "target 9 is not in this run"},
		{"6.4", "quit",     NULL,					    NULL                         },
	};

	(void)state;
	CHECK(rows);
	assert_true(prompt.db.leave);
	assert_int_equal(prompt.fixture.target[1].state, KMS_STATE_RUNNING);
	(void)prompt_run(&prompt, "stop");
	assert_int_equal(prompt.fixture.target[1].state, KMS_STATE_STOPPED);
	(void)prompt_run(&prompt, "exit"); /* ddb's exit goes on */
	assert_int_equal(prompt.fixture.target[1].state, KMS_STATE_RUNNING);
}

static void verify_says_what_it_checked(void **state)
{
	static const struct prompt_row rows[] = {
		{"8",   "verify",           "malloc-48                      2 clean\n", NULL                       },
		{"8",   "verify malloc-64", "malloc-64                      2 clean\n", NULL                       },
		{"our", "verify nothing",   NULL,                                       "no cache is named nothing"},
	};

	(void)state;
	CHECK(rows);
	/* what has ended is not asked, and not called clean */
	assert_null(strstr(prompt_run(&prompt, "verify"), "      1 "));
}

static void marks_are_put_and_compared(void **state)
{
	static const struct prompt_row rows[] = {
		{"our", "mark",              "   1 1.000000 s start\n", NULL                                     },
		{"our", "mark before",       "kmem: mark 4\n",          NULL                                     },
		{"our", "mark",              "before\n",                NULL                                     },
		{"our", "diff start before", " bytes ",                 NULL                                     },
		{"our", "diff 1",            " bytes ",                 NULL                                     },
		{"our", "diff",              NULL,                      "diff: diff A B"                         },
		{"our", "diff nothing",      NULL,                      "there is no mark nothing"               },
		{"our", "mark 17",           NULL,                      "mark: a name of digits only is a number"},
	};

	(void)state;
	CHECK(rows);
	assert_string_equal(prompt.fixture.who, "test");
}

/* Commands that change something, for who may only read, and for a file. */
static const char *const changes[] = {"w kmem_guard_depth 200", "c", "stop", "verify", "mark x"};
static const char *const reads[] = {"show guard",     "p 1",       "ps",   "findleaks",
				    "mark",           "trace/f 1", "help", "whatis 12",
				    "show all pools", "target 1"};

static void who_may_only_read_can_look_and_change_nothing(void **state)
{
	(void)state;
	prompt.read_only = true;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		(void)prompt_run(&prompt, changes[i]);
		if (!strstr(prompt_error(&prompt), "this connection may read only"))
			fail_msg("%s: error \"%s\"", changes[i], prompt_error(&prompt));
	}
	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		(void)prompt_run(&prompt, reads[i]);
		assert_string_equal(prompt_error(&prompt), "");
	}
	prompt.fixture.target[1].state = KMS_STATE_STOPPED;
	(void)prompt_run(&prompt, "quit");
	assert_int_equal(prompt.fixture.target[1].state, KMS_STATE_STOPPED);
	assert_string_equal(prompt.fixture.who, "");
}

static void a_finished_trace_can_be_looked_at(void **state)
{
	(void)state;
	prompt_deinit(&prompt);
	prompt_init(&prompt, false);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		(void)prompt_run(&prompt, changes[i]);
		if (!strstr(prompt_error(&prompt), "this is a finished trace"))
			fail_msg("%s: error \"%s\"", changes[i], prompt_error(&prompt));
	}
	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		(void)prompt_run(&prompt, reads[i]);
		assert_string_equal(prompt_error(&prompt), "");
	}
	(void)prompt_run(&prompt, "x 7f3c00050000");
	assert_non_null(strstr(prompt_error(&prompt), "a trace file holds no memory"));
	(void)prompt_run(&prompt, "p *kmem_guard_depth");
	assert_non_null(strstr(prompt_error(&prompt), "this is a finished trace"));
}

static void a_source_without_events_says_so(void **state)
{
	static const char *const lines[] = {"show event 7f3c00040040", "history 7f3c00040040",
					    "bufctl 7f3c00040040"};

	(void)state;
	prompt.fixture.ops.events = NULL;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		(void)prompt_run(&prompt, lines[i]);
		if (!strstr(prompt_error(&prompt), "this source records no events"))
			fail_msg("%s: error \"%s\"", lines[i], prompt_error(&prompt));
	}
}

static void an_ended_program_refuses_a_write_with_its_reason(void **state)
{
	(void)state;
	prompt.fixture.refuse_writes = true;
	(void)prompt_run(&prompt, "w kmem_guard_depth 200");
	assert_string_equal(prompt_error(&prompt), "kmem_guard_depth: the program has ended");
}

static void output_has_a_limit(void **state)
{
	const char *seen = prompt_run(&prompt, "x/m 7f3c00050000,200");

	(void)state;
	assert_string_equal(prompt_error(&prompt), "");
	assert_true(strlen(seen) > 0x200 * 60);
	(void)prompt_run(&prompt, "set $maxwidth = 0t16");
	(void)prompt_run(&prompt, "x/aaaaaaaaaaaaab 7f3c00050000,2000");
	assert_non_null(strstr(prompt_error(&prompt), "the answer is longer than 256 KiB"));
	assert_int_equal(prompt.out.used_bytes, KMS_DDB_OUTPUT_BYTES);
}

static void foreign_names_leave_no_control_bytes(void **state)
{
	static const char *const lines[] = {"ps",          "show all pools", "show kmastat",
					    "findleaks",   "kmausers/e",     "mark",
					    "show faults", "diff 1",         "verify"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		for (const char *c = prompt_run(&prompt, lines[i]); *c; c++)
			assert_false((unsigned char)*c < ' ' && *c != '\n' && *c != '\t');
	(void)prompt_run(&prompt, "xyz\\\x1b]52");
	assert_null(strchr(prompt_error(&prompt), '\x1b'));
}

#define DB_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DB_TEST(names_may_be_abbreviated_as_in_ddb),
		DB_TEST(w_prints_ddbs_line_and_ours),
		DB_TEST(w_moves_dot_like_an_editor),
		DB_TEST(w_refuses_what_cannot_be_with_the_reason),
		DB_TEST(every_size_letter_writes_its_variable),
		DB_TEST(a_write_goes_to_the_target_that_is_chosen),
		DB_TEST(the_prompt_shows_the_target),
		DB_TEST(p_prints_in_ddbs_widths_and_remembers_its_format),
		DB_TEST(x_shows_memory_in_ddbs_columns),
		DB_TEST(an_empty_line_goes_on),
		DB_TEST(memory_that_is_not_there_is_a_fault),
		DB_TEST(search_finds_values),
		DB_TEST(a_search_whose_time_is_over_says_how_to_go_on),
		DB_TEST(set_changes_the_prompt),
		DB_TEST(pools_are_printed_as_in_ddb),
		DB_TEST(kmastat_leaves_out_empty_caches_only),
		DB_TEST(blocks_are_told_as_in_ddb_and_mdb),
		DB_TEST(faults_have_their_stack),
		DB_TEST(holders_of_memory_are_told_as_in_mdb),
		DB_TEST(the_guard_is_told_with_its_pages),
		DB_TEST(targets_stop_and_go_on),
		DB_TEST(verify_says_what_it_checked),
		DB_TEST(marks_are_put_and_compared),
		DB_TEST(who_may_only_read_can_look_and_change_nothing),
		DB_TEST(a_finished_trace_can_be_looked_at),
		DB_TEST(a_source_without_events_says_so),
		DB_TEST(an_ended_program_refuses_a_write_with_its_reason),
		DB_TEST(output_has_a_limit),
		DB_TEST(foreign_names_leave_no_control_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
