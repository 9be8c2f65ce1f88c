/* SPDX-License-Identifier: BSD-2-Clause */
/* Asking a process to join a run: see attach.h. */
#include "tracer/attach.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "schema/attach.h"
#include "tracer/attach_look.h"
#include "tracer/process.h"
#include "tracer/region.h"

enum {
	LOOK_MS = 2, /* between looks for the answer */
};

#define REQUEST_OFFSET offsetof(struct kms_attach_page, request)

/* The part of the page that is ours to write. */
static size_t request_bytes(void)
{
	return offsetof(struct kms_attach_page, pad) - REQUEST_OFFSET;
}

static int cannot_write(const struct kms_attach_info *info, int code, struct kms_err *err)
{
	if (code == -ESRCH)
		return kms_err_set(err, code, "process %d (%s) has ended", (int)info->pid,
				   info->program);
	return kms_err_set(err, code, "cannot write to the memory of pid %d (%s): %s",
			   (int)info->pid, info->program, strerrordesc_np(-code));
}

/* The request that stands in a process; 0: none. */
static uint64_t standing_request(const struct kms_attach_info *info, struct kms_attach_page *page)
{
	if (kms_memory_copy(info->pid, info->page_address, page, sizeof(*page)) !=
		    (ssize_t)sizeof(*page) ||
	    page->request.v != ~page->request.not_v)
		return 0;
	return page->request.v;
}

