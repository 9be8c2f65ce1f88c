/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QMP: see qmp.h.
 *
 * A message ends where its braces do, whether it stands in one line or, as with pretty=on, in many.
 * One is taken from the socket at a time; events among them are kept until somebody asks.
 */
#include "tracer/guest/qmp.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/guest/connect.h"
#include "tracer/guest/json_end.h"
#include "tracer/guest/memory_map.h"
#include "tracer/guest/qemu_args.h"
#include "tracer/process.h"

#define MS UINT64_C(1000000)

enum {
	ROOM_BYTES = 1 << 16, /* of the buffer at first; it grows */
	MESSAGES = 4096,      /* that may come before the answer to a command, or an event */
};

struct kms_qmp {
	int fd;
	pid_t peer;
	char *buffer;
	size_t used, room;
	struct kms_json_end end; /* how far the buffer was looked through */
	unsigned number;         /* of the last command */
	struct kms_qmp_event event[KMS_QMP_EVENTS];
	unsigned first, events; /* the oldest and how many; when full the oldest goes */
};

static uint64_t deadline(unsigned timeout_ms)
{
	return kms_mono_ns() + timeout_ms * MS;
}

static int make_room(struct kms_qmp *qmp)
{
	size_t room = qmp->room * 2;
	char *buffer;

	if (qmp->used < qmp->room)
		return 0;
	if (room > KMS_QMP_MESSAGE_BYTES)
		return -EMSGSIZE;
	buffer = realloc(qmp->buffer, room);
	if (!buffer)
		return -ENOMEM;
	qmp->buffer = buffer;
	qmp->room = room;
	return 0;
}

/* Takes the first message out of the buffer if all of it is there. */
static int take_message(struct kms_qmp *qmp, cJSON **message)
{
	size_t bytes = 0;
	int found = kms_json_end_find(&qmp->end, qmp->buffer, qmp->used, &bytes);

	*message = NULL;
	if (found <= 0)
		return found;
	*message = cJSON_ParseWithLength(qmp->buffer, bytes);
	memmove(qmp->buffer, qmp->buffer + bytes, qmp->used - bytes);
	qmp->used -= bytes;
	memset(&qmp->end, 0, sizeof(qmp->end));
	return *message && cJSON_IsObject(*message) ? 0 : -EPROTO;
}

/* The next message of any kind. Errors: -ETIMEDOUT: none; else the channel is of no more use */
static int next_message(struct kms_qmp *qmp, uint64_t deadline_ns, cJSON **message)
{
	for (;;) {
		int result = take_message(qmp, message);
		ssize_t got;

		if (result == 0 && *message)
			return 0;
		if (result == 0)
			result = make_room(qmp);
		if (result) {
			cJSON_Delete(*message);
			*message = NULL;
			return result;
		}
		got = kms_guest_receive(qmp->fd, qmp->buffer + qmp->used, qmp->room - qmp->used,
					deadline_ns);
		if (got < 0)
			return (int)got;
		qmp->used += (size_t)got;
	}
}

static void copy_word(char word[KMS_QMP_WORD_BYTES], const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

	kms_qemu_copy(word, KMS_QMP_WORD_BYTES, text ? text : "");
	for (char *at = word; *at; at++) {
		if (*at < ' ' || *at > '~')
			*at = '?';
	}
}

static void keep_event(struct kms_qmp *qmp, const cJSON *message)
{
	static const char *const reasons[] = {"reason", "status", "action"};
	const cJSON *data = cJSON_GetObjectItemCaseSensitive(message, "data");
	struct kms_qmp_event event = {0};

	copy_word(event.name, message, "event");
	if (!*event.name)
		return;
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]) && !*event.reason; i++)
		copy_word(event.reason, data, reasons[i]);
	if (qmp->events == KMS_QMP_EVENTS) {
		qmp->first = (qmp->first + 1) % KMS_QMP_EVENTS;
		qmp->events--;
	}
	qmp->event[(qmp->first + qmp->events++) % KMS_QMP_EVENTS] = event;
}

/* What QEMU says of a command that it refuses. */
static int refused(const cJSON *error, struct kms_err *err)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, "desc"));
	char copy[128];

	kms_qemu_copy(copy, sizeof(copy), text ? text : "no reason given");
	for (char *at = copy; *at; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
	}
	return kms_err_set(err, -EIO, "QEMU refuses: %s", copy);
}

static int failed(int result, struct kms_err *err)
{
	return kms_err_sys(err, result, "QMP", NULL);
}

