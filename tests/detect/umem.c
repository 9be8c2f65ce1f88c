/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * umem KIND: one mistake with ddi_umem_alloc(9F) each, or its legal neighbour (KIND with "legal_" in
 * front).
 */
#include "tests/detect/front.h"

enum {
	PAGE = 4096,
	BYTES = 5000, /* two pages */
};

static NAMED char *buffer(int flags, ddi_umem_cookie_t *cookie)
{
	char *p = ddi_umem_alloc(BYTES, flags, cookie); /* line: buffer */

	keep_frame();
	return p;
}

static NAMED void give(ddi_umem_cookie_t cookie)
{
	ddi_umem_free(hidden(cookie)); /* line: give */
	keep_frame();
}

static NAMED void buffer_overflow(int legal)
{
	ddi_umem_cookie_t cookie;
	volatile char *p = buffer(DDI_UMEM_SLEEP, &cookie);

	p[2 * PAGE - legal] = 0; /* line: buffer_overflow */
	give(cookie);
}

static NAMED void buffer_underflow(int legal)
{
	ddi_umem_cookie_t cookie;
	volatile char *p = buffer(DDI_UMEM_SLEEP, &cookie);

	p[legal - 1] = 0; /* line: buffer_underflow */
	give(cookie);
}

static NAMED void second_free(int legal)
{
	ddi_umem_cookie_t cookie;

	(void)buffer(DDI_UMEM_SLEEP, &cookie);
	give(cookie);
	if (!legal)
		ddi_umem_free(hidden(cookie)); /* line: second_free */
	keep_frame();
}

static NAMED void free_of_memory(int legal)
{
	ddi_umem_cookie_t cookie;
	char *p = buffer(DDI_UMEM_SLEEP, &cookie);

	ddi_umem_free(hidden(legal ? cookie : p)); /* line: free_of_memory */
	keep_frame();
}

static NAMED void kmem_free_of_buffer(int legal)
{
	ddi_umem_cookie_t cookie;
	char *p = buffer(DDI_UMEM_SLEEP, &cookie);

	if (legal)
		give(cookie);
	else
		kmem_free(hidden(p), BYTES); /* line: kmem_free_of_buffer */
	keep_frame();
}

/* Caught with GUARD. */
static NAMED void read_after_umem_free(int legal)
{
	ddi_umem_cookie_t cookie;
	volatile char *p = buffer(DDI_UMEM_SLEEP, &cookie);

	if (legal)
		(void)p[100];
	give(cookie);
	if (!legal)
		(void)p[100]; /* line: read_after_umem_free */
	keep_frame();
}

static NAMED void sleep_in_interrupt(int legal)
{
	int previous = kmem_context_enter(KMEM_CONTEXT_HARDINT);
	int flags = legal ? DDI_UMEM_NOSLEEP : DDI_UMEM_SLEEP;
	ddi_umem_cookie_t cookie;

	(void)ddi_umem_alloc(BYTES, flags, &cookie); /* line: sleep_in_interrupt */
	kmem_context_leave(previous);
	give(cookie);
}

static NAMED void umem_with_lock(int legal)
{
	static char lock;
	int flags = legal ? DDI_UMEM_NOSLEEP : DDI_UMEM_SLEEP;
	ddi_umem_cookie_t cookie;

	kmem_lock_hold(&lock);
	(void)ddi_umem_alloc(BYTES, flags, &cookie); /* line: umem_with_lock */
	kmem_lock_drop(&lock);
	give(cookie);
}

static NAMED void umem_in_suspend(int legal)
{
	ddi_umem_cookie_t cookie;

	kmem_suspend_enter();
	if (legal)
		kmem_suspend_leave();
	(void)ddi_umem_alloc(BYTES, DDI_UMEM_SLEEP, &cookie); /* line: umem_in_suspend */
	if (!legal)
		kmem_suspend_leave();
	give(cookie);
}

static NAMED void pageable_in_interrupt(int legal)
{
	ddi_umem_cookie_t cookie;
	volatile char *p = buffer(legal ? DDI_UMEM_SLEEP : DDI_UMEM_PAGEABLE, &cookie);
	int previous = kmem_context_enter(KMEM_CONTEXT_HARDINT);

	p[1] = 1; /* line: pageable_in_interrupt */
	kmem_context_leave(previous);
	give(cookie);
}

static NAMED void umem_flags(int legal)
{
	int flags = legal ? DDI_UMEM_PAGEABLE : 0x80;
	ddi_umem_cookie_t cookie;

	(void)ddi_umem_alloc(BYTES, flags, &cookie); /* line: umem_flags */
	give(cookie);
}

static const struct kind kinds[] = {
	{"buffer_overflow",       buffer_overflow      },
	{"buffer_underflow",      buffer_underflow     },
	{"second_free",           second_free          },
	{"free_of_memory",        free_of_memory       },
	{"kmem_free_of_buffer",   kmem_free_of_buffer  },
	{"read_after_umem_free",  read_after_umem_free },
	{"sleep_in_interrupt",    sleep_in_interrupt   },
	{"umem_with_lock",        umem_with_lock       },
	{"umem_in_suspend",       umem_in_suspend      },
	{"pageable_in_interrupt", pageable_in_interrupt},
	{"umem_flags",            umem_flags           },
};

int main(int argc, char **argv)
{
	return run_kind(kinds, sizeof(kinds) / sizeof(kinds[0]), argc == 2 ? argv[1] : "");
}
