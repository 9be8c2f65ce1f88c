/* SPDX-License-Identifier: BSD-2-Clause */
/* Is our allocator in a process, and who reads it? See attach.h. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "schema/attach.h"
#include "tracer/attach.h"
#include "tracer/attach_look.h"
#include "tracer/images.h"
#include "tracer/launch.h"
#include "tracer/process.h"
#include "tracer/session.h"

enum {
	STATUS_BYTES = 4096,
	HEAD_BYTES = 32,                          /* magic, version, size, address, state */
	PAGES_AT_ONCE = 256,                      /* of heads read by one call */
	MAX_PAGES = (256 << 20) / KMS_PAGE_BYTES, /* of one mapping: data of a program is less */
};

struct search {
	pid_t pid;
	uint64_t address; /* of the best page so far, 0 none */
	struct kms_attach_page page;
	int other_version; /* a page of ours that we do not understand */
	int error;         /* of reading memory */
};

struct head {
	uint64_t magic;
	uint32_t version, bytes;
	uint64_t self;
	uint32_t state, pid;
};

_Static_assert(sizeof(struct head) == HEAD_BYTES, "the first words of struct kms_attach_page");

/* Of several copies of the allocator the one that is in use counts. */
static void consider(struct search *search, const struct head *head, uint64_t address)
{
	struct kms_attach_page page;

	if (head->magic != KMS_ATTACH_MAGIC || head->self != address)
		return;
	if (head->version != KMS_ATTACH_VERSION || head->bytes != sizeof(page)) {
		search->other_version = (int)head->version;
		return;
	}
	if (search->address && head->state <= search->page.state)
		return;
	if (kms_memory_copy(search->pid, address, &page, sizeof(page)) != (ssize_t)sizeof(page))
		return;
	if (page.state > KMS_ATTACH_JOINED)
		return;
	search->page = page;
	search->address = address;
}

/* Reads the first words of some pages. Returns how many pages that were, or -errno. */
static int read_heads(struct search *search, uint64_t start, size_t n)
{
	struct head head[PAGES_AT_ONCE];
	struct iovec remote[PAGES_AT_ONCE];
	struct iovec local = {.iov_base = head, .iov_len = n * sizeof(*head)};
	ssize_t got;

	for (size_t i = 0; i < n; i++) {
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): of another process */
		remote[i].iov_base = (void *)(uintptr_t)(start + i * KMS_PAGE_BYTES);
		remote[i].iov_len = sizeof(*head);
	}
	got = process_vm_readv(search->pid, &local, 1, remote, n, 0);
	if (got < 0)
		return -errno;
	for (size_t i = 0; i < (size_t)got / sizeof(*head); i++)
		consider(search, &head[i], start + i * KMS_PAGE_BYTES);
	return (int)((size_t)got / sizeof(*head));
}

static bool search_mapping(void *arg, const struct kms_mapping *mapping)
{
	struct search *search = arg;
	uint64_t pages = (mapping->end - mapping->start) / KMS_PAGE_BYTES;
	int n;

	if (strncmp(mapping->access, "rw-p", 4) != 0 || mapping->path[0] != '/' ||
	    pages > MAX_PAGES)
		return false;
	for (uint64_t at = 0; at < pages; at += (uint64_t)n) {
		size_t some = pages - at < PAGES_AT_ONCE ? pages - at : PAGES_AT_ONCE;

		n = read_heads(search, mapping->start + at * KMS_PAGE_BYTES, some);
		if (n < 0 && n != -EFAULT) {
			search->error = n;
			return true;
		}
		n = n <= 0 ? 1 : n; /* a page that is not there: behind it */
	}
	return false;
}

/* What the system allows, and what it would take. */
static int forbidden(const struct kms_attach_info *info, struct kms_err *err)
{
	const char *yama = kms_process_yama();

	return kms_err_set(err, -EPERM, "not allowed to attach to pid %d (%s): %s", (int)info->pid,
			   info->program,
			   yama ? yama
				: "it hides its memory (set-id, or not dumpable); that takes "
				  "CAP_SYS_PTRACE");
}

