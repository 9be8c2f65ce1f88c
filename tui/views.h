/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lists of the screen, by table. Static; nothing here changes.
 */
#ifndef KMS_TUI_VIEWS_H
#define KMS_TUI_VIEWS_H

#include "tui/list.h"

/** The views, in the order of their keys, from 1. */
enum kms_tab {
	KMS_TAB_SLABS,
	KMS_TAB_SITES,
	KMS_TAB_LEAKS,
	KMS_TAB_GUARD,
	KMS_TAB_FAULTS,
	KMS_TAB_EVENTS,
	KMS_TABS,
};

/** What each view lists. */
extern const struct kms_list_kind kms_tab_lists[KMS_TABS];

/** Lists one level down. */
extern const struct kms_list_kind kms_list_targets, kms_list_blocks, kms_list_evictions;

#endif
