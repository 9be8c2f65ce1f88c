/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * May whoever speaks to the daemon have this guest? See daemon_impl.h. A client can be the daemon's own
 * user, root, or the holder of a token for writing; none of them may get at more through us than the
 * daemon's user gets at without us. What can be known is looked at before anything is opened.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/daemon_impl.h"
#include "tracer/guest/target.h"

enum {
	HOST_BYTES = 128,
};

int daemon_guest_check_user(uid_t user, const char *what, struct kms_err *err)
{
	if (user == geteuid() || geteuid() == 0)
		return 0;
	return kms_err_set(
		err, -EPERM,
		"%.200s is of user %u, and the daemon is not: `kmemscope attach` as that "
		"user, or as root",
		what, (unsigned)user);
}

/* Nobody is sent through us to other machines. */
static int check_host(const char *what, const char *host, struct kms_err *err)
{
	if (!strcmp(host, "localhost") || !strcmp(host, "::1") || !strncmp(host, "127.", 4))
		return 0;
	return kms_err_set(err, -EPERM,
			   "%.200s: the daemon takes guests of this machine only; `kmemscope "
			   "attach` takes that one",
			   what);
}

static int check_path(const char *what, const char *path, struct kms_err *err)
{
	struct stat st;

	if (path[0] != '/')
		return kms_err_set(
			err, -EINVAL,
			"%.200s: the daemon is in another folder; an absolute path, please", what);
	if (stat(path, &st) < 0)
		return kms_err_sys(err, -errno, "guest", path);
	return daemon_guest_check_user(st.st_uid, what, err);
}

static int check_process(const char *what, pid_t pid, struct kms_err *err)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%ld", (long)pid);
	if (pid <= 0 || stat(path, &st) < 0)
		return kms_err_set(err, -ESRCH, "there is no process %ld", (long)pid);
	return daemon_guest_check_user(st.st_uid, what, err);
}

static int check(const char *what, const struct kms_guest_target *target, struct kms_err *err)
{
	char host[HOST_BYTES];
	unsigned port;

	if (target->kind == KMS_GUEST_TARGET_PID)
		return check_process(what, target->pid, err);
	if (target->kind != KMS_GUEST_TARGET_RAM &&
	    kms_guest_address_split(target->path, host, sizeof(host), &port))
		return check_host(what, host, err);
	return check_path(what, target->path, err);
}

int daemon_guest_new(const char *what, struct daemon_run **out, struct kms_err *err)
{
	struct kms_guest_target target;
	struct daemon_guest *guest;
	struct daemon_run *run;
	int result = kms_guest_target_parse(what, &target, err);

	if (!result)
		result = check(what, &target, err);
	if (result)
		return result;
	run = daemon_run_new();
	guest = calloc(1, sizeof(*guest));
	if (!run || !guest) {
		free(run);
		free(guest);
		return kms_err_set(err, -ENOMEM, "no memory for a run");
	}
	snprintf(guest->target, sizeof(guest->target), "%s", what); /* a path and a prefix: fits */
	run->guest = guest;
	run->pid = target.kind == KMS_GUEST_TARGET_PID ? target.pid : 0;
	snprintf(run->name, sizeof(run->name), "guest"); /* until it is open */
	*out = run;
	return 0;
}
