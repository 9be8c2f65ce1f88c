/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gdb stub of an emulator: see gdb.h.
 *
 * What QEMU's stub does besides its protocol: whoever connects to a running guest finds a stop reply
 * in the stream that nobody asked for; it is also how we know that the guest ran. While it goes on,
 * any byte stops it and the packet it began is lost. So a guest is always stopped first, by one byte
 * that is no packet, and stop replies among answers are passed over.
 */
#include "tracer/guest/gdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/guest/connect.h"
#include "tracer/guest/gdb_guard.h"
#include "tracer/guest/gdb_packet.h"
#include "tracer/guest/memory_map.h"
#include "tracer/process.h"

#define MS UINT64_C(1000000)

enum {
	RECEIVE_BYTES = 8192,
	PACKETS = 4096, /* that may come before an answer, or a stop */
	/* of one packet with its escapes, sent again some times, and of acknowledgements */
	PACKET_BYTES_MAX = 16 * KMS_GDB_PACKET_BYTES,
	INTERRUPT = 0x03, /* the byte that stops a guest */
	BREAKS = 16,
	COMMAND_BYTES = 512, /* of the monitor */
};

struct kms_gdb {
	int fd;
	pid_t peer;
	pid_t guard;
	bool is_running, was_stopped, is_physical, is_closed;
	bool is_wide; /* registers as of x86-64, whatever runs there */
	uint64_t stopped_ns, paused_ns, longest_ns;
	struct kms_gdb_packet packet; /* coming in */
	char received[RECEIVE_BYTES];
	size_t at, bytes; /* of what was received and not looked at */
	uint64_t breaks[BREAKS];
	unsigned n_breaks;
};

static uint64_t deadline(int timeout_ms)
{
	return kms_mono_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * MS;
}

static int failed(struct kms_gdb *gdb, int result, struct kms_err *err)
{
	if (result == -EPIPE)
		gdb->is_closed = true;
	return kms_err_sys(err, result, "gdb stub", NULL);
}

static void set_stopped(struct kms_gdb *gdb)
{
	gdb->is_running = false;
	gdb->stopped_ns = kms_mono_ns();
}

static void set_running(struct kms_gdb *gdb)
{
	uint64_t pause = kms_mono_ns() - gdb->stopped_ns;

	gdb->is_running = true;
	gdb->paused_ns += pause;
	if (pause > gdb->longest_ns)
		gdb->longest_ns = pause;
}

/* The next packet, acknowledged. Errors: -ETIMEDOUT, -EPIPE, -EIO; -EPROTO: there is no end of it */
static int next_packet(struct kms_gdb *gdb, uint64_t deadline_ns)
{
	for (size_t taken = 0; taken < PACKET_BYTES_MAX; taken += gdb->bytes) {
		ssize_t got;

		while (gdb->at < gdb->bytes) {
			enum kms_gdb_packet_step step =
				kms_gdb_packet_take(&gdb->packet, gdb->received[gdb->at++]);

			if (step == KMS_GDB_MORE)
				continue;
			if (step == KMS_GDB_COMPLETE)
				return kms_guest_send(gdb->fd, "+", 1, deadline_ns);
			(void)kms_guest_send(gdb->fd, "-", 1, deadline_ns); /* else it times out */
		}
		got = kms_guest_receive(gdb->fd, gdb->received, sizeof(gdb->received), deadline_ns);
		if (got < 0)
			return (int)got;
		gdb->at = 0;
		gdb->bytes = (size_t)got;
	}
	return -EPROTO;
}

static bool is_stop_reply(const char *text)
{
	return text[0] == 'T' || text[0] == 'S';
}

static int send_text(struct kms_gdb *gdb, const char *text, uint64_t deadline_ns)
{
	char framed[KMS_GDB_PACKET_BYTES + 8];
	size_t n = kms_gdb_packet_make(text, framed);

	return kms_guest_send(gdb->fd, framed, n, deadline_ns);
}

/* Sends a packet and waits for its answer, which is in gdb->packet.data. The guest stands. */
static int ask(struct kms_gdb *gdb, const char *text, bool *saw_stop, struct kms_err *err)
{
	uint64_t until = deadline(KMS_GDB_TIMEOUT_MS);
	int result;

	if (gdb->is_running)
		return failed(gdb, -EBUSY, err);
	result = send_text(gdb, text, until);
	for (unsigned i = 0; i < PACKETS && result == 0; i++) {
		result = next_packet(gdb, until);
		if (result == 0 && !is_stop_reply(gdb->packet.data))
			return 0;
		if (saw_stop)
			*saw_stop = true;
	}
	return failed(gdb, result ? result : -EPROTO, err);
}

static bool is_ok(const struct kms_gdb *gdb)
{
	return strcmp(gdb->packet.data, "OK") == 0;
}

