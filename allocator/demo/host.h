/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the emulated kernel asks of the place it runs in: threads that take turns, interrupts, time,
 * somebody to tell things to. A process answers from libc (host_posix.c), where interrupts are
 * emulated; the guest kernel with its own (guest/demo_host.c), where they are real.
 */
#ifndef KMS_ALLOCATOR_DEMO_HOST_H
#define KMS_ALLOCATOR_DEMO_HOST_H

#include <stdint.h>

struct kms_kernel;
struct kms_driver;

/** Makes a thread for each driver; none has a turn yet. 0 or a negative errno. */
int kms_host_start(struct kms_kernel *kernel);

/** Ends those threads. Also after kms_host_start() failed. */
void kms_host_stop(struct kms_kernel *kernel);

/** Has the driver's thread call kms_sched_turn(); returns when it is over. */
void kms_host_turn(struct kms_driver *driver);

/** Monotonic time in ns. */
uint64_t kms_host_now_ns(void);

/** Returns when that time has come, not before. */
void kms_host_rest(uint64_t until_ns);

/** A line on the console, and one of the journal of planted bugs. */
void kms_host_console(struct kms_kernel *kernel, const char *line);
void kms_host_journal(struct kms_kernel *kernel, const char *line);

/** The kernel's own variables are set: now those that its user has set otherwise. */
void kms_host_variables(void);

/** Returns when whoever started the kernel has seen enough of it. */
void kms_host_await_end(void);

/**
 * Has @function called in an interrupt; returns when it is over. @level: enum kms_level, of which the
 * function itself tells the allocator.
 */
void kms_host_interrupt(unsigned level, void (*function)(void *argument), void *argument);

#endif