/* Of another tracer that lives, and that may yet have the process. */
static bool is_asked_by_another(const struct kms_attach_info *info, const char *run_dir)
{
	KMS_AUTO_CLOSE int fd = -1;
	struct kms_attach_page page;
	uint64_t number = standing_request(info, &page);

	page.run_dir[sizeof(page.run_dir) - 1] = '\0';
	if (!number || number == page.answer || page.request_pid != (uint32_t)info->pid ||
	    page.path_check != kms_attach_check(&page) || strcmp(page.run_dir, run_dir) == 0)
		return false;
	/* a live tracer holds the lock of its run's folder */
	fd = open(page.run_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* The texts first, then the number that makes them a request, then the word that is looked at. */
static int write_request(const struct kms_attach_info *info, struct kms_attach_request *request,
			 struct kms_err *err)
{
	struct kms_attach_page page = {.request_pid = (uint32_t)info->pid};
	uint64_t at = info->page_address;
	uint64_t number = 0;
	int result;

	while (!number || number == info->answer) {
		if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
			number = kms_mono_ns();
	}
	(void)snprintf(page.run_dir, sizeof(page.run_dir), "%s", request->run_dir);
	(void)snprintf(page.options, sizeof(page.options), "%s", request->options);
	page.path_check = kms_attach_check(&page);
	page.attention = (uint32_t)number | 1;
	/* no pair: whatever is read meanwhile is no request */
	result = kms_memory_write(info->pid, at + REQUEST_OFFSET, &page.request,
				  offsetof(struct kms_attach_page, attention) - REQUEST_OFFSET);
	at += offsetof(struct kms_attach_page, request_pid);
	if (!result)
		result = kms_memory_write(info->pid, at, &page.request_pid,
					  request_bytes() + REQUEST_OFFSET -
						  offsetof(struct kms_attach_page, request_pid));
	page.request = (struct kms_pair){.v = number, .not_v = ~number};
	at = info->page_address + REQUEST_OFFSET;
	if (!result)
		result = kms_memory_write(info->pid, at, &page.request, sizeof(page.request));
	at = info->page_address + offsetof(struct kms_attach_page, attention);
	if (!result)
		result = kms_memory_write(info->pid, at, &page.attention, sizeof(page.attention));
	if (result)
		return cannot_write(info, result, err);
	request->number = number;
	return 0;
}

/* The process's own words for what was wrong with the folder. */
static int refused(const struct kms_attach_info *info, const char *run_dir, struct kms_err *err)
{
	if (info->result == -EBUSY)
		return kms_err_set(err, -EBUSY, "process %d (%s) was attached to by another tracer",
				   (int)info->pid, info->program);
	return kms_err_set(err, info->result, "process %d (%s) cannot use our folder %.128s: %s",
			   (int)info->pid, info->program, run_dir,
			   info->result < 0 && strerrordesc_np(-info->result)
				   ? strerrordesc_np(-info->result)
				   : "no reason");
}

int kms_attach_wait(const struct kms_attach_request *request, int timeout_ms, struct kms_err *err)
{
	uint64_t end_ns = kms_mono_ns() + (uint64_t)timeout_ms * 1000000u;
	struct kms_attach_info info;
	int result;

	for (;;) {
		result = kms_attach_look(request->pid, &info, err);
		if (result)
			return result;
		if (info.answer == request->number)
			return info.result ? refused(&info, request->run_dir, err) : 0;
		if (kms_mono_ns() >= end_ns)
			return kms_err_set(err, -EAGAIN,
					   "process %d (%s) has not allocated anything since",
					   (int)info.pid, info.program);
		(void)poll(NULL, 0, LOOK_MS); /* it cannot tell us when */
	}
}

void kms_attach_withdraw(const struct kms_attach_request *request)
{
	const struct kms_pair none = {0};
	struct kms_attach_page page;
	struct kms_attach_info info;

	/* another's, which came later, is not ours to take back */
	if (request->number && kms_attach_look(request->pid, &info, NULL) == 0 &&
	    info.answer != request->number && standing_request(&info, &page) == request->number)
		(void)kms_memory_write(info.pid, info.page_address + REQUEST_OFFSET, &none,
				       sizeof(none)); /* it has ended then */
}

/* The lock on the folder that it lies in is ours then. */
static bool is_in(const char *region, const char *run_dir)
{
	size_t length = strlen(run_dir);

	return strncmp(region, run_dir, length) == 0 && region[length] == '/' &&
	       !strchr(region + length + 1, '/');
}

static int check_region(const struct kms_attach_info *info, struct kms_err *err)
{
	struct kms_region region;
	int result = kms_region_open(AT_FDCWD, info->region, &region, err);

	if (result)
		return kms_err_context(err, "memory that is shared with process %d",
				       (int)info->pid),
		       result;
	kms_region_close(&region);
	return 0;
}

/* The region of a tracer that is gone. */
static int take_over(const struct kms_attach_info *info, const char *run_dir, struct kms_err *err)
{
	const char *name = strrchr(info->region, '/');
	char to[PATH_MAX];
	int result;

	/* what the process says is its region may be anything */
	result = check_region(info, err);
	if (result)
		return result;
	if (!name || snprintf(to, sizeof(to), "%s%s", run_dir, name) >= (int)sizeof(to))
		return kms_err_set(err, -ENAMETOOLONG, "path too long: %.128s", run_dir);
	if (strcmp(to, info->region) == 0 || rename(info->region, to) == 0)
		return 0;
	return kms_err_sys(err, -errno, "take over the memory that is shared with", info->region);
}

int kms_attach_process(struct kms_attach_request *request, enum kms_attach_how *how,
		       struct kms_err *err)
{
	struct kms_attach_info info;
	int result = kms_attach_look(request->pid, &info, err);

	request->number = 0;
	if (result)
		return result;
	if (info.session[0] && !is_in(info.region, request->run_dir))
		return kms_err_set(err, -EBUSY, "process %d (%s) is traced already: session %s",
				   (int)info.pid, info.program, info.session);
	if (strlen(request->run_dir) >= KMS_ATTACH_DIR_BYTES ||
	    strlen(request->options) >= KMS_ATTACH_OPTIONS_BYTES)
		return kms_err_set(err, -ENAMETOOLONG, "folder or options too long: %.64s",
				   request->run_dir);
	*how = KMS_ATTACH_HOW_TAKEN;
	if (info.state == KMS_ATTACH_JOINED && info.region[0] && !info.region_deleted)
		return take_over(&info, request->run_dir, err);
	if (is_asked_by_another(&info, request->run_dir))
		return kms_err_set(err, -EBUSY,
				   "process %d (%s) has been asked by another tracer already: it "
				   "answers at its next allocator call",
				   (int)info.pid, info.program);
	result = write_request(&info, request, err);
	if (result)
		return result;
	*how = KMS_ATTACH_HOW_JOINED;
	result = kms_attach_wait(request, request->timeout_ms, err);
	if (result != -EAGAIN)
		return result;
	kms_err_clear(err);
	*how = KMS_ATTACH_HOW_ASKED;
	return 0;
}

void kms_attach_each(void (*fn)(void *arg, const struct kms_attach_info *info), void *arg)
{
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	struct kms_attach_info info;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (dir && (entry = readdir(dir)) != NULL) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (pid > 0 && pid <= INT_MAX && !*end &&
		    kms_attach_look((pid_t)pid, &info, NULL) == 0 &&
		    info.state != KMS_ATTACH_NOT_STARTED)
			fn(arg, &info);
	}
	if (dir)
		(void)closedir(dir); /* only read from */
}
