/* SPDX-License-Identifier: BSD-2-Clause */
/* Prompts that remember: see db_session.h. */
#include "server/db_session.h"

#include <stdio.h>
#include <string.h>

void kms_ddb_sessions_init(struct kms_ddb_sessions *sessions)
{
	memset(sessions, 0, sizeof(*sessions));
	pthread_mutex_init(&sessions->lock, NULL);
}

void kms_ddb_sessions_deinit(struct kms_ddb_sessions *sessions)
{
	pthread_mutex_destroy(&sessions->lock);
}

bool kms_ddb_sessions_begin(struct kms_ddb_sessions *sessions)
{
	bool may;

	(void)pthread_mutex_lock(&sessions->lock);
	may = sessions->busy < KMS_DDB_AT_ONCE;
	sessions->busy += may;
	(void)pthread_mutex_unlock(&sessions->lock);
	return may;
}

void kms_ddb_sessions_end(struct kms_ddb_sessions *sessions)
{
	(void)pthread_mutex_lock(&sessions->lock);
	sessions->busy--;
	(void)pthread_mutex_unlock(&sessions->lock);
}

/* The place of an id; KMS_DDB_SESSIONS: it has none. */
static size_t find(const struct kms_ddb_sessions *sessions, const char *id, bool read_only)
{
	size_t i = 0;

	while (i < KMS_DDB_SESSIONS &&
	       (sessions->item[i].read_only != read_only || strcmp(sessions->item[i].id, id) != 0))
		i++;
	return i;
}

void kms_ddb_sessions_load(struct kms_ddb_sessions *sessions, const char *id, bool read_only,
			   struct kms_ddb_state *state)
{
	size_t i;

	(void)pthread_mutex_lock(&sessions->lock);
	i = find(sessions, id, read_only);
	if (i < KMS_DDB_SESSIONS)
		*state = sessions->item[i].state;
	else
		kms_ddb_state_init(state);
	(void)pthread_mutex_unlock(&sessions->lock);
}

void kms_ddb_sessions_store(struct kms_ddb_sessions *sessions, const char *id, bool read_only,
			    const struct kms_ddb_state *state)
{
	size_t oldest = 0;
	size_t i;

	(void)pthread_mutex_lock(&sessions->lock);
	i = find(sessions, id, read_only);
	if (i == KMS_DDB_SESSIONS) {
		for (size_t j = 1; j < KMS_DDB_SESSIONS; j++)
			if (sessions->item[j].used < sessions->item[oldest].used)
				oldest = j;
		i = oldest;
		snprintf(sessions->item[i].id, sizeof(sessions->item[i].id), "%s", id);
		sessions->item[i].read_only = read_only;
	}
	sessions->item[i].state = *state;
	sessions->item[i].used = ++sessions->clock;
	(void)pthread_mutex_unlock(&sessions->lock);
}
