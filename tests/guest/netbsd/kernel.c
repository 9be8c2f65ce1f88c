/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel with pools that nobody allocates from, for tests. Their contents come from contents.c, which
 * netbsd_image.py makes, as it does the structures (-include pool.h). At boot their pages are put where the page tables have them; kmem_init() reads
 * kmem_guard_depth, once; then a clock moves the figures of one pool.
 */
#define PAGE_BYTES 4096u

typedef __UINTPTR_TYPE__ uintptr_t;

struct kmem_guard {
	KMEM_GUARD_MEMBERS
};

int kmem_guard_depth = 0;
size_t kmem_guard_size;
struct kmem_guard kmem_guard;
volatile unsigned long hardclock_ticks;

extern struct pool *const ticker;
void clock_entry(void);

static inline void outb(unsigned short port, unsigned char value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "d"(port));
}

static void put(const char *text)
{
	while (*text)
		outb(0x3f8, (unsigned char)*text++);
}

static void put_number(unsigned long value, unsigned base)
{
	char digits[24];
	unsigned n = sizeof(digits);

	digits[--n] = '\0';
	do {
		digits[--n] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	put(digits + n);
}

/* Pages go where the tables say that they are, and what was loaded is wiped out. */
static void place_heap(void)
{
	for (unsigned i = 0; i < heap_pages; i++) {
		uintptr_t *to = (uintptr_t *)(uintptr_t)heap_page[i];
		uintptr_t *from = (uintptr_t *)((uintptr_t)HEAP_LOAD + i * PAGE_BYTES);

		for (unsigned k = 0; k < PAGE_BYTES / sizeof(*to); k++) {
			to[k] = from[k];
			from[k] = 0;
		}
	}
}

/* Where a guard's depth is taken over. The depth that is asked for is rounded up to whole pages of slots. */
void __attribute__((noinline)) kmem_init(void)
{
	unsigned slots = PAGE_BYTES / sizeof(void *);
	int asked = *(volatile int *)&kmem_guard_depth;

	put("kmem_init\n");
	if (!asked)
		return;
	kmem_guard.kg_depth = ((unsigned)asked + slots - 1) / slots * slots;
	kmem_guard_size = PAGE_BYTES - sizeof(void *);
#if GUARD_WRITES_BACK
	kmem_guard_depth = (int)kmem_guard.kg_depth;
#endif
	put("kmem_guard(");
	put_number((unsigned long)(uintptr_t)&kmem_guard, 16);
	put("): depth ");
	put_number(kmem_guard.kg_depth, 10);
	put("\n");
}

/* The clock's interrupt: one pool grows by an item, two out of three being given back. */
void clock(void)
{
	struct pool *pool = ticker;

	pool->pr_nget += 3;
	pool->pr_nput += 2;
	pool->pr_nout++;
	if (pool->pr_nitems) {
		pool->pr_nitems--;
	} else {
		pool->pr_npages++;
		pool->pr_npagealloc++;
		pool->pr_hiwat++;
		pool->pr_nitems = pool->pr_itemsperpage - 1;
	}
	hardclock_ticks++;
	outb(0x20, 0x20);
}

struct gate {
	unsigned short low, selector, flags, middle;
#ifdef __x86_64__
	unsigned high, reserved;
#endif
};

static struct gate idt[256];

static void start_clock(void)
{
	static const unsigned char setup[][2] = {
		{0x20, 0x11},
                {0xa0, 0x11},
                {0x21, 0x20},
                {0xa1, 0x28},
                {0x21, 4   },
		{0xa1, 2   },
                {0x21, 1   },
                {0xa1, 1   },
                {0x21, 0xfe},
                {0xa1, 0xff},
		{0x43, 0x34},
                {0x40, 0xff},
                {0x40, 0x5d}, /* 50 times a second */
	};

	struct {
		unsigned short bytes;
		uintptr_t at;
	} __attribute__((packed)) const idtr = {sizeof(idt) - 1, (uintptr_t)idt};

	uintptr_t entry = (uintptr_t)clock_entry;

	idt[0x20].low = (unsigned short)entry;
	idt[0x20].selector = 8;
	idt[0x20].flags = 0x8e00;
	idt[0x20].middle = (unsigned short)(entry >> 16);
#ifdef __x86_64__
	idt[0x20].high = (unsigned)(entry >> 32);
#endif
	for (unsigned i = 0; i < sizeof(setup) / sizeof(setup[0]); i++)
		outb(setup[i][0], setup[i][1]);
	__asm__ volatile("lidt %0; sti" : : "m"(idtr) : "memory");
}

void kernel_main(void)
{
	place_heap();
	put(version);
	kmem_init();
	start_clock();
	put("ready\n");
	for (;;)
		__asm__ volatile("hlt" : : : "memory");
}
