/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pages one level down: what each says about its row, and its document once that is there.
 */
#ifndef KMS_TUI_LEVEL_SHOW_H
#define KMS_TUI_LEVEL_SHOW_H

#include "tui/top.h"

typedef void kms_level_show_fn(struct kms_text *text, const struct kms_level *level,
			       const cJSON *document);

kms_level_show_fn kms_show_cache_page, kms_show_site_page, kms_show_leak_page, kms_show_guard_page;
kms_level_show_fn kms_show_fault_page, kms_show_event_page;
kms_level_show_fn kms_show_help_page, kms_show_history_page;

#endif