/* A packet whose answer is OK. */
static int ask_ok(struct kms_gdb *gdb, const char *text, struct kms_err *err)
{
	int result = ask(gdb, text, NULL, err);

	if (result)
		return result;
	return is_ok(gdb) ? 0 : kms_err_set(err, -EIO, "the gdb stub refuses %.32s", text);
}

static int use_space(struct kms_gdb *gdb, enum kms_gdb_space space, struct kms_err *err)
{
	bool is_physical = space == KMS_GDB_PHYSICAL;
	int result = 0;

	if (is_physical != gdb->is_physical)
		result =
			ask_ok(gdb, is_physical ? "Qqemu.PhyMemMode:1" : "Qqemu.PhyMemMode:0", err);
	if (result == 0)
		gdb->is_physical = is_physical;
	return result;
}

int kms_gdb_read(struct kms_gdb *gdb, enum kms_gdb_space space, uint64_t address, void *to,
		 size_t bytes, struct kms_err *err)
{
	char text[64];
	char *at = to;
	int result = use_space(gdb, space, err);

	while (bytes && result == 0) {
		size_t part = bytes < KMS_GDB_DATA_BYTES ? bytes : (size_t)KMS_GDB_DATA_BYTES;

		(void)snprintf(text, sizeof(text), "m%llx,%zx", (unsigned long long)address,
			       part); /* fits */
		result = ask(gdb, text, NULL, err);
		if (result == 0 && !kms_gdb_unhex(gdb->packet.data, at, part))
			result = kms_err_set(err, -EFAULT, "the gdb stub has no memory at 0x%llx",
					     (unsigned long long)address);
		address += part;
		at += part;
		bytes -= part;
	}
	return result;
}

int kms_gdb_write(struct kms_gdb *gdb, enum kms_gdb_space space, uint64_t address, const void *from,
		  size_t bytes, struct kms_err *err)
{
	/* half of a read's: what comes in has less room in the stub */
	enum { PART = KMS_GDB_DATA_BYTES / 2 };

	char text[PART * 2 + 64];
	const char *at = from;
	int result = use_space(gdb, space, err);

	while (bytes && result == 0) {
		size_t part = bytes < PART ? bytes : (size_t)PART;
		int n = snprintf(text, sizeof(text), "M%llx,%zx:", (unsigned long long)address,
				 part);

		kms_gdb_hex(at, part, text + n);
		result = ask(gdb, text, NULL, err);
		if (result == 0 && !is_ok(gdb))
			result = kms_err_set(err, -EFAULT, "the gdb stub cannot write at 0x%llx",
					     (unsigned long long)address);
		address += part;
		at += part;
		bytes -= part;
	}
	return result;
}

int kms_gdb_register(struct kms_gdb *gdb, unsigned number, uint64_t *value, struct kms_err *err)
{
	uint8_t bytes[8] = {0};
	char text[16];
	size_t n;
	int result;

	(void)snprintf(text, sizeof(text), "p%x", number); /* fits */
	result = ask(gdb, text, NULL, err);
	if (result)
		return result;
	n = strlen(gdb->packet.data) / 2;
	if ((n != 4 && n != 8) || !kms_gdb_unhex(gdb->packet.data, bytes, n))
		return kms_err_set(err, -EIO, "the gdb stub has no register %u", number);
	*value = 0;
	for (size_t i = n; i > 0; i--)
		*value = *value << 8 | bytes[i - 1]; /* x86 is little-endian */
	return 0;
}

int kms_gdb_pc(struct kms_gdb *gdb, uint64_t *pc, struct kms_err *err)
{
	return kms_gdb_register(gdb, gdb->is_wide ? KMS_GDB_RIP : KMS_GDB_EIP, pc, err);
}

int kms_gdb_set_break(struct kms_gdb *gdb, uint64_t address, bool is_on, struct kms_err *err)
{
	char text[48];
	unsigned i = 0;
	int result;

	while (i < gdb->n_breaks && gdb->breaks[i] != address)
		i++;
	if ((i < gdb->n_breaks) == is_on)
		return 0;
	if (is_on && gdb->n_breaks == BREAKS)
		return kms_err_set(err, -ENOSPC, "%d break points are the most", BREAKS);
	/* hardware break points change no memory, and QEMU has as many as one likes */
	(void)snprintf(text, sizeof(text), "%c1,%llx,1", is_on ? 'Z' : 'z',
		       (unsigned long long)address); /* fits */
	result = ask_ok(gdb, text, err);
	if (result)
		return result;
	if (is_on)
		gdb->breaks[gdb->n_breaks++] = address;
	else
		gdb->breaks[i] = gdb->breaks[--gdb->n_breaks];
	return 0;
}

