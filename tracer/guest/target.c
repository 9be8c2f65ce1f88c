/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of guests: see target.h. */
#include "tracer/guest/target.h"

#include <errno.h>
#include <string.h>

#include "base/fmt.h"

static const struct {
	const char *prefix;
	enum kms_guest_target_kind kind;
} prefixes[] = {
	{"qemu:pid:", KMS_GUEST_TARGET_PID}, /* before the next, which it begins with */
	{"qemu:",     KMS_GUEST_TARGET_QMP},
	{"ram:",      KMS_GUEST_TARGET_RAM},
	{"gdb:",      KMS_GUEST_TARGET_GDB},
};

static const char *rest_of(const char *text, enum kms_guest_target_kind *kind)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t length = strlen(prefixes[i].prefix);

		if (strncmp(text, prefixes[i].prefix, length) == 0) {
			*kind = prefixes[i].kind;
			return text + length;
		}
	}
	return NULL;
}

bool kms_guest_target_is(const char *text)
{
	enum kms_guest_target_kind kind;

	return rest_of(text, &kind) != NULL;
}

static int parse_pid(const char *text, struct kms_guest_target *target, struct kms_err *err)
{
	uint64_t pid;
	int result = text[0] == '0' ? -EINVAL : kms_parse_u64(text, &pid);

	if (result == 0 && pid > INT32_MAX)
		result = -ERANGE;
	if (result || strspn(text, "0123456789") != strlen(text))
		return kms_err_set(err, result ? result : -EINVAL,
				   "qemu:pid:%.64s: that is no process's number", text);
	target->pid = (pid_t)pid;
	return 0;
}

static int copy_path(struct kms_guest_target *target, const char *text, size_t length,
		     struct kms_err *err)
{
	if (length == 0)
		return kms_err_set(err, -EINVAL,
				   "a guest is qemu:pid:N, qemu:QMP-SOCKET, ram:FILE[+OFFSET] or "
				   "gdb:SOCKET (a path or HOST:PORT)");
	if (length >= sizeof(target->path))
		return kms_err_set(err, -ENAMETOOLONG, "the path of the guest is too long");
	memcpy(target->path, text, length);
	target->path[length] = '\0';
	return 0;
}

/* FILE[+OFFSET]: what follows the last plus sign counts if it is a number. */
static int parse_file(const char *text, struct kms_guest_target *target, struct kms_err *err)
{
	const char *plus = strrchr(text, '+');
	size_t length = strlen(text);
	int result = plus ? kms_parse_u64(plus + 1, &target->offset) : -EINVAL;

	if (result == -ERANGE || (result == 0 && target->offset > INT64_MAX))
		return kms_err_set(err, -ERANGE, "no file is that long: %.64s", plus);
	if (result == 0)
		length = (size_t)(plus - text);
	else
		target->offset = 0;
	return copy_path(target, text, length, err);
}

int kms_guest_target_parse(const char *text, struct kms_guest_target *target, struct kms_err *err)
{
	const char *rest;

	memset(target, 0, sizeof(*target));
	rest = rest_of(text, &target->kind);
	if (rest && target->kind == KMS_GUEST_TARGET_PID)
		return parse_pid(rest, target, err);
	if (rest && target->kind == KMS_GUEST_TARGET_RAM)
		return parse_file(rest, target, err);
	return copy_path(target, rest ? rest : "", rest ? strlen(rest) : 0, err);
}

bool kms_guest_address_split(const char *text, char *host, size_t host_bytes, unsigned *port)
{
	const char *colon = strrchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : 0;
	uint64_t number;

	if (!colon || strchr(text, '/') || kms_parse_u64(colon + 1, &number) || number == 0 ||
	    number > UINT16_MAX || strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return false;
	if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	} else if (memchr(text, ':', length)) {
		return false;
	}
	if (length >= host_bytes || (length == 0 && sizeof("localhost") > host_bytes))
		return false;
	memcpy(host, length ? text : "localhost", length ? length : sizeof("localhost"));
	if (length)
		host[length] = '\0';
	*port = (unsigned)number;
	return true;
}
