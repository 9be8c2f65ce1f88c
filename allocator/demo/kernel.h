/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of the emulated kernel share: one CPU, its scheduler, drivers, callouts, bugs.
 *
 * Only the thread that has the CPU touches struct kms_kernel, so nothing in it needs a lock of the
 * host; the emulated locks exist to be told to the allocator. The scheduler hands the CPU over.
 */
#ifndef KMS_ALLOCATOR_DEMO_KERNEL_H
#define KMS_ALLOCATOR_DEMO_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator/demo/rng.h"
#include "base/keep.h"

struct kms_kernel;
struct kms_driver;
struct kms_host; /* what host.h needs to remember */

/** The planted bugs; their names are in bugs.c. */
enum kms_bug {
	KMS_BUG_LEAK,
	KMS_BUG_OVERFLOW,
	KMS_BUG_UNDERFLOW,
	KMS_BUG_DOUBLE_FREE,
	KMS_BUG_USE_AFTER_FREE,
	KMS_BUG_WRONG_SIZE,
	KMS_BUG_CONTEXT,
	KMS_BUG_WRONG_CACHE,
	KMS_BUG_USE_AFTER_PUT,
	KMS_BUG_UMEM_OVERFLOW,
	KMS_BUG_UMEM_LEAK,
	KMS_BUG_PAGEABLE,
	KMS_BUGS,
};

struct kms_demo_options {
	uint64_t seed;
	uint64_t ops;        /* operations of each driver in a round */
	uint64_t seconds;    /* over which a round is spread; 0: as fast as it goes */
	uint32_t bugs;       /* bit 1 << enum kms_bug: planted */
	bool wait;           /* at the end wait until stdin is closed */
	bool forever;        /* round after round */
	bool verbose;        /* console messages */
	const char *journal; /* file that gets one JSON line for each planted bug, or NULL */
};

/** When a bug is due in this round, and how often it was carried out. */
struct kms_bug_plan {
	uint64_t op;    /* of its driver, from 1 */
	uint64_t every; /* then again after so many operations, @count times in all */
	uint64_t count;
	uint64_t done;
};

/** A function that runs later, in callout context. Belongs to whoever scheduled it. */
struct kms_callout {
	struct kms_callout *next;
	void (*function)(struct kms_kernel *kernel, void *argument);
	void *argument;
	uint64_t due_tick;
	bool pending;
};

/** What a driver is; see the tables at the end of disk.c, net.c, ... */
struct kms_driver_class {
	const char *name; /* of the unit and of its thread */
	void (*attach)(struct kms_driver *driver);
	/** One operation of the driver's thread. May sleep. */
	void (*work)(struct kms_driver *driver);
	/** The device's interrupt, in hard interrupt context; NULL: it has none. */
	void (*interrupt)(struct kms_driver *driver);
	/** The rest of an interrupt's work, in soft interrupt context; NULL: none. */
	void (*soft_interrupt)(struct kms_driver *driver);
	/** Frees what attach and work have left; all interrupts are over. */
	void (*detach)(struct kms_driver *driver);
};

struct kms_driver {
	const struct kms_driver_class *class;
	struct kms_kernel *kernel;
	void *softc; /* the driver's own state, kmem memory */
	struct kms_rng rng;
	uint64_t ops_left;
	uint64_t ops_done; /* in this round */
	bool soft_pending;
};

/** A bug has a function of its own that stays one: its name is what a report shows. */
#define KMS_BUG_FUNCTION KMS_KEEP_FUNCTION static

enum kms_kernel_limits {
	KMS_DRIVERS = 5,
	KMS_QUANTUM_OPS = 16,     /* operations of one turn on the CPU */
	KMS_TICK_OPS = 32,        /* operations between two clock interrupts */
	KMS_INTERRUPT_ONE_IN = 4, /* operations that a device interrupt follows */
	KMS_RESERVE_BLOCKS = 160, /* more than all leaks together */
	KMS_RESERVE_BYTES = 48,
	KMS_RESERVE_REFRESH_TICKS = 64,
};

