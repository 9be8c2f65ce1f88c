/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU processes in /proc: see qemu.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tracer/guest/qemu.h"
#include "tracer/guest/qemu_args.h"

static const char deleted[] = " (deleted)";

/* Names of programs; one that ends in * begins so. The first that fits counts. */
static const struct {
	const char *name;
	int result;
} programs[] = {
	{"qemu-system-x86_64*", 0          },
	{"qemu-system-i386*",   0          },
	{"qemu-kvm",            0          }, /* of RHEL and its kin, on x86 */
	{"qemu-system-*",       -EOPNOTSUPP},
};

static bool fits(const char *pattern, const char *text)
{
	size_t length = strlen(pattern);

	if (pattern[length - 1] == '*')
		return strncmp(text, pattern, length - 1) == 0;
	return strcmp(text, pattern) == 0;
}

int kms_qemu_program_check(const char *program)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (fits(programs[i].name, program))
			return programs[i].result;
	}
	return -EINVAL;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Target of a link in /proc/PID, without the mark of a deleted file. */
static int read_link(pid_t pid, const char *name, char text[PATH_MAX])
{
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name); /* fits */
	n = readlink(path, text, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	if ((size_t)n >= sizeof(deleted) && strcmp(text + n - (sizeof(deleted) - 1), deleted) == 0)
		text[n - (ssize_t)(sizeof(deleted) - 1)] = '\0';
	return 0;
}

/* Who may read a process's links is who may trace it; its command line is everybody's. */
static int look_program(struct kms_qemu *qemu, const char *command)
{
	char path[PATH_MAX];
	int result = read_link(qemu->pid, "exe", path);

	if (result == 0) {
		kms_qemu_copy(qemu->program, sizeof(qemu->program), base_name(path));
		return kms_qemu_program_check(qemu->program);
	}
	kms_qemu_copy(qemu->program, sizeof(qemu->program), base_name(command));
	if (kms_qemu_program_check(qemu->program) == -EINVAL)
		return -EINVAL;
	return result == -EACCES || result == -EPERM ? -EPERM : result;
}

static int say(const struct kms_qemu *qemu, int result, struct kms_err *err)
{
	switch (result) {
	case 0:
		return 0;
	case -EPERM:
		return kms_qemu_forbidden(qemu, err);
	case -EOPNOTSUPP:
		return kms_err_set(
			err, result,
			"process %d is %s: guests of other processors than x86 cannot be "
			"looked into",
			(int)qemu->pid, qemu->program);
	case -EINVAL:
		return kms_err_set(err, result, "process %d (%s) is not a QEMU", (int)qemu->pid,
				   *qemu->program ? qemu->program : "no program");
	default:
		return kms_err_set(err, -ESRCH, "there is no process %d", (int)qemu->pid);
	}
}

static int look_owner(struct kms_qemu *qemu)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d", (int)qemu->pid); /* fits */
	if (qemu->pid <= 0 || stat(path, &st) != 0)
		return -ESRCH;
	qemu->uid = st.st_uid;
	return 0;
}

int kms_qemu_look(pid_t pid, struct kms_qemu *qemu, struct kms_err *err)
{
	KMS_AUTO_FREE char *command = NULL;
	char path[64];
	size_t n = 0;
	int result, parsed;

	memset(qemu, 0, sizeof(*qemu));
	qemu->pid = pid;
	qemu->options.qmp_fd = -1;
	result = look_owner(qemu);
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid); /* fits */
	if (result == 0)
		result = kms_read_file(path, KMS_QEMU_COMMAND_BYTES, &command, &n, NULL);
	if (result == -EFBIG)
		return say(qemu, -EINVAL, err);
	/* a zombie and a thread of the kernel have no words */
	if (result || n == 0)
		return say(qemu, result ? -ESRCH : -EINVAL, err);
	result = look_program(qemu, command);
	if (result == -EINVAL || result == -ESRCH || result == -ENOENT)
		return say(qemu, result, err);
	parsed = kms_qemu_parse(command, n, &qemu->options, err);
	if (read_link(pid, "cwd", qemu->cwd))
		qemu->cwd[0] = '\0';
	return result ? say(qemu, result, err) : parsed;
}

/* Whether a process is any QEMU, before more is read: most are none. */
static bool is_qemu(pid_t pid, struct kms_qemu *qemu, int *result, struct kms_err *err)
{
	*result = kms_qemu_look(pid, qemu, err);
	return *result == 0 || *result == -EPERM || *result == -EOPNOTSUPP ||
	       (*result == -EINVAL && kms_qemu_program_check(qemu->program) == 0);
}

int kms_qemu_each(bool (*fn)(void *arg, const struct kms_qemu *qemu, int result,
			     const struct kms_err *err),
		  void *arg, struct kms_err *err)
{
	KMS_AUTO_CLOSEDIR DIR *dir = opendir("/proc");
	const struct dirent *item;
	struct kms_qemu qemu;

	if (!dir)
		return kms_err_sys(err, -errno, "list of processes", "/proc");
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while ((item = readdir(dir)) != NULL) {
		struct kms_err why = KMS_ERR_INIT;
		char *end;
		long pid = strtol(item->d_name, &end, 10);
		int result;

		if (pid > 0 && pid <= INT_MAX && !*end &&
		    is_qemu((pid_t)pid, &qemu, &result, &why) &&
		    fn(arg, &qemu, result, result ? &why : NULL))
			break;
	}
	return 0;
}

int kms_qemu_path(const struct kms_qemu *qemu, const char *path, char full[PATH_MAX],
		  struct kms_err *err)
{
	int n = path[0] == '/' ? snprintf(full, PATH_MAX, "%s", path)
			       : snprintf(full, PATH_MAX, "%s/%s", qemu->cwd, path);

	if (!*path || (path[0] != '/' && !*qemu->cwd) || n < 0 || n >= PATH_MAX)
		return kms_err_set(err, -ENOENT, "QEMU's file %.64s: it is not known where it is",
				   path);
	if (access(full, F_OK) == 0)
		return 0;
	return kms_err_sys(err, -ENOENT, "file of QEMU", full);
}

/* The kernel's word of who may trace whom; '0' also without Yama. */
static char yama_scope(void)
{
	KMS_AUTO_CLOSE int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
	char scope = '0';

	if (fd >= 0 && read(fd, &scope, 1) != 1)
		scope = '0';
	return scope;
}

int kms_qemu_forbidden(const struct kms_qemu *qemu, struct kms_err *err)
{
	char scope = yama_scope();

	if (qemu->uid != geteuid())
		return kms_err_set(err, -EPERM,
				   "no permission for process %d (%s): it belongs to user %u; that "
				   "takes CAP_SYS_PTRACE, or to be that user",
				   (int)qemu->pid, qemu->program, (unsigned)qemu->uid);
	if (scope > '0')
		return kms_err_set(
			err, -EPERM,
			"no permission for process %d (%s): "
			"/proc/sys/kernel/yama/ptrace_scope is %c; write 0 to it, or run "
			"kmemscope with CAP_SYS_PTRACE",
			(int)qemu->pid, qemu->program, scope);
	return kms_err_set(err, -EPERM,
			   "no permission for process %d (%s): it hides its memory (set-id, or not "
			   "dumpable); that takes CAP_SYS_PTRACE, in a container "
			   "--cap-add=SYS_PTRACE",
			   (int)qemu->pid, qemu->program);
}