/* The line "KEY:" of /proc/PID/status; NULL: none. */
static const char *status_line(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at && (at == text || at[-1] == '\n') ? at + strlen(key) : NULL;
}

/* Who it is, whose it is, whether it lives. */
static int look_status(struct kms_attach_info *info, struct kms_err *err)
{
	char path[64], text[STATUS_BYTES];
	KMS_AUTO_CLOSE int fd = -1;
	unsigned uid[4];
	const char *at;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)info->pid); /* fits */
	fd = info->pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	n = fd < 0 ? -1 : kms_read_full(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return kms_err_set(err, -ESRCH, "there is no process %d", (int)info->pid);
	text[n] = '\0';
	at = status_line(text, "Name:\t");
	if (at)
		(void)snprintf(info->program, sizeof(info->program), "%.*s", (int)strcspn(at, "\n"),
			       at);
	at = status_line(text, "Tgid:\t");
	if (at && strtol(at, NULL, 10) != info->pid)
		return kms_err_set(err, -ESRCH, "%d is a thread of process %ld: attach to that",
				   (int)info->pid, strtol(at, NULL, 10));
	at = status_line(text, "State:\t");
	if (at && (*at == 'Z' || *at == 'X'))
		return kms_err_set(
			err, -ESRCH,
			"process %d (%s) has ended: its parent has not waited for it yet",
			(int)info->pid, info->program);
	at = status_line(text, "Uid:\t");
	/* NOLINTNEXTLINE(cert-err34-c): numbers of the kernel */
	if (!at || sscanf(at, "%u %u %u %u", &uid[0], &uid[1], &uid[2], &uid[3]) != 4)
		return kms_err_set(err, -ESRCH, "there is no process %d", (int)info->pid);
	for (int i = 0; i < 4; i++)
		if (uid[i] != geteuid())
			return kms_err_set(err, -EPERM,
					   "process %d (%s) is of user %u: attach as that user (it "
					   "has to make its files in our folder)",
					   (int)info->pid, info->program, uid[1]);
	return 0;
}

static int look_program(struct kms_attach_info *info, struct kms_err *err)
{
	char path[64], target[PATH_MAX];
	unsigned char head[EI_NIDENT] = {0};
	KMS_AUTO_CLOSE int fd = -1;
	const char *slash;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)info->pid); /* fits */
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0 && errno == ENOENT)
		return kms_err_set(err, -EINVAL, "%d (%s) is a thread of the kernel",
				   (int)info->pid, info->program);
	if (n < 0)
		return forbidden(info, err);
	target[n] = '\0';
	slash = strrchr(target, '/');
	if (slash && slash[1])
		(void)snprintf(info->program, sizeof(info->program), "%.*s",
			       (int)strcspn(slash + 1, " "), slash + 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && kms_read_full(fd, head, sizeof(head)) == (ssize_t)sizeof(head) &&
	    head[EI_CLASS] == ELFCLASS32)
		return kms_err_set(err, -ENOEXEC,
				   "process %d (%s) is a 32-bit program: our allocator is 64-bit",
				   (int)info->pid, info->program);
	return 0;
}

struct region_search {
	struct kms_attach_info *info;
	uint64_t address;
};

/* Which address is its region's, only the process says: it must not make us take any other file. */
static bool is_region_path(const char *path)
{
	static const char end[] = ".kmr";
	const char *name = strrchr(path, '/');
	size_t length = name ? strlen(name + 1) : 0;

	return path[0] == '/' && length > sizeof(KMS_REGION_PREFIX) + sizeof(end) &&
	       strncmp(name + 1, KMS_REGION_PREFIX, sizeof(KMS_REGION_PREFIX) - 1) == 0 &&
	       strcmp(name + 1 + length - sizeof(end) + 1, end) == 0;
}

