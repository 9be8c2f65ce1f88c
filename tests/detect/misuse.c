/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * misuse KIND: one wrong call of kmem(9) each, or its legal neighbour (KIND with "legal_" in front).
 */
#include "tests/detect/front.h"

enum {
	BYTES = 100,
};

static NAMED void zero_size(int legal)
{
	void *p = kmem_alloc(legal ? 1 : 0, KM_SLEEP); /* line: zero_size */

	if (legal)
		kmem_free(p, 1);
	keep_frame();
}

static NAMED void null_free(int legal)
{
	void *p = legal ? kmem_alloc(BYTES, KM_SLEEP) : NULL;

	kmem_free(hidden(p), BYTES); /* line: null_free */
	keep_frame();
}

static NAMED void bad_flags(int legal)
{
	void *p = kmem_alloc(BYTES, legal ? KM_SLEEP : 0); /* line: bad_flags */

	if (p)
		kmem_free(p, BYTES);
	keep_frame();
}

static NAMED void both_flags(int legal)
{
	km_flag_t flags = legal ? KM_NOSLEEP : KM_SLEEP | KM_NOSLEEP;
	void *p = kmem_alloc(BYTES, flags); /* line: both_flags */

	if (p)
		kmem_free(p, BYTES);
	keep_frame();
}

static NAMED void size_mismatch(int legal)
{
	void *p = kmem_alloc(BYTES, KM_SLEEP); /* line: size_mismatch_alloc */

	kmem_free(hidden(p), legal ? BYTES : BYTES - 1); /* line: size_mismatch */
	keep_frame();
}

static NAMED void other_class(int legal)
{
	void *p = kmem_alloc(BYTES, KM_SLEEP); /* line: other_class_alloc */

	kmem_free(hidden(p), legal ? BYTES : 4 * BYTES); /* line: other_class */
	keep_frame();
}

static NAMED void wrong_context(int legal)
{
	int previous = kmem_context_enter(legal ? KMEM_CONTEXT_TASK : KMEM_CONTEXT_SOFTINT);
	void *p = kmem_alloc(BYTES, KM_NOSLEEP); /* line: wrong_context */

	kmem_context_leave(previous);
	if (p)
		kmem_free(p, BYTES);
	keep_frame();
}

static NAMED void hardint_free(int legal)
{
	void *p = kmem_alloc(BYTES, KM_SLEEP);
	int previous = kmem_context_enter(KMEM_CONTEXT_HARDINT);

	if (legal)
		kmem_intr_free(p, BYTES);
	else
		kmem_free(p, BYTES); /* line: hardint_free */
	kmem_context_leave(previous);
	keep_frame();
}

static NAMED void intr_sleep(int legal)
{
	int previous = kmem_context_enter(KMEM_CONTEXT_HARDINT);
	km_flag_t flags = legal ? KM_NOSLEEP : KM_SLEEP;
	void *p = kmem_intr_alloc(BYTES, flags); /* line: intr_sleep */

	kmem_context_leave(previous);
	if (p)
		kmem_free(p, BYTES);
	keep_frame();
}

static NAMED void sleep_with_lock(int legal)
{
	static char lock;
	void *p;

	kmem_lock_hold(&lock);
	p = kmem_alloc(BYTES, legal ? KM_NOSLEEP : KM_SLEEP); /* line: sleep_with_lock */
	kmem_lock_drop(&lock);
	if (p)
		kmem_free(p, BYTES);
	keep_frame();
}

static NAMED void shortened_string(int legal)
{
	char *s = kmem_strdupsize("a string", NULL, KM_SLEEP);

	if (!legal)
		s[3] = 0;
	kmem_strfree(hidden(s)); /* line: shortened_string */
	keep_frame();
}

static NAMED void strndup_zero(int legal)
{
	char *s = kmem_strndup("a string", legal ? 3 : 0, KM_SLEEP); /* line: strndup_zero */

	kmem_strfree(s);
	keep_frame();
}

static const struct kind kinds[] = {
	{"zero_size",        zero_size       },
	{"null_free",        null_free       },
	{"bad_flags",        bad_flags       },
	{"both_flags",       both_flags      },
	{"size_mismatch",    size_mismatch   },
	{"other_class",      other_class     },
	{"wrong_context",    wrong_context   },
	{"hardint_free",     hardint_free    },
	{"intr_sleep",       intr_sleep      },
	{"sleep_with_lock",  sleep_with_lock },
	{"shortened_string", shortened_string},
	{"strndup_zero",     strndup_zero    },
};

int main(int argc, char **argv)
{
	return run_kind(kinds, sizeof(kinds) / sizeof(kinds[0]), argc == 2 ? argv[1] : "");
}
