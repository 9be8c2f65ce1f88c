/* SPDX-License-Identifier: BSD-2-Clause */
/* The emulated kernel's surroundings in a process. */
#ifndef KMS_ALLOCATOR_DEMO_HOST_POSIX_H
#define KMS_ALLOCATOR_DEMO_HOST_POSIX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include "allocator/demo/kernel.h"

/** Who has the CPU, the threads, and where the journal goes (NULL nowhere). Zeroed at first. */
struct kms_host {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct kms_driver *running; /* NULL: the scheduler itself */
	bool halt;
	bool started;
	unsigned threads;
	pthread_t thread[KMS_DRIVERS];
	FILE *journal;
};

#endif