/* Adds what an O packet carries to the text of a monitor's answer. */
static int add_output(const char *hex, char **text, size_t *used)
{
	size_t n = strlen(hex) / 2;
	char *grown;

	if (*used + n + 1 > KMS_GDB_TEXT_BYTES)
		return -EMSGSIZE;
	grown = realloc(*text, *used + n + 1);
	if (!grown)
		return -ENOMEM;
	*text = grown;
	if (!kms_gdb_unhex(hex, grown + *used, n))
		return -EPROTO;
	*used += n;
	grown[*used] = '\0';
	return 0;
}

int kms_gdb_monitor(struct kms_gdb *gdb, const char *command, char **text, struct kms_err *err)
{
	char packet[2 * COMMAND_BYTES + 16] = "qRcmd,";
	uint64_t until = deadline(KMS_GDB_TIMEOUT_MS);
	size_t used = 0;
	int result = gdb->is_running ? -EBUSY : add_output("", text, &used);

	*text = result ? NULL : *text;
	if (result == 0 && strlen(command) > COMMAND_BYTES)
		result = -EMSGSIZE;
	if (result == 0) {
		kms_gdb_hex(command, strlen(command), packet + strlen(packet));
		result = send_text(gdb, packet, until);
	}
	for (unsigned i = 0; result == 0; i++) {
		result = i < KMS_GDB_TEXT_BYTES / 4 ? next_packet(gdb, until) : -EPROTO;
		if (result == 0 && gdb->packet.data[0] == 'O' && !is_ok(gdb))
			result = add_output(gdb->packet.data + 1, text, &used);
		else if (result == 0 && !is_stop_reply(gdb->packet.data))
			break;
	}
	if (result == 0 && is_ok(gdb))
		return 0;
	free(*text);
	*text = NULL;
	return result ? failed(gdb, result, err)
		      : kms_err_set(err, -EIO, "the gdb stub has no monitor");
}

int kms_gdb_layout(struct kms_gdb *gdb, struct kms_guest_layout *layout, struct kms_err *err)
{
	KMS_AUTO_FREE char *blocks = NULL;
	KMS_AUTO_FREE char *text = NULL;
	struct kms_memory_map map = {.names = 0};
	int result = kms_gdb_monitor(gdb, "info memdev", &blocks, err);

	if (result == 0)
		result = kms_gdb_monitor(gdb, "info mtree -f", &text, err);
	if (result)
		return result;
	kms_memory_map_add_names(&map, blocks);
	result = kms_memory_map_parse(&map, text, layout, err);
	for (size_t i = 0; result == 0 && i < layout->segments; i++)
		layout->segment[i].place = layout->segment[i].address;
	return result;
}

int kms_gdb_promise(struct kms_gdb *gdb, struct kms_err *err)
{
	pid_t guard;

	if (!gdb->was_stopped)
		return 0; /* it has a guard */
	guard = kms_gdb_guard_start(gdb->fd, err);
	if (guard < 0)
		return (int)guard;
	gdb->guard = guard;
	gdb->was_stopped = false;
	return 0;
}

int kms_gdb_go(struct kms_gdb *gdb, struct kms_err *err)
{
	int result;

	if (gdb->is_running)
		return 0;
	/* whoever lets it go wants it to go on from now on, whatever becomes of us */
	result = kms_gdb_promise(gdb, err);
	if (result)
		return result;
	/* what has no answer is not sent by ask() */
	result = send_text(gdb, "c", deadline(KMS_GDB_TIMEOUT_MS));
	if (result)
		return failed(gdb, result, err);
	set_running(gdb);
	return 0;
}

int kms_gdb_wait_stop(struct kms_gdb *gdb, int timeout_ms, struct kms_err *err)
{
	uint64_t until = deadline(timeout_ms);

	for (unsigned i = 0; gdb->is_running; i++) {
		int result = i < PACKETS ? next_packet(gdb, until) : -EPROTO;

		if (result == -ETIMEDOUT)
			return 0;
		if (result)
			return failed(gdb, result, err);
		if (is_stop_reply(gdb->packet.data))
			set_stopped(gdb);
	}
	return 1;
}

int kms_gdb_stop(struct kms_gdb *gdb, struct kms_err *err)
{
	static const char interrupt = INTERRUPT;
	int result;

	if (!gdb->is_running)
		return 0;
	result = kms_guest_send(gdb->fd, &interrupt, 1, deadline(KMS_GDB_TIMEOUT_MS));
	if (result)
		return failed(gdb, result, err);
	result = kms_gdb_wait_stop(gdb, KMS_GDB_TIMEOUT_MS, err);
	if (result == 0)
		return failed(gdb, -ETIMEDOUT, err);
	return result < 0 ? result : 0;
}

