/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stopping a guest at kmem_init: see boot.h.
 *
 * The break point is a hardware one: it changes no memory, so it can be set before the loader has put
 * the kernel there, and it survives a reset. It may be hit by another kernel at the same address, so
 * what stands there is compared with the file.
 */
#include "tracer/guest/boot.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tracer/guest/boot_stub.h"
#include "tracer/guest/kernel_elf.h"
#include "tracer/guest/kernel_file.h"
#include "tracer/process.h"

#define MS UINT64_C(1000000)

static const char place[] = "kmem_init";
static const char variable[] = "kmem_guard_depth";

enum {
	CODE_BYTES =
		16, /* that are compared with the file: enough to tell a function from another */
	STEP_MS = 20,
	GRACE_MS = 1500,    /* a kernel that is there and has not come by until then has passed */
	FOREIGN_STOPS = 64, /* stops that are not ours, until somebody else's is believed */
};

/** One call. */
struct boot {
	const struct kms_guest_boot_config *config;
	struct kms_guest *guest;
	struct kms_boot_stub stub;
	uint64_t at;       /* kmem_init */
	uint64_t variable; /* kmem_guard_depth */
	unsigned bytes;    /* of it: 4 or 8 */
	uint8_t code[CODE_BYTES];
	bool was_there; /* when we came, the kernel was running */
	bool is_said;
};

static void say(const struct boot *boot, const char *line)
{
	if (boot->config->say)
		boot->config->say(boot->config->say_arg, line);
}

/* The emulator may have been given another file than we were. */
static int check_build(const struct boot *boot, struct kms_err *err)
{
	struct kms_kernel_file ours, theirs;

	if (!boot->guest->kernel[0] || kms_kernel_file_look(boot->config->kernel, &ours, NULL) ||
	    kms_kernel_file_look(boot->guest->kernel, &theirs, NULL) || !ours.build_id_bytes ||
	    !theirs.build_id_bytes)
		return 0; /* nothing to compare, until it stands there */
	if (ours.build_id_bytes == theirs.build_id_bytes &&
	    !memcmp(ours.build_id, theirs.build_id, ours.build_id_bytes))
		return 0;
	return kms_err_set(err, -ESTALE,
			   "%.120s is of another build than the kernel that the emulator was "
			   "given, %.120s",
			   boot->config->kernel, boot->guest->kernel);
}

static int read_variable(struct boot *boot, const struct kms_kernel_elf *elf, struct kms_err *err)
{
	struct kms_kernel_symbol symbol;
	int result = kms_kernel_elf_find(elf, variable, &symbol, err);

	if (result)
		return result;
	boot->variable = symbol.address;
	boot->bytes = symbol.bytes == 8 ? 8 : 4; /* an int where the file does not say */
	if (boot->config->depth > (boot->bytes == 4 ? INT32_MAX : INT64_MAX))
		return kms_err_set(err, -ERANGE, "%s has %u bytes: %" PRIu64 " does not fit",
				   variable, boot->bytes, boot->config->depth);
	return 0;
}

/* What is compared later. A debug file has symbols only, and says so by parts of no bytes. */
static int read_code(struct boot *boot, const struct kms_kernel_elf *elf, struct kms_err *err)
{
	static const uint8_t nothing[CODE_BYTES];
	int result = kms_kernel_elf_content(elf, boot->at, boot->code, sizeof(boot->code), err);

	if (result || memcmp(boot->code, nothing, sizeof(nothing)) != 0)
		return result;
	return kms_err_set(err, -ENOEXEC,
			   "%.160s has no code there: it is a debug file; name the kernel itself",
			   boot->config->kernel);
}

static int read_file(struct boot *boot, struct kms_err *err)
{
	struct kms_kernel_elf elf;
	struct kms_kernel_symbol symbol;
	int result = kms_kernel_elf_open(boot->config->kernel, &elf, err);

	if (result)
		return result;
	result = kms_kernel_elf_find(&elf, place, &symbol, err);
	if (!result) {
		boot->at = symbol.address;
		result = read_code(boot, &elf, err);
	}
	if (!result)
		result = read_variable(boot, &elf, err);
	kms_kernel_elf_close(&elf);
	if (!result)
		return check_build(boot, err);
	(void)kms_err_context(err, "--boot needs %s and %s of the kernel's file", place, variable);
	return result;
}

/* Whether kmem_init stands where the file has it, by the page tables of the processor that stopped. */
static bool is_in_place(const struct boot *boot)
{
	uint8_t now[CODE_BYTES];

	return kms_gdb_read(boot->stub.gdb, KMS_GDB_VIRTUAL, boot->at, now, sizeof(now), NULL) ==
		       0 &&
	       memcmp(now, boot->code, sizeof(now)) == 0;
}

/* From here on the guest goes on whatever becomes of us. */
static int arm(struct boot *boot, struct kms_err *err)
{
	struct kms_gdb *gdb = boot->stub.gdb;
	int result;

	boot->was_there = is_in_place(boot);
	result = kms_gdb_promise(gdb, err);
	boot->guest->is_paused = false; /* as soon as it is let go */
	return result ? result : kms_gdb_set_break(gdb, boot->at, true, err);
}

