/* SPDX-License-Identifier: BSD-2-Clause */
#include "tui/traced_guests.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tui/client.h"
#include "tui/source.h"
#include "tui/text.h"

enum {
	PATIENCE_MS = 2000, /* with one session */
};

/* A target that is a guest and has not been let go. */
static void add_guest(struct kms_traced_guests *guests, const cJSON *target, const char *session)
{
	const cJSON *pid = kms_json_member(target, "pid");
	const char *state = kms_json_text(target, "state");
	struct kms_traced_guest *grown;

	if (strcmp(kms_json_text(target, "kind"), "guest") != 0 || !cJSON_IsNumber(pid) ||
	    !(pid->valuedouble > 0 && pid->valuedouble < INT32_MAX) ||
	    (strcmp(state, "running") != 0 && strcmp(state, "stopped") != 0))
		return;
	grown = realloc(guests->item, (guests->n + 1) * sizeof(*grown));
	if (!grown)
		return;
	guests->item = grown;
	grown += guests->n++;
	grown->pid = (pid_t)pid->valuedouble;
	(void)snprintf(grown->session, sizeof(grown->session), "%s",
		       session); /* of the same size */
}

static void add_session(struct kms_traced_guests *guests, const struct kms_hooks *hooks,
			const struct kms_source *source)
{
	struct kms_client *client = NULL;
	cJSON *targets = NULL;
	const cJSON *items;

	if (kms_client_open(hooks, source, &client, NULL) == 0) {
		kms_client_set_timeout(client, PATIENCE_MS);
		(void)kms_client_json(client, "/api/v1/targets?limit=1000", &targets, NULL);
		items = kms_json_member(targets, "items");
		for (const cJSON *target = items ? items->child : NULL; target;
		     target = target->next)
			add_guest(guests, target, source->name);
	}
	cJSON_Delete(targets);
	kms_client_close(client);
}

void kms_traced_guests_ask(const struct kms_hooks *hooks, struct kms_traced_guests *guests)
{
	struct kms_sessions sessions = {0};

	*guests = (struct kms_traced_guests){0};
	(void)kms_sessions_list(hooks, &sessions, NULL); /* those that it found are all */
	for (size_t i = 0; i < sessions.n; i++)
		add_session(guests, hooks, &sessions.item[i]);
	kms_sessions_deinit(&sessions);
}

void kms_traced_guests_deinit(struct kms_traced_guests *guests)
{
	free(guests->item);
	*guests = (struct kms_traced_guests){0};
}

const char *kms_traced_guests_session(const struct kms_traced_guests *guests, pid_t pid)
{
	for (size_t i = 0; i < guests->n; i++)
		if (guests->item[i].pid == pid)
			return guests->item[i].session;
	return "";
}
