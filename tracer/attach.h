/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes that were started without us: finding out whether our allocator is in them, and having
 * one join a run. schema/attach.h says how the two sides speak.
 *
 * Any process with our allocator can join at any time: the library preloaded alone, a program linked
 * with libkmem, one whose tracer was killed. It does so at its next allocator call; nobody stops it.
 */
#ifndef KMS_TRACER_ATTACH_H
#define KMS_TRACER_ATTACH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	KMS_ATTACH_NAME_BYTES = 64,
};

/** What is known of a process from outside. */
struct kms_attach_info {
	pid_t pid;
	char program[KMS_ATTACH_NAME_BYTES]; /* base name of its executable */
	uint32_t state;                      /* enum kms_attach_state (schema/attach.h) */
	uint64_t page_address;
	uint64_t answer;            /* the request it took up last, 0 none */
	int32_t result;             /* what it said to that: 0 or a negative errno */
	char region[PATH_MAX];      /* file of its region, "" none */
	bool region_deleted;        /* nobody can open that file any more */
	char session[NAME_MAX + 1]; /* run folder of a tracer that lives and reads it, "" none */
};

/** How a process came into a run. */
enum kms_attach_how {
	KMS_ATTACH_HOW_JOINED = 1, /* it made a region in the run's folder */
	KMS_ATTACH_HOW_ASKED = 2,  /* it will, at its next allocator call; see kms_attach_wait() */
	KMS_ATTACH_HOW_TAKEN =
		3, /* it had one, of a tracer that is gone: that is in the folder now */
};

/**
 * Looks at a process. Nothing in it is changed.
 *
 * Errors: -ESRCH: there is none, or a zombie; -EINVAL: it is ourselves, or a thread of the kernel;
 *         -EPERM: another user's, or the system forbids to look (the text says what is needed);
 *         -ENOEXEC: a 32-bit one; -ENOTSUP: our allocator is not in it (the text says what to do);
 *         -EPROTO: that of another version; -ENOMEM
 */
int kms_attach_look(pid_t pid, struct kms_attach_info *out, struct kms_err *err);

/** What to ask for. Shape: strings are borrowed for the call. */
struct kms_attach_request {
	pid_t pid;
	const char *run_dir; /* absolute; a folder of this user alone, which a tracer reads */
	const char *options; /* start values as in KMEM_OPTIONS, "" none */
	int timeout_ms;      /* for the answer */
	uint64_t number;     /* filled in: of the request, 0 none was written */
};

/**
 * Makes a process join the run whose regions lie in a folder: the caller's kms_tracer (or daemon)
 * reads that folder, and meets the region there like that of a process that it started.
 *
 * A process whose former tracer is gone keeps its region, with what is in it: the file is moved into
 * the folder.
 *
 * Errors: as kms_attach_look(); -EBUSY: a tracer that lives has it (the text names the session), or
 *         has asked it;
 *         -ENAMETOOLONG; -EXDEV: its old region lies on another file system; what the process says:
 *         -EACCES, -ENOENT, -ENOMEM, ...
 */
int kms_attach_process(struct kms_attach_request *request, enum kms_attach_how *how,
		       struct kms_err *err);

/**
 * Waits for the answer to a request that was only asked (KMS_ATTACH_HOW_ASKED).
 * Errors: -EAGAIN: still none; else as above
 */
int kms_attach_wait(const struct kms_attach_request *request, int timeout_ms, struct kms_err *err);

/** Takes a request back that was not answered; another's that stands there by now stays. */
void kms_attach_withdraw(const struct kms_attach_request *request);

/** Calls fn for each process that this user may look at and that has used our allocator. */
void kms_attach_each(void (*fn)(void *arg, const struct kms_attach_info *info), void *arg);

#endif
