/* SPDX-License-Identifier: BSD-2-Clause */
/* What the system says of a process that is not our child. */
#ifndef KMS_TRACER_PROCESS_H
#define KMS_TRACER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** CLOCK_MONOTONIC and wall clock now. */
uint64_t kms_mono_ns(void);
uint64_t kms_wall_ns(void);

/**
 * A descriptor that becomes readable when the process ends.
 *
 * The caller knows that the process lived at a certain moment; one that has the pid by now and began
 * later is another one.
 *
 * Shape:  lived_mono_ns: CLOCK_MONOTONIC; 0 any
 * Errors: -ESRCH: it is gone; -EMFILE, -ENFILE, ...
 */
int kms_process_watch(pid_t pid, uint64_t lived_mono_ns);

/** Whether the process behind a descriptor of kms_process_watch() has ended. */
bool kms_process_has_ended(int pidfd);

/**
 * Calls fn for each process of this user that has an entry NAME=VALUE in the environment it was
 * started with, but for zombies and the caller itself.
 *
 * Returns how many more there may be: processes in the middle of execve(), a moment in which they
 * show no environment.
 */
unsigned kms_process_each_with(const char *entry, void (*fn)(void *arg, pid_t pid), void *arg);

/** Whether a block of n bytes of NUL-terminated entries has this one. Processes write what they like there. */
bool kms_environment_has(const char *block, size_t n, const char *entry);

/**
 * Whether Yama forbids to look into and to stop processes of the same user, and what it takes, in
 * words; NULL: it does not.
 */
const char *kms_process_yama(void);

/** Parent of a process; 0 if it is gone. */
pid_t kms_process_parent(pid_t pid);

#endif
