/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the data comes from: a live session, or a trace file.
 */
#ifndef KMS_TUI_SOURCE_H
#define KMS_TUI_SOURCE_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"
#include "tui/hooks.h"

enum kms_source_kind {
	KMS_SOURCE_FILE,
	KMS_SOURCE_SESSION,
	KMS_SOURCE_URL, /* a session's TCP port: `run --http` and the like */
};

enum {
	KMS_TOKEN_BYTES = 100,
};

struct kms_source {
	enum kms_source_kind kind;
	char name[NAME_MAX + 1]; /* of a session */
	pid_t pid;               /* of a session in a list: who serves it; 0 unknown */
	char path[PATH_MAX];     /* of the file, or of the session's socket; "http://HOST:PORT" */
	char token[KMS_TOKEN_BYTES]; /* of KMS_SOURCE_URL; "" none */
	char file
		[PATH_MAX]; /* of a session: its trace, for when it is gone; "" it says so itself */
};

/** This user's live sessions by name. */
struct kms_sessions {
	struct kms_source *item;
	size_t n;
};

/**
 * Lists the sessions whose socket is served; dead ones are skipped.
 *
 * Owner:  the caller frees with kms_sessions_deinit(), also after an error.
 * Errors: what the session folder's check says (another's folder); no folder is no session.
 */
int kms_sessions_list(const struct kms_hooks *hooks, struct kms_sessions *sessions,
		      struct kms_err *err);

void kms_sessions_deinit(struct kms_sessions *sessions);

/** The session of this user's daemon, whatever files are called so. Errors: -ENOENT: none runs */
int kms_source_daemon(const struct kms_hooks *hooks, struct kms_source *source,
		      struct kms_err *err);

/**
 * Finds what the user means.
 *
 * @arg: a path of a file or socket, or the name of a session, or a part of that: the program or the pid. What has no / and
 * does not end in .kms is a session first, and a file if there is none of that name. NULL: the only live
 * session; without one, the newest *.kms in the current folder. Or http://HOST:PORT, with the token, or
 * the path of the file that has it, in KMEMSCOPE_TOKEN.
 *
 * Errors: -ENOENT nothing of that name, or nothing at all; -EEXIST several sessions live: err names
 *         them; -EINVAL a URL that is none of ours
 */
int kms_source_pick(const struct kms_hooks *hooks, const char *arg, struct kms_source *source,
		    struct kms_err *err);

#endif
