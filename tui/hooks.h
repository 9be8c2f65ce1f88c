/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the command line asks of the other components. main.c fills the table; nothing else in tui/
 * knows a header of theirs.
 */
#ifndef KMS_TUI_HOOKS_H
#define KMS_TUI_HOOKS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/** An answer of the API. Owner: the caller frees body. */
struct kms_reply {
	int status;
	char *body; /* body_bytes bytes and a NUL */
	size_t body_bytes;
	char next[512]; /* path and query of the next page, from the Link header; "" none */
};

/** A request to the API. Borrowed for the call. */
struct kms_ask {
	const char *method; /* "GET", "POST", "PATCH" */
	const char *target; /* path and query */
	const char *accept; /* NULL: JSON */
	const char *body;   /* JSON; NULL none */
};

/** Where the API is served beside its Unix socket. */
struct kms_http_options {
	const char *where;    /* [ADDR:]PORT; NULL: nowhere */
	bool expose;          /* addresses that other machines can reach are meant */
	const char *web_root; /* folder of the page; NULL: the one in the program */
};

/** What to run. Borrowed for the call. */
struct kms_run_request {
	char *const *argv;
	const char *output;          /* NULL: the default name */
	const char *const *settings; /* NAME=VALUE */
	size_t n_settings;
	bool first_only;
	bool by_daemon; /* the daemon is the tracer */
	struct kms_http_options http;
	bool stopped;              /* before its main function, until somebody lets it go on */
	struct kms_run_info *info; /* filled as far as it is known */
	void (*started)(void *arg);
	void (*say)(void *arg, const char *line);
	void *arg;
};

/** How to run the daemon. Borrowed for the call; functions may be NULL. */
struct kms_daemon_request {
	const char *folder; /* for traces; NULL: the current one */
	struct kms_http_options http;
	/** url: of the page, with a login that is good once; NULL without a port. */
	void (*started)(void *arg, const char *socket_path, const char *url);
	void (*say)(void *arg, const char *line); /* any thread */
	void *arg;
};

/** Traces of daemons that died during a run that are remembered. */
#define KMS_RUN_INFO_EARLIER 4

/** What became of it. */
struct kms_run_info {
	pid_t pid;
	int wait_status; /* as waitpid() gives it; -1 unknown */
	bool tracer_lost;
	bool let_go;     /* attached to, and lives on without us */
	bool background; /* other processes of the tree live: the tracer goes on */
	uint32_t n_others;
	bool store_failed;
	char file[PATH_MAX];
	/* --daemon: those of daemons that died, oldest first; file goes on where they end */
	unsigned n_earlier; /* may be more than there is room for */
	char earlier[KMS_RUN_INFO_EARLIER][PATH_MAX];
	char socket[PATH_MAX];
	char url[160]; /* of the page, with a login that is good once; "" without a port */
};

/** What to attach to. Borrowed for the call. */
struct kms_attach_ask {
	pid_t pid;
	const char *guest;  /* instead of a process: "qemu:...", "ram:...", "gdb:..."; or NULL */
	const char *kernel; /* of the guest: file with its symbols; NULL none */
	bool allow_write;   /* all of the guest's memory */
	bool boot;          /* the guest is stopped at kmem_init, to set kmem_guard_depth */
	uint64_t depth;     /* to this */
	bool go;            /* a guest's kernel that waits at its start is let go on */
	const char *output; /* NULL: the default name */
	const char *const *settings; /* NAME=VALUE */
	size_t n_settings;
	bool stopped;
	struct kms_http_options http;
	struct kms_run_info *info; /* filled as far as it is known */
	void (*started)(void *arg);
	void (*say)(void *arg, const char *line);
	void *arg;
};

/** A process that has our allocator. */
struct kms_attachable {
	pid_t pid;
	const char *program;
	const char *session; /* that traces it, "" none */
};

/** A guest: an emulated kernel on this machine. */
struct kms_attachable_guest {
	pid_t pid; /* of its emulator */
	const char *program;
	const char *name;    /* of the machine, "" none */
	const char *kernel;  /* file that the emulator was given, "" none */
	uint64_t ram_bytes;  /* 0 unknown */
	const char *why_not; /* cannot be attached to: why; NULL: it can */
};

/** Receives the result of a query, row by row; non-zero ends it. A value is NULL for SQL's NULL. */
struct kms_sql_sink {
	int (*row)(void *arg, size_t n_columns, const char *const *names,
		   const char *const *values);
	void *arg;
};

/** Statuses that the run hook returns beside the program's own. */
enum kms_run_exit {
	KMS_RUN_EXIT_FAILED = 125,
};

struct kms_hooks {
	const char *version;
	uint32_t schema_version;
	const char *features; /* for `version`, words */

	/* A trace file, answering requests of the API in this process. */
	int (*file_open)(const char *path, void **file, struct kms_err *err);
	int (*file_ask)(void *file, const struct kms_ask *ask, struct kms_reply *reply,
			struct kms_err *err);
	void (*file_close)(void *file);

	/* SQL on a trace file, read-only. */
	int (*sql)(const char *path, const char *query, const struct kms_sql_sink *sink,
		   struct kms_err *err);

	/* Folder of this user's sessions; -ENOENT: there is none. */
	int (*session_root)(char path[PATH_MAX], struct kms_err *err);

	/* Runs a program under trace; returns the exit status for the shell, err set where 125 to 127 are ours. */
	int (*run)(const struct kms_run_request *request, struct kms_err *err);

	/* Runs the daemon until a signal ends it. */
	int (*daemon)(const struct kms_daemon_request *request, struct kms_err *err);
	/* Traces a process that runs already, until it ends or a signal comes. 0 or negative errno. */
	int (*attach)(const struct kms_attach_ask *ask, struct kms_err *err);
	/* Calls fn for each process that could be attached to. */
	void (*attach_each)(void (*fn)(void *arg, const struct kms_attachable *process), void *arg);

	void (*guest_each)(void (*fn)(void *arg, const struct kms_attachable_guest *guest),
			   void *arg);

	/* Path of libkmem_malloc.so as `run` would load it; NULL: not found. Static. */
	const char *(*library_path)(void);

	/* The emulated kernel of `demo`: what our binary does as `kmemscope demo-kernel`. NULL: not built. */
	int (*demo_kernel)(int argc, char **argv);
};

#endif