struct kms_kernel {
	struct kms_demo_options options;
	struct kms_driver driver[KMS_DRIVERS];
	struct kms_host *host;
	struct kms_rng rng; /* of interrupts and scheduling */
	uint64_t ops_done;
	uint64_t tick;
	struct kms_callout *callouts; /* sorted by due_tick */
	struct kms_bug_plan plan[KMS_BUGS];
	void *reserve[KMS_RESERVE_BLOCKS];
	struct kms_callout reserve_callout;
};

/* kernel.c */
/** Boots, runs all rounds and shuts down. 0 or negative errno. */
int kms_kernel_run(struct kms_kernel *kernel);
/** A line on the console, if it is wanted. */
void kms_kernel_print(struct kms_kernel *kernel, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* sched.c */
/** A turn of a driver on the CPU; on its thread. */
void kms_sched_turn(struct kms_driver *driver);
/** Gives the CPU to one driver after another until all have done their operations. */
void kms_sched_round(struct kms_kernel *kernel);

/* cpu.c */
/** What happens after each operation: perhaps interrupts, soft interrupts and callouts. */
void kms_cpu_after_operation(struct kms_kernel *kernel);
/** Interrupts until no device has anything left to say. */
void kms_cpu_drain(struct kms_kernel *kernel);
/** Asks for the driver's soft interrupt; from its interrupt. */
void kms_cpu_soft_interrupt(struct kms_driver *driver);
/** Has @callout->function called @ticks from now. It must not be pending. */
void kms_callout_schedule(struct kms_kernel *kernel, struct kms_callout *callout, uint64_t ticks);
/** Takes a callout back; nothing happens if it is not pending. */
void kms_callout_stop(struct kms_kernel *kernel, struct kms_callout *callout);
/** Locks: with one CPU they only tell the allocator that this thread must not sleep. */
void kms_spin_enter(const void *lock);
void kms_spin_exit(const void *lock);

/* bugs.c */
/** Name of a bug as --bugs takes it, and the fault kind its report has ("leak" for the leak). */
const char *kms_bug_name(enum kms_bug bug);
const char *kms_bug_kind(enum kms_bug bug);
/** Adds the bugs of a list "all", "none" or "leak,overflow" to *@bugs. 0 or -EINVAL. */
int kms_bugs_parse(const char *list, uint32_t *bugs);
/** Decides from the seed when each bug is due in the round that begins. */
void kms_bugs_plan(struct kms_kernel *kernel);
/** Whether the bug's place in the driver's operations is now; the twin runs if not planted. */
bool kms_bug_due(struct kms_driver *driver, enum kms_bug bug);
bool kms_bug_planted(const struct kms_kernel *kernel, enum kms_bug bug);
/** Blocks that a round with the planted bugs leaves behind and one without them would not. */
uint64_t kms_bugs_blocks_left(const struct kms_kernel *kernel);
/** The same for a round with every bug. */
uint64_t kms_bugs_blocks_left_most(const struct kms_kernel *kernel);

/** Where a bug was carried out, for the journal. */
struct kms_bug_place {
	const char *function;
	const char *file;
	int line;
	const void *address;
	size_t bytes;
};

/** Writes the journal line of a bug that was just carried out. */
void kms_bug_record(struct kms_kernel *kernel, enum kms_bug bug, const struct kms_bug_place *place);

/** A place in the function that uses this macro. */
#define KMS_BUG_PLACE(line_of_bug, block, block_bytes)                                             \
	(&(struct kms_bug_place){.function = __func__,                                             \
				 .file = __FILE__,                                                 \
				 .line = (line_of_bug),                                            \
				 .address = (block),                                               \
				 .bytes = (block_bytes)})

/* reserve.c */
/** Allocates the emergency reserve and keeps it fresh by a callout. */
void kms_reserve_fill(struct kms_kernel *kernel);
/** Frees @blocks of it for good. */
void kms_reserve_release(struct kms_kernel *kernel, uint64_t blocks);

/* The drivers. */
extern const struct kms_driver_class kms_disk_class;
extern const struct kms_driver_class kms_net_class;
extern const struct kms_driver_class kms_usb_class;
extern const struct kms_driver_class kms_tty_class;
extern const struct kms_driver_class kms_fs_class;

#endif
