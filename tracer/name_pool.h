/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names that live as long as the view that hands them out: of caches, so they are few.
 */
#ifndef KMS_TRACER_NAME_POOL_H
#define KMS_TRACER_NAME_POOL_H

#include <pthread.h>
#include <stddef.h>

/** All zero but the lock is empty. */
struct kms_name_pool {
	pthread_mutex_t lock;
	char **name;
	size_t n;
};

void kms_name_pool_init(struct kms_name_pool *names);
void kms_name_pool_deinit(struct kms_name_pool *names);

/** The copy that is kept of a name; NULL for NULL, without memory, and above 4096 of them. Any thread. */
const char *kms_name_pool_keep(struct kms_name_pool *names, const char *name);

#endif
