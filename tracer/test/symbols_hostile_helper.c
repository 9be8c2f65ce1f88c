/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A symbol helper as an attacker would have it. What it does stands in HOSTILE_MODE; it speaks the wire format with the
 * project's own encoder and then breaks it.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tracer/symbols_wire.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): a program of one thread */

enum { FD = KMS_SYMBOLS_WIRE_FD, EVIL_MODULES_MAX = 64 };

struct hostile {
	struct kms_symbols_wire_in in;
	struct kms_symbols_wire_out out;
	const char *mode;
	uint64_t rng;
	bool is_evil[EVIL_MODULES_MAX]; /* the module's path has "evil" in it */
};

static uint32_t random_u32(struct hostile *hostile)
{
	/* Knuth's MMIX generator */
	hostile->rng = hostile->rng * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(hostile->rng >> 32);
}

static bool is_mode(const struct hostile *hostile, const char *mode)
{
	return strcmp(hostile->mode, mode) == 0;
}

static void flush(struct hostile *hostile)
{
	if (hostile->out.used > 0 &&
	    send(FD, hostile->out.data, hostile->out.used, MSG_NOSIGNAL) < 0)
		exit(0); /* the resolver has had enough */
	hostile->out.used = 0;
}

static struct kms_symbols_wire_message receive(struct hostile *hostile)
{
	struct kms_symbols_wire_message msg;
	for (;;) {
		int rc = kms_symbols_wire_in_next(&hostile->in, &msg);
		if (rc == 1)
			return msg;
		uint8_t *room;
		size_t n_room;
		if (rc < 0 || kms_symbols_wire_in_room(&hostile->in, &room, &n_room) != 0)
			exit(3);
		ssize_t n = recv(FD, room, n_room, 0);
		if (n <= 0)
			exit(0);
		hostile->in.used += (size_t)n;
	}
}

static void wait_for_ever(void)
{
	for (;;)
		(void)poll(NULL, 0, -1);
}

/* What an honest helper would say of a file without symbols. */
static void put_honest(struct hostile *hostile, const struct kms_symbols_wire_message *msg,
		       size_t first, size_t n)
{
	static const struct kms_symbols_wire_answer none = {.reason = KMS_SYMBOL_NO_SYMBOL};
	kms_symbols_wire_begin_answers(&hostile->out, msg->request, (uint32_t)first);
	for (size_t i = 0; i < n; i++)
		kms_symbols_wire_put_answer(&hostile->out, &none);
	kms_symbols_wire_end(&hostile->out);
}

/* Answers full of the longest names, all different. */
static void put_long_names(struct hostile *hostile, const struct kms_symbols_wire_message *msg,
			   size_t n)
{
	static char name[KMS_SYMBOLS_NAME_BYTES];
	struct kms_symbols_wire_answer answer = {.reason = KMS_SYMBOL_OK, .n_frames = 1};
	memset(name, 'x', sizeof(name));
	answer.frames[0].function.text = name;
	answer.frames[0].function.n = sizeof(name);
	for (size_t i = 0; i < n; i++) {
		int n_digits = snprintf(name, sizeof(name), "%u", random_u32(hostile));
		name[n_digits] = 'x';
		kms_symbols_wire_begin_answers(&hostile->out, msg->request, (uint32_t)i);
		kms_symbols_wire_put_answer(&hostile->out, &answer);
		kms_symbols_wire_end(&hostile->out);
	}
}

/* An answer with some frames of which bytes are then changed. */
static void put_mutated(struct hostile *hostile, const struct kms_symbols_wire_message *msg,
			size_t n)
{
	struct kms_symbols_wire_answer answer = {.reason = KMS_SYMBOL_OK, .n_frames = 3};
	for (uint32_t i = 0; i < 3; i++) {
		answer.frames[i].function = (struct kms_symbols_wire_text){"function", 8};
		answer.frames[i].file = (struct kms_symbols_wire_text){"/file", 5};
		answer.frames[i].inlined = i < 2;
	}
	size_t start = hostile->out.used;
	kms_symbols_wire_begin_answers(&hostile->out, msg->request, 0);
	for (size_t i = 0; i < n; i++)
		kms_symbols_wire_put_answer(&hostile->out, &answer);
	kms_symbols_wire_end(&hostile->out);
	for (uint32_t n_changes = 1 + random_u32(hostile) % 4; n_changes > 0; n_changes--) {
		size_t at = start + random_u32(hostile) % (hostile->out.used - start);
		hostile->out.data[at] = (uint8_t)random_u32(hostile);
	}
}

