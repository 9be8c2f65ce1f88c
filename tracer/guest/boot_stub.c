/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/boot_stub.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/guest/target.h"
#include "tracer/process.h"

enum {
	SOCKET_BYTES = 80,
	YOUNG_MS = 1000, /* an emulator that was started a moment ago does not listen yet */
	AGAIN_MS = 10,
};

static void socket_path(const struct kms_boot_stub *stub, char path[SOCKET_BYTES])
{
	(void)snprintf(path, SOCKET_BYTES, "%s/gdb", stub->folder); /* fits */
}

/* The stub on the command line. */
static int try_given(struct kms_boot_stub *stub, struct kms_err *err)
{
	const struct kms_qemu *qemu = &stub->guest->emulator;
	const char *address = qemu->options.gdb;
	char host[KMS_QEMU_ADDRESS_BYTES], path[PATH_MAX];
	unsigned port;
	int result;

	if (kms_guest_address_split(address, host, sizeof(host), &port))
		return kms_gdb_open(address, &stub->gdb, err);
	result = kms_qemu_path(qemu, address, path, err);
	return result ? result : kms_gdb_open(path, &stub->gdb, err);
}

/* It has to be this emulator's. */
static int open_given(struct kms_boot_stub *stub, struct kms_err *err)
{
	const struct kms_qemu *qemu = &stub->guest->emulator;
	uint64_t end_ns = kms_mono_ns() + YOUNG_MS * UINT64_C(1000000);
	int result = try_given(stub, err);

	while ((result == -ECONNREFUSED || result == -ENOENT) && kms_mono_ns() < end_ns) {
		kms_err_clear(err);
		(void)poll(NULL, 0, AGAIN_MS);
		result = try_given(stub, err);
	}
	if (result)
		return result;
	if (!kms_gdb_peer(stub->gdb) || kms_gdb_peer(stub->gdb) == qemu->pid)
		return 0;
	return kms_err_set(err, -EPROTO, "%.100s is the stub of process %d, another one",
			   qemu->options.gdb, (int)kms_gdb_peer(stub->gdb));
}

/* One that was not there: the emulator opens it for us, in a folder of ours. */
static int open_made(struct kms_boot_stub *stub, struct kms_err *err)
{
	char command[SOCKET_BYTES + 48], path[SOCKET_BYTES];
	KMS_AUTO_FREE char *said = NULL;
	int result;

	(void)snprintf(stub->folder, sizeof(stub->folder), "/tmp/kmemscope-gdb-XXXXXX");
	if (!mkdtemp(stub->folder)) {
		stub->folder[0] = '\0';
		return kms_err_sys(err, -errno, "a folder for the gdb stub", NULL);
	}
	socket_path(stub, path);
	(void)snprintf(command, sizeof(command), "gdbserver unix:%s,server=on,wait=off",
		       path); /* fits */
	result = kms_qmp_monitor(stub->guest->qmp, command, &said, err);
	if (result)
		return result;
	stub->is_made = true;
	if (access(path, F_OK) != 0)
		return kms_err_set(err, -EIO, "the emulator opens no gdb stub: %.100s", said);
	return kms_gdb_open(path, &stub->gdb, err);
}

int kms_boot_stub_open(struct kms_guest *guest, struct kms_boot_stub *stub, struct kms_err *err)
{
	int result;

	*stub = (struct kms_boot_stub){.guest = guest};
	if (guest->gdb) {
		stub->gdb = guest->gdb;
		stub->is_borrowed = true;
		return kms_gdb_stop(stub->gdb, err);
	}
	if (guest->emulator.options.gdb[0])
		result = open_given(stub, err);
	else if (guest->qmp)
		result = open_made(stub, err);
	else
		result = kms_err_set(
			err, -ENOTSUP,
			"--boot takes a gdb stub or QMP, and this emulator has neither: "
			"start it with -S and -gdb unix:SOCKET,server=on,wait=off");
	if (result)
		kms_boot_stub_close(stub);
	return result;
}

void kms_boot_stub_close(struct kms_boot_stub *stub)
{
	char *said = NULL;
	char path[SOCKET_BYTES];

	if (stub->gdb && !stub->is_borrowed)
		kms_gdb_close(stub->gdb);
	if (stub->is_made && stub->guest->qmp &&
	    kms_qmp_monitor(stub->guest->qmp, "gdbserver none", &said, NULL) == 0)
		free(said);
	if (stub->folder[0]) {
		socket_path(stub, path);
		(void)unlink(path); /* the emulator may have done so */
		(void)rmdir(stub->folder);
	}
	*stub = (struct kms_boot_stub){0};
}
