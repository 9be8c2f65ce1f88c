/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A real QEMU for a test, with a guest of some instructions in a boot sector: it counts, and copies
 * a word that the test writes to another one.
 */
#ifndef KMS_TRACER_GUEST_TEST_EMULATOR_H
#define KMS_TRACER_GUEST_TEST_EMULATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tracer/guest/memory.h"

enum {
	EMULATOR_COUNT = 0x8000, /* guest-physical: a 32-bit count that grows */
	EMULATOR_MARK = 0x8004,  /* EMULATOR_MARK_VALUE once the guest runs */
	EMULATOR_IN = 0x8010,    /* what is written here ... */
	EMULATOR_OUT = 0x8014,   /* ... appears here */
	EMULATOR_MARK_VALUE = 0x4b4d5331,
};

/** A QEMU and its folder. */
struct emulator {
	pid_t pid; /* 0: ended and waited for */
	char folder[32];
	char disk[64]; /* the boot sector, for -drive */
	char qmp[64];  /* paths for sockets and files, not there before they are used */
	char gdb[64];
	char ram[64];
};

/** Whether there is a QEMU to test with. */
bool emulator_is_there(void);

/** Makes the folder and what is in it. */
void emulator_prepare(struct emulator *emulator);

/**
 * Starts QEMU with "-display none" and these words; its pid is that of QEMU itself.
 *
 * Shape:  words are parted by blanks; DISK, QMP, GDB and RAM stand for the paths, and NICE for
 *         "-nodefaults -drive file=DISK,format=raw -no-user-config"
 */
void emulator_start(struct emulator *emulator, const char *words);

/** Waits until a socket or file is there. */
void emulator_wait_for(const char *path);

/** Waits until the guest counts; ends the test if it does not in a minute. */
void emulator_wait_guest(struct kms_guest_memory *memory);

/** The guest's count. */
uint32_t emulator_count(struct kms_guest_memory *memory);

/** Kills it and waits for its end. */
void emulator_kill(struct emulator *emulator);

/** Waits for its end, which somebody else brought about. Returns what waitpid(2) says. */
int emulator_wait_end(struct emulator *emulator);

/** Kills it if need be, and removes the folder. */
void emulator_drop(struct emulator *emulator);

#endif