static bool search_region(void *arg, const struct kms_mapping *mapping)
{
	struct region_search *search = arg;

	if (search->address < mapping->start || search->address >= mapping->end ||
	    !is_region_path(mapping->path))
		return false;
	(void)snprintf(search->info->region, sizeof(search->info->region), "%s", mapping->path);
	search->info->region_deleted = mapping->is_deleted;
	return true;
}

/* Whether a folder of runs is the daemon's: "daemon", "daemon.HASH" */
static bool is_daemons(const char *folder)
{
	const size_t n = sizeof(KMS_SESSION_DAEMON) - 1;
	const char *slash = strrchr(folder, '/');
	const char *name = slash ? slash + 1 : folder;

	return strncmp(name, KMS_SESSION_DAEMON, n) == 0 && (!name[n] || name[n] == '.');
}

/*
 * The session whose run has this folder: PROG.PID in /dev/shm, or "run" in the folder of the session's;
 * a daemon has one more for each run, and is one session. The folder is cut short.
 */
static void name_session(char *folder, char name[NAME_MAX + 1])
{
	char *slash = strrchr(folder, '/');
	char *last = slash ? slash + 1 : folder;

	if (slash && strcmp(last, "run") == 0) {
		*slash = '\0';
		slash = strrchr(folder, '/');
		last = slash ? slash + 1 : folder;
	}
	(void)snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, last);
	if (!slash)
		return;
	*slash = '\0';
	slash = strrchr(folder, '/');
	if (slash && strcmp(slash + 1, "run") == 0)
		*slash = '\0';
	if (is_daemons(folder))
		(void)snprintf(name, NAME_MAX + 1, "%s", KMS_SESSION_DAEMON);
}

/* A live tracer holds the lock of its run's folder. */
static void look_reader(struct kms_attach_info *info)
{
	char folder[PATH_MAX];
	KMS_AUTO_CLOSE int fd = -1;
	char *slash;

	(void)snprintf(folder, sizeof(folder), "%s", info->region); /* of the same size */
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return;
	*slash = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return; /* the lock, if we got it, ends with the descriptor */
	name_session(folder, info->session);
}

static int absent(const struct kms_attach_info *info, int other_version, struct kms_err *err)
{
	char library[PATH_MAX] = "libkmem_malloc.so";

	if (other_version)
		return kms_err_set(err, -EPROTO,
				   "process %d (%s) has our allocator of another version (%d, not "
				   "%u): use the kmemscope it came with",
				   (int)info->pid, info->program, other_version,
				   KMS_ATTACH_VERSION);
	(void)kms_launch_library(library, NULL);
	return kms_err_set(err, -ENOTSUP,
			   "process %d (%s) does not have our allocator: restart it with "
			   "`kmemscope run -- %s`, or with LD_PRELOAD=%.128s",
			   (int)info->pid, info->program, info->program, library);
}

int kms_attach_look(pid_t pid, struct kms_attach_info *out, struct kms_err *err)
{
	struct search search = {.pid = pid};
	struct region_search region = {.info = out};
	int result;

	*out = (struct kms_attach_info){.pid = pid};
	if (pid == getpid())
		return kms_err_set(err, -EINVAL, "%d is this kmemscope itself", (int)pid);
	result = look_status(out, err);
	if (!result)
		result = look_program(out, err);
	if (result)
		return result;
	result = kms_mappings_each(pid, search_mapping, &search);
	if (!result)
		result = search.error;
	if (result == -EPERM || result == -EACCES)
		return forbidden(out, err);
	if (result)
		return kms_err_set(err, result == -ENOMEM ? result : -ESRCH,
				   "process %d (%s) has ended", (int)pid, out->program);
	if (!search.address)
		return absent(out, search.other_version, err);
	out->state = search.page.state;
	out->page_address = search.address;
	out->answer = search.page.answer;
	out->result = search.page.result;
	region.address = search.page.region_address;
	if (out->state == KMS_ATTACH_JOINED &&
	    kms_mappings_each(pid, search_region, &region) == 0 && out->region[0])
		look_reader(out);
	return 0;
}
