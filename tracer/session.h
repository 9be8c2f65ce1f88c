/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A session's folder, where clients find a live tracer, and a run's folder, where targets make their
 * regions.
 *
 *	$XDG_RUNTIME_DIR/kmemscope/, else /run/user/UID/kmemscope/, else /tmp/kmemscope-UID/
 *	(a runtime folder counts if it is there and belongs to this user)
 *		PROG.PID/api.sock        the API
 *		PROG.PID/session.json    {"pid", "program_pid", "program", "command", "file",
 *		                          "socket", "started_ns"}
 *	/dev/shm/kmemscope-UID/PROG.PID/     regions; in the session's folder without /dev/shm
 *
 * A live tracer holds an exclusive lock (flock) on both folders: a folder without one is stale.
 */
#ifndef KMS_TRACER_SESSION_H
#define KMS_TRACER_SESSION_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/** The two folders of one run; paths are absolute. */
struct kms_session {
	char dir[PATH_MAX];
	char run_dir[PATH_MAX];
	char socket[PATH_MAX];
	int dir_fd; /* locked */
	int run_fd; /* locked */
};

/** What session.json says. Shape: strings are borrowed for the call. */
struct kms_session_info {
	pid_t pid;
	pid_t program_pid;
	const char *program;
	const char *command;
	const char *file;
	uint64_t started_wall_ns;
};

/**
 * The folder that holds this user's sessions; made if @create.
 *
 * Errors: -ENOENT: there is none; -EPERM, -EACCES, -ENOTDIR: it is not ours alone.
 */
int kms_session_root(char path[PATH_MAX], int create, struct kms_err *err);

/** Makes both folders and locks them; removes those that dead tracers left behind. */
int kms_session_create(struct kms_session *session, const char *program, pid_t pid,
		       struct kms_err *err);

/** Writes session.json: from now on clients see the session. */
int kms_session_publish(const struct kms_session *session, const struct kms_session_info *info,
			struct kms_err *err);

/** Removes both folders with all that is in them and lets the locks go. */
void kms_session_destroy(struct kms_session *session);

#endif