/* Sends a command and waits for its answer: the "return" of it, which is in *message. */
static int ask(struct kms_qmp *qmp, const char *command, const cJSON *arguments, cJSON **message,
	       const cJSON **answer, struct kms_err *err)
{
	KMS_AUTO_FREE char *text = arguments ? cJSON_PrintUnformatted(arguments) : NULL;
	KMS_AUTO_FREE char *line = NULL;
	uint64_t until = deadline(KMS_QMP_TIMEOUT_MS);
	int result;

	*message = NULL;
	if (arguments && !text)
		return failed(-ENOMEM, err);
	if (asprintf(&line, "{\"execute\":\"%s\",\"arguments\":%s,\"id\":%u}\n", command,
		     text ? text : "{}", ++qmp->number) < 0) {
		line = NULL;
		return failed(-ENOMEM, err);
	}
	result = kms_guest_send(qmp->fd, line, strlen(line), until);
	for (unsigned i = 0; i < MESSAGES && result == 0; i++) {
		const cJSON *id, *error;

		cJSON_Delete(*message);
		result = next_message(qmp, until, message);
		if (result)
			break;
		keep_event(qmp, *message);
		id = cJSON_GetObjectItemCaseSensitive(*message, "id");
		if (!cJSON_IsNumber(id) || id->valuedouble != (double)qmp->number)
			continue;
		error = cJSON_GetObjectItemCaseSensitive(*message, "error");
		*answer = cJSON_GetObjectItemCaseSensitive(*message, "return");
		if (error)
			return refused(error, err);
		return *answer ? 0 : failed(-EPROTO, err);
	}
	return failed(result ? result : -EPROTO, err);
}

/* Asks and copies the answer. Owner: the caller deletes *answer */
static int ask_copy(struct kms_qmp *qmp, const char *command, const cJSON *arguments,
		    cJSON **answer, struct kms_err *err)
{
	cJSON *message;
	const cJSON *found = NULL;
	int result = ask(qmp, command, arguments, &message, &found, err);

	*answer = result ? NULL : cJSON_Duplicate(found, 1);
	cJSON_Delete(message);
	return result || *answer ? result : failed(-ENOMEM, err);
}

int kms_qmp_command(struct kms_qmp *qmp, const char *command, struct kms_err *err)
{
	cJSON *answer;
	int result = ask_copy(qmp, command, NULL, &answer, err);

	cJSON_Delete(answer);
	return result;
}

int kms_qmp_status(struct kms_qmp *qmp, char status[KMS_QMP_WORD_BYTES], bool *is_running,
		   struct kms_err *err)
{
	cJSON *answer;
	int result = ask_copy(qmp, "query-status", NULL, &answer, err);

	copy_word(status, answer, "status");
	*is_running = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "running"));
	cJSON_Delete(answer);
	return result;
}

int kms_qmp_monitor(struct kms_qmp *qmp, const char *command, char **text, struct kms_err *err)
{
	cJSON *arguments = cJSON_CreateObject();
	cJSON *answer = NULL;
	int result = -ENOMEM;

	*text = NULL;
	if (cJSON_AddStringToObject(arguments, "command-line", command))
		result = ask_copy(qmp, "human-monitor-command", arguments, &answer, err);
	else
		(void)failed(result, err); /* has the same code */
	if (result == 0) {
		*text = cJSON_IsString(answer) ? strdup(answer->valuestring) : NULL;
		if (!*text)
			result = failed(cJSON_IsString(answer) ? -ENOMEM : -EPROTO, err);
	}
	cJSON_Delete(arguments);
	cJSON_Delete(answer);
	return result;
}

/* Address in QEMU of a guest-physical one. */
static int host_address(struct kms_qmp *qmp, uint64_t address, uint64_t *host, struct kms_err *err)
{
	char command[48], *text = NULL;
	const char *at;
	int result;

	(void)snprintf(command, sizeof(command), "gpa2hva 0x%llx",
		       (unsigned long long)address); /* fits */
	result = kms_qmp_monitor(qmp, command, &text, err);
	if (result) {
		free(text); /* NULL */
		return result;
	}
	at = text ? strstr(text, ") is 0x") : NULL;
	*host = at ? strtoull(at + 5, NULL, 16) : 0;
	free(text);
	if (*host == 0 || *host > INT64_MAX || *host % 4096)
		return kms_err_set(err, -EPROTO, "QEMU has no memory of the guest at 0x%llx",
				   (unsigned long long)address);
	return 0;
}

