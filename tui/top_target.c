/* SPDX-License-Identifier: BSD-2-Clause */
/* One target, or all: what is shown is of the one that was chosen. See top.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tui/top.h"

/* Documents that are of the target, by ?target= in their path. */
static const enum kms_feed_document of_target[] = {
	KMS_FEED_STATS, KMS_FEED_SUSPECTS, KMS_FEED_CACHES, KMS_FEED_SITES,    KMS_FEED_LEAKS,
	KMS_FEED_GUARD, KMS_FEED_FAULTS,   KMS_FEED_EVENTS, KMS_FEED_TIMELINE,
};

#define OF_TARGET (sizeof(of_target) / sizeof(of_target[0]))

static uint32_t target_in(const char *path)
{
	const char *value = strstr(path, "target=");

	return value ? (uint32_t)strtoul(value + strlen("target="), NULL, 10) : 0;
}

bool kms_top_is_meant(const struct kms_top *top, enum kms_feed_document document,
		      const struct kms_doc *doc)
{
	for (size_t i = 0; i < OF_TARGET; i++)
		if (of_target[i] == document)
			return target_in(doc->path) == top->target;
	return true;
}

/* What is of the target before goes away: a figure must not stand under another's name. */
static void forget(struct kms_top *top)
{
	while (top->n_levels)
		kms_top_pop(top);
	for (int i = 0; i < KMS_TABS; i++) {
		(void)kms_list_load(&top->list[i], NULL);
		top->list[i].loaded = false;
		top->list[i].selected = 0;
	}
	for (size_t i = 0; i < OF_TARGET; i++) {
		kms_doc_release(top->doc[of_target[i]]);
		top->doc[of_target[i]] = NULL;
	}
	top->graph.n = 0;
	kms_top_refresh_pane(top);
}

void kms_top_group(struct kms_top *top)
{
	const struct kms_doc *targets = top->doc[KMS_FEED_TARGETS];
	struct kms_list *slabs = &top->list[KMS_TAB_SLABS];

	if (top->target && top->grouped && slabs->grouping == KMS_GROUP_MERGED)
		slabs->grouping = KMS_GROUP_NONE;
	if (top->target)
		top->grouped = false;
	if (top->target || top->grouped || !targets || kms_json_number(targets->json, "total") < 2)
		return;
	top->grouped = true;
	slabs->grouping = KMS_GROUP_MERGED;
}

void kms_top_choose_target(struct kms_top *top, uint32_t target)
{
	if (target == top->target) {
		kms_top_say(top, target ? "that target is shown already" : "all targets are shown");
		return;
	}
	if (top->frozen) {
		kms_top_say(top, "the picture is frozen; Z goes on");
		return;
	}
	top->target = target;
	forget(top);
	kms_top_group(top);
	if (target)
		kms_top_say(top, "only target %" PRIu32 " is shown; 0 shows all again", target);
	else
		kms_top_say(top, "all targets are shown");
}
