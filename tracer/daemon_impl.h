/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon's parts; private to daemon*.c. */
#ifndef KMS_TRACER_DAEMON_IMPL_H
#define KMS_TRACER_DAEMON_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/list.h"
#include "tracer/attach.h"
#include "tracer/daemon.h"
#include "tracer/file.h"
#include "tracer/fleet.h"
#include "tracer/guest/entry.h"
#include "tracer/image.h"
#include "tracer/run_stay.h"
#include "tracer/session.h"
#include "tracer/tracer.h"

enum kms_daemon_bounds {
	DAEMON_RUNS_MAX = 1000,
	DAEMON_COMMAND_BYTES = 4096,
	DAEMON_NAME_BYTES = 256,
	DAEMON_TARGET_BYTES = PATH_MAX + 64,
};

/** A client's request to attach; of the client's thread and the run. Under daemon->lock. */
struct daemon_ask {
	unsigned refs;
	pid_t pid; /* of the process, or of the guest's emulator; 0 not known */
	bool stop;
	char who[64];
	bool is_done;
	uint32_t number; /* of the run in the fleet */
	struct kms_err err;
};

/** What a run whose target is a guest has beyond others. Of the run's thread. */
struct daemon_guest {
	char target
		[DAEMON_TARGET_BYTES]; /* as it was asked for, then qemu:pid:N; written under daemon->lock */
	struct kms_guest_entry entry;
};

/** One run. Of its thread until is_over, then of the main thread. */
struct daemon_run {
	struct kms_list link; /* under daemon->lock */
	struct kms_daemon *daemon;
	pthread_t thread;
	atomic_bool is_over; /* the thread has done its work */
	bool is_joined;
	atomic_int fd; /* to the front; -1: there is none */
	int dir_fd;    /* of run_dir, locked; -1 */
	pid_t pid;
	bool first_only;
	bool is_adopted;          /* of a daemon that died: its regions have been read before */
	uint64_t started_mono_ns; /* a moment at which the process lived; 0 unknown */
	uint64_t started_wall_ns;
	char name[DAEMON_NAME_BYTES]; /* of the program */
	char command[DAEMON_COMMAND_BYTES];
	char run_dir[PATH_MAX];
	char output[PATH_MAX];    /* trace; "" before it is known */
	char first[PATH_MAX];     /* trace of the first daemon that had it; "" this is the first */
	char continues[PATH_MAX]; /* trace of the last one before us, "" none */
	struct kms_run_stay stay; /* of its thread */
	struct daemon_ask *ask;   /* who wanted it attached; NULL: it came by itself */
	struct daemon_guest *guest;        /* NULL: its target is a process */
	struct kms_attach_request request; /* what the process was asked */
	atomic_bool is_waiting;            /* it has not answered yet */
	struct kms_tracer *tracer;         /* these four under daemon->lock */
	int new_fd;                        /* a front that comes back; -1 */
	uint32_t taken;                    /* regions moved to it */
	bool is_closing;                   /* it takes no more */
	uint32_t number;                   /* in the fleet; 0 not there */
	struct kms_file *file;             /* when it is over: what is shown of it */
	uint64_t ended_ns;
	int result; /* of finishing the trace */
};

/** A region in the join folder, whose run is not decided yet. */
struct daemon_join {
	struct kms_list link;
	char name[KMS_IMAGE_NAME_BYTES];
	uint64_t since_ns;   /* when it was seen */
	uint64_t unknown_ns; /* since when no run is known to be its; 0 not asked */
	bool is_told;        /* that it cannot be moved */
};

struct kms_daemon {
	const struct kms_daemon_config *config;
	struct kms_session session;
	struct kms_fleet *fleet;
	struct kms_view view; /* the server borrows it */
	void *server;
	char folder[PATH_MAX]; /* for traces */
	int signal_fd, listen_fd, notify_fd, wake_fd;
	atomic_bool ending;
	struct kms_list joins; /* of the main thread */
	pthread_mutex_t lock;  /* guards runs, and each run's tracer pointer */
	pthread_cond_t asked;  /* a process was asked to join */
	struct kms_list runs;
	size_t n_runs;
};

