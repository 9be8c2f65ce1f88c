/* SPDX-License-Identifier: BSD-2-Clause */
/* The serial line COM1, and the end of it all. */
#ifndef KMS_ALLOCATOR_GUEST_CONSOLE_H
#define KMS_ALLOCATOR_GUEST_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

enum kms_guest_exit {
	KMS_GUEST_EXIT_DONE = 0,
	KMS_GUEST_EXIT_PANIC = 1,
};

void kms_console_init(void);

/** Writes text as it is; lines of several CPUs do not mix if each is one call. */
void kms_console_write(const char *text);

void kms_console_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** The next character that somebody typed; -1 none. */
int kms_console_read(void);

/** An error of the guest itself: says so, stops all CPUs. */
_Noreturn void kms_guest_die(const char *text);

/**
 * Ends the emulator where it lets us: by its exit device if there is one (its status is then
 * 2 * @status + 1), else by ACPI; halts if that does nothing.
 */
_Noreturn void kms_guest_power_off(enum kms_guest_exit status);

/** This CPU does nothing any more but answer others. */
_Noreturn void kms_guest_halt(void);

#endif
