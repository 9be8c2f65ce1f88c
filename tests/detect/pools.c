/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pools KIND: one mistake with pool_cache(9) each, or its legal neighbour (KIND with "legal_" in
 * front). Objects are constructed where the kind says so.
 */
#include "tests/detect/front.h"

enum {
	BYTES = 96,
};

static int construct(void *argument, void *object, int flags)
{
	(void)argument;
	(void)flags;
	memset(object, 0x33, BYTES);
	return 0;
}

static pool_cache_t pool(const char *name, int constructed)
{
	return pool_cache_init(BYTES, 0, 0, 0, name, NULL, IPL_NONE, constructed ? construct : NULL,
			       NULL, NULL);
}

static NAMED char *take(pool_cache_t pc)
{
	char *object = pool_cache_get(pc, PR_WAITOK); /* line: take */

	keep_frame();
	return object;
}

static NAMED void put(pool_cache_t pc, void *object)
{
	pool_cache_put(pc, hidden(object)); /* line: put */
	keep_frame();
}

static NAMED void wrong_pool(int legal)
{
	pool_cache_t mine = pool("mine", 1), other = pool("other", 1);
	char *object = take(mine);

	pool_cache_put(legal ? mine : other, object); /* line: wrong_pool */
	keep_frame();
}

static NAMED void second_put(int legal)
{
	pool_cache_t pc = pool("twice", 1);
	char *object = take(pc);

	put(pc, object);
	if (!legal)
		pool_cache_put(pc, hidden(object)); /* line: second_put */
	keep_frame();
}

static NAMED void put_of_block(int legal)
{
	pool_cache_t pc = pool("block", 0);
	void *block = legal ? take(pc) : kmem_alloc(BYTES, KM_SLEEP);

	pool_cache_put(pc, hidden(block)); /* line: put_of_block */
	keep_frame();
}

static NAMED void free_of_object(int legal)
{
	pool_cache_t pc = pool("object", 0);
	char *object = take(pc);

	if (legal)
		put(pc, object);
	else
		kmem_free(hidden(object), BYTES); /* line: free_of_object */
	keep_frame();
}

static NAMED void put_of_null(int legal)
{
	pool_cache_t pc = pool("null", 0);

	pool_cache_put(pc, hidden(legal ? take(pc) : NULL)); /* line: put_of_null */
	keep_frame();
}

static NAMED void put_of_inside(int legal)
{
	pool_cache_t pc = pool("inside", 0);
	char *object = take(pc);

	pool_cache_put(pc, hidden(object + (legal ? 0 : 8))); /* line: put_of_inside */
	keep_frame();
}

static NAMED void object_overflow(int legal)
{
	pool_cache_t pc = pool("overflow", 1);
	volatile char *object = take(pc);

	object[BYTES - legal] = 0;
	put(pc, (void *)object);
}

static NAMED void object_underflow(int legal)
{
	pool_cache_t pc = pool("underflow", 1);
	volatile char *object = take(pc);

	object[legal - 1] ^= 0x55;
	put(pc, (void *)object);
}

/* Caught with GUARD at the access, with POISON at the next get. */
static NAMED void write_after_put(int legal)
{
	pool_cache_t pc = pool("after", 1);
	volatile char *object = take(pc);

	if (legal)
		object[5] = 1;
	put(pc, (void *)object);
	if (!legal)
		object[5] = 1;               /* line: write_after_put */
	(void)pool_cache_get(pc, PR_WAITOK); /* line: get_again */
	keep_frame();
}

static NAMED void read_after_put(int legal)
{
	pool_cache_t pc = pool("after", 1);
	volatile char *object = take(pc);

	if (legal)
		(void)object[5];
	put(pc, (void *)object);
	if (!legal)
		(void)object[5]; /* line: read_after_put */
	keep_frame();
}

static NAMED void busy_destroy(int legal)
{
	pool_cache_t pc = pool("busy", 1);
	char *object = take(pc);

	if (legal)
		put(pc, object);
	pool_cache_destroy(pc); /* line: busy_destroy */
	keep_frame();
}

static NAMED void get_after_destroy(int legal)
{
	pool_cache_t pc = pool("gone", 1);

	if (!legal)
		pool_cache_destroy(pc);
	(void)pool_cache_get(pc, PR_NOWAIT); /* line: get_after_destroy */
	keep_frame();
}

static NAMED void pool_flags(int legal)
{
	pool_cache_t pc = pool("flags", 1);

	(void)pool_cache_get(pc, legal ? PR_NOWAIT : 0); /* line: pool_flags */
	keep_frame();
}

static NAMED void none_in_interrupt(int legal)
{
	pool_cache_t pc = pool("none", 1);
	int previous = kmem_context_enter(legal ? KMEM_CONTEXT_TASK : KMEM_CONTEXT_SOFTINT);

	(void)pool_cache_get(pc, PR_NOWAIT); /* line: none_in_interrupt */
	kmem_context_leave(previous);
}

static NAMED void waitok_with_lock(int legal)
{
	static char lock;
	pool_cache_t pc = pool("lock", 1);

	kmem_lock_hold(&lock);
	(void)pool_cache_get(pc, legal ? PR_NOWAIT : PR_WAITOK); /* line: waitok_with_lock */
	kmem_lock_drop(&lock);
}

static NAMED void zero_pool(int legal)
{
	size_t size = (size_t)legal;

	(void)pool_cache_init(size, 0, 0, 0, "z", NULL, 0, NULL, NULL, NULL); /* line: zero */
	keep_frame();
}

static const struct kind kinds[] = {
	{"wrong_pool",        wrong_pool       },
	{"second_put",        second_put       },
	{"put_of_block",      put_of_block     },
	{"free_of_object",    free_of_object   },
	{"put_of_null",       put_of_null      },
	{"put_of_inside",     put_of_inside    },
	{"object_overflow",   object_overflow  },
	{"object_underflow",  object_underflow },
	{"write_after_put",   write_after_put  },
	{"read_after_put",    read_after_put   },
	{"busy_destroy",      busy_destroy     },
	{"get_after_destroy", get_after_destroy},
	{"pool_flags",        pool_flags       },
	{"none_in_interrupt", none_in_interrupt},
	{"waitok_with_lock",  waitok_with_lock },
	{"zero_pool",         zero_pool        },
};

int main(int argc, char **argv)
{
	return run_kind(kinds, sizeof(kinds) / sizeof(kinds[0]), argc == 2 ? argv[1] : "");
}