/** A line for the user. */
void daemon_say(struct kms_daemon *daemon, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* daemon_run.c */

/**
 * Begins a run in a thread of its own. The members before tracer that are known are set; a run with a
 * front says itself what is not. The run is the daemon's from then on, also on failure.
 * Errors: -EAGAIN, -ENOSPC; -EBUSY: another run has asked this process, and waits for its answer
 */
int daemon_run_begin(struct kms_daemon *daemon, struct daemon_run *run, struct kms_err *err);

/** A run without anything. NULL without memory. */
struct daemon_run *daemon_run_new(void);

/** Lines for whoever started it, else for the daemon's own user. @arg: struct daemon_run */
void daemon_run_say(void *arg, const char *line);

/** Frees what is not needed any more: threads that have ended, runs that are not to be shown. */
void daemon_runs_tidy(struct kms_daemon *daemon);

/** Ends every run and waits for it. Returns the first failure. */
int daemon_runs_end(struct kms_daemon *daemon, struct kms_err *err);

/**
 * Moves a region of the join folder to the run that has this process; one that is gone is no error.
 * Errors: -ESRCH: no live run has the process; what renameat(2) says: it lies where it was
 */
int daemon_run_take(struct kms_daemon *daemon, pid_t pid, const char *name);

/**
 * Gives a front that comes back after its daemon died to the run that was taken over.
 * Owner:  fd is the run's then. Errors: -ESRCH: there is no such run, or it has a front
 */
int daemon_run_rejoin(struct kms_daemon *daemon, const char *run_dir, pid_t pid, int fd);

/** Something may have changed in the processes of runs: all tracers look now. */
void daemon_runs_wake(struct kms_daemon *daemon);

/** Runs that may take regions, and those of them that have no tracer yet. */
void daemon_runs_count(struct kms_daemon *daemon, size_t *live, size_t *starting);

/* daemon_front.c */

/** Listens on run.sock. Errors: -EADDRINUSE, -ENAMETOOLONG, ... */
int daemon_listen(struct kms_daemon *daemon, struct kms_err *err);
/** Takes a front that has connected. */
void daemon_accept(struct kms_daemon *daemon);
/** What a front says first; the run's thread. False: it is none of ours, or gone. */
bool daemon_front_hear(struct daemon_run *run);

/* daemon_join.c */

/** Watches the join folder and notes what is in it. */
int daemon_join_begin(struct kms_daemon *daemon, struct kms_err *err);
void daemon_join_end(struct kms_daemon *daemon);
/** Notes what has appeared. */
void daemon_join_read(struct kms_daemon *daemon);
/** Moves one region to a run's folder. Errors: what renameat(2) says */
int daemon_join_move(struct kms_daemon *daemon, const char *name, const char *run_dir);
/** Moves regions to their runs. Returns in how many ms to do it again; -1: nothing waits. */
int daemon_join_route(struct kms_daemon *daemon);

/* daemon_attach.c */

/** Takes a process: kms_fleet_attach_fn. @arg: the daemon */
int daemon_attach(void *arg, const char *who, const char *what, bool stopped, uint32_t *number,
		  struct kms_err *err);
/** The command line of the run's process, or of its guest's emulator. */
void daemon_attach_read_command(struct daemon_run *run);
/** Asks the process of a run that has begun. The run's thread. */
int daemon_attach_ask(struct daemon_run *run, struct kms_err *err);
/** Tells the client; @err NULL: it has gone well. Only the first call counts: false otherwise. */
bool daemon_attach_done(struct daemon_run *run, const struct kms_err *err);
void daemon_attach_drop(struct daemon_run *run);
/** Looks for an answer that is late; false: it is no. */
bool daemon_attach_turn(void *run);
/** Takes back what was not answered. */
void daemon_attach_end(struct daemon_run *run);
/** Has its target stand still from its first moment with us on, because who asked wants that. */
int daemon_attach_stop(struct daemon_run *run, struct kms_err *err);
/** Has processes that a former tracer had begin recording anew. Errors: -ESRCH: nobody is there */
int daemon_resync(struct daemon_run *run, const struct kms_options *options, struct kms_err *err);

/* daemon_guest_ask.c */

/**
 * A run for a guest that a client names. The daemon opens it with its own rights, so here is decided
 * whether whoever speaks to the daemon may have it: emulator, socket and file are of the daemon's user,
 * as a process has to be, or that user is root; addresses are of this machine; paths are absolute.
 *
 * Shape:  *out as daemon_run_new(), with guest and, where it was named, pid
 * Errors: as kms_guest_target_parse(); -EINVAL; -ESRCH, -ENOENT: it is not there; -EPERM; -ENOMEM
 */
int daemon_guest_new(const char *what, struct daemon_run **out, struct kms_err *err);
/** Whether the daemon's user may have what is this user's. Errors: -EPERM */
int daemon_guest_check_user(uid_t user, const char *what, struct kms_err *err);

/* daemon_guest.c; of the run's thread but for daemon_guest_free() */

/**
 * Opens the guest, makes the run's folder, and waits for a kernel as long as it takes.
 * Errors: as kms_guest_entry_open(), kms_guest_entry_look(); -EBUSY: another tracer has it; -ESRCH: it
 *         ended before there was one; -ECANCELED: the daemon ends
 */
int daemon_guest_find(struct daemon_run *run, struct kms_err *err);
/** The tracer has been started: gives it its beginning, as daemon_attach_ask() for a process. */
int daemon_guest_begin(struct daemon_run *run, struct kms_err *err);
/** Lets the guest go, which goes on, if it is still there. */
void daemon_guest_leave(struct daemon_run *run);
/** A guest that holds an unmodified Linux: shown until it is over, then as it was. */
void daemon_guest_show_linux(struct daemon_run *run);
/** The run is over: the next daemon looks for the guest only if it lives and nobody let it go. */
void daemon_guest_close(struct daemon_run *run);
/** NULL is nothing. The run is shown no more. */
void daemon_guest_free(struct daemon_guest *guest);

/* daemon_adopt.c */

/** Runs in the folders of a dead daemon that somebody still needs; folders that nobody does go. */
void daemon_adopt_find(struct kms_daemon *daemon, struct kms_list *found);
/** A moment before they began; now if there are none. */
uint64_t daemon_adopt_begin_ns(const struct kms_list *found);
/** Leaves them where they are; the list is empty then. */
void daemon_adopt_forget(struct kms_list *found);
/** Takes them over; the list is empty then. */
void daemon_adopt(struct kms_daemon *daemon, struct kms_list *found);

/* daemon_note.c */

/** Leaves a note in the run's folder for the next daemon. */
void daemon_note_write(const struct daemon_run *run);
/** Reads it: pid, name, command, first, continues, started, guest. False: there is none that makes sense. */
bool daemon_note_read(struct daemon_run *run);

/* daemon_name.c */

/** Path of a trace for a run in the daemon's folder: no file has it. */
void daemon_name_trace(const struct kms_daemon *daemon, struct daemon_run *run);

#endif
