/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `kmemscope run`: start a program under a tracer and stay with it.
 *
 * Three processes: the front (the caller), the program as its child, and the tracer, which survives
 * the front where processes of the program's tree do. The program's standard streams, signals and
 * exit status are its own.
 */
#ifndef KMS_TRACER_RUN_H
#define KMS_TRACER_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "schema/snapshot.h"

/** Exit statuses that are ours and not the program's. */
enum kms_run_status {
	KMS_RUN_FAILED = 125,   /* we could not do our part */
	KMS_RUN_NOT_EXEC = 126, /* the program cannot be executed */
	KMS_RUN_NOT_FOUND = 127,
	KMS_RUN_SIGNAL_BASE = 128, /* plus the number of the signal that ended the program */
};

/** Traces of a run whose daemons died that are remembered; of more the number only. */
#define KMS_RUN_EARLIER 4

/** What is known of a run, in part from its start and in part from its end. */
struct kms_run_result {
	pid_t pid;           /* of the program */
	pid_t tracer_pid;    /* 0: the daemon */
	int wait_status;     /* of the program, as waitpid() gives it; -1 not yet */
	bool tracer_lost;    /* the tracer went away before it had finished the file */
	bool background;     /* other processes of the tree live: the tracer goes on without us */
	uint32_t n_others;   /* how many */
	bool store_failed;   /* the file is not complete: disk full or the like */
	char file[PATH_MAX]; /* absolute path of the trace */
	/* The daemon died and another one goes on: the traces until then, oldest first; file is the
	 * one that is being written. */
	unsigned n_earlier;
	char earlier[KMS_RUN_EARLIER][PATH_MAX];
	char socket[PATH_MAX]; /* of the API; "" without a server */
};

/**
 * What to run and how.
 *
 * Shape:  strings are borrowed for the call; functions may be NULL.
 */
struct kms_run_config {
	char *const *argv;           /* program and its arguments, NULL at the end */
	const char *output;          /* trace; NULL: kmemscope.PROG.PID.kms in the current folder */
	const char *const *settings; /* n_settings times NAME=VALUE, as for --set */
	size_t n_settings;
	bool first_only; /* --follow-fork no: only the program's own process */
	bool by_daemon;  /* --daemon: the daemon of this user is the tracer */
	bool stopped;    /* -d: it stands before its main function until somebody lets it go on */
	/** In the tracer: starts the API server; NULL with err set if it cannot. The view is valid
	 * until serve_stop has returned. */
	void *(*serve_start)(void *arg, const struct kms_view *view, const char *socket_path,
			     struct kms_err *err);
	/** In the tracer, at its end: with what serve_start returned. */
	void (*serve_stop)(void *server);
	void *serve_arg;
	int serve_fd; /* stays open in the tracer for serve_start, a socket perhaps; 0 none */
	/** In the front, before the program's first instruction: pid, file and socket are known. */
	void (*started)(void *arg, const struct kms_run_result *result);
	/** In the front: one line for the user, without its end. */
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/**
 * Runs a program to its end.
 *
 * Returns the exit status for the caller: the program's own, 128 + signal, or one of enum
 * kms_run_status with err set. err is set only where the failure is ours.
 *
 * Locks:  the caller has one thread only. Signal dispositions are as before on return.
 */
int kms_run(const struct kms_run_config *config, struct kms_run_result *result,
	    struct kms_err *err);

#endif
