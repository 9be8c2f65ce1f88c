/* SPDX-License-Identifier: BSD-2-Clause */
/* See name_pool.h. */
#include "tracer/name_pool.h"

#include <stdlib.h>
#include <string.h>

enum {
	NAMES_MAX = 4096, /* a region has 256 caches */
};

void kms_name_pool_init(struct kms_name_pool *names)
{
	*names = (struct kms_name_pool){0};
	(void)pthread_mutex_init(&names->lock, NULL); /* cannot fail without attributes */
}

void kms_name_pool_deinit(struct kms_name_pool *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
	(void)pthread_mutex_destroy(&names->lock); /* nobody holds it */
}

static const char *add(struct kms_name_pool *names, const char *name)
{
	char **more;

	if (names->n == NAMES_MAX)
		return NULL;
	more = reallocarray(names->name, names->n + 1, sizeof(char *));
	if (!more)
		return NULL;
	names->name = more;
	more[names->n] = strdup(name);
	return more[names->n] ? more[names->n++] : NULL;
}

const char *kms_name_pool_keep(struct kms_name_pool *names, const char *name)
{
	const char *kept = NULL;

	if (!name)
		return NULL;
	(void)pthread_mutex_lock(&names->lock); /* a plain mutex, never locked twice */
	for (size_t i = 0; i < names->n && !kept; i++)
		if (strcmp(names->name[i], name) == 0)
			kept = names->name[i];
	if (!kept)
		kept = add(names, name);
	(void)pthread_mutex_unlock(&names->lock);
	return kept;
}
