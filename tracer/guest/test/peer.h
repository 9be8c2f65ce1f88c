/* SPDX-License-Identifier: BSD-2-Clause */
/* Whoever listens where an emulator should: slow ones, talkative ones, ones that talk nonsense. */
#ifndef KMS_TRACER_GUEST_TEST_PEER_H
#define KMS_TRACER_GUEST_TEST_PEER_H

#include <pthread.h>
#include <stdbool.h>

/** A peer that sends what it is told, and answers each command by the next text. The texts are set before it starts. */
struct peer {
	char folder[32];
	char path[64]; /* of its socket */
	int listener;
	const char *greeting;
	const char *answer[8]; /* up to the first NULL; then it reads on and says nothing */
	bool closes;           /* instead of reading on */
	unsigned repeat;       /* of the last answer; 0 once */
	pthread_t thread;
};

/** Has it listen; it takes one connection. Ends the test where it cannot. */
void peer_start(struct peer *peer);

/** Waits for it, whose connection was closed, and removes its socket. */
void peer_end(struct peer *peer);

#endif
