/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Executes itself in every way there is, and tries what fails. Says on stdout what each call gave.
 *
 *	execs           all of it; the last exec is one of a thread that is not the first
 *	execs child TAG allocates and ends
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
	BLOCKS = 100,
	CHILD_STATUS = 5,
	FAILED_STATUS = 9,
	STACK_BYTES = 65536,
};

static char self[4096];
static const char *not_a_program;
static char *arguments[4]; /* of the child: program, "child", tag */

static void allocate(void)
{
	void *volatile kept[BLOCKS];

	for (int i = 0; i < BLOCKS; i++)
		kept[i] = malloc((size_t)i + 1);
	for (int i = 0; i < BLOCKS; i++)
		free(kept[i]);
}

static void by_execl(void)
{
	execl(self, self, "child", arguments[2], (char *)NULL);
}

static void by_execle(void)
{
	execle(self, self, "child", arguments[2], (char *)NULL, environ);
}

static void by_execlp(void)
{
	execlp(self, self, "child", arguments[2], (char *)NULL);
}

static void by_execv(void)
{
	execv(self, arguments);
}

static void by_execve(void)
{
	execve(self, arguments, environ);
}

static void by_execvp(void)
{
	execvp(self, arguments);
}

static void by_execvpe(void)
{
	execvpe(self, arguments, environ);
}

static void by_fexecve(void)
{
	fexecve(open(self, O_RDONLY | O_CLOEXEC), arguments, environ);
}

static void by_system_call(void)
{
	syscall(SYS_execve, self, arguments, environ);
}

static void after_failures(void)
{
	execv("/no/such/program", arguments);
	execvp("no-such-program-anywhere", arguments);
	execve(not_a_program, arguments, environ);
	execv(self, arguments);
}

static void failing(void)
{
	execv("/no/such/program", arguments);
	allocate();
	execve(not_a_program, arguments, environ);
}

static const struct way {
	const char *tag;
	void (*become)(void);
} ways[] = {
	{"execl",   by_execl      },
        {"execle",  by_execle     },
        {"execlp",  by_execlp     },
	{"execv",   by_execv      },
        {"execve",  by_execve     },
        {"execvp",  by_execvp     },
	{"execvpe", by_execvpe    },
        {"fexecve", by_fexecve    },
        {"syscall", by_system_call},
	{"after",   after_failures},
        {"failing", failing       },
};

static void report(const char *tag, pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	printf("%s: %d\n", tag, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	(void)fflush(stdout);
}

static void by_fork(const struct way *way)
{
	pid_t pid;

	arguments[2] = (char *)way->tag;
	pid = fork();
	if (pid == 0) {
		way->become();
		_exit(FAILED_STATUS);
	}
	report(way->tag, pid);
}

static void by_vfork(const char *tag, const char *program)
{
	volatile pid_t pid;
	int code = 0;

	arguments[2] = (char *)tag;
	pid = vfork();
	if (pid == 0) {
		execve(program, arguments, environ);
		code = errno;
		_exit(code == ENOENT ? FAILED_STATUS : 1);
	}
	report(tag, pid);
}

static void by_spawn(void)
{
	pid_t pid = -1;

	arguments[2] = "posix_spawn";
	if (posix_spawn(&pid, self, NULL, NULL, arguments, environ) == 0)
		report("posix_spawn", pid);
	arguments[2] = "posix_spawnp";
	if (posix_spawnp(&pid, self, NULL, NULL, arguments, environ) == 0)
		report("posix_spawnp", pid);
	printf("spawn of nothing: %s\n",
	       strerror(posix_spawn(&pid, "/no/such/program", NULL, NULL, arguments, environ)));
}

static int cloned(void *unused)
{
	(void)unused;
	execve(self, arguments, environ);
	_exit(FAILED_STATUS);
}

/* As glibc's own posix_spawn does it, but by us: the memory is the parent's until the exec. */
static void by_clone(void)
{
	static char stack[STACK_BYTES] __attribute__((aligned(16)));
	int clone(int (*)(void *), void *, int, void *, ...);

	arguments[2] = "clone";
	report("clone",
	       clone(cloned, stack + sizeof(stack), 0x4100 /* VM | VFORK */ | SIGCHLD, NULL));
}

static void *thread_main(void *unused)
{
	static const struct way way = {"thread_fork", by_execv};

	(void)unused;
	allocate();
	by_fork(&way);
	by_vfork("thread_vfork", self);
	arguments[2] = "thread_itself";
	execv(self, arguments);
	_exit(FAILED_STATUS);
}

int main(int argc, char **argv)
{
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	pthread_t thread;

	allocate();
	if (argc > 2)
		return CHILD_STATUS;
	if (n < 0 || argc != 2)
		return 1;
	not_a_program = argv[1];
	arguments[0] = self;
	arguments[1] = "child";
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		by_fork(&ways[i]);
	by_vfork("vfork", self);
	by_vfork("vfork_failing", "/no/such/program");
	by_spawn();
	by_clone();
	(void)fflush(stdout);
	pthread_create(&thread, NULL, thread_main, NULL);
	pthread_join(thread, NULL);
	return 1;
}
