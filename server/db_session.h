/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prompts that remember: state by an id that the client chose, and by what the client may do. The oldest
 * ones are forgotten when there are too many. And how many lines run at once.
 */
#ifndef KMS_SERVER_DDB_SESSION_H
#define KMS_SERVER_DDB_SESSION_H

#include <pthread.h>

#include "server/db.h"

enum {
	KMS_DDB_SESSIONS = 64,
	KMS_DDB_AT_ONCE = 2,        /* lines: one less than KMS_HTTP_WORKERS, for everybody else */
	KMS_DDB_SESSION_BYTES = 65, /* an id and its NUL */
};

/**
 * The states of a server.
 *
 * Owner: the server; kms_ddb_sessions_init() and _deinit().
 * Locks: any thread. A state is copied out and in, so that a line that waits holds up nobody; of two
 *        lines with one id at the same time the later end counts.
 */
struct kms_ddb_sessions {
	pthread_mutex_t lock;
	uint64_t clock;    /* counts uses */
	unsigned int busy; /* lines that run */

	struct {
		char id[KMS_DDB_SESSION_BYTES]; /* "" free */
		bool read_only;                 /* another prompt than the one of who may write */
		uint64_t used;
		struct kms_ddb_state state;
	} item[KMS_DDB_SESSIONS];
};

void kms_ddb_sessions_init(struct kms_ddb_sessions *sessions);
void kms_ddb_sessions_deinit(struct kms_ddb_sessions *sessions);

/** A line wants to run. False: KMS_DDB_AT_ONCE do; else _end() follows it. Does not wait. */
bool kms_ddb_sessions_begin(struct kms_ddb_sessions *sessions);
void kms_ddb_sessions_end(struct kms_ddb_sessions *sessions);

/**
 * The state of @id, a new one if it is not known. Who may only read has other ones than who may write: what
 * he sets (a radix, a target, the last command) must not change what a writer's next line means.
 *
 * Shape: id is 1 to 64 bytes
 */
void kms_ddb_sessions_load(struct kms_ddb_sessions *sessions, const char *id, bool read_only,
			   struct kms_ddb_state *state);

/** Keeps a state; where there is no room the one used longest ago goes. */
void kms_ddb_sessions_store(struct kms_ddb_sessions *sessions, const char *id, bool read_only,
			    const struct kms_ddb_state *state);

#endif