static void put_noise(struct hostile *hostile, size_t n)
{
	kms_symbols_wire_begin(&hostile->out, KMS_SYMBOLS_WIRE_ANSWER, 0);
	size_t at = hostile->out.used - KMS_SYMBOLS_WIRE_HEADER_BYTES;
	for (size_t i = 0; i < KMS_SYMBOLS_WIRE_HEADER_BYTES && i < n; i++)
		hostile->out.data[at + i] = (uint8_t)random_u32(hostile);
}

static void handle_request(struct hostile *hostile, const struct kms_symbols_wire_message *msg)
{
	static struct kms_symbols_wire_entry entries[KMS_SYMBOLS_WIRE_BATCH];
	struct kms_symbols_wire_message wrong = *msg;
	uint32_t budget_ms;
	size_t n, n_good = 0;
	if (kms_symbols_wire_get_request(msg, &budget_ms, entries, &n) != 0)
		exit(3);
	while (n_good < n && !hostile->is_evil[entries[n_good].module % EVIL_MODULES_MAX])
		n_good++;
	wrong.request++;
	if (is_mode(hostile, "silent"))
		wait_for_ever();
	else if (is_mode(hostile, "die"))
		exit(0);
	else if (is_mode(hostile, "killed"))
		(void)raise(SIGKILL); /* does not come back */
	else if (is_mode(hostile, "mutated"))
		put_mutated(hostile, msg, n);
	else if (is_mode(hostile, "noise"))
		put_noise(hostile, KMS_SYMBOLS_WIRE_HEADER_BYTES);
	else if (is_mode(hostile, "too_many"))
		put_honest(hostile, msg, 0, n + 1);
	else if (is_mode(hostile, "wrong_place"))
		put_honest(hostile, msg, 1, n);
	else if (is_mode(hostile, "wrong_request"))
		put_honest(hostile, &wrong, 0, n);
	else if (is_mode(hostile, "empty_messages"))
		put_honest(hostile, msg, 0, 0);
	else if (is_mode(hostile, "long_names"))
		put_long_names(hostile, msg, n);
	else if (n_good > 0)
		put_honest(hostile, msg, 0, n_good);
	flush(hostile);
	if (n_good < n && is_mode(hostile, "die_of_evil"))
		exit(0);
	if (n_good < n && is_mode(hostile, "hang_of_evil"))
		wait_for_ever();
}

static void handle_module(struct hostile *hostile, const struct kms_symbols_wire_message *msg)
{
	struct kms_symbols_wire_module module;
	if (kms_symbols_wire_get_module(msg, &module) != 0)
		exit(3);
	hostile->is_evil[module.id % EVIL_MODULES_MAX] =
		memmem(module.path, module.n_path, "evil", 4) != NULL;
}

static void greet(struct hostile *hostile)
{
	if (is_mode(hostile, "exit"))
		exit(0);
	if (is_mode(hostile, "rude"))
		put_noise(hostile, KMS_SYMBOLS_WIRE_HEADER_BYTES);
	else if (is_mode(hostile, "mute"))
		wait_for_ever();
	else {
		kms_symbols_wire_begin(&hostile->out, KMS_SYMBOLS_WIRE_READY, 0);
		kms_symbols_wire_end(&hostile->out);
	}
	flush(hostile);
}

int main(void)
{
	static struct hostile hostile;
	const char *seed = getenv("HOSTILE_SEED");
	hostile.mode = getenv("HOSTILE_MODE") ? getenv("HOSTILE_MODE") : "";
	hostile.rng = seed ? strtoull(seed, NULL, 10) : 1;
	for (;;) {
		struct kms_symbols_wire_message msg = receive(&hostile);
		if (msg.type == KMS_SYMBOLS_WIRE_CONFIG)
			greet(&hostile);
		else if (msg.type == KMS_SYMBOLS_WIRE_MODULE)
			handle_module(&hostile, &msg);
		else
			handle_request(&hostile, &msg);
	}
}

/* NOLINTEND(concurrency-mt-unsafe) */