/* What it is that answers; a stop reply before the first answer says that the guest ran. */
static int greet(struct kms_gdb *gdb, const char *address, struct kms_err *err)
{
	bool saw_stop = false;
	int result = ask(gdb, "qSupported:multiprocess+", &saw_stop, err);

	if (result == -ETIMEDOUT)
		return kms_err_set(err, result,
				   "%.100s does not answer: another debugger has it (a gdb stub "
				   "serves one at a time), or it is no gdb stub",
				   address);
	if (result) {
		(void)kms_err_context(err, "%.100s is no gdb stub that answers", address);
		return result;
	}
	gdb->was_stopped = !saw_stop;
	if (!strstr(gdb->packet.data, "PacketSize="))
		return kms_err_set(err, -EPROTO, "%.100s is not a gdb stub", address);
	result = ask(gdb, "qXfer:features:read:target.xml:0,ff0", NULL, err);
	if (result == 0 && strstr(gdb->packet.data, "<architecture>") &&
	    !strstr(gdb->packet.data, "<architecture>i386"))
		return kms_err_set(err, -EOPNOTSUPP,
				   "%.100s is the gdb stub of another processor than x86", address);
	gdb->is_wide = strstr(gdb->packet.data, "<architecture>i386:x86-64") != NULL;
	return result;
}

static void find_peer(struct kms_gdb *gdb)
{
	struct ucred peer;
	int domain = 0;
	socklen_t n = sizeof(domain);

	if (getsockopt(gdb->fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) || domain != AF_UNIX)
		return;
	n = sizeof(peer);
	if (getsockopt(gdb->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0)
		gdb->peer = peer.pid;
}

int kms_gdb_open(const char *address, struct kms_gdb **gdb, struct kms_err *err)
{
	struct kms_gdb *made = calloc(1, sizeof(*made));
	int result;

	if (!made)
		return kms_err_set(err, -ENOMEM, "no memory for a guest");
	made->stopped_ns = kms_mono_ns();
	made->fd = kms_guest_connect(address, deadline(KMS_GDB_TIMEOUT_MS), err);
	if (made->fd < 0) {
		result = made->fd;
		free(made);
		return result;
	}
	find_peer(made);
	/* before anything else: from now on the guest stands */
	made->guard = kms_gdb_guard_start(made->fd, err);
	result = made->guard < 0 ? (int)made->guard : greet(made, address, err);
	if (result) {
		/* whoever did not answer is not waited for a second time; a late stub takes this, too */
		(void)send_text(made, "D;1", deadline(0));
		made->is_closed = true;
		kms_gdb_close(made);
		return result;
	}
	if (made->was_stopped) {
		/* whatever becomes of us, it stays as it was */
		kms_gdb_guard_end(made->guard);
		made->guard = 0;
	}
	*gdb = made;
	return 0;
}

/* Away, as we came: break points removed, virtual addresses, running if it ran. */
static void detach(struct kms_gdb *gdb)
{
	if (kms_gdb_stop(gdb, NULL))
		return;
	while (gdb->n_breaks && kms_gdb_set_break(gdb, gdb->breaks[0], false, NULL) == 0)
		;
	(void)use_space(gdb, KMS_GDB_VIRTUAL,
			NULL); /* the emulator may have gone: then nothing helps */
	if (!gdb->was_stopped)
		(void)ask_ok(gdb, "D;1", NULL); /* as above */
}

void kms_gdb_close(struct kms_gdb *gdb)
{
	if (!gdb)
		return;
	if (!gdb->is_closed)
		detach(gdb);
	kms_gdb_guard_end(gdb->guard);
	(void)close(gdb->fd); /* nothing is under way */
	free(gdb);
}

bool kms_gdb_is_running(const struct kms_gdb *gdb)
{
	return gdb->is_running;
}

bool kms_gdb_was_stopped(const struct kms_gdb *gdb)
{
	return gdb->was_stopped;
}

uint64_t kms_gdb_paused_ns(const struct kms_gdb *gdb)
{
	return gdb->paused_ns + (gdb->is_running ? 0 : kms_mono_ns() - gdb->stopped_ns);
}

uint64_t kms_gdb_longest_pause_ns(const struct kms_gdb *gdb)
{
	uint64_t now = gdb->is_running ? 0 : kms_mono_ns() - gdb->stopped_ns;

	return now > gdb->longest_ns ? now : gdb->longest_ns;
}

int kms_gdb_fd(const struct kms_gdb *gdb)
{
	return gdb->fd;
}

pid_t kms_gdb_peer(const struct kms_gdb *gdb)
{
	return gdb->peer;
}

pid_t kms_gdb_guard(const struct kms_gdb *gdb)
{
	return gdb->guard;
}
