/* SPDX-License-Identifier: BSD-2-Clause */
#include "tui/demo_qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

enum {
	NOT_EXEC = 127,
	END_MS = 2000, /* for a machine to go by itself */
	LOOK_US = 5000,
};

static const char emulator[] = "qemu-system-x86_64";
static const char mark[] = "journal: ";

/* Our kernel lies beside our own program, as it was built, or where libraries are. */
static int find_kernel(char path[PATH_MAX], struct kms_err *err)
{
	static const char *const place[] = {"kmem_guest.elf", "../lib/kmemscope/kmem_guest.elf"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return kms_err_sys(err, -errno, "find our own program", NULL);
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		slash[1] = '\0';
	for (size_t i = 0; i < sizeof(place) / sizeof(place[0]); i++) {
		if (snprintf(path, PATH_MAX, "%s%s", self, place[i]) < PATH_MAX &&
		    access(path, R_OK) == 0)
			return 0;
	}
	return kms_err_set(err, -ENOENT,
			   "this kmemscope was built without the guest kernel: there "
			   "is no kmem_guest.elf beside it");
}

/* Whether a program is in the path. */
static bool is_installed(const char *name)
{
	const char *at = getenv("PATH"); /* NOLINT(concurrency-mt-unsafe): one thread */
	char path[PATH_MAX];

	while (at && *at) {
		size_t n = strcspn(at, ":");

		if (snprintf(path, sizeof(path), "%.*s/%s", (int)n, at, name) < PATH_MAX &&
		    access(path, X_OK) == 0)
			return true;
		at += n + (at[n] == ':');
	}
	return false;
}

/* In the child. */
static _Noreturn void become_machine(const struct kms_demo_qemu *machine, pid_t parent)
{
	char words[KMS_DEMO_QEMU_WORDS_BYTES + 8];
	int console = machine->verbose ? STDERR_FILENO : machine->console_fd;
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)snprintf(words, sizeof(words), "-d %s", machine->words); /* has room */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* what cannot fail with a valid signal */
	if (getppid() != parent)
		_exit(NOT_EXEC);
	(void)setpgid(0, 0); /* ^C is the screen's, or ends us and so the machine */
	(void)dup2(nothing, STDIN_FILENO);
	(void)dup2(console, STDOUT_FILENO);
	if (!machine->verbose)
		(void)dup2(nothing, STDERR_FILENO);
	/* Not KVM: it finds the same (12 findings), but where it is itself in a virtual machine each change
	 * of a guarded page costs an exit: 383 s were seen for what takes TCG 28 s anywhere. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Vfork): it was fork */
	execlp(emulator, emulator, "-nodefaults", "-display", "none", "-no-reboot", "-machine",
	       "q35,memory-backend=ram,accel=tcg", "-object",
	       "memory-backend-memfd,id=ram,size=256M,share=on", "-m", "256M", "-smp", "2",
	       "-serial", "stdio", "-kernel", machine->kernel, "-append", words, (char *)NULL);
	_exit(NOT_EXEC);
}

int kms_demo_qemu_start(struct kms_demo_qemu *machine, struct kms_err *err)
{
	pid_t parent = getpid();
	int result = find_kernel(machine->kernel, err);

	if (result)
		return result;
	if (!is_installed(emulator))
		return kms_err_set(err, -ENOENT,
				   "%s is not installed (Debian: apt-get install qemu-system-x86)",
				   emulator);
	machine->console_fd = memfd_create("console", MFD_CLOEXEC);
	if (machine->console_fd < 0)
		return kms_err_sys(err, -errno, "memory for the console", NULL);
	machine->pid = fork();
	if (machine->pid == 0)
		become_machine(machine, parent);
	if (machine->pid < 0) {
		machine->pid = 0;
		return kms_err_sys(err, -errno, "fork", NULL);
	}
	return 0;
}

int kms_demo_qemu_end(struct kms_demo_qemu *machine)
{
	int status = 0;

	if (machine->pid <= 0)
		return 0;
	for (int us = 0; us < END_MS * 1000; us += LOOK_US) {
		pid_t ended = waitpid(machine->pid, &status, WNOHANG);

		if (ended == machine->pid || (ended < 0 && errno != EINTR)) {
			machine->pid = 0;
			return status;
		}
		(void)kill(machine->pid, SIGTERM); /* it is there: nobody else waits for it */
		(void)usleep(LOOK_US);
	}
	(void)kill(machine->pid, SIGKILL);
	(void)waitpid(machine->pid, &status, 0); /* it is our child */
	machine->pid = 0;
	return status;
}

int kms_demo_qemu_journal(const struct kms_demo_qemu *machine, const char *path,
			  struct kms_err *err)
{
	KMS_AUTO_CLOSE int fd = fcntl(machine->console_fd, F_DUPFD_CLOEXEC, 0);
	FILE *to = fopen(path, "we");
	FILE *from = NULL;
	char *line = NULL;
	size_t room = 0;
	int result;

	if (!to)
		return kms_err_sys(err, -errno, "write", path);
	if (fd >= 0 && lseek(fd, 0, SEEK_SET) == 0)
		from = fdopen(kms_take_fd(&fd), "r");
	while (from && getline(&line, &room, from) > 0) {
		if (!strncmp(line, mark, strlen(mark)))
			(void)fputs(line + strlen(mark), to); /* the end tells */
	}
	free(line);
	if (from)
		(void)fclose(from); /* only read from */
	result = fclose(to) ? -errno : 0;
	return result ? kms_err_sys(err, result, "write", path) : 0;
}
