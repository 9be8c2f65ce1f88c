/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the helper gives up before it opens the first foreign file.
 *
 * PR_SET_PDEATHSIG is not used: it fires when the *thread* ends that has started the helper, and a resolver is used by
 * threads that come and go. If the resolver dies while the helper waits, the socket says so; if the helper is at work,
 * the watchdog ends it.
 */
#include "tracer/symbols_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/io.h"

enum {
	DESCRIPTORS_MAX = 256,
};

/* Sanitizers reserve terabytes of address space. */
#ifdef KMS_SYMBOLS_INSTRUMENTED
static const bool has_memory_limit = false;
#else
static const bool has_memory_limit = true;
#endif

static int limit(__rlimit_resource_t resource, uint64_t value)
{
	struct rlimit limits;
	if (getrlimit(resource, &limits) != 0)
		return -errno;
	if (limits.rlim_max != RLIM_INFINITY && limits.rlim_max < value)
		value = limits.rlim_max;
	limits.rlim_cur = limits.rlim_max = value;
	return setrlimit(resource, &limits) == 0 ? 0 : -errno;
}

int kms_symbols_sandbox_limits(uint64_t memory_bytes)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	int rc = limit(RLIMIT_CORE, 0);
	if (rc == 0)
		rc = limit(RLIMIT_NOFILE, DESCRIPTORS_MAX);
	if (rc == 0 && has_memory_limit)
		rc = limit(RLIMIT_AS, memory_bytes);
	return rc;
}

uint64_t kms_symbols_sandbox_used_bytes(void)
{
	char *text;
	if (!has_memory_limit || kms_read_file("/proc/self/statm", 4096, &text, NULL, NULL) != 0)
		return 0;
	uint64_t n_pages = strtoull(text, NULL, 10);
	free(text);
	return n_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void kms_symbols_sandbox_watchdog(uint64_t ms)
{
	struct itimerval timer = {
		.it_value.tv_sec = (time_t)(ms / 1000),
		.it_value.tv_usec = (suseconds_t)(ms % 1000 * 1000),
	};
	(void)setitimer(ITIMER_REAL, &timer, NULL); /* cannot fail with these arguments */
}

#if defined(__x86_64__) && !defined(KMS_SYMBOLS_INSTRUMENTED)

/* Calls allowed whatever their arguments. What libc, libelf, libdw, the loader (demangler) and our own loop use. */
static const uint32_t allowed_calls[] = {
	SYS_read,       SYS_pread64,      SYS_readv,          SYS_preadv,          SYS_write,
	SYS_sendto,     SYS_sendmsg,      SYS_recvfrom,       SYS_recvmsg,         SYS_poll,
	SYS_ppoll,      SYS_close,        SYS_stat,           SYS_fstat,           SYS_lstat,
	SYS_newfstatat, SYS_statx,        SYS_lseek,          SYS_access,          SYS_faccessat,
	SYS_faccessat2, SYS_readlink,     SYS_readlinkat,     SYS_getcwd,          SYS_fcntl,
	SYS_mmap,       SYS_munmap,       SYS_mremap,         SYS_mprotect,        SYS_madvise,
	SYS_brk,        SYS_futex,        SYS_getrandom,      SYS_clock_gettime,   SYS_gettimeofday,
	SYS_setitimer,  SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_restart_syscall, SYS_sched_yield,
	SYS_getpid,     SYS_gettid,       SYS_exit,           SYS_exit_group,
};

enum {
	N_ALLOWED = sizeof(allowed_calls) / sizeof(allowed_calls[0]),
	N_FILTER = 4 + 2 * N_ALLOWED + 6,
};

/* Flags that an open must not have; they are the third argument of openat, which is what glibc calls. */
#define NO_READING      (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)
#define FLAGS_OF_OPENAT ((uint32_t)offsetof(struct seccomp_data, args[2]))

int kms_symbols_sandbox_filter(void)
{
	struct sock_filter filter[N_FILTER];
	uint16_t n = 0;
	const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_filter refuse = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	const struct sock_filter call =
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	const struct sock_filter flags = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FLAGS_OF_OPENAT);

	filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						   offsetof(struct seccomp_data, arch));
	filter[n++] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	filter[n++] = refuse;
	filter[n++] = call;
	for (size_t i = 0; i < N_ALLOWED; i++) {
		filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							   allowed_calls[i], 0, 1);
		filter[n++] = allow;
	}
	filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0);
	filter[n++] = refuse;
	filter[n++] = flags;
	filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NO_READING, 0, 1);
	filter[n++] = refuse;
	filter[n++] = allow;
	const struct sock_fprog program = {.len = n, .filter = filter};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : -errno;
}

#else

int kms_symbols_sandbox_filter(void)
{
	return 0;
}

#endif