/* Names of the blocks that are RAM and not, say, of a graphics card. */
static int block_names(struct kms_qmp *qmp, struct kms_memory_map *map, struct kms_err *err)
{
	cJSON *answer, *item;
	int result = ask_copy(qmp, "query-memdev", NULL, &answer, err);

	cJSON_ArrayForEach(item, answer)
	{
		if (map->names < KMS_MEMORY_MAP_NAMES) {
			copy_word(map->name[map->names], item, "id");
			map->names += *map->name[map->names] != '\0';
		}
	}
	cJSON_Delete(answer);
	return result;
}

int kms_qmp_layout(struct kms_qmp *qmp, struct kms_guest_layout *layout, struct kms_err *err)
{
	struct kms_memory_map map = {.names = 0};
	char *text = NULL;
	int result = block_names(qmp, &map, err);

	if (result == 0)
		result = kms_qmp_monitor(qmp, "info mtree -f", &text, err);
	if (result == 0)
		result = kms_memory_map_parse(&map, text, layout, err);
	free(text);
	for (size_t i = 0; result == 0 && i < layout->segments; i++)
		result = host_address(qmp, layout->segment[i].address, &layout->segment[i].place,
				      err);
	return result ? result : kms_guest_layout_check(layout, err);
}

int kms_qmp_next_event(struct kms_qmp *qmp, int timeout_ms, struct kms_qmp_event *event,
		       struct kms_err *err)
{
	uint64_t until = deadline(timeout_ms > 0 ? (unsigned)timeout_ms : 0);

	for (unsigned i = 0; qmp->events == 0; i++) {
		cJSON *message = NULL;
		int result = i < MESSAGES ? next_message(qmp, until, &message) : -EPROTO;

		if (result == -ETIMEDOUT)
			return 0;
		if (result)
			return failed(result, err);
		keep_event(qmp, message);
		cJSON_Delete(message);
	}
	*event = qmp->event[qmp->first];
	qmp->first = (qmp->first + 1) % KMS_QMP_EVENTS;
	qmp->events--;
	return 1;
}

int kms_qmp_fd(const struct kms_qmp *qmp)
{
	return qmp->fd;
}

pid_t kms_qmp_peer(const struct kms_qmp *qmp)
{
	return qmp->peer;
}

static void find_peer(struct kms_qmp *qmp)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	int domain = 0;
	socklen_t m = sizeof(domain);

	if (getsockopt(qmp->fd, SOL_SOCKET, SO_DOMAIN, &domain, &m) == 0 && domain == AF_UNIX &&
	    getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0)
		qmp->peer = peer.pid;
}

static int greet(struct kms_qmp *qmp, unsigned timeout_ms, const char *address, struct kms_err *err)
{
	cJSON *message = NULL;
	int result = next_message(qmp, deadline(timeout_ms), &message);

	if (result == -ETIMEDOUT)
		return kms_err_set(err, -EBUSY,
				   "%.100s does not answer: another client has this QMP socket, or "
				   "it is none",
				   address);
	if (result == 0 && !cJSON_GetObjectItemCaseSensitive(message, "QMP"))
		result = -EPROTO;
	cJSON_Delete(message);
	if (result == -EPROTO)
		return kms_err_set(err, result, "%.100s is not a QMP socket", address);
	if (result)
		return failed(result, err);
	return kms_qmp_command(qmp, "qmp_capabilities", err);
}

int kms_qmp_open(const char *address, unsigned timeout_ms, struct kms_qmp **qmp,
		 struct kms_err *err)
{
	struct kms_qmp *made = calloc(1, sizeof(*made));
	int result;

	if (!made)
		return failed(-ENOMEM, err);
	made->room = ROOM_BYTES;
	made->buffer = malloc(made->room);
	made->fd = made->buffer ? kms_guest_connect(address, deadline(timeout_ms), err)
				: failed(-ENOMEM, err);
	result = made->fd < 0 ? made->fd : 0;
	if (result == 0) {
		find_peer(made);
		result = greet(made, timeout_ms, address, err);
	}
	if (result) {
		kms_qmp_close(made);
		return result;
	}
	*qmp = made;
	return 0;
}

void kms_qmp_close(struct kms_qmp *qmp)
{
	if (!qmp)
		return;
	if (qmp->fd >= 0)
		(void)close(qmp->fd); /* nothing is under way that matters */
	free(qmp->buffer);
	free(qmp);
}