/* It has waited for a while: what for? */
static void explain(struct boot *boot)
{
	char line[256];

	if (boot->is_said)
		return;
	boot->is_said = true;
	if (boot->was_there)
		(void)snprintf(
			line, sizeof(line),
			"the guest has passed %s, the only place where it reads %s: waiting "
			"for its next boot; reset it now (system_reset in QEMU's monitor), or "
			"start QEMU with -S and attach before it goes on",
			place, variable);
	else
		(void)snprintf(line, sizeof(line),
			       "the guest has not come to %s (0x%" PRIx64 ") yet: waiting for it",
			       place, boot->at);
	say(boot, line);
}

static int given_up(const struct boot *boot, struct kms_err *err)
{
	return kms_err_set(err, -EINTR, "given up before the guest came to %s%s", place,
			   boot->was_there ? ", which it had passed when we came" : "");
}

/* Sleeps until the stub, a signal or the emulator's end has something to say. Returns whether it is enough. */
static bool is_enough(const struct boot *boot)
{
	struct pollfd p[3] = {
		{.fd = boot->config->enough_fd,    .events = POLLIN},
		{.fd = kms_gdb_fd(boot->stub.gdb), .events = POLLIN},
		{.fd = boot->guest->pidfd,         .events = POLLIN},
	};

	return poll(p, 3, STEP_MS) > 0 && p[0].revents;
}

static int ended(int result, struct kms_err *err)
{
	if (result == -EPIPE)
		return kms_err_set(err, -ESRCH, "the emulator ended before the guest came to %s",
				   place);
	return result;
}

/* Until it stands at the break point. A stop that is not ours is passed over: it is to boot now. */
static int await(struct boot *boot, struct kms_err *err)
{
	struct kms_gdb *gdb = boot->stub.gdb;
	uint64_t explain_ns = kms_mono_ns() + GRACE_MS * MS;
	uint64_t pc = 0;
	unsigned foreign = 0;

	while (foreign < FOREIGN_STOPS) {
		int result = kms_gdb_go(gdb, err);

		while (!result) {
			if (is_enough(boot))
				return given_up(boot, err);
			if (kms_mono_ns() > explain_ns)
				explain(boot);
			result = kms_gdb_wait_stop(gdb, 0, err);
		}
		if (result > 0)
			result = kms_gdb_pc(gdb, &pc, err);
		if (result)
			return ended(result, err);
		if (pc == boot->at)
			return 0;
		foreign++;
	}
	return kms_err_set(err, -EBUSY,
			   "somebody else stops the guest again and again, at 0x%" PRIx64, pc);
}

static uint64_t number_of(const uint8_t bytes[8], unsigned n)
{
	uint64_t value = 0;

	for (unsigned i = n; i > 0; i--)
		value = value << 8 | bytes[i - 1]; /* x86 is little-endian */
	return value;
}

static int read_depth(const struct boot *boot, uint64_t *value, struct kms_err *err)
{
	uint8_t bytes[8];
	int result = kms_gdb_read(boot->stub.gdb, KMS_GDB_VIRTUAL, boot->variable, bytes,
				  boot->bytes, err);

	*value = result ? 0 : number_of(bytes, boot->bytes);
	return result;
}

static int write_depth(const struct boot *boot, struct kms_guest_boot *done, struct kms_err *err)
{
	uint8_t bytes[8];
	int result;

	if (!is_in_place(boot))
		return kms_err_set(err, -ESTALE,
				   "what stands at %s is not what %.160s has there: another kernel "
				   "runs, nothing was written",
				   place, boot->config->kernel);
	done->address = boot->variable;
	result = read_depth(boot, &done->before, err);
	for (unsigned i = 0; i < boot->bytes; i++)
		bytes[i] = (uint8_t)(boot->config->depth >> (8 * i));
	if (!result)
		result = kms_gdb_write(boot->stub.gdb, KMS_GDB_VIRTUAL, boot->variable, bytes,
				       boot->bytes, err);
	if (!result)
		result = read_depth(boot, &done->after, err);
	if (!result && done->after != boot->config->depth)
		return kms_err_set(err, -EIO, "%s holds %" PRIu64 " after %" PRIu64 " was written",
				   variable, done->after, boot->config->depth);
	return result;
}

/* Without the break point, and on. */
static int disarm(struct boot *boot, struct kms_err *err)
{
	struct kms_gdb *gdb = boot->stub.gdb;
	int result = kms_gdb_stop(gdb, err);

	if (!result)
		result = kms_gdb_set_break(gdb, boot->at, false, err);
	return result ? result : kms_gdb_go(gdb, err);
}

static int run(struct boot *boot, struct kms_guest_boot *done, struct kms_err *err)
{
	uint64_t begin_ns;
	int result = arm(boot, err), later;

	if (!result)
		result = await(boot, err);
	begin_ns = kms_mono_ns();
	if (!result)
		result = write_depth(boot, done, err);
	later = result == -ESRCH ? 0 : disarm(boot, result ? NULL : err);
	done->stood_ns = kms_mono_ns() - begin_ns;
	return result ? result : ended(later, err);
}

int kms_guest_boot(struct kms_guest *guest, const struct kms_guest_boot_config *config,
		   struct kms_guest_boot *done, struct kms_err *err)
{
	struct boot *boot = calloc(1, sizeof(*boot));
	int result;

	*done = (struct kms_guest_boot){0};
	if (!boot)
		return kms_err_set(err, -ENOMEM, "no memory for a guest");
	boot->config = config;
	boot->guest = guest;
	result = read_file(boot, err);
	if (!result)
		result = kms_boot_stub_open(guest, &boot->stub, err);
	if (!result)
		result = run(boot, done, err);
	kms_boot_stub_close(&boot->stub);
	free(boot);
	return result;
}
