/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gdb stub of an emulator, spoken to in its remote serial protocol.
 *
 * A stub stops the guest when somebody connects, and leaves it so if that one just goes away. So a
 * process of its own, the guard, holds the connection, too: when this process ends, whatever ended
 * it, the guard detaches and the guest goes on. One that stood before we came is left standing.
 * (GDB manual, appendix E; what QEMU 7.2 does was measured.)
 */
#ifndef KMS_TRACER_GUEST_GDB_H
#define KMS_TRACER_GUEST_GDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tracer/guest/layout.h"

enum kms_gdb_bounds {
	KMS_GDB_TIMEOUT_MS = 3000,
	KMS_GDB_TEXT_BYTES = 1 << 20, /* what a command of the monitor may print */
};

/** Registers of qemu-system-x86_64 by their numbers in the protocol; EIP: of qemu-system-i386. */
enum kms_gdb_register {
	KMS_GDB_RSP = 7,
	KMS_GDB_RIP = 16,
	KMS_GDB_EIP = 8,
};

enum kms_gdb_space {
	KMS_GDB_VIRTUAL = 0, /* of the processor that stopped */
	KMS_GDB_PHYSICAL = 1,
};

/** A connection. One thread at a time. */
struct kms_gdb;

/**
 * Connects. The guest stands from here to kms_gdb_go() or kms_gdb_close().
 *
 * Shape:  address: path of a Unix socket, or HOST:PORT
 * Errors: -EPROTO: no gdb stub; -EOPNOTSUPP: of another processor; as kms_guest_connect(); what
 *         fork(2) says
 */
int kms_gdb_open(const char *address, struct kms_gdb **gdb, struct kms_err *err);

/** Takes its break points away, lets the guest go on and closes. NULL is nothing. */
void kms_gdb_close(struct kms_gdb *gdb);

/** Lets the guest go on, also one that stood before we came; nothing if it does. Errors: -EPIPE, -ETIMEDOUT, -EPROTO */
int kms_gdb_go(struct kms_gdb *gdb, struct kms_err *err);

/** Stops it; nothing if it stands. Errors: as kms_gdb_go() */
int kms_gdb_stop(struct kms_gdb *gdb, struct kms_err *err);

/**
 * It is to go on from now on, whatever becomes of us, also one that stood before we came: for who
 * sets break points before kms_gdb_go(). Errors: what fork(2) says
 */
int kms_gdb_promise(struct kms_gdb *gdb, struct kms_err *err);

/**
 * Waits until a guest that goes on stops by itself: at a break point, or by somebody else.
 *
 * Returns 1: it stands; 0: not within that time
 * Errors:  as kms_gdb_go()
 */
int kms_gdb_wait_stop(struct kms_gdb *gdb, int timeout_ms, struct kms_err *err);

/**
 * Reads or writes memory of a guest that stands.
 *
 * Errors: -EFAULT: the stub refuses; -EBUSY: it goes on; as kms_gdb_go()
 */
int kms_gdb_read(struct kms_gdb *gdb, enum kms_gdb_space space, uint64_t address, void *to,
		 size_t bytes, struct kms_err *err);
int kms_gdb_write(struct kms_gdb *gdb, enum kms_gdb_space space, uint64_t address, const void *from,
		  size_t bytes, struct kms_err *err);

/** A break point at a virtual address, or none any more. Errors: -EIO: refused; as kms_gdb_read() */
int kms_gdb_set_break(struct kms_gdb *gdb, uint64_t address, bool is_on, struct kms_err *err);

/** A register, 4 or 8 bytes as the guest's are. Errors: -EIO: refused; as kms_gdb_read() */
int kms_gdb_register(struct kms_gdb *gdb, unsigned number, uint64_t *value, struct kms_err *err);

/** Where the processor that stopped stands. Errors: as kms_gdb_register() */
int kms_gdb_pc(struct kms_gdb *gdb, uint64_t *pc, struct kms_err *err);

/**
 * A command of the emulator's monitor, and what it prints.
 *
 * Owner:  the caller frees *text
 * Errors: -EIO: refused; -ENOMEM; -EMSGSIZE; as kms_gdb_read()
 */
int kms_gdb_monitor(struct kms_gdb *gdb, const char *command, char **text, struct kms_err *err);

/** Where the guest has RAM, by the monitor; places are guest-physical. Errors: as kms_gdb_monitor(), -EPROTO */
int kms_gdb_layout(struct kms_gdb *gdb, struct kms_guest_layout *layout, struct kms_err *err);

bool kms_gdb_is_running(const struct kms_gdb *gdb);

/** Whether it stood before we came: then it is left so. */
bool kms_gdb_was_stopped(const struct kms_gdb *gdb);

/** How long we have had the guest stopped, in all and at most at a time. */
uint64_t kms_gdb_paused_ns(const struct kms_gdb *gdb);
uint64_t kms_gdb_longest_pause_ns(const struct kms_gdb *gdb);

/** Its socket; readable while the guest goes on: it stopped, or the emulator ended. */
int kms_gdb_fd(const struct kms_gdb *gdb);

/** Process that listens on it; 0: not by a Unix socket. */
pid_t kms_gdb_peer(const struct kms_gdb *gdb);

/** The guard's process. */
pid_t kms_gdb_guard(const struct kms_gdb *gdb);

#endif
