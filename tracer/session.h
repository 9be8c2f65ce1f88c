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
 *	/dev/shm/kmemscope-UID/PROG.PID/     regions; in the session's folder without /dev/shm, or room in
 *	                                     it
 *
 * A live tracer holds an exclusive lock (flock) on both folders: a folder without one is stale.
 *
 * The daemon's session has a name without a pid, so that its socket is where it was after a restart:
 *
 *		daemon/api.sock          the API
 *		daemon/run.sock          where `run --daemon` asks for a run
 *		daemon/join              link to the daemon's run folder
 *	/dev/shm/kmemscope-UID/daemon.HASH/          regions of processes that join by KMEMSCOPE_SOCKET
 *	/dev/shm/kmemscope-UID/daemon.HASH/PROG.PID/ a run
 *
 * HASH is one of the session's path: who moves XDG_RUNTIME_DIR has a daemon of his own. What the
 * processes of a dead daemon still use stays, for the next one.
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

#define KMS_SESSION_DAEMON "daemon"
#define KMS_SESSION_JOIN   "join"     /* allocator/port/join.c knows it, too */
#define KMS_SESSION_RUNS   "run.sock" /* of the daemon's session */

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

/**
 * The same for the daemon of this user, which keeps what processes use.
 * Errors: -EBUSY: there is one; err names its pid if it says so.
 */
int kms_session_create_daemon(struct kms_session *session, struct kms_err *err);

/** Path of a file in the daemon's session folder, whether or not there is one. */
int kms_session_daemon_path(const char *name, char path[PATH_MAX], struct kms_err *err);

/**
 * Makes a folder for a run of the daemon: PROG.PID, with a number behind it if there is one of that name.
 */
int kms_session_run_folder(const struct kms_session *session, const char *program, pid_t pid,
			   char path[PATH_MAX], struct kms_err *err);

/** Locks such a folder, so that others see that its regions are read. The caller closes. Errors: -EWOULDBLOCK, ... */
int kms_session_run_folder_lock(const char *path);

/**
 * Marks such a folder as that of a guest: it stays as it is while the guest's emulator lives, though
 * nobody has a region in it. Taken back where the guest goes on without us.
 *
 * Shape: lived_mono_ns: a moment at which the process lived
 */
void kms_session_run_folder_mark(const char *folder, pid_t pid, uint64_t lived_mono_ns);
void kms_session_run_folder_unmark(const char *folder, pid_t pid, uint64_t lived_mono_ns);

/** Removes such a folder with what is in it; where processes still use regions in it, it stays as it is. */
void kms_session_run_folder_end(const char *path);

enum {
	KMS_SESSION_ROOM_BYTES = 1 << 20, /* with less, the shared memory of no program has room */
};

/** Bytes that the file system of a folder has left; UINT64_MAX: that is not known. */
uint64_t kms_session_room(const char *path);

/** Writes session.json: from now on clients see the session. */
int kms_session_publish(const struct kms_session *session, const struct kms_session_info *info,
			struct kms_err *err);

/** Removes both folders with all that is in them and lets the locks go. */
void kms_session_destroy(struct kms_session *session);

#endif
